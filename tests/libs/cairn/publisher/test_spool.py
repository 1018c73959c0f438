"""What a spool promises: what was kept is there, once, in order, whatever happens to the process; and no more."""

import os
import pickle
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from tests.libs.cairn.publisher.samples import nowhere_in, request

from cairn.publisher import Sealed, SpoolBusy, SpoolDamaged, SpoolError, SpoolFull, seal
from cairn.publisher.spool import Refused, Spool, bytes_of


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "events.spool"


@pytest.fixture
def events(tmp_path: Path) -> list[Sealed]:
    return [seal(nowhere_in(tmp_path), request(number)) for number in range(20)]


def kept_in(spool: Spool) -> list[Sealed]:
    """All that waits, in the order of its positions."""
    kept = [one for lane in spool.lanes() for one in spool.load(lane, 0, 1000)]
    return [one.sealed for one in sorted(kept) if one.sealed]


def test_what_was_kept_is_there_byte_for_byte_and_in_order(path: Path, events: list[Sealed]) -> None:
    spool = Spool(path)
    for event in events:
        spool.keep([event])
    spool.close()

    assert kept_in(Spool(path)) == events


def test_many_are_kept_together_or_not_at_all(path: Path, events: list[Sealed]) -> None:
    spool = Spool(path)
    bad = Sealed("requests", "/x", None, events[0].outgoing)  # type: ignore[arg-type]  # the fault

    with pytest.raises(SpoolError, match="cannot be used"):
        spool.keep([*events, bad])

    assert kept_in(spool) == []
    spool.keep(events)
    assert kept_in(spool) == events


def test_what_kafka_has_is_let_go_of(path: Path, events: list[Sealed]) -> None:
    spool = Spool(path)
    positions = spool.keep(events)

    spool.settle(positions[:15], [])

    assert kept_in(spool) == events[15:]
    assert spool.bytes_held() == sum(map(bytes_of, events[15:]))


def test_positions_go_on_after_all_was_let_go_of(path: Path, events: list[Sealed]) -> None:
    spool = Spool(path)
    first = spool.keep(events)
    spool.settle(first, [])

    assert min(spool.keep(events)) > max(first)


def test_what_is_refused_is_kept_apart_until_it_is_retried_or_discarded(path: Path, events: list[Sealed]) -> None:
    spool = Spool(path)
    positions = spool.keep(events[:3])
    spool.settle([], [(positions[0], "too large"), (positions[1], "not allowed")])
    spool.close()

    spool = Spool(path)
    assert kept_in(spool) == events[2:3]
    assert spool.refused() == [
        Refused("requests", events[0].source, events[0].id, "too large"),
        Refused("requests", events[1].source, events[1].id, "not allowed"),
    ]
    spool.retry_refused()
    assert kept_in(spool) == [events[2], events[0], events[1]]
    assert spool.refused() == []

    spool.settle([], [(max(position for position in positions) + 1, "again")])
    assert spool.discard_refused() == bytes_of(events[0])
    assert spool.bytes_held() == sum(map(bytes_of, events[1:3]))


def test_one_publisher_owns_a_spool(path: Path) -> None:
    owner = Spool(path)
    with pytest.raises(SpoolBusy, match="in use by another publisher"):
        Spool(path)
    other = subprocess.run(
        [sys.executable, "-c", f"from cairn.publisher.spool import *; Spool(Path({str(path)!r}))"],
        capture_output=True,
        text=True,
    )
    assert "SpoolBusy" in other.stderr
    owner.close()
    Spool(path)


WRITE_AND_DIE = """
import os, pickle, sys
from pathlib import Path
from cairn.publisher.spool import Spool
spool = Spool(Path(sys.argv[1]))
events = pickle.load(sys.stdin.buffer)
for _ in range(int(sys.argv[2])):
    spool.settle(spool.keep(events), [])
for event in events:
    spool.keep([event])
os.kill(os.getpid(), 9)
"""


def die_after_keeping(path: Path, events: list[Sealed], rounds: int = 0) -> None:
    """Have another process keep and settle all some times, keep each once more, and be killed."""
    child = subprocess.run([sys.executable, "-c", WRITE_AND_DIE, str(path), str(rounds)], input=pickle.dumps(events))
    assert child.returncode == -signal.SIGKILL


