"""The recorded messages below `schemas/examples`: committed data, readable for ever."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cairn.events.codec import Record

FOLDER = Path("schemas/examples")
ORDINARY = "ordinary"
"""The example of a type that shows it best."""


@dataclass(frozen=True, slots=True)
class Example:
    """One recorded message, in CloudEvents' binary mode."""

    type: str
    """Its type: the folder that it lies in."""
    name: str
    """What is told by it: the file's name."""
    topic: str
    """Without the installation's prefix."""
    key: str
    headers: dict[str, str]
    value: dict[str, Any]

    @property
    def value_bytes(self) -> bytes:
        """The payload as it lay in Kafka: JSON without spaces, the fields in the file's order."""
        return json.dumps(self.value, ensure_ascii=False, separators=(",", ":")).encode()

    def record(self, timestamp: int = 0) -> Record:
        """The message as a consumer gets it."""
        headers = tuple((name, text.encode()) for name, text in self.headers.items())
        return Record(self.topic, 0, 0, timestamp, self.key.encode(), headers, self.value_bytes)


def read_example(path: Path) -> Example:
    """One recorded message; raises ValueError that names the file."""
    try:
        content = json.loads(path.read_bytes())
        return Example(type=path.parent.name, name=path.stem, **content)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path} is not a recorded message: {error}") from None


def read_examples(root: Path) -> tuple[Example, ...]:
    """Every recorded message in the repository at `root`, by type and name."""
    return tuple(read_example(path) for path in sorted((root / FOLDER).glob("*/*.json")))


def recorded(type_name: str, examples: Iterable[Example]) -> list[dict[str, Any]]:
    """The recorded payloads of a type, the ordinary one first."""
    of_type = [one for one in examples if one.type == type_name]
    return [one.value for one in sorted(of_type, key=lambda one: (one.name != ORDINARY, one.name))]
