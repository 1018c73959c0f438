"""Long-running processes run on the faster event loop where there is one, and as well without."""

import asyncio
import importlib.util

import pytest
import uvloop

from cairn import loop


async def name_loop() -> str:
    """The class of the loop that runs this."""
    return type(asyncio.get_running_loop()).__module__


def test_runs_on_uvloop_where_that_is_installed() -> None:
    assert loop.run(name_loop()) == uvloop.Loop.__module__


def test_runs_on_the_ordinary_loop_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    assert loop.run(name_loop()).startswith("asyncio")
