"""Whatever is killed, the loop ends in the same place."""

import asyncio
import sqlite3
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from uuid import uuid4

import pytest
from tests.e2e.toy import End, Listener, calm, options, read_all, run_service, tell_story

from cairn.events import SERVICES, PredictionsServed
from cairn.local.stack import Options, Stack

KILLS = {
    "An upstream system": ("registry",),
    "training version 1 1": ("trainer",),
    "training version 1 2": ("validator",),
    "Callers ask": ("deployer",),
    "predictions 30": ("monitor",),
    "The instrument": ("governance-auditor",),
    "training version 2 1": ("trainer", "kafka"),
    "Version 2 takes": ("registry", "deployer"),
}
"""At the first moment that begins so, these are killed."""

CRASHES = dict.fromkeys(SERVICES, ("after-commit@1", "after-send@2"))
CRASHES |= dict.fromkeys(("trainer", "validator", "monitor"), ("after-commit@1", "after-send@2", "during-work@1"))
"""Where each service dies: at one point, and started again at another."""


FindEnd = Callable[[], Awaitable[End]]


def silent(_name: str, _line: str) -> None:
    """Nobody reads the output."""


@pytest.fixture
def find_calm_end(kafka: str, shared: Path, tmp_path: Path) -> FindEnd:
    """Finds where the story ends when nothing is killed; asked last, for by then another test may have told it."""

    async def find() -> End:
        with calm(shared) as known:
            if known.end is None:
                async with Stack(options(tmp_path / "calm", kafka, f"calm-{uuid4().hex[:8]}"), silent) as stack:
                    known.end = await tell_story(stack, Listener())
        assert known.end.generations == ((1, 1), (2, 2))
        return known.end

    return find


class Killer:
    """Kills each victim at its moment."""

    def __init__(self, stack: Stack, plan: dict[str, tuple[str, ...]]) -> None:
        self.stack = stack
        self.plan = dict(plan)
        self.kills: list[asyncio.Task[None]] = []

    def __call__(self, moment: str) -> None:
        for start in [one for one in self.plan if moment.startswith(one)]:
            self.kills += [asyncio.create_task(self.stack.kill(victim)) for victim in self.plan.pop(start)]


async def test_killing_services_and_the_broker_in_the_middle_changes_nothing(find_calm_end: FindEnd, tmp_path: Path):
    async with Stack(Options(home=tmp_path, fast_start=True), silent) as stack:
        killer = Killer(stack, KILLS)
        end = await tell_story(stack, Listener(killer))
        await asyncio.gather(*killer.kills)
        assert not killer.plan, "every victim had its moment"
        killed = Counter(victim for victims in KILLS.values() for victim in victims if victim != "kafka")
        assert all(stack.processes[victim].starts > times for victim, times in killed.items())
    assert end == await find_calm_end()


async def test_a_crash_at_every_point_of_every_service_changes_nothing(
    find_calm_end: FindEnd, kafka: str, tmp_path: Path
):
    """The registry loses its store, too, between its commit and the relay: it is rebuilt while the others go on."""
    settings = {}
    for service, points in CRASHES.items():
        settings[f"{service}.CAIRN_FAILPOINTS"] = ",".join(points)
        settings[f"{service}.CAIRN_FAILPOINTS_SPENT"] = str(tmp_path / f"{service}.spent")
    home = tmp_path / "home"
    async with Stack(options(home, kafka, f"crash-{uuid4().hex[:8]}", **settings), silent) as stack:
        lost = asyncio.create_task(lose_store_when(tmp_path / "registry.spent", stack))
        end = await tell_story(stack, Listener())
        await lost
    died = {service: set((tmp_path / f"{service}.spent").read_text().split()) for service in CRASHES}
    assert died == {service: {point.partition("@")[0] for point in points} for service, points in CRASHES.items()}
    assert end == await find_calm_end()


async def lose_store_when(spent: Path, stack: Stack) -> None:
    """Delete the registry's store as soon as it has died after a commit, and make it anew."""
    while not spent.exists() or "after-commit" not in spent.read_text():
        await asyncio.sleep(0.02)
    registry, store = stack.processes["registry"], stack.context.home / "stores" / "registry.db"
    await registry.stop()
    with closing(sqlite3.connect(store)) as connection:
        assert connection.execute('SELECT count(*) FROM chassis_told WHERE "offset" IS NULL').fetchone()[0] > 0
    for file in store.parent.glob("registry.db*"):
        if not file.name.endswith(".lock"):
            file.unlink()
    rebuilt = await asyncio.to_thread(run_service, stack, "registry", "rebuild")
    assert rebuilt.returncode == 0, rebuilt.stderr
    await registry.start()


async def test_killing_serving_loses_no_acknowledged_prediction_and_ends_in_the_same_place(
    find_calm_end: FindEnd, kafka: str, tmp_path: Path
):
    async with Stack(options(tmp_path, kafka, f"serve-{uuid4().hex[:8]}"), silent) as stack:
        killer = Killer(stack, {"predictions 15": ("serving",), "Version 2 takes": ("serving",)})
        listener = Listener(killer)
        end = await tell_story(stack, listener)
        await asyncio.gather(*killer.kills)
        told = [one.facts for one in await read_all(stack.context, ("predictions",))]
    in_log = {row.prediction_id for one in told if isinstance(one, PredictionsServed) for row in one.rows}
    assert set(listener.predictions) <= in_log
    assert end.without_digests == (await find_calm_end()).without_digests
