"""What the gateway's work reaches for: records in Kafka, and receivers over HTTP. Both are held open meanwhile."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing
from typing import TypeVar

import httpx2
from aiokafka.errors import KafkaError

from cairn.events.codec import Record
from cairn.events.identity import Installation
from chassis.kafka import KafkaUnreachable, Log, partitions_of
from chassis.transaction import Place
from gateway.domain import Answer

_CONNECT_SECONDS = 5.0
_ANSWER_SECONDS = 15.0
_READ_SECONDS = 15.0
_MOST_ANSWER_BYTES = 64 * 1024
T = TypeVar("T")


class Shelf:
    """Reads single records from Kafka, one after another."""

    def __init__(self, servers: str, installation: Installation) -> None:
        self._servers, self._installation = servers, installation
        self._turn = asyncio.Lock()
        self._open = AsyncExitStack()
        self._log: Log | None = None

    async def read_record(self, place: Place) -> Record | None:
        """What lies at a place; None where it lies there no more. Raises KafkaUnreachable."""
        partition = (place.topic, place.partition)

        async def read(log: Log) -> Record | None:
            if (await log.beginnings([partition]))[partition] > place.offset:
                return None
            async with aclosing(log.read({partition: place.offset}, {partition: place.offset + 1})) as records:
                return await anext(records, None)

        return await self._ask(read)

    async def read_ends(self, topic: str) -> Sequence[int]:
        """The end of each partition of a topic. Raises KafkaUnreachable."""
        partitions = partitions_of([topic])
        ends = await self._ask(lambda log: log.ends(partitions))
        return [ends[one] for one in partitions]

    async def close(self) -> None:
        """Let go of Kafka."""
        self._log = None
        await self._open.aclose()

    async def _ask(self, question: Callable[[Log], Awaitable[T]]) -> T:
        async with self._turn:
            try:
                async with asyncio.timeout(_READ_SECONDS):
                    if self._log is None:
                        self._log = await self._open.enter_async_context(Log.open(self._servers, self._installation))
                    return await question(self._log)
            except (KafkaError, TimeoutError) as error:
                await self.close()
                raise KafkaUnreachable(f"Kafka at {self._servers} does not answer: {error!r}") from None


class Poster:
    """Posts to receivers, and believes nothing that they answer but the status."""

    def __init__(self) -> None:
        self._client: httpx2.AsyncClient | None = None

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer | str:
        """The answer, or in words why there is none. No redirect is followed, and no answer read for long."""
        if self._client is None:
            timeout = httpx2.Timeout(_ANSWER_SECONDS, connect=_CONNECT_SECONDS)
            self._client = httpx2.AsyncClient(timeout=timeout, follow_redirects=False)
        try:
            async with (
                asyncio.timeout(_ANSWER_SECONDS),
                self._client.stream("POST", url, content=body, headers=dict(headers)) as response,
            ):
                await _read_some(response)
                return Answer(response.status_code, response.headers.get("retry-after", ""))
        except TimeoutError:
            return f"it did not answer within {_ANSWER_SECONDS:g} s"
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            return f"it could not be reached: {type(error).__name__} {error}".strip()

    async def close(self) -> None:
        """Let go of all connections."""
        client, self._client = self._client, None
        if client:
            await client.aclose()


async def _read_some(response: httpx2.Response) -> None:
    """Read a short answer, so that its connection can be used again."""
    size = 0
    async for chunk in response.aiter_raw():
        size += len(chunk)
        if size > _MOST_ANSWER_BYTES:
            return
