"""What was told of a parked record holds, though the store that knew of it is lost before its offset was committed."""

import pytest
from tests.libs.chassis import toy as a
from tests.libs.chassis.looking import digest_of, ledger_rows, rows_of, told, told_ids
from tests.libs.chassis.memory import rebuild
from tests.libs.chassis.toy import Figure, Note, Toy

from cairn.events import OutcomesObserved, RedriveRequested
from cairn.events.codec import Outgoing
from chassis import Transaction, ledger
from chassis.kafka import Partition
from chassis.outbox import confirm, load_waiting
from chassis.testing import Actor
from chassis.wiring import trailing_offsets

LABELS = ("labels", 0)


def fails(event: OutcomesObserved, _tx: Transaction) -> None:
    if event.items[0].value == 1.0:
        raise ValueError("nobody can read this")


def answers(event: OutcomesObserved, tx: Transaction) -> None:
    if event.items[0].value == 1.0:
        tx.tell(a.note(event.model, 1, "mended"))


class Story:
    """A bad figure, a better one after it, and a request that drives the bad one again."""

    def __init__(self, actor: Actor, toy: Toy) -> None:
        self.actor, self.toy = actor, toy
        toy.on_figure = fails
        actor.hear(a.figure("bad", 1.0))
        toy.on_figure = answers

    def drive_again(self) -> None:
        self.actor.hear(a.figure("bad", 2.0))
        request = RedriveRequested(service="monitor", topic="labels", partition=0, offset=0, reason="mended")
        self.actor.hear(request)

    def relay_only(self, topic: str) -> None:
        """Carry out what waits for one topic; the others' broker is away."""
        rows = [row for row in load_waiting(self.actor.database) if row.topic == topic]
        topics = self.actor.world.installation
        records = [
            self.actor.world.append(Outgoing(topics.topic(row.topic), row.key, row.headers, row.value)) for row in rows
        ]
        places = [(row.position, record.partition, record.offset) for row, record in zip(rows, records, strict=True)]
        confirm(self.actor.database, places)

    def committed(self) -> dict[Partition, int]:
        """How far the group may have come."""
        return trailing_offsets(self.actor.database, "decider", a.HEARS)

    def states(self) -> list[str]:
        return [row["state"] for row in ledger_rows(self.actor, ledger.PARKED)]

    def figures(self) -> list[float]:
        return [row.value for row in rows_of(self.actor, Figure)]

    def all_told(self) -> dict[str, str]:
        return {message.envelope.id: message.envelope.type for message in told(self.actor)}


@pytest.fixture
def story(actor: Actor, toy: Toy) -> Story:
    return Story(actor, toy)


def test_a_record_that_was_told_to_be_parked_is_parked_again_though_it_could_be_handled_now(
    actor: Actor, story: Story
) -> None:
    actor.relay()
    before, parked = told_ids(actor), ledger_rows(actor, ledger.PARKED)
    rebuild(actor, committed={})
    actor.take_new()
    assert story.figures() == []
    assert rows_of(actor, Note) == []
    assert told_ids(actor) == before
    assert ledger_rows(actor, ledger.PARKED) == parked


def test_it_can_be_driven_again_from_there(actor: Actor, story: Story) -> None:
    actor.relay()
    rebuild(actor, committed={})
    actor.take_new()
    story.drive_again()
    assert story.figures() == [1.0]
    assert story.states() == ["redriven"]


def test_a_parking_that_was_not_told_is_judged_anew(actor: Actor, story: Story) -> None:
    rebuild(actor, committed={})
    actor.take_new()
    assert story.figures() == [1.0]
    assert story.states() == []


@pytest.mark.parametrize("heard_again", [{"labels", "requests"}, {"labels"}, {"requests"}, set()])
def test_a_record_that_was_told_to_be_driven_again_counts_once_wherever_the_group_stood(
    actor: Actor, story: Story, heard_again: set[str]
) -> None:
    story.drive_again()
    actor.relay()
    before, digest = story.all_told(), digest_of(actor)
    rebuild(actor, committed={one: n for one, n in actor.offsets.items() if one[0] not in heard_again})
    actor.take_new()
    assert story.all_told() == before
    assert story.states() == ["redriven"]
    if heard_again != {"labels"}:  # else the request is behind, and what came between is heard again, after it
        assert digest_of(actor) == digest


def test_the_requests_may_be_heard_before_the_record_that_they_are_about(actor: Actor, story: Story) -> None:
    story.drive_again()
    actor.relay()
    before = story.all_told()
    rebuild(actor, committed={})
    for topic in ("requests", "labels"):
        for (name, _), records in actor.world.log.items():
            if name == topic:
                actor.take(records)
    assert story.all_told() == before
    assert story.states() == ["redriven"]


def test_the_group_does_not_pass_a_request_while_what_it_led_to_waits(actor: Actor, story: Story) -> None:
    actor.relay()
    story.drive_again()
    story.relay_only("operations.monitor")
    assert story.committed() == {LABELS: 2} | {one: 0 for one in actor.offsets if one[0] == "requests"}
    actor.relay()
    assert story.committed() == actor.offsets


def test_what_a_driven_record_led_to_is_told_though_only_that_it_was_driven_got_out(actor: Actor, story: Story) -> None:
    actor.relay()
    story.drive_again()
    before, digest = story.all_told(), digest_of(actor)
    story.relay_only("operations.monitor")
    rebuild(actor, committed=story.committed())
    assert rows_of(actor, Note) == []
    actor.take_new()
    assert story.all_told() == before
    assert digest_of(actor) == digest


def test_what_was_told_as_driven_and_cannot_be_now_is_not_passed_over_in_silence(actor: Actor, story: Story) -> None:
    actor.relay()
    story.drive_again()
    story.relay_only("operations.monitor")
    rebuild(actor, committed=story.committed())
    story.toy.on_figure = fails
    actor.take_new()
    (request,) = [row for row in ledger_rows(actor, ledger.PARKED) if row["topic"] == "requests"]
    assert (request["code"], request["text"]) == ("handler", "ValueError: nobody can read this")

    story.toy.on_figure = answers
    place = {name: request[name] for name in ("topic", "partition", "offset")}
    actor.hear(RedriveRequested(service="monitor", **place))
    assert [row.text for row in rows_of(actor, Note)] == ["mended"]


def test_a_refusal_that_was_told_stays_the_answer(actor: Actor, story: Story) -> None:
    story.toy.on_figure = fails
    story.drive_again()
    actor.relay()
    before = story.all_told()
    story.toy.on_figure = answers
    rebuild(actor, committed={})
    actor.take_new()
    assert story.all_told() == before
    assert story.states() == ["parked"]
    assert [name for name in before.values() if name.startswith("cairn.request")] == ["cairn.request.refused.v1"]
