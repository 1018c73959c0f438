"""The classes of a Java server, kept as they were loaded once: from then on it starts in half the time.

This is class data sharing as Java has it since version 13 (JEP 350). Java itself sees whether what was kept still fits
and goes on without it where it does not.
"""

import hashlib
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from uuid import uuid4

_MADE = "classes.jsa"
"""In the server's own directory, where Java leaves it when the server stops in order."""


@dataclass(frozen=True)
class ClassArchive:
    """The archive of one server's classes."""

    cache: Path
    key: str
    """Of the Java and the jars whose classes these are."""
    made: Path

    @classmethod
    def of(cls, java: Path, files: Sequence[Path], directory: Path) -> Self:
        """The archive of what these jars bring to this Java. They are in the cache, and so is what is kept."""
        real = java.resolve()
        looks = [f"{file} {status.st_size} {status.st_mtime_ns}" for file in (real, *files) for status in [file.stat()]]
        key = hashlib.sha256("\n".join(looks).encode()).hexdigest()[:16]
        return cls(files[0].parent, key, directory / _MADE)

    @property
    def kept(self) -> Path | None:
        """The archive, if there is one and it is whole: half of one would end Java where it stands."""
        found = self.cache.glob(f"{self.key}-*.jsa")
        return next((file for file in found if file.name == self._name(file)), None)

    @property
    def reading(self) -> tuple[str, ...]:
        """Java's options for a program that uses what is kept."""
        kept = self.kept
        return (f"-XX:SharedArchiveFile={kept}",) if kept and ":" not in str(kept) else ()  # it would read two paths

    @property
    def options(self) -> tuple[str, ...]:
        """Java's options for the server: it uses what is kept, or else leaves something to keep."""
        return self.reading or (f"-XX:ArchiveClassesAtExit={_MADE}", "-Xlog:cds*=error")

    def keep(self) -> None:
        """Keep what a server that has ended has left, if it has. A cache that cannot be written stays as it is."""
        if not self.made.exists():
            return
        arriving = self.cache / f"{uuid4().hex}.part"
        with suppress(OSError):
            name = self._name(self.made)
            shutil.copyfile(self.made, arriving)
            for former in self.cache.glob(f"{self.key}-*.jsa"):
                former.unlink()
            arriving.replace(self.cache / name)
        with suppress(OSError):
            self.made.unlink()
            arriving.unlink(missing_ok=True)

    def _name(self, file: Path) -> str:
        with file.open("rb") as content:
            return f"{self.key}-{hashlib.file_digest(content, 'sha256').hexdigest()}.jsa"
