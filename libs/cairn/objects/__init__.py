"""Large things, kept by the digest of their bytes and verified whenever they are read."""

from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from cairn.events.values import Digest, ObjectRef
from cairn.objects.content import Progress, key_of, measure_file
from cairn.objects.errors import (
    AccessRefused,
    ObjectCorrupt,
    ObjectError,
    ObjectMissing,
    ObjectRefused,
    StoreUnreachable,
)
from cairn.objects.places import parse_place
from cairn.objects.settings import S3Settings, read_s3_settings

__all__ = [
    "AccessRefused",
    "ObjectCorrupt",
    "ObjectError",
    "ObjectMissing",
    "ObjectRefused",
    "ObjectStore",
    "Progress",
    "S3Settings",
    "StoreUnreachable",
    "describe_file",
    "fetch_from_bucket",
    "open_store",
    "read_s3_settings",
]


class ObjectStore(Protocol):
    """Keeps large things under `sha256/<first two hex>/<hex>`. Calls block; threads may share one store.

    Every method may raise StoreUnreachable: wait, and call again. The other errors are final.
    """

    def put_bytes(self, data: bytes, media_type: str) -> ObjectRef:
        """Keep some bytes; what is there already is not written again. Raises ValueError for a false media type."""
        ...

    def put_file(self, path: Path, media_type: str, progress: Progress | None = None) -> ObjectRef:
        """Keep the content of a file, never wholly in memory; `progress` hears each number of bytes gone through.

        Raises OSError where the file cannot be read, ObjectCorrupt where it changed meanwhile.
        """
        ...

    def get(self, ref: ObjectRef) -> Path:
        """A local file, read-only, whose size and digest were just verified.

        The digest is looked up in this store, wherever the uri points; what the store has not is read from the uri
        only under an allowed root. Raises ObjectMissing, ObjectCorrupt, ObjectRefused.
        """
        ...

    def read_bytes(self, ref: ObjectRef, limit: int) -> bytes:
        """The verified bytes of an object of at most `limit` bytes; raises as `get`, ObjectRefused for a larger one."""
        ...

    def find(self, digest: Digest) -> ObjectRef | None:
        """A reference to the object of this digest, not verified: `get` does that. Raises ValueError for no digest."""
        ...

    def exists(self, digest: Digest) -> bool:
        """Whether there is an object of this digest, not verified. Raises ValueError for no digest."""
        ...


def open_store(
    url: str, *, s3: S3Settings | None = None, cache: Path | None = None, allowed_roots: Iterable[str] = ()
) -> ObjectStore:
    """The store at `file:///path`, a plain path, or `s3://bucket/prefix` (the last with settings `s3`).

    What is read from S3 is kept in `cache` (the user's own by default). Objects in other places are read only under
    `allowed_roots`. Raises ValueError for what cannot be meant, StoreUnreachable for a directory that cannot be made.
    """
    place = parse_place(url)
    if isinstance(place, Path):
        from cairn.objects.directory import DirectoryStore

        return DirectoryStore(place, allowed_roots)
    from cairn.objects.s3 import S3Store

    return S3Store(place, s3 or S3Settings(), cache or _user_cache(), allowed_roots)


def describe_file(url: str, path: Path, media_type: str) -> ObjectRef:
    """What the store at a URL would answer for a file, without putting it. Raises ValueError and OSError."""
    place = parse_place(url)
    with path.open("rb") as file:
        digest, size = measure_file(file)
    key = key_of(digest)
    uri = (place / key).as_uri() if isinstance(place, Path) else f"{place}/{key}"
    return ObjectRef(uri=uri, digest=digest, bytes=size, media_type=media_type)


def fetch_from_bucket(url: str, s3: S3Settings, target: Path) -> None:
    """Copy an object from `s3://bucket/key` into a local file; nothing can be verified.

    Raises ValueError for another address, ObjectMissing, StoreUnreachable.
    """
    place = parse_place(url)
    if isinstance(place, Path) or not place.key:
        raise ValueError(f"{url!r} is not an object in a bucket: expected s3://bucket/key")
    from cairn.objects.s3 import S3Store

    S3Store(place, s3, _user_cache()).copy_out(place, target)


def _user_cache() -> Path:
    from platformdirs import user_cache_path

    return user_cache_path("cairn") / "objects"
