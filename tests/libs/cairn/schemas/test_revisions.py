"""What the schemas are compared with: a folder, a revision, what was released; and the command that says so."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from cairn.cli import run

SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
NARROWER = SCHEMA | {"properties": {"a": {"type": "integer", "minimum": 0}}}


def git(root: Path, *arguments: str) -> None:
    who = ["-c", "user.name=ada", "-c", "user.email=ada@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", "-C", str(root), *who, *arguments], check=True, capture_output=True)


def write_schema(root: Path, schema: Any) -> None:
    path = root / "schemas/json/cairn.thing.happened.v1.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(schema))


def commit(root: Path, schema: Any, tag: str = "") -> None:
    write_schema(root, schema)
    git(root, "add", "-A")
    git(root, "commit", "--allow-empty", "-m", "schemas")
    if tag:
        git(root, "tag", tag)


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "repository"
    root.mkdir()
    git(root, "init", "--initial-branch=main")
    git(root, "commit", "--allow-empty", "-m", "nothing yet")
    monkeypatch.chdir(root)
    return root


def test_without_a_tag_the_first_commit_with_schemas_counts(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    commit(repository, SCHEMA)
    commit(repository, NARROWER)
    write_schema(repository, NARROWER)
    assert run(["schemas", "check"]) == 1
    said = capsys.readouterr()
    assert "cairn.thing.happened.v1 a: minimum was not given, is 0: breaks the writer" in said.out
    assert "compared 1 types with" in said.err


def test_every_tag_counts_and_is_named(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    commit(repository, SCHEMA, tag="v1.9.0")
    commit(repository, NARROWER, tag="v1.10.0")
    assert run(["schemas", "check"]) == 1
    said = capsys.readouterr()
    assert said.err.splitlines()[:2] == [
        "compared 1 types with v1.10.0: no breaking changes",
        "compared 1 types with v1.9.0: 1 breaking changes",
    ]
    assert said.out.startswith("since v1.9.0: ")


def test_a_change_is_seen_before_it_is_committed(repository: Path) -> None:
    commit(repository, SCHEMA, tag="v1.0.0")
    assert run(["schemas", "check"]) == 0
    write_schema(repository, NARROWER)
    assert run(["schemas", "check"]) == 1


def test_a_revision_may_be_named(repository: Path) -> None:
    commit(repository, SCHEMA)
    commit(repository, NARROWER)
    assert run(["schemas", "check", "--against", "HEAD"]) == 0
    assert run(["schemas", "check", "--against", "HEAD~1"]) == 1


def test_a_folder_may_be_named(repository: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_schema(tmp_path, SCHEMA)
    write_schema(repository, NARROWER)
    assert run(["schemas", "check", "--against", str(tmp_path / "schemas"), "--json"]) == 1
    (breaks,) = json.loads(capsys.readouterr().out).values()
    assert breaks[0] | {"cure": ""} == {
        "type": "cairn.thing.happened.v1",
        "path": "a",
        "change": "minimum was not given, is 0",
        "breaks": "writer",
        "cure": "",
    }


def test_a_history_that_is_missing_fails(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    commit(repository, SCHEMA, tag="v1.0.0")
    commit(repository, SCHEMA)
    shallow = tmp_path / "shallow"
    git(tmp_path, "clone", "--depth=1", f"file://{repository}", str(shallow))
    monkeypatch.chdir(shallow)
    assert run(["schemas", "check"]) == 3
    assert "git fetch --unshallow --tags" in capsys.readouterr().err


def test_outside_a_repository_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_schema(tmp_path, SCHEMA)
    monkeypatch.chdir(tmp_path)
    assert run(["schemas", "check"]) == 3
    assert "not a git repository" in capsys.readouterr().err


@pytest.mark.parametrize("against", ["v9.9.9", "no/such/folder"])
def test_a_revision_that_is_none_is_named(repository: Path, against: str, capsys: pytest.CaptureFixture[str]) -> None:
    commit(repository, SCHEMA)
    assert run(["schemas", "check", "--against", against]) == 2
    assert against in capsys.readouterr().err


@pytest.mark.parametrize("content", [b'{"a": ', b'"\xff"', b"[]"])
def test_a_file_that_is_no_schema_is_named(
    repository: Path, tmp_path: Path, content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    commit(repository, SCHEMA)
    write_schema(tmp_path, SCHEMA)
    [file] = (tmp_path / "schemas" / "json").iterdir()
    file.write_bytes(content)

    assert run(["schemas", "check", "--against", str(tmp_path / "schemas")]) == 2

    assert f"{file} is no schema" in capsys.readouterr().err


def test_a_reference_to_nothing_is_named(repository: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    commit(repository, SCHEMA)
    write_schema(tmp_path, SCHEMA | {"properties": {"a": {"$ref": "#/$defs/Nowhere"}}})

    assert run(["schemas", "check", "--against", str(tmp_path / "schemas")]) == 2

    assert "refers to #/$defs/Nowhere, which it does not define" in capsys.readouterr().err


def test_a_folder_without_schemas_is_wrong_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["schemas", "check", "--folder", str(tmp_path)]) == 2
    assert "holds no schemas" in capsys.readouterr().err
