"""`cairn models`: what the registry knows."""

from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(no_args_is_help=True, help="Look at models.", epilog="Example: cairn models list")
    group.command("list", epilog="Example: cairn models list --json")(list_models)
    group.command(epilog="Example: cairn models show risk.loans")(show)
    app.add_typer(group, name="models")


def list_models(
    ctx: typer.Context, as_json: Annotated[bool, typer.Option("--json", help="Answer with JSON.")] = False
) -> None:
    """All models, each with its champion."""
    from cairn.cli import asking
    from cairn.cli.output import emit_json, emit_table, say
    from cairn.cli.reading import get_list

    url = asking.context_of(ctx).service_url("registry")
    models = get_list(f"{url}/models", "the registry", "models")
    if as_json:
        emit_json(models)
    elif models:
        emit_table(models)
    else:
        say("no model is declared yet: `cairn apply model.yaml`")


def show(
    ctx: typer.Context,
    model: Annotated[str, typer.Argument(help="The model's name.")],
    as_json: Annotated[bool, typer.Option("--json", help="Answer with JSON, the declaration included.")] = False,
) -> None:
    """One model with its versions and promotions."""
    from cairn.cli import asking
    from cairn.cli.output import emit, emit_fields, emit_json, emit_table
    from cairn.cli.reading import get_json, path_part

    url = asking.context_of(ctx).service_url("registry")
    found = get_json(f"{url}/models/{path_part(model)}", "the registry")
    if as_json:
        emit_json(found)
        return
    emit_fields(found)
    for name, rows in found.items():
        if isinstance(rows, list) and rows and isinstance(rows[0], dict):
            emit(f"\n{name}")
            emit_table(rows)
