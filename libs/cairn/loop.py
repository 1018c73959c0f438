"""The event loop that long-running processes run on."""

import asyncio
import gc
import importlib
import importlib.util
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")
_COLLECT_AFTER = 50_000
"""So many more objects than when it was last done: a request or a batch of records makes and drops thousands."""


def run_program(main: Coroutine[Any, Any, T]) -> T:
    """As `run`, for a program of our own: garbage is searched for seldom, and not among what the program has loaded."""
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER)
    return run(main)


def run(main: Coroutine[Any, Any, T]) -> T:
    """As `asyncio.run`, on uvloop where that is installed: it does the same with less of the processor."""
    with asyncio.Runner(loop_factory=_fast_loop()) as runner:
        return runner.run(main)


def _fast_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    if importlib.util.find_spec("uvloop") is None:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = importlib.import_module("uvloop").new_event_loop
    return factory
