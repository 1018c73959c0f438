"""The source tree as the rules see it: modules, what they import, and where a rule is broken."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).parents[2]
SERVICES = tuple(sorted(folder.parent.name for folder in ROOT.glob("services/*/pyproject.toml")))
LIBRARIES = tuple(sorted(folder.parent.name for folder in ROOT.glob("libs/*/pyproject.toml")))


@dataclass(frozen=True)
class Module:
    """One Python file."""

    path: str
    """From the root of the tree, e.g. `services/registry/store.py`."""
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text, self.path)

    @cached_property
    def nodes(self) -> list[ast.AST]:
        return list(ast.walk(self.tree))

    @property
    def parts(self) -> list[str]:
        """Its name without `.py`, from `services` or `libs` on downwards."""
        parts = self.path.removesuffix(".py").split("/")[1:]
        return parts[:-1] if parts[-1] == "__init__" else parts

    @property
    def owner(self) -> str:
        """The service or library that it belongs to."""
        return self.parts[0]

    @property
    def room(self) -> str:
        """Which file of the layout it is or belongs to: domain, handlers, … ; empty for the package itself."""
        return self.parts[1] if len(self.parts) > 1 else ""

    @cached_property
    def imports(self) -> list[tuple[int, str]]:
        """Line and full dotted name of everything imported, wherever it is imported."""
        return [found for node in self.nodes for found in self._imported_by(node)]

    def _imported_by(self, node: ast.AST) -> Iterator[tuple[int, str]]:
        match node:
            case ast.Import(names=names):
                yield from ((node.lineno, alias.name) for alias in names)
            case ast.ImportFrom(module=module, names=names, level=level):
                yield from ((node.lineno, f"{self._absolute(module, level)}.{alias.name}") for alias in names)
            case ast.Call(
                func=ast.Attribute(attr="import_module") | ast.Name(id="import_module" | "__import__"),
                args=[ast.Constant(value=str(name)), *_],
            ):
                yield node.lineno, name

    def _absolute(self, module: str | None, level: int) -> str:
        if not level:
            return module or ""
        package = self.parts if self.path.endswith("__init__.py") else self.parts[:-1]
        return ".".join([*package[: len(package) - level + 1], *([module] if module else [])])

    @cached_property
    def names(self) -> dict[str, str]:
        """What its names stand for, where they were imported: name to full dotted name."""
        found: dict[str, str] = {}
        for node in self.nodes:
            if isinstance(node, ast.ImportFrom):
                module = self._absolute(node.module, node.level)
                found |= {alias.asname or alias.name: f"{module}.{alias.name}" for alias in node.names}
            if isinstance(node, ast.Import):
                whole = {alias.name.split(".")[0] for alias in node.names if not alias.asname}
                found |= {name: name for name in whole}
                found |= {alias.asname: alias.name for alias in node.names if alias.asname}
        return found

    def full_name(self, node: ast.AST) -> str:
        """What a name or a dotted name stands for; empty if it was not imported."""
        if not isinstance(node, ast.Name | ast.Attribute):
            return ""
        first, dot, rest = ast.unparse(node).partition(".")
        return f"{self.names[first]}{dot}{rest}" if first in self.names else ""

    def fault(self, where: ast.AST | int, what: str) -> str:
        """A broken rule, with its place."""
        return f"{self.path}:{where if isinstance(where, int) else where.lineno}: {what}"  # type: ignore[attr-defined]  # every such node has a line


def is_within(name: str, *packages: str) -> bool:
    """Whether a dotted name is one of these or lies below one."""
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def read(root: Path = ROOT, *patterns: str) -> list[Module]:
    """The modules below these folders; all of the libraries and services unless folders are named."""
    files = (file for pattern in patterns or ("libs", "services") for file in sorted((root / pattern).rglob("*.py")))
    return [Module(file.relative_to(root).as_posix(), file.read_text()) for file in files]


def seeded(path: str, *lines: str) -> tuple[Module, int]:
    """A real module with lines added at its end, and the number of the last of them."""
    file = ROOT / path
    before = file.read_text() if file.exists() else ""
    text = "\n".join([before.rstrip("\n"), *lines])
    return Module(path, text), len(text.splitlines())


def exchanged(modules: list[Module], *others: Module) -> list[Module]:
    """These modules, with others in the place of those of the same path."""
    by_path = {module.path: module for module in modules}
    return list((by_path | {other.path: other for other in others}).values())
