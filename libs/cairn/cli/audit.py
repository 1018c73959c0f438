"""`cairn audit`: whether the log is what was signed."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    from cairn.cli.auditing import Audit, Progress
    from cairn.context import Context
    from cairn.events.signing import Trust

_CHECKPOINT_SECONDS = 15.0
"""Within this time the auditor signs what it has appended, several times over."""
_LOOK_SECONDS = 0.3


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(
        no_args_is_help=True, help="Prove that the log is what it was.", epilog="Example: cairn audit verify"
    )
    group.callback()(_audit)
    group.command(epilog="Example: cairn audit verify --keys trust.json")(verify)
    app.add_typer(group, name="audit")


def _audit() -> None:
    """Prove that the log is what it was."""


def verify(
    ctx: typer.Context,
    keys: Annotated[
        Path | None, typer.Option(help="A trust file with the auditor's key, where that of the home is not trusted.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Answer with JSON.")] = False,
) -> None:
    """Read every record from Kafka, compute every leaf and root anew, and compare with the signed checkpoints.

    Ends with 0 if all is as it was signed, 1 if something was changed, 2 for wrong usage, 3 if Kafka is out of reach,
    4 if records that were signed are gone, 5 if a checkpoint is signed with a key that is not known. What was cut off
    together with its checkpoints cannot be seen: keep the last line and compare.
    """
    import asyncio

    from cairn.cli import asking
    from cairn.cli.auditing import audit
    from cairn.events.signing import Trust

    context = asking.context_of(ctx)
    trusted = Trust.load(keys) if keys else context.trust
    found = asyncio.run(_with_progress(lambda progress: audit(context, _keys_of(trusted), progress)))
    _show(found, as_json=as_json)
    if found.code:
        raise typer.Exit(found.code)


async def verify_context(context: "Context") -> None:
    """Verify all that an installation's log holds, and say so in one line. Raises CheckFailed, and as `audit` does.

    Waits for the auditor to sign what lies there, but not for ever.
    """
    import asyncio
    import time

    from cairn.cli.auditing import audit
    from cairn.cli.faults import CheckFailed
    from cairn.cli.output import emit

    until = time.monotonic() + _CHECKPOINT_SECONDS
    found = await audit(context, _keys_of(context.trust), lambda _done, _total: None)
    sizes = {log.log: log.records for log in found.logs}
    while not found.code and any(log.signed < sizes[log.log] for log in found.logs) and time.monotonic() < until:
        await asyncio.sleep(_LOOK_SECONDS)
        found = await audit(context, _keys_of(context.trust), lambda _done, _total: None)
    if found.code:
        raise CheckFailed(_summary(found))
    emit(_summary(found))


def _keys_of(trust: "Trust | None") -> "tuple[Ed25519PublicKey, ...]":
    from cairn.audit.walk import checkpoint_keys
    from cairn.cli.faults import WrongUsage

    known = checkpoint_keys(trust) if trust else ()
    if not known:
        raise WrongUsage("no key of the auditor is known: set CAIRN_TRUST_FILE, or name a trust file with --keys")
    return known


async def _with_progress(work: "Callable[[Progress], Awaitable[Audit]]") -> "Audit":
    """Do the work, and show on a terminal how far it has come."""
    import sys

    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    quiet = not sys.stderr.isatty()
    with Progress(*columns, console=Console(stderr=True), disable=quiet, transient=True) as bars:
        bar = bars.add_task("records", total=None)
        return await work(lambda done, total: bars.update(bar, completed=done, total=total))


def _show(found: "Audit", *, as_json: bool) -> None:
    from dataclasses import asdict

    from cairn.cli.output import emit, emit_json, emit_table

    rows = [asdict(log) for log in found.logs]
    if as_json:
        emit_json({"verdict": found.verdict, "records": found.records, "unsigned": found.unsigned, "logs": rows})
        return
    holding = [row for row, log in zip(rows, found.logs, strict=True) if log.records or log.problems]
    emit_table(holding, ("log", "records", "signed", "unsigned", "root", "verdict"))
    emit("")
    for log in found.logs:
        for problem in log.problems:
            emit(f"{log.log}: {problem}")
    emit(_summary(found))


def _summary(found: "Audit") -> str:
    counts = f"{_spaced(len(found.logs))} logs, {_spaced(found.records)} records"
    return f"audit: {found.verdict}, {counts}, {_spaced(found.unsigned)} not yet signed"


def _spaced(number: int) -> str:
    return f"{number:,}".replace(",", " ")
