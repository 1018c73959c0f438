"""What the deployer tells: rollouts and routes."""

from typing import Literal

from cairn.events.event import Event
from cairn.events.values import Checks, Count, EventRef, ModelRef, Reason, Route, Text, Word


class _Rollout(Event):
    rollout_id: Word
    """The rollout."""
    kind: Literal["promotion", "rollback"]
    """Whether a new version comes or an earlier one comes back."""
    model: ModelRef
    """The version that is rolled out."""
    previous: ModelRef | None = None
    """The champion that it replaces."""
    strategy: Literal["all-at-once", "canary"]
    """How traffic moves."""
    step: Count
    """Which step, from 0."""
    route: Route
    """The whole route, as it is from now on."""
    endpoint: Text
    """Where the model answers."""
    checks: Checks = ()
    """What this step rests on."""
    approval: EventRef
    """The approval; of a rollback: that of its version."""
    reason: Reason
    """Why."""


class RolloutStarted(_Rollout):
    """A version gets its first share of the traffic."""


class RolloutAdvanced(_Rollout):
    """A version gets a greater share of the traffic."""


class RolloutHeld(_Rollout):
    """A version keeps its share for now; the route stays."""


class RolloutCompleted(_Rollout):
    """A version has all the traffic; the route stays."""


class RolloutAborted(_Rollout):
    """A version loses its traffic; the route goes back."""
