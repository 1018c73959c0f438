"""The trainer's slow work: one run after another, each in a child."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from sqlmodel import Session

from cairn.children import Limits
from cairn.events.training import Budget
from cairn.events.values import ObjectRef
from cairn.objects import ObjectCorrupt, ObjectError, ObjectMissing, ObjectStore
from chassis import Task, Transaction, Work
from chassis.work import Job, WorkFailed
from modelkit.preload import MODULES
from trainer.domain import Package, Plan, tell_completed, tell_failed, tell_started, tell_trial
from trainer.store import Store

PRELOAD = tuple(MODULES)
REPOSITORY = "cairn-trainer"
SPARE_CPU_SECONDS = 3600
"""What a child may consume beyond the time of the search: the trial that overran it, and the last fit."""
SPARE_SECONDS = 2 * SPARE_CPU_SECONDS
"""The same by the clock on the wall: it does not have the machine for itself."""


class InOrder:
    """Passes on what a callback hands over, one after another, all before the end: a callback cannot wait."""

    def __init__(self, receive: Callable[[dict[str, Any]], Awaitable[None]]) -> None:
        self._receive = receive
        self._waiting: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()

    def put(self, _kind: str, payload: dict[str, Any]) -> None:
        """Hand one over."""
        self._waiting.put_nowait(payload)

    async def __aenter__(self) -> "InOrder":
        self._passing = asyncio.create_task(self._pass_on())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if kind is not None and issubclass(kind, asyncio.CancelledError):
            self._passing.cancel()
            return
        self._waiting.put_nowait(None)
        await self._passing

    async def _pass_on(self) -> None:
        while (payload := await self._waiting.get()) is not None:
            await self._receive(payload)


def pending_runs(session: Session) -> list[Task]:
    """Runs that were queued and have not ended."""
    return [Task(plan.queued.run.run_id, origin, plan) for plan, origin in Store(session).plans()]


def begin(task: Task, attempt: int, tx: Transaction) -> None:
    """An attempt begins."""
    tx.tell(tell_started(task.detail, attempt))


def limits_of(budget: Budget) -> Limits:
    """What the child of a run may consume."""
    return Limits(cpu_seconds=int(budget.max_seconds) + SPARE_CPU_SECONDS, seconds=budget.max_seconds + SPARE_SECONDS)


async def train(task: Task, job: Job) -> Package:
    """Train in a child, telling each trial, and keep the package."""
    plan: Plan = task.detail
    output = job.directory / "package"
    output.mkdir()
    spec = {
        "files": await _fetch(job.objects, plan.data.files),
        "format": plan.data.format,
        "digest": plan.queued.dataset.digest,
        "declaration": plan.declaration.model_dump(mode="json"),
        "code": {"repository": REPOSITORY, "commit": job.code},
        "output_directory": str(output),
    }

    async def tell(trial: dict[str, Any]) -> None:
        await job.tell(tell_trial(plan, job.attempt, trial))
        if trial["number"] == 1:
            job.progress()

    async with InOrder(tell) as trials:
        made = await job.children.run("modelkit.children:train", spec, trials.put, limits_of(plan.queued.budget))
    return Package(made, await _keep(job.objects, made["files"]))


def finish(task: Task, package: Package, tx: Transaction) -> None:
    """The run made a package."""
    tx.tell(tell_completed(task.detail, tx.attempt or 1, package))


def fail(task: Task, code: str, text: str, tx: Transaction) -> None:
    """The run made none."""
    tx.tell(tell_failed(task.detail, tx.attempt or 1, code, text))


async def _fetch(objects: ObjectStore, refs: Iterable[ObjectRef]) -> list[str]:
    """Verified local copies."""
    try:
        return [str(await asyncio.to_thread(objects.get, ref)) for ref in refs]
    except ObjectError as error:
        codes = {ObjectMissing: "object-missing", ObjectCorrupt: "object-corrupt"}
        raise WorkFailed(codes.get(type(error), "object-refused"), str(error)) from error


async def _keep(objects: ObjectStore, files: Mapping[str, Mapping[str, Any]]) -> dict[str, ObjectRef]:
    return {
        name: await asyncio.to_thread(objects.put_file, Path(file["path"]), file["media_type"])
        for name, file in files.items()
    }


TRAIN = Work("train", pending_runs, train, finish, fail, begin)
