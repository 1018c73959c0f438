"""`cairn status`: whether everything runs and is ready."""

from typing import Annotated, Any

import typer

_STYLES = {"ready": "green", "not ready": "yellow", "out of reach": "red", "given up": "red"}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog="Example: cairn status --json")(status)


def status(
    ctx: typer.Context, as_json: Annotated[bool, typer.Option("--json", help="Answer with JSON.")] = False
) -> None:
    """Ask each service whether it is ready.

    Ends with 1 if one is not or was given up by `cairn up`, with 3 if one does not answer.
    """
    from cairn.cli import asking
    from cairn.cli.faults import CHECK_FAILED, OUT_OF_REACH
    from cairn.cli.output import emit_json, emit_table, say

    context = asking.context_of(ctx)
    asked = {**context.services, **({"serving": context.serving_url} if context.serving_url else {})}
    if not asked:
        say(f"Kafka is at {context.bootstrap_servers}, but no service's address is known: set CAIRN_REGISTRY_URL, …")
        raise typer.Exit(OUT_OF_REACH)
    found = [_look(name, url, context.given_up.get(name)) for name, url in asked.items()]
    if as_json:
        emit_json(found)
    else:
        emit_table([{**one, "reasons": "; ".join(one["reasons"])} for one in found], styles=_STYLES)
    states = {one["state"] for one in found}
    if states != {"ready"}:
        raise typer.Exit(OUT_OF_REACH if "out of reach" in states else CHECK_FAILED)


def _look(name: str, url: str, given_up: str | None) -> dict[str, Any]:
    from cairn.cli.faults import OutOfReach
    from cairn.cli.reading import exchange

    path = "/v2/health/ready" if name == "serving" else "/readyz"
    try:
        code, answer = exchange("GET", f"{url}{path}", name)
    except OutOfReach as error:
        state, reason = ("given up", given_up) if given_up else ("out of reach", str(error))
        return {"service": name, "state": state, "url": url, "reasons": [reason]}
    reasons = answer.get("reasons", []) if isinstance(answer, dict) else []
    return {"service": name, "state": "ready" if code < 300 else "not ready", "url": url, "reasons": reasons}
