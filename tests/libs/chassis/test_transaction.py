"""What a service tells: under which name, with what around it, and what it may not tell."""

from datetime import timedelta
from uuid import UUID

import pytest
from tests.libs.chassis import toy as a
from tests.libs.chassis.looking import ledger_rows, rows_of, told, told_ids
from tests.libs.chassis.memory import rebuild
from tests.libs.chassis.toy import Advice, Note, Toy, tells

from cairn.events import AnomalyDetected, LabelsObserved, OutcomesObserved, PolicyAdopted, RequestRefused
from cairn.events.codec import Heard, check
from cairn.events.identity import told_id
from cairn.events.policy import Policy
from cairn.events.values import EventRef
from chassis import Origin, Transaction, ledger
from chassis.rebuild import heard_positions, told_position
from chassis.testing import Actor, World
from chassis.transaction import NotOwner, TwoDecisions

LABELS = "labels"


def test_the_same_cause_gives_the_same_id_in_every_store(world: World, toy: Toy, database_url: str) -> None:
    one, other = world.add(toy.definition(), database_url), world.add(toy.definition())
    record = world.publish(a.labels())
    world.now += timedelta(days=1)
    one.take([record])
    world.now += timedelta(days=1)
    other.take([record])
    assert told_ids(one) == told_ids(other)
    assert told(one)[0].envelope.time != told(other)[0].envelope.time


def test_an_id_is_made_of_the_cause_the_type_the_subject_and_a_count(actor: Actor, world: World, toy: Toy) -> None:
    toy.on_labels = tells(a.note(number=1), a.note(number=2), a.taken("risk.loans", 1))
    world.publish(a.labels(), id="7", source="/test/bank")
    actor.take_new()
    cause = Origin(LABELS, "/test/bank", "7", "", "", "", "").cause
    names = [("cairn.anomaly.detected.v1", 0), ("cairn.anomaly.detected.v1", 1), ("cairn.drift.detected.v1", 0)]
    assert told_ids(actor) == [
        told_id(world.installation.namespace, "/cairn/monitor", cause, name, "model/risk.loans", n) for name, n in names
    ]
    assert [UUID(one).version for one in told_ids(actor)] == [5, 5, 5]


def test_the_same_event_on_another_topic_is_another_cause(actor: Actor, world: World, toy: Toy) -> None:
    toy.on_labels = toy.on_order = tells(a.note())
    world.publish(a.labels(), id="7", source="/test/one")
    world.publish(a.order(), id="7", source="/test/one", authtype="", authid="")
    actor.take_new()
    assert len(set(told_ids(actor))) == 2


def test_what_was_told_is_not_told_again_and_keeps_its_name(actor: Actor, toy: Toy) -> None:
    refs: list[EventRef] = []

    def tell_twice(_event: LabelsObserved, tx: Transaction) -> None:
        refs.extend(tx.tell(a.note(number=number), n="the one") for number in (1, 2))

    toy.on_labels = tell_twice
    assert actor.hear(a.labels()) == [a.note(number=1)]
    assert refs[0] == refs[1] == told(actor)[0].ref


def test_what_an_earlier_step_told_is_not_told_again_by_a_later_one(actor: Actor, world: World) -> None:
    world.publish(a.alarm())
    actor.take_new()
    origin = Origin.parse(ledger_rows_of_alarms(actor)[0])
    first = actor.processor.step(origin, lambda step: step.tell(a.note()) and None)
    again = actor.processor.step(origin, lambda step: step.tell(a.note(number=2)) and None)
    assert (len(first), len(again)) == (1, 0)
    assert [row.number for row in rows_of(actor, Note)] == [1]


@pytest.mark.parametrize("event_id", ["7", "7#8", "#"])
def test_a_decision_that_reached_the_log_is_not_made_again(actor: Actor, toy: Toy, event_id: str) -> None:
    """The store is lost before the offset is committed; the version that starts after it would decide otherwise."""
    (answer,) = actor.hear(a.labels(), id=event_id)
    actor.relay()
    rebuild(actor, committed={})
    teller = toy.on_labels = tells(a.note(number=7), a.taken("risk.loans", 1))
    assert actor.take_new() == 1
    assert rows_of(actor, Note)[0].number == 1
    assert len(told(actor)) == 1
    assert {ref.id for ref in teller.refs} == set(told_ids(actor))
    assert answer == a.note(text="1.0")


