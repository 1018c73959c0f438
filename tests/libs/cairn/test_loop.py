"""Long-running processes run on the faster event loop where there is one, and as well without."""

import asyncio
import gc
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


def test_a_program_searches_for_garbage_less_often() -> None:
    usual, *others = gc.get_threshold()
    gc.set_threshold(700, *others)
    try:
        assert loop.run_program(name_loop()) == uvloop.Loop.__module__
        assert gc.get_threshold()[0] > 700
    finally:
        gc.set_threshold(usual, *others)
