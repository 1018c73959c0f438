"""Whatever ends `cairn up` or the demonstration, no process is left behind."""

import signal
import time
from pathlib import Path

import pytest
from tests.faults.marked import CAIRN, Marked


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
