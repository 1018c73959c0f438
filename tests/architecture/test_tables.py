"""Handlers never write; a table is fed by one topic, and each projection keeps to its own."""

import ast
import functools
import importlib
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

import pytest
from sqlmodel import Session, select
from tests.architecture.source import SERVICES, Module, all_modules, sin
from tests.libs.chassis import toy as a

from cairn.events import DeclarationSubmitted, LabelsObserved, ModelDeclared, RollbackRequested
from cairn.events.catalogue import CATALOGUE, OPERATIONS, TOPICS, type_of
from cairn.events.declaration import Declaration
from cairn.events.event import Event
from cairn.events.requests import RedriveRequested
from chassis import Definition, Handlers, Projections, Rows, Table
from chassis.database import ForbiddenWrite
from chassis.testing import World

READING = frozenset({"handlers", "work", "store", "api", "domain", "app", "settings", "__main__"})
APPENDERS = frozenset({"governance_auditor.work.appending"})
"""Raw records are kept by position, by an appender; its tables are of no topic."""

STATEMENTS = frozenset({"insert", "update", "delete", "upsert", "insert_or_ignore"})
WRITING = frozenset(
    {"add", "add_all", "merge", "delete", "commit", "flush", "rollback", "bulk_save_objects", "bulk_insert_mappings"}
)
SQL = re.compile(r"\s*(INSERT|UPDATE|DELETE|REPLACE|MERGE|TRUNCATE|DROP|ALTER|CREATE)\s", re.IGNORECASE)


def writes(modules: Iterable[Module]) -> list[str]:
    """What changes tables, where tables are only read."""
    return [
        f"{module.at(line)} {what}"
        for module in modules
        if module.package in SERVICES and module.room in READING and module.name not in APPENDERS
        for line, what in sorted(_writes(module))
    ]


def _writes(module: Module) -> Iterator[tuple[int, str]]:
    for one in module.imports:
        if one.name.rpartition(".")[2] in STATEMENTS and one.is_of("sqlalchemy", "sqlmodel", "chassis.upsert"):
            yield one.line, f"imports {one.name}"
        if one.name in ("chassis.Rows", "chassis.rows.Rows"):
            yield one.line, f"imports {one.name}"
    sessions = {"session", *_names_of_sessions(module.tree)}
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            receiver, method = ast.unparse(node.func.value), node.func.attr
            if method in WRITING and receiver.rpartition(".")[2].strip("_") in sessions:
                yield node.lineno, f"calls {receiver}.{method}"
            if method in STATEMENTS and receiver in ("sqlalchemy", "sqlmodel"):
                yield node.lineno, f"calls {receiver}.{method}"
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and SQL.match(node.value):
            yield node.lineno, f"says {node.value[:30]!r}"


