"""What the trainer does with a run: real training on real data, in this process."""

import asyncio
import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert
from starlette.applications import Starlette
from starlette.testclient import TestClient
from tests.services.trainer.samples import (
    MODEL,
    NOWHERE,
    accepted,
    advised,
    declared,
    digest_of,
    digest_replayed,
    event,
    put_data,
)

from cairn.events import (
    Event,
    TrainingCompleted,
    TrainingFailed,
    TrainingQueued,
    TrainingRequested,
    TrainingStarted,
    TrialFinished,
)
from cairn.events.training import Budget
from cairn.events.values import ObjectRef
from chassis import ServiceSettings, ledger
from chassis.testing import Actor, World
from trainer.api import make_routes
from trainer.app import build
from trainer.work import InOrder, limits_of


@pytest.fixture
def trainer(tmp_path: Path) -> Actor:
    return World(tmp_path).add(build(ServiceSettings.model_construct()))


@pytest.fixture
def data(trainer: Actor, tmp_path: Path) -> ObjectRef:
    return put_data(trainer.world.objects, tmp_path)


def told(trainer: Actor, *classes: type[Event]) -> list[Event]:
    """What the trainer told of these types, in order, its work done."""
    trainer.work()
    trainer.relay()
    return trainer.world.told(*classes)


def completed(trainer: Actor) -> TrainingCompleted:
    (end,) = told(trainer, TrainingCompleted)
    assert isinstance(end, TrainingCompleted)
    return end


def test_a_run_tells_its_start_each_trial_and_its_package_in_order(trainer: Actor, data: ObjectRef) -> None:
    trainer.hear(declared(), accepted(declared(), data))
    run = told(trainer, TrainingQueued, TrainingStarted, TrialFinished, TrainingCompleted, TrainingFailed)
    kinds = [TrainingQueued, TrainingStarted, TrialFinished, TrialFinished, TrainingCompleted]
    assert [type(one) for one in run] == kinds
    assert [one.trial for one in run if isinstance(one, TrialFinished)] == [1, 2]
    assert len({one.run for one in run if hasattr(one, "run")}) == 1


def test_a_package_can_be_fetched_by_what_is_told(trainer: Actor, data: ObjectRef) -> None:
    trainer.hear(declared(), accepted(declared(), data))
    end, objects = completed(trainer), trainer.world.objects
    manifest = json.loads(objects.read_bytes(end.package, 1 << 20))
    assert {"model.skops", "profile.json", "card.md"} == set(manifest["files"])
    assert manifest["files"]["profile.json"]["digest"] == end.profile.digest
    assert end.card.media_type == "text/markdown"
    assert all(objects.exists(form.digest) for form in end.forms)


def test_a_run_tells_all_that_its_package_rests_on(trainer: Actor, data: ObjectRef) -> None:
    verdict = accepted(declared(seed=7), data)
    trainer.hear(declared(seed=7), verdict)
    end = completed(trainer)
    assert (end.dataset, end.declaration, end.seed) == (verdict.dataset, verdict.declaration, 7)
    assert (end.code.commit, end.trials, list(end.classes)) == ("test", 2, ["benign", "malignant"])
    assert {metric.dataset for metric in end.metrics} == {verdict.dataset}


def test_the_same_story_gives_the_same_run_and_a_bit_identical_package(tmp_path: Path) -> None:
    verdict, ends = None, []
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        trainer = World(tmp_path / name).add(build(ServiceSettings.model_construct()))
        data = put_data(trainer.world.objects, tmp_path / name)
        verdict = verdict or accepted(declared(), data)
        trainer.hear(declared(), id="declared")
        trainer.hear(verdict, id="accepted")
        ends.append(completed(trainer))
    assert ends[0].run == ends[1].run
    assert ends[0].package.digest == ends[1].package.digest


def test_a_run_whose_data_are_gone_fails_and_says_so(trainer: Actor) -> None:
    trainer.hear(declared(), accepted(declared(), NOWHERE))
    (end,) = told(trainer, TrainingFailed)
    assert isinstance(end, TrainingFailed)
    assert end.reason.code == "object-refused"


def test_a_run_on_data_that_cannot_be_learned_from_fails_with_the_reason(trainer: Actor, data: ObjectRef) -> None:
    wrong = declared(target="nothing")
    trainer.hear(wrong, accepted(wrong, data))
    (end,) = told(trainer, TrainingFailed)
    assert isinstance(end, TrainingFailed)
    assert "nothing" in end.reason.text


def test_a_failed_run_is_not_tried_for_ever(trainer: Actor) -> None:
    trainer.hear(declared(), accepted(declared(), NOWHERE))
    assert (trainer.work(), trainer.work()) == (1, 0)


