"""What the deployer decides: how traffic moves to a version, one route after another."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal
from uuid import NAMESPACE_URL, uuid5

from cairn.events.declaration import Rollout as Plan
from cairn.events.deployment import RolloutAborted, RolloutAdvanced, RolloutCompleted, RolloutHeld, RolloutStarted
from cairn.events.envelope import cause_name
from cairn.events.registry import ModelRegistered
from cairn.events.values import Arm, Check, EventRef, Reason, Route

RolloutTold = RolloutStarted | RolloutAdvanced | RolloutHeld | RolloutCompleted | RolloutAborted

ALL_AT_ONCE = Plan(steps=())
_MOST_EVIDENCE = 100


@dataclass(frozen=True, slots=True)
class Candidate:
    """A version that may take traffic, and what says so."""

    registered: ModelRegistered
    plan: Plan
    """How it takes over."""
    approval: EventRef


@dataclass(frozen=True, slots=True)
class Replica:
    """A serving process that is alive."""

    name: str
    revision: int
    """The latest route of the model at hand that it follows; 0 where it follows none."""
    heard: EventRef
    """What it told last."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A serving process could not take over the route at hand."""

    replica: str
    text: str
    told: EventRef


@dataclass(frozen=True, slots=True)
class Observed:
    """What the serving processes said about a route."""

    live: Sequence[Replica] = ()
    failures: Sequence[Failure] = ()
    answered: int = 0
    """By the version that is rolled out, under this route."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is not granted."""

    code: str
    text: str


def rollout_id(source: str, event_id: str) -> str:
    """The rollout that an approval or a request leads to: the same event always leads to the same one."""
    return str(uuid5(NAMESPACE_URL, cause_name(source, event_id)))


def is_under_way(told: RolloutTold | None) -> bool:
    """Whether the rollout that told this has not ended."""
    return isinstance(told, RolloutStarted | RolloutAdvanced | RolloutHeld)


def champion_of(told: RolloutTold | None) -> Arm | None:
    """The arm that held the traffic before this rollout, or holds it after it; None while there is none."""
    arms = told.route.arms if told else ()
    return next((arm for arm in arms if arm.role == "champion"), None)


def start_promotion(candidate: Candidate, last: RolloutTold | None, name: str, endpoint: str) -> RolloutStarted:
    """A new version gets its first share; all of it where nothing answers yet or no step is declared."""
    champion, model = champion_of(last), candidate.registered.model
    plan = candidate.plan if champion else ALL_AT_ONCE
    route = _route_at(0, candidate.registered, plan, champion, _next_revision(last))
    share = plan.steps[0] if plan.steps else 1.0
    return RolloutStarted(
        rollout_id=name,
        kind="promotion",
        model=model,
        previous=champion.model if champion else None,
        strategy="canary" if plan.steps else "all-at-once",
        step=0,
        route=route,
        endpoint=endpoint,
        approval=candidate.approval,
        reason=Reason(
            code="approved",
            text=f"Version {model.version} was approved and gets {share:.0%} of the traffic.",
            evidence=(candidate.approval,),
        ),
    )


def judge_rollback(
    wanted: int | None, last: RolloutTold | None, registered: ModelRegistered | None, approval: EventRef | None
) -> Refusal | None:
    """Why a version may not come back, or None. `wanted` is the version asked for, or the one before the champion."""
    champion = champion_of(last)
    if last is not None and is_under_way(last):
        return Refusal("rollout-under-way", f"version {last.model.version} is being rolled out; wait until that ended")
    if wanted is None:
        return Refusal("no-champion-before", "there is no champion that the present one replaced")
    if registered is None:
        return Refusal("no-such-version", f"there is no version {wanted}")
    if approval is None:
        return Refusal("never-approved", f"version {wanted} was never approved")
    if champion is not None and champion.model == registered.model:
        return Refusal("champion-already", f"version {wanted} has all the traffic already")
    return None


def start_rollback(
    candidate: Candidate, last: RolloutTold | None, name: str, endpoint: str, asked: EventRef, text: str
) -> RolloutStarted:
    """An earlier version gets all the traffic at once."""
    champion, model = champion_of(last), candidate.registered.model
    return RolloutStarted(
        rollout_id=name,
        kind="rollback",
        model=model,
        previous=champion.model if champion else None,
        strategy="all-at-once",
        step=0,
        route=_route_at(0, candidate.registered, ALL_AT_ONCE, champion, _next_revision(last)),
        endpoint=endpoint,
        approval=candidate.approval,
        reason=Reason(
            code="rollback-requested",
            text=text or f"Somebody wants version {model.version} back.",
            evidence=(asked,),
        ),
    )