def _names_of_sessions(tree: ast.Module) -> Iterator[str]:
    """Other names under which a session goes: `s = tx.session`, `def f(s: Session)`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and ast.unparse(node.value).endswith("session"):
            yield from (target.id for target in node.targets if isinstance(target, ast.Name))
        if isinstance(node, ast.arg) and node.annotation and ast.unparse(node.annotation) == "Session":
            yield node.arg


def definition_of(service: str) -> Definition:
    """A service, whole, with settings of its own."""
    settings = importlib.import_module(f"{service}.settings").Settings.model_construct()
    built: Definition = importlib.import_module(f"{service}.app").build(settings)
    return built


def tables_of(definition: Definition) -> list[type[Table]]:
    """All its domain tables."""
    return [mapper.class_ for mapper in definition.tables._sa_registry.mappers]


def touched(function: Callable[..., Any], ours: str) -> set[type[Table]]:
    """The tables that a function names, itself or through what it calls in its own service."""
    found: set[type[Table]] = set()
    known: set[int] = set()
    waiting: list[Any] = [function]
    while waiting:
        one = waiting.pop()
        if id(one) in known:
            continue
        known.add(id(one))
        if isinstance(one, functools.partial):
            waiting += [one.func, *(type(given) for given in one.args)]
        elif isinstance(one, type) and issubclass(one, Table):
            found.add(one)
        elif isinstance(one, FunctionType):
            waiting += _named_by(one, ours)
    return found


def _named_by(function: FunctionType, ours: str) -> list[Any]:
    names = set(_names(function.__code__))
    known = {**function.__globals__, **_closure(function)}
    things = [known[name] for name in names if name in known]
    things += [
        getattr(thing, name) for thing in things if isinstance(thing, ModuleType) for name in names & set(vars(thing))
    ]
    here = [thing for thing in things if getattr(thing, "__module__", "").partition(".")[0] == ours]
    # Of a class that is no table, what counts are the methods that are called by their names.
    methods = [
        vars(thing)[name]
        for thing in here
        if isinstance(thing, type) and not issubclass(thing, Table)
        for name in (names | {"__init__"}) & set(vars(thing))
    ]
    return [*here, *methods]


def _closure(function: FunctionType) -> dict[str, Any]:
    cells = function.__closure__ or ()
    return {name: cell.cell_contents for name, cell in zip(function.__code__.co_freevars, cells, strict=True)}


def _names(code: CodeType) -> Iterator[str]:
    yield from (*code.co_names, *code.co_freevars)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def topic_of(facts: type[Event], definition: Definition) -> str:
    """The topic on which a service hears or tells events of this type."""
    topic = type_of(facts).topic
    return f"{OPERATIONS}.{definition.name}" if topic == OPERATIONS else topic


def strays(definition: Definition) -> list[str]:
    """Projections that touch a table of another topic."""
    return sorted(
        f"{type_of(facts).name} ({topic_of(facts, definition)}) touches {table.__name__} ({table.topic})"
        for facts, function in definition.projections.by_type.items()
        for table in touched(function, definition.tables.__module__.partition(".")[0])
        if table.topic != topic_of(facts, definition)
    )


def test_tables_are_only_read_but_by_projections() -> None:
    assert writes(all_modules()) == []


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("services/registry/handlers.py", "def f(tx):\n    tx.session.add(tx)"),
        ("services/registry/handlers.py", "def f(tx):\n    s = tx.session\n    s.merge(tx)"),
        ("services/registry/handlers.py", "def f(tx):\n    tx.session.delete(tx)"),
        ("services/registry/handlers.py", "from sqlmodel import update"),
        ("services/registry/handlers.py", "from sqlalchemy.dialects.postgresql import insert"),
        ("services/registry/handlers.py", "from chassis.upsert import upsert"),
        ("services/registry/handlers.py", "from chassis import Rows"),
        ("services/registry/handlers.py", "def f(tx):\n    sqlalchemy.delete(tx)"),
        ("services/registry/handlers.py", "def f(tx):\n    tx.session.execute(text('DELETE FROM version'))"),
        ("services/registry/store.py", "def f(self):\n    self._session.commit()"),
        ("services/registry/api.py", "def f(given: Session):\n    given.add_all([])"),
        ("services/trainer/work.py", "def f(session):\n    session.flush()"),
        ("services/governance_auditor/work/more.py", "from sqlalchemy import insert"),
    ],
)
def test_who_writes_where_it_may_not_is_named(tmp_path: Path, path: str, source: str) -> None:
    (complaint,) = set(writes(sin(tmp_path, path, source))).difference(writes(all_modules()))
    assert complaint.startswith(Path(path).with_suffix("").as_posix().removeprefix("services/").replace("/", "."))


def test_sets_and_dictionaries_may_be_changed_anywhere(tmp_path: Path) -> None:
    source = "def f(seen, counts):\n    seen.add(1)\n    counts.update(a=1)\n    counts.merge(seen)"
    assert set(writes(sin(tmp_path, "services/registry/handlers.py", source))) <= set(writes(all_modules()))


@pytest.mark.parametrize("service", SERVICES)
def test_each_projection_touches_tables_of_its_own_topic_alone(service: str) -> None:
    definition = definition_of(service)
    assert strays(definition) == []
    assert any(touched(one, service) for one in definition.projections.by_type.values())


@pytest.mark.parametrize("service", SERVICES)
def test_each_table_names_a_topic_that_its_service_hears_or_writes(service: str) -> None:
    definition = definition_of(service)
    own = {topic.name for topic in TOPICS.values() if topic.owner == definition.name}
    for table in tables_of(definition):
        assert table.__dict__.get("topic") in {*definition.hears, *own, "appender"}, table.__name__


@pytest.mark.parametrize("service", SERVICES)
def test_each_table_is_written_by_a_projection(service: str) -> None:
    definition = definition_of(service)
    written = set().union(*(touched(one, service) for one in definition.projections.by_type.values()))
    unused = {table.__name__ for table in tables_of(definition) if table.topic != "appender"}
    assert unused == {table.__name__ for table in written}


@pytest.mark.parametrize("service", SERVICES)
def test_no_table_leans_on_another_or_counts_its_own_rows(service: str) -> None:
    for table in tables_of(definition_of(service)):
        columns = table.__table__  # type: ignore[attr-defined]  # a mapped table has it
        assert not columns.foreign_keys, table.__name__
        assert columns.autoincrement_column is None, f"{table.__name__} numbers its rows"


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_handles_what_it_hears_and_remembers_what_it_hears_or_tells(service: str) -> None:
    definition = definition_of(service)
    own = {topic.name for topic in TOPICS.values() if topic.owner == definition.name}
    assert not own & set(definition.hears), "nobody hears its own topics"
    assert {topic_of(facts, definition) for facts in definition.handlers.by_type} <= set(definition.hears)
    assert {topic_of(facts, definition) for facts in definition.projections.by_type} <= {*definition.hears, *own}


@pytest.mark.parametrize("name", [name for name, entry in CATALOGUE.items() if entry.topic == "requests"])
def test_each_request_has_one_judge_who_handles_it(name: str) -> None:
    entry = CATALOGUE[name]
    if entry.facts is RedriveRequested:
        assert entry.judge is None  # the chassis answers it, in the service that parked the record
        return
    judges = [one for one in SERVICES if entry.facts in definition_of(one).handlers.by_type]
    assert entry.judge is not None
    assert judges == [entry.judge.replace("-", "_")]


class Shelf:
    """Queries of the toy."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def alarms(self) -> list[a.Alarm]:
        return list(self._session.exec(select(a.Alarm)))

    def tallies(self) -> list[a.Tally]:
        return list(self._session.exec(select(a.Tally)))


