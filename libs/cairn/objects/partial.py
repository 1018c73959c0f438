"""An object on its way into a directory: a hidden file beside its place."""

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from cairn.events.values import ObjectRef
from cairn.objects import content, parts

_READ_ONLY = 0o444


class PartialFile:
    """The parts of an object that are there so far; an Upload. Whoever has it open keeps others waiting."""

    def __init__(self, target: Path, ref: ObjectRef) -> None:
        """Open what was begun, or begin. Raises OSError."""
        self._target, self._ref = target, ref
        self._path = target.with_name(f".{target.name}.part")
        content.make_folder(target.parent)
        self._file = self._opened()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._file)

    def has(self, number: int, part: bytes) -> bool:
        """See Upload."""
        return os.pread(self._file, len(part), _start_of(number)) == part

    def send(self, number: int, part: bytes) -> None:
        """See Upload."""
        start, left = _start_of(number), memoryview(part)
        while left:
            written = os.pwrite(self._file, left, start)
            start, left = start + written, left[written:]

    def complete(self) -> None:
        """See Upload."""
        os.ftruncate(self._file, self._ref.bytes)  # what was begun by something else may have been longer
        os.fchmod(self._file, os.fstat(self._file).st_mode & _READ_ONLY)
        os.fsync(self._file)
        self._path.replace(self._target)
        content.sync_folder(self._target.parent)

    def abandon(self) -> None:
        """See Upload."""
        self._path.unlink()

    def _opened(self) -> int:
        while True:
            file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
            fcntl.flock(file, fcntl.LOCK_EX)
            if self._is_at_its_place(file):
                return file
            os.close(file)  # whom we waited for has completed or abandoned it

    def _is_at_its_place(self, file: int) -> bool:
        try:
            return os.path.samestat(os.fstat(file), self._path.stat())
        except FileNotFoundError:
            return False


def _start_of(number: int) -> int:
    return (number - 1) * parts.PART_BYTES
