"""`cairn publish`: data, from files to an event that names them."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

MEDIA_TYPES = {"csv": "text/csv", "parquet": "application/vnd.apache.parquet"}
"""The formats of datasets and their media types."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    group = typer.Typer(no_args_is_help=True, help="Publish data.")
    group.command(epilog="Example: cairn publish dataset loans.csv --name risk.loans-2026 --version 2026-11-21")(
        dataset
    )
    app.add_typer(group, name="publish")


def dataset(
    ctx: typer.Context,
    files: Annotated[
        list[Path], typer.Argument(help="Its files; all hold the same columns.", exists=True, dir_okay=False)
    ],
    name: Annotated[str, typer.Option(help="The dataset's name, e.g. risk.loans-2026.")],
    version: Annotated[str, typer.Option(help="What you call this version of it.")],
    format_: Annotated[
        Literal["csv", "parquet"] | None, typer.Option("--format", help="Default: as the files are called.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Answer with JSON.")] = False,
) -> None:
    """Upload files and tell everybody that a new version of a dataset can be read."""
    from cairn.cli import asking
    from cairn.cli.output import emit, emit_json
    from cairn.events import DatasetPublished
    from cairn.publisher import SyncPublisher

    kind = format_ or _format_of(files)
    context = asking.context_of(ctx)
    # Before anything is uploaded: a name that cannot be should cost nothing.
    asking.facts_of(DatasetPublished, dataset=name, version=version, files=[_NO_FILE], format=kind)
    uploaded = _upload(context.objects(), files, MEDIA_TYPES[kind])
    facts = asking.facts_of(DatasetPublished, dataset=name, version=version, files=uploaded, format=kind)
    with SyncPublisher(context) as publisher:
        receipt = publisher.publish(facts)
    if as_json:
        emit_json(
            {"event": receipt.id, "place": asking.place_of(receipt), **facts.model_dump(mode="json", exclude_none=True)}
        )
    else:
        emit(f"published {name} {version}: {asking.place_of(receipt)}")


_NO_FILE = {"uri": "file:///", "digest": "sha256:" + "0" * 64, "bytes": 0, "media_type": "text/csv"}


def _format_of(files: list[Path]) -> str:
    from cairn.cli.faults import WrongUsage

    endings = {file.suffix.lower().removeprefix(".") for file in files}
    if len(endings) == 1 and (kind := endings.pop()) in MEDIA_TYPES:
        return kind
    raise WrongUsage("the files' names do not say what they are: add --format csv or --format parquet")


def _upload(url: str, files: list[Path], media_type: str) -> list[Any]:
    import os

    from cairn.cli.output import say
    from cairn.objects import open_store, read_s3_settings

    store = open_store(url, s3=read_s3_settings(os.environ))
    uploaded = []
    for file in files:
        ref = store.put_file(file, media_type)
        say(f"uploaded {file} ({ref.bytes} bytes)")
        uploaded.append(ref)
    return uploaded
