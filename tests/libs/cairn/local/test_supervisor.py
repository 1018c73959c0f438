"""What ends is started again, with pauses; what goes on ending is given up, and that is told."""

import asyncio
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from cairn.local import StartFailed, supervisor
from cairn.local.supervisor import MOST_RESTARTS, Program, Restarts, Supervised


@dataclass
class Kept:
    """A program that is kept running, and what is told of it."""

    log: Path
    code: str
    is_ready: bool = False
    news: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    given_up: asyncio.Future[str] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    supervised: Supervised = field(init=False)

    def __post_init__(self) -> None:
        program = Program("program", (sys.executable, "-c", self.code), {}, self.log, self._ready)
        self.supervised = Supervised(
            program,
            lambda _name, line: self.news.append(line),
            lambda _name, line: self.lines.append(line),
            lambda _name, why: self.given_up.set_result(why),
        )

    async def _ready(self) -> bool:
        return self.is_ready

    async def until_line(self, line: str, count: int = 1) -> None:
        async with asyncio.timeout(30):
            while self.lines.count(line) < count:
                await asyncio.sleep(0.01)


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "_FIRST_PAUSE_SECONDS", 0.001)


async def test_a_program_that_always_fails_is_given_up(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "log", "print('I cannot'); raise SystemExit(1)")
    await kept.supervised.start()
    async with asyncio.timeout(60):
        why = await kept.given_up
    assert kept.supervised.starts == 1 + MOST_RESTARTS
    assert "ended with exit code 1" in why
    assert str(tmp_path / "log") in why
    with pytest.raises(StartFailed, match=r"did not get ready(.|\n)*I cannot"):
        await kept.supervised.until_ready(60)
    await kept.supervised.stop()


async def test_a_program_that_says_what_a_person_must_do_is_given_up_at_once(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "log", "raise SystemExit(2)")
    await kept.supervised.start()
    async with asyncio.timeout(30):
        assert "exit code 2" in await kept.given_up
    assert kept.supervised.starts == 1
    await kept.supervised.stop()


async def test_a_program_that_cannot_even_be_started_is_given_up(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "no such folder" / "log", "")
    await kept.supervised.start()
    async with asyncio.timeout(60):
        assert "no such folder" in await kept.given_up
    await kept.supervised.stop()


async def test_a_killed_program_is_started_again(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "log", "import time; print('up', flush=True); time.sleep(600)")
    await kept.supervised.start()
    await kept.until_line("up")
    await kept.supervised.kill()
    await kept.until_line("up", count=2)
    await kept.supervised.stop()
    assert not kept.given_up.done()
    assert kept.news == ["ended with exit code -9; started again in 0.0 s", "stopped"]
    assert (tmp_path / "log").read_text() == "up\nup\n"


async def test_what_a_program_says_while_it_stops_is_heard(tmp_path: Path) -> None:
    polite = (
        "from signal import *; pthread_sigmask(SIG_BLOCK, {SIGTERM}); print('up', flush=True)\n"
        "sigwait({SIGTERM}); print('bye')"
    )
    kept = Kept(tmp_path / "log", polite)
    await kept.supervised.start()
    await kept.until_line("up")
    await kept.supervised.stop()
    assert kept.lines == ["up", "bye"]
    assert kept.supervised.starts == 1


async def test_a_stopped_program_can_be_started_again(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "log", "import time; print('up', flush=True); time.sleep(600)")
    for count in (1, 2):
        await kept.supervised.start()
        await kept.until_line("up", count)
        await kept.supervised.stop()
    assert kept.news == ["stopped", "stopped"]


def test_each_pause_is_longer_and_a_steady_run_begins_anew() -> None:
    restarts = Restarts()
    pauses = [restarts.pause_seconds(1.0) for _ in range(MOST_RESTARTS)]
    assert pauses == sorted(pauses, key=float)
    assert len(set(pauses)) == MOST_RESTARTS
    assert restarts.pause_seconds(3600.0) == pauses[0]
    assert [restarts.pause_seconds(1.0) for _ in range(MOST_RESTARTS)] == [*pauses[1:], None]
