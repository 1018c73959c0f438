"""`cairn demo`: the whole loop on a real dataset, told as it happens."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from cairn.demo.story import Story
    from cairn.local.stack import Stack


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog="Example: cairn demo --keep")(demo)


def demo(
    ctx: typer.Context,
    keep: Annotated[bool, typer.Option("--keep", help="Leave everything running at the end, until Ctrl-C.")] = False,
    seconds: Annotated[float, typer.Option(min=1, help="Give up after so many seconds.")] = 900.0,
) -> None:
    """Show the whole loop: declared, trained, promoted, live, drifted, retrained, promoted again."""
    import asyncio
    import tempfile

    from rich.console import Console

    console = Console(stderr=True)
    if ctx.obj is not None:
        asyncio.run(_tell(ctx.obj, console, keep=keep, seconds=seconds))
        return
    with tempfile.TemporaryDirectory(prefix="cairn-demo-", ignore_cleanup_errors=True) as home:
        asyncio.run(_tell(Path(home), console, keep=keep, seconds=seconds))


@dataclass(frozen=True, slots=True)
class _Teller:
    console: "Console"

    def say(self, text: str) -> None:
        self.console.print(f"[bold]·[/bold] {text}", highlight=False)

    def say_of(self, name: str, line: str) -> None:
        """Pass on what the stack says of itself, such as that it is stopping; of its processes, nothing."""
        if name == "cairn":
            self.say(f"{line[0].upper()}{line[1:]}.")

    @contextmanager
    def progress(self, what: str, total: int) -> Iterator[Callable[[], None]]:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (TextColumn("  {task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=self.console) as bars:
            bar = bars.add_task(what, total=total)
            yield lambda: bars.advance(bar)


async def _tell(home: Path, console: "Console", *, keep: bool, seconds: float) -> None:
    """Bring everything up, tell the story, show its table, and stop in order; also when it is interrupted."""
    import asyncio

    from cairn.cli.faults import INTERRUPTED, CheckFailed
    from cairn.cli.interrupting import cancel_on_signals
    from cairn.demo.data import load_parts
    from cairn.demo.story import Story
    from cairn.demo.traffic import NoAnswer
    from cairn.demo.watching import StoryStuck
    from cairn.local.packages import refuse_absent
    from cairn.local.stack import Options, Stack

    refuse_absent()
    teller = _Teller(console)
    stack = Stack(Options(home=home, fast_start=True), teller.say_of)
    cancel_on_signals(stack)
    teller.say("Starting Kafka, six services and a serving process.")
    is_told = False
    try:
        parts = await asyncio.to_thread(load_parts)
        async with stack:
            story = Story.of_tumours(stack.context, parts, teller)
            try:
                async with asyncio.timeout(seconds):
                    await story.run()
            except (StoryStuck, NoAnswer, TimeoutError) as error:
                raise CheckFailed(f"the story did not end as it should: {error}\n{_last_logs(home)}") from None
            _show(story)
            await _verify(stack)
            _point_on(home, keep=keep)
            is_told = True
            if keep:
                await stack.run()
    except asyncio.CancelledError:
        if not is_told:
            raise typer.Exit(INTERRUPTED) from None


def _show(story: "Story") -> None:
    """The story as a table: when, since the beginning, what, and in figures."""
    from cairn.cli.output import emit_table
    from cairn.demo.story import TOLD_IN_TABLE

    told = [one for one in story.watch.heard if isinstance(one.facts, TOLD_IN_TABLE)]
    begin = told[0].message.record.timestamp
    emit_table([_row(one, begin) for one in told])


def _row(heard: Any, begin: int) -> dict[str, object]:
    from cairn.cli.wanted import short

    seconds = (heard.message.record.timestamp - begin) / 1000
    return {
        "seconds": f"{seconds:8.2f}",
        "event": short(heard.message.envelope.type),
        "about": heard.message.envelope.subject,
        "what": _describe(heard.facts),
    }


def _describe(facts: Any) -> str:
    """What an event says, in a few words."""
    named = facts.model_dump(mode="json", exclude_none=True)
    plain = ("generation", "revision", "version", "kind", "row_count", "trials", "estimator", "window", "step")
    words = [f"{name.replace('_', ' ')} {named[name]}" for name in plain if name in named]
    model = named.get("model")
    if isinstance(model, dict):
        words.insert(0, f"version {model['version']}")
    metrics = {one["name"]: one["value"] for one in named.get("metrics", [])}
    words += [f"{name} {value:.4f}" for name, value in metrics.items() if name in ("roc_auc", "brier_score")]
    drifted = [one["column"] for one in named.get("drift", []) if one["drifted"]]
    if "drift" in named:
        looked_at = len(named["drift"])  # what tells of a drift names only what drifted
        words.append(f"{len(drifted)} {'' if len(drifted) == looked_at else f'of {looked_at} '}columns drifted")
    return ", ".join(words)


async def _verify(stack: "Stack") -> None:
    from cairn.cli.audit import verify_context

    await verify_context(stack.context)


def _point_on(home: Path, *, keep: bool) -> None:
    from cairn.cli.output import emit

    if keep:
        emit(f"\nEverything is left running. In another terminal:\n  export CAIRN_HOME={home}")
        emit("  cairn models show demo.tumours\n  cairn events tail --follow\n  cairn audit verify\nCtrl-C stops it.")
    else:
        emit("\nLook around with: make demo KEEP=--keep, then .venv/bin/cairn models show demo.tumours")
        emit("Your own model: write model.yaml, then cairn up, cairn apply model.yaml, cairn publish dataset …")


def _last_logs(home: Path) -> str:
    """The last lines of each process, for whoever must find out what went wrong."""
    parts = []
    for log in sorted((home / "logs").glob("*.log")):
        lines = log.read_text(errors="replace").splitlines()[-5:]
        parts.append(f"{log.stem}:\n  " + "\n  ".join(lines))
    return "\n".join(parts)