def test_a_decision_on_another_key_is_made_all_the_same(actor: Actor, toy: Toy) -> None:
    actor.hear(a.labels())
    actor.relay()
    rebuild(actor, committed={})
    toy.on_labels = tells(a.note("risk.cards"))
    actor.take_new()
    assert [message.envelope.subject for message in told(actor)] == ["model/risk.loans", "model/risk.cards"]


def test_a_decision_that_never_reached_the_log_is_made_again_under_the_same_name(actor: Actor, world: World) -> None:
    actor.hear(a.labels(), a.order())
    before = told_ids(actor)
    rebuild(actor, committed={})
    assert (told(actor), rows_of(actor, Note)) == ([], [])
    world.now += timedelta(days=1)
    actor.take_new()
    assert told_ids(actor) == before


def test_a_request_that_was_granted_is_not_refused_after_a_rebuild(actor: Actor) -> None:
    actor.hear(a.order())
    actor.relay()
    rebuild(actor, committed={})
    actor.take_new()
    assert [message.envelope.type for message in told(actor)] == ["cairn.drift.detected.v1"]


def test_a_request_that_was_refused_is_not_granted_after_a_rebuild(actor: Actor, toy: Toy) -> None:
    _taken, refused = actor.hear(a.order(), a.order())
    assert isinstance(refused, RequestRefused)
    actor.work()
    actor.relay()
    before = told_ids(actor)
    rebuild(actor, committed={})
    actor.take_new()
    assert told_ids(actor) == before


def test_one_step_tells_on_one_key_alone(actor: Actor, toy: Toy) -> None:
    toy.on_labels = tells(a.note("a"), a.note("b"))
    with pytest.raises(TwoDecisions, match=r"model/a.*model/b"):
        actor.hear(a.labels())
    assert told(actor) == []


def test_what_a_service_tells_of_its_own_running_goes_beside_any_decision(actor: Actor, toy: Toy) -> None:
    def refuse_and_note(_event: LabelsObserved, tx: Transaction) -> None:
        tx.refuse("late", "these labels are late")
        tx.tell(a.note())

    toy.on_labels = refuse_and_note
    refused, noted = actor.hear(a.labels())
    assert isinstance(refused, RequestRefused)
    assert (refused.service, refused.reason.code, isinstance(noted, AnomalyDetected)) == ("monitor", "late", True)
    assert refused.request.id == told(actor)[0].envelope.causationid.partition("#")[2]


def test_a_service_tells_nothing_on_a_topic_of_another(actor: Actor, toy: Toy) -> None:
    adopted = PolicyAdopted(policy="default", revision=1, document=Policy(name="default"), digest=a.DIGEST)
    toy.on_labels = tells(adopted)
    with pytest.raises(NotOwner, match=r"monitor may not tell cairn.policy.adopted.v1: governance belongs to"):
        actor.hear(a.labels())


def test_an_answer_that_is_too_large_parks_its_cause(actor: Actor, world: World, toy: Toy) -> None:
    long = a.note().model_copy(update={"checks": (a.check("note", "x" * 2000),) * 200})
    toy.on_labels = tells(long)
    ((_, reason),) = actor.take([world.publish(a.labels())]).parked
    assert "admits 262144: put it into an object" in reason.text


def test_numbers_are_dense_for_each_topic_and_subject(actor: Actor, toy: Toy) -> None:
    def fail(_event: OutcomesObserved, tx: Transaction) -> None:
        tx.tell(a.note())
        raise ValueError("not this time")

    toy.on_figure = fail
    actor.hear(a.labels("a"), a.labels("b"), a.order("a"), a.figure(model="a"), a.order("a"), a.labels("a"))
    numbers: dict[tuple[str, str], list[int]] = {}
    for message in told(actor):
        envelope = message.envelope
        numbers.setdefault((message.record.topic, envelope.subject), []).append(int(envelope.sequence))
        assert len(envelope.sequence) == 20
    assert numbers == {
        ("monitoring", "model/a"): [1, 2, 3],
        ("monitoring", "model/b"): [1],
        ("operations.monitor", "service/monitor"): [1, 2],  # a refusal, and that the figure is parked
    }


def test_several_events_of_one_step_are_numbered_in_their_order(actor: Actor, toy: Toy) -> None:
    toy.on_labels = tells(a.note(number=1), a.note(number=2))
    actor.hear(a.labels(), a.labels("b"))
    assert [int(message.envelope.sequence) for message in told(actor)] == [1, 2, 3, 4]


