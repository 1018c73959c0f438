"""Objects in an S3 bucket, of any server that speaks path-style S3 with v4 signatures."""

import io
import shutil
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast
from urllib.parse import SplitResult, urlsplit
from xml.etree.ElementTree import ParseError

from cairn.events.values import Digest, ObjectRef
from cairn.objects import content, parts
from cairn.objects.errors import AccessRefused, ObjectCorrupt, ObjectMissing, StoreUnreachable
from cairn.objects.multipart import MultipartUpload
from cairn.objects.places import InBucket, Outside
from cairn.objects.settings import S3Settings

if TYPE_CHECKING:
    from minio import Minio
    from minio.error import S3Error

_REFUSALS = frozenset({401, 403})


class S3Store:
    """An object store in a bucket. Threads may share one; a forked process makes its own."""

    def __init__(self, place: InBucket, settings: S3Settings, cache: Path, allowed_roots: Iterable[str] = ()) -> None:
        """Connect to nothing yet. What is read is kept under `cache`, which may be emptied at any time.

        Raises ValueError, naming the setting that is wrong or missing, and ImportError without the extra `s3`.
        """
        self._place = place
        self._client = _client(settings)
        self._endpoint = settings.endpoint
        self._cache = cache.absolute()
        self._outside = Outside(str(place), allowed_roots)
        self._bucket_seen = False

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
        """A verified copy in the cache. See ObjectStore."""
        path = self._cache / content.key_of(ref.digest)
        with self._reached(ref.digest):
            try:
                content.verify_file(path, ref)
            except (ObjectMissing, ObjectCorrupt):
                source, place = self._open(ref)
                with closing(source):
                    content.write_durably(content.CheckedReader(source, ref, place), path)
        return path

    def read_bytes(self, ref: ObjectRef, limit: int) -> bytes:
        """The object's bytes, verified. See ObjectStore."""
        content.refuse_larger(ref, limit)
        path = self.get(ref)
        with self._reached(ref.digest):
            return content.read_verified(path, ref)

    def find(self, digest: Digest) -> ObjectRef | None:
        """The object of a digest, with the media type that it was put with. See ObjectStore."""
        found = self._stat(digest)
        return None if found is None else self._ref(digest, *found)

    def exists(self, digest: Digest) -> bool:
        """Whether there is such an object. See ObjectStore."""
        return self._stat(digest) is not None

    def copy_out(self, place: InBucket, target: Path) -> None:
        """Copy whatever lies at a place, in any bucket of the server, into a local file; nothing can be verified.

        Raises ObjectMissing, StoreUnreachable.
        """
        with self._reached(str(place), place):
            source = cast("BinaryIO", self._client.get_object(place.bucket, place.key))
            with closing(source), target.open("wb") as file:
                shutil.copyfileobj(source, file, content.CHUNK_BYTES)

    def _put(self, source: content.Readable, ref: ObjectRef, place: object, progress: content.Progress | None) -> None:
        found = self._stat(ref.digest)
        if found is not None and found[0] == ref.bytes:
            if progress is not None:
                progress(ref.bytes)
            return
        if ref.bytes > parts.PART_BYTES:
            self._put_parts(source, ref, place, progress)
            return
        reader = content.CheckedReader(source, ref, place, progress)
        with self._reached(ref.digest):
            self._client.put_object(
                self._place.bucket,
                self._key(ref.digest),
                reader,  # type: ignore[arg-type]  # the client only reads from it
                ref.bytes,
                content_type=ref.media_type,
                part_size=parts.PART_BYTES,  # so it goes whole
            )

    def _put_parts(
        self, source: content.Readable, ref: ObjectRef, place: object, progress: content.Progress | None
    ) -> None:
        try:
            with self._reached(ref.digest):
                upload = MultipartUpload(self._client, InBucket(self._place.bucket, self._key(ref.digest)), ref)
                parts.send_parts(source, ref, place, upload, progress)
        except StoreUnreachable:
            found = self._stat(ref.digest)  # somebody else may have completed the same upload before us
            if found is None or found[0] != ref.bytes:
                raise

    def _stat(self, digest: Digest) -> tuple[int, str] | None:
        try:
            with self._reached(digest):
                found = self._client.stat_object(self._place.bucket, self._key(digest))
        except ObjectMissing:
            self._see_bucket()
            return None
        if found.size is None:
            raise StoreUnreachable(f"the object store {self._endpoint} does not tell the size of {digest}")
        return found.size, (found.content_type or content.UNKNOWN_MEDIA_TYPE)[:200]

    def make_bucket(self) -> bool:
        """Make the bucket where it is missing; whether it was. Raises StoreUnreachable."""
        with self._reached("bucket"):
            if self._client.bucket_exists(self._place.bucket):
                return False
            self._client.make_bucket(self._place.bucket)
        return True

    def _see_bucket(self) -> None:
        """A HEAD has no body to say what is missing: without its bucket, every object only looks absent."""
        if not self._bucket_seen:
            with self._reached("bucket"):
                self._bucket_seen = self._client.bucket_exists(self._place.bucket)
        if not self._bucket_seen:
            raise StoreUnreachable(
                f"the object store {self._endpoint} has no bucket {self._place.bucket!r}: make it with `cairn prepare`"
            )

    def _open(self, ref: ObjectRef) -> tuple[BinaryIO, InBucket | Path]:
        """The object in the own bucket, or else in an allowed root; and which of them it is."""
        own = InBucket(self._place.bucket, self._key(ref.digest))
        try:
            return self._open_in_bucket(own, ref), own
        except ObjectMissing:
            place = self._outside.place_of(ref)
        return (self._open_in_bucket(place, ref) if isinstance(place, InBucket) else place.open("rb")), place

    def _open_in_bucket(self, place: InBucket, ref: ObjectRef) -> BinaryIO:
        with self._reached(ref.digest, place):
            return cast("BinaryIO", self._client.get_object(place.bucket, place.key))

    def _key(self, digest: Digest) -> str:
        return f"{self._place.key}/{content.key_of(digest)}".removeprefix("/")

    def _ref(self, digest: Digest, size: int, media_type: str) -> ObjectRef:
        uri = str(InBucket(self._place.bucket, self._key(digest)))
        return ObjectRef(uri=uri, digest=digest, bytes=size, media_type=media_type)

    @contextmanager
    def _reached(self, what: str, place: InBucket | None = None) -> Iterator[None]:
        """Say in our words what went wrong on the way to the server."""
        from minio.error import MinioException, S3Error
        from urllib3.exceptions import HTTPError

        try:
            yield
        except S3Error as error:
            raise self._explained(error, what, place or self._place) from error
        except (MinioException, HTTPError, OSError, ParseError, UnicodeDecodeError) as error:
            raise StoreUnreachable(f"the object store {self._endpoint} cannot be used: {_reason(error)}") from error

    def _explained(self, error: "S3Error", what: str, place: InBucket) -> Exception:
        if error.code == "NoSuchKey":
            return ObjectMissing(f"there is no object {what} at {place}")
        if error.response.status in _REFUSALS:
            return AccessRefused(
                f"the object store {self._endpoint} refuses access to {place} ({error.code}): "
                "check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and what they may do"
            )
        return StoreUnreachable(f"the object store {self._endpoint} answers {error.code}: {error.message}")


