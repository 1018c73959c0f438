"""The programs that run on Java: pinned by digest, fetched once, kept for this user."""

import hashlib
import os
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from cairn.local.errors import Missing

_THREADS = 8
_ATTEMPTS = 3
_PAUSE_SECONDS = 1.0

FETCHER_CURE = "pip install jgo, which fetches jars"

_CURE = (
    "jars are fetched once from the Maven registry; look at the network, and where a mirror must be used, name it "
    "`central` under [repositories] in jgo's configuration file (~/.config/jgo.conf); then try again"
)

Arrival = Callable[[int], None]
"""Called with the number of bytes that have arrived since the last call, from several threads."""


class FetchStopped(Exception):
    """Who wanted the jars does not want them any more."""


@dataclass(frozen=True)
class Jar:
    """One file of the Maven registry, and the bytes that it must be."""

    group: str
    artifact: str
    version: str
    classifier: str
    sha256: str
    size_bytes: int

    @property
    def file_name(self) -> str:
        """Its name in the registry and in the cache."""
        return "-".join(part for part in (self.artifact, self.version, self.classifier) if part) + ".jar"


S3PROXY = Jar(
    group="org.gaul",
    artifact="s3proxy",
    version="4.1.0",
    classifier="jar-with-dependencies",
    sha256="a4d025969aaf796616ed4b1e2491d87d455ce84bb28cb9db086b2e6aaa68b48d",
    size_bytes=54_955_934,
)


def kafka_jars() -> list[Jar]:
    """All that Apache Kafka 4.3.1 needs to run, and the binding that lets it write its log."""
    listed = resources.files("cairn.local").joinpath("kafka-4.3.1-jars.txt").read_text(encoding="utf-8")
    return [_parse(line) for line in listed.splitlines()]


def jar_cache(environment: Mapping[str, str] = os.environ) -> Path:
    """Where jars are kept for this user: the folder `jars` of `CAIRN_CACHE`, or else of the system's cache folder."""
    import platformdirs

    return Path(environment.get("CAIRN_CACHE") or platformdirs.user_cache_dir("cairn"), "jars").absolute()


def absent(jars: Iterable[Jar], cache: Path) -> list[Jar]:
    """Those that are not in the cache as the bytes that they must be."""
    return [jar for jar in jars if not _is_whole(cache / jar.file_name, jar)]


def fetch(jars: Sequence[Jar], cache: Path, stop: threading.Event | None = None) -> list[Path]:
    """The files of all these jars, every one verified; what the cache lacks is fetched, with a progress bar on stderr.

    Without network when all are there. A jar enters the cache whole and verified or not at all. Blocks.
    Raises Missing, naming the jar, when one cannot be had, and FetchStopped soon after `stop` was set elsewhere.
    """
    lacking = absent(jars, cache)
    if lacking:
        _fetch_all(lacking, cache, stop or threading.Event())
    return [cache / jar.file_name for jar in jars]


def _parse(line: str) -> Jar:
    coordinates, digest, size = line.split()
    group, artifact, version = coordinates.split(":")
    return Jar(group, artifact, version, "", digest.removeprefix("sha256:"), int(size))


def _is_whole(path: Path, jar: Jar) -> bool:
    try:
        if path.stat().st_size != jar.size_bytes:
            return False
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == jar.sha256
    except OSError:  # not there, or not to be read: fetching it says why, if that cannot be helped
        return False


def _fetch_all(jars: Sequence[Jar], cache: Path, stop: threading.Event) -> None:
    try:
        cache.mkdir(parents=True, exist_ok=True)
        # Inside the cache, so that the last step is a rename; what a killed process leaves here is never looked at.
        with tempfile.TemporaryDirectory(dir=cache, prefix=".arriving-") as arriving, _shown(jars) as arrival:
            registry = _registry(Path(arriving), _unless(stop, arrival))
            with ThreadPoolExecutor(_THREADS) as pool:
                try:
                    for _ in pool.map(lambda jar: _fetch_one(registry, jar, cache, stop), jars):
                        pass
                finally:
                    pool.shutdown(cancel_futures=True)
    except OSError as error:
        raise Missing(f"The jars cannot be kept in {cache}: {error}", "set CAIRN_CACHE to another folder") from error


def _unless(stop: threading.Event, arrival: Arrival) -> Arrival:
    def arrived(size_bytes: int) -> None:
        if stop.is_set():
            raise FetchStopped
        arrival(size_bytes)

    return arrived


def _fetch_one(registry: Any, jar: Jar, cache: Path, stop: threading.Event) -> None:
    artifact = registry.project(jar.group, jar.artifact).at_version(jar.version).artifact(classifier=jar.classifier)
    arrived = _download(artifact, jar, stop)
    if not _is_whole(arrived, jar):
        raise Missing(
            f"{jar.file_name} arrived with other bytes than it must have (SHA-256 {jar.sha256}), and was thrown away. "
            "Somebody between here and the registry changed it: a proxy's error page, a broken mirror, or worse",
            _CURE,
        )
    arrived.replace(cache / jar.file_name)


def _download(artifact: Any, jar: Jar, stop: threading.Event) -> Path:
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            return Path(artifact.resolve())
        except (OSError, RuntimeError) as error:  # the network's errors are OSErrors, "not there" is a RuntimeError
            artifact.cached_path.unlink(missing_ok=True)  # a half file would be taken for a whole one
            if attempt == _ATTEMPTS or isinstance(error, RuntimeError):
                raise Missing(f"{jar.file_name} cannot be fetched: {error}", _CURE) from error
            if stop.wait(_PAUSE_SECONDS):
                raise FetchStopped from error
    raise AssertionError


def _registry(directory: Path, arrival: Arrival) -> Any:
    try:
        from jgo.config import GlobalSettings
        from jgo.constants import MAVEN_CENTRAL_URL
        from jgo.maven import MavenContext, PythonResolver
    except ImportError as error:
        raise Missing("Jars cannot be fetched without jgo, which is not installed", FETCHER_CURE) from error

    @contextmanager
    def told(_file_name: str, _size_bytes: int) -> Iterator[Arrival]:
        yield arrival

    return MavenContext(
        resolver=PythonResolver(progress_callback=told),
        repo_cache=directory,
        remote_repos={"central": MAVEN_CENTRAL_URL, **GlobalSettings.load().repositories},
    )


@contextmanager
def _shown(jars: Sequence[Jar]) -> Iterator[Arrival]:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    name = jars[0].file_name if len(jars) == 1 else f"{len(jars)} jars"
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True)) as shown:
        task = shown.add_task(f"Fetching {name}, once", total=sum(jar.size_bytes for jar in jars))
        yield lambda size_bytes: shown.advance(task, size_bytes)
