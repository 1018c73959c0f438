"""What is generated from the catalogue lies in the repository as it would be generated now."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from jsonschema import Draft202012Validator

from cairn.events.envelope import schema_address
from cairn.events.values import LARGEST_INTEGER
from cairn.schemas.__main__ import main
from cairn.schemas.generate import differences, generate, write

ROOT = Path(__file__).parents[2]
A_SCHEMA = Path("schemas/json/cairn.model.promoted.v1.json")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    (tmp_path / "schemas").mkdir()
    write(tmp_path, generate(tmp_path))
    return tmp_path


def test_every_generated_file_is_committed_as_it_would_be_generated_now() -> None:
    assert differences(ROOT, generate(ROOT)) == {}


def test_generating_twice_gives_the_same_bytes() -> None:
    assert generate(ROOT) == generate(ROOT)


def test_drift_is_content_with_what_write_wrote(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["drift"], copy) == 0
    assert capsys.readouterr() == ("", "")


def test_drift_names_a_file_that_was_edited_by_hand(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (copy / A_SCHEMA).write_text("{}")
    assert main(["drift"], copy) == 1
    assert capsys.readouterr().err == f"{A_SCHEMA} differs\nrun make schemas\n"


def test_drift_names_a_file_that_is_missing(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (copy / "docs/events.md").unlink()
    assert main(["drift"], copy) == 1
    assert capsys.readouterr().err == "docs/events.md is missing\nrun make schemas\n"


def test_drift_names_the_schema_of_a_type_that_is_no_more(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old = A_SCHEMA.with_name("cairn.model.praised.v1.json")
    (copy / old).write_text("{}")
    assert main(["drift"], copy) == 1
    assert capsys.readouterr().err == f"{old} is left over\nrun make schemas\n"


def test_write_mends_all_of_these_and_says_which(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old = A_SCHEMA.with_name("cairn.model.praised.v1.json")
    (copy / old).write_text("{}")
    (copy / A_SCHEMA).write_text("{}")
    assert main(["write"], copy) == 0
    assert capsys.readouterr().out.splitlines() == [str(A_SCHEMA), str(old)]
    assert main(["drift"], copy) == 0


@pytest.mark.parametrize("arguments", [[], ["read"], ["drift", "twice"]])
def test_other_commands_are_answered_with_the_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments, ROOT) == 2
    assert capsys.readouterr().err.startswith("usage: python -m cairn.schemas {write|drift}")


def test_nothing_is_written_outside_a_repository(tmp_path: Path) -> None:
    assert main(["write"], tmp_path) == 2
    assert list(tmp_path.iterdir()) == []


def test_an_example_that_is_no_message_is_named(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = copy / "schemas/examples/cairn.model.promoted.v1/broken.json"
    broken.parent.mkdir(parents=True)
    broken.write_text('{"topic": "registry"}')
    assert main(["drift"], copy) == 1
    assert f"{broken} is not a recorded message" in capsys.readouterr().err


def fields_of(schema: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    nodes = {"": schema, **{f"{name}.": node for name, node in schema.get("$defs", {}).items()}}
    return [(f"{at}{name}", field) for at, node in nodes.items() for name, field in node.get("properties", {}).items()]


def holds_objects(field: dict[str, Any], schema: dict[str, Any]) -> bool:
    """Whether a field holds value objects, whose own fields are shown in the same file."""
    if "$ref" in field:
        return "properties" in schema["$defs"][field["$ref"].rpartition("/")[2]]
    inner = [*field.get("anyOf", ()), *([field["items"]] if "items" in field else ())]
    return any(holds_objects(one, schema) for one in inner)


@pytest.mark.parametrize("path", sorted((ROOT / "schemas/json").glob("*.json")), ids=lambda path: path.stem)
def test_every_field_says_what_it_is_and_shows_it(path: Path) -> None:
    schema = json.loads(path.read_bytes())
    assert [name for name, field in fields_of(schema) if not field.get("description")] == []
    unshown = [
        name for name, field in fields_of(schema) if not field.get("examples") and not holds_objects(field, schema)
    ]
    assert unshown == []


@pytest.mark.parametrize("path", sorted((ROOT / "schemas/json").glob("*.json")), ids=lambda path: path.stem)
def test_what_a_field_shows_is_allowed(path: Path) -> None:
    schema = json.loads(path.read_bytes())
    for name, field in fields_of(schema):
        for shown in field.get("examples", ()):
            validator = Draft202012Validator({**field, "$defs": schema.get("$defs", {})})
            assert validator.is_valid(shown), (name, shown)


@pytest.mark.parametrize("path", sorted((ROOT / "schemas/json").glob("*.json")), ids=lambda path: path.stem)
def test_events_name_their_schema_by_an_absolute_uri(path: Path) -> None:
    schema = json.loads(path.read_bytes())
    assert schema["$id"] == schema_address(schema["x-type"])
    assert urlsplit(schema["$id"]).scheme == "urn"


@pytest.mark.parametrize("path", sorted((ROOT / "schemas/json").glob("*.json")), ids=lambda path: path.stem)
def test_what_the_page_says_of_all_fields_is_true(path: Path) -> None:
    schema = json.loads(path.read_bytes())
    for name, field in fields_of(schema):
        for kind in [field, field.get("items", {}), *field.get("anyOf", ())]:
            if kind.get("type") == "integer":
                assert -LARGEST_INTEGER <= kind["minimum"] <= kind["maximum"] <= LARGEST_INTEGER, name
        if "$ref" in field and "default" in field:
            fields = schema["$defs"][field["$ref"].rpartition("/")[2]]["properties"]
            own = {
                inner: one.get("default", {} if one.get("type") == "object" else None) for inner, one in fields.items()
            }
            assert field["default"] == own, name


def test_a_schema_says_who_may_send_it() -> None:
    schema = json.loads((ROOT / A_SCHEMA).read_bytes())
    assert schema["x-owner"] == "registry"
    assert "Only registry sends it." in schema["description"]
