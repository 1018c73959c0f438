"""Every block of the README that is marked `run` is executed here, word for word, in its order."""

import asyncio
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from tests.conftest import S3Server

from cairn.context import load_context
from cairn.events import DatasetAccepted, LabelsObserved
from cairn.events.codec import Heard
from cairn.objects import S3Settings, open_store
from cairn.subscriber import read_log

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```(sh|python) run ?(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """One block."""

    number: int
    language: str
    mark: str
    text: str

    def __str__(self) -> str:
        first = self.text.strip().splitlines()[0]
        return f"{self.number:02} {self.language} {first[:50]}"


BLOCKS = [
    Block(number, *match.groups()) for number, match in enumerate(BLOCK.finditer((ROOT / "README.md").read_text()))
]
(UP,) = (block for block in BLOCKS if block.mark == "up")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the repository's own are found, and which may be littered."""
    made = tmp_path_factory.mktemp("readme")
    for name in ("libs", "schemas", "examples", "services"):
        (made / name).symlink_to(ROOT / name)
    return made


@pytest.fixture(scope="module")
def environment(s3: S3Server) -> dict[str, str]:
    """What a reader of the README has set: the environment of the project, and an S3 of his own."""
    settings = S3Settings(endpoint=s3.endpoint, access_key=s3.access_key, secret_key=s3.secret_key)
    store: Any = open_store("s3://cairn/objects", s3=settings)
    store.make_bucket()
    unset = {name for name in os.environ if name.startswith(("CAIRN_", "KAFKA_"))}
    return {name: value for name, value in os.environ.items() if name not in unset} | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "CAIRN_OBJECTS": "s3://cairn/objects",
        "AWS_ENDPOINT_URL_S3": s3.endpoint,
        "AWS_ACCESS_KEY_ID": s3.access_key,
        "AWS_SECRET_ACCESS_KEY": s3.secret_key,
        "COLUMNS": "200",
    }


def execute(block: Block, folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    if block.language == "python":
        command = [sys.executable, "-c", block.text]
    else:
        command = ["bash", "-euo", "pipefail", "-c", block.text]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.fixture(scope="module")
def running(folder: Path, environment: dict[str, str]) -> Iterator[dict[str, str]]:
    """Cairn, started by the README's own line; gives the environment with what `cairn env` says."""
    for block in BLOCKS[: UP.number]:
        done = execute(block, folder, environment)
        assert done.returncode == 0, done.stderr
    with (folder / "up.log").open("w") as log:
        command = ["bash", "-c", f"exec {UP.text.strip()}"]
        up = subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=log, text=True)
    try:
        assert up.stdout
        said = up.stdout.readline()
        assert said.startswith("Cairn is up"), said + (folder / "up.log").read_text()[-3000:]
        exports = execute(Block(0, "sh", "", "cairn env"), folder, environment)
        assert exports.returncode == 0, exports.stderr
        found = dict(line.removeprefix("export ").split("=", 1) for line in exports.stdout.splitlines())
        yield environment | {name: value.strip("'") for name, value in found.items()}
    finally:
        up.send_signal(signal.SIGINT)
        assert up.wait(60) == 0, (folder / "up.log").read_text()[-3000:]


@pytest.mark.timeout(400)
@pytest.mark.parametrize("block", BLOCKS[UP.number + 1 :], ids=str)
def test_a_block_does_what_the_readme_says(block: Block, folder: Path, running: dict[str, str]) -> None:
    if "kcat" in block.text and shutil.which("kcat") is None:
        pytest.skip("kcat is not installed here (Debian: apt-get install kcat)")
    done = execute(block, folder, running)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest_asyncio.fixture(loop_scope="session")
async def heard(folder: Path, running: dict[str, str]) -> list[Any]:
    """The facts that outsiders' blocks led to, once the last dataset was judged."""
    context = load_context(running, folder / ".cairn")

    async def look() -> list[Any]:
        log = read_log(context, ("labels", "validation"))
        return [entry.heard.facts async for entry in log if isinstance(entry.heard, Heard)]

    versions = 2 if shutil.which("kcat") else 1
    found = await look()
    async with asyncio.timeout(60):
        while sum(isinstance(facts, DatasetAccepted) for facts in found) < versions:
            await asyncio.sleep(0.3)
            found = await look()
    return found


@pytest.mark.timeout(400)
@pytest.mark.asyncio(loop_scope="session")
async def test_what_outsiders_published_counts(heard: list[Any]) -> None:
    told = {item.prediction_id for facts in heard if isinstance(facts, LabelsObserved) for item in facts.items}
    assert told >= {"p-1", "p-2", "p-3", "p-5"} | ({"p-4"} if shutil.which("kcat") else set())
