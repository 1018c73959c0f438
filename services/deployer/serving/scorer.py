"""One loaded model: a child process that holds it, and the requests that wait for it."""

import asyncio
import json
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

import structlog

from cairn.children import Child, ChildDied
from cairn.events.predictions import Output
from cairn.events.values import Scalar
from deployer.serving.packages import PackageUnusable
from deployer.serving.refusals import NotNow, Refused

MOST_BATCHED = 1000
"""Rows that are scored together at most."""
MOST_WAITING = 20_000
"""Rows that may wait; what comes then is refused."""

_BATCH_SECONDS = 30.0
_LONGEST_PAUSE_SECONDS = 5.0
log = structlog.get_logger()

Rows = Sequence[Sequence[Scalar]]


class Scorer(Protocol):
    """What answers rows."""

    async def score(self, rows: Rows) -> list[Output]:
        """An output for each row. Raises Refused."""
        ...

    async def close(self) -> None:
        """Let go of it, once what is under way has ended."""
        ...


@dataclass(slots=True)
class _Question:
    rows: Rows
    answer: asyncio.Future[list[Output]]


class ChildScorer:
    """Scores in a child process: what arrives while it works is scored together next. A dead child is replaced."""

    def __init__(self, start: Callable[[], Child]) -> None:
        """`start` makes a child and blocks; `open` must be called before anything is scored."""
        self._start = start
        self._child: Child | None = None
        self._thread = ThreadPoolExecutor(1, "scorer")
        self._waiting: deque[_Question] = deque()
        self._waiting_rows = 0
        self._woken = asyncio.Event()
        self._closing = False
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Load the model. Raises PackageUnusable and ChildDied."""
        try:
            await self._begin()
        except BaseException:
            await self._end()
            self._thread.shutdown(wait=False)
            raise
        self._task = asyncio.create_task(self._work())

    async def score(self, rows: Rows) -> list[Output]:
        """An output for each row. Raises Refused."""
        if self._closing or self._waiting_rows + len(rows) > MOST_WAITING:
            raise NotNow("the model has too much to do")
        question = _Question(rows, asyncio.get_running_loop().create_future())
        self._waiting.append(question)
        self._waiting_rows += len(rows)
        self._woken.set()
        return await question.answer

    async def close(self) -> None:
        """Answer what waits, then let the child go."""
        self._closing = True
        self._woken.set()
        if self._task:
            await self._task
        await self._end()
        self._thread.shutdown(wait=False)

    async def _work(self) -> None:
        while not (self._closing and not self._waiting):
            self._woken.clear()
            if self._child is None:
                await self._begin_again()
            elif self._waiting:
                await self._answer(self._take())
            else:
                await self._woken.wait()

    def _take(self) -> list[_Question]:
        """The next questions that fit into one batch; at least one."""
        taken = [self._waiting.popleft()]
        rows = len(taken[0].rows)
        while self._waiting and rows + len(self._waiting[0].rows) <= MOST_BATCHED:
            rows += len(self._waiting[0].rows)
            taken.append(self._waiting.popleft())
        self._waiting_rows -= rows
        return [question for question in taken if not question.answer.done()]

    async def _answer(self, questions: list[_Question]) -> None:
        if not questions:
            return
        try:
            reply = await self._ask([row for question in questions for row in question.rows])
        except ChildDied as error:
            log.warning("scorer.died", error=str(error), questions=len(questions))
            _fail(questions, NotNow("the model's process ended while it worked on this"))
            await self._end()
            return
        if "error" in reply and len(questions) > 1:
            for question in questions:
                await self._answer([question])
        elif "error" in reply:
            _fail(questions, Refused(422, reply["error"]))
        else:
            _give(questions, [Output(score=score, label=label) for score, label in reply["outputs"]])

    async def _ask(self, rows: list[Sequence[Scalar]]) -> dict[str, Any]:
        """The child's reply; a child that takes too long is killed. Raises ChildDied."""
        child = self._child
        if child is None:
            raise ChildDied("there is no child")
        message = json.dumps(rows).encode()
        asking = asyncio.get_running_loop().run_in_executor(self._thread, child.ask, message)
        done, _ = await asyncio.wait({asking}, timeout=_BATCH_SECONDS)
        if not done:
            child.kill()
        reply: dict[str, Any] = json.loads(await asking)
        return reply

    async def _begin(self) -> None:
        loop = asyncio.get_running_loop()
        self._child = await loop.run_in_executor(self._thread, self._start)
        ready = json.loads(await loop.run_in_executor(self._thread, self._child.receive))
        if "error" in ready:
            raise PackageUnusable(ready["code"], ready["error"])

    async def _begin_again(self) -> None:
        """A new child in the place of one that died. What waits meanwhile waits; when it takes long it is refused."""
        pause = 0.1
        while not self._closing:
            try:
                await self._begin()
            except (ChildDied, PackageUnusable, OSError) as error:
                log.warning("scorer.begin", error=str(error))
                await self._end()
                await asyncio.sleep(pause)
                pause = min(_LONGEST_PAUSE_SECONDS, 2 * pause)
                self._refuse_waiting()
            else:
                return
        self._refuse_waiting()

    def _refuse_waiting(self) -> None:
        _fail(list(self._waiting), NotNow("the model's process cannot be started"))
        self._waiting.clear()
        self._waiting_rows = 0

    async def _end(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            await asyncio.to_thread(child.close)


def _fail(questions: Sequence[_Question], error: Refused) -> None:
    for question in questions:
        if not question.answer.done():
            question.answer.set_exception(error)


def _give(questions: Sequence[_Question], outputs: list[Output]) -> None:
    start = 0
    for question in questions:
        end = start + len(question.rows)
        if not question.answer.done():
            question.answer.set_result(outputs[start:end])
        start = end
