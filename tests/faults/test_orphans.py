"""Whatever ends `cairn up` or the demonstration, no process is left behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from uuid import uuid4

import pytest

CAIRN = (sys.executable, "-P", "-m", "cairn")


class Marked:
    """A command whose every descendant can be found by a mark in its environment."""

    def __init__(self, *arguments: str, errors: int = subprocess.DEVNULL, **environment: str) -> None:
        self.mark = f"CAIRN_TEST_MARK={uuid4().hex}"
        name, value = self.mark.split("=")
        self.process = subprocess.Popen(
            arguments,
            env={**os.environ, name: value, **environment},
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=errors,
        )

    def alive(self) -> list[str]:
        """The command lines of all processes that carry the mark."""
        return [line[:100] for line in self._processes().values()]

    def process_of(self, ending: str) -> int:
        """The process whose command line ends so."""
        (pid,) = (pid for pid, line in self._processes().items() if line.endswith(f" {ending} "))
        return pid

    def _processes(self) -> dict[int, str]:
        found = {}
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                if self.mark.encode() in (entry / "environ").read_bytes():
                    found[int(entry.name)] = (entry / "cmdline").read_text().replace("\0", " ")
            except OSError:
                continue
        return found

    def until(self, condition, seconds: float) -> None:
        """Wait for a condition."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, self.alive()
            time.sleep(0.05)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def test_kill_9_of_up_leaves_no_process_behind(home: Path):
    up = Marked(*CAIRN, "--home", str(home), "up")
    up.until((home / "up.json").exists, 90)
    assert len(up.alive()) > 7
    up.process.kill()
    up.process.wait()
    up.until(lambda: not up.alive(), 15)


def test_a_second_ctrl_c_does_not_wait_and_leaves_no_process_behind(home: Path):
    up = Marked(*CAIRN, "--home", str(home), "up", "--quiet")
    up.until((home / "up.json").exists, 90)
    up.process.send_signal(signal.SIGINT)
    up.until(lambda: not (home / "up.json").exists(), 60)  # so the first was heard
    up.process.send_signal(signal.SIGINT)
    assert up.process.wait(60) == 0
    up.until(lambda: not up.alive(), 15)


@pytest.mark.parametrize(("seconds", "number"), [(2.0, signal.SIGINT), (6.0, signal.SIGTERM), (14.0, signal.SIGINT)])
def test_ctrl_c_at_any_moment_of_the_demo_leaves_no_process_behind(home: Path, seconds: float, number: signal.Signals):
    demo = Marked(*CAIRN, "--home", str(home), "demo")
    time.sleep(seconds)  # any moment: which one does not matter
    demo.process.send_signal(number)
    demo.process.wait(60)
    demo.until(lambda: not demo.alive(), 15)
    assert demo.process.returncode in (130, 0)
