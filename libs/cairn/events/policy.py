"""A promotion policy: what the organisation demands before a version may take traffic."""

from typing import Annotated

from pydantic import Field

from cairn.events.declaration import MetricName
from cairn.events.values import Count, Name, Real, Seconds, Value, Word


class Policy(Value):
    """Rules that every promotion is judged by. A passed validation is always demanded."""

    name: Name
    """The policy's name. `default` applies to every model."""
    minimums: dict[MetricName, Real] = Field(default_factory=dict, max_length=10)
    """For each metric the least value (for `log_loss` and `brier_score`: the greatest)."""
    approvals_needed: Annotated[Count, Field(le=20)] = 0
    """How many different persons must approve."""
    roles: Annotated[tuple[Word, ...], Field(max_length=20)] = ()
    """Only persons with one of these roles count; none named means anyone."""
    expires_after_seconds: Seconds = 7 * 86_400.0
    """How long a promotion may wait for its approvals."""
