"""Java's properties files."""

from collections.abc import Mapping
from pathlib import Path


def write_properties(file: Path, properties: Mapping[str, object]) -> None:
    """Write a properties file that only its owner can read: there may be secrets in it. Raises OSError."""
    lines = [f"{name}={_escaped(str(value))}\n" for name, value in properties.items()]
    new = file.with_name(file.name + ".new")
    new.unlink(missing_ok=True)
    new.touch(mode=0o600)
    new.write_text("".join(lines), encoding="ascii")
    new.replace(file)


def _escaped(value: str) -> str:
    return "".join(_escaped_unit(unit) for unit in _utf16_units(value))


def _utf16_units(value: str) -> list[int]:
    data = value.encode("utf-16-be")
    return [int.from_bytes(data[index : index + 2]) for index in range(0, len(data), 2)]


def _escaped_unit(unit: int) -> str:
    plain = chr(unit).isalnum() or chr(unit) in "+,-./:;=@_"
    return chr(unit) if unit < 128 and plain else f"\\u{unit:04x}"
