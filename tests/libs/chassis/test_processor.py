"""Records become rows and answers: in order, each once, a batch whole or not at all."""

import pytest
from sqlalchemy.exc import OperationalError
from tests.libs.chassis import toy as a
from tests.libs.chassis.looking import digest_of, everything, ledger_rows, positions_of, rows_of, told_ids, write_again
from tests.libs.chassis.toy import Figure, Note, Tally, Toy

from cairn.events import AnomalyDetected, ApprovalGiven, OutcomesObserved
from cairn.events.codec import Record
from cairn.events.event import Event
from cairn.objects import StoreUnreachable
from chassis import Transaction, ledger
from chassis.processor import Outcome, StoreBehind
from chassis.quality import TooManyBad
from chassis.testing import Actor, World


def fails(event: OutcomesObserved, tx: Transaction) -> None:
    if event.name == "bad":
        tx.tell(a.note(event.model))
        raise ValueError("nobody can read this")


def counts(outcome: Outcome) -> tuple[int, int, int, int]:
    return outcome.applied, outcome.skipped, outcome.duplicates, len(outcome.parked)


def publish_all(world: World, *events: Event) -> list[Record]:
    return [world.publish(event) for event in events]


def test_an_event_heard_is_remembered_answered_and_the_answer_remembered(actor: Actor) -> None:
    (answer,) = actor.hear(a.labels(value=0.5, count=3))
    assert isinstance(answer, AnomalyDetected)
    assert [(row.items, row.last) for row in rows_of(actor, Tally)] == [(3, "0.5")]
    assert [(row.number, row.text) for row in rows_of(actor, Note)] == [(1, "0.5")]


def test_a_handler_sees_what_its_own_event_and_all_before_it_brought(actor: Actor, toy: Toy) -> None:
    seen: list[int] = []
    toy.on_labels = lambda event, tx: seen.append(tx.session.get_one(Tally, event.model).items)
    actor.hear(a.labels(), a.labels(), a.labels())
    assert seen == [1, 2, 3]


def test_a_record_that_comes_again_is_passed_over(actor: Actor, world: World) -> None:
    record = world.publish(a.labels())
    actor.take([record])
    before = everything(actor)
    assert actor.take([record]) == Outcome()
    assert everything(actor) == before


def test_a_batch_may_begin_before_the_position(actor: Actor, world: World) -> None:
    records = publish_all(world, a.labels(), a.labels(), a.labels())
    actor.take(records[:2])
    assert counts(actor.take(records)) == (1, 0, 0, 0)
    assert rows_of(actor, Tally)[0].items == 3


def test_an_event_that_lies_on_the_log_twice_counts_once(actor: Actor, world: World) -> None:
    record = world.publish(a.labels())
    assert counts(actor.take([record, write_again(world, record)])) == (1, 0, 1, 0)
    assert rows_of(actor, Tally)[0].items == 1
    assert len(rows_of(actor, Note)) == 1


def test_the_same_id_from_another_source_is_another_event(actor: Actor, world: World) -> None:
    records = [world.publish(a.labels(), id="1", source=source) for source in ("/test/one", "/test/two")]
    assert counts(actor.take(records)) == (2, 0, 0, 0)


def test_an_id_used_again_for_other_content_is_parked_and_changes_nothing(actor: Actor, world: World) -> None:
    records = [world.publish(a.figure(value=value), id="1") for value in (1.0, 2.0)]
    outcome = actor.take(records)
    assert counts(outcome) == (1, 0, 0, 1)
    assert outcome.parked[0][1].code == "id-reused"
    assert [row.value for row in rows_of(actor, Figure)] == [1.0]


def test_what_the_service_has_no_use_for_is_passed_over(actor: Actor, world: World) -> None:
    unused = world.publish(ApprovalGiven(model=a.version_of("risk.loans")))
    assert counts(actor.take([unused])) == (0, 1, 0, 0)
    assert positions_of(actor) == {(unused.topic, unused.partition): 1}


def test_positions_name_the_next_record_of_each_partition(actor: Actor, world: World) -> None:
    actor.take(publish_all(world, a.labels("a"), a.labels("b"), a.labels("a"), a.order("a")))
    assert positions_of(actor) == {where: len(records) for where, records in world.log.items()}
    assert len(positions_of(actor)) == 3


def test_a_gap_is_refused_with_its_cure_and_nothing_of_the_batch_is_kept(actor: Actor, world: World) -> None:
    first, _lost, third = publish_all(world, a.labels(), a.labels(), a.labels())
    with pytest.raises(StoreBehind, match=r"continues at 2, the store has seen it to 1: .* -m monitor rebuild"):
        actor.take([first, third])
    assert (rows_of(actor, Tally), positions_of(actor)) == ([], {})


def test_a_bad_record_takes_nothing_else_of_its_batch_along(actor: Actor, world: World, toy: Toy) -> None:
    toy.on_figure = fails
    records = publish_all(world, a.figure("one", 1.0), a.figure("bad", 2.0), a.figure("two", 3.0))
    assert counts(actor.take(records)) == (2, 0, 0, 1)
    assert [row.name for row in rows_of(actor, Figure)] == ["one", "two"]
    assert rows_of(actor, Note) == []  # what it had told before it failed is not told either
    assert positions_of(actor) == {(records[0].topic, records[0].partition): 3}


