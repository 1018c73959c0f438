"""Whatever is killed, the loop ends in the same place."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest
import pytest_asyncio
from tests.e2e.toy import End, Listener, options, read_all, tell_story

from cairn.events import SERVICES, PredictionsServed
from cairn.local.stack import Options, Stack

KILLS = {
    "the registry, the validator and the monitor": {
        "An upstream system": "registry",
        "training version 1 2": "validator",
        "predictions 30": "monitor",
        "Version 2 takes": "registry",
    },
    "the trainer, the deployer and the auditor": {
        "training version 1 1": "trainer",
        "Callers ask": "deployer",
        "The instrument": "governance-auditor",
        "training version 2 1": "trainer",
        "Version 2 takes": "deployer",
    },
}
"""For each story: at the first moment that begins so, that service is killed."""

CRASHES = {
    "after a commit": dict.fromkeys(SERVICES, "after-commit@4"),
    "after a send": dict.fromkeys(SERVICES, "after-send@3"),
    "during work": dict.fromkeys(("trainer", "validator", "monitor"), "during-work@1"),
}


def silent(_name: str, _line: str) -> None:
    """Nobody reads the output."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def undisturbed(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[End]:
    """Where the story ends when nothing is killed."""
    home = tmp_path_factory.mktemp("undisturbed")
    async with Stack(options(home, kafka, f"calm-{uuid4().hex[:8]}"), silent) as stack:
        end = await tell_story(stack, Listener())
    assert end.generations == ((1, 1), (2, 2))
    yield end


class Killer:
    """Kills each victim once, at its moment."""

    def __init__(self, stack: Stack, plan: dict[str, str]) -> None:
        self.stack = stack
        self.plan = dict(plan)
        self.kills: list[asyncio.Task[None]] = []

    def __call__(self, moment: str) -> None:
        for start in [one for one in self.plan if moment.startswith(one)]:
            self.kills.append(asyncio.create_task(self.stack.kill(self.plan.pop(start))))


@pytest.mark.parametrize("who", KILLS)
async def test_killing_services_in_the_middle_changes_nothing(who, undisturbed: End, kafka: str, tmp_path: Path):
    async with Stack(options(tmp_path, kafka, f"kill-{uuid4().hex[:8]}"), silent) as stack:
        killer = Killer(stack, KILLS[who])
        end = await tell_story(stack, Listener(killer))
        await asyncio.gather(*killer.kills)
        assert not killer.plan, "every victim had its moment"
        assert all(stack.processes[victim].starts >= 2 for victim in KILLS[who].values())
    assert end == undisturbed


@pytest.mark.parametrize("where", CRASHES)
async def test_a_crash_at_any_point_of_any_service_changes_nothing(where, undisturbed: End, kafka: str, tmp_path: Path):
    settings = {}
    for service, point in CRASHES[where].items():
        settings[f"{service}.CAIRN_FAILPOINTS"] = point
        settings[f"{service}.CAIRN_FAILPOINTS_SPENT"] = str(tmp_path / f"{service}.spent")
    home = tmp_path / "home"
    async with Stack(options(home, kafka, f"crash-{uuid4().hex[:8]}", **settings), silent) as stack:
        end = await tell_story(stack, Listener())
        restarted = {service for service in CRASHES[where] if stack.processes[service].starts >= 2}
    assert restarted == set(CRASHES[where]), "every service died at its point"
    assert end == undisturbed


async def test_killing_the_broker_changes_nothing(undisturbed: End, tmp_path: Path):
    async with Stack(Options(home=tmp_path, fast_start=True), silent) as stack:
        killer = Killer(stack, {"training version 1 1": "kafka", "training version 2 1": "kafka"})
        end = await tell_story(stack, Listener(killer))
        await asyncio.gather(*killer.kills)
        assert not killer.plan
    assert end == undisturbed


async def test_killing_serving_loses_no_acknowledged_prediction_and_ends_in_the_same_place(
    undisturbed: End, kafka: str, tmp_path: Path
):
    async with Stack(options(tmp_path, kafka, f"serve-{uuid4().hex[:8]}"), silent) as stack:
        killer = Killer(stack, {"predictions 15": "serving", "Version 2 takes": "serving"})
        listener = Listener(killer)
        end = await tell_story(stack, listener)
        await asyncio.gather(*killer.kills)
        told = [one.facts for one in await read_all(stack.context, ("predictions",))]
    in_log = {row.prediction_id for one in told if isinstance(one, PredictionsServed) for row in one.rows}
    assert set(listener.predictions) <= in_log
    assert end.without_digests == undisturbed.without_digests
