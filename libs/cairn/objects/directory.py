"""Objects in a local directory."""

import io
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from cairn.events.values import Digest, ObjectRef
from cairn.objects import content, parts
from cairn.objects.errors import ObjectRefused, StoreUnreachable
from cairn.objects.partial import PartialFile
from cairn.objects.places import InBucket, Outside


class DirectoryStore:
    """An object store in a directory of this machine, shared by any number of processes."""

    def __init__(self, root: Path, allowed_roots: Iterable[str] = ()) -> None:
        """Make the directory where there is none. Raises StoreUnreachable, and ValueError for a root that is none."""
        self._root = root.absolute()
        self._url = self._root.as_uri().rstrip("/")
        self._outside = Outside(self._url, allowed_roots)
        try:
            self._root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._unreachable(error) from error

    def put_bytes(self, data: bytes, media_type: str) -> ObjectRef:
        """Keep some bytes. See ObjectStore."""
        ref = self._ref(*content.measure_bytes(data), content.checked_media_type(media_type))
        self._put(io.BytesIO(data), ref, "memory", None)
        return ref

    def put_file(self, path: Path, media_type: str, progress: content.Progress | None = None) -> ObjectRef:
        """Keep the content of a file. See ObjectStore."""
        with path.open("rb") as file:
            ref = self._ref(*content.measure_file(file), content.checked_media_type(media_type))
            self._put(file, ref, path, progress)
        return ref

    def get(self, ref: ObjectRef) -> Path:
        """The object's own file, verified. See ObjectStore."""
        path = self._found(ref)
        with self._reached():
            content.verify_file(path, ref)
        return path

    def read_bytes(self, ref: ObjectRef, limit: int) -> bytes:
        """The object's bytes, verified. See ObjectStore."""
        content.refuse_larger(ref, limit)
        path = self._found(ref)
        with self._reached():
            return content.read_verified(path, ref)

    def find(self, digest: Digest) -> ObjectRef | None:
        """The object of a digest; its media type is not known here. See ObjectStore."""
        size = self._size(self._path(digest))
        return None if size is None else self._ref(digest, size, content.UNKNOWN_MEDIA_TYPE)

    def exists(self, digest: Digest) -> bool:
        """Whether there is such an object. See ObjectStore."""
        return self._size(self._path(digest)) is not None

    def _put(self, source: content.Readable, ref: ObjectRef, place: object, progress: content.Progress | None) -> None:
        path = self._path(ref.digest)
        if self._size(path) == ref.bytes:
            if progress is not None:
                progress(ref.bytes)
            return
        with self._reached():
            if ref.bytes <= parts.PART_BYTES:
                content.write_durably(content.CheckedReader(source, ref, place, progress), path)
                return
            with PartialFile(path, ref) as upload:
                if self._size(path) == ref.bytes:  # whom we waited for has put it
                    upload.abandon()
                else:
                    parts.send_parts(source, ref, place, upload, progress)

    def _found(self, ref: ObjectRef) -> Path:
        """The file that should hold the object, taken in from an allowed root where the store has none."""
        path = self._path(ref.digest)
        if self._size(path) is not None:
            return path
        place = self._outside.place_of(ref)
        if isinstance(place, InBucket):
            raise ObjectRefused(f"object {ref.digest} is at {place}, and a store in a directory reads no buckets")
        # Copied, not read in place: whoever owns that file may change it after it was verified.
        with self._reached(), place.open("rb") as file:
            content.write_durably(content.CheckedReader(file, ref, place), path)
        return path

    def _size(self, path: Path) -> int | None:
        with self._reached():
            return path.stat().st_size if path.is_file() else None

    def _path(self, digest: Digest) -> Path:
        return self._root / content.key_of(digest)

    def _ref(self, digest: Digest, size: int, media_type: str) -> ObjectRef:
        return ObjectRef(uri=self._path(digest).as_uri(), digest=digest, bytes=size, media_type=media_type)

    @contextmanager
    def _reached(self) -> Iterator[None]:
        """Tell a store that is gone (a disk not mounted, or full) from an object that is missing in it."""
        if not self._root.is_dir():
            raise StoreUnreachable(f"the object store {self._url} cannot be used: the directory is not there")
        try:
            yield
        except OSError as error:
            raise self._unreachable(error) from error

    def _unreachable(self, error: OSError) -> StoreUnreachable:
        return StoreUnreachable(f"the object store {self._url} cannot be used: {error}")
