"""What is wrong with a declaration, for a person to mend."""

from dataclasses import dataclass

MOST_PROBLEMS = 20
"""So many problems are written out; the rest are counted."""
LONGEST_PROBLEM = 500
"""So many characters of one are written out: a file may hold keys of any length."""


@dataclass(frozen=True, order=True)
class Problem:
    """One thing that is wrong, at a line and column counted from 1; line 0 means the file as a whole."""

    line: int
    column: int
    key: str
    """The dotted key, e.g. `search.estimators[1]`."""
    text: str
    """What was found and what was expected."""

    def __str__(self) -> str:
        whole = f"{self.key}: {self.text}" if self.key else self.text
        return whole if len(whole) <= LONGEST_PROBLEM else whole[:LONGEST_PROBLEM] + "…"


class DeclarationError(ValueError):
    """A declaration that cannot be accepted. The message has a line for each problem, in the order of the file."""

    def __init__(self, name: str, problems: list[Problem]) -> None:
        """`name` is what the person calls the file."""
        self.name = name
        self.problems = tuple(sorted(set(problems)))
        lines = [f"{name}:{p.line}:{p.column}: {p}" if p.line else f"{name}: {p}" for p in self.problems]
        if len(lines) > MOST_PROBLEMS:
            lines[MOST_PROBLEMS:] = [f"{name}: and {len(lines) - MOST_PROBLEMS} more problems"]
        super().__init__("\n".join(lines))
