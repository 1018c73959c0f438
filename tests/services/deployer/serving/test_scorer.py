import asyncio
import json
import math
import threading

import pytest

from cairn.children import ChildDied
from deployer.serving.packages import PackageUnusable
from deployer.serving.refusals import NotNow, Refused
from deployer.serving.scorer import MOST_WAITING, ChildScorer


class FakeChild:
    """Answers a row with its first cell; dies of "die", refuses "strange", waits at the gate."""

    def __init__(self, ready=None):
        self.ready = ready or {}
        self.asked = []
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()
        self.awaited, self.loading = threading.Event(), threading.Event()
        self.loading.set()
        self.closed = self.killed = False

    def receive(self):
        self.awaited.set()
        self.loading.wait()
        if self.killed:
            raise ChildDied("gone")
        return json.dumps(self.ready).encode()

    def ask(self, message):
        self.entered.set()
        self.gate.wait()
        rows = json.loads(message)
        self.asked.append(len(rows))
        cells = [math.nan if row[0] == "nan" else row[0] for row in rows]
        if "die" in cells or self.killed:
            raise ChildDied("gone")
        if "strange" in cells:
            return b'{"error": "strange", "code": "bad-cell"}'
        return json.dumps({"outputs": [[cell, 1] for cell in cells]}).encode()

    def kill(self):
        self.killed = True
        self.gate.set()
        self.loading.set()

    def close(self):
        self.closed = True


@pytest.fixture
def children():
    return []


@pytest.fixture
async def scorer(children):
    def start():
        children.append(FakeChild())
        return children[-1]

    scorer = ChildScorer(start)
    await scorer.open()
    yield scorer
    await scorer.close()


async def test_each_question_gets_its_own_rows_answers(scorer):
    answers = await asyncio.gather(*(scorer.score([[n], [n + 0.5]]) for n in range(10)))
    assert [[output.score for output in answer] for answer in answers] == [[n, n + 0.5] for n in range(10)]


async def test_what_comes_while_the_child_works_is_scored_together(scorer, children):
    (child,) = children
    child.gate.clear()
    first = asyncio.create_task(scorer.score([[0]]))
    await asyncio.to_thread(child.entered.wait)
    others = [asyncio.create_task(scorer.score([[n]] * 300)) for n in range(1, 6)]
    await asyncio.sleep(0)
    child.gate.set()
    await asyncio.gather(first, *others)
    assert child.asked == [1, 900, 600]


async def test_a_child_that_dies_is_replaced_and_only_what_it_worked_on_is_lost(scorer, children):
    with pytest.raises(NotNow):
        await scorer.score([["die"]])
    assert [output.score for output in await scorer.score([[1]])] == [1]
    assert [child.closed for child in children] == [True, False]


async def test_a_bad_question_does_not_spoil_those_beside_it(scorer, children):
    (child,) = children
    child.gate.clear()
    first = asyncio.create_task(scorer.score([[0]]))
    await asyncio.to_thread(child.entered.wait)
    bad, good = asyncio.create_task(scorer.score([["strange"]])), asyncio.create_task(scorer.score([[2]]))
    await asyncio.sleep(0)
    child.gate.set()
    with pytest.raises(Refused, match="strange"):
        await bad
    assert [output.score for output in await first + await good] == [0, 2]


async def test_a_score_that_is_no_number_fails_its_question_alone(scorer, children):
    children[0].gate.clear()
    first = asyncio.create_task(scorer.score([[0]]))
    await asyncio.to_thread(children[0].entered.wait)
    bad, good = asyncio.create_task(scorer.score([["nan"]])), asyncio.create_task(scorer.score([[2]]))
    await asyncio.sleep(0)
    children[0].gate.set()
    with pytest.raises(NotNow, match="no number"):
        await bad
    assert [output.score for output in await first + await good + await scorer.score([[3]])] == [0, 2, 3]


async def test_more_than_can_wait_is_refused(scorer, children):
    children[0].gate.clear()
    first = asyncio.create_task(scorer.score([[0]]))
    await asyncio.to_thread(children[0].entered.wait)
    second = asyncio.create_task(scorer.score([[0]] * MOST_WAITING))
    await asyncio.sleep(0)
    with pytest.raises(NotNow):
        await scorer.score([[0]])
    children[0].gate.set()
    await asyncio.gather(first, second)


async def test_a_child_that_hangs_is_killed_and_replaced(scorer, children, monkeypatch):
    monkeypatch.setattr("deployer.serving.scorer._BATCH_SECONDS", 0.05)
    children[0].gate.clear()
    with pytest.raises(NotNow):
        await scorer.score([[0]])
    assert children[0].killed
    assert [output.score for output in await scorer.score([[1]])] == [1]


async def test_who_has_gone_is_not_answered(scorer, children):
    children[0].gate.clear()
    first = asyncio.create_task(scorer.score([[0]]))
    await asyncio.to_thread(children[0].entered.wait)
    gone = asyncio.create_task(scorer.score([[1]]))
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.sleep(0)
    children[0].gate.set()
    await first
    await scorer.score([[2]])
    assert sum(children[0].asked) == 2


async def test_a_package_that_the_child_refuses_is_unusable():
    child = FakeChild({"error": "There is a stranger in the model.", "code": "foreign-type"})
    with pytest.raises(PackageUnusable, match="stranger"):
        await ChildScorer(lambda: child).open()
    assert child.closed


async def test_what_waits_when_it_closes_is_still_answered(children):
    def start():
        children.append(FakeChild())
        return children[-1]

    scorer = ChildScorer(start)
    await scorer.open()
    answers = [asyncio.create_task(scorer.score([[n]])) for n in range(5)]
    await asyncio.sleep(0)
    await scorer.close()
    assert [answer.result()[0].score for answer in answers] == [0, 1, 2, 3, 4]
    with pytest.raises(NotNow):
        await scorer.score([[0]])


def slow_child():
    child = FakeChild()
    child.loading.clear()
    return child


async def test_a_child_that_does_not_load_in_time_is_killed(monkeypatch):
    monkeypatch.setattr("deployer.serving.scorer._LOAD_SECONDS", 0.05)
    child = slow_child()
    with pytest.raises(ChildDied):
        await ChildScorer(lambda: child).open()
    assert (child.killed, child.closed) == (True, True)


async def test_a_child_for_which_there_is_no_room_has_died():
    def start():
        raise BlockingIOError("no process can be had")

    with pytest.raises(ChildDied, match="no process can be had"):
        await ChildScorer(start).open()


async def test_who_no_longer_wants_a_model_that_is_loading_does_not_wait_for_it():
    child = slow_child()
    opening = asyncio.create_task(ChildScorer(lambda: child).open())
    await asyncio.to_thread(child.awaited.wait)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    assert (child.killed, child.closed) == (True, True)


async def test_a_child_that_is_still_loading_when_its_scorer_closes_is_not_waited_for():
    children = [FakeChild(), slow_child()]
    coming = iter(children)
    scorer = ChildScorer(lambda: next(coming))
    await scorer.open()
    with pytest.raises(NotNow):
        await scorer.score([["die"]])
    await asyncio.to_thread(children[1].awaited.wait)
    async with asyncio.timeout(3):
        await scorer.close()
    assert (children[1].killed, children[1].closed) == (True, True)
