"""A domain is pure: no framework, no clock, no chance, no I/O."""

import ast
import sys
from collections.abc import Iterator

import pytest
from tests.architecture.tree import Module, is_within, read, seeded

PURE = ("cairn.events", "cairn.audit", "cairn.declaration", "modelkit.grid")
IMPURE_STANDARD = (
    "asyncio",
    "builtins.open",
    "concurrent",
    "ftplib",
    "glob",
    "http",
    "importlib",
    "io",
    "logging",
    "mmap",
    "multiprocessing",
    "os",
    "pathlib.Path",
    "random",
    "secrets",
    "select",
    "shutil",
    "signal",
    "socket",
    "sqlite3",
    "ssl",
    "subprocess",
    "sys",
    "tempfile",
    "threading",
    "time",
    "urllib.request",
    "uuid.getnode",
    "uuid.uuid1",
    "uuid.uuid4",
)
CLOCK = {"now", "utcnow", "today", "time", "time_ns", "monotonic", "perf_counter", "uuid1", "uuid4"}
FILES = {"open", "read_text", "read_bytes", "write_text", "write_bytes", "mkdir", "unlink", "iterdir", "glob", "rglob"}
BUILT_IN = {"open", "print", "input", "exec", "eval", "breakpoint", "__import__"}


def find_impurities(modules: list[Module]) -> list[str]:
    """Where a domain does more than to think."""
    return [
        fault
        for module in modules
        if module.path.startswith("services/") and module.room == "domain"
        for fault in (*_impure_imports(module), *_impure_calls(module))
    ]


def _impure_imports(module: Module) -> Iterator[str]:
    for line, name in module.imports:
        standard = name.split(".")[0] in sys.stdlib_module_names and not is_within(name, *IMPURE_STANDARD)
        if not standard and not is_within(name, *PURE, f"{module.owner}.domain"):
            yield module.fault(line, f"imports {name}: a domain is pure")


def _impure_calls(module: Module) -> Iterator[str]:
    for node in module.nodes:
        match node:
            case ast.Call(func=ast.Name(id=name)) if name in BUILT_IN:
                yield module.fault(node, f"calls {name}: a domain is pure")
            case ast.Attribute(value=owner, attr=name) if name in FILES or (name in CLOCK and _is_foreign(owner)):
                yield module.fault(node, f"uses {ast.unparse(node)}: a domain is pure")


def _is_foreign(node: ast.AST) -> bool:
    """Whether this is a module or class of the standard library that has a clock."""
    return ast.unparse(node).split(".")[-1] in ("datetime", "date", "time", "uuid")


def test_each_domain_is_pure() -> None:
    modules = read()
    assert len({module.owner for module in modules if module.room == "domain"}) == 7
    assert find_impurities(modules) == []


@pytest.mark.parametrize("path", ["services/registry/domain.py", "services/governance_auditor/domain/findings.py"])
@pytest.mark.parametrize(
    "line",
    [
        "import faststream",
        "from sqlmodel import Session",
        "import sqlalchemy.orm",
        "from starlette.requests import Request",
        "from pydantic_settings import BaseSettings",
        "import aiokafka",
        "import numpy as np",
        "from pydantic import BaseModel",
        "from chassis import Transaction",
        "from cairn.objects import open_store",
        "from cairn import publisher",
        "from modelkit.datasets import read_target",
        "from registry.store import Store",
        "def f():\n    import sqlite3",
        "from time import time",
        "from os import environ",
        "from pathlib import Path",
        "from uuid import uuid4",
        "from random import random",
        "f = lambda datetime: datetime.now()",
        "f = lambda datetime: datetime.datetime.now()",
        "from datetime import date; date.today()",
        "f = lambda: open('x')",
        "f = lambda path: path.read_text()",
        "f = lambda: print('x')",
    ],
)
def test_a_domain_that_is_not_is_found(path: str, line: str) -> None:
    module, number = seeded(path, line)
    (fault,) = find_impurities([module])
    assert fault.startswith(f"{path}:{number}: ")
    assert fault.endswith(": a domain is pure")


def test_a_module_that_is_new_in_a_domain_package_is_seen_too() -> None:
    (fault,) = find_impurities([Module("services/monitor/domain/deep/new.py", "x = 1\nimport socket\n")])
    assert fault == "services/monitor/domain/deep/new.py:2: imports socket: a domain is pure"
