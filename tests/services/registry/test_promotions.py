"""Whichever comes last of all that a promotion waits for, the champion is told once, with the same facts."""

from itertools import permutations
from pathlib import Path
from uuid import uuid4

import pytest
from tests.libs.chassis.memory import rebuild

from cairn.events import TOPICS, ModelPromoted
from cairn.events.codec import CATALOGUE, Record
from cairn.events.envelope import cause_name
from cairn.schemas.examples import FOLDER, read_example
from chassis import ServiceSettings
from chassis.testing import Actor, World
from registry.app import build

ROOT = Path(__file__).parents[3]
KNOWN = {"model.declared": "", "model.registered": "training.completed"}
"""What the registry told before, and why: a version has its number when anything else is told of it."""
AWAITED = {
    "training": "training.completed",
    "validation": "validation.passed",
    "approval": "promotion.approved",
    "rollout": "rollout.completed",
}
in_every_order = pytest.mark.parametrize("order", list(permutations(AWAITED)), ids="-".join)


@pytest.fixture
def registry(tmp_path: Path) -> Actor:
    return make_registry(tmp_path)


@pytest.fixture(scope="module")
def receipt(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """What is promoted where everything comes in the order of the loop."""
    actor = make_registry(tmp_path_factory.mktemp("registry"))
    hear(actor, *AWAITED)
    (only,) = promoted(actor)
    assert (only.generation, only.model.version, only.route_revision) == (1, 2, 4)
    return without_time(only)


def make_registry(directory: Path) -> Actor:
    """A registry whose store was rebuilt from what it had told; what it had heard comes again."""
    world = World(directory)
    actor = world.add(build(ServiceSettings.model_construct()))
    for place, (kind, cause) in enumerate(KNOWN.items()):
        basis = f";told={place};code=test"
        publish(world, kind, sequence=f"{place + 1:020}", basis=basis, causationid=cause and name_of(world, cause))
    rebuild(actor)
    return actor


def publish(world: World, kind: str, **attributes: str) -> Record:
    """Put a recorded event on the log; the ordinary ones of these types tell one story."""
    example = read_example(ROOT / FOLDER / f"cairn.{kind}.v1" / "ordinary.json")
    facts = CATALOGUE[example.type].facts.model_validate(example.value)
    return world.publish(facts, **{"id": example.headers["ce_id"], **attributes})


def name_of(world: World, kind: str) -> str:
    """How the recorded event of this type is named as a cause."""
    example = read_example(ROOT / FOLDER / f"cairn.{kind}.v1" / "ordinary.json")
    owner = TOPICS[CATALOGUE[example.type].topic].owner
    return cause_name(world.installation.source(owner), example.headers["ce_id"])


def hear(actor: Actor, *what: str, **attributes: str) -> None:
    """Hear these, one after another."""
    for name in what:
        publish(actor.world, AWAITED[name], **attributes)
        actor.take_new()


def hear_told_anew(actor: Actor, *what: str) -> None:
    """Hear the same facts in events of their own, so that no inbox knows them."""
    for name in what:
        hear(actor, name, id=str(uuid4()))


def promoted(actor: Actor) -> list[ModelPromoted]:
    """Every promotion so far."""
    actor.relay()
    return [one for one in actor.world.told(ModelPromoted) if isinstance(one, ModelPromoted)]


def without_time(receipt: ModelPromoted) -> dict[str, object]:
    """All but the moment at which it was decided."""
    return receipt.model_dump(exclude={"effective_at"})


@in_every_order
def test_a_version_is_promoted_when_the_last_of_all_has_come_and_with_the_same_facts(
    registry: Actor, receipt: dict[str, object], order: tuple[str, ...]
) -> None:
    *first, last = order
    hear(registry, *first)
    assert promoted(registry) == []
    hear(registry, last)
    assert [without_time(one) for one in promoted(registry)] == [receipt]


@pytest.mark.parametrize("last", AWAITED)
def test_what_is_heard_again_before_and_after_promotes_nothing_more(
    registry: Actor, receipt: dict[str, object], last: str
) -> None:
    others = [name for name in AWAITED if name != last]
    hear_told_anew(registry, *others, *others)
    hear(registry, *others, *others)
    assert promoted(registry) == []
    hear(registry, last)
    hear(registry, *AWAITED)
    hear_told_anew(registry, *AWAITED, *reversed(AWAITED))
    assert [without_time(one) for one in promoted(registry)] == [receipt]
