"""What makes a store content-addressed: digests, keys, and reading that checks while it reads."""

import hashlib
import os
import re
import shutil
import uuid
from collections.abc import Callable
from io import BufferedReader
from pathlib import Path
from typing import Protocol

from cairn.events.values import Digest, ObjectRef
from cairn.objects.errors import ObjectCorrupt, ObjectMissing, ObjectRefused

CHUNK_BYTES = 2**20
"""How much of a large file is in memory at once where nothing else decides it."""
UNKNOWN_MEDIA_TYPE = "application/octet-stream"

Progress = Callable[[int], None]
"""Told how many bytes have gone through since it was told last."""

_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")
_MEDIA_TYPE = re.compile(r"[\w.+-]+/[\w.+-]+(; ?[\w.+-]+=[\w.+-]+)*", re.ASCII)


class Readable(Protocol):
    """Anything that bytes can be read from."""

    def read(self, size: int = -1, /) -> bytes:
        """At most `size` bytes; none at the end."""
        ...


def key_of(digest: Digest) -> str:
    """The key of the object of this digest. Raises ValueError where it is none: keys are made of nothing else."""
    match = _DIGEST.fullmatch(digest)
    if match is None:
        raise ValueError(f"{digest!r} is not a digest: expected 'sha256:' and 64 hexadecimal digits in lower case")
    return f"sha256/{match[1][:2]}/{match[1]}"


def checked_media_type(media_type: str) -> str:
    """The media type itself. Raises ValueError where it is none: on S3 it becomes a header."""
    if _MEDIA_TYPE.fullmatch(media_type) is None:
        raise ValueError(f"{media_type!r} is not a media type: expected the form 'text/csv'")
    return media_type


def measure_bytes(data: bytes) -> tuple[Digest, int]:
    """Digest and size of some bytes."""
    return "sha256:" + hashlib.sha256(data).hexdigest(), len(data)


def measure_file(file: BufferedReader) -> tuple[Digest, int]:
    """Digest and size of a file; leaves it at its beginning."""
    digest = hashlib.file_digest(file, "sha256").hexdigest()
    size = file.tell()
    file.seek(0)
    return "sha256:" + digest, size


def verify_file(path: Path, ref: ObjectRef) -> None:
    """Raise ObjectMissing or ObjectCorrupt unless the file has the bytes that the reference names."""
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size != ref.bytes:
                raise ObjectCorrupt(_other_bytes(ref, path, f"{size} bytes"))
            found = measure_file(file)
    except FileNotFoundError:
        raise ObjectMissing(f"there is no object {ref.digest} at {path}") from None
    if found != (ref.digest, ref.bytes):
        raise ObjectCorrupt(_other_bytes(ref, path, f"{found[1]} bytes with digest {found[0]}"))


def refuse_larger(ref: ObjectRef, limit: int) -> None:
    """Raise ObjectRefused where the reference names more than `limit` bytes."""
    if ref.bytes > limit:
        raise ObjectRefused(f"object {ref.digest} has {ref.bytes} bytes, more than the {limit} that are read here")


def read_verified(path: Path, ref: ObjectRef) -> bytes:
    """The bytes of a file, checked after they were read. Raises ObjectMissing or ObjectCorrupt."""
    try:
        with path.open("rb") as file:
            data = file.read(ref.bytes + 1)
    except FileNotFoundError:
        raise ObjectMissing(f"there is no object {ref.digest} at {path}") from None
    found, size = measure_bytes(data)
    if (found, size) != (ref.digest, ref.bytes):
        raise ObjectCorrupt(_other_bytes(ref, path, f"{size} bytes with digest {found}"))
    return data


class CheckedReader:
    """Reads a stream and gives its last part away only if all of it is what the reference names."""

    def __init__(self, source: Readable, ref: ObjectRef, place: object, progress: Progress | None = None) -> None:
        self._source, self._ref, self._place, self._progress = source, ref, place, progress
        self._digest = hashlib.sha256()
        self._left = ref.bytes

    def read(self, size: int = CHUNK_BYTES, /) -> bytes:
        """The next bytes. Raises ObjectCorrupt on too few, too many or other bytes than named."""
        chunk = self._source.read(min(size if size >= 0 else CHUNK_BYTES, self._left + 1))
        self._digest.update(chunk)
        self._left -= len(chunk)
        if self._left < 0 or (self._left > 0 and not chunk):
            raise ObjectCorrupt(_other_bytes(self._ref, self._place, "more" if self._left < 0 else "fewer"))
        if self._left == 0 and self._ref.digest != "sha256:" + self._digest.hexdigest():
            raise ObjectCorrupt(_other_bytes(self._ref, self._place, f"digest sha256:{self._digest.hexdigest()}"))
        if self._progress is not None and chunk:
            self._progress(len(chunk))
        return chunk


def write_durably(source: Readable, target: Path) -> None:
    """Write a file that is there whole or not at all, even after a crash. Raises OSError and what the source raises."""
    make_folder(target.parent)
    part = target.with_name(f".{uuid.uuid4().hex}.part")
    try:
        with open(part, "xb", opener=_read_only) as file:
            shutil.copyfileobj(source, file, CHUNK_BYTES)
            file.flush()
            os.fsync(file.fileno())
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    sync_folder(target.parent)


def _read_only(path: str, flags: int) -> int:
    return os.open(path, flags, 0o444)  # the process's umask may take more away


def make_folder(folder: Path) -> None:
    """Make a folder and those above it where they are missing, durably."""
    if not folder.is_dir():
        make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Have a folder's entries outlive a crash."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _other_bytes(ref: ObjectRef, place: object, found: str) -> str:
    return f"{place} does not hold object {ref.digest}: expected {ref.bytes} bytes with this digest, found {found}"
