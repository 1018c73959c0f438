"""What cannot be handled is kept whole, announced, and driven again when somebody asks."""

import json

import pytest
from tests.libs.chassis import toy as a
from tests.libs.chassis.looking import ledger_rows, positions_of, rows_of, told, told_ids, write_again
from tests.libs.chassis.memory import rebuild
from tests.libs.chassis.toy import Figure, Note, Toy

from cairn.events import OutcomesObserved, RecordParked, RecordRedriven, RedriveRequested, RequestRefused
from cairn.events.codec import Headers, Outgoing, Record
from cairn.events.event import Event
from cairn.events.values import Reason
from chassis import Transaction, ledger
from chassis.health import list_parked
from chassis.ledger import parked_record
from chassis.parking import park_applied
from chassis.testing import Actor, World
from chassis.transaction import Place, unreadable_cause

STRUCTURED = (("content-type", b"application/cloudevents+json"),)
BINARY = (("content-type", b"application/json"), ("ce_specversion", b"1.0"), ("ce_type", b"cairn.labels.observed.v1"))


def fails(_event: OutcomesObserved, _tx: Transaction) -> None:
    raise ValueError("nobody can read this")


def structured(**attributes: object) -> bytes:
    event = {"specversion": "1.0", "id": "1", "source": "/test", "type": "cairn.labels.observed.v1", "data": {}}
    return json.dumps(event | attributes).encode()


HOSTILE: dict[str, tuple[str, bytes, Headers, bytes | None]] = {
    "a tombstone": ("tombstone", b"model/a", (), None),
    "nothing at all": ("empty", b"", (), b""),
    "any bytes": ("not-a-cloudevent", b"\xff\x00\xfe", (("x", b"\x00\xff"), ("y", None)), bytes(range(256))),
    "a header without a value": ("header", b"k", (*BINARY, ("ce_id", None)), b"{}"),
    "a header name that is no text": ("header", b"k", (("\udcff\x00", b"1"),), b"{}"),
    "one beside those of an event": ("header", b"k", (*BINARY, ("\udcff", b"1")), b"{}"),
    "a zero in its source": (
        "header",
        b"k",
        (*BINARY, ("ce_id", b"1"), ("ce_source", b"/evil\x00"), ("ce_subject", b"\x00")),
        b"{}",
    ),
    "a zero in its id": ("schema", b"k", STRUCTURED, structured(source="/unsigned/x", id="\x00")),
    "half a character in its source": ("header", b"k", STRUCTURED, structured(source="/evil\ud800")),
    "half a character in its type": ("schema", b"k", STRUCTURED, structured(type="\ud800\x00")),
    "half a character in its data": ("json", b"k", STRUCTURED, structured(data={"model": "\ud800"})),
}


@pytest.mark.parametrize(("code", "key", "headers", "value"), HOSTILE.values(), ids=HOSTILE)
def test_whatever_lies_in_the_log_is_parked_as_it_is_and_stops_nobody(
    actor: Actor, world: World, code: str, key: bytes, headers: Headers, value: bytes | None
) -> None:
    record = Record("labels", 1, 0, 1_767_225_600_000, key, headers, value)
    ((_, reason),) = actor.take([record]).parked
    assert reason.code == code
    (row,) = ledger_rows(actor, ledger.PARKED)
    assert parked_record(dict(row)) == record
    assert positions_of(actor) == {("labels", 1): 1}
    assert actor.hear(a.labels("a")) == [a.note("a", 1, "1.0")]


def test_a_record_without_a_key_or_with_an_impossible_time_is_kept_too(actor: Actor) -> None:
    record = Record("labels", 0, 0, -1, None, [], b"?")
    actor.take([record])
    (row,) = ledger_rows(actor, ledger.PARKED)
    assert (row["key"], row["timestamp"]) == (None, -1)


def test_a_well_formed_event_with_a_strange_identity_counts(actor: Actor, world: World) -> None:
    data = json.loads(a.labels("a").model_dump_json())
    values = [structured(source="/unsigned/ß", id=name, subject="model/a", data=data) for name in ("ü", "'; --", "𝄞")]
    for value in values:
        world.append(Outgoing("cairn.labels", b"model/a", STRUCTURED, value))  # type: ignore[arg-type]  # read, not written
    actor.take_new()
    assert len(rows_of(actor, Note)) == 3


def test_a_complaint_that_no_database_can_hold_is_made_legible(actor: Actor, world: World, toy: Toy) -> None:
    def complain(_event: OutcomesObserved, _tx: Transaction) -> None:
        raise ValueError("I cannot read \x00\ud800!")

    toy.on_figure = complain
    actor.take([world.publish(a.figure())])
    (row,) = list_parked(actor.database)
    assert row["text"] == "ValueError: I cannot read \\x00\\ud800!"
    assert RecordParked.model_validate_json(told(actor)[0].data).reason.text == row["text"]


