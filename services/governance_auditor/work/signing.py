"""Signs checkpoints: the root of each log that has grown, where it goes on from what was signed before."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from sqlmodel import Session

from cairn.audit.merkle import SubtreeHash, consistency_proof, root_at, verify_consistency
from cairn.audit.note import Checkpoint, sign_checkpoint
from cairn.audit.walk import key_name, origin_of
from cairn.events.governance import CheckpointSigned, FindingRaised
from cairn.events.identity import Installation
from cairn.events.values import LogRange
from chassis import Due, Transaction
from chassis.transaction import Place, unreadable_cause
from governance_auditor.store import Head, LogStore, Signed
from governance_auditor.store.log import parse_log
from governance_auditor.work.inspecting import Inspector

EVERY_SECONDS = 5.0
"""A log is signed at most so often."""
_CHECKPOINTS = "checkpoints"
log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Ripe:
    """A log that is to be signed at a size."""

    log: str
    size: int


@dataclass(frozen=True, slots=True)
class Signing:
    """Signs what was appended, and looked at."""

    installation: Installation
    inspector: Inspector

    def due(self, session: Session, now: datetime) -> Sequence[Due]:
        """The logs to sign now; those of the checkpoints only beside others, or each signing would lead to the next."""
        store = LogStore(session)
        heads = store.heads()
        cut = [head for head in heads if head.signed_size > head.size and not head.broken]
        ripe = [head for head in heads if self._is_ripe(session, head, now) and not _is_still_broken(store, head)]
        if all(parse_log(head.log)[0] == _CHECKPOINTS for head in ripe):
            ripe = []
        return [
            *(_due(head.log, head.signed_size) for head in cut),
            *(_due(head.log, self.inspector.reached(session, head.log)) for head in ripe),
        ]

    def next_at(self, session: Session) -> datetime | None:
        """When to look again."""
        return self.inspector.next_at(session)

    def sign(self, due: Due, tx: Transaction) -> None:
        """Tell a checkpoint, or that none can be signed any more."""
        ripe: _Ripe = due.detail
        store = LogStore(tx.session)
        head = store.head(ripe.log)
        if head is None:
            return
        if head.signed_size > head.size:
            _tell_break(head, "truncated", f"{head.signed_size} records are signed, only {head.size} are there", tx)
        elif head.signed_size < ripe.size:
            root = _root(store.subtrees(ripe.log), ripe.size, head.signed)
            if root is None:
                _tell_break(head, "fork", f"what is stored does not lead to the root signed at {head.signed_size}", tx)
            else:
                tx.tell(self._checkpoint(ripe, root, tx))

    def _checkpoint(self, ripe: _Ripe, root: bytes, tx: Transaction) -> CheckpointSigned:
        origin = origin_of(self.installation, ripe.log)
        private_key = tx.voice.signer.private_key
        note = sign_checkpoint(Checkpoint(origin, ripe.size, root), key_name(self.installation), private_key)
        return CheckpointSigned(
            log=ripe.log,
            origin=origin,
            tree_size=ripe.size,
            root_hash=base64.b64encode(root).decode(),
            note=note,
        )

    def _is_ripe(self, session: Session, head: Head, now: datetime) -> bool:
        if self.inspector.reached(session, head.log) <= head.signed_size:
            return False
        signed_at = datetime.fromisoformat(head.signed.signed_at) if head.signed else None
        return signed_at is None or now >= signed_at + timedelta(seconds=EVERY_SECONDS)


def _due(log_name: str, size: int) -> Due:
    topic, partition = parse_log(log_name)
    return Due(unreadable_cause(Place(topic, partition, size - 1)), _Ripe(log_name, size))


def _root(subtree: SubtreeHash, size: int, signed: Signed | None) -> bytes | None:
    """The root at a size; None where the stored tree does not go on from what was signed."""
    try:
        root = root_at(size, subtree)
        if signed is None:
            return root
        proof = consistency_proof(signed.tree_size, size, subtree)
    except LookupError:
        return None
    before = base64.b64decode(signed.root_hash)
    agrees = verify_consistency(
        first=signed.tree_size, second=size, first_root=before, second_root=root, proof=proof
    ) and before == root_at(signed.tree_size, subtree)
    return root if agrees else None


def _is_still_broken(store: LogStore, head: Head) -> bool:
    """Whether a log that was found broken is so yet: a rebuild from Kafka may have mended it."""
    return head.broken and _root(store.subtrees(head.log), head.size, head.signed) is None


def _tell_break(head: Head, code: str, text: str, tx: Transaction) -> None:
    """Say that a log is not what was signed. It is not signed until it is again."""
    if head.broken:
        return
    log.error("checkpoint.broken", log=head.log, code=code, reason=text)
    topic, partition = parse_log(head.log)
    tx.tell(
        FindingRaised(
            log=head.log,
            code=code,
            severity="alarm",
            text=f"{text}: it is not signed any more",
            record=LogRange(topic=topic, partition=partition, first_offset=0, last_offset=head.signed_size - 1),
        ),
        n=code,
    )
