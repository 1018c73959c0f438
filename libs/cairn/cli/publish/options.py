"""The options that all of `cairn publish` have in common."""

from typing import Annotated, Literal

import typer

Format = Literal["csv", "parquet", "jsonl"]

FormatOption = Annotated[
    Format | None,
    typer.Option("--format", help="How it is written. Default: as its name ends; standard input needs it."),
]
QueryOption = Annotated[
    str | None,
    typer.Option(
        metavar="SQL",
        help="Instead of a SOURCE: what this query answers, as Parquet. Give it an ORDER BY, and the "
        "same rows are the same bytes.",
    ),
]
DatabaseOption = Annotated[
    str | None,
    typer.Option(
        metavar="URI",
        help="The database of --query: postgresql://user@host/name (the password in ~/.pgpass) or sqlite:///file.",
    ),
]
SpeakerOption = Annotated[
    str, typer.Option("--event-source", help="Who says it. Default: what your key stands for; needed without a key.")
]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Print the events, one JSON a line; upload and send nothing.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Answer with JSON.")]
