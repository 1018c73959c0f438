"""The rule of the relay, searched exhaustively: what waits goes out in order, and none is stepped over.

Several relays work on the same outbox at once, without any lock. Rows become visible one after another; a relay
loads what is not confirmed, sends, learns of success or not, confirms, or dies; all of it in any order.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest

ROWS, AT_ONCE = 3, 2


@dataclass(frozen=True, slots=True)
class Rule:
    """How a relay behaves; the chassis's own has none of these."""

    steps_over_what_failed: bool = False
    confirms_before_it_sends: bool = False
    leaves_out_what_others_hold: bool = False
    """Locks single rows, as `FOR UPDATE SKIP LOCKED` does."""


@dataclass(frozen=True, slots=True, order=True)
class Relay:
    """One relay's turn: what it loaded and has not sent, and what Kafka has acknowledged to it."""

    todo: tuple[int, ...] = ()
    acknowledged: tuple[int, ...] = ()

    @property
    def is_idle(self) -> bool:
        """Whether its turn is over."""
        return not self.todo and not self.acknowledged


@dataclass(frozen=True, slots=True)
class State:
    """All there is: committed rows (1 to `visible`), those confirmed, the log, the relays."""

    visible: int
    confirmed: frozenset[int]
    log: tuple[int, ...]
    relays: tuple[Relay, ...]

    def with_relay(self, number: int, relay: Relay, **changes: object) -> "State":
        """The state after one relay did something. Which relay is which does not matter."""
        relays = sorted((*self.relays[:number], relay, *self.relays[number + 1 :]))
        return replace(self, relays=tuple(relays), **changes)  # type: ignore[arg-type]  # fields of this class

    @property
    def first_occurrences(self) -> list[int]:
        """The log as a reader sees it that drops what it knows."""
        return list(dict.fromkeys(self.log))

    @property
    def fault(self) -> str:
        """What is wrong here, if anything."""
        first = self.first_occurrences
        if first != list(range(1, len(first) + 1)):
            return "order"
        return "" if self.confirmed <= set(first) else "loss"


def successors(state: State, rule: Rule, longest_log: int) -> Iterator[State]:
    """Every state that one action leads to."""
    if state.visible < ROWS:
        yield replace(state, visible=state.visible + 1)
    for number, relay in enumerate(state.relays):
        if relay.is_idle:
            if batch := load(state, rule, number):
                yield state.with_relay(number, Relay(batch))
            continue
        yield state.with_relay(number, Relay())  # it dies, or gives up
        if relay.acknowledged:
            confirmed = state.confirmed | set(relay.acknowledged)
            yield state.with_relay(number, Relay(relay.todo), confirmed=confirmed)
        if relay.todo:
            yield from send(state, rule, number, longest_log)


def load(state: State, rule: Rule, number: int) -> tuple[int, ...]:
    """What a relay takes up: the first rows that are not confirmed."""
    waiting = [row for row in range(1, state.visible + 1) if row not in state.confirmed]
    if rule.leaves_out_what_others_hold:
        others = [relay for n, relay in enumerate(state.relays) if n != number]
        held = {row for relay in others for row in relay.todo + relay.acknowledged}
        waiting = [row for row in waiting if row not in held]
    return tuple(waiting[:AT_ONCE])


def send(state: State, rule: Rule, number: int, longest_log: int) -> Iterator[State]:
    """What may come of sending the next row."""
    relay = state.relays[number]
    row, rest = relay.todo[0], relay.todo[1:]
    if len(state.log) < longest_log:
        longer = (*state.log, row)
        yield state.with_relay(number, Relay(rest, (*relay.acknowledged, row)), log=longer)
        # It is in the log, but nobody says so; what was acknowledged before is still confirmed, or is not.
        yield state.with_relay(number, Relay((), relay.acknowledged), log=longer)
    yield state.with_relay(number, Relay((), relay.acknowledged))  # it is not in the log
    if rule.steps_over_what_failed:
        yield state.with_relay(number, Relay(rest, relay.acknowledged))
    if rule.confirms_before_it_sends:
        yield state.with_relay(number, relay, confirmed=state.confirmed | set(relay.todo))


def search(rule: Rule, relays: int, longest_log: int) -> tuple[int, str]:
    """How many states there are, and the first fault found."""
    start = State(0, frozenset(), (), (Relay(),) * relays)
    known, open_states = {start}, deque([start])
    while open_states:
        state = open_states.popleft()
        if state.fault:
            return len(known), state.fault
        for following in successors(state, rule, longest_log):
            if following not in known:
                known.add(following)
                open_states.append(following)
    return len(known), ""


@pytest.mark.parametrize(("relays", "longest_log"), [(1, 8), (2, 7), (3, 6)])
def test_several_relays_at_once_keep_the_order_and_lose_nothing(relays: int, longest_log: int) -> None:
    states, fault = search(Rule(), relays, longest_log)
    assert fault == ""
    assert states > 300 * relays**3


@pytest.mark.parametrize(
    ("rule", "fault"),
    [
        (Rule(steps_over_what_failed=True), "order"),
        (Rule(leaves_out_what_others_hold=True), "order"),
        (Rule(confirms_before_it_sends=True), "loss"),
    ],
    ids=["stepping over what failed", "locking single rows", "confirming before sending"],
)
def test_the_search_finds_what_is_wrong_with_other_rules(rule: Rule, fault: str) -> None:
    assert search(rule, relays=2, longest_log=7)[1] == fault


def test_a_relay_that_works_alone_may_lock_what_it_likes() -> None:
    assert search(Rule(leaves_out_what_others_hold=True), relays=1, longest_log=7)[1] == ""


def test_from_every_state_all_that_was_committed_can_still_arrive() -> None:
    """No state is a dead end: relays that meet no more trouble bring everything out and confirm it."""
    state = State(ROWS, frozenset(), (1, 1, 2), (Relay((2, 3), (1,)), Relay((1, 2))))
    while len(state.confirmed) < ROWS:
        number = 0 if not state.relays[0].is_idle else 1
        relay = state.relays[number]
        if relay.is_idle:
            state = state.with_relay(number, Relay(load(state, Rule(), number)))
        elif relay.todo:
            state = next(send(state, Rule(), number, longest_log=99))
        else:
            state = state.with_relay(number, Relay(), confirmed=state.confirmed | set(relay.acknowledged))
    assert state.first_occurrences == [1, 2, 3]
    assert state.fault == ""
