"""The command line of every service: run it, rebuild its store, or print its digest."""

import asyncio
import os
import sys
from collections.abc import Callable, Sequence

from pydantic import ValidationError
from sqlalchemy.exc import OperationalError

from cairn.declaration import DeclarationError
from cairn.events.signing import TrustError
from chassis.database import Database, StoreError
from chassis.definition import Definition
from chassis.digest import combine, digest_tables
from chassis.kafka import KafkaUnreachable, Log
from chassis.logs import configure_logs
from chassis.rebuild import Rebuild
from chassis.service import Service
from chassis.settings import ServiceSettings

OK, USAGE, UNREACHABLE = 0, 2, 3


def main(build: Callable[[ServiceSettings], Definition], settings: type[ServiceSettings]) -> None:
    """Run the command that the arguments name, and exit with its code."""
    sys.exit(run_command(build, settings, sys.argv[1:]))


def run_command(
    build: Callable[[ServiceSettings], Definition], settings: type[ServiceSettings], arguments: Sequence[str]
) -> int:
    """`run` (also without a word), `rebuild`, `digest`, or one of the service's own; returns the exit code."""
    try:
        read = settings.from_environment(dict(os.environ))
        definition = build(read)
        configure_logs(definition.name, read.log_level, read.log_format)
        command, *rest = arguments or ["run"]
        commands: dict[str, Callable[..., int]] = {
            "run": _run,
            "rebuild": _rebuild,
            "digest": _digest,
            **definition.commands,
        }
        if command not in commands:
            print(f"unknown command {command!r}; known are: {', '.join(commands)}", file=sys.stderr)  # noqa: T201 # a message to a person
            return USAGE
        return commands[command](definition, read, *rest)
    except ValidationError as error:
        return _say(_explain_settings(error), USAGE)
    except (StoreError, TrustError, DeclarationError) as error:
        return _say(str(error), USAGE)
    except (KafkaUnreachable, OperationalError) as error:
        return _say(str(error), UNREACHABLE)


def _say(message: str, code: int) -> int:
    print(message, file=sys.stderr)  # noqa: T201 # a message to a person
    return code


def _explain_settings(error: ValidationError) -> str:
    faults = [f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors(include_input=False)]
    return "the environment is not complete or not right: " + "; ".join(faults)


def _run(definition: Definition, settings: ServiceSettings) -> int:
    asyncio.run(Service.build(definition, settings).run())
    return OK


def _rebuild(definition: Definition, settings: ServiceSettings) -> int:
    service = Service.build(definition, settings)
    service.database.take_ownership(exclusive=True)
    asyncio.run(_rebuild_from_log(service))
    digest = combine(digest_tables(service.database, definition.tables.metadata))
    print(f"{definition.name} rebuilt sha256:{digest}")  # noqa: T201 # the command's output
    return OK


async def _rebuild_from_log(service: Service) -> None:
    def show(what: str, done: int, total: int) -> None:
        print(f"\r{what}: {done} of {total} records", end="" if done < total else "\n", file=sys.stderr)  # noqa: T201 # progress

    installation = service.processor.voice.installation
    async with Log.open(service.settings.bootstrap_servers, installation, service.group) as log:
        await Rebuild(service.definition, service.database, service.processor, log, show).run()


def _digest(definition: Definition, settings: ServiceSettings, *flags: str) -> int:
    database = Database(settings.database_url.get_secret_value(), definition.tables)
    tables = digest_tables(database, definition.tables.metadata)
    if "--tables" in flags:
        for name, (digest, count) in tables.items():
            print(f"{name} {count} rows sha256:{digest}")  # noqa: T201 # the command's output
    rows = sum(count for _, count in tables.values())
    print(f"{definition.name} {rows} rows sha256:{combine(tables)}")  # noqa: T201 # the command's output
    return OK
