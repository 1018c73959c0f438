"""Worlds in which an auditor lives, and its trust file."""

from pathlib import Path

from cairn.events import Trust, TrustedKey
from chassis import ServiceSettings
from chassis.testing import Actor, World
from governance_auditor.app import build


def make_world(directory: Path) -> World:
    """A world in whose trust file Ada and Bob have roles."""
    world = World(directory)
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
    world.trust.save(directory / "trust.json")
    return world


def add_auditor(world: World) -> Actor:
    """Bring an auditor with a fresh store into a world."""
    return world.add(build(ServiceSettings.model_construct(trust_file=world.directory / "trust.json")))
