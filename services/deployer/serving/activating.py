"""Taking routes over: load what is new, switch, let go of what is no longer needed, say how it went."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple

import structlog

from cairn.children import ChildDied
from cairn.events.serving import ReplicaActivated, ReplicaFailed
from cairn.events.values import Arm, Digest, IoSchema, ModelRef, Reason
from cairn.objects import StoreUnreachable
from deployer.serving.ending import end_tasks
from deployer.serving.following import RolloutTold
from deployer.serving.reporting import Reporter
from deployer.serving.routing import LiveArm, LiveRoute, RouteTable, answering_arms
from deployer.serving.scorer import Scorer
from deployer.serving.speaking import Ground

PATIENCE_SECONDS = 30.0
"""What may pass is waited for so long before the route counts as failed; and then still."""

_SHORTEST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.2, 5.0
log = structlog.get_logger()


class Loaded(NamedTuple):
    """A model that can answer."""

    schema: IoSchema
    scorer: Scorer


Load = Callable[[Arm], Awaitable[Loaded]]
"""Loads an arm's model. Raises PackageUnusable, ChildDied and StoreUnreachable."""


@dataclass(slots=True)
class _Wanted:
    """The latest route told of a model."""

    told: RolloutTold
    ground: Ground
    model: ModelRef
    began: float = field(default_factory=time.monotonic)
    complained: bool = False
    replaced: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when a newer route was told."""

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.began


class Activator:
    """Keeps the route table at the latest routes."""

    def __init__(self, replica: str, start: str, table: RouteTable, load: Load, reporter: Reporter) -> None:
        self._replica, self._start = replica, start
        self._table, self._load, self._reporter = table, load, reporter
        self._wanted: dict[str, _Wanted] = {}
        self._loaded: dict[tuple[str, Digest], Loaded] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._leaving: set[asyncio.Task[None]] = set()
        self._going = False

    def take(self, told: RolloutTold, ground: Ground) -> None:
        """A route was told: follow it, unless one that is as new or newer is known."""
        name = told.model.name
        known = self._wanted.get(name)
        if known and told.route.revision <= known.told.route.revision:
            return
        self._wanted[name] = _Wanted(told, ground, _brought(told))
        self._table.known.add(name)
        if known:
            known.replaced.set()
        if self._going:
            self._begin(name)

    async def go(self) -> None:
        """Load the routes that are known by now; from now on each new one at once.

        Returns when each model answers by its route, or its failure was told.
        """
        self._going = True
        for name in self._wanted:
            self._begin(name)
        while any(not self._is_tried(name) for name in self._wanted):
            await asyncio.sleep(0.01)

    async def close(self) -> None:
        """Let go of every model."""
        await end_tasks(self._tasks.values())
        await asyncio.gather(*self._leaving, return_exceptions=True)
        self._table.routes.clear()
        await asyncio.gather(*(loaded.scorer.close() for loaded in self._loaded.values()))

    def _is_tried(self, name: str) -> bool:
        return self._wanted[name].complained or self._tasks[name].done()

    def _begin(self, name: str) -> None:
        if name not in self._tasks or self._tasks[name].done():
            self._tasks[name] = asyncio.create_task(self._pursue(name))

    async def _pursue(self, name: str) -> None:
        """Take the latest route over; a newer one may come meanwhile."""
        wanted = None
        while wanted is not self._wanted[name]:
            wanted = self._wanted[name]
            try:
                await self._insist(name, wanted)
            except Exception as error:  # noqa: BLE001 # whatever it was, the deployer must hear of it
                self._complain(wanted, getattr(error, "code", "load-failed"), str(error) or repr(error))

    async def _insist(self, name: str, wanted: _Wanted) -> None:
        """Activate a route, again and again while what prevents it may pass and no newer one was told."""
        pause = _SHORTEST_PAUSE_SECONDS
        while not wanted.replaced.is_set():
            try:
                await self._activate(name, wanted)
            except (StoreUnreachable, ChildDied) as error:
                log.warning("route.retry", model=name, revision=wanted.told.route.revision, error=str(error))
                if wanted.seconds >= PATIENCE_SECONDS:
                    code = "child-died" if isinstance(error, ChildDied) else "store-unreachable"
                    self._complain(wanted, code, str(error))
            else:
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await wanted.replaced.wait()
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    async def _activate(self, name: str, wanted: _Wanted) -> None:
        route = wanted.told.route
        arms = []
        for arm in answering_arms(route.arms):
            loaded = self._loaded.get(_place(arm))
            if loaded is None:
                loaded = self._loaded[_place(arm)] = await self._load(arm)
            arms.append(LiveArm(arm, route.revision, loaded.schema, loaded.scorer))
        self._table.routes[name] = LiveRoute(route.revision, tuple(arms))
        self._drop_unused(name)
        log.info("route.activated", model=name, revision=route.revision, seconds=round(wanted.seconds, 3))
        if arms:
            self._reporter.say(
                ReplicaActivated(
                    replica=self._replica,
                    start=self._start,
                    model=wanted.model,
                    route_revision=route.revision,
                    digest=wanted.model.digest,
                    load_seconds=wanted.seconds,
                ),
                wanted.ground,
            )

    def _complain(self, wanted: _Wanted, code: str, text: str) -> None:
        """Say once that this route cannot be taken over; the one before stays."""
        if wanted.complained:
            return
        wanted.complained = True
        log.warning("route.failed", model=wanted.model.name, revision=wanted.told.route.revision, code=code, error=text)
        self._drop_unused(wanted.model.name)
        self._reporter.say(
            ReplicaFailed(
                replica=self._replica,
                start=self._start,
                model=wanted.model,
                route_revision=wanted.told.route.revision,
                digest=wanted.model.digest,
                load_seconds=wanted.seconds,
                reason=Reason(code=code, text=text[:2000]),
            ),
            wanted.ground,
        )

    def _drop_unused(self, name: str) -> None:
        route = self._table.routes.get(name)
        used = {_place(live.arm) for live in route.arms} if route else set()
        for place in [place for place in self._loaded if place[0] == name and place not in used]:
            task = asyncio.create_task(self._loaded.pop(place).scorer.close())
            self._leaving.add(task)
            task.add_done_callback(self._leaving.discard)


def _place(arm: Arm) -> tuple[str, Digest]:
    return arm.model.name, arm.package.digest


def _brought(told: RolloutTold) -> ModelRef:
    """The version that a route brings: the one that is rolled out, or after an abort the one that comes back."""
    answering = answering_arms(told.route.arms)
    if not answering or any(arm.model == told.model for arm in answering):
        return told.model
    return answering[0].model
