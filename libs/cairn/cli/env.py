"""`cairn env`: where everything is, for a shell."""

from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog='Example: cairn env; eval "$(cairn env)"')(env)


def env(ctx: typer.Context, as_json: Annotated[bool, typer.Option("--json", help="Answer with JSON.")] = False) -> None:
    """Say where everything is, as settings that a shell can take over: `eval "$(cairn env)"`."""
    import os
    import shlex

    from cairn.cli import asking
    from cairn.cli.output import emit, emit_json
    from cairn.context import TRUST_FILE, url_setting

    context = asking.context_of(ctx)
    trust = context.home / TRUST_FILE
    found = {
        "CAIRN_INSTALLATION": context.installation.name,
        "KAFKA_BOOTSTRAP_SERVERS": context.bootstrap_servers,
        "CAIRN_OBJECTS": context.objects_url,
        "CAIRN_TRUST_FILE": os.environ.get("CAIRN_TRUST_FILE") or (str(trust) if trust.exists() else ""),
        url_setting("serving"): context.serving_url,
        **{url_setting(name): url for name, url in context.services.items()},
    }
    known = {name: value for name, value in found.items() if value}
    if as_json:
        emit_json(known)
        return
    for name, value in known.items():
        emit(f"export {name}={shlex.quote(value)}")
