"""Handlers decide, projections remember: nothing that handles an event, works or answers changes a table."""

import ast
import re
from collections.abc import Iterator

import pytest
from tests.architecture.tree import Module, is_within, read, seeded

APPENDER = "services/governance_auditor/work/appending.py"
"""Keeps raw records by their position, in tables that no event feeds: the one exemption."""
WRITES = {"add", "add_all", "merge", "delete", "flush", "commit", "bulk_save_objects", "bulk_insert_mappings"}
STATEMENTS = {"insert", "update", "delete", "text"}
WRITERS = ("chassis.Rows", "chassis.rows", "chassis.upsert")
_OPENS = re.compile(r"\b(begin|read|Session)\(")
_SQL = re.compile(r"\s*(WITH\b.*?\b)?(INSERT|REPLACE|UPDATE|DELETE|MERGE|TRUNCATE|DROP|ALTER|CREATE)\s+\w", re.DOTALL)


def find_writes(modules: list[Module]) -> list[str]:
    """Where a handler, work or what answers questions changes a table."""
    return [
        fault
        for module in modules
        if module.path.startswith("services/") and module.room in ("handlers", "work", "api")
        if module.path != APPENDER
        for fault in (
            *_imported_writers(module),
            *_called_writers(module),
            *_written_by_hand(module),
            *_begun_by_readers(module),
        )
    ]


def _imported_writers(module: Module) -> Iterator[str]:
    for line, name in module.imports:
        package, _, last = name.rpartition(".")
        if is_within(name, *WRITERS) or (is_within(package, "sqlalchemy", "sqlmodel") and last in STATEMENTS):
            yield module.fault(line, f"imports {name}: only projections change tables")


def _called_writers(module: Module) -> Iterator[str]:
    sessions = _names_of_sessions(module)
    for node in module.nodes:
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        method = node.func.attr
        if method in WRITES and _is_session(node.func.value, sessions):
            yield module.fault(node, f"calls {ast.unparse(node.func)}: only projections change tables")
        if method in ("exec", "execute", "scalar", "scalars") and any(map(_makes_statement, node.args)):
            yield module.fault(node, f"executes {ast.unparse(node.args[0])}: only projections change tables")


def _written_by_hand(module: Module) -> Iterator[str]:
    for node in module.nodes:
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and _SQL.match(node.value):
            yield module.fault(node, f"has the statement {node.value!r}: only projections change tables")


def _begun_by_readers(module: Module) -> Iterator[str]:
    for node in module.nodes:
        if module.room == "api" and isinstance(node, ast.Attribute) and node.attr in ("begin", "begin_nested"):
            yield module.fault(node, f"uses {ast.unparse(node)}: an api only reads, with `database.read()`")


def _makes_statement(argument: ast.AST) -> bool:
    return any(
        isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in STATEMENTS
        for node in ast.walk(argument)
    )


def _names_of_sessions(module: Module) -> set[str]:
    """Names that stand for a session somewhere in the module."""
    found = {"session"}
    for node in module.nodes:
        if isinstance(node, ast.arg | ast.AnnAssign) and node.annotation and "Session" in ast.unparse(node.annotation):
            found.add(node.arg if isinstance(node, ast.arg) else ast.unparse(node.target))
        if isinstance(node, ast.Assign) and _is_session(node.value, found):
            found |= {ast.unparse(target) for target in node.targets}
        if isinstance(node, ast.withitem) and node.optional_vars and _OPENS.search(ast.unparse(node.context_expr)):
            found.add(ast.unparse(node.optional_vars))
    return found


def _is_session(node: ast.AST, sessions: set[str]) -> bool:
    match node:
        case ast.Attribute(attr=name):
            return name.endswith("session")
        case ast.Name(id=name):
            return name in sessions
        case ast.Call(func=ast.Name(id="Session")):
            return True
    return False


def test_no_handler_no_work_and_no_api_changes_a_table() -> None:
    assert find_writes(read()) == []


@pytest.mark.parametrize(
    "path",
    [
        "services/registry/handlers.py",
        "services/trainer/work.py",
        "services/governance_auditor/work/waiting.py",
        "services/registry/api.py",
        "services/gateway/api/webhooks.py",
    ],
)
@pytest.mark.parametrize(
    "lines",
    [
        ["def f(tx): tx.session.add(1)"],
        ["def f(tx):", "    mine = tx.session", "    mine.merge(1)"],
        ["def f(db: Session): db.delete(1)"],
        ["def f(store): store._session.flush()"],
        ["def f(db):", "    with db.read() as s:", "        s.add(1)"],
        ["def f(db):", "    with Session(db.engine) as s:", "        s.commit()"],
        ["from sqlalchemy import insert"],
        ["from sqlmodel import update as change"],
        ["from sqlalchemy.dialects.postgresql import insert"],
        ["def f(tx): tx.session.exec(Declared.__table__.delete())"],
        ["def f(tx): tx.connection.exec_driver_sql('UPDATE declared SET model = 1')"],
        ["from chassis import Rows"],
        ["from chassis.rows import Rows"],
        ["from chassis.upsert import upsert"],
    ],
    ids=lambda lines: lines[-1].strip(),
)
def test_a_handler_work_or_api_that_changes_a_table_is_found(path: str, lines: list[str]) -> None:
    module, line = seeded(path, *lines)
    (fault,) = find_writes([module])
    assert fault.startswith(f"{path}:{line}: ")


def test_work_that_writes_in_a_transaction_of_its_own_is_found() -> None:
    path = "services/trainer/work.py"
    module, line = seeded(path, "def f(tx):", "    with tx.database.begin() as s:", "        s.commit()")
    assert [fault.split(" ")[0] for fault in find_writes([module])] == [f"{path}:{line}:"]


@pytest.mark.parametrize("path", ["services/registry/api.py", "services/gateway/api/webhooks.py"])
@pytest.mark.parametrize("begun", ["database.begin()", "session.begin()", "session.begin_nested()"])
def test_an_api_that_begins_a_transaction_is_found(path: str, begun: str) -> None:
    module, line = seeded(path, "def f(database, session):", f"    with {begun}: pass")
    (fault,) = find_writes([module])
    assert fault == f"{path}:{line}: uses {begun.removesuffix('()')}: an api only reads, with `database.read()`"


def test_what_only_looks_like_writing_is_let_be() -> None:
    module, _ = seeded(
        "services/registry/handlers.py", "def f(seen: set[str]):", "    seen.add('a')", "    seen.update('b')"
    )
    assert find_writes([module]) == []
