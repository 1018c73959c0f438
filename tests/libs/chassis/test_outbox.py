"""The outbox: what was told waits in order, goes out by whole decisions, and is kept until Kafka has it."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from tests.libs.chassis import toy as a
from tests.libs.chassis.looking import ledger_rows, told
from tests.libs.chassis.toy import Teller, Toy, tells

from cairn.events import LabelsObserved
from chassis import Transaction, ledger
from chassis.failpoints import Failpoints
from chassis.outbox import Waiting, confirm, confirmed_ends, count_waiting, load_waiting
from chassis.relay import Relay, _fill, by_decision, by_partition
from chassis.testing import Actor
from chassis.wiring import trailing_offsets


def confirm_first(actor: Actor, count: int = 1) -> None:
    rows = load_waiting(actor.database)[:count]
    confirm(actor.database, [(row.position, row.partition, 100 + row.position) for row in rows])


def decisions(rows: list[Waiting]) -> list[list[int]]:
    return [[row.position for row in decision] for decision in by_decision(rows)]


def tells_many(count: int) -> Teller:
    return tells(*(a.note(number=number + 1) for number in range(count)))


def test_what_was_told_waits_in_its_order_until_it_is_confirmed(actor: Actor) -> None:
    actor.hear(a.labels("a"), a.labels("b"), a.order("a"))
    assert [row.position for row in load_waiting(actor.database)] == [1, 2, 3]
    confirm_first(actor, 2)
    assert [row.position for row in load_waiting(actor.database)] == [3]
    assert count_waiting(actor.database) == 1


def test_what_goes_out_is_what_was_signed_when_it_was_told(actor: Actor) -> None:
    actor.hear(a.labels())
    (row,) = load_waiting(actor.database)
    (message,) = told(actor)
    assert (row.value, row.key, row.headers) == (message.data, b"model/risk.loans", message.record.headers)


def test_all_that_one_step_tells_is_one_decision(actor: Actor, toy: Toy) -> None:
    toy.on_labels = tells_many(3)
    for event in (a.labels(), a.order(), a.labels()):
        actor.hear(event)
    assert decisions(load_waiting(actor.database)) == [[1, 2, 3], [4], [5, 6, 7]]


def test_a_decision_is_never_cut_in_two(actor: Actor, toy: Toy) -> None:
    toy.on_labels = tells_many(3)
    actor.hear(a.labels(), a.labels())
    loaded = [decisions(load_waiting(actor.database, limit)) for limit in (3, 4, 5, 6, 7)]
    assert loaded == [[[1, 2, 3]]] * 3 + [[[1, 2, 3], [4, 5, 6]]] * 2


@pytest.mark.parametrize("limit", [1, 2, 3, 4])
def test_a_decision_that_is_longer_than_all_that_is_loaded_at_once_is_loaded_whole(
    actor: Actor, toy: Toy, limit: int
) -> None:
    toy.on_labels = tells_many(5)
    actor.hear(a.labels(), a.labels())
    assert decisions(load_waiting(actor.database, limit)) == [[1, 2, 3, 4, 5]]


def test_a_decision_of_which_a_part_is_confirmed_goes_on_with_the_rest(actor: Actor, toy: Toy) -> None:
    toy.on_labels = tells_many(3)
    actor.hear(a.labels())
    confirm_first(actor)
    assert decisions(load_waiting(actor.database, 1)) == [[2, 3]]


def test_rows_are_parted_by_partition_and_keep_their_order_there(actor: Actor) -> None:
    actor.hear(a.labels("a"), a.labels("b"), a.labels("a"), a.order("a"), a.order("a"))
    parts = by_partition(load_waiting(actor.database))
    assert all(positions == sorted(positions) for positions in ([r.position for r in rows] for rows in parts.values()))
    assert sorted(topic for topic, _ in parts) == ["monitoring", "monitoring", "operations.monitor"]
    assert sum(map(len, parts.values())) == 5


async def test_a_record_batch_holds_whole_decisions_and_half_a_mebibyte(actor: Actor, toy: Toy) -> None:
    large = a.note().model_copy(update={"checks": (a.check("note", "x" * 2000),) * 60})
    toy.on_labels = tells(large, large, large)
    actor.hear(*[a.labels()] * 4)
    producer = AIOKafkaProducer(max_batch_size=1024 * 1024)
    left, batches = by_decision(load_waiting(actor.database)), []
    while left:
        (batch, taken), left = _fill(producer, left)
        assert batch.record_count() == len(taken)
        batches.append([row.position for row in taken])
    assert batches == [[1, 2, 3], [4, 5, 6], [7, 8, 9], [10, 11, 12]]


async def test_a_decision_that_no_record_batch_holds_is_not_made(actor: Actor, toy: Toy) -> None:
    """It would wait in the outbox for ever, and all of its partition behind it."""
    large = a.note().model_copy(update={"checks": (a.check("note", "x" * 2000),) * 60})
    record = actor.world.publish(a.labels())
    toy.on_labels = tells(*[large] * 8)
    ((_, reason),) = actor.take([record]).parked
    assert reason.text.startswith("EventTooLarge: one decision tells 10")
    toy.on_labels = tells(*[large] * 7)
    actor.hear(a.labels())
    _parked, decision = by_decision(load_waiting(actor.database))
    (_, taken), left = _fill(AIOKafkaProducer(max_batch_size=1024 * 1024), [decision])
    assert (len(taken), left) == (7, [])


def test_confirming_twice_changes_nothing(actor: Actor) -> None:
    actor.hear(a.labels(), a.labels())
    confirm_first(actor)
    before = ledger_rows(actor, ledger.TOLD)
    confirm(actor.database, [(1, before[0]["partition"], before[0]["offset"])])
    assert ledger_rows(actor, ledger.TOLD) == before
    with actor.database.read() as session:
        assert set(confirmed_ends(session.connection()).values()) == {102}


def test_the_group_s_offset_never_passes_a_record_whose_answer_is_not_confirmed(actor: Actor, toy: Toy) -> None:
    def answer_odd(event: LabelsObserved, tx: Transaction) -> None:
        if event.items[0].value == 1.0:
            tx.tell(a.note())

    toy.on_labels = answer_odd
    actor.hear(*(a.labels(value=float(number % 2)) for number in range(4)))
    where = ("labels", 0)
    offsets = [trailing_offsets(actor.database, "decider", a.HEARS)[where]]
    for _ in range(2):
        confirm_first(actor)
        offsets.append(trailing_offsets(actor.database, "decider", a.HEARS)[where])
    assert offsets == [1, 3, 4]


def test_an_answer_that_waits_holds_back_no_other_partition(actor: Actor) -> None:
    actor.hear(a.labels("a"), a.labels("b"))
    (waiting, _) = load_waiting(actor.database)
    confirm(actor.database, [(waiting.position, waiting.partition, 0)])
    assert sorted(trailing_offsets(actor.database, "decider", a.HEARS).values()) == [0, 1]


@pytest.mark.parametrize("turns", range(5))
async def test_a_stop_is_not_lost_on_a_relay_that_is_woken_at_the_same_moment(actor: Actor, turns: int) -> None:
    async def blocking(function: Callable[..., Any], *arguments: Any) -> Any:
        return function(*arguments)

    relay = Relay(actor.database, actor.world.installation, AIOKafkaProducer, blocking, Failpoints({}))
    running = asyncio.create_task(relay.run())
    for _ in range(5):
        await asyncio.sleep(0)
    relay.woken.set()
    for _ in range(turns):
        await asyncio.sleep(0)
    running.cancel()
    done, _ = await asyncio.wait({running}, timeout=5)
    assert done
