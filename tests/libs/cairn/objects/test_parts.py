"""A large object that was interrupted on its way goes on where it was."""

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.libs.cairn.objects.places import Place

from cairn.objects import ObjectCorrupt, parts
from cairn.objects.multipart import MultipartUpload
from cairn.objects.partial import PartialFile

PART = 5 * 2**20  # the smallest part that S3 admits
BYTES = random.Random(3).randbytes(2 * PART + 1234)


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "PART_BYTES", PART)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "large.bin"
    path.write_bytes(BYTES)
    return path


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers of the parts that are sent."""
    numbers: list[int] = []
    for kind in (MultipartUpload, PartialFile):

        def spy(self: object, number: int, part: bytes, send: Callable[..., None] = kind.send) -> None:
            send(self, number, part)
            numbers.append(number)

        monkeypatch.setattr(kind, "send", spy)
    return numbers


class Interrupted(Exception):
    pass


def interrupt_after(count: int) -> Callable[[int], None]:
    heard: list[int] = []

    def progress(size: int) -> None:
        heard.append(size)
        if len(heard) == count:
            raise Interrupted

    return progress


def test_only_what_is_missing_is_sent(place: Place, file: Path, sent: list[int]) -> None:
    with pytest.raises(Interrupted):
        place.open().put_file(file, "application/x-test", interrupt_after(2))
    assert sent == [1, 2]
    heard: list[int] = []

    ref = place.open().put_file(file, "application/x-test", heard.append)

    assert sent == [1, 2, 3]
    assert heard == [PART, PART, 1234]
    assert place.open().get(ref).read_bytes() == BYTES


def test_a_part_that_did_not_arrive_as_it_is_is_sent_again(place: Place, file: Path, sent: list[int]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for kind in (MultipartUpload, PartialFile):

            def spoil(self: object, number: int, part: bytes, send: Callable[..., None] = kind.send) -> None:
                send(self, number, part[::-1] if number == 2 else part)

            patch.setattr(kind, "send", spoil)
        with pytest.raises(Interrupted):
            place.open().put_file(file, "application/x-test", interrupt_after(2))
    sent.clear()

    ref = place.open().put_file(file, "application/x-test")

    assert sent == [2, 3]
    assert place.open().get(ref).read_bytes() == BYTES


def test_what_changes_on_its_way_is_not_kept_and_begins_anew(place: Place, file: Path, sent: list[int]) -> None:
    def change(_: int) -> None:
        file.write_bytes(BYTES[:-1] + b"!")

    with pytest.raises(ObjectCorrupt, match=str(file)):
        place.open().put_file(file, "application/x-test", change)
    file.write_bytes(BYTES)
    sent.clear()

    ref = place.open().put_file(file, "application/x-test")

    assert sent == [1, 2, 3]
    assert place.open().get(ref).read_bytes() == BYTES


def test_many_may_put_the_same_large_object_at_once(place: Place, file: Path) -> None:
    stores = [place.open() for _ in range(4)]

    with ThreadPoolExecutor(4) as pool:
        refs = set(pool.map(lambda store: store.put_file(file, "application/x-test"), stores))

    assert len(refs) == 1
    assert stores[0].get(refs.pop()).read_bytes() == BYTES


def test_nothing_is_left_beside_the_object(place: Place, file: Path, tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        place.open().put_file(file, "application/x-test", interrupt_after(1))

    place.open().put_file(file, "application/x-test")

    assert not list(tmp_path.rglob("*.part"))


def test_an_object_that_came_in_parts_is_read_only_and_keeps_its_media_type(place: Place, file: Path) -> None:
    store = place.open()

    ref = store.put_file(file, "application/x-test")

    assert store.get(ref).stat().st_mode & 0o222 == 0
    assert ref.media_type == "application/x-test"
