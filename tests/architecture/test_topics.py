"""One table, one topic; one topic, one owner: who may be fed by what, and who may tell what."""

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from tests.architecture.tree import SERVICES, Module, exchanged, is_within, read, seeded

from cairn import events
from cairn.events import Declaration, DeclarationSubmitted, PolicyAdopted
from cairn.events.catalogue import CATALOGUE, TOPICS, EventType, topic_for
from cairn.events.hearing import HEARD
from cairn.events.policy import Policy
from chassis import Definition, Handlers, Projections, Transaction
from chassis.testing import World
from chassis.transaction import NotOwner
from registry.store import RegistryTable

EVENTS: dict[str, EventType] = {entry.facts.__name__: entry for entry in CATALOGUE.values()}
APPENDER = "appender"
"""Tables of what no event feeds, but the log itself by position: the auditor's alone."""


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


# --- one table, one topic


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
                yield from ((one, node) for one in decorators if _is_registration(one))  # type: ignore[misc]
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
            ["def _deep(rows): rows.put(Verdict())", "@projections.of(RolloutCompleted)", "def f(event, rows): _deep(rows)"],
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
            "services/monitor/projections.py",
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


# --- only the owner writes a topic


def find_foreign_tellings(modules: list[Module]) -> list[str]:
    """Where a service makes an event that another service owns, or calls within `tell(…)` what gives one."""
    faults = []
    returned = {
        (module.owner, node.name): list(events_named(module, node.returns))
        for module in modules
        for node in module.tree.body
        if isinstance(node, ast.FunctionDef) and node.returns
    }
    for module in modules:
        if module.path.startswith("services/") and module.room in ("domain", "handlers", "work", "serving"):
            made = [*_constructed(module), *_given(module, returned)]
            me = owner_name(module)
            faults += [
                module.fault(where, f"{me} tells {entry.facts.__name__}, which is {_owner(entry, me)}'s alone")
                for where, entry in made
                if _owner(entry, me) != me
            ]
    return sorted(set(faults))


def _owner(entry: EventType, service: str) -> str:
    return topic_for(entry, service).owner if entry.topic in TOPICS or service != "serving" else "a service"


def _constructed(module: Module) -> Iterator[tuple[ast.AST, EventType]]:
    called = {node.func.id for node in module.nodes if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    for node in module.nodes:
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            yield from events_named(module, node.func)
        # `verdict = Passed if good else Failed; verdict(…)`
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.IfExp | ast.Name):
            if {ast.unparse(target) for target in node.targets} & called:
                yield from events_named(module, node.value)


def _given(
    module: Module, returned: dict[tuple[str, str], list[tuple[ast.AST, EventType]]]
) -> Iterator[tuple[ast.AST, EventType]]:
    for node in module.nodes:
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "tell":
            for one in ast.walk(node.args[0]) if node.args else ():
                if isinstance(one, ast.Call) and isinstance(one.func, ast.Name):
                    yield from ((one, entry) for _, entry in returned.get((module.owner, one.func.id), ()))


def test_each_service_tells_only_what_it_owns() -> None:
    assert find_foreign_tellings(read()) == []


def test_the_rule_sees_most_of_what_is_told() -> None:
    """Every event of a service is made somewhere in it, so a rule that saw nothing would not pass here."""
    modules = [one for one in read() if one.room in ("domain", "handlers", "work", "serving")]
    seen = {entry.facts.__name__ for module in modules for _, entry in _constructed(module)}
    told = {
        entry.facts.__name__
        for entry in CATALOGUE.values()
        if entry.topic in TOPICS and TOPICS[entry.topic].owner not in ("upstream", "people")
    }
    assert len(seen & told) / len(told) > 0.8


@pytest.mark.parametrize(
    ("path", "line", "said"),
    [
        (
            "services/trainer/handlers.py",
            "def f(tx): tx.tell(ModelDeclared())",
            "trainer tells ModelDeclared, which is registry's alone",
        ),
        (
            "services/validator/work.py",
            "def f(tx): tx.tell(ModelPromoted())",
            "validator tells ModelPromoted, which is registry's alone",
        ),
        (
            "services/governance_auditor/work/waiting.py",
            "from cairn.events import ModelPromoted as It; f = lambda tx: tx.tell(It())",
            "governance-auditor tells ModelPromoted, which is registry's alone",
        ),
        (
            "services/deployer/serving/routing.py",
            "from cairn.events import RecordParked; RecordParked()",
            "serving tells RecordParked, which is a service's alone",
        ),
        (
            "services/deployer/serving/routing.py",
            "from cairn.events import RolloutStarted; RolloutStarted()",
            "serving tells RolloutStarted, which is deployer's alone",
        ),
    ],
)
def test_an_event_that_another_owns_is_found(path: str, line: str, said: str) -> None:
    module, number = seeded(path, line)
    (fault,) = find_foreign_tellings([module])
    assert fault == f"{path}:{number}: {said}"


def test_an_event_that_another_owns_is_found_where_the_domain_makes_it() -> None:
    domain, made = seeded("services/trainer/domain.py", "def foreign() -> DatasetAccepted: return DatasetAccepted()")
    handlers, told = seeded(
        "services/trainer/handlers.py", "from trainer.domain import foreign", "def f(tx): tx.tell(foreign())"
    )
    said = "trainer tells DatasetAccepted, which is validator's alone"
    faults = find_foreign_tellings(exchanged(read(), domain, handlers))
    assert faults == [f"{domain.path}:{made}: {said}", f"{handlers.path}:{told}: {said}"]


def test_what_a_service_tells_of_its_own_running_is_its_own() -> None:
    line = "from cairn.events import RequestRefused; f = lambda tx: tx.tell(RequestRefused())"
    module, _ = seeded("services/trainer/handlers.py", line)
    assert find_foreign_tellings([module]) == []


def test_at_run_time_the_transaction_refuses_it_too(tmp_path: Path) -> None:
    adopted = PolicyAdopted(policy="default", revision=1, document=Policy(name="default"), digest="sha256:" + "0" * 64)
    handlers = Handlers()

    @handlers.on(DeclarationSubmitted)
    def handle(_event: DeclarationSubmitted, tx: Transaction) -> None:
        tx.tell(adopted)

    declaration = Declaration(model="risk.loans", owner="credit", dataset="loans", target="defaulted")
    actor = World(tmp_path).add(Definition("registry", HEARD["registry"], RegistryTable, handlers, Projections()))
    with pytest.raises(NotOwner, match=r"registry may not tell cairn.policy.adopted.v1: governance belongs to gov"):
        actor.hear(DeclarationSubmitted(model="risk.loans", declaration=declaration))
    assert actor.world.told(PolicyAdopted) == []
    actor.database.close()