def test_what_is_parked_is_announced_by_its_place(actor: Actor, world: World, toy: Toy) -> None:
    toy.on_figure = fails
    record = world.publish(a.figure())
    actor.take([record])
    (parked,) = told(actor)
    facts = RecordParked.model_validate_json(parked.data)
    assert (facts.service, facts.topic, facts.partition, facts.offset) == ("monitor", "labels", record.partition, 0)
    assert (facts.digest, facts.parking) == (record.digest, 1)
    assert (facts.reason.code, facts.reason.text) == ("handler", "ValueError: nobody can read this")
    assert (parked.record.topic, parked.envelope.causationid) == ("operations.monitor", f"#labels/{record.partition}/0")


def test_whoever_looks_sees_what_is_parked_and_why(actor: Actor, world: World, toy: Toy) -> None:
    toy.on_figure = fails
    record = world.publish(a.figure())
    actor.take([record])
    assert list_parked(actor.database) == [
        {
            "topic": "labels",
            "partition": record.partition,
            "offset": 0,
            "code": "handler",
            "text": "ValueError: nobody can read this",
            "parking": 1,
            "state": "parked",
        }
    ]


def test_a_record_may_be_parked_again_after_a_restart_without_a_second_announcement(
    actor: Actor, world: World, toy: Toy
) -> None:
    toy.on_figure = fails
    actor.hear(a.figure())
    before = told_ids(actor)
    actor.relay()
    rebuild(actor, committed={})
    actor.take_new()
    assert told_ids(actor) == before
    assert [row["state"] for row in ledger_rows(actor, ledger.PARKED)] == ["parked"]


class Parked:
    """A figure that could not be handled, and the ways to ask for it."""

    def __init__(self, actor: Actor, toy: Toy) -> None:
        self.actor, self.toy = actor, toy
        toy.on_figure = fails
        self.record = actor.world.publish(a.figure(value=7.0))
        actor.take_new()

    def mend(self) -> None:
        self.toy.on_figure = lambda event, tx: tx.tell(a.note(event.model, 1, "mended")) and None

    def ask(self, **changes: object) -> list[Event]:
        place = {"topic": "labels", "partition": self.record.partition, "offset": self.record.offset}
        return self.actor.hear(RedriveRequested(**{"service": "monitor", **place, "reason": "mended", **changes}))

    def states(self) -> list[str]:
        return [row["state"] for row in ledger_rows(self.actor, ledger.PARKED)]


@pytest.fixture
def parked(actor: Actor, toy: Toy) -> Parked:
    return Parked(actor, toy)


def test_once_the_fault_is_mended_a_parked_record_is_handled_after_all(actor: Actor, parked: Parked) -> None:
    parked.mend()
    noted, redriven = parked.ask()
    assert noted == a.note(number=1, text="mended")
    assert isinstance(redriven, RecordRedriven)
    assert (redriven.topic, redriven.offset, redriven.reason.text) == ("labels", 0, "mended")
    assert [row.value for row in rows_of(actor, Figure)] == [7.0]
    assert parked.states() == ["redriven"]


def test_the_answer_to_a_request_to_drive_again_names_that_request(actor: Actor, world: World, parked: Parked) -> None:
    parked.mend()
    parked.ask(reason="try again")
    redriven = RecordRedriven.model_validate_json(told(actor)[-1].data)
    (request,) = [record for (topic, _), records in world.log.items() if topic == "requests" for record in records]
    assert [ref.digest for ref in redriven.reason.evidence] == [request.digest]


def test_what_a_driven_record_leads_to_is_named_as_if_it_had_worked_at_once(
    actor: Actor, world: World, parked: Parked
) -> None:
    parked.mend()
    parked.ask()
    other = world.add(parked.toy.definition())
    other.take([parked.record])
    assert told_ids(actor)[1] == told_ids(other)[0]


def test_while_the_fault_is_there_the_request_is_refused_with_it_and_the_record_stays(
    actor: Actor, parked: Parked
) -> None:
    (refused,) = parked.ask()
    assert isinstance(refused, RequestRefused)
    assert refused.reason.code == "handler"
    assert refused.reason.text == "it still cannot be handled: ValueError: nobody can read this"
    assert parked.states() == ["parked"]
    assert rows_of(actor, Figure) == []

    parked.mend()
    assert isinstance(parked.ask()[-1], RecordRedriven)


