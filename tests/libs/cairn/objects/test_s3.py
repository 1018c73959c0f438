"""What only a store in a bucket can do wrong."""

import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from tests.libs.cairn.objects.places import HELLO, KEY_OF_HELLO, OF_HELLO, Place, bucket_place, minio, put, ref_to

from cairn.objects import (
    AccessRefused,
    ObjectCorrupt,
    ObjectMissing,
    ObjectRefused,
    ObjectStore,
    S3Settings,
    StoreUnreachable,
    connections,
    open_store,
)


@pytest.fixture
def bucket(bucket_settings: S3Settings, tmp_path: Path) -> Place:
    return bucket_place(bucket_settings, tmp_path / "cache")


def test_the_media_type_is_kept_in_the_bucket(bucket: Place) -> None:
    bucket.open().put_bytes(HELLO, "text/x-hello")
    found = bucket.open().find(OF_HELLO)
    assert found is not None
    assert found.media_type == "text/x-hello"


@contextmanager
def slow_line(endpoint: str, bytes_a_second: int) -> Iterator[str]:
    """An address that leads to a server, but takes no more than so much a second."""
    host, port = endpoint.removeprefix("http://").split(":")
    step = bytes_a_second // 50

    def carry(source: socket.socket, target: socket.socket, pause: float) -> None:
        with suppress(OSError):
            while data := source.recv(step):
                target.sendall(data)
                time.sleep(pause)
            target.shutdown(socket.SHUT_WR)
        source.close()

    def accept(listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                near, _ = listener.accept()
                far = socket.create_connection((host, int(port)))
                threading.Thread(target=carry, args=(near, far, 0.02), daemon=True).start()
                threading.Thread(target=carry, args=(far, near, 0), daemon=True).start()

    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)  # else much would wait in there
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        threading.Thread(target=accept, args=(listener,), daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)


def test_an_object_takes_as_long_as_the_line_needs(
    bucket: Place, bucket_settings: S3Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "CONNECT_SECONDS", 0.3)
    data = os.urandom(16 * 2**20)
    with slow_line(bucket_settings.endpoint, len(data)) as endpoint:
        ref = bucket.open(s3=replace(bucket_settings, endpoint=endpoint)).put_bytes(data, "a/b")
    assert bucket.open().exists(ref.digest)


def test_a_cached_file_is_not_believed(bucket: Place, tmp_path: Path) -> None:
    store = bucket.open()
    ref = store.put_bytes(HELLO, "text/plain")
    cached = store.get(ref)
    for bad in (HELLO.upper(), HELLO[:3], b""):
        cached.unlink()
        cached.write_bytes(bad)
        assert store.get(ref).read_bytes() == HELLO


def test_a_cached_file_needs_no_server(bucket: Place, bucket_settings: S3Settings, dead_end: str) -> None:
    ref = bucket.open().put_bytes(HELLO, "text/plain")
    bucket.open().get(ref)
    offline = bucket.open(s3=replace(bucket_settings, endpoint=dead_end))
    assert offline.read_bytes(ref, limit=20) == HELLO


def test_a_wrong_secret_is_refused_and_named(bucket: Place, bucket_settings: S3Settings, tmp_path: Path) -> None:
    ref = bucket.open().put_bytes(HELLO, "text/plain")
    store = bucket.open(s3=replace(bucket_settings, secret_key="not-the-secret"), cache=tmp_path / "other")
    calls: list[Callable[[], object]] = [
        lambda: store.get(ref),
        lambda: store.exists(OF_HELLO),
        lambda: store.put_bytes(HELLO, "text/plain"),
    ]
    for call in calls:
        with pytest.raises(AccessRefused, match=r"refuses access to s3://.*check AWS_ACCESS_KEY_ID") as refused:
            call()
        assert "not-the-secret" not in str(refused.value)


def test_a_bucket_that_is_not_there_is_not_a_missing_object(bucket_settings: S3Settings, tmp_path: Path) -> None:
    store = open_store("s3://never-made", s3=bucket_settings, cache=tmp_path)
    with pytest.raises(StoreUnreachable, match="has no bucket 'never-made': make it with `cairn prepare`"):
        store.put_bytes(HELLO, "text/plain")
    with pytest.raises(StoreUnreachable, match=r"never-made|NoSuchBucket"):
        store.get(ref_to(f"s3://never-made/{KEY_OF_HELLO}", HELLO))


