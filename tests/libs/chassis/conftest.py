"""The toy service in a world of its own, on each of the two databases."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.libs.chassis.toy import Toy

from chassis.testing import Actor, World


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A fresh database, of each kind in turn."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'toy.db'}"
    fresh: str = request.getfixturevalue("postgres_url")
    return fresh


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A log in memory."""
    made = World(tmp_path)
    yield made
    for actor in made.actors:
        actor.database.close()


@pytest.fixture
def toy() -> Toy:
    """The toy's behaviour."""
    return Toy()


@pytest.fixture
def actor(world: World, toy: Toy, database_url: str) -> Actor:
    """The toy, running in the world on a fresh database."""
    return world.add(toy.definition(), database_url)
