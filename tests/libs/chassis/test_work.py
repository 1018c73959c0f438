"""Slow work: leased, fenced, tried a few times, and always told how it ended."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError
from sqlmodel import select
from tests.libs.chassis import toy as a
from tests.libs.chassis.looking import ledger_rows, rows_of, told, told_ids
from tests.libs.chassis.toy import Ended, Note, Toy

from cairn.children import ChildDied, ChildFailed
from cairn.objects import StoreUnreachable
from chassis import Task, Transaction, ledger
from chassis.failpoints import Failpoints
from chassis.leases import Lease, LeaseLost, claim, release, renew, void_leases
from chassis.testing import Actor, InlineChildren
from chassis.work import Job, Worker, WorkFailed, WorkPostponed


async def at_once(function: Callable[..., Any], *arguments: Any) -> Any:
    return function(*arguments)


def worker(actor: Actor, toy: Toy, lease_seconds: float = 60.0) -> Worker:
    return Worker(
        toy.work(),
        actor.processor,
        actor.database,
        actor.world.objects,
        InlineChildren(),
        at_once,
        Failpoints({}),
        lease_seconds,
    )


def claim_one(actor: Actor, toy: Toy, lease_seconds: float = 60.0) -> tuple[Task, Lease]:
    with actor.database.begin() as session:
        claimed = claim(session, toy.work(), lease_seconds)
    assert claimed
    return claimed


def nothing_to_claim(actor: Actor, toy: Toy) -> bool:
    with actor.database.begin() as session:
        return claim(session, toy.work(), 60.0) is None


def raises(error: Exception) -> Callable[[Task, Job], Awaitable[str]]:
    async def run(_task: Task, _job: Job) -> str:
        raise error

    return run


def endings(actor: Actor) -> list[tuple[str, str]]:
    return [(row.how, row.text) for row in rows_of(actor, Ended)]


def test_what_was_asked_for_is_done_and_told_once(actor: Actor) -> None:
    actor.hear(a.order())
    assert actor.work() == 1
    assert endings(actor) == [("done", "42")]
    assert actor.work() == 0
    assert ledger_rows(actor, ledger.LEASE) == []


def test_a_task_that_is_worked_on_is_not_given_to_another(actor: Actor, toy: Toy) -> None:
    actor.hear(a.order("a"), a.order("b"))
    first, second = claim_one(actor, toy), claim_one(actor, toy)
    assert (first[0].id, second[0].id) == ("a#1", "b#1")
    assert (first[1].attempt, second[1].attempt) == (1, 1)
    assert first[1].token != second[1].token
    assert nothing_to_claim(actor, toy)


def test_a_task_whose_worker_fell_silent_is_given_to_another_as_the_next_attempt(actor: Actor, toy: Toy) -> None:
    actor.hear(a.order())
    _, dead = claim_one(actor, toy, lease_seconds=0)
    _, alive = claim_one(actor, toy)
    assert (alive.task, alive.attempt) == (dead.task, 2)
    assert nothing_to_claim(actor, toy)


def test_what_a_worker_did_that_lost_its_lease_does_not_count(actor: Actor, toy: Toy) -> None:
    actor.hear(a.order())
    zombie, successor = worker(actor, toy, lease_seconds=0), worker(actor, toy)
    task, lost = claim_one(actor, toy, lease_seconds=0)
    _, held = claim_one(actor, toy)
    before = told_ids(actor)
    with pytest.raises(LeaseLost):
        zombie._finish(task, lost, "from the grave")
    with pytest.raises(LeaseLost):
        zombie._fail(task, lost, "grave", "from the grave")
    with pytest.raises(LeaseLost):
        zombie._tell(task, lost, a.note(), 1)
    assert told_ids(actor) == before

    successor._finish(task, held, "alive")
    assert endings(actor) == [("done", "alive")]


def test_a_worker_ends_a_task_once(actor: Actor, toy: Toy) -> None:
    actor.hear(a.order())
    task, lease = claim_one(actor, toy)
    one = worker(actor, toy)
    one._finish(task, lease, "first")
    with pytest.raises(LeaseLost):
        one._finish(task, lease, "second")
    assert endings(actor) == [("done", "first")]


def test_a_lease_is_held_as_long_as_its_worker_renews_it(actor: Actor, toy: Toy) -> None:
    actor.hear(a.order())
    _, lease = claim_one(actor, toy, lease_seconds=0)
    with actor.database.begin() as session:
        renew(session, lease, time.time() + 60)
    assert nothing_to_claim(actor, toy)


def test_a_lease_that_was_taken_over_can_be_neither_renewed_nor_released(actor: Actor, toy: Toy) -> None:
    actor.hear(a.order())
    _, lost = claim_one(actor, toy, lease_seconds=0)
    claim_one(actor, toy)
    with actor.database.begin() as session, pytest.raises(LeaseLost):
        renew(session, lost, time.time() + 60)
    with actor.database.begin() as session, pytest.raises(LeaseLost):
        release(session, lost)


def test_a_restart_on_a_store_of_its_own_goes_on_at_once(actor: Actor, toy: Toy) -> None:
    actor.hear(a.order("a"), a.order("b"))
    claim_one(actor, toy), claim_one(actor, toy)
    with actor.database.begin() as session:
        void_leases(session)
    assert [claim_one(actor, toy)[1].attempt for _ in range(2)] == [2, 2]


def test_work_that_was_begun_too_often_and_never_ended_fails(actor: Actor, toy: Toy) -> None:
    actor.hear(a.order())
    for _ in range(3):
        claim_one(actor, toy, lease_seconds=0)
    assert actor.work() == 1
    assert endings(actor) == [("too-many-attempts", "it was begun 3 times and never ended")]


def test_postponed_work_is_attempted_again_when_it_is_time_and_not_for_ever(actor: Actor, toy: Toy) -> None:
    attempts: list[int] = []

    async def run(_task: Task, job: Job) -> str:
        attempts.append(job.attempt)
        raise WorkPostponed(0.0 if len(attempts) > 1 else 3600.0, "not yet")

    toy.run = run
    actor.hear(a.order())
    assert actor.work() == 1
    assert actor.work() == 0
    assert attempts == [1]
    with actor.database.begin() as session:
        void_leases(session)  # the hour has passed
    assert actor.work() == 3
    assert attempts == [1, 2, 3]
    assert endings(actor) == [("too-many-attempts", "it was begun 3 times and never ended")]


@pytest.mark.parametrize(
    ("error", "told_as"),
    [
        (WorkFailed("no-data", "the dataset is empty"), ("no-data", "the dataset is empty")),
        (ChildFailed("data", "a column is missing"), ("data", "a column is missing")),
        (KeyError("age"), ("error", "KeyError: 'age'")),
    ],
    ids=["said so", "its child said so", "a fault of the code"],
)
def test_work_that_can_never_succeed_fails_at_once_with_its_reason(
    actor: Actor, toy: Toy, error: Exception, told_as: tuple[str, str]
) -> None:
    toy.run = raises(error)
    actor.hear(a.order())
    actor.work()
    assert endings(actor) == [told_as]
    assert actor.work() == 0


def test_work_that_ends_without_a_word_has_failed(actor: Actor, toy: Toy) -> None:
    toy.silent = True
    actor.hear(a.order())
    actor.work()
    assert endings(actor) == [("silent", "order must tell how risk.loans#1 ended")]


def test_trouble_with_the_objects_is_waited_out_within_the_same_attempt(actor: Actor, toy: Toy) -> None:
    attempts: list[int] = []

    async def run(_task: Task, job: Job) -> str:
        attempts.append(job.attempt)
        if len(attempts) == 1:
            raise StoreUnreachable("S3 is away")
        return "came back"

    toy.run = run
    actor.hear(a.order())
    actor.work()
    assert attempts == [1, 1]
    assert endings(actor) == [("done", "came back")]


def test_a_child_that_dies_again_and_again_ends_its_work(
    actor: Actor, toy: Toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    toy.run = raises(ChildDied("it was killed"))
    actor.hear(a.order())
    monkeypatch.setattr("chassis.work.MOST_FAILURES", 1)  # so that nobody waits between attempts
    actor.work()
    assert endings(actor) == [("child-died", "it was killed")]


def test_the_beginning_is_told_with_the_lease_and_each_attempt_by_its_own_name(actor: Actor, toy: Toy) -> None:
    def begin(task: Task, attempt: int, tx: Transaction) -> None:
        tx.tell(a.note(task.detail[0], attempt, f"attempt {attempt}"))

    toy.begin = begin
    actor.hear(a.order())
    assert worker(actor, toy, lease_seconds=0)._claim()  # and then it died
    actor.definition = toy.definition()
    actor.work()
    assert [row.text for row in rows_of(actor, Note)] == ["attempt 1", "attempt 2"]
    assert len(set(told_ids(actor))) == len(told_ids(actor))


def test_work_tells_on_the_way_before_it_ends(actor: Actor, toy: Toy) -> None:
    async def run(_task: Task, job: Job) -> str:
        await job.tell(a.note(text="half"))
        await job.tell(a.note(number=2, text="nearly"))
        return "done"

    toy.run = run
    actor.hear(a.order())
    actor.work()
    assert [row.text for row in rows_of(actor, Note)] == ["half", "nearly"]
    taken, *on_the_way, end = (message.envelope for message in told(actor))
    assert {one.causationid for one in [*on_the_way, end]} == {f"/cairn/monitor#{taken.id}"}


def test_work_gets_an_empty_folder_that_is_gone_afterwards(actor: Actor, toy: Toy) -> None:
    folders: list[Path] = []

    async def run(_task: Task, job: Job) -> str:
        assert list(job.directory.iterdir()) == []
        (job.directory / "large").write_bytes(b"x")
        folders.append(job.directory)
        return "done"

    toy.run = run
    actor.hear(a.order())
    actor.work()
    assert [folder.exists() for folder in folders] == [False]


def test_no_transaction_is_open_while_work_goes_on(actor: Actor, toy: Toy) -> None:
    async def run(_task: Task, _job: Job) -> str:
        actor.hear(a.labels("b"))
        return "done"

    toy.run = run
    actor.hear(a.order())
    actor.work()
    assert len(rows_of(actor, Note)) == 1
    assert endings(actor) == [("done", "done")]


def test_looking_for_work_when_all_of_it_is_taken_wakes_nobody(actor: Actor, toy: Toy) -> None:
    """Else a worker would wake itself, again and again, as long as another works on something."""
    actor.hear(a.order())
    claim_one(actor, toy)
    woken: list[bool] = []
    actor.processor.committed = lambda: woken.append(True)
    assert worker(actor, toy)._claim() is None
    assert woken == []


async def run_until_told(actor: Actor, one: Worker, count: int) -> None:
    enough = asyncio.Event()

    def committed() -> None:
        one.woken.set()
        if len(rows_of(actor, Ended)) >= count:
            enough.set()

    actor.processor.committed = committed
    running = asyncio.create_task(one.run())
    waiting = asyncio.create_task(enough.wait())
    await asyncio.wait({running, waiting}, timeout=30, return_when=asyncio.FIRST_COMPLETED)
    for task in (running, waiting):
        task.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    ended = (await asyncio.gather(running, return_exceptions=True))[0]
    assert isinstance(ended, asyncio.CancelledError), ended


async def test_a_worker_works_off_all_there_is(actor: Actor, toy: Toy) -> None:
    actor.hear(a.order("a"), a.order("b"), a.order("c"))
    await run_until_told(actor, worker(actor, toy), 3)
    assert endings(actor) == [("done", "42")] * 3


async def test_a_worker_does_several_tasks_at_once_where_it_may(actor: Actor, toy: Toy) -> None:
    both = asyncio.Barrier(2)

    async def run(_task: Task, _job: Job) -> str:
        await both.wait()
        return "together"

    toy.run, toy.at_once = run, 2
    actor.hear(a.order("a"), a.order("b"))
    await run_until_told(actor, worker(actor, toy), 2)
    assert endings(actor) == [("done", "together")] * 2


async def test_a_worker_outlives_trouble_with_its_store(actor: Actor, toy: Toy) -> None:
    actor.hear(a.order())
    one, trouble = worker(actor, toy), [OSError("the disk is full")]

    async def sometimes(function: Callable[..., Any], *arguments: Any) -> Any:
        if trouble:
            raise trouble.pop()
        return function(*arguments)

    one.run_blocking = sometimes
    await run_until_told(actor, one, 1)
    assert endings(actor) == [("done", "42")]


@pytest.mark.parametrize(("fails", "end"), [(False, ("done", "hard won")), (True, ("no-data", "nothing is there"))])
async def test_work_is_not_done_twice_because_the_store_was_away_when_it_ended(
    actor: Actor, toy: Toy, fails: bool, end: tuple[str, str]
) -> None:
    runs: list[int] = []

    async def run(_task: Task, job: Job) -> str:
        runs.append(job.attempt)
        if fails:
            raise WorkFailed("no-data", "nothing is there")
        return "hard won"

    toy.run = run
    actor.hear(a.order())
    one, trouble = worker(actor, toy), [OSError("the disk is full"), OperationalError("", {}, Exception("away"))]

    async def sometimes(function: Callable[..., Any], *arguments: Any) -> Any:
        if runs and trouble:
            raise trouble.pop()
        return function(*arguments)

    one.run_blocking = sometimes
    await run_until_told(actor, one, 1)
    assert endings(actor) == [end]
    assert runs == [1]


async def test_a_worker_that_is_stopped_in_order_gives_its_task_back(actor: Actor, toy: Toy) -> None:
    begun = asyncio.Event()

    async def run(_task: Task, _job: Job) -> str:
        begun.set()
        await asyncio.Event().wait()
        return "never"

    toy.run = run
    actor.hear(a.order())
    running = asyncio.create_task(worker(actor, toy).run())
    await asyncio.wait_for(begun.wait(), 30)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert endings(actor) == []
    assert claim_one(actor, toy)[1].attempt == 1


async def test_a_worker_whose_lease_is_gone_stops_working(actor: Actor, toy: Toy) -> None:
    stopped = asyncio.Event()

    async def run(task: Task, _job: Job) -> str:
        with actor.database.begin() as session:
            void_leases(session)
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()
        return "never"

    toy.run = run
    actor.hear(a.order())
    running = asyncio.create_task(worker(actor, toy, lease_seconds=0.03).run())
    await asyncio.wait_for(stopped.wait(), 30)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert endings(actor) == []


@pytest.mark.parametrize("turns", range(5))
async def test_a_stop_is_not_lost_on_a_worker_that_is_woken_at_the_same_moment(
    actor: Actor, toy: Toy, turns: int
) -> None:
    one = worker(actor, toy)
    running = asyncio.create_task(one.run())
    for _ in range(5):
        await asyncio.sleep(0)
    one.woken.set()
    for _ in range(turns):
        await asyncio.sleep(0)
    running.cancel()
    done, _ = await asyncio.wait({running}, timeout=5)
    assert done


async def test_what_work_tells_and_asks_on_the_way_waits_for_the_store_and_the_work_is_not_begun_again(
    actor: Actor, toy: Toy
) -> None:
    runs: list[int] = []

    async def run(_task: Task, job: Job) -> str:
        runs.append(job.attempt)
        trouble.append(OperationalError("", {}, Exception("away")))
        await job.tell(a.note(text="half"))
        trouble.append(OperationalError("", {}, Exception("away")))
        return f"of {await job.read(lambda session: len(session.exec(select(Note)).all()))}"

    toy.run = run
    actor.hear(a.order())
    one, trouble = worker(actor, toy), list[Exception]()

    async def sometimes(function: Callable[..., Any], *arguments: Any) -> Any:
        if trouble:
            raise trouble.pop()
        return function(*arguments)

    one.run_blocking = sometimes
    await run_until_told(actor, one, 1)
    assert runs == [1]
    assert endings(actor) == [("done", "of 1")]
