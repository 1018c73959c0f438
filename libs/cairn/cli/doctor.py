"""`cairn doctor`: whether this machine has what Cairn needs."""

from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog="Example: cairn doctor")(doctor)


def doctor(as_json: Annotated[bool, typer.Option("--json", help="Answer with JSON.")] = False) -> None:
    """Look at this machine: what is there, what is missing, and the cure. Ends with 1 if something is missing."""
    from dataclasses import asdict

    from cairn.cli.faults import CHECK_FAILED
    from cairn.cli.output import emit_json, emit_table
    from cairn.local.doctor import check

    findings = check()
    if as_json:
        emit_json([asdict(finding) for finding in findings])
    else:
        emit_table([asdict(finding) for finding in findings], styles={"yes": "green", "no": "red"})
    if not all(finding.ok for finding in findings):
        raise typer.Exit(CHECK_FAILED)
