"""What in the log is not as it should be, and how bad it is."""

from dataclasses import dataclass
from typing import Literal

Severity = Literal["notice", "warning", "alarm"]

_ALARMS = frozenset({"signature", "not-allowed", "unsigned", "wrong-topic", "id-reused", "causation"})
"""Somebody spoke who may not, for somebody else, in two ways, or without end."""
_NOTICES = frozenset({"unsupported-version"})
"""A newer writer is at work."""
UNSIGNED = "unsigned-admitted"
REUSED = "id-reused"


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong with a record."""

    code: str
    severity: Severity
    text: str


def fault_of(code: str, text: str) -> Fault:
    """Why a record is no event that counts, graded."""
    severity: Severity = "alarm" if code in _ALARMS else "notice" if code in _NOTICES else "warning"
    return Fault(code[:128], severity, text[:2000])


def unsigned(source: str) -> Fault:
    """An event that only the trust file's leniency lets count."""
    return Fault(UNSIGNED, "notice", f"{source} speaks unsigned, as the trust file admits")


def misplaced(partition: int, right: int) -> Fault:
    """A record that lies where its key does not belong: its order among others of its key is lost."""
    text = f"the record lies in partition {partition}, its key belongs into {right} (murmur2)"
    return Fault("wrong-partition", "notice", text)


def out_of_sequence(sequence: int, previous: int | None) -> Fault | None:
    """Whether a number does not follow on the one before it, of the same source, topic and subject."""
    expected = 1 if previous is None else previous + 1
    if sequence == expected:
        return None
    if sequence > expected:
        missing = f"{expected}" if sequence == expected + 1 else f"{expected} to {sequence - 1}"
        return Fault("sequence-gap", "warning", f"the sequence goes on at {sequence}: {missing} is missing")
    return Fault("sequence-regress", "warning", f"the sequence falls back to {sequence} after {previous}")
