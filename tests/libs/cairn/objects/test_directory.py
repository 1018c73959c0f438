"""What only a store in a directory can do wrong."""

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.libs.cairn.objects.places import HELLO, OF_HELLO, ref_to

from cairn.objects import ObjectRefused, StoreUnreachable, open_store


def test_a_directory_that_is_gone_is_not_a_missing_object(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "store"))
    ref = store.put_bytes(HELLO, "text/plain")
    (tmp_path / "store").rename(tmp_path / "unmounted")
    calls: list[Callable[[], object]] = [
        lambda: store.get(ref),
        lambda: store.read_bytes(ref, 100),
        lambda: store.exists(OF_HELLO),
        lambda: store.put_bytes(HELLO, "text/plain"),
    ]
    for call in calls:
        with pytest.raises(StoreUnreachable, match="the directory is not there"):
            call()
    assert not (tmp_path / "store").exists()


def test_a_directory_that_cannot_be_written_is_unreachable(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "sha256").write_text("a file in the way")
    with pytest.raises(StoreUnreachable, match="cannot be used"):
        open_store(str(tmp_path / "store")).put_bytes(HELLO, "text/plain")
    with pytest.raises(StoreUnreachable, match="cannot be used"):
        open_store(str(tmp_path / "store" / "sha256" / "below"))


def test_an_interrupted_put_leaves_nothing_behind(tmp_path: Path) -> None:
    def stop(_: int) -> None:
        raise KeyboardInterrupt

    (tmp_path / "hello.txt").write_bytes(HELLO)
    store = open_store(str(tmp_path / "store"))
    with pytest.raises(KeyboardInterrupt):
        store.put_file(tmp_path / "hello.txt", "text/plain", stop)
    assert [path for path in (tmp_path / "store").rglob("*") if path.is_file()] == []


def test_an_object_in_a_directory_is_read_only(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    assert store.get(store.put_bytes(HELLO, "text/plain")).stat().st_mode & 0o222 == 0


def test_a_directory_reads_no_bucket_even_if_allowed(tmp_path: Path) -> None:
    store = open_store(str(tmp_path), allowed_roots=["s3://upstream"])
    with pytest.raises(ObjectRefused, match="reads no buckets"):
        store.get(ref_to("s3://upstream/loans.csv", HELLO))