def test_an_allowed_bucket_is_read_verified(bucket: Place, bucket_settings: S3Settings) -> None:
    client, upstream = minio(bucket_settings), f"upstream-{uuid.uuid4()}"
    client.make_bucket(upstream)
    good = put(client, upstream, "2026/loans.csv", HELLO)
    bad = put(client, upstream, "2026/changed.csv", HELLO.upper())
    beside = put(client, upstream, "2026-not/loans.csv", HELLO)
    store = bucket.open(allowed_roots=[f"s3://{upstream}/2026/"])
    with pytest.raises(ObjectCorrupt):
        store.get(ref_to(bad, HELLO))
    with pytest.raises(ObjectRefused):
        store.get(ref_to(beside, HELLO))
    with pytest.raises(ObjectMissing):
        store.get(ref_to(f"s3://{upstream}/2026/none.csv", HELLO))
    assert store.read_bytes(ref_to(good, HELLO), limit=20) == HELLO


@pytest.fixture
def dead_end() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


def test_a_server_that_is_not_there_is_unreachable(dead_end: str, tmp_path: Path) -> None:
    settings = S3Settings(endpoint=dead_end, access_key="a", secret_key="b")
    store = open_store("s3://bucket", s3=settings, cache=tmp_path)
    with pytest.raises(StoreUnreachable, match=f"{dead_end} cannot be used"):
        store.put_bytes(HELLO, "text/plain")
    with pytest.raises(StoreUnreachable):
        store.get(ref_to(f"s3://bucket/{KEY_OF_HELLO}", HELLO))


class Scripted(BaseHTTPRequestHandler):
    """Answers every request with what the test asked for."""

    status, head, body = 200, dict[str, str](), b""

    def _answer(self) -> None:
        self.send_response(self.status)
        for name, value in ({"Content-Length": str(len(self.body))} | self.head).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(self.body if self.command != "HEAD" else b"")
        self.close_connection = True

    do_GET = do_HEAD = do_PUT = _answer  # noqa: N815 # the names are the standard library's

    def log_message(self, *args: Any) -> None: ...


@pytest.fixture
def scripted(tmp_path: Path) -> Iterator[Callable[..., ObjectStore]]:
    servers: list[HTTPServer] = []

    def serve(**answer: Any) -> ObjectStore:
        server = HTTPServer(("127.0.0.1", 0), type("Handler", (Scripted,), answer))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        settings = S3Settings(endpoint=f"http://127.0.0.1:{server.server_port}", access_key="a", secret_key="b")
        return open_store("s3://bucket", s3=settings, cache=tmp_path / "cache")

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    "answer",
    [
        {"status": 503},
        {"status": 500, "body": b"<html>proxy</html>", "head": {"Content-Type": "text/html"}},
        {"status": 429, "body": b"<Error><Code>SlowDown</Code></Error>", "head": {"Content-Type": "application/xml"}},
        {"status": 400, "body": b"not XML", "head": {"Content-Type": "application/xml"}},
        {"status": 307, "head": {"Location": "http://169.254.169.254/"}},
        {"status": 200, "body": HELLO[:5], "head": {"Content-Length": "20"}},
    ],
    ids=["unavailable", "proxy", "slow down", "garbage", "redirect", "cut off"],
)
def test_a_server_in_trouble_is_unreachable(scripted: Callable[..., ObjectStore], answer: dict[str, Any]) -> None:
    with pytest.raises(StoreUnreachable):
        scripted(**answer).get(ref_to(f"s3://bucket/{KEY_OF_HELLO}", HELLO))


def test_a_server_that_swaps_bytes_is_found_out(scripted: Callable[..., ObjectStore], tmp_path: Path) -> None:
    with pytest.raises(ObjectCorrupt):
        scripted(body=HELLO.upper()).get(ref_to(f"s3://bucket/{KEY_OF_HELLO}", HELLO))
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
