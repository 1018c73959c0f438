import pytest

from cairn.events import Declaration, DeclarationSubmitted, ModelDeclared, RequestRefused
from cairn.events.codec import Outgoing
from chassis import ServiceSettings
from chassis.testing import Actor, World
from registry.app import build


@pytest.fixture
def registry(tmp_path) -> Actor:
    return World(tmp_path).add(build(ServiceSettings.model_construct()))


def declared(**changes) -> DeclarationSubmitted:
    declaration = Declaration(model="risk.loans", owner="credit", dataset="loans", target="defaulted", **changes)
    return DeclarationSubmitted(model="risk.loans", declaration=declaration)


def test_a_declaration_is_numbered_from_one(registry):
    (told,) = registry.hear(declared())
    assert isinstance(told, ModelDeclared)
    assert told.revision == 1


def test_a_changed_declaration_is_a_new_revision(registry):
    registry.hear(declared())
    (told,) = registry.hear(declared(seed=7))
    assert told.revision == 2


def test_an_unchanged_declaration_is_refused_by_name(registry):
    registry.hear(declared())
    (told,) = registry.hear(declared())
    assert isinstance(told, RequestRefused)
    assert told.reason.code == "unchanged"


def test_a_request_heard_twice_is_answered_once(registry):
    first = registry.world.publish(declared())
    again = registry.world.append(same_bytes(registry, first))
    outcome = registry.take([first, again])
    assert (outcome.applied, outcome.duplicates, outcome.told) == (1, 1, 1)


def same_bytes(registry, record):
    return Outgoing(registry.world.installation.topic(record.topic), record.key, record.headers, record.value)
