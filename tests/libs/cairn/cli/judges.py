"""Services that judge requests, for tests: they answer the first one that they hear."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager

from tests.libs.cairn.installations import as_service

from cairn.context import Context
from cairn.events import Event, Heard, RequestRefused
from cairn.events.values import Reason
from cairn.publisher import Publisher
from cairn.subscriber import end_offsets, read_log

Judgement = Callable[[Heard], Event]


def refusing(service: str, code: str, text: str) -> Judgement:
    """Refuses whatever was asked."""

    def judge(heard: Heard) -> Event:
        return RequestRefused(service=service, request=heard.message.ref, reason=Reason(code=code, text=text))

    return judge


@asynccontextmanager
async def judging(context: Context, service: str, judge: Judgement) -> AsyncIterator[Context]:
    """While the block runs, a service answers the first request. Gives the context as its users must see it."""
    told = as_service(context, service)
    start = await end_offsets(context, ["requests"])

    async def answer() -> None:
        async with aclosing(read_log(context, ["requests"], start, follow=True)) as log:
            _, heard = await anext(log)
        assert isinstance(heard, Heard), heard
        async with Publisher(told) as publisher:
            await publisher.publish(judge(heard), cause=heard.message.cause)

    task = asyncio.create_task(answer())
    try:
        yield told
    finally:
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled():
            task.result()