def test_what_can_never_be_read_is_refused_each_time(actor: Actor) -> None:
    actor.take([Record("labels", 2, 0, 0, b"k", (), b"?")])
    request = RedriveRequested(service="monitor", topic="labels", partition=2, offset=0)
    answers = [*actor.hear(request), *actor.hear(request)]
    assert [isinstance(one, RequestRefused) and one.reason.code for one in answers] == ["not-a-cloudevent"] * 2


def test_a_record_that_is_not_parked_is_not_driven_again(parked: Parked) -> None:
    parked.mend()
    (refused,) = parked.ask(offset=5)
    assert isinstance(refused, RequestRefused)
    assert refused.reason.code == "not-parked"
    assert refused.reason.text == f"no record is parked at labels/{parked.record.partition}/5: it was never parked"
    parked.ask()
    (second,) = parked.ask()
    assert isinstance(second, RequestRefused)
    assert second.reason.text.endswith("it is redriven")


def test_a_request_to_another_service_is_not_answered(parked: Parked) -> None:
    parked.mend()
    assert parked.ask(service="trainer") == []
    assert parked.states() == ["parked"]


def test_a_request_that_comes_twice_is_answered_once(actor: Actor, world: World, parked: Parked) -> None:
    parked.mend()
    parked.ask()
    before = told_ids(actor)
    (request,) = [record for (topic, _), records in world.log.items() if topic == "requests" for record in records]
    write_again(world, request)
    actor.take_new()
    assert told_ids(actor) == before


@pytest.mark.parametrize("mended", [True, False])
def test_a_request_that_was_answered_is_not_answered_again_after_a_rebuild(
    actor: Actor, parked: Parked, mended: bool
) -> None:
    """Its offset was not committed when the store was lost."""
    if mended:
        parked.mend()
    parked.ask()
    parked.mend()
    actor.relay()
    before, states = told_ids(actor), parked.states()
    rebuild(actor, committed={one: n for one, n in actor.offsets.items() if one[0] == "labels"})
    actor.take_new()
    assert told_ids(actor) == before
    assert parked.states() == states
    assert len(rows_of(actor, Figure)) == (1 if mended else 0)


def test_trouble_with_the_infrastructure_does_not_answer_a_request_to_drive_again(
    actor: Actor, world: World, parked: Parked
) -> None:
    def no_disk(_event: OutcomesObserved, _tx: Transaction) -> None:
        raise OSError("the disk is full")

    parked.toy.on_figure = no_disk
    before = told_ids(actor)
    with pytest.raises(OSError, match="full"):
        parked.ask()
    assert told_ids(actor) == before
    parked.mend()
    actor.take_new()
    assert parked.states() == ["redriven"]


def test_a_record_that_came_again_in_good_health_and_is_then_driven_counts_once(
    actor: Actor, world: World, parked: Parked
) -> None:
    parked.mend()
    write_again(world, parked.record)
    actor.take_new()
    parked.ask()
    assert len(rows_of(actor, Figure)) == 1
    assert [message.envelope.type for message in told(actor)].count("cairn.anomaly.detected.v1") == 1


def test_a_record_driven_again_past_the_committed_offset_is_not_lost_by_a_rebuild(
    actor: Actor, world: World, parked: Parked
) -> None:
    parked.mend()
    actor.hear(a.figure("one", 1.0), a.figure("two", 2.0))
    parked.ask()
    actor.relay()
    before = sorted((row.name, row.value) for row in rows_of(actor, Figure))
    where = ("labels", parked.record.partition)
    rebuild(actor, committed=actor.offsets | {where: 2})
    actor.take_new()
    assert sorted((row.name, row.value) for row in rows_of(actor, Figure)) == before


def park_for_its_work(actor: Actor, record: Record) -> None:
    """Park a record that was applied, in a step that tells nothing else."""
    place = Place.of(record)
    reason = Reason(code="no-answer", text="nobody was there")
    actor.processor.step(unreadable_cause(place), lambda tx: park_applied(tx, place, record.digest, reason))


def test_a_step_may_park_an_applied_record_and_tell_nothing_else(actor: Actor, world: World) -> None:
    record = world.publish(a.labels())
    actor.take([record])
    park_for_its_work(actor, record)
    assert told(actor)[-1].envelope.type == "cairn.record.parked.v1"
    assert [(row["state"], row["parking"]) for row in ledger_rows(actor, ledger.PARKED)] == [("parked", 1)]


def test_what_was_driven_again_and_then_parked_for_its_work_is_answered_once_after_a_rebuild(
    actor: Actor, parked: Parked
) -> None:
    """Neither the record's offset nor the request's was committed when the store was lost."""
    parked.mend()
    parked.ask()
    park_for_its_work(actor, parked.record)
    actor.relay()
    before = told_ids(actor)
    rebuild(actor, committed={})
    actor.take_new()
    assert told_ids(actor) == before
    assert len(rows_of(actor, Figure)) == 1
