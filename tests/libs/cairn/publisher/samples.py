"""Events for tests of publishing, and what came of them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.libs.cairn.installations import new_installation

from cairn.context import Context
from cairn.events import Heard, Installation, Malformed, Signer, TrainingRequested
from cairn.local import LocalKafka
from cairn.subscriber import read_log


def request(number: int, keys: int = 5) -> TrainingRequested:
    """A request whose reason is its number; there are so many keys in turn."""
    return TrainingRequested(model=f"risk.m{number % keys}", reason=str(number))


def nowhere_in(folder: Path) -> Context:
    """An installation of which nothing is running."""
    return Context(folder, Installation("cairn"), "127.0.0.1:9", signer=Signer.generate("ada-1"))


async def heard_events(context: Context, topic: str = "requests") -> list[Heard]:
    events = [heard async for _, heard in read_log(context, [topic])]
    assert not [one for one in events if isinstance(one, Malformed)]
    return [one for one in events if isinstance(one, Heard)]


async def numbers_by_key(context: Context) -> dict[str, list[int]]:
    """The numbers of the requests in the log, of each key in order, each event counted once, where it came first."""
    seen: set[tuple[str, str]] = set()
    found: dict[str, list[int]] = {}
    for one in await heard_events(context):
        envelope = one.message.envelope
        if (envelope.source, envelope.id) not in seen:
            seen.add((envelope.source, envelope.id))
            assert isinstance(one.facts, TrainingRequested)
            found.setdefault(one.facts.model, []).append(int(one.facts.reason))
    return found


def all_in_order(count: int, keys: int = 5) -> dict[str, list[int]]:
    """What `numbers_by_key` says where nothing is missing and nothing changed places."""
    return {f"risk.m{key}": list(range(key, count, keys)) for key in range(min(keys, count))}


@asynccontextmanager
async def own_kafka(folder: Path) -> AsyncIterator[tuple[LocalKafka, Context]]:
    """A Kafka that the test may kill, with an installation on it."""
    server = LocalKafka(folder / "kafka", fast_start=True)
    await server.start()
    try:
        yield server, await new_installation(server.bootstrap_servers, folder, "requests", "labels")
    finally:
        await server.stop()
