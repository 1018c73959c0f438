"""The tables: what the appender keeps, and what the decider remembers."""

from typing import ClassVar

from sqlalchemy import BigInteger, Index, LargeBinary
from sqlalchemy.orm import registry
from sqlmodel import Field

from chassis import Table


class AuditorTable(Table, registry=registry()):
    """The governance-auditor's own tables."""


class Entry(AuditorTable, table=True):
    """Every record of every log, raw."""

    topic: ClassVar[str] = "appender"
    __table_args__ = (Index("entry_key", "log", "key", "offset"),)

    log: str = Field(primary_key=True)
    """topic/partition, without the installation's prefix."""
    offset: int = Field(primary_key=True, sa_type=BigInteger)
    timestamp: int = Field(sa_type=BigInteger)
    timestamp_type: int
    leaf: bytes
    """The leaf's hash."""
    entry: bytes
    """The leaf itself: the digests of key, headers and value are in it, whatever becomes of these."""
    key: bytes | None
    headers: bytes
    """In the form of cairn.audit.leaf."""
    value: bytes | None = Field(sa_type=LargeBinary)


class Subtree(AuditorTable, table=True):
    """Hashes of complete subtrees, from level LOWEST on; what is below is folded from leaves."""

    topic: ClassVar[str] = "appender"

    log: str = Field(primary_key=True)
    level: int = Field(primary_key=True)
    position: int = Field(primary_key=True, sa_type=BigInteger)
    hash: bytes


class Log(AuditorTable, table=True):
    """How far each log has come."""

    topic: ClassVar[str] = "appender"

    log: str = Field(primary_key=True)
    size: int = Field(sa_type=BigInteger)
    frontier: bytes
    """In the form of cairn.audit.merkle."""


class Registered(AuditorTable, table=True):
    """Every version."""

    topic: ClassVar[str] = "registry"

    model: str = Field(primary_key=True)
    version: int = Field(primary_key=True)
    digest: str
    revision: int
    """Of the declaration that it was made to."""


class Declared(AuditorTable, table=True):
    """Whom every revision of every declaration names as approvers."""

    topic: ClassVar[str] = "registry"

    model: str = Field(primary_key=True)
    revision: int = Field(primary_key=True)
    approvers: str
    """A JSON array."""


class Verdict(AuditorTable, table=True):
    """The validator's latest verdict on each version."""

    topic: ClassVar[str] = "validation"

    model: str = Field(primary_key=True)
    version: int = Field(primary_key=True)
    passed: bool
    facts: str
    origin: str


class Approval(AuditorTable, table=True):
    """Approvals that persons gave, whether they counted or not."""

    topic: ClassVar[str] = "requests"

    source: str = Field(primary_key=True)
    id: str = Field(primary_key=True)
    person: str
    """A handle; empty where no person spoke."""
    keyid: str
    """The key that the approval was signed with: its roles count."""


class Adopted(AuditorTable, table=True):
    """Every revision of every policy."""

    topic: ClassVar[str] = "governance"

    policy: str = Field(primary_key=True)
    revision: int = Field(primary_key=True)
    facts: str
    origin: str


class Promotion(AuditorTable, table=True):
    """What was told last of each version's promotion."""

    topic: ClassVar[str] = "governance"

    model: str = Field(primary_key=True)
    version: int = Field(primary_key=True)
    state: str
    """pending, approved or refused."""
    policy_revision: int
    expires_at: str
    """Of a pending one; else empty."""
    facts: str
    origin: str


class Finding(AuditorTable, table=True):
    """What was found in each log."""

    topic: ClassVar[str] = "governance"

    log: str = Field(primary_key=True)
    first_offset: int = Field(primary_key=True, sa_type=BigInteger)
    code: str = Field(primary_key=True)
    last_offset: int = Field(sa_type=BigInteger)
    severity: str
    text: str
    event: str
    """JSON of the reference; empty where the record could not be read."""
    raised_at: str


class Signed(AuditorTable, table=True):
    """Every signed checkpoint."""

    topic: ClassVar[str] = "checkpoints"

    log: str = Field(primary_key=True)
    tree_size: int = Field(primary_key=True, sa_type=BigInteger)
    root_hash: str
    note: str
    signed_at: str
