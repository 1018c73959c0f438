"""Ending for certain, and in time."""

import asyncio
from collections.abc import Awaitable, Callable, Collection

import structlog

_PATIENCE_SECONDS = 1.0
log = structlog.get_logger()


async def end_tasks(tasks: Collection[asyncio.Task[None]]) -> None:
    """Cancel these and wait until they have ended. Again and again: a client may lose a cancellation on its way."""
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=_PATIENCE_SECONDS)


async def end_within(seconds: float, end: Callable[[], Awaitable[object]], what: str) -> None:
    """Take a last step, for so long at most: whoever asked this process to end does not wait for ever."""
    try:
        async with asyncio.timeout(seconds):
            await end()
    except TimeoutError:
        log.warning("serving.cut", what=what, seconds=seconds)
