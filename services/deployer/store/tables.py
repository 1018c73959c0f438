"""The deployer's tables. Each is fed by one topic."""

from typing import ClassVar

from sqlalchemy import BigInteger
from sqlalchemy.orm import registry
from sqlmodel import Field

from cairn.events import RolloutAborted, RolloutAdvanced, RolloutCompleted, RolloutHeld, RolloutStarted
from chassis import Table
from deployer.domain import RolloutTold

STAGES: dict[str, type[RolloutTold]] = {
    "started": RolloutStarted,
    "advanced": RolloutAdvanced,
    "held": RolloutHeld,
    "completed": RolloutCompleted,
    "aborted": RolloutAborted,
}
"""What a rollout told last, by the word that its row keeps."""
UNDER_WAY = ("started", "advanced", "held")


class DeployerTable(Table, registry=registry()):
    """The deployer's own tables."""


class Registered(DeployerTable, table=True):
    """Every version."""

    topic: ClassVar[str] = "registry"

    model: str = Field(primary_key=True)
    version: int = Field(primary_key=True)
    facts: str


class Declared(DeployerTable, table=True):
    """Every revision of every declaration."""

    topic: ClassVar[str] = "registry"

    model: str = Field(primary_key=True)
    revision: int = Field(primary_key=True)
    facts: str


class Approved(DeployerTable, table=True):
    """Every approval. One model's lie in one partition: their offsets say which is newer."""

    topic: ClassVar[str] = "governance"

    id: str = Field(primary_key=True)
    model: str = Field(index=True)
    version: int
    offset: int = Field(sa_type=BigInteger)
    facts: str
    origin: str


class Rollout(DeployerTable, table=True):
    """Every rollout, as it stood when it last told something."""

    topic: ClassVar[str] = "deployment"

    id: str = Field(primary_key=True)
    model: str = Field(index=True)
    version: int
    kind: str
    stage: str
    approval: str
    sequence: int = Field(sa_type=BigInteger)
    told_at: str
    facts: str


class ReplicaStart(DeployerTable, table=True):
    """Every start of every serving process. The one that was heard of last for the first time is the replica now."""

    topic: ClassVar[str] = "serving"

    replica: str = Field(primary_key=True)
    start: str = Field(primary_key=True)
    first_offset: int = Field(sa_type=BigInteger)
    began_at: str
    heard_at: str
    stopped: bool
    origin: str


class Following(DeployerTable, table=True):
    """The latest route of each model that a start of a replica follows."""

    topic: ClassVar[str] = "serving"

    replica: str = Field(primary_key=True)
    start: str = Field(primary_key=True)
    model: str = Field(primary_key=True)
    route_revision: int = Field(sa_type=BigInteger)


class Answered(DeployerTable, table=True):
    """What a start of a replica answered, by version, arm and route."""

    topic: ClassVar[str] = "serving"

    model: str = Field(primary_key=True)
    route_revision: int = Field(primary_key=True, sa_type=BigInteger)
    version: int = Field(primary_key=True)
    arm: str = Field(primary_key=True)
    replica: str = Field(primary_key=True)
    start: str = Field(primary_key=True)
    answered: int = Field(sa_type=BigInteger)
    failed: int = Field(sa_type=BigInteger)


class Failed(DeployerTable, table=True):
    """Routes that a start of a replica could not take over."""

    topic: ClassVar[str] = "serving"

    model: str = Field(primary_key=True)
    route_revision: int = Field(primary_key=True, sa_type=BigInteger)
    replica: str = Field(primary_key=True)
    start: str = Field(primary_key=True)
    facts: str
    origin: str


def parse_told(row: Rollout) -> RolloutTold:
    """What a rollout told last."""
    return STAGES[row.stage].model_validate_json(row.facts)
