"""Stores to be tested, each with a back door to what lies in it."""

import hashlib
import io
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minio import Minio

from cairn.events.values import ObjectRef
from cairn.objects import ObjectStore, S3Settings, open_store

HELLO = b"a stone on the trail"
OF_HELLO = "sha256:" + hashlib.sha256(HELLO).hexdigest()
KEY_OF_HELLO = f"sha256/{OF_HELLO[7:9]}/{OF_HELLO[7:]}"


@dataclass(frozen=True)
class Place:
    """A store to be tested, and a back door to what lies in it."""

    url: str
    open: Callable[..., ObjectStore]
    write: Callable[[str, bytes], str]
    """Puts bytes under a key past the store, and says their uri."""
    remove: Callable[[str], None]


def directory_place(root: Path) -> Place:
    def write(key: str, data: bytes) -> str:
        path = root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.write_bytes(data)
        return path.as_uri()

    def open_(**options: Any) -> ObjectStore:
        return open_store(root.as_uri(), **options)

    return Place(root.as_uri(), open_, write, lambda key: (root / key).unlink())


def bucket_place(settings: S3Settings, cache: Path) -> Place:
    client, bucket = minio(settings), f"test-{uuid.uuid4()}"
    client.make_bucket(bucket)

    def write(key: str, data: bytes) -> str:
        return put(client, bucket, f"some/prefix/{key}", data)

    def open_(**options: Any) -> ObjectStore:
        given: dict[str, Any] = {"s3": settings, "cache": cache, **options}
        return open_store(f"s3://{bucket}/some/prefix", **given)

    return Place(
        f"s3://{bucket}/some/prefix", open_, write, lambda key: client.remove_object(bucket, f"some/prefix/{key}")
    )


def minio(settings: S3Settings) -> Minio:
    host = settings.endpoint.removeprefix("http://")
    return Minio(host, settings.access_key, settings.secret_key, secure=False, region=settings.region)


def put(client: Minio, bucket: str, key: str, data: bytes) -> str:
    client.put_object(bucket, key, io.BytesIO(data), len(data))
    return f"s3://{bucket}/{key}"


def ref_to(uri: str, data: bytes) -> ObjectRef:
    digest = "sha256:" + hashlib.sha256(data).hexdigest()
    return ObjectRef(uri=uri, digest=digest, bytes=len(data), media_type="text/plain")
