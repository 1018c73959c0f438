"""Waits: each is over at its time, handled once, and kept by nobody else's trouble."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from tests.libs.chassis import toy as a
from tests.libs.chassis.looking import rows_of, told, told_ids
from tests.libs.chassis.memory import rebuild
from tests.libs.chassis.toy import Advice, Toy

from chassis import Due, Transaction
from chassis.testing import Actor, World
from chassis.waiting import Clerk, SilentWait


def clerk(actor: Actor) -> Clerk:
    async def blocking(function: Any, *arguments: Any) -> Any:
        return function(*arguments)

    return Clerk(actor.definition.waits[0], actor.processor, actor.database, blocking, actor.world.clock)


def raise_alarm(actor: Actor, *models: str) -> None:
    actor.hear(*(a.alarm(model) for model in models or ("risk.loans",)))


def answered(actor: Actor) -> list[str]:
    return sorted(row.model for row in rows_of(actor, Advice))


def test_a_wait_that_is_not_over_is_left_alone(actor: Actor, world: World) -> None:
    raise_alarm(actor)
    world.now += a.PATIENCE - timedelta(seconds=1)
    actor.wait()
    assert answered(actor) == []


def test_a_wait_that_is_over_is_handled_once(actor: Actor, world: World) -> None:
    raise_alarm(actor)
    world.now += a.PATIENCE
    actor.wait()
    actor.wait()
    assert answered(actor) == ["risk.loans"]
    assert len(told(actor)) == 1


def test_a_wait_that_is_over_long_since_is_handled_all_the_same(actor: Actor, world: World) -> None:
    raise_alarm(actor, "a", "b")
    world.now += timedelta(days=400)
    actor.wait()
    assert answered(actor) == ["a", "b"]


def test_the_time_of_a_wait_is_counted_from_when_it_happened_not_from_when_it_was_heard(
    actor: Actor, world: World
) -> None:
    world.now += timedelta(hours=5)
    world.publish(a.alarm(), time="2026-01-01T04:30:00.000000Z")
    actor.take_new()
    assert clerk(actor).handle_due() == 30.0
    world.now += timedelta(minutes=30)
    actor.wait()
    assert answered(actor) == ["risk.loans"]


def test_the_clerk_says_how_long_it_may_sleep(actor: Actor, world: World) -> None:
    one = clerk(actor)
    assert one.handle_due() == 30.0
    raise_alarm(actor)
    world.now += a.PATIENCE - timedelta(seconds=5)
    assert one.handle_due() == pytest.approx(5, abs=0.1)


def test_the_answer_is_named_by_the_event_that_began_the_wait(actor: Actor, world: World) -> None:
    world.publish(a.alarm(), id="7", source="/test/ada")
    actor.take_new()
    world.now += a.PATIENCE
    actor.wait()
    assert told(actor)[0].envelope.causationid == "/test/ada#7"


def test_a_wait_whose_end_was_never_told_ends_under_the_same_name_after_a_rebuild(actor: Actor, world: World) -> None:
    raise_alarm(actor)
    world.now += a.PATIENCE
    actor.wait()
    before = told_ids(actor)
    rebuild(actor)
    assert answered(actor) == []
    world.now += timedelta(days=1)
    actor.wait()
    assert told_ids(actor) == before


def test_a_wait_that_ends_in_silence_is_an_error(actor: Actor, world: World, toy: Toy) -> None:
    toy.on_alarm = a.ignore
    raise_alarm(actor)
    world.now += a.PATIENCE
    with pytest.raises(SilentWait, match="alarm told nothing"):
        actor.wait()


@pytest.mark.parametrize("fault", ["raises", "is silent"])
def test_a_wait_that_goes_wrong_keeps_no_other_waiting(actor: Actor, world: World, toy: Toy, fault: str) -> None:
    def answer(due: Due, tx: Transaction) -> None:
        if due.detail != "a":
            a.answer_alarm(due, tx)
        elif fault == "raises":
            raise ValueError("not this one")

    toy.on_alarm = answer
    raise_alarm(actor, "a", "b", "c")
    world.now += a.PATIENCE
    with pytest.raises((ValueError, SilentWait)):
        actor.wait()
    assert answered(actor) == ["b", "c"]

    toy.on_alarm = a.answer_alarm
    actor.wait()
    assert answered(actor) == ["a", "b", "c"]


@pytest.mark.parametrize("turns", range(5))
async def test_a_stop_is_not_lost_on_who_is_woken_at_the_same_moment(actor: Actor, turns: int) -> None:
    """On Python 3.11 `asyncio.wait_for` loses it, at one of these turns of the loop."""
    one = clerk(actor)
    running = asyncio.create_task(one.run())
    for _ in range(5):
        await asyncio.sleep(0)
    one.woken.set()
    for _ in range(turns):
        await asyncio.sleep(0)
    running.cancel()
    done, _ = await asyncio.wait({running}, timeout=5)
    assert done
