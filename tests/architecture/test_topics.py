"""One table, one topic: each table says which topic feeds it, and only projections of that topic name it.

At run time `chassis.database` refuses any other write; tests/libs/chassis/test_database.py shows it.
"""

import ast
from collections.abc import Iterable, Iterator

import pytest
from tests.architecture.naming import events_named, owner_name
from tests.architecture.tree import SERVICES, Module, exchanged, read, seeded

from cairn.events.catalogue import TOPICS, topic_for

APPENDER = "appender"
"""Tables of what no event feeds, but the log itself by position: the auditor's alone."""


def tables_of(modules: list[Module]) -> Iterator[tuple[Module, ast.ClassDef]]:
    """The classes that are tables."""
    for module in modules:
        for node in module.nodes:
            if isinstance(node, ast.ClassDef) and any(
                key.arg == "table" and isinstance(key.value, ast.Constant) and key.value.value is True
                for key in node.keywords
            ):
                yield module, node


def topic_of(table: ast.ClassDef) -> str | None:
    """What a table declares."""
    for node in table.body:
        match node:
            case ast.AnnAssign(target=ast.Name(id="topic"), annotation=kind, value=ast.Constant(value=str(topic))):
                return topic if ast.unparse(kind) == "ClassVar[str]" else None
    return None


def find_homeless_tables(modules: list[Module]) -> list[str]:
    """Tables that are not fed by one topic of the catalogue."""
    faults = []
    for module, table in tables_of(modules):
        topic = topic_of(table)
        if topic is None:
            faults.append(module.fault(table, f'{table.name} declares no `topic: ClassVar[str] = "…"`'))
        elif topic not in TOPICS and not (topic == APPENDER and module.owner == "governance_auditor"):
            faults.append(module.fault(table, f"{table.name} is fed by {topic}, which is no topic"))
        if module.room != "store":
            faults.append(module.fault(table, f"{table.name} is a table outside the store"))
    return faults


class Reach:
    """What a projection names, itself and by what it calls, in the projections and the store of its service."""

    def __init__(self, modules: Iterable[Module]) -> None:
        modules = list(modules)
        self.topics = {table.name: topic_of(table) for _, table in tables_of(modules)}
        self.bodies: dict[str, ast.AST] = {}
        self.stores: set[str] = set()
        for module in modules:
            for node in module.tree.body:
                if isinstance(node, ast.FunctionDef) or (isinstance(node, ast.ClassDef) and module.room != "store"):
                    self.bodies[node.name] = node
                elif isinstance(node, ast.ClassDef) and node.name not in self.topics:
                    self.stores.add(node.name)
                    self.bodies |= {f".{one.name}": one for one in node.body if isinstance(one, ast.FunctionDef)}

    def tables(self, node: ast.AST, seen: set[str] | None = None) -> Iterator[tuple[ast.AST, str]]:
        """Each table that is named, with the place in the projection where that begins."""
        seen = set() if seen is None else seen
        for one in ast.walk(node):
            name = self._name(one)
            if name in self.topics:
                yield one, name
            elif name in self.bodies and name not in seen:
                seen.add(name)
                yield from ((one, table) for _, table in self.tables(self.bodies[name], seen))

    def _name(self, node: ast.AST) -> str:
        match node:
            case ast.Name(id=name):
                return name
            case ast.Attribute(value=ast.Call(func=ast.Name(id=store)), attr=method) if store in self.stores:
                return f".{method}"
            case ast.Attribute(value=ast.Name(id="self" | "store"), attr=method):
                return f".{method}"
        return ""


def registrations(module: Module) -> Iterator[tuple[ast.Call, ast.FunctionDef]]:
    """Each `projections.of(…)` with the function that it registers."""
    functions = {node.name: node for node in module.tree.body if isinstance(node, ast.FunctionDef)}
    for node in module.nodes:
        match node:
            case ast.FunctionDef(decorator_list=decorators):
                yield from ((one, node) for one in decorators if _is_registration(one))  # type: ignore[misc]  # decorators of any node
            case ast.Call(func=ast.Call() as of, args=[registered, *_]) if _is_registration(of):
                named = (one.id for one in ast.walk(registered) if isinstance(one, ast.Name))
                yield from ((of, functions[name]) for name in named if name in functions)


