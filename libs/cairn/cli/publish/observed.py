"""`cairn publish labels` and `cairn publish outcomes`: what became of what was predicted."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from cairn.cli.publish.options import (
    DatabaseOption,
    DryRunOption,
    Format,
    FormatOption,
    JsonOption,
    QueryOption,
    SpeakerOption,
)

if TYPE_CHECKING:
    from cairn.cli.publish.observations import Observed
    from cairn.events import LabelsObserved, OutcomesObserved

_SOURCE_HELP = "A file with one row for each, s3://bucket/key, or - for standard input."
_Source = Annotated[str | None, typer.Argument(metavar="[SOURCE]", help=_SOURCE_HELP)]
_Model = Annotated[str, typer.Option(help="The model that predicted.")]


def labels(
    ctx: typer.Context,
    model: _Model,
    target: Annotated[str, typer.Option(help="The column that was predicted.")],
    source: _Source = None,
    format_: FormatOption = None,
    query: QueryOption = None,
    database: DatabaseOption = None,
    event_source: SpeakerOption = "",
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Tell the true answers to earlier predictions.

    Columns: prediction_id, or entity with start_at and end_at; value; observed_at, with its time zone; and where they
    are needed revision (the highest wins) and retracted. In CSV, values are numbers or truths where all of them are.
    Every row is checked before the first event goes.
    """
    from cairn.events import LabelsObserved

    events = _read_events(LabelsObserved, {"model": model, "target": target}, source, format_, query, database)
    _tell(ctx, events, event_source, dry_run, as_json)


def outcomes(
    ctx: typer.Context,
    model: _Model,
    name: Annotated[str, typer.Option(help="Which figure, e.g. loss.")],
    unit: Annotated[str, typer.Option(help="Its unit: UCUM, or a currency in ISO 4217.")],
    source: _Source = None,
    format_: FormatOption = None,
    query: QueryOption = None,
    database: DatabaseOption = None,
    event_source: SpeakerOption = "",
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Tell business figures that followed from earlier predictions.

    Columns: prediction_id, or entity with start_at and end_at; value, a number; observed_at, with its time zone; and
    where they are needed revision (the highest wins) and retracted. Every row is checked before the first event goes.
    """
    from cairn.events import OutcomesObserved

    about = {"model": model, "name": name, "unit": unit}
    events = _read_events(OutcomesObserved, about, source, format_, query, database)
    _tell(ctx, events, event_source, dry_run, as_json)


def _read_events(
    kind: "type[LabelsObserved | OutcomesObserved]",
    about: dict[str, str],
    source: str | None,
    format_: Format | None,
    query: str | None,
    database: str | None,
) -> "list[Observed]":
    from cairn.cli.publish.observations import make_events
    from cairn.cli.publish.sources import opened

    with opened([source] if source else [], format_, query, database, instants=True) as [found]:
        return make_events(kind, about, found)


def _tell(ctx: typer.Context, events: "Sequence[Observed]", event_source: str, dry_run: bool, as_json: bool) -> None:
    from cairn.cli import asking
    from cairn.cli.output import emit, emit_json
    from cairn.cli.publish.sending import publish, show

    context = asking.context_of(ctx)
    if dry_run:
        show(context, events, event_source)
        return
    receipts = publish(context, events, event_source)
    count = sum(len(event.items) for event in events)
    if as_json:
        told = [{"event": receipt.id, "place": asking.place_of(receipt)} for receipt in receipts]
        emit_json({"items": count, "events": told})
    else:
        first, last = asking.place_of(receipts[0]), asking.place_of(receipts[-1])
        emit(f"published {count} in {len(events)} events: {first}{f' to {last}' if len(events) > 1 else ''}")