def test_a_spool_whose_owner_was_killed_opens_again_whole_and_says_nothing(path: Path, events: list[Sealed]) -> None:
    die_after_keeping(path, events)

    spool = Spool(path)

    assert kept_in(spool) == events
    assert spool.cut_bytes == 0


@pytest.mark.parametrize("cut", [1, 100, 4096, 5000])
def test_a_write_that_was_cut_short_is_let_go_of_and_told(path: Path, events: list[Sealed], cut: int) -> None:
    die_after_keeping(path, events)
    log = path.with_name(path.name + "-wal")
    os.truncate(log, log.stat().st_size - cut)

    spool = Spool(path)

    kept = kept_in(spool)
    assert len(kept) < len(events)
    assert kept == events[: len(kept)]
    assert spool.cut_bytes > 0
    spool.keep(events[len(kept) :])
    spool.close()
    assert kept_in(Spool(path)) == events


def test_nonsense_behind_what_was_written_is_let_go_of_and_told(path: Path, events: list[Sealed]) -> None:
    die_after_keeping(path, events)
    log = path.with_name(path.name + "-wal")
    with log.open("ab") as file:
        file.write(os.urandom(6000))

    spool = Spool(path)

    assert kept_in(spool) == events
    assert spool.cut_bytes == 6000
    spool.close()
    assert Spool(path).cut_bytes == 0


def test_what_was_used_for_long_is_not_taken_for_a_crash(path: Path, events: list[Sealed]) -> None:
    die_after_keeping(path, events, rounds=150)

    spool = Spool(path)

    assert kept_in(spool) == events
    assert spool.cut_bytes == 0


def test_an_event_whose_bytes_were_changed_on_the_disk_is_found(path: Path, events: list[Sealed]) -> None:
    spool = Spool(path)
    spool.keep(events[:2])
    spool.close()
    with sqlite3.connect(path) as database:
        database.execute("UPDATE waiting SET value = ? WHERE position = 1", (b"{}",))
    database.close()

    spool = Spool(path)

    kept = sorted(one for lane in spool.lanes() for one in spool.load(lane, 0, 10))
    assert [one.sealed for one in kept] == [None, events[1]]


def test_a_file_that_is_something_else_is_not_touched(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"precious " * 1000)
    with pytest.raises(SpoolDamaged, match="is damaged or is none"):
        Spool(path)
    assert path.read_bytes() == b"precious " * 1000

    path.unlink()
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE theirs (x)")
    database.close()
    theirs = path.read_bytes()
    with pytest.raises(SpoolDamaged, match="a database of something else"):
        Spool(path)
    assert path.read_bytes() == theirs
    assert list(path.parent.iterdir()) == [path]


def test_a_spool_whose_inside_is_damaged_is_not_used(path: Path, events: list[Sealed]) -> None:
    spool = Spool(path)
    spool.keep(events)
    spool.close()
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 8192)

    with pytest.raises(SpoolDamaged, match="Move it"):
        Spool(path)


def test_a_spool_of_a_later_version_is_not_used(path: Path) -> None:
    Spool(path).close()
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA user_version = 7")
    database.close()
    with pytest.raises(SpoolError, match="has format 7"):
        Spool(path)


def test_a_place_where_no_file_can_be_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for bad in (tmp_path, tmp_path / "file" / "spool"):
        with pytest.raises(SpoolError, match="cannot be opened"):
            Spool(bad)


def test_a_full_disk_is_told_and_what_was_kept_stays(path: Path, events: list[Sealed]) -> None:
    spool = Spool(path)
    spool.keep(events)
    spool._database.execute("PRAGMA max_page_count = 20")

    with pytest.raises(SpoolFull, match=r"disk of the spool .* is full"):
        spool.keep(events * 20)

    assert kept_in(spool) == events


OPEN_WITHOUT_ROOM = """
import resource, sys
from pathlib import Path
from cairn.publisher.spool import Spool
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
print(Spool(Path(sys.argv[1])).count())
"""


def test_a_spool_can_be_opened_where_nothing_can_be_written(path: Path, events: list[Sealed]) -> None:
    spool = Spool(path)
    spool.keep(events)
    spool.close()

    child = subprocess.run([sys.executable, "-c", OPEN_WITHOUT_ROOM, str(path)], stdout=subprocess.PIPE, text=True)

    assert child.stdout == f"{len(events)}\n"