def next_step(
    told: RolloutTold, plan: Plan, registered: ModelRegistered, previous: ModelRegistered | None, observed: Observed
) -> RolloutTold | None:
    """What a rollout under way comes to, or None while it has to wait.

    `registered` and `previous` are the version that is rolled out and the champion that it replaces.
    """
    if observed.failures:
        return _abort(told, registered, previous, observed)
    checks = _check(told, plan, observed)
    if not all(check.passed for check in checks):
        return None
    if is_full(told.route):
        return _complete(told, checks, observed)
    return _advance(told, plan, registered, checks, observed)


def is_full(route: Route) -> bool:
    """Whether one arm has all the traffic."""
    return len(route.arms) == 1


def challenger_of(told: RolloutTold) -> Arm:
    """The arm of the version that is rolled out."""
    return next(arm for arm in told.route.arms if arm.model == told.model)


def _check(told: RolloutTold, plan: Plan, observed: Observed) -> tuple[Check, ...]:
    revision = told.route.revision
    behind = [replica.name for replica in observed.live if replica.revision < revision]
    activated = Check(
        name="replicas-activated",
        asked=f"every live replica follows route {revision}, and there is one",
        measured=f"{len(observed.live) - len(behind)} of {len(observed.live)}",
        passed=bool(observed.live) and not behind,
        reason=f"behind: {', '.join(behind[:20])}" if behind else "",
    )
    if is_full(told.route):
        return (activated,)
    answered = Check(
        name="requests-answered",
        asked=f"version {told.model.version} answers at least {plan.min_requests} rows under route {revision}",
        measured=str(observed.answered),
        passed=observed.answered >= plan.min_requests,
    )
    return activated, answered


def _advance(
    told: RolloutTold, plan: Plan, registered: ModelRegistered, checks: tuple[Check, ...], observed: Observed
) -> RolloutAdvanced:
    step = told.step + 1
    share = plan.steps[step] if step < len(plan.steps) else 1.0
    text = f"It answered {observed.answered} rows; version {told.model.version} gets {share:.0%} of the traffic."
    route = _route_at(step, registered, plan, champion_of(told), told.route.revision + 1)
    return RolloutAdvanced(**_carried(told, step, route), checks=checks, reason=_reason("step-done", text, observed))


def _complete(told: RolloutTold, checks: tuple[Check, ...], observed: Observed) -> RolloutCompleted:
    text = f"Version {told.model.version} has all the traffic on all {len(observed.live)} replicas."
    return RolloutCompleted(
        **_carried(told, told.step, told.route), checks=checks, reason=_reason("all-activated", text, observed)
    )


def _abort(
    told: RolloutTold, registered: ModelRegistered, previous: ModelRegistered | None, observed: Observed
) -> RolloutAborted:
    """All traffic goes back to the previous champion; where there is none, nothing answers."""
    arm = _arm(previous, "champion", 1.0) if previous else _arm(registered, "challenger", 0.0)
    failures = observed.failures
    check = Check(
        name="replicas-failed",
        asked="no replica fails to take over the route",
        measured=f"{len(failures)} failed: {', '.join(failure.replica for failure in failures[:20])}",
        passed=False,
        reason=failures[0].text[:2000],
    )
    evidence = tuple(failure.told for failure in failures[:_MOST_EVIDENCE])
    text = f"The replica {failures[0].replica} could not take over route {told.route.revision}: {failures[0].text}"
    route = Route(revision=told.route.revision + 1, arms=(arm,))
    return RolloutAborted(
        **_carried(told, told.step, route),
        checks=(check,),
        reason=Reason(code="replica-failed", text=text[:2000], evidence=evidence),
    )


def _carried(told: RolloutTold, step: int, route: Route) -> dict[str, Any]:
    """What every event of one rollout repeats."""
    kept = ("rollout_id", "kind", "model", "previous", "strategy", "endpoint", "approval")
    return {**{name: getattr(told, name) for name in kept}, "step": step, "route": route}


def _reason(code: str, text: str, observed: Observed) -> Reason:
    return Reason(code=code, text=text, evidence=tuple(one.heard for one in observed.live[:_MOST_EVIDENCE]))


def _next_revision(last: RolloutTold | None) -> int:
    return last.route.revision + 1 if last else 1


def _route_at(step: int, registered: ModelRegistered, plan: Plan, champion: Arm | None, revision: int) -> Route:
    if champion is None or step >= len(plan.steps):
        return Route(revision=revision, arms=(_arm(registered, "champion", 1.0),))
    share = plan.steps[step]
    stays = champion.model_copy(update={"weight_ratio": round(1 - share, 9)})
    return Route(revision=revision, arms=(stays, _arm(registered, "challenger", share)))


def _arm(registered: ModelRegistered, role: Literal["champion", "challenger"], weight: float) -> Arm:
    return Arm(
        name=f"v{registered.model.version}",
        role=role,
        model=registered.model,
        package=registered.package,
        profile=registered.profile,
        weight_ratio=weight,
    )
