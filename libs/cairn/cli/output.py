"""How commands speak: data on stdout, messages on stderr, nothing that a terminal could take for an order."""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any


class ClosedPipe(Exception):
    """Nobody reads the output any more."""


def emit(text: str) -> None:
    """Write a line of data. Raises ClosedPipe when nobody reads it, OSError for a full disk."""
    try:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        raise ClosedPipe from None


def emit_json(value: object) -> None:
    """Write data for programs: one JSON document."""
    emit(json.dumps(value, indent=2))


def emit_line(value: object) -> None:
    """Write data for programs: one line of JSON Lines."""
    emit(json.dumps(value, separators=(",", ":")))


def emit_table(
    rows: Sequence[Mapping[str, Any]], columns: Sequence[str] = (), styles: Mapping[str, str] | None = None
) -> None:
    """Write rows for people; `styles` says how certain values look on a terminal.

    Without `columns`, those of the first row that hold no lists or mappings.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    names = columns or [name for name, value in rows[0].items() if not isinstance(value, list | dict)]
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in names:
        table.add_column(name.replace("_", " "), overflow="fold")
    for row in rows:
        texts = [cell(row.get(name)) for name in names]
        table.add_row(*(Text(text, (styles or {}).get(text, "")) for text in texts))
    terminal = sys.stdout.isatty()
    console = Console() if terminal else Console(width=1000)
    with console.capture() as captured:
        console.print(table)
    emit("\n".join(line.rstrip() for line in captured.get().splitlines()))


def emit_fields(fields: Mapping[str, Any]) -> None:
    """Write one thing for people: a line for each of its plain fields."""
    plain = {name: value for name, value in fields.items() if not isinstance(value, list | dict)}
    width = max(map(len, plain), default=0)
    for name, value in plain.items():
        emit(f"{name.replace('_', ' '):{width}}  {cell(value)}")


def cell(value: object) -> str:
    """A value as a person reads it: one line, printable characters only."""
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:.6g}"
    return "".join(one if one.isprintable() else f"\\x{ord(one):02x}" for one in str(value))


def say(text: str) -> None:
    """Write a message for the person, on stderr."""
    lines = [cell(line) for line in text.splitlines()]
    with suppress(OSError):  # a person who closed stderr does not want it
        sys.stderr.write("\n".join(lines) + "\n")
        sys.stderr.flush()


def open_closed_streams() -> None:
    """Let a program that was started without stdout or stderr speak into the void."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 # for as long as we run


def silence() -> None:
    """Send what is still buffered for stdout to nowhere, so that the end of the process says nothing about it."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
