"""How an earlier version comes back because somebody asks for it."""

from dataclasses import dataclass

from cairn.events.deployment import RolloutAborted, RolloutStarted
from cairn.events.registry import ModelRegistered
from cairn.events.values import EventRef, ModelRef, Reason
from deployer.domain.rollouts import Candidate, abort
from deployer.domain.routes import ALL_AT_ONCE, RolloutTold, arm_of, champion_of, is_under_way, next_revision, route_at


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is not granted."""

    code: str
    text: str


def choose_version(asked: int | None, last: RolloutTold | None, before: int | None) -> int | None:
    """The version that shall come back: the one asked for, else the champion before this one.

    `before` is what the present champion replaced. Of a version that is still rolled out it is the champion that it
    was to replace; and where a rollback is under way, what that brings back.
    """
    if asked is not None or last is None or not is_under_way(last):
        return asked or before
    comes_back = last.model if last.kind == "rollback" else last.previous
    return comes_back.version if comes_back else None


def judge_rollback(
    wanted: int | None, last: RolloutTold | None, registered: ModelRegistered | None, approval: EventRef | None
) -> Refusal | None:
    """Why the wanted version may not come back, or None."""
    champion, under_way = champion_of(last), is_under_way(last)
    if wanted is None:
        return Refusal("no-champion-before", "there is no champion that the present one replaced")
    if last is not None and under_way and last.model.version == wanted:
        return Refusal("rollout-under-way", f"version {wanted} is being rolled out already")
    if registered is None:
        return Refusal("no-such-version", f"there is no version {wanted}")
    if approval is None:
        return Refusal("never-approved", f"version {wanted} was never approved")
    if champion is not None and champion.model == registered.model and not under_way:
        return Refusal("champion-already", f"version {wanted} has all the traffic already")
    return None


def call_off(told: RolloutTold, previous: ModelRegistered | None, wanted: ModelRef, asked: EventRef) -> RolloutAborted:
    """The rollout under way ends, because another version shall come back."""
    text = f"The rollout of version {told.model.version} is called off: version {wanted.version} is wanted back."
    return abort(told, previous, Reason(code="rollback-requested", text=text, evidence=(asked,)))


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
        route=route_at(0, arm_of(candidate.registered), ALL_AT_ONCE, champion, next_revision(last)),
        endpoint=endpoint,
        approval=candidate.approval,
        reason=Reason(
            code="rollback-requested",
            text=text or f"Somebody wants version {model.version} back.",
            evidence=(asked,),
        ),
    )
