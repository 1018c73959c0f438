"""A home is held by one process: the lock says so, and no other process is ever sent a signal."""

import fcntl
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from cairn.holding import HomeHeld, ask_to_end, hold, is_held

HOLDER = """
import sys, time
from pathlib import Path
from cairn.holding import hold
held = hold(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(600)
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Another process that holds the home."""
    with subprocess.Popen([sys.executable, "-c", HOLDER, tmp_path], stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline() == b"held\n"
        yield process
        process.kill()


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    """A process that has nothing to do with Cairn."""
    with subprocess.Popen(["sleep", "600"]) as process:
        yield process
        process.kill()


def test_a_home_is_held_until_it_is_let_go(tmp_path: Path) -> None:
    assert not is_held(tmp_path)
    with hold(tmp_path):
        assert is_held(tmp_path)
    assert not is_held(tmp_path)


def test_a_home_that_does_not_exist_is_held_by_nobody(tmp_path: Path) -> None:
    assert not is_held(tmp_path / "never")


def test_who_comes_second_is_told_what_to_do(tmp_path: Path) -> None:
    with hold(tmp_path), pytest.raises(HomeHeld, match="cairn down"):
        hold(tmp_path)


def test_a_killed_process_holds_nothing(tmp_path: Path, holder: subprocess.Popen[bytes]) -> None:
    assert is_held(tmp_path)
    holder.kill()
    holder.wait()
    assert not is_held(tmp_path)
    assert ask_to_end(tmp_path) is None
    hold(tmp_path).close()


def test_those_who_look_do_not_stand_in_the_way_of_who_wants_to_hold(tmp_path: Path) -> None:
    enough = threading.Event()

    def look() -> None:
        while not enough.is_set():
            is_held(tmp_path)

    looking = threading.Thread(target=look)
    looking.start()
    try:
        for _ in range(200):
            hold(tmp_path).close()
    finally:
        enough.set()
        looking.join()


def test_who_holds_a_home_can_be_asked_to_end(tmp_path: Path, holder: subprocess.Popen[bytes]) -> None:
    assert ask_to_end(tmp_path) == holder.pid
    assert holder.wait(30) == -signal.SIGTERM


@pytest.mark.parametrize("said", ["", "{", "[]", '{"pid": 1}'])
def test_where_it_is_not_said_who_holds_a_home_nobody_is_asked_to_end(tmp_path: Path, said: str) -> None:
    (tmp_path / "up.lock").write_text(said)
    with (tmp_path / "up.lock").open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(HomeHeld, match="where it was started"):
            ask_to_end(tmp_path)


def test_a_stranger_with_the_number_of_who_held_a_home_is_left_alone(
    tmp_path: Path, stranger: subprocess.Popen[bytes]
) -> None:
    (tmp_path / "up.lock").write_text(json.dumps({"pid": stranger.pid, "started": "12"}))
    assert ask_to_end(tmp_path) is None
    with (tmp_path / "up.lock").open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(HomeHeld, match="where it was started"):
            ask_to_end(tmp_path)
    assert stranger.poll() is None
