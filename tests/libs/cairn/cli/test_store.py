"""`cairn store`: a store is made anew from the log, by the user of `cairn up` too."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.libs.cairn.cli.conftest import Outcome

from cairn.cli import run
from cairn.events.catalogue import SERVICES
from cairn.local.stack import Options, Stack

Cairn = Callable[..., Outcome]
CAIRN = (sys.executable, "-c", "from cairn.cli import main; main()")
DECLARATION = Path(__file__).parents[4] / "libs/cairn/demo/tumours.yaml"


def store(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [*CAIRN, "--home", str(home), "store", *arguments]
    return subprocess.run(command, env=dict(os.environ), capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.timeout(300)
def test_a_rebuilt_store_holds_what_it_held_and_all_stopped_in_reverse(tmp_path: Path) -> None:
    home = tmp_path / "home"
    said: list[tuple[str, str]] = []
    begun, lines, refused = asyncio.run(live(home, said))
    assert begun == 0
    assert [name for name, what in said if what == "stopped"] == ["serving", *reversed(SERVICES)]
    assert lines[0].startswith("registry ")
    assert "cairn down" in refused
    (home / "stores/registry.db").unlink()
    rebuilt = store(home, "rebuild", "registry")
    assert rebuilt.returncode == 0, rebuilt.stderr
    assert store(home, "digest", "registry").stdout.splitlines() == lines
    as_json = json.loads(store(home, "digest", "registry", "--json").stdout)
    assert lines == [f"registry {as_json['rows']} rows {as_json['digest']}"]
    assert as_json["tables"]["declared"]["rows"] == 1


async def live(home: Path, said: list[tuple[str, str]]) -> tuple[int, list[str], str]:
    """Declare something; then what the registry's store holds, and what a rebuild says while all runs."""
    async with Stack(Options(home, fast_start=True), lambda *what: said.append(what)):
        begun = await asyncio.to_thread(run, ["--home", str(home), "apply", str(DECLARATION)])
        looked = await asyncio.to_thread(store, home, "digest", "registry")
        refused = await asyncio.to_thread(store, home, "rebuild", "registry")
        assert (looked.returncode, refused.returncode) == (0, 3)
    return begun, looked.stdout.splitlines(), refused.stderr


def test_a_home_from_which_nothing_ever_ran_is_named(cairn: Cairn, tmp_path: Path) -> None:
    outcome = cairn("--home", tmp_path / "elsewhere", "store", "rebuild", "registry")

    assert outcome.code == 3
    assert f"no Cairn ever ran from {tmp_path}/elsewhere" in outcome.err
    assert not (tmp_path / "elsewhere").exists()


def test_a_service_that_is_none_is_wrong_usage(cairn: Cairn) -> None:
    assert "there is no service 'registrar'" in cairn("store", "digest", "registrar").err
