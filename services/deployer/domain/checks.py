"""What a step of a rollout is judged by: what the serving processes said about its route."""

from collections.abc import Sequence
from dataclasses import dataclass

from cairn.events.values import Check, EventRef
from deployer.domain.routes import Plan, RolloutTold, champion_of, is_full

MOST_FAILED_RATIO = 0.05
"""So many more of its rows than the champion a challenger may fail to answer."""
ENOUGH_ROWS = 20
"""So many rows, answered or failed, are enough to judge that; fewer where the declaration asks for fewer answers."""
PATIENCE_SECONDS = 600.0
"""So long a live replica may take to follow a route, or to say that it cannot."""

_MOST_NAMED = 20


@dataclass(frozen=True, slots=True)
class Replica:
    """A serving process that is alive."""

    name: str
    revision: int
    """The latest route of the model at hand that it follows; 0 where it follows none."""
    heard: EventRef
    """What it told last."""
    seconds: float = 0.0
    """How long it has lived under the route at hand."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A serving process could not take over the route at hand."""

    replica: str
    text: str
    told: EventRef


@dataclass(frozen=True, slots=True)
class Counted:
    """What one arm was asked under the route at hand."""

    answered: int = 0
    failed: int = 0

    @property
    def rows(self) -> int:
        """All of them."""
        return self.answered + self.failed

    @property
    def failed_ratio(self) -> float:
        """The part that it could not answer."""
        return self.failed / self.rows if self.failed else 0.0


@dataclass(frozen=True, slots=True)
class Observed:
    """What the serving processes said about a route."""

    live: Sequence[Replica] = ()
    failures: Sequence[Failure] = ()
    challenger: Counted = Counted()
    champion: Counted = Counted()

    def behind(self, revision: int) -> list[Replica]:
        """The live replicas that do not follow a route yet."""
        return [replica for replica in self.live if replica.revision < revision]


def find_faults(told: RolloutTold, plan: Plan, observed: Observed) -> tuple[Check, ...]:
    """The checks that failed for good: waiting does not mend them."""
    checks = (
        _check_failures(observed),
        _check_patience(told, observed),
        *_check_answers(told, plan, observed),
    )
    return tuple(check for check in checks if not check.passed)


def check_step(told: RolloutTold, plan: Plan, observed: Observed) -> tuple[Check, ...]:
    """What has to be met before a step is done; until then it waits."""
    activated = _check_activation(told, observed)
    if is_full(told.route):
        return (activated,)
    answered = Check(
        name="requests-answered",
        asked=f"version {told.model.version} answers at least {plan.min_requests} rows under route {_revision(told)}",
        measured=str(observed.challenger.answered),
        passed=observed.challenger.answered >= plan.min_requests,
    )
    return activated, answered, *_check_answers(told, plan, observed)


def _check_activation(told: RolloutTold, observed: Observed) -> Check:
    behind = observed.behind(_revision(told))
    return Check(
        name="replicas-activated",
        asked=f"every live replica follows route {_revision(told)}, and there is one",
        measured=f"{len(observed.live) - len(behind)} of {len(observed.live)}",
        passed=bool(observed.live) and not behind,
        reason=f"behind: {_names(behind)}" if behind else "",
    )


def _check_failures(observed: Observed) -> Check:
    failures = observed.failures
    return Check(
        name="replicas-failed",
        asked="no replica fails to take over the route",
        measured=f"{len(failures)} failed: {', '.join(one.replica for one in failures[:_MOST_NAMED])}",
        passed=not failures,
        reason=f"{failures[0].replica}: {failures[0].text}"[:2000] if failures else "",
    )


def _check_patience(told: RolloutTold, observed: Observed) -> Check:
    late = [replica for replica in observed.behind(_revision(told)) if replica.seconds > PATIENCE_SECONDS]
    return Check(
        name="replicas-late",
        asked=f"every live replica follows route {_revision(told)} within {PATIENCE_SECONDS:g} s",
        measured=f"{len(late)} of {len(observed.live)} do not",
        passed=not late,
        reason=f"late: {_names(late)}" if late else "",
    )


def _check_answers(told: RolloutTold, plan: Plan, observed: Observed) -> tuple[Check, ...]:
    """What both arms share, like a log that is away, is not the challenger's fault. Without a champion: no check."""
    champion, challenger = champion_of(told), observed.challenger
    if champion is None or is_full(told.route):
        return ()
    enough = min(plan.min_requests, ENOUGH_ROWS) or ENOUGH_ROWS
    most = observed.champion.failed_ratio + MOST_FAILED_RATIO
    check = Check(
        name="requests-failed",
        asked=f"version {told.model.version} fails at most {MOST_FAILED_RATIO:.0%} more of its rows than "
        f"{champion.name} does under route {_revision(told)}, once it was asked {enough}",
        measured=f"{challenger.failed} of {challenger.rows} failed; "
        f"of {champion.name}, {observed.champion.failed} of {observed.champion.rows}",
        passed=challenger.rows < enough or challenger.failed_ratio <= most,
    )
    return (check,)


def _revision(told: RolloutTold) -> int:
    return told.route.revision


def _names(replicas: Sequence[Replica]) -> str:
    return ", ".join(replica.name for replica in replicas[:_MOST_NAMED])
