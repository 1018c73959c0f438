"""Rows made into events of labels or outcomes: each row checked, as many in an event as it may hold."""

import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from pydantic import ValidationError

from cairn.cli.asking import facts_of
from cairn.cli.faults import WrongUsage
from cairn.cli.publish.rows import Cells, Row, read_rows
from cairn.cli.publish.sources import Source
from cairn.events import TOPICS, LabelsObserved, OutcomesObserved
from cairn.events.instants import parse_instant
from cairn.events.labels import Label, Outcome

Observed = LabelsObserved | OutcomesObserved
Item = Label | Outcome

COLUMNS = ("prediction_id", "entity", "start_at", "end_at", "value", "observed_at", "revision", "retracted")
"""What a row may hold."""

_ITEM_OF: dict[type[Observed], type[Item]] = {LabelsObserved: Label, OutcomesObserved: Outcome}
_MOST_ITEMS = 1000
_MOST_FAULTS = 20
_INSTANTS = ("start_at", "end_at", "observed_at")
_TRUTH = re.compile(r"true|false", re.IGNORECASE)
_INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,999})")
_NUMBER = re.compile(r"-?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")


def make_events(kind: type[Observed], about: dict[str, str], source: Source) -> list[Observed]:
    """All events that tell what a source holds. Raises WrongUsage, naming file, line and column of what is wrong."""
    rows = list(read_rows(source))
    if not rows:
        raise WrongUsage(f"{source.name}: there are no rows")
    _refuse_strangers(source, rows)
    if source.format == "csv":
        rows = _typed(rows)
    items, faults = [], []
    for row in rows:
        try:
            items.append(_ITEM_OF[kind].model_validate(_fields(row.cells)))
        except ValidationError as error:
            faults += [f"{source.name}:{row.line}: {text}" for text in _explain(error)]
        except ValueError as error:
            faults.append(f"{source.name}:{row.line}: {error}")
    if faults:
        more = [f"and {len(faults) - _MOST_FAULTS} more"] if len(faults) > _MOST_FAULTS else []
        raise WrongUsage("\n".join([*faults[:_MOST_FAULTS], *more, "nothing was published"]))
    return [facts_of(kind, **about, items=tuple(batch)) for batch in _batches(kind, about, items)]


def _refuse_strangers(source: Source, rows: Sequence[Row]) -> None:
    for row in rows:
        for name in row.cells:
            if name not in COLUMNS:
                raise WrongUsage(
                    f"{source.name}:{row.line}: there is no column {name!r} here; a row holds {', '.join(COLUMNS)}"
                )


def _typed(rows: Sequence[Row]) -> list[Row]:
    """Values of CSV as truths or numbers where all of them are."""
    texts = [str(row.cells["value"]) for row in rows if "value" in row.cells]
    read: Any = str
    if all(map(_TRUTH.fullmatch, texts)):
        read = lambda text: text.lower() == "true"  # noqa: E731 # one of four readings
    elif all(map(_INTEGER.fullmatch, texts)):
        read = int
    elif all(map(_NUMBER.fullmatch, texts)):
        read = _number
    return [
        row._replace(cells=row.cells | {"value": read(row.cells["value"])}) if "value" in row.cells else row
        for row in rows
    ]


def _number(text: str) -> Decimal:
    """A number; infinity, which is refused at its line, for an exponent that not even a Decimal can hold."""
    try:
        return Decimal(text)
    except InvalidOperation:
        return Decimal("Infinity")


def _fields(cells: Cells) -> dict[str, Any]:
    """A row as the contract has it. Raises ValueError, naming the column."""
    fields = {name: _plain(name, cell) for name, cell in cells.items()}
    for name in _INSTANTS:
        if name in fields:
            fields[name] = _instant(name, fields[name])
    if "value" not in fields and "observed_at" in fields:
        if not _is_true(fields.get("retracted", False)):
            raise ValueError("value: is empty; only a row that is retracted may be without")
        fields["value"] = None
    ends = {name: fields.pop(name) for name in ("start_at", "end_at") if name in fields}
    return fields | {"period": ends} if ends else fields


def _plain(name: str, cell: Any) -> Any:
    """What JSON can hold. Raises ValueError for a whole number that it cannot."""
    if isinstance(cell, int | Decimal) and _is_rounded(Decimal(cell)):
        raise ValueError(f"{name}: {str(cell)[:40]} would be rounded, for numbers in JSON are doubles: make it a text")
    return float(cell) if isinstance(cell, Decimal) else cell


def _is_rounded(number: Decimal) -> bool:
    return number == number.to_integral_value() != Decimal(float(number))


def _is_true(cell: object) -> bool:
    return cell is True or str(cell).lower() in ("true", "1", "yes")


def _instant(name: str, cell: object) -> datetime:
    found = cell if isinstance(cell, datetime) else parse_instant(str(cell))
    if found is None or found.tzinfo is None:
        raise ValueError(f"{name}: {str(cell)[:40]!r} is no instant with its offset, such as 2026-11-21T12:00:00Z")
    return found


def _explain(error: ValidationError) -> Iterator[str]:
    for fault in error.errors(include_url=False, include_input=False):
        path = [str(part) for part in fault["loc"] if part != "period"]
        column = path[0] if path else "period" if fault["loc"] else "prediction_id"
        yield f"{column}: {fault['msg'].removeprefix('Value error, ')}"


def _batches(kind: type[Observed], about: dict[str, str], items: Sequence[Item]) -> Iterator[list[Item]]:
    """Items in their order, as many together as an event may hold by number and size."""
    empty = len(facts_of(kind, **about, items=items[:1]).model_dump_json().encode()) - _bytes_of(items[0])
    most = TOPICS["labels"].max_value_bytes
    batch: list[Item] = []
    size = empty
    for item in items:
        more = _bytes_of(item) + 1
        if batch and (len(batch) == _MOST_ITEMS or size + more > most):
            yield batch
            batch, size = [], empty
        batch.append(item)
        size += more
    yield batch


def _bytes_of(item: Item) -> int:
    return len(item.model_dump_json().encode())
