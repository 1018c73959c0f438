"""What a serving process tells of itself: that it lives, which routes it follows, and what it answered."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

import structlog

from cairn.events.identity import fresh_id
from cairn.events.serving import Answers, ReplicaActivated, ReplicaFailed, ReplicaReported, ReplicaStopped, Revision
from deployer.serving.speaking import CannotTell, Ground, Tell

REPORT_SECONDS = 2.0
COUNTS_SECONDS = 0.25
"""Counts change with every answer, and each report costs all that hear it: so they are told together."""

_RETRY_SECONDS = 0.5
_LAST_WORDS_SECONDS = 2.0
_ROUTES_TOLD = 2
_MOST_ANSWERS_BYTES, _MOST_REVISIONS_BYTES = 36_000, 24_000
"""So that a report is never larger than an event may be."""
Said = TypeVar("Said", Answers, Revision)
log = structlog.get_logger()


class Account(NamedTuple):
    """Under which heading answers are counted."""

    route_revision: int
    model: str
    version: int
    arm: str


@dataclass(slots=True)
class Tally:
    """What was answered since the start."""

    answered: dict[Account, int] = field(default_factory=dict)
    failed: dict[Account, int] = field(default_factory=dict)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def add(self, account: Account, *, answered: int = 0, failed: int = 0) -> None:
        """Count rows."""
        self.answered[account] = self.answered.get(account, 0) + answered
        self.failed[account] = self.failed.get(account, 0) + failed
        self.changed.set()

    def report(self) -> tuple[Answers, ...]:
        """The counts as an event tells them: of each model's two latest routes. Those of earlier ones were told."""
        latest: dict[str, set[int]] = {}
        told = []
        for account in sorted(self.answered, reverse=True):
            revisions = latest.setdefault(account.model, set())
            if len(revisions | {account.route_revision}) <= _ROUTES_TOLD:
                revisions.add(account.route_revision)
                told.append(account)
        answers = (
            Answers(**account._asdict(), answered=self.answered[account], failed=self.failed[account])
            for account in sorted(told)
        )
        return tuple(_as_many_as_fit(answers, _MOST_ANSWERS_BYTES))


class _Queued(NamedTuple):
    facts: ReplicaActivated | ReplicaFailed
    ground: Ground
    event_id: str


class Reporter:
    """Tells what happened, in order, and reports every 2 s and on change."""

    def __init__(
        self, replica: str, start: str, tell: Tell, tally: Tally, revisions: Callable[[], Mapping[str, int]]
    ) -> None:
        """`revisions` gives the route that is followed of each model."""
        self._replica, self._start = replica, start
        self._tell, self._tally, self._revisions = tell, tally, revisions
        self._queued: deque[_Queued] = deque()
        self._said = asyncio.Event()

    def say(self, facts: ReplicaActivated | ReplicaFailed, ground: Ground) -> None:
        """Tell this as soon as Kafka takes it."""
        self._queued.append(_Queued(facts, ground, fresh_id()))
        self._said.set()
        self._tally.changed.set()

    async def run(self) -> None:
        """Report until cancelled: at once what is said, soon what was counted, and every 2 s in any case."""
        while True:
            self._said.clear()
            self._tally.changed.clear()
            try:
                await self._tell_all()
            except CannotTell as error:
                log.warning("report.retry", error=str(error))
                await asyncio.sleep(_RETRY_SECONDS)
                continue
            await _wait(self._said, COUNTS_SECONDS)
            await _wait(self._tally.changed, REPORT_SECONDS - COUNTS_SECONDS)

    async def end(self) -> None:
        """Report once more, and say that it was the last time. Bounded."""
        try:
            async with asyncio.timeout(_LAST_WORDS_SECONDS):
                await self._tell_all()
                await self._tell(ReplicaStopped(replica=self._replica, start=self._start))
        except (CannotTell, TimeoutError) as error:
            log.warning("report.lost", error=str(error))

    async def _tell_all(self) -> None:
        while self._queued:
            facts, ground, event_id = self._queued[0]
            await self._tell(facts, ground, event_id)
            self._queued.popleft()
        await self._tell(self._report())

    def _report(self) -> ReplicaReported:
        following = sorted(self._revisions().items())
        revisions = (Revision(model=model, route_revision=number) for model, number in following)
        return ReplicaReported(
            replica=self._replica,
            start=self._start,
            revisions=tuple(_as_many_as_fit(revisions, _MOST_REVISIONS_BYTES)),
            answers=self._tally.report(),
        )


async def _wait(event: asyncio.Event, seconds: float) -> None:
    """Wait for it, for so long at most. Not by wait_for, which before Python 3.12 may lose a cancellation."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


def _as_many_as_fit(values: Iterable[Said], most_bytes: int) -> Iterator[Said]:
    size = 0
    for value in values:
        size += len(value.model_dump_json()) + 1
        if size > most_bytes:
            return
        yield value
