"""The classes of a Java server, kept as they were loaded once: from then on it starts in half the time.

This is class data sharing as Java has it since version 13 (JEP 350). Java itself sees whether what was kept still fits
and goes on without it where it does not.
"""

import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from uuid import uuid4

_MADE = "classes.jsa"
"""In the server's own directory, where Java leaves it when the server stops in order."""


@dataclass(frozen=True)
class ClassArchive:
    """The archive of one server's classes."""

    kept: Path
    """In the cache, for all servers of this kind."""
    made: Path

    @classmethod
    def of(cls, java: Path, files: Sequence[Path], directory: Path) -> Self:
        """The archive of what these jars bring to this Java. They are in the cache, and so is what is kept."""
        real = java.resolve()
        looks = [f"{file} {status.st_size} {status.st_mtime_ns}" for file in (real, *files) for status in [file.stat()]]
        digest = hashlib.sha256("\n".join(looks).encode()).hexdigest()
        return cls(files[0].parent / f"{digest[:16]}.jsa", directory / _MADE)

    @property
    def reading(self) -> tuple[str, ...]:
        """Java's options for a program that uses what is kept."""
        usable = self.kept.exists() and ":" not in str(self.kept)  # Java would read two paths
        return (f"-XX:SharedArchiveFile={self.kept}",) if usable else ()

    @property
    def options(self) -> tuple[str, ...]:
        """Java's options for the server: it uses what is kept, or else leaves something to keep."""
        return self.reading or (f"-XX:ArchiveClassesAtExit={_MADE}", "-Xlog:cds*=error")

    def keep(self) -> None:
        """Keep what a server that has ended has left, if it has. A cache that cannot be written stays as it is."""
        if not self.made.exists():
            return
        arriving = self.kept.with_name(f"{uuid4().hex}.jsa")
        try:
            shutil.move(self.made, arriving)
            arriving.replace(self.kept)
        except OSError:
            self.made.unlink(missing_ok=True)
            arriving.unlink(missing_ok=True)
