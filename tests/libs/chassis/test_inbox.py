"""Each identity counts once, whoever asks and however often."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from tests.libs.chassis import toy as a
from tests.libs.chassis.looking import ledger_rows

from cairn.events.codec import Message, read
from cairn.events.event import Event
from chassis import ledger
from chassis.inbox import Claim, claim
from chassis.testing import Actor, World


def message(world: World, event: Event, event_id: str = "1") -> Message:
    found = read(world.publish(event, id=event_id))
    assert isinstance(found, Message)
    return found


def claim_all(actor: Actor, *messages: Message) -> list[Claim]:
    with actor.database.begin() as session:
        return [claim(session.connection(), one) for one in messages]


def test_an_event_is_new_once_and_a_duplicate_from_then_on(actor: Actor, world: World) -> None:
    one = message(world, a.labels())
    assert claim_all(actor, one, one) == [Claim.NEW, Claim.DUPLICATE]
    assert claim_all(actor, one) == [Claim.DUPLICATE]


def test_other_bytes_under_the_same_identity_are_a_conflict(actor: Actor, world: World) -> None:
    one, other = message(world, a.labels(value=1)), message(world, a.labels(value=2))
    assert claim_all(actor, one, other, one) == [Claim.NEW, Claim.CONFLICT, Claim.DUPLICATE]


def test_id_and_source_together_are_the_identity(actor: Actor, world: World) -> None:
    one = message(world, a.labels())
    others = [replace(one, envelope=replace(one.envelope, **changes)) for changes in ({"source": "/b"}, {"id": "2"})]
    assert claim_all(actor, one, *others) == [Claim.NEW] * 3


def test_the_inbox_says_where_each_event_lay_first(actor: Actor, world: World) -> None:
    first, again = message(world, a.labels()), message(world, a.labels())
    claim_all(actor, first, again)
    (row,) = ledger_rows(actor, ledger.INBOX)
    record = first.record
    assert (row["topic"], row["partition"], row["offset"]) == (record.topic, record.partition, record.offset)


def test_what_was_rolled_back_is_new_again(actor: Actor, world: World) -> None:
    one = message(world, a.labels())
    with actor.database.begin() as session:
        assert claim(session.connection(), one) is Claim.NEW
        session.rollback()
    assert claim_all(actor, one) == [Claim.NEW]


def test_of_two_who_claim_at_the_same_time_one_comes_second(actor: Actor, world: World) -> None:
    one = message(world, a.labels())
    with ThreadPoolExecutor(1) as other:
        with actor.database.begin() as session:
            first = claim(session.connection(), one)
            second = other.submit(claim_all, actor, one)
        assert (first, second.result(timeout=30)) == (Claim.NEW, [Claim.DUPLICATE])
