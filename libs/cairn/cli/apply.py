"""`cairn apply`: a model's declaration, from a file to the registry's answer."""

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog="Example: cairn apply model.yaml")(apply)


def apply(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="The declaration, in YAML.")],
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait for the registry's answer.")] = True,
    timeout: Annotated[float, typer.Option(min=0.1, help="How long to wait for it, in seconds.")] = 30.0,
) -> None:
    """Declare a model: the registry takes the declaration over, or says why not."""
    import asyncio

    from cairn.cli import asking
    from cairn.cli.output import emit
    from cairn.declaration import read_declaration
    from cairn.events import DeclarationSubmitted, ModelDeclared, RequestRefused
    from cairn.publisher import SyncPublisher

    declaration = read_declaration(file, str(file))
    context = asking.context_of(ctx)
    request = DeclarationSubmitted(model=declaration.model, declaration=declaration)
    if not wait:
        with SyncPublisher(context) as publisher:
            receipt = publisher.publish(request)
        emit(f"submitted {declaration.model}: {asking.place_of(receipt)}")
        return
    answer = asyncio.run(asking.ask(context, request, "registry", ["registry"], timeout)).facts
    match answer:
        case RequestRefused(reason=reason) if reason.code == "unchanged":
            emit(f"unchanged: {reason.text}")
        case RequestRefused():
            raise asking.refusal(answer)
        case ModelDeclared():
            emit(f"declared {answer.model}, revision {answer.revision}")
        case _:
            emit(f"answered: {type(answer).__name__}")
