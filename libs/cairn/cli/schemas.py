"""`cairn schemas`: what is promised to outsiders."""

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(
        no_args_is_help=True,
        help="Look after the schemas that outsiders rely on.",
        epilog="Example: cairn schemas check",
    )
    group.callback()(_schemas)
    group.command(epilog="Example: cairn schemas check --against HEAD")(check)
    app.add_typer(group, name="schemas")


def _schemas() -> None:
    """Look after the schemas that outsiders rely on."""


def check(
    against: Annotated[
        str,
        typer.Option(help="A git revision, or a folder. Default: every tag v*, else the first commit with schemas."),
    ] = "",
    folder: Annotated[Path, typer.Option(help="The schemas to judge.")] = Path("schemas"),
    as_json: Annotated[bool, typer.Option("--json", help="Answer with JSON.")] = False,
) -> None:
    """Say which change of the schemas breaks whom, and the cure; ends with 1 if any does."""
    from cairn.cli.faults import CheckFailed, WrongUsage
    from cairn.cli.output import emit, emit_json, say
    from cairn.schemas.compatibility import as_rows, find_breaks
    from cairn.schemas.revisions import NoContract, read_folder, read_revision, released_revisions

    found = {}
    try:
        now = read_folder(folder)
        root = folder.resolve().parent
        for before in [against] if against else released_revisions(root):
            old = read_folder(Path(before)) if Path(before).is_dir() else read_revision(root, before)
            found[before] = find_breaks(old, now)
    except NoContract as error:
        raise WrongUsage(str(error)) from None
    if as_json:
        emit_json({before: as_rows(breaks) for before, breaks in found.items()})
    for before, breaks in found.items():
        for one in breaks if not as_json else ():
            emit(f"since {before}: {one}")
        say(f"compared {len(now.schemas)} types with {before}: {len(breaks) or 'no'} breaking changes")
    if any(found.values()):
        raise CheckFailed("somebody would suffer from these changes")
