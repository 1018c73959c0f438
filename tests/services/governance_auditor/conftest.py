from collections.abc import Callable
from pathlib import Path

import pytest

from cairn.events import Trust, TrustedKey
from chassis import ServiceSettings
from chassis.testing import Actor, World
from governance_auditor.app import build


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A world in whose trust file Ada and Bob have roles."""
    world = World(tmp_path)
    people = next(key for key in world.trust.keys if key.keyid == "people")
    handles = {"ada": "risk", "bob": "risk", "eve": "intern"}
    persons = [
        TrustedKey(
            keyid=handle,
            public_key=people.public_key,
            principal=f"person/{handle}",
            roles=(role,),
            sources=("*",),
            topics=("requests",),
        )
        for handle, role in handles.items()
    ]
    world.trust = Trust(keys=(*world.trust.keys, *persons), unsigned=world.trust.unsigned)
    world.trust.save(tmp_path / "trust.json")
    return world


@pytest.fixture
def new_auditor(world: World) -> Callable[[], Actor]:
    """Makes an auditor with a fresh store."""

    def make() -> Actor:
        settings = ServiceSettings.model_construct(trust_file=world.directory / "trust.json")
        return world.add(build(settings))

    return make


@pytest.fixture
def auditor(new_auditor: Callable[[], Actor]) -> Actor:
    return new_auditor()