def _is_registration(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and ast.unparse(node.func) == "projections.of"


def find_mixed_projections(modules: list[Module]) -> list[str]:
    """Projections that name a table which another topic feeds."""
    faults = []
    for service in SERVICES:
        mine = [one for one in modules if one.owner == service and one.room in ("store", "projections")]
        reach = Reach(mine)
        for module in (one for one in mine if one.room == "projections"):
            for of, function in registrations(module):
                entries = [entry for _, entry in events_named(module, of)]
                told = {topic_for(entry, owner_name(module)).name for entry in entries}
                if len(entries) != len(of.args) or len(told) != 1:
                    faults.append(module.fault(of, f"{function.name} is of {sorted(told)}: one topic feeds a table"))
                faults += [
                    module.fault(where, f"{function.name} is of {sorted(told)}, {table} of {reach.topics[table]}")
                    for statement in function.body
                    for where, table in reach.tables(statement)
                    if reach.topics[table] not in told
                ]
    return faults


def test_each_table_is_fed_by_one_topic() -> None:
    modules = read()
    assert len(list(tables_of(modules))) > 40
    assert find_homeless_tables(modules) == []


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        ("services/trainer/store.py", "id: str", "Stray declares no"),
        ("services/trainer/store.py", 'topic: str = "training"', "Stray declares no"),
        ("services/trainer/store.py", 'topic: ClassVar[str] = "weather"', "Stray is fed by weather, which is no topic"),
        ("services/trainer/store.py", 'topic: ClassVar[str] = "appender"', "Stray is fed by appender"),
        ("services/trainer/work.py", 'topic: ClassVar[str] = "training"', "Stray is a table outside the store"),
    ],
)
def test_a_table_without_a_topic_is_found(path: str, body: str, said: str) -> None:
    module, line = seeded(path, f"class Stray(TrainerTable, table=True): {body}")
    (fault,) = find_homeless_tables([module])
    assert fault.startswith(f"{path}:{line}: {said}")


def test_each_projection_feeds_tables_of_its_own_topic() -> None:
    modules = read()
    found = [of for module in modules if module.room == "projections" for of, _ in registrations(module)]
    assert len(found) > 30
    assert find_mixed_projections(modules) == []


@pytest.mark.parametrize(
    ("path", "lines", "said"),
    [
        (
            "services/registry/projections.py",
            ["@projections.of(RolloutCompleted)", "def f(event, rows): rows.put(Verdict())"],
            "f is of ['deployment'], Verdict of validation",
        ),
        (
            "services/registry/projections.py",
            ["def _deep(rows): rows.put(Verdict())", "@projections.of(RolloutCompleted)",
             "def f(event, rows): _deep(rows)"],
            "f is of ['deployment'], Verdict of validation",
        ),
        (
            "services/registry/projections.py",
            ["@projections.of(ModelDeclared)", "def f(event, rows): Store(rows.session).approved('a', 1)"],
            "f is of ['registry'], Approved of governance",
        ),
        (
            "services/registry/projections.py",
            ["def f(event, rows): rows.put(Declared())", "projections.of(ModelDeclared, ValidationPassed)(f)"],
            "f is of ['registry', 'validation']: one topic feeds a table",
        ),
        (
            "services/monitor/projections/monitoring.py",
            ["@projections.of(WindowClosed)", "def f(event, rows): rows.add(Served())"],
            "f is of ['monitoring'], Served of predictions",
        ),
        (
            "services/governance_auditor/projections.py",
            ["from governance_auditor.store.tables import Entry", "@projections.of(PolicyAdopted)",
             "def f(event, rows): rows.put(Entry())"],
            "f is of ['governance'], Entry of appender",
        ),
    ],
)  # fmt: skip
def test_a_projection_that_names_another_topics_table_is_found(path: str, lines: list[str], said: str) -> None:
    module, line = seeded(path, *lines)
    (fault,) = find_mixed_projections(exchanged(read(), module))
    assert fault == f"{path}:{line}: {said}"
