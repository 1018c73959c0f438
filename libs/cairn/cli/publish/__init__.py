"""`cairn publish`: data, labels and outcomes, from files or a database to the events that tell of them."""

import typer

from cairn.cli.publish.dataset import dataset
from cairn.cli.publish.observed import labels, outcomes


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(
        no_args_is_help=True,
        help="Publish data, labels and outcomes.",
        epilog="Example: cairn publish dataset loans.csv --name risk.loans-2026 --version 1",
    )
    group.command(epilog="Example: cairn publish dataset loans.csv --name risk.loans-2026 --version 2026-11-21")(
        dataset
    )
    group.command(epilog="Example: cairn publish labels repaid.csv --model risk.loans --target default")(labels)
    group.command(epilog="Example: cairn publish outcomes losses.csv --model risk.loans --name loss --unit EUR")(
        outcomes
    )
    app.add_typer(group, name="publish")
