"""`cairn publish dataset`: files go to the object store, and an event tells of them."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from cairn.cli.publish.options import (
    DatabaseOption,
    DryRunOption,
    FormatOption,
    JsonOption,
    QueryOption,
    SpeakerOption,
)

if TYPE_CHECKING:
    from pathlib import Path

    from cairn.cli.publish.sources import Source
    from cairn.events.values import ObjectRef

MEDIA_TYPES = {"csv": "text/csv", "parquet": "application/vnd.apache.parquet"}
"""The formats of datasets and their media types."""

_NO_FILE = {"uri": "file:///", "digest": "sha256:" + "0" * 64, "bytes": 0, "media_type": "text/csv"}


def dataset(
    ctx: typer.Context,
    name: Annotated[str, typer.Option(help="The dataset's name, e.g. risk.loans-2026.")],
    version: Annotated[str, typer.Option(help="What you call this version of it.")],
    sources: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[SOURCE]...",
            help="Its files, all with the same columns: paths, s3://bucket/key, or - for standard input.",
        ),
    ] = None,
    format_: FormatOption = None,
    query: QueryOption = None,
    database: DatabaseOption = None,
    event_source: SpeakerOption = "",
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Upload data and tell everybody that a new version of a dataset can be read.

    Run again after an interruption, only what is missing is uploaded. What lies in a bucket is copied into the object
    store: readers read only there. JSON lines become Parquet: readers of datasets take CSV and Parquet.
    """
    from tempfile import TemporaryDirectory

    from cairn.cli import asking
    from cairn.cli.publish.sending import publish, show
    from cairn.cli.publish.sources import opened
    from cairn.events import DatasetPublished

    # Before anything is fetched or uploaded: a name that cannot be should cost nothing.
    asking.facts_of(DatasetPublished, dataset=name, version=version, files=[_NO_FILE], format="csv")
    with (
        opened(sources or [], format_, query, database) as found,
        TemporaryDirectory(prefix="cairn-publish-") as folder,
    ):
        context = asking.context_of(ctx)
        kind, files = _as_published(found, folder)
        refs = (_describe if dry_run else _upload)(context.objects(), files, MEDIA_TYPES[kind])
        facts = asking.facts_of(DatasetPublished, dataset=name, version=version, files=refs, format=kind)
    if dry_run:
        show(context, [facts], event_source)
        return
    [receipt] = publish(context, [facts], event_source)
    if as_json:
        from cairn.cli.output import emit_json

        told = facts.model_dump(mode="json", exclude_none=True)
        emit_json({"event": receipt.id, "place": asking.place_of(receipt), **told})
    else:
        from cairn.cli.output import emit

        emit(f"published {name} {version}: {asking.place_of(receipt)}")


def _as_published(sources: "list[Source]", folder: str) -> "tuple[str, list[tuple[str, Path]]]":
    """The format in which these sources are published, and their files with what the person calls them."""
    from pathlib import Path

    from cairn.cli.faults import WrongUsage
    from cairn.cli.output import say
    from cairn.cli.publish.tables import write_lines

    kinds = {"parquet" if source.format == "jsonl" else source.format for source in sources}
    if len(kinds) > 1:
        raise WrongUsage("the files are written in different ways: a dataset is all CSV or all Parquet")
    files = []
    for number, source in enumerate(sources):
        path = source.path
        if source.format == "jsonl":
            path = Path(folder) / f"{number}.parquet"
            write_lines(source, path)
            say(f"{source.name} is published as Parquet")
        files.append((source.name, path))
    return kinds.pop(), files


def _describe(url: str, files: "list[tuple[str, Path]]", media_type: str) -> "list[ObjectRef]":
    from cairn.objects import describe_file

    return [describe_file(url, path, media_type) for _, path in files]


def _upload(url: str, files: "list[tuple[str, Path]]", media_type: str) -> "list[Any]":
    import os

    from cairn.cli.faults import WrongUsage
    from cairn.cli.output import say
    from cairn.cli.publish.progress import bar
    from cairn.objects import open_store, read_s3_settings

    try:
        store = open_store(url, s3=read_s3_settings(os.environ))
    except (ValueError, ImportError) as error:
        raise WrongUsage(str(error)) from None
    refs = []
    for name, path in files:
        with bar(name, path.stat().st_size) as progress:
            ref = store.put_file(path, media_type, progress)
        say(f"uploaded {name} ({ref.bytes} bytes)")
        refs.append(ref)
    return refs
