"""Events as the source names them."""

import ast
from collections.abc import Iterator

from tests.architecture.tree import Module, is_within

from cairn import events
from cairn.events.catalogue import CATALOGUE, EventType

EVENTS: dict[str, EventType] = {entry.facts.__name__: entry for entry in CATALOGUE.values()}


def owner_name(module: Module) -> str:
    """In whose name a module speaks; the serving processes speak in their own."""
    return "serving" if module.room == "serving" else module.owner.replace("_", "-")


def event_named(module: Module, node: ast.AST) -> EventType | None:
    """The class of events that a name, or a dotted name, stands for."""
    name = module.full_name(node)
    return EVENTS.get(name.rpartition(".")[2]) if is_within(name, events.__name__) else None


def events_named(module: Module, node: ast.AST) -> Iterator[tuple[ast.AST, EventType]]:
    """The classes of events that are named somewhere in a piece of code."""
    for one in ast.walk(node):
        if entry := event_named(module, one):
            yield one, entry
