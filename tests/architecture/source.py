"""The tree as the rules see it: every module of ours, parsed, with what it imports. And copies to sin in."""

import ast
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

ROOT = Path(__file__).parents[2]
LIBRARIES = ("cairn", "chassis", "modelkit")
SERVICES = tuple(sorted(path.parent.name for path in ROOT.glob("services/*/app.py")))
OURS = frozenset((*LIBRARIES, *SERVICES))


@dataclass(frozen=True)
class Import:
    """One name that a module imports, in full: `registry.store.Version`."""

    name: str
    line: int

    @property
    def package(self) -> str:
        """The installed package it comes from."""
        return self.name.partition(".")[0]

    @property
    def room(self) -> str:
        """Of a service's module: which of its files or folders, `store`."""
        return [*self.name.split("."), ""][1]

    def is_of(self, *modules: str) -> bool:
        """Whether it is one of these modules, or lies in one."""
        return any(self.name == module or self.name.startswith(f"{module}.") for module in modules)


@dataclass(frozen=True)
class Module:
    """A file of ours."""

    path: Path
    name: str

    @property
    def package(self) -> str:
        """The library or service that it belongs to."""
        return self.name.partition(".")[0]

    @property
    def room(self) -> str:
        """Of a service's module: which of its files or folders."""
        return [*self.name.split("."), ""][1]

    @cached_property
    def tree(self) -> ast.Module:
        """What is written in it."""
        return ast.parse(self.path.read_text())

    @cached_property
    def imports(self) -> tuple[Import, ...]:
        """All that it imports, also within functions."""
        return tuple(_imports(self.tree, self.name, self.path.name == "__init__.py"))

    def at(self, line: int) -> str:
        """A place in it, for complaints."""
        return f"{self.name}:{line}"


def _imports(tree: ast.Module, module: str, is_package: bool) -> Iterator[Import]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = module.split(".") if is_package else module.split(".")[:-1]
            above = ".".join(parents[: len(parents) - node.level + 1]) if node.level else ""
            base = ".".join(filter(None, (above, node.module)))
            yield from (Import(f"{base}.{alias.name}", node.lineno) for alias in node.names)


def modules_of(package: str, root: Path = ROOT) -> list[Module]:
    """The modules of a library or service."""
    folder = root / ("libs" if package in LIBRARIES else "services") / package
    found = []
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(folder.parent).with_suffix("").parts
        found.append(Module(path, ".".join(part for part in parts if part != "__init__")))
    return found


@cache
def all_modules() -> tuple[Module, ...]:
    """The modules of all libraries and services."""
    return tuple(module for package in sorted(OURS) for module in modules_of(package))


def sin(folder: Path, path: str, source: str) -> list[Module]:
    """The modules of a package, copied, with further lines at the end of a file or in a new one."""
    package = Path(*Path(path).parts[:2])
    shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    with (folder / path).open("a") as file:
        file.write(f"\n{source}\n")
    return modules_of(package.name, folder)
