"""Every worker of a test run collects the same tests: no clock and no chance is asked while tests are collected."""

import ast
from collections.abc import Iterator

import pytest
from tests.architecture.tree import ROOT

CHANGING = {"now", "today", "utcnow", "time", "time_ns", "uuid4", "uuid7", "token_bytes", "token_hex", "urandom"}


def find_changing(path: str, text: str) -> list[str]:
    """Calls that a module makes when it is imported and that answer otherwise each time."""
    return [f"{path}:{call.lineno}: {ast.unparse(call)}" for call in _calls(ast.parse(text)) if _changes(call)]


def _calls(node: ast.AST) -> Iterator[ast.Call]:
    if isinstance(node, ast.Call):
        yield node
    for child in ast.iter_child_nodes(node):
        match child:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                for part in (*child.decorator_list, *child.args.defaults):
                    yield from _calls(ast.Expr(part))
            case ast.Lambda():
                pass
            case _:
                yield from _calls(child)


def _changes(call: ast.Call) -> bool:
    name = ast.unparse(call.func)
    # gzip writes the time into its header.
    return name.split(".")[-1] in CHANGING or (
        name == "gzip.compress" and not any(k.arg == "mtime" for k in call.keywords)
    )


def test_no_test_asks_the_clock_or_chance_while_it_is_collected() -> None:
    files = sorted((ROOT / "tests").rglob("*.py"))
    assert [fault for file in files for fault in find_changing(str(file.relative_to(ROOT)), file.read_text())] == []


@pytest.mark.parametrize(
    "text",
    [
        "NOW = datetime.now(UTC)",
        "@pytest.mark.parametrize('id', [uuid4()])\ndef test(id): ...",
        "class Case:\n    body = gzip.compress(b'x')",
    ],
)
def test_one_that_does_is_found(text: str) -> None:
    assert len(find_changing("tests/seed.py", text)) == 1


def test_what_a_test_asks_when_it_runs_is_let_be() -> None:
    assert find_changing("tests/seed.py", "def test():\n    now()\nclock = lambda: now()\n") == []
