"""Whatever is killed, each event is handled effectively once, and no generation goes back."""

import asyncio
import os
import random
import signal
import sqlite3
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from tests.libs.cairn.installations import as_service, new_installation
from tests.libs.cairn.subscriber import acting
from tests.libs.cairn.subscriber.promotions import send, told

from cairn.context import Context
from cairn.events.codec import Outgoing

RECORDS, DUPLICATES, STALE, MODELS = 10_000, 2_000, 200, 40
KILL_EVERY = 500


@pytest.fixture
async def registry(kafka: str, tmp_path: Path) -> Context:
    """The registry's view of an installation of the test's own."""
    return as_service(await new_installation(kafka, tmp_path, "registry"), "registry")


def story(registry: Context, records: int) -> tuple[list[Outgoing], set[str]]:
    """Promotions of which a fifth is there twice and some are stale; the ids of those that must be handled."""
    chance = random.Random(7)
    duplicates, stale = records // 5, records // 50
    fresh = [
        told(registry, f"toy.m{number % MODELS}", number // MODELS + 1, f"fresh-{number}")
        for number in range(records - duplicates - stale)
    ]
    log = list(fresh)
    for one in chance.sample(fresh, duplicates):
        log.insert(chance.randint(log.index(one) + 1, len(log)), one)
    for number in range(stale):  # after the highest generation of their model
        model = number % MODELS
        log.append(told(registry, f"toy.m{model}", chance.randint(1, len(fresh) // MODELS), f"stale-{number}"))
    return log, {f"fresh-{number}" for number in range(len(fresh))}


class Application:
    """`acting.py`, and what it has done."""

    def __init__(self, registry: Context, home: Path, group: str | None = None) -> None:
        self.store, self.home = home / "positions.sqlite", home
        self.arguments = (registry.bootstrap_servers, registry.installation.name, str(self.store))
        self.group = (group,) if group else ()

    async def start(self, name: str = "outside") -> asyncio.subprocess.Process:
        script = str(Path(acting.__file__))
        return await asyncio.create_subprocess_exec(
            sys.executable, "-P", script, *self.arguments, str(self.home / name), *self.group
        )

    def effects(self) -> list[tuple[str, int, str, str]]:
        return self._ask("SELECT model, generation, id, process FROM effects")

    def count(self) -> int:
        [(count,)] = self._ask("SELECT count(*) FROM effects") or [(0,)]
        return int(count)

    def processes(self) -> set[str]:
        return {Path(process).name for (process,) in self._ask("SELECT DISTINCT process FROM effects")}

    def _ask(self, question: str) -> list[Any]:
        if not self.store.exists():
            return []
        database = sqlite3.connect(f"file:{self.store}?mode=ro", uri=True, timeout=10)
        try:
            return database.execute(question).fetchall()
        except sqlite3.OperationalError:  # the table is not there yet
            return []
        finally:
            database.close()

    def told_outside(self) -> list[list[str]]:
        return [line.split() for line in (self.home / "outside").read_text().splitlines()]


async def until(met: Callable[[], bool], process: asyncio.subprocess.Process, seconds: float = 120) -> None:
    async with asyncio.timeout(seconds):
        while not met():
            assert process.returncode is None, "the application ended by itself"
            await asyncio.sleep(0.03)


@pytest.mark.timeout(600)  # a minute where nothing else runs: most of it are some twenty starts
async def test_ten_thousand_events_with_a_fifth_of_them_twice_are_handled_once_through_a_kill_every_500(
    registry: Context, tmp_path: Path
) -> None:
    log, expected = story(registry, RECORDS)
    assert len(log) == RECORDS
    await send(registry, log)
    application, kills = Application(registry, tmp_path), 0

    while (done := application.count()) < len(expected):
        process = await application.start()
        try:
            goal = min(done + KILL_EVERY, len(expected))
            await until(lambda goal=goal: application.count() >= goal, process)
        finally:
            os.kill(process.pid, signal.SIGKILL)
            await process.wait()
        kills += 1

    effects = application.effects()
    assert kills >= len(expected) / KILL_EVERY / 2
    assert Counter(event_id for _, _, event_id, _ in effects) == Counter(expected)  # each once, no stale one
    last: dict[str, int] = {}
    for model, generation, _, _ in effects:
        assert generation > last.get(model, 0)
        last[model] = generation
    outside = application.told_outside()  # at least once, and whoever hears it again is told so
    assert {event_id for event_id, _ in outside} == expected
    assert max(Counter(event_id for event_id, when in outside if when == "first").values()) == 1
    assert len(outside) - len(expected) <= kills


class TestAGroupWhoseMembersShareAStore:
    async def test_handles_each_event_once_while_partitions_move_and_a_member_is_killed(
        self, registry: Context, tmp_path: Path
    ) -> None:
        log, expected = story(registry, 2000)
        application = Application(registry, tmp_path, group="tests")
        first = await application.start("first")
        second = None
        try:
            await send(registry, log[:300])
            await until(lambda: application.count() > 0, first)
            second = await application.start("second")
            sent = 300
            while application.processes() != {"first", "second"}:  # partitions move to the second
                assert sent < 1500, "the second member gets no partition"
                await send(registry, log[sent : sent + 10])
                sent += 10
                await asyncio.sleep(0.1)
            await send(registry, log[sent:])
            os.kill(first.pid, signal.SIGKILL)  # whatever it was doing
            await until(lambda: application.count() >= len(expected), second)
        finally:
            for process in filter(None, (first, second)):
                with suppress(ProcessLookupError):
                    process.kill()
                await process.wait()

        assert Counter(event_id for _, _, event_id, _ in application.effects()) == Counter(expected)
