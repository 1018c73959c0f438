"""Walks a log from its beginning and compares its tree with what was signed of it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from cairn.audit.merkle import Frontier
from cairn.audit.note import Checkpoint, WrongKeyError, open_checkpoint
from cairn.events.hearing import AUDITOR
from cairn.events.identity import Installation
from cairn.events.signing import Trust, decode_base64


def key_name(installation: Installation) -> str:
    """The name of the auditor's key in its notes."""
    return f"{installation.name}/{AUDITOR}"


def origin_of(installation: Installation, log: str) -> str:
    """The name of a log (topic/partition) in its notes."""
    return f"{installation.name}/{log}"


def checkpoint_keys(trust: Trust) -> tuple[Ed25519PublicKey, ...]:
    """The keys that may write checkpoints, past ones included: what they signed in their time still counts."""
    return tuple(
        Ed25519PublicKey.from_public_bytes(decode_base64(key.public_key))
        for key in trust.keys
        if "checkpoints" in key.topics
    )


def open_by_any(note: str, name: str, keys: Iterable[Ed25519PublicKey]) -> Checkpoint:
    """The checkpoint in a note that one of these keys signed under this name. Raises as `open_checkpoint` does."""
    for key in keys:
        try:
            return open_checkpoint(note, name, key)
        except WrongKeyError:
            continue
    raise WrongKeyError(f"no known key of {name} has signed the note")


class Mismatch(NamedTuple):
    """The records from `start` up to, not including, `end` are not those that were signed."""

    start: int
    """The largest smaller size that agreed, or the beginning."""
    end: int
    """The signed size."""


@dataclass(slots=True)
class Walk:
    """A log on the way from its first leaf to its last."""

    signed: dict[int, set[bytes]] = field(default_factory=dict)
    """The roots that were signed, by their size."""
    frontier: Frontier = field(default_factory=Frontier)
    _agreed: int = 0
    _ahead: list[int] | None = None
    """The signed sizes that are still to come, the next one last."""

    def sign(self, checkpoint: Checkpoint) -> None:
        """Have a signed checkpoint compared. All must be known before the first step."""
        self.signed.setdefault(checkpoint.size, set()).add(checkpoint.root)

    def step(self, leaves: Sequence[bytes]) -> list[Mismatch]:
        """Go on with the next leaves, given by their hashes; what does not agree on the way."""
        if self._ahead is None:
            self._ahead = sorted(self.signed, reverse=True)
        found, start = [], self.frontier.size
        while self._ahead and self._ahead[-1] <= start + len(leaves):
            size = self._ahead.pop()
            self.frontier = self.frontier.extend(leaves[self.frontier.size - start : size - start])
            if self.signed[size] == {self.frontier.root}:
                self._agreed = size
            else:
                found.append(Mismatch(self._agreed, size))
        self.frontier = self.frontier.extend(leaves[self.frontier.size - start :])
        return found

    @property
    def size(self) -> int:
        """How far it has come."""
        return self.frontier.size

    @property
    def signed_size(self) -> int:
        """The largest size that was signed; 0 where nothing was."""
        return max(self.signed, default=0)
