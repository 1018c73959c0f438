"""Where objects may be: the store's own place, and roots beside it that it was allowed to read from."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from cairn.events.values import ObjectRef
from cairn.objects.errors import ObjectMissing, ObjectRefused

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")


@dataclass(frozen=True)
class InBucket:
    """A key or a prefix in an S3 bucket."""

    bucket: str
    key: str

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}".rstrip("/")

    def holds(self, other: "InBucket") -> bool:
        """Whether the other is under this one, by whole segments."""
        return self.bucket == other.bucket and (not self.key or other.key.startswith(self.key + "/"))


def parse_place(url: str) -> Path | InBucket:
    """The place that a URL or a plain path names. Raises ValueError, saying what is wrong with it."""
    if url.startswith("s3://"):
        return _parse_bucket(url)
    if url.startswith("file:"):
        return _parse_file(url)
    if not url or "\0" in url or _SCHEME.match(url):
        raise ValueError(f"{url!r} is not a place for objects: expected a path, file:///path or s3://bucket/prefix")
    return Path(url).absolute()


def _parse_bucket(url: str) -> InBucket:
    bucket, _, key = url.removeprefix("s3://").partition("/")
    key = key.rstrip("/")
    if _BUCKET.fullmatch(bucket) is None or ".." in bucket:
        raise ValueError(f"{url!r} names no bucket: expected s3://bucket/prefix, the bucket in lower case")
    if key and (not key.isprintable() or not {"", ".", ".."}.isdisjoint(key.split("/"))):
        raise ValueError(f"{url!r} is not plain: its parts may not be empty, '.' or '..'")
    return InBucket(bucket, key)


def _parse_file(url: str) -> Path:
    parts = urlsplit(url)
    path = unquote(parts.path)
    if not url.startswith("file:/") or parts.netloc not in {"", "localhost"} or parts.query or parts.fragment:
        raise ValueError(f"{url!r} is not a local file: expected file:///path, with ? and # percent-encoded")
    if "\0" in path or ".." in path.split("/"):
        raise ValueError(f"{url!r} is not plain: it may not contain '..' or a null character")
    return Path(path)


class Outside:
    """The roots beside a store's own that it was allowed to read from: `file:///root` or `s3://bucket/prefix`."""

    def __init__(self, own: str, allowed_roots: Iterable[str] = ()) -> None:
        """Raises ValueError where a root is no place."""
        self._own = own
        self._roots = tuple(parse_place(root) for root in allowed_roots)

    def place_of(self, ref: ObjectRef) -> Path | InBucket:
        """Where to read what is not in the own store.

        Raises ObjectMissing where the reference names no other place, ObjectRefused where it names one not allowed.
        """
        if ref.uri.startswith(self._own + "/"):
            raise ObjectMissing(f"there is no object {ref.digest} in {self._own}")
        try:
            place = parse_place(ref.uri)
        except ValueError as error:
            raise self._refused(ref, str(error)) from None
        if isinstance(place, InBucket):
            return self._allowed_object(place, ref)
        return self._allowed_file(place, ref)

    def _allowed_object(self, place: InBucket, ref: ObjectRef) -> InBucket:
        if any(isinstance(root, InBucket) and root.holds(place) for root in self._roots):
            return place
        raise self._refused(ref, "that place was not allowed")

    def _allowed_file(self, path: Path, ref: ObjectRef) -> Path:
        folders = [root.resolve() for root in self._roots if isinstance(root, Path)]
        resolved = path.resolve()  # a link inside an allowed root may lead out of it
        if not any(resolved.is_relative_to(folder) for folder in folders):
            raise self._refused(ref, "that place was not allowed")
        if not resolved.is_file():
            raise ObjectMissing(f"there is no object {ref.digest} in {self._own}, and no file at {ref.uri}")
        return resolved

    def _refused(self, ref: ObjectRef, why: str) -> ObjectRefused:
        return ObjectRefused(f"object {ref.digest} is not in {self._own}, and is not read from {ref.uri!r}: {why}")
