"""Turns what pydantic finds into problems that name a place in the file, what was found and what was expected."""

import difflib
import re
from collections.abc import Iterator
from typing import Any, get_args

from pydantic import BaseModel, TypeAdapter
from pydantic_core import ErrorDetails

from cairn.declaration.problems import Problem
from cairn.declaration.tree import Location, Tree, dotted
from cairn.events.values import Handle, ModelName, Name

_EXPECTED = {
    "string_type": "a text",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "finite_number": "a finite number",
    "tuple_type": "a list",
    "model_type": "a mapping of keys to values",
    "dict_type": "a mapping of keys to values",
    "greater_than": "more than {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "less than {lt}",
    "less_than_equal": "at most {le}",
    "string_too_short": "at least {min_length} character(s)",
    "string_too_long": "at most {max_length} character(s)",
    "too_short": "at least {min_length} of them",
    "too_long": "at most {max_length} of them",
    "literal_error": "{expected}",
}
_ON_A_KEY = "[key]"
_MOST_SHOWN = 20


def location_of(error: ErrorDetails) -> Location:
    """Where an error is. A contradiction is found in the whole; its message begins with the dotted key."""
    location = tuple(part for part in error["loc"] if part != _ON_A_KEY)
    if location or error["type"] != "value_error":
        return location
    return tuple(str(error["ctx"]["error"]).partition(" ")[0].split("."))


def problem_of(error: ErrorDetails, tree: Tree, model: type[BaseModel]) -> Problem:
    """An error in words, at its place."""
    location = location_of(error)
    marks = tree.keys if error["type"] == "extra_forbidden" or _ON_A_KEY in error["loc"] else tree.values
    places = (marks.get(location[:length]) or tree.values.get(location[:length]) for length in _shorter(location))
    return Problem(*next(place for place in places if place), dotted(location), _text(error, location, model))


def _shorter(location: Location) -> Iterator[int]:
    return iter(range(len(location), -1, -1))


def _text(error: ErrorDetails, location: Location, model: type[BaseModel]) -> str:
    kind = error["type"]
    if kind == "missing":
        return f"is missing: expected {_described(location, model)}"
    if kind == "extra_forbidden":
        return f"is not a known key; {_known(location, model)}"
    if kind == "value_error":
        return str(error["ctx"]["error"]).removeprefix(dotted(location) + " ")
    return f"found {_shown(error['input'])}, expected {_expected(error)}"


def _expected(error: ErrorDetails) -> str:
    context, found = error.get("ctx", {}), error["input"]
    if error["type"] == "string_pattern_mismatch":
        return _forms().get(context["pattern"], f"the form {context['pattern']}")
    expected = _EXPECTED.get(error["type"], error["msg"]).format(**context)
    if error["type"] == "literal_error" and isinstance(found, str):
        known = re.findall(r"'([^']*)'", expected)
        near = difflib.get_close_matches(found, known, n=1)
        if len(known) > _MOST_SHOWN:
            expected = f"one of the {len(known)} that there are, such as {known[0]!r}"
        return expected + (f"; did you mean {near[0]!r}?" if near else "")
    if error["type"] == "string_type" and isinstance(found, bool | int | float):
        return expected + " (in quotes, it is one)"
    return expected


def _shown(value: Any) -> str:
    match value:
        case None:
            return "nothing"
        case bool():
            return str(value).lower()
        case dict():
            return "a mapping"
        case list():
            return f"a list of {len(value)}"
        case str() if len(value) > 60:
            return f"a text of {len(value)} characters that begins {value[:40]!r}"
        case str():
            return f"the text {value!r}"
    return f"the number {value}"


def _known(location: Location, model: type[BaseModel]) -> str:
    """What an unknown key may have meant: a key beside it, or one of that name elsewhere."""
    *above, key = location
    here = model_at(tuple(above), model)
    beside = list(here.model_fields) if here else []
    for inside, name in _everywhere(model):
        if key in {name, f"{inside}.{name}"}:
            return f"did you mean {name!r} " + (f"inside {inside!r}?" if inside else "at the top?")
    if near := difflib.get_close_matches(str(key), beside, n=1):
        return f"did you mean {near[0]!r}?"
    return f"known here: {', '.join(beside)}"


def _everywhere(model: type[BaseModel], above: Location = ()) -> Iterator[tuple[str, str]]:
    for name in model.model_fields:
        yield dotted(above), name
        inner = model_at((name,), model)
        if inner is not None:
            yield from _everywhere(inner, (*above, name))


def model_at(location: Location, model: type[BaseModel]) -> type[BaseModel] | None:
    """The model that describes the mapping at a location."""
    found: type[BaseModel] | None = model
    for part in location:
        if isinstance(part, int):  # an entry of a list, whose model was found with the list
            continue
        annotation = found.model_fields[str(part)].annotation if found and part in found.model_fields else None
        kinds = (annotation, *get_args(annotation))
        found = next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)
    return found


def _described(location: Location, model: type[BaseModel]) -> str:
    *above, key = location
    owner = model_at(tuple(above), model)
    described = owner.model_fields[str(key)].description if owner else None
    return (described or "a value").rstrip(".").replace("The ", "the ", 1)


def _forms() -> dict[str, str]:
    parts = "of a-z, 0-9 and '-', each of at most 63 characters, joined by dots, such as"
    kinds = ((ModelName, f"one or two parts {parts} risk.loans"), (Name, f"one to three parts {parts} risk.loans-2026"))
    handle = (Handle, "a handle of a-z, 0-9, '.', '_', '@' and '-', such as ada")
    return {TypeAdapter(kind).json_schema()["pattern"]: words for kind, words in (*kinds, handle)}
