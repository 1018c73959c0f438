"""What the governance-auditor tells: policies, approvals, findings, checkpoints."""

from typing import Annotated, Literal

from pydantic import Field

from cairn.events.event import Event
from cairn.events.policy import Policy
from cairn.events.values import (
    Checks,
    Count,
    Digest,
    EventRef,
    Evidence,
    Instant,
    LogRange,
    ModelRef,
    Name,
    Number,
    PolicyRef,
    Reason,
    Text,
    Word,
)

LogName = Annotated[str, Field(pattern=r"^[a-z0-9.-]{1,200}/[0-9]{1,9}$", examples=["registry/0"])]


class PolicyAdopted(Event):
    """Promotions are judged by this policy from now on."""

    policy: Name
    """The policy's name."""
    revision: Number
    """One higher with every change, from 1."""
    document: Policy
    """What it demands."""
    digest: Digest
    """SHA-256 of the document's canonical JSON."""


class PromotionPending(Event):
    """A promotion waits for persons."""

    model: ModelRef
    """The version."""
    validation: EventRef
    """The verdict that it rests on."""
    policy: PolicyRef
    """The policy that it is judged by."""
    approvals: Evidence = ()
    """The approvals given so far."""
    approvals_needed: Count
    """How many are still missing."""
    approvers: Annotated[tuple[Word, ...], Field(max_length=40)] = ()
    """The persons who must still approve."""
    roles: Annotated[tuple[Word, ...], Field(max_length=20)] = ()
    """The roles whose approvals count."""
    expires_at: Instant
    """After this it is refused."""


class _PromotionJudged(Event):
    model: ModelRef
    """The version."""
    validation: EventRef
    """The verdict that it rests on."""
    policy: PolicyRef
    """The policy that it was judged by."""
    approvals: Evidence = ()
    """The persons' approvals that it rests on."""
    checks: Checks
    """Every rule and what it found."""
    reason: Reason
    """Why."""


class PromotionApproved(_PromotionJudged):
    """A version may take traffic."""


class PromotionRefused(_PromotionJudged):
    """A version may not take traffic."""


class FindingRaised(Event):
    """Something in the log is not as it should be."""

    log: LogName
    """The log that it is about: topic/partition."""
    code: Word
    """Which kind, in kebab case."""
    severity: Literal["notice", "warning", "alarm"]
    """How bad."""
    text: Text
    """What was found, for people."""
    record: LogRange
    """The record or records."""
    event: EventRef | None = None
    """The event, where it could be read."""


class FindingClosed(Event):
    """A finding is explained or mended."""

    log: LogName
    """The log that it is about."""
    finding: EventRef
    """The finding."""
    reason: Reason
    """Why it is closed."""


class CheckpointSigned(Event):
    """A log's root at a size, signed."""

    log: LogName
    """The log: topic/partition."""
    origin: Annotated[Text, Field(examples=["cairn/registry/0"])]
    """The log's name in its notes: installation/topic/partition."""
    tree_size: Count
    """How many records."""
    root_hash: Annotated[str, Field(max_length=64)]
    """The Merkle root (RFC 6962), base64."""
    note: Annotated[str, Field(max_length=2000, examples=["cairn/registry/0\n12\nqkrE…=\n\n— cairn 8XZ2…=\n"])]
    """The signed note (C2SP tlog-checkpoint)."""
