"""Named points at which a test may end the process, as a crash would."""

import os
import signal
from dataclasses import dataclass, field
from pathlib import Path

from chassis.settings import SettingsError, read_named_file

POINTS = ("after-commit", "after-send", "during-work")
"""After a commit that told something; after Kafka confirmed a send, before that is stored; while work is under way."""


@dataclass(slots=True)
class Failpoints:
    """Armed by a text such as `after-commit@3,after-send@1`: die at the third and the first hit."""

    armed: dict[str, int]
    spent: Path | None = None
    """Remembers over restarts which have gone off: each kills once."""
    hits: dict[str, int] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str, spent: Path | None = None) -> "Failpoints":
        """Read the setting. Raises SettingsError."""
        gone_off = read_named_file("CAIRN_FAILPOINTS_SPENT", spent).split() if spent and spent.exists() else []
        armed = {}
        for part in filter(None, text.split(",")):
            name, _, hit = part.partition("@")
            if name not in POINTS or not (hit or "1").isdigit():
                raise SettingsError(f"CAIRN_FAILPOINTS: {part!r} is not one of {', '.join(POINTS)} with @<hit>")
            if name not in gone_off:
                armed[name] = int(hit or 1)
        return cls(armed, spent)

    def is_armed(self, name: str) -> bool:
        """Whether it may still go off."""
        return name in self.armed

    def reach(self, name: str) -> None:
        """Die here if this hit is the armed one."""
        if not self.is_armed(name):
            return
        self.hits[name] = self.hits.get(name, 0) + 1
        if self.hits[name] == self.armed[name]:
            if self.spent:
                with self.spent.open("a") as file:
                    file.write(f"{name}\n")
            os.kill(os.getpid(), signal.SIGKILL)
