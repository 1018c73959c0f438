"""What this machine has and lacks for running Cairn."""

import os
import shutil
import socket
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from cairn.local import jars, java, packages
from cairn.local.errors import Missing

_OLDEST_PYTHON, _NEWEST_PYTHON = (3, 11), (3, 14)
_NEEDED_BYTES = 2**30
_CONNECT_SECONDS = 3.0


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: whether it will do, what it is, and what a person can do about it if not."""

    name: str
    ok: bool
    detail: str
    cure: str = ""


def check(environment: Mapping[str, str] = os.environ) -> list[Finding]:
    """Look at everything that servers need here. Starts none and fetches nothing. Blocks for a few seconds at most."""
    cache = jars.jar_cache(environment)
    kafka = environment.get("KAFKA_BOOTSTRAP_SERVERS", "")
    return [
        _python(),
        _services(),
        _java(environment),
        _jars("Kafka", jars.kafka_jars(), cache),
        _jars("S3 server", [jars.S3PROXY], cache),
        _space("disk space for the cache", cache, "set CAIRN_CACHE to a folder on another disk"),
        _space("disk space at home", Path.home(), "remove something from this disk"),
        *([_reachable(kafka)] if kafka else []),
    ]


def _python() -> Finding:
    ok = _OLDEST_PYTHON <= sys.version_info[:2] <= _NEWEST_PYTHON
    return Finding("Python", ok, sys.version.split()[0], "" if ok else "use Python 3.11, 3.12, 3.13 or 3.14")


def _services() -> Finding:
    lacking = packages.absent()
    detail = f"not installed: {', '.join(lacking)}" if lacking else "all installed"
    return Finding("services", not lacking, detail, packages.CURE if lacking else "")


def _java(environment: Mapping[str, str]) -> Finding:
    try:
        found = java.find_java(environment)
    except Missing as error:
        return Finding("Java", False, error.what, error.cure)
    return Finding("Java", True, f"{found.version}, from {found.found_in}: {found.path}")


def _jars(name: str, wanted: Iterable[jars.Jar], cache: Path) -> Finding:
    lacking = jars.absent(wanted, cache)
    if not lacking:
        return Finding(name, True, f"kept in {cache}")
    detail = f"{sum(jar.size_bytes for jar in lacking) / 1e6:.0f} MB to be fetched at the first start, into {cache}"
    if find_spec("jgo") is None:
        return Finding(name, False, f"{detail}; but jgo, which fetches it, is not installed", jars.FETCHER_CURE)
    return Finding(name, True, detail)


def _space(name: str, folder: Path, cure: str) -> Finding:
    existing = next(place for place in (folder, *folder.parents) if place.exists())
    free = shutil.disk_usage(existing).free
    ok = free >= _NEEDED_BYTES
    return Finding(name, ok, f"{free / 2**30:.1f} GiB free at {existing}", "" if ok else f"at least 1 GiB: {cure}")


def _reachable(servers: str) -> Finding:
    failures = [f"{server}: {failure}" for server in servers.split(",") if (failure := _failure(server.strip()))]
    ok = len(failures) < len(servers.split(","))
    detail = f"{servers} accepts connections" if not failures else "; ".join(failures)
    cure = "" if ok else "start that Kafka, correct KAFKA_BOOTSTRAP_SERVERS, or unset it to run a local one"
    return Finding("Kafka of KAFKA_BOOTSTRAP_SERVERS", ok, detail, cure)


def _failure(server: str) -> str:
    host, _, port = server.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_SECONDS).close()
    except ValueError:
        return "is not host:port"
    except OSError as error:
        return error.strerror or str(error)
    return ""