def test_runs_are_made_in_the_order_in_which_they_were_queued(trainer: Actor, tmp_path: Path) -> None:
    first, second = (put_data(trainer.world.objects, tmp_path, rows) for rows in (slice(0, 150), slice(150, 300)))
    trainer.hear(declared(), accepted(declared(), first), accepted(declared(), second))
    queued = [one.run for one in told(trainer, TrainingQueued) if isinstance(one, TrainingQueued)]
    ended = [one.run for one in told(trainer, TrainingCompleted) if isinstance(one, TrainingCompleted)]
    assert ended == queued


def test_any_order_between_partitions_rebuilds_the_same_rows(trainer: Actor, data: ObjectRef) -> None:
    served = accepted(declared(), data, f"served.{MODEL}")
    advice = advised(served, event("cairn.drift.detected.v1"))
    trainer.hear(declared(), accepted(declared(), data), served, advice, declared(2, seed=7))
    trainer.hear(accepted(declared(2, seed=7), NOWHERE), TrainingRequested(model=MODEL))
    told(trainer)
    assert {digest_replayed(trainer, seed) for seed in range(8)} == {digest_of(trainer)}


def test_a_run_that_was_begun_before_tells_its_next_attempt(trainer: Actor, data: ObjectRef) -> None:
    (queued,) = trainer.hear(declared(), accepted(declared(), data))
    assert isinstance(queued, TrainingQueued)
    with trainer.database.begin() as session:
        begun = {"work": "train", "task": queued.run.run_id, "token": "lost", "attempt": 1, "expires_at": 0.0}
        session.execute(insert(ledger.LEASE).values(**begun))
    run = told(trainer, TrainingStarted, TrialFinished, TrainingCompleted)
    assert [one.run.attempt for one in run if hasattr(one, "run")] == [2, 2, 2, 2]


def test_a_run_in_a_real_child_makes_the_same_package(trainer: Actor, data: ObjectRef) -> None:
    verdict = accepted(declared(), data)
    trainer.hear(declared(), verdict)
    contained = trainer.world.add(trainer.definition, inline=False)
    contained.take_new()
    contained.work()
    contained.relay()
    (end,) = trainer.world.told(TrainingCompleted)
    assert isinstance(end, TrainingCompleted)
    assert end.package.digest == completed_again(trainer)


def completed_again(trainer: Actor) -> str:
    trainer.work()
    trainer.relay()
    ends = trainer.world.told(TrainingCompleted)
    assert isinstance(ends[1], TrainingCompleted)
    return ends[1].package.digest


async def hand_over(numbers: list[int], end: BaseException | None, trouble: Exception | None = None) -> list[int]:
    """Hands numbers over, then ends so; what was passed on."""
    passed: list[int] = []

    async def receive(payload: dict[str, Any]) -> None:
        await asyncio.sleep(0)
        if trouble:
            raise trouble
        passed.append(payload["number"])

    with contextlib.suppress(type(end)) if end else contextlib.nullcontext():
        async with InOrder(receive) as trials:
            for number in numbers:
                trials.put("trial", {"number": number})
            if end:
                raise end
    return passed


async def test_what_was_handed_over_is_passed_on_in_order_before_the_end() -> None:
    assert await hand_over([1, 2, 3], None) == [1, 2, 3]


async def test_what_was_handed_over_is_passed_on_before_a_failure_is_told() -> None:
    assert await hand_over([1, 2], ValueError("the third trial failed")) == [1, 2]


async def test_nothing_is_passed_on_any_more_once_the_work_is_cancelled() -> None:
    assert await hand_over([1], asyncio.CancelledError()) == []


async def test_trouble_in_passing_on_ends_the_work() -> None:
    with pytest.raises(OSError, match="gone"):
        await hand_over([1, 2], None, OSError("the store is gone"))


def test_the_child_of_a_run_has_the_time_of_its_search_and_some_to_spare() -> None:
    short, long = (limits_of(Budget(max_trials=1, max_seconds=seconds)) for seconds in (60, 80_000))
    assert long.seconds - short.seconds == long.cpu_seconds - short.cpu_seconds == 79_940
    assert 60 < short.cpu_seconds < short.seconds


def test_runs_can_be_listed(trainer: Actor, data: ObjectRef) -> None:
    trainer.hear(declared(), accepted(declared(), data), accepted(declared(), NOWHERE))
    told(trainer)
    client = TestClient(Starlette(routes=make_routes(trainer.database)))
    listed = client.get("/runs", params={"model": MODEL}).json()["runs"]
    assert [(run["state"], run["trials"], run["attempt"]) for run in listed] == [("failed", 0, 1), ("completed", 2, 1)]
    assert client.get("/runs", params={"model": "demo.other"}).json() == {"runs": []}