def writes_elsewhere(event: LabelsObserved, rows: Rows) -> None:
    rows.put(a.Alarm(id="1", model=event.model, due_at="", origin=""))


def has_another_write_elsewhere(event: LabelsObserved, rows: Rows) -> None:
    writes_elsewhere(event, rows)


def looks_elsewhere(event: LabelsObserved, rows: Rows) -> None:
    rows.put(a.Tally(model=event.model, items=len(Shelf(rows.session).alarms()), last=""))


def looks_elsewhere_in_a_loop(event: LabelsObserved, rows: Rows) -> None:
    rows.put(a.Tally(model=event.model, items=sum(1 for _ in rows.session.exec(select(a.Alarm))), last=""))


@pytest.mark.parametrize(
    "projection",
    [
        writes_elsewhere,
        has_another_write_elsewhere,
        looks_elsewhere,
        looks_elsewhere_in_a_loop,
        functools.partial(lambda _given, event, rows: writes_elsewhere(event, rows), 1),
    ],
)
def test_a_projection_that_touches_another_topic_s_table_is_named(projection: Callable[..., None]) -> None:
    projections = Projections()
    projections.of(LabelsObserved)(projection)
    definition = Definition(a.NAME, a.HEARS, a.ToyTable, Handlers(), projections)
    assert strays(definition) == ["cairn.labels.observed.v1 (labels) touches Alarm (requests)"]


def test_a_projection_that_keeps_to_its_own_table_is_not() -> None:
    def looks_at_home(event: LabelsObserved, rows: Rows) -> None:
        rows.put(a.Tally(model=event.model, items=len(Shelf(rows.session).tallies()), last=""))

    projections = Projections()
    projections.of(LabelsObserved)(looks_at_home)
    projections.of(RollbackRequested)(a.remember_alarm)
    assert strays(Definition(a.NAME, a.HEARS, a.ToyTable, Handlers(), projections)) == []


def test_at_run_time_a_projection_that_writes_another_topic_s_table_is_refused(tmp_path: Path) -> None:
    from registry.store import CompletedRun

    definition, projections = definition_of("registry"), Projections()
    projections.by_type.update(definition.projections.by_type)
    projections.by_type[ModelDeclared] = lambda event, rows: rows.put(CompletedRun(run_id="1", facts=""))
    registry = World(tmp_path).add(replace(definition, projections=projections))
    declaration = Declaration(model="risk.loans", owner="credit", dataset="loans", target="defaulted")
    with pytest.raises(ForbiddenWrite, match="completedrun is fed by training alone; a projection of registry"):
        registry.hear(DeclarationSubmitted(model="risk.loans", declaration=declaration))
