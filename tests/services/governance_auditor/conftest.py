from collections.abc import Callable
from pathlib import Path

import pytest
from tests.services.governance_auditor.worlds import add_auditor, make_world

from chassis.testing import Actor, World


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path)


@pytest.fixture
def new_auditor(world: World) -> Callable[[], Actor]:
    """Makes an auditor with a fresh store."""
    return lambda: add_auditor(world)


@pytest.fixture
def auditor(new_auditor: Callable[[], Actor]) -> Actor:
    return new_auditor()
