"""Reads the schemas as they were: from a folder, or from a revision of the repository."""

import io
import json
import subprocess
import tarfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from cairn.schemas.compatibility import Contract

_FOLDER = "schemas"


class HistoryMissing(Exception):
    """There is nothing to compare with; the message says what to do."""


class NoContract(ValueError):
    """What was named holds no schemas."""


def read_folder(folder: Path) -> Contract:
    """The contract in a folder such as `schemas`. Raises NoContract."""
    files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.glob("**/*.json")}
    return _contract(files, f"{folder}/")


def read_revision(root: Path, revision: str) -> Contract:
    """The contract in a revision of the repository at `root`. Raises NoContract, HistoryMissing."""
    tree = f"{revision}:{_FOLDER}"
    if not _knows(root, tree):
        raise NoContract(f"{revision} is neither a folder nor a revision with a folder {_FOLDER}")
    archive = _git_bytes(root, "archive", "--format=tar", tree)
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        names = [member.name for member in tar.getmembers() if member.isfile() and member.name.endswith(".json")]
        files = {name: _content(tar, name) for name in names}
    return _contract(files, f"{tree}/")


def released_revisions(root: Path) -> list[str]:
    """What the tree must stay compatible with, the last first: every `v*` tag, else the first commit with schemas.

    Raises HistoryMissing where the history does not tell.
    """
    if _git(root, "rev-parse", "--is-shallow-repository") == "true":
        raise HistoryMissing("this clone has not the whole history: `git fetch --unshallow --tags`")
    tags = _git(root, "tag", "--list", "v*", "--merged", "HEAD", "--sort=-v:refname").splitlines()
    if tags:
        return tags
    commits = _git(root, "log", "--reverse", "--format=%H", "--diff-filter=A", "--", f"{_FOLDER}/json").splitlines()
    if not commits:
        raise HistoryMissing(f"the history has neither a tag v* nor a commit with {_FOLDER}/json")
    return [commits[0][:12]]


def _contract(files: Mapping[str, bytes], place: str) -> Contract:
    """What the files of a place hold; `place` ends so that a file's name can follow."""
    objects = {name: _object(content, f"{place}{name}") for name, content in files.items()}
    schemas = {Path(name).stem: schema for name, schema in objects.items() if name.startswith("json/")}
    if not schemas:
        raise NoContract(f"{place} holds no schemas: a folder json with a file for each type is wanted")
    for name, schema in schemas.items():
        if missing := _references(schema) - {f"#/$defs/{one}" for one in schema.get("$defs", {})}:
            raise NoContract(f"{place}json/{name}.json refers to {min(missing)}, which it does not define")
    return Contract(schemas, {name: text.decode() for name, text in files.items() if name.startswith("examples/")})


def _references(node: Any) -> set[str]:
    """All that the parts of a schema refer to."""
    parts = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    own = {node["$ref"]} if isinstance(node, dict) and isinstance(node.get("$ref"), str) else set()
    return own.union(*map(_references, parts))


def _object(content: bytes, name: str) -> dict[str, Any]:
    try:
        found = json.loads(content.decode())
    except ValueError as error:
        raise NoContract(f"{name} is no schema and no example: {error}") from None
    if not isinstance(found, dict):
        raise NoContract(f"{name} is no schema and no example: it is no JSON object")
    return found


def _content(tar: tarfile.TarFile, name: str) -> bytes:
    file = tar.extractfile(name)
    assert file is not None, name
    return file.read()


def _knows(root: Path, tree: str) -> bool:
    _git(root, "rev-parse", "--git-dir")
    with suppress(HistoryMissing):
        return bool(_git(root, "rev-parse", "--verify", "--end-of-options", tree))
    return False


def _git(root: Path, *arguments: str) -> str:
    return _git_bytes(root, *arguments).decode().strip()


def _git_bytes(root: Path, *arguments: str) -> bytes:
    command = ["git", "-C", str(root), *arguments]
    try:
        return subprocess.run(command, check=True, capture_output=True).stdout  # noqa: S603 # no shell, our own words
    except FileNotFoundError:
        raise HistoryMissing("git is not installed: it is needed to read older schemas") from None
    except subprocess.CalledProcessError as error:
        said = error.stderr.decode(errors="replace").strip().removeprefix("fatal: ")
        raise HistoryMissing(f"git: {said}") from None