def test_a_record_whose_answer_cannot_be_remembered_is_parked(actor: Actor, world: World, toy: Toy) -> None:
    toy.on_labels = lambda event, tx: [tx.tell(a.note(number=number)) for number in (1, 1)] and None
    toy.on_figure = lambda event, tx: tx.tell(a.note().model_copy(update={"checks": ()})) and None
    outcome = actor.take(publish_all(world, a.figure(), a.labels()))
    assert counts(outcome) == (1, 0, 0, 1)
    assert outcome.parked[0][1].code == "handler"
    assert [row.number for row in rows_of(actor, Note)] == [1]


@pytest.mark.parametrize(
    "trouble",
    [OSError("the disk is full"), StoreUnreachable("S3 is away"), OperationalError("x", {}, Exception("gone"))],
    ids=["disk", "objects", "database"],
)
def test_trouble_with_the_infrastructure_rolls_the_whole_batch_back(
    actor: Actor, world: World, toy: Toy, trouble: Exception
) -> None:
    def fail(_event: OutcomesObserved, _tx: Transaction) -> None:
        raise trouble

    toy.on_figure = fail
    records = publish_all(world, a.labels("a"), a.order("b"), a.figure())
    before = everything(actor)
    with pytest.raises(type(trouble)):
        actor.take(records)
    assert everything(actor) == before

    toy.on_figure = a.ignore
    assert counts(actor.take(records)) == (3, 0, 0, 0)


def test_waiting_for_the_infrastructure_makes_no_bad_record_worse(actor: Actor, world: World, toy: Toy) -> None:
    def fail(event: OutcomesObserved, tx: Transaction) -> None:
        fails(event, tx)
        raise OSError("the disk is full")

    toy.on_figure = fail
    records = publish_all(world, a.figure("bad"), a.figure("good"))
    for _ in range(10):
        with pytest.raises(OSError, match="full"):
            actor.take(records)
    toy.on_figure = fails
    assert counts(actor.take(records)) == (1, 0, 0, 1)


def test_six_bad_records_in_a_row_stop_the_service_and_are_not_parked(actor: Actor, world: World, toy: Toy) -> None:
    toy.on_figure = fails
    records = publish_all(world, *[a.figure("bad")] * 6)
    with pytest.raises(TooManyBad, match=r"monitor stops at labels/\d/5: most records .*nobody can read this"):
        actor.take(records)
    assert ledger_rows(actor, ledger.PARKED) == []
    assert told_ids(actor) == []

    toy.on_figure = a.ignore  # the version was rolled back
    assert counts(actor.take(records)) == (6, 0, 0, 0)


def test_bad_records_between_good_ones_are_parked_until_they_are_more_than_a_fifth(
    actor: Actor, world: World, toy: Toy
) -> None:
    toy.on_figure = fails
    mixed = publish_all(world, *[a.figure(name) for name in ["bad"] * 5 + ["good"] * 15] * 4)
    assert counts(actor.take(mixed)) == (60, 0, 0, 20)
    with pytest.raises(TooManyBad):
        actor.take(publish_all(world, a.figure("bad")))


def test_types_that_a_newer_version_writes_never_stop_the_service(actor: Actor, world: World) -> None:
    newer = ["cairn.model.praised.v1", "cairn.labels.observed.v2"]
    records = [write_as(world, kind) for kind in newer * 20]
    outcome = actor.take(records)
    assert {reason.code for _, reason in outcome.parked} == {"unknown-type", "unsupported-version"}
    assert len(outcome.parked) == 40


def test_each_partition_is_judged_by_itself(actor: Actor, world: World, toy: Toy) -> None:
    toy.on_figure = fails
    records = [world.publish(a.figure("bad", model=model)) for model in ("a", "b") for _ in range(5)]
    assert len({record.partition for record in records}) == 2
    assert len(actor.take(records).parked) == 10


def test_everything_is_woken_once_after_each_commit_and_never_before(actor: Actor, world: World, toy: Toy) -> None:
    woken: list[int] = []
    actor.processor.committed = lambda: woken.append(len(rows_of(actor, Note)))
    actor.take(publish_all(world, a.labels(), a.labels()))
    assert woken == [2]

    def fail(_event: Event, _tx: Transaction) -> None:
        raise OSError("the disk is full")

    toy.on_labels = fail
    with pytest.raises(OSError, match="full"):
        actor.take(publish_all(world, a.labels()))
    assert woken == [2]


def test_the_same_history_gives_the_same_digest_on_both_databases(world: World, toy: Toy, postgres_url: str) -> None:
    events = (a.labels("a", value="ja"), a.figure(value=0.1), a.order("a"), a.labels("b"), a.alarm())
    publish_all(world, *events)
    start, digests = world.now, []
    for address in (None, postgres_url):
        world.now = start
        service = world.add(toy.definition(), address)
        service.take_new()
        assert [row.last for row in rows_of(service, Tally)] == ["ja", "1.0"]
        digests.append(digest_of(service))
    assert digests[0] == digests[1]


def write_as(world: World, kind: str) -> Record:
    """A record whose type this version does not know."""
    record = world.publish(a.labels())
    world.log[record.topic, record.partition].pop()
    headers = [(name, kind.encode() if name == "ce_type" else value) for name, value in record.headers]
    return write_again(world, record, headers=tuple(headers))
