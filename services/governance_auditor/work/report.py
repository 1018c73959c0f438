"""What a verification has found, and the exit codes that say so."""

from dataclasses import dataclass, field

OK, TAMPERED, USAGE, UNREACHABLE, TRUNCATED, WRONG_KEY = range(6)


@dataclass(slots=True)
class Report:
    """What was found."""

    problems: list[tuple[int, str]] = field(default_factory=list)
    logs: int = 0
    records: int = 0
    unsigned: int = 0
    not_compared: str = ""
    """Why the tables were not compared with the records; empty if they were."""

    def add(self, code: int, text: str) -> None:
        """Note something that is wrong."""
        self.problems.append((code, text))

    @property
    def code(self) -> int:
        """The exit code: what was changed weighs more than what is missing, that more than what nobody can check.

        What could not be looked at is not ok: whoever changes a row might else have it passed over.
        """
        return min((code for code, _ in self.problems), default=UNREACHABLE if self.not_compared else OK)
