"""What every event class is: facts, frozen, without anything of the envelope."""

from typing import ClassVar

from cairn.events.values import Value


class Event(Value):
    """A fact that has happened, or a request that was made. Two with the same facts are equal.

    Who told it, when and why travels beside it, in the envelope.
    """

    major: ClassVar[int] = 1
    """The major version: a change that breaks somebody makes a new one."""