def test_numbers_go_on_after_a_rebuild(actor: Actor) -> None:
    actor.hear(a.labels(), a.labels())
    actor.relay()
    rebuild(actor)
    actor.hear(a.labels())
    assert [int(message.envelope.sequence) for message in told(actor)] == [1, 2, 3]
    assert [row["position"] for row in ledger_rows(actor, ledger.TOLD)] == [1, 2, 3]


def test_the_basis_says_what_a_decision_had_seen_and_can_be_read_back(actor: Actor, world: World, toy: Toy) -> None:
    toy.on_labels = tells(a.note(number=1), a.note(number=2))
    records = [world.publish(one) for one in (a.order("a"), a.figure(model="a"), a.labels("a"), a.labels("a"))]
    actor.take(records)
    requests, labels = records[0].partition, records[1].partition
    seen = [message.envelope.basis for message in told(actor)]
    assert [told_position(basis) for basis in seen] == [1, 2, 3, 4, 5]
    assert [heard_positions(basis).get(("labels", labels), 0) for basis in seen] == [0, 1, 1, 2, 2]
    assert heard_positions(seen[-1])["requests", requests] == 1
    assert seen[-1].endswith(";told=4;code=test")


def test_the_story_goes_on_and_each_event_names_its_cause(actor: Actor, world: World) -> None:
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    world.publish(a.order(), id="7", source="/test/ada", correlationid="the story", traceparent=trace)
    actor.take_new()
    actor.work()
    taken, ended = (message.envelope for message in told(actor))
    assert (taken.correlationid, ended.correlationid) == ("the story", "the story")
    assert (taken.causationid, ended.causationid) == ("/test/ada#7", f"/cairn/monitor#{taken.id}")
    assert (taken.traceparent, ended.traceparent) == (trace, trace)


def test_an_event_without_a_story_begins_one(actor: Actor, world: World) -> None:
    world.publish(a.labels(), id="7")
    actor.take_new()
    assert told(actor)[0].envelope.correlationid == "7"


def test_advice_to_train_anew_begins_a_new_story_that_names_its_cause(actor: Actor, world: World) -> None:
    world.publish(a.alarm(), id="7", source="/test/ada", correlationid="the story")
    actor.take_new()
    world.now += a.PATIENCE
    actor.wait()
    (advised,) = (message.envelope for message in told(actor))
    assert (advised.correlationid, advised.causationid) == (advised.id, "/test/ada#7")
    assert rows_of(actor, Advice)[0].alarm == "7"


def test_the_envelope_says_who_speaks_and_when(actor: Actor, world: World) -> None:
    actor.hear(a.labels())
    envelope = told(actor)[0].envelope
    assert (envelope.source, envelope.authtype, envelope.authid) == ("/cairn/monitor", "service", "monitor")
    assert (envelope.type, envelope.subject) == ("cairn.anomaly.detected.v1", "model/risk.loans")
    assert envelope.dataschema == "urn:cairn:schema:cairn.anomaly.detected.v1"
    assert envelope.time == envelope.recordedtime == world.now.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def test_one_step_has_one_time(actor: Actor, toy: Toy) -> None:
    toy.on_labels = tells(a.note(number=1), a.note(number=2))
    actor.hear(a.labels())
    assert len({message.envelope.time for message in told(actor)}) == 1


def test_what_is_told_counts_for_everyone_who_has_the_trust_file(actor: Actor, world: World) -> None:
    actor.hear(a.labels(), a.order(), a.order())
    heard = [check(message, world.installation, world.trust) for message in told(actor)]
    assert [isinstance(one, Heard) and one.signed for one in heard] == [True, True, True]


def test_an_event_is_named_by_its_bytes(actor: Actor, toy: Toy) -> None:
    teller = toy.on_labels = tells(a.note())
    actor.hear(a.labels())
    assert teller.refs == [told(actor)[0].ref]


def test_attempts_at_the_same_work_tell_under_different_names(actor: Actor, world: World) -> None:
    world.publish(a.alarm())
    actor.take_new()
    origin = Origin.parse(ledger_rows_of_alarms(actor)[0])
    for attempt in (1, 2, 2):
        actor.processor.step(origin, lambda step: step.tell(a.note()) and None, attempt=attempt)
    assert len(told(actor)) == 2


def ledger_rows_of_alarms(actor: Actor) -> list[str]:
    return [row.origin for row in rows_of(actor, a.Alarm)]
