"""How a version takes over the traffic: by steps, each on what was observed of the one before, or not at all."""

from dataclasses import dataclass
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from cairn.events.deployment import RolloutAborted, RolloutAdvanced, RolloutCompleted, RolloutStarted
from cairn.events.envelope import cause_name
from cairn.events.registry import ModelRegistered
from cairn.events.values import Check, EventRef, Reason, Route
from deployer.domain.checks import Observed, check_step, find_faults
from deployer.domain.routes import (
    ALL_AT_ONCE,
    Plan,
    RolloutTold,
    arm_of,
    challenger_of,
    champion_of,
    is_full,
    next_revision,
    route_at,
    route_back,
)

_MOST_EVIDENCE = 100


@dataclass(frozen=True, slots=True)
class Candidate:
    """A version that may take traffic, and what says so."""

    registered: ModelRegistered
    plan: Plan
    """How it takes over."""
    approval: EventRef


def rollout_id(source: str, event_id: str) -> str:
    """The rollout that an approval or a request leads to: the same event always leads to the same one."""
    return str(uuid5(NAMESPACE_URL, cause_name(source, event_id)))


def start_promotion(candidate: Candidate, last: RolloutTold | None, name: str, endpoint: str) -> RolloutStarted:
    """A new version gets its first share; all of it where nothing answers yet or no step is declared."""
    champion, model = champion_of(last), candidate.registered.model
    plan = candidate.plan if champion else ALL_AT_ONCE
    share = plan.steps[0] if plan.steps else 1.0
    return RolloutStarted(
        rollout_id=name,
        kind="promotion",
        model=model,
        previous=champion.model if champion else None,
        strategy="canary" if plan.steps else "all-at-once",
        step=0,
        route=route_at(0, arm_of(candidate.registered), plan, champion, next_revision(last)),
        endpoint=endpoint,
        approval=candidate.approval,
        reason=Reason(
            code="approved",
            text=f"Version {model.version} was approved and gets {share:.0%} of the traffic.",
            evidence=(candidate.approval,),
        ),
    )


def next_step(
    told: RolloutTold, plan: Plan, previous: ModelRegistered | None, observed: Observed
) -> RolloutTold | None:
    """What a rollout under way comes to, or None while it has to wait. `previous` is the champion that it replaces."""
    faults = find_faults(told, plan, observed)
    if faults:
        return abort(told, previous, _fault_reason(faults[0], observed), faults)
    checks = check_step(told, plan, observed)
    if not all(check.passed for check in checks):
        return None
    if is_full(told.route):
        return _complete(told, checks, observed)
    return _advance(told, plan, checks, observed)


def abort(
    told: RolloutTold, previous: ModelRegistered | None, reason: Reason, faults: tuple[Check, ...] = ()
) -> RolloutAborted:
    """All traffic goes back to the previous champion; where there is none, nothing answers."""
    return RolloutAborted(**_carried(told, told.step, route_back(told, previous)), checks=faults, reason=reason)


def _advance(told: RolloutTold, plan: Plan, checks: tuple[Check, ...], observed: Observed) -> RolloutAdvanced:
    step = told.step + 1
    share = plan.steps[step] if step < len(plan.steps) else 1.0
    answered = observed.challenger.answered
    text = f"It answered {answered} rows; version {told.model.version} gets {share:.0%} of the traffic."
    route = route_at(step, challenger_of(told), plan, champion_of(told), next_revision(told))
    return RolloutAdvanced(**_carried(told, step, route), checks=checks, reason=_reason("step-done", text, observed))


def _complete(told: RolloutTold, checks: tuple[Check, ...], observed: Observed) -> RolloutCompleted:
    text = f"Version {told.model.version} has all the traffic on all {len(observed.live)} replicas."
    return RolloutCompleted(
        **_carried(told, told.step, told.route), checks=checks, reason=_reason("all-activated", text, observed)
    )


def _carried(told: RolloutTold, step: int, route: Route) -> dict[str, Any]:
    """What every event of one rollout repeats."""
    kept = ("rollout_id", "kind", "model", "previous", "strategy", "endpoint", "approval")
    return {**{name: getattr(told, name) for name in kept}, "step": step, "route": route}


def _fault_reason(fault: Check, observed: Observed) -> Reason:
    """Why a rollout is aborted. The failures say most, where there are any."""
    text = f"Asked was that {fault.asked}; measured: {fault.measured}. {fault.reason}".strip()
    grounds = [failure.told for failure in observed.failures] or [replica.heard for replica in observed.live]
    return Reason(code=fault.name, text=text[:2000], evidence=tuple(grounds[:_MOST_EVIDENCE]))


def _reason(code: str, text: str, observed: Observed) -> Reason:
    return Reason(code=code, text=text, evidence=tuple(one.heard for one in observed.live[:_MOST_EVIDENCE]))
