"""Routes: which arms a model has at a step, and what a rollout event says of them."""

from typing import Literal

from cairn.events.declaration import Rollout as Plan
from cairn.events.deployment import RolloutAborted, RolloutAdvanced, RolloutCompleted, RolloutHeld, RolloutStarted
from cairn.events.registry import ModelRegistered
from cairn.events.values import Arm, Route

RolloutTold = RolloutStarted | RolloutAdvanced | RolloutHeld | RolloutCompleted | RolloutAborted

ALL_AT_ONCE = Plan(steps=())


def is_under_way(told: RolloutTold | None) -> bool:
    """Whether the rollout that told this has not ended."""
    return isinstance(told, RolloutStarted | RolloutAdvanced | RolloutHeld)


def is_full(route: Route) -> bool:
    """Whether one arm has all the traffic."""
    return len(route.arms) == 1


def champion_of(told: RolloutTold | None) -> Arm | None:
    """The arm that held the traffic before this rollout, or holds it after it; None while there is none."""
    arms = told.route.arms if told else ()
    return next((arm for arm in arms if arm.role == "champion"), None)


def challenger_of(told: RolloutTold) -> Arm:
    """The arm of the version that is rolled out."""
    return next(arm for arm in told.route.arms if arm.model == told.model)


def route_at(step: int, arm: Arm, plan: Plan, champion: Arm | None, revision: int) -> Route:
    """The route at a step of the plan: the declared share beside the champion, or all the traffic after the last."""
    if champion is None or step >= len(plan.steps):
        return Route(revision=revision, arms=(_given(arm, "champion", 1.0),))
    share = plan.steps[step]
    stays = _given(champion, "champion", round(1 - share, 9))
    return Route(revision=revision, arms=(stays, _given(arm, "challenger", share)))


def route_back(told: RolloutTold, previous: ModelRegistered | None) -> Route:
    """All the traffic for the champion that was to be replaced; where there is none, nothing answers."""
    arm = arm_of(previous) if previous else _given(challenger_of(told), "challenger", 0.0)
    return Route(revision=next_revision(told), arms=(arm,))


def next_revision(last: RolloutTold | None) -> int:
    """The number of the route after this one."""
    return last.route.revision + 1 if last else 1


def arm_of(registered: ModelRegistered) -> Arm:
    """The arm of a version that has all the traffic."""
    return Arm(
        name=f"v{registered.model.version}",
        role="champion",
        model=registered.model,
        package=registered.package,
        profile=registered.profile,
        weight_ratio=1.0,
    )


def _given(arm: Arm, role: Literal["champion", "challenger"], weight: float) -> Arm:
    return arm.model_copy(update={"role": role, "weight_ratio": weight})
