"""Everything that is generated from the catalogue and committed."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from cairn.events.catalogue import CATALOGUE
from cairn.events.upcasting import VERSIONS
from cairn.schemas.addresses import SCHEMAS, schema_file
from cairn.schemas.asyncapi import asyncapi
from cairn.schemas.events_page import events_page
from cairn.schemas.examples import read_examples, recorded
from cairn.schemas.json_schema import json_schema


def generate(root: Path) -> dict[Path, str]:
    """The content of every generated file, by its path in the repository at `root`.

    Of the repository only the examples are read. Raises ValueError, naming the file, for one that is no message.
    """
    examples = read_examples(root)
    schemas = {name: json_schema(entry, recorded(name, examples)) for name, entry in VERSIONS.entries().items()}
    files = {Path(schema_file(name)): _json(schema) for name, schema in schemas.items()}
    page = events_page({name: schemas[name] for name in CATALOGUE})
    return files | {Path("schemas/asyncapi.yaml"): _yaml(asyncapi(examples)), Path("docs/events.md"): page}


def differences(root: Path, files: Mapping[Path, str]) -> dict[Path, str]:
    """What is wrong with each file on disk: `differs`, `is missing` or `is left over`."""
    wrong = {path: _fault(root / path, content) for path, content in files.items()}
    wrong |= dict.fromkeys(left_over(root, files), "is left over")
    return {path: fault for path, fault in wrong.items() if fault}


def left_over(root: Path, files: Mapping[Path, str]) -> list[Path]:
    """Files that lie among the generated ones and are none of them."""
    found = (path.relative_to(root) for path in (root / SCHEMAS).glob("*"))
    return sorted(path for path in found if path not in files)


def write(root: Path, files: Mapping[Path, str]) -> None:
    """Make the files on disk what they should be."""
    for path, content in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(content, encoding="utf-8")
    for path in left_over(root, files):
        (root / path).unlink()


def _fault(path: Path, content: str) -> str:
    if not path.is_file():
        return "is missing"
    return "" if path.read_bytes() == content.encode() else "differs"


def _json(content: dict[str, Any]) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


class _Dumper(yaml.SafeDumper):
    """Writes everything out where it stands."""

    def ignore_aliases(self, *_: Any) -> bool:
        return True


def _yaml(content: dict[str, Any]) -> str:
    head = "# Generated from the catalogue in libs/cairn/events by `make schemas`.\n"
    return head + yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)