def _reason(error: Exception) -> object:
    return getattr(error, "reason", None) or error  # what was retried in vain says why only inside


def _client(settings: S3Settings) -> "Minio":
    parts = _checked_endpoint(settings)
    try:
        from minio import Minio

        from cairn.objects.connections import open_pools
    except ImportError as error:
        raise ImportError("objects in S3 need the extra 's3': pip install 'cairn-sdk[s3]'") from error
    return Minio(
        parts.netloc,
        access_key=settings.access_key,
        secret_key=settings.secret_key,
        session_token=settings.session_token or None,
        secure=parts.scheme == "https",
        region=settings.region,
        http_client=open_pools(),
    )


def _checked_endpoint(settings: S3Settings) -> SplitResult:
    """The endpoint in parts. Raises ValueError where the settings cannot be right."""
    for name, value in (("AWS_ACCESS_KEY_ID", settings.access_key), ("AWS_SECRET_ACCESS_KEY", settings.secret_key)):
        if not value:
            raise ValueError(f"{name} (or {name}_FILE) is not set: a bucket needs credentials")
    try:
        parts = urlsplit(settings.endpoint)
        plain = parts.port != 0 and parts.username is None and not (parts.path.strip("/") or parts.query)
    except ValueError:
        plain = False
    if not plain or parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("AWS_ENDPOINT_URL_S3 is not an address: expected http(s)://host[:port] and nothing after it")
    return parts
