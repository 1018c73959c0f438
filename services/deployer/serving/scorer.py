"""One loaded model: a child process that holds it, and the requests that wait for it."""

import asyncio
import json
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

import structlog
from pydantic import ValidationError

from cairn.children import Child, ChildDied
from cairn.events.predictions import Output
from cairn.events.values import Scalar
from deployer.serving.packages import PackageUnusable
from deployer.serving.refusals import NotNow, Refused

MOST_BATCHED = 1000
"""Rows that are scored together at most."""
MOST_WAITING = 20_000
"""Rows that may wait; what comes then is refused."""

_LOAD_SECONDS = 120.0
_BATCH_SECONDS = 30.0
_CLOSE_SECONDS = 5.0
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
        self._replacing: asyncio.Task[None] | None = None

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
        """Answer what waits, then let the child go. Bounded."""
        self._closing = True
        self._woken.set()
        if self._replacing:
            self._replacing.cancel()
        if self._task:
            await asyncio.wait({self._task}, timeout=_CLOSE_SECONDS)
            if self._child:  # it hangs, or is not needed any longer
                self._child.kill()
            await self._task
        await self._end()
        self._thread.shutdown(wait=False)

    async def _work(self) -> None:
        while not (self._closing and not self._waiting):
            self._woken.clear()
            if self._child is None:
                self._replacing = asyncio.create_task(self._begin_again())
                await asyncio.wait({self._replacing})
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
        rows = [row for question in questions for row in question.rows]
        try:
            reply = await self._call(lambda child: child.ask(json.dumps(rows).encode()), _BATCH_SECONDS)
            outputs = [Output(score=score, label=label) for score, label in reply.get("outputs", ())]
        except ChildDied as error:
            log.warning("scorer.died", error=str(error), questions=len(questions))
            _fail(questions, NotNow("the model's process ended while it worked on this"))
            await self._end()
        except ValidationError:
            await self._answer_apart(questions, NotNow("the model's score is no number"))
        else:
            if "error" in reply:
                await self._answer_apart(questions, Refused(422, reply["error"]))
            else:
                _give(questions, outputs)

    async def _answer_apart(self, questions: list[_Question], error: Refused) -> None:
        """One of these cannot be answered: the others are."""
        if len(questions) == 1:
            _fail(questions, error)
            return
        for question in questions:
            await self._answer([question])

    async def _call(self, call: Callable[[Child], bytes], seconds: float) -> dict[str, Any]:
        """What the child says, which is killed when it takes too long. Raises ChildDied."""
        child, loop = self._child, asyncio.get_running_loop()
        if child is None:
            raise ChildDied("there is no child")
        killing = loop.call_later(seconds, child.kill)
        try:
            said: dict[str, Any] = json.loads(await loop.run_in_executor(self._thread, call, child))
        finally:
            killing.cancel()
        return said

    async def _begin(self) -> None:
        """A child that has loaded the model. After an error, and when cancelled, `_end` must be called."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._start_child)
        ready = await self._call(lambda child: child.receive(), _LOAD_SECONDS)
        if "error" in ready:
            raise PackageUnusable(ready["code"], ready["error"])

    async def _begin_again(self) -> None:
        """A new child in the place of one that died. What waits meanwhile waits; when it takes long it is refused."""
        pause = 0.1
        try:
            while not self._closing:
                try:
                    await self._begin()
                except Exception as error:  # noqa: BLE001 # whatever it was, what was loaded once may load again
                    log.warning("scorer.begin", error=repr(error))
                    await self._end()
                    await asyncio.sleep(pause)
                    pause = min(_LONGEST_PAUSE_SECONDS, 2 * pause)
                    self._refuse_waiting()
                else:
                    return
        except asyncio.CancelledError:
            await self._end()
            raise
        finally:
            if self._closing:
                self._refuse_waiting()

    def _refuse_waiting(self) -> None:
        _fail(list(self._waiting), NotNow("the model's process cannot be started"))
        self._waiting.clear()
        self._waiting_rows = 0

    async def _end(self) -> None:
        """Let the child go, whatever it does: also one that is only just started."""
        if self._child is not None:
            self._child.kill()
        await asyncio.get_running_loop().run_in_executor(self._thread, self._close_child)

    def _start_child(self) -> None:
        # The one thread sets and forgets the child: so whoever stops waiting for a start can still close it after it.
        try:
            self._child = self._start()
        except OSError as error:
            raise ChildDied(f"the child process did not start: {error!r}") from error

    def _close_child(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            child.close()


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
