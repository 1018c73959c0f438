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


def events_named(module: Module, node: ast.AST) -> Iterator[tuple[ast.AST, EventType]]:
    """The classes of events that are named somewhere in a piece of code."""
    for one in ast.walk(node):
        if isinstance(one, ast.Name) and one.id in module.names and is_within(module.names[one.id], events.__name__):
            entry = EVENTS.get(module.names[one.id].rpartition(".")[2])
            if entry:
                yield one, entry
