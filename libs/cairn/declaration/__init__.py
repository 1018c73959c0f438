"""Reads what people write in YAML, a model's declaration above all, and says at once all that is wrong with it."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from cairn.declaration.problems import DeclarationError, Problem
from cairn.declaration.tree import Location, Tree, read_tree
from cairn.declaration.wording import location_of, problem_of
from cairn.events.declaration import LOWER_IS_BETTER, Declaration
from cairn.events.values import Digest

__all__ = ["LARGEST_BYTES", "DeclarationError", "Problem", "declaration_digest", "read_declaration", "read_document"]

Model = TypeVar("Model", bound=BaseModel)

LARGEST_BYTES = 64 * 1024
"""A larger file is refused."""


def read_declaration(path_or_text: Path | str, name: str) -> Declaration:
    """The declaration in a file (a Path) or in a text (a str); `name` is what messages call it.

    The file may come from anyone. Raises DeclarationError, which tells of every problem the line, the column, the
    key, what was found and what was expected.
    """
    tree, declaration = _read(path_or_text, name, Declaration)
    if hopeless := list(_hopeless_gates(declaration, tree)):
        raise DeclarationError(name, hopeless)
    return declaration


def read_document(path_or_text: Path | str, name: str, model: type[Model]) -> Model:
    """As `read_declaration`, for another kind of document."""
    return _read(path_or_text, name, model)[1]


def declaration_digest(declaration: Declaration) -> Digest:
    """SHA-256 of the declaration's canonical JSON: every field, keys sorted, no spaces, UTF-8."""
    facts = declaration.model_dump(mode="json")
    canonical = json.dumps(facts, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return "sha256:" + hashlib.sha256(canonical.encode()).hexdigest()


def _read(path_or_text: Path | str, name: str, model: type[Model]) -> tuple[Tree, Model]:
    tree = read_tree(_text_of(path_or_text, name))
    problems = [*tree.problems, *(_problems(tree, model) if tree.complete else ())]
    if problems:
        raise DeclarationError(name, problems)
    return tree, _validated(tree.root, model)


def _hopeless_gates(declaration: Declaration, tree: Tree) -> Iterator[Problem]:
    """Minimums that no version can ever reach. Not the event's rule: what was declared once stays readable."""
    for metric, value in declaration.gates.minimums.items():
        lower = metric in LOWER_IS_BETTER
        if value < 0 if lower else value > 1:
            location = ("gates", "minimums", metric)
            expected = "0 or more" if lower else "1 or less"
            text = f"found {value:g}, which no version can reach: expected {expected}"
            yield Problem(*tree.values[location], ".".join(location), text)


def _text_of(path_or_text: Path | str, name: str) -> str:
    try:
        data = path_or_text.encode() if isinstance(path_or_text, str) else _head_of(path_or_text)
        if len(data) > LARGEST_BYTES:
            raise _of_whole(name, f"is too large: expected at most {LARGEST_BYTES} bytes")
        return data.decode("utf-8-sig")
    except OSError as error:
        raise _of_whole(name, f"cannot be read: {error.strerror}") from error
    except UnicodeError as error:
        raise _of_whole(name, f"is not text in UTF-8: {error}") from error


def _head_of(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(LARGEST_BYTES + 1)


def _of_whole(name: str, text: str) -> DeclarationError:
    return DeclarationError(name, [Problem(0, 0, "", text)])


def _validated(data: Any, model: type[Model]) -> Model:
    # Strict, so that "0.8" is no number; as JSON, where strict still takes a list for a tuple.
    return model.model_validate_json(json.dumps(data), strict=True)


def _problems(tree: Tree, model: type[BaseModel]) -> Iterator[Problem]:
    if not isinstance(tree.root, dict):
        known = ", ".join(model.model_fields)
        yield Problem(*tree.values[()], "", f"expected a mapping with the keys {known}")
        return
    for error in _all_errors(tree.root, model):
        location = location_of(error)
        if not any(location[: len(spoiled)] == spoiled for spoiled in tree.spoiled):
            yield problem_of(error, tree, model)


def _all_errors(data: dict[str, Any], model: type[BaseModel]) -> Iterator[ErrorDetails]:
    """All errors, also the contradictions that show only once what was wrong before is left out."""
    found = _errors(data, model)
    while found:
        yield from found
        culprits = {_top(location_of(error)) for error in found} & data.keys()
        data = {key: value for key, value in data.items() if key not in culprits}
        found = [error for error in _errors(data, model) if error["type"] == "value_error"] if culprits else []


def _top(location: Location) -> str:
    return str(location[0]) if location else ""


def _errors(data: dict[str, Any], model: type[BaseModel]) -> list[ErrorDetails]:
    try:
        _validated(data, model)
    except ValidationError as error:
        return error.errors(include_url=False)
    return []
