"""Every prediction into the log before it is answered; what comes while an event is on its way goes into the next."""

import asyncio
import json
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

import structlog

from cairn.events.predictions import PredictionRow, PredictionsServed, ServedModel
from deployer.serving.refusals import NotNow, Refused
from deployer.serving.reporting import Account, Tally
from deployer.serving.speaking import CannotTell, Tell

MOST_ROWS = 1000
MOST_BYTES = 200 * 1024
"""Of an event. Its topic admits more, so that a first row always fits, up to `_MOST_ROW_BYTES`."""
_MOST_ROW_BYTES = 240 * 1024
_MOST_MODELS = 8
_MODEL_BYTES = 1024
log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Answered:
    """Rows that one arm answered to one request."""

    account: Account
    served: ServedModel
    columns: tuple[str, ...]
    rows: tuple[PredictionRow, ...]


@dataclass(slots=True)
class _Part:
    """As many rows of a request as fit into one event."""

    answered: Answered
    rows: tuple[PredictionRow, ...]
    bytes: int
    written: "asyncio.Future[None]"

    @property
    def kind(self) -> tuple[int, tuple[str, ...]]:
        """What rows in one event share."""
        return self.answered.account.route_revision, self.answered.columns


@dataclass(slots=True)
class _Lane:
    """One model's way into the log: one event at a time."""

    waiting: deque[_Part] = field(default_factory=deque)
    rejected: int = 0
    failed: int = 0
    revision: int = 0
    busy: asyncio.Task[None] | None = None


class Journal:
    """Writes `predictions.served`."""

    def __init__(self, replica: str, tell: Tell, tally: Tally) -> None:
        self._replica, self._tell, self._tally = replica, tell, tally
        self._lanes: dict[str, _Lane] = {}

    async def write(self, answered: Answered) -> None:
        """Return once all rows are in the log. Raises Refused; the rows then count as failed."""
        lane = self._lane(answered.account)
        parts = list(_split(answered))
        lane.waiting.extend(parts)
        self._wake(answered.account.model, lane)
        results = await asyncio.gather(*(part.written for part in parts), return_exceptions=True)
        if any(isinstance(result, BaseException) for result in results):
            raise NotNow("the prediction could not be recorded")

    def reject(self, account: Account, rows: int) -> None:
        """Count rows that were refused as bad input."""
        self._lane(account).rejected += rows

    def fail(self, account: Account, rows: int) -> None:
        """Count rows that could not be answered."""
        self._lane(account).failed += rows
        self._tally.add(account, failed=rows)

    def flush(self) -> None:
        """Have counts that no prediction took along told on their own."""
        for model, lane in self._lanes.items():
            if lane.rejected or lane.failed:
                self._wake(model, lane)

    async def close(self) -> None:
        """Wait until all that was begun has ended."""
        self.flush()
        await asyncio.gather(*(lane.busy for lane in self._lanes.values() if lane.busy))

    def _lane(self, account: Account) -> _Lane:
        lane = self._lanes.setdefault(account.model, _Lane())
        lane.revision = max(lane.revision, account.route_revision)
        return lane

    def _wake(self, model: str, lane: _Lane) -> None:
        if lane.busy is None or lane.busy.done():
            lane.busy = asyncio.create_task(self._work(model, lane))

    async def _work(self, model: str, lane: _Lane) -> None:
        """Write what waits. When Kafka does not take an event, nobody who waits is kept waiting for the next try."""
        while lane.waiting or lane.rejected or lane.failed:
            parts = _take(lane)
            rejected, failed = lane.rejected, lane.failed
            lane.rejected = lane.failed = 0
            try:
                await self._tell(_compose(model, self._replica, lane.revision, parts, rejected, failed))
            except Exception as error:  # noqa: BLE001 # whatever went wrong, nobody may wait for ever
                log.warning("predictions.unwritten", model=model, error=repr(error))
                lost = [*parts, *lane.waiting]
                lane.waiting.clear()
                lane.rejected += rejected
                lane.failed += failed + sum(len(part.rows) for part in lost)
                self._end(lost, written=False)
                return
            self._end(parts, written=True)

    def _end(self, parts: list[_Part], *, written: bool) -> None:
        for part in parts:
            rows = len(part.rows)
            self._tally.add(part.answered.account, **{"answered" if written else "failed": rows})
            if part.written.done():  # its caller has gone
                continue
            if written:
                part.written.set_result(None)
            else:
                part.written.set_exception(CannotTell("unwritten"))


def _split(answered: Answered) -> Iterator[_Part]:
    """The rows in runs that fit into an event each. Raises Refused for a row that fits into none."""
    base = len(json.dumps(answered.columns)) + _MOST_MODELS * _MODEL_BYTES
    sizes = [len(row.model_dump_json(exclude_none=True).encode()) + 1 for row in answered.rows]
    if base + max(sizes) > _MOST_ROW_BYTES:
        raise Refused(413, f"a row of {max(sizes)} bytes is too large to be recorded")
    loop = asyncio.get_running_loop()
    start, total = 0, base
    for place, size in enumerate(sizes):
        if place > start and total + size > MOST_BYTES:
            yield _Part(answered, answered.rows[start:place], total, loop.create_future())
            start, total = place, base
        total += size
    yield _Part(answered, answered.rows[start:], total, loop.create_future())


def _take(lane: _Lane) -> list[_Part]:
    """The parts at the front that go into one event."""
    taken: list[_Part] = []
    models: set[ServedModel] = set()
    rows = total = 0
    while lane.waiting:
        part = lane.waiting[0]
        models.add(part.answered.served)
        rows, total = rows + len(part.rows), total + part.bytes
        full = rows > MOST_ROWS or total > MOST_BYTES or len(models) > _MOST_MODELS
        if taken and (full or part.kind != taken[0].kind):
            break
        taken.append(lane.waiting.popleft())
    return taken


def _compose(
    model: str, replica: str, revision: int, parts: list[_Part], rejected: int, failed: int
) -> PredictionsServed:
    rows = tuple(row for part in parts for row in part.rows)
    return PredictionsServed(
        model=model,
        replica=replica,
        route_revision=parts[0].answered.account.route_revision if parts else revision,
        models=tuple(dict.fromkeys(part.answered.served for part in parts)),
        columns=parts[0].answered.columns if parts else (),
        rows=rows,
        answered=len(rows),
        rejected=rejected,
        failed=failed,
    )
