"""When a service is ready; and how it ends: in order, whatever fails on the way, and with the error that ended it."""

import asyncio
from dataclasses import dataclass, field

import pytest

from cairn.children import Children
from chassis import ServiceSettings
from chassis.failpoints import Failpoints
from chassis.metrics import Metrics
from chassis.service import Service
from chassis.testing import Actor


@dataclass
class Part:
    """Stands for a consumer, the relay and the broker, which are elsewhere: notes what it is asked."""

    error: Exception | None = None
    name: str = "part"
    asked: list[str] = field(default_factory=list)

    async def commit(self) -> None:
        self.asked.append("commit")
        if self.error:
            raise self.error

    async def stop(self) -> None:
        self.asked.append("stop")

    def retries(self, error: BaseException) -> bool:
        return isinstance(error, OSError)


@pytest.fixture
def service(actor: Actor) -> Service:
    settings = ServiceSettings.model_construct()
    objects = actor.world.objects
    return Service(actor.definition, settings, actor.database, actor.processor, objects, Failpoints({}), Metrics())


async def end(service: Service, *consumers: Part) -> None:
    """End a service with these consumers, each of which commits once more before the broker stops."""
    service._consumers = list(consumers)
    broker = Part()
    try:
        await service._drain(broker, Part())
    finally:
        assert broker.asked == ["stop"]
        assert [one.asked for one in consumers] == [["commit"]] * len(consumers)


async def test_a_service_is_not_ready_while_its_children_load(service: Service) -> None:
    class Slow(Children):
        def __init__(self) -> None:
            self.loaded = asyncio.Event()

        async def load(self) -> None:
            await self.loaded.wait()

    service._starting, children = False, Slow()
    loading = asyncio.create_task(service._load_children(children))
    await asyncio.sleep(0)
    assert service._unready() == ["loading what work needs"]
    children.loaded.set()
    await loading
    assert service._unready() == []


async def test_a_last_commit_that_the_store_does_not_allow_is_left_to_the_next_start(service: Service) -> None:
    await end(service, Part(OSError("the disk is away")), Part())


async def test_a_last_commit_that_fails_does_not_hide_what_ended_the_service(service: Service) -> None:
    async def break_down() -> None:
        raise ValueError("this ended it")

    service._spawn("part", break_down())
    await service._failed.wait()
    with pytest.raises(ValueError, match="this ended it"):
        await end(service, Part(RuntimeError("a fault in the commit")), Part())


async def test_a_fault_in_the_last_commit_is_told_after_all_has_ended(service: Service) -> None:
    with pytest.raises(RuntimeError, match="a fault in the commit"):
        await end(service, Part(RuntimeError("a fault in the commit")), Part())
    assert asyncio.all_tasks() == {asyncio.current_task()}
