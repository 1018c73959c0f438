"""What every store does: one suite for the directory and the bucket."""

import os
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tests.libs.cairn.objects.places import HELLO, KEY_OF_HELLO, OF_HELLO, Place, ref_to

from cairn.events.values import ObjectRef
from cairn.objects import (
    ObjectCorrupt,
    ObjectMissing,
    ObjectRefused,
    ObjectStore,
)

MIB = 2**20


def test_what_was_put_is_had_again(place: Place) -> None:
    store = place.open()
    ref = store.put_bytes(HELLO, "text/plain")
    assert ref == ObjectRef(uri=f"{place.url}/{KEY_OF_HELLO}", digest=OF_HELLO, bytes=20, media_type="text/plain")
    assert store.get(ref).read_bytes() == HELLO
    assert store.read_bytes(ref, limit=20) == HELLO


def test_a_file_is_put_as_its_bytes_are(place: Place, tmp_path: Path) -> None:
    (tmp_path / "hello.txt").write_bytes(HELLO)
    heard: list[int] = []
    store = place.open()
    assert store.put_file(tmp_path / "hello.txt", "text/plain", heard.append) == store.put_bytes(HELLO, "text/plain")
    assert sum(heard) == len(HELLO)


def test_the_empty_object_is_an_object(place: Place, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    store = place.open()
    ref = store.put_file(tmp_path / "empty", "text/plain")
    assert ref.bytes == 0
    assert place.open().read_bytes(ref, limit=0) == b""


def test_another_process_has_it_too(place: Place, tmp_path: Path) -> None:
    ref = place.open().put_bytes(HELLO, "text/plain")
    other = place.open() if place.url.startswith("file:") else place.open(cache=tmp_path / "other-cache")
    assert other.get(ref).read_bytes() == HELLO


def test_a_digest_finds_its_object(place: Place) -> None:
    store = place.open()
    assert store.find(OF_HELLO) is None
    assert not store.exists(OF_HELLO)
    ref = store.put_bytes(HELLO, "text/plain")
    found = store.find(OF_HELLO)
    assert found is not None
    assert (found.uri, found.digest, found.bytes) == (ref.uri, ref.digest, ref.bytes)
    assert store.exists(OF_HELLO)


def test_what_was_never_put_is_missing(place: Place) -> None:
    store = place.open()
    ref = ref_to(f"{place.url}/{KEY_OF_HELLO}", HELLO)
    with pytest.raises(ObjectMissing, match=OF_HELLO):
        store.get(ref)
    with pytest.raises(ObjectMissing, match=OF_HELLO):
        store.read_bytes(ref, limit=100)


def test_what_was_removed_is_missing(place: Place, tmp_path: Path) -> None:
    ref = place.open().put_bytes(HELLO, "text/plain")
    place.remove(KEY_OF_HELLO)
    store = place.open()
    with pytest.raises(ObjectMissing):
        store.get(ref)
    assert not store.exists(OF_HELLO)


@pytest.mark.parametrize("bad", [HELLO[:-1], HELLO + b"!", HELLO.upper(), b""])
def test_changed_bytes_are_found(place: Place, bad: bytes) -> None:
    store = place.open()
    ref = store.put_bytes(HELLO, "text/plain")
    place.write(KEY_OF_HELLO, bad)
    with pytest.raises(ObjectCorrupt, match="expected 20 bytes with this digest, found"):
        store.get(ref)
    with pytest.raises(ObjectCorrupt):
        store.read_bytes(ref, limit=100)


@pytest.mark.parametrize("size", [0, 19, 21, 2**40])
def test_a_reference_that_lies_about_the_size_is_found_out(place: Place, size: int) -> None:
    store = place.open()
    ref = store.put_bytes(HELLO, "text/plain").model_copy(update={"bytes": size})
    with pytest.raises(ObjectCorrupt):
        store.get(ref)


def test_putting_again_mends_what_was_cut_short(place: Place) -> None:
    store = place.open()
    ref = store.put_bytes(HELLO, "text/plain")
    place.write(KEY_OF_HELLO, HELLO[:5])
    assert store.put_bytes(HELLO, "text/plain") == ref
    assert store.read_bytes(ref, limit=20) == HELLO


def test_what_is_there_is_not_written_again(place: Place, tmp_path: Path) -> None:
    (tmp_path / "hello.txt").write_bytes(HELLO)
    store = place.open()
    ref = store.put_bytes(HELLO, "text/plain")
    place.write(KEY_OF_HELLO, HELLO.upper())
    heard: list[int] = []
    assert store.put_file(tmp_path / "hello.txt", "text/plain", heard.append) == ref
    assert heard == [20]
    with pytest.raises(ObjectCorrupt):
        store.get(ref)


def test_many_may_put_the_same_at_once(place: Place) -> None:
    stores, data = [place.open() for _ in range(4)], random.Random(1).randbytes(3 * MIB)
    with ThreadPoolExecutor(16) as pool:
        refs = set(pool.map(lambda n: stores[n % 4].put_bytes(data, "application/x-test"), range(32)))
    assert len(refs) == 1
    assert stores[0].get(refs.pop()).read_bytes() == data


def test_many_may_get_the_same_at_once(place: Place) -> None:
    store = place.open()
    ref = store.put_bytes(HELLO * 1000, "text/plain")
    with ThreadPoolExecutor(16) as pool:
        paths = set(pool.map(lambda _: store.get(ref), range(32)))
    assert len(paths) == 1
    assert not list(paths.pop().parent.glob(".*"))


def test_a_large_file_goes_in_parts(place: Place, tmp_path: Path) -> None:
    large = tmp_path / "large"
    size, block = 70 * MIB + 1, random.Random(2).randbytes(MIB)
    with large.open("wb") as file:
        for _ in range(70):
            file.write(block)
        file.write(b"!")
    heard: list[int] = []
    store = place.open()
    ref = store.put_file(large, "application/x-test", heard.append)
    assert ref.bytes == sum(heard) == size
    assert store.get(ref).stat().st_size == size


def test_a_file_that_changes_while_it_is_put_is_not_kept(place: Place, tmp_path: Path) -> None:
    store, file = place.open(), tmp_path / "growing"
    file.write_bytes(HELLO)
    refuse_changed(store, file, lambda: os.truncate(file, 5))
    file.write_bytes(HELLO)
    refuse_changed(store, file, lambda: file.write_bytes(HELLO.upper()))
    assert not store.exists(OF_HELLO)


def refuse_changed(store: ObjectStore, file: Path, change: Callable[[], object]) -> None:
    """Change a file between the moment when its digest was taken and the moment when it is sent."""
    from cairn.objects import content

    measured = content.measure_file

    def measure_then_change(opened: Any) -> tuple[str, int]:
        found = measured(opened)
        change()
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(content, "measure_file", measure_then_change)
        with pytest.raises(ObjectCorrupt, match=str(file)):
            store.put_file(file, "text/plain")


def test_a_missing_file_is_the_callers_fault(place: Place, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        place.open().put_file(tmp_path / "none", "text/plain")


def test_more_than_the_limit_is_not_read(place: Place) -> None:
    store = place.open()
    ref = store.put_bytes(HELLO, "text/plain")
    with pytest.raises(ObjectRefused, match="has 20 bytes, more than the 19"):
        store.read_bytes(ref, limit=19)


@pytest.mark.parametrize("digest", ["", "sha256:../../../../etc/passwd", OF_HELLO.upper(), OF_HELLO + "\n", "md5:00"])
def test_keys_are_made_of_digests_only(place: Place, digest: str) -> None:
    store = place.open()
    with pytest.raises(ValueError, match="is not a digest"):
        store.find(digest)
    with pytest.raises(ValueError, match="is not a digest"):
        store.exists(digest)
    with pytest.raises(ValueError, match="is not a digest"):
        store.get(ref_to(f"{place.url}/x", HELLO).model_copy(update={"digest": digest}))


@pytest.mark.parametrize("media_type", ["", "text", "text/plain\r\nx-amz-acl: public-read", "ключ/значение"])
def test_a_media_type_is_one(place: Place, media_type: str) -> None:
    with pytest.raises(ValueError, match="is not a media type"):
        place.open().put_bytes(HELLO, media_type)
