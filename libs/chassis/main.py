"""The command line of every service: run it, rebuild its store, or print its digest."""

import argparse
import json
import os
import sys
from collections.abc import Callable, Collection, Sequence
from typing import TypeVar

from sqlalchemy.exc import DBAPIError

from cairn import loop
from cairn.declaration import DeclarationError
from cairn.events.signing import TrustError
from cairn.objects import StoreUnreachable
from chassis.database import Database, StoreError, describe, is_infrastructure
from chassis.definition import Definition
from chassis.digest import combine, digest_tables
from chassis.holding import StoreHeld, StoreReplaced
from chassis.kafka import KafkaUnreachable, Log
from chassis.logs import configure_logs
from chassis.processor import module_of
from chassis.rebuild import Rebuild, show_progress
from chassis.service import Service
from chassis.settings import ServiceSettings, SettingsError

OK, USAGE, UNREACHABLE = 0, 2, 3
_NOT_THERE = {"DATABASE_URL": "sqlite://", "CAIRN_OBJECTS": os.devnull, "CAIRN_KEY_FILE": os.devnull}
Settings = TypeVar("Settings", bound=ServiceSettings)


def main(build: Callable[[Settings], Definition], settings: type[Settings], offline: Collection[str] = ()) -> None:
    """Run the command that the arguments name, and exit with its code. See `run_command`."""
    sys.exit(run_command(build, settings, sys.argv[1:], offline))


def run_command(
    build: Callable[[Settings], Definition],
    settings: type[Settings],
    arguments: Sequence[str],
    offline: Collection[str] = (),
) -> int:
    """`run` (also without a word), `rebuild`, `digest`, or one of the service's own; returns the exit code.

    Commands that are `offline` need neither store nor object store nor key.
    """
    try:
        name, *rest = arguments or ["run"]
        read = settings.from_environment(os.environ, _NOT_THERE if name in offline else {})
        definition = build(read)
        configure_logs(definition.name, read.log_level, read.log_format)
        commands = {"run": _run, "rebuild": _rebuild, "digest": _digest, **definition.commands}
        if name not in commands:
            return _say(f"unknown command {name!r}; known are: {', '.join(commands)}", USAGE)
        return commands[name](definition, read, *rest)
    except (StoreHeld, StoreReplaced) as error:
        return _say(str(error), UNREACHABLE)
    except (SettingsError, StoreError, TrustError, DeclarationError) as error:
        return _say(str(error), USAGE)
    except (KafkaUnreachable, StoreUnreachable) as error:
        return _say(str(error), UNREACHABLE)
    except DBAPIError as error:
        if not is_infrastructure(error):
            raise
        return _say(f"the store that DATABASE_URL names is out of reach: {describe(error)}", UNREACHABLE)


def _say(message: str, code: int) -> int:
    print(message, file=sys.stderr)  # noqa: T201 # a message to a person
    return code


def _parser(definition: Definition, command: Callable[..., int]) -> argparse.ArgumentParser:
    name = command.__name__.removeprefix("_")
    return argparse.ArgumentParser(f"python -P -m {module_of(definition.name)} {name}", description=command.__doc__)


def _run(definition: Definition, settings: ServiceSettings, *arguments: str) -> int:
    """Run the service until it is told to stop."""
    _parser(definition, _run).parse_args(arguments)
    loop.run_program(Service.build(definition, settings).run())
    return OK


def _rebuild(definition: Definition, settings: ServiceSettings, *arguments: str) -> int:
    """Delete the store and make it anew from the log; all replicas must be stopped."""
    _parser(definition, _rebuild).parse_args(arguments)
    service = Service.build(definition, settings)
    service.database.take_ownership(exclusive=True)
    loop.run_program(_rebuild_from_log(service))
    digest = combine(digest_tables(service.database, definition.tables.metadata))
    print(f"{definition.name} rebuilt sha256:{digest}")  # noqa: T201 # the command's output
    return OK


async def _rebuild_from_log(service: Service) -> None:
    installation = service.processor.voice.installation
    servers = service.settings.bootstrap_servers
    async with (
        Log.open(servers, installation, service.group) as log,
        Log.open(servers, installation, isolation_level="read_committed") as heard,
    ):
        rebuild = Rebuild(service.definition, service.database, service.processor, log, heard, show_progress)
        await rebuild.run()
    if rebuild.left_out:
        print(f"{rebuild.left_out} records cannot be handled and are parked now", file=sys.stderr)  # noqa: T201 # a message to a person


def _digest(definition: Definition, settings: ServiceSettings, *arguments: str) -> int:
    """Print one line that is the same for stores that hold the same."""
    parser = _parser(definition, _digest)
    parser.add_argument("--tables", action="store_true", help="a line for each table, too")
    parser.add_argument("--json", action="store_true", help="as JSON, with all tables")
    asked = parser.parse_args(arguments)
    database = Database(settings.database_url.get_secret_value(), definition.tables)
    if not database.has_tables():
        raise StoreError(f"the store has no tables: {definition.name} never ran on it. Is DATABASE_URL right?")
    tables = digest_tables(database, definition.tables.metadata)
    rows = sum(count for _, count in tables.values())
    if asked.json:
        told = {name: {"rows": count, "digest": f"sha256:{digest}"} for name, (digest, count) in tables.items()}
        whole = {"service": definition.name, "rows": rows, "digest": f"sha256:{combine(tables)}", "tables": told}
        print(json.dumps(whole))  # noqa: T201 # the command's output
        return OK
    if asked.tables:
        for name, (digest, count) in tables.items():
            print(f"{name} {count} rows sha256:{digest}")  # noqa: T201 # the command's output
    print(f"{definition.name} {rows} rows sha256:{combine(tables)}")  # noqa: T201 # the command's output
    return OK
