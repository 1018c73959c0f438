"""A day of `cairn up`: it runs alone in its home, `down` stops it in reverse, and a store is made anew from the log."""

import json
import subprocess
from pathlib import Path

from cairn.events import SERVICES
from tests.faults.marked import CAIRN, Marked

DECLARATION = Path(__file__).parents[2] / "libs/cairn/demo/tumours.yaml"


def test_down_stops_what_up_started_and_a_store_that_was_lost_is_rebuilt(tmp_path: Path):
    home, log = tmp_path / "home", tmp_path / "up.log"
    with log.open("w") as errors:
        up = Marked(*CAIRN, "--home", str(home), "up", errors=errors.fileno())
    up.until((home / "up.json").exists, 90)

    def cairn(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [*CAIRN, "--home", str(home), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)

    applied = cairn("apply", str(DECLARATION))
    assert applied.returncode == 0, applied.stderr
    said = json.loads(cairn("env", "--json").stdout)
    assert said["CAIRN_TRUST_FILE"] == str(home / "trust.json")
    assert said["CAIRN_REGISTRY_URL"].startswith("http://127.0.0.1:")
    before = cairn("store", "digest", "registry")
    assert before.stdout.startswith("registry "), before.stderr
    for refused in (cairn("up"), cairn("store", "rebuild", "registry")):
        assert refused.returncode == 3
        assert "cairn down" in refused.stderr

    assert cairn("down").returncode == 0
    assert up.process.wait(60) == 0
    assert not up.alive()
    assert not (home / "up.json").exists()
    lines = [line.split(" | ") for line in log.read_text().splitlines()]
    stopped = [name.strip() for name, *line in lines if line == ["stopped"]]
    assert stopped == ["serving", *reversed(SERVICES)]

    (home / "stores/registry.db").unlink()
    rebuilt = cairn("store", "rebuild", "registry")
    assert rebuilt.returncode == 0, rebuilt.stderr
    assert cairn("store", "digest", "registry").stdout == before.stdout
    as_json = json.loads(cairn("store", "digest", "registry", "--json").stdout)
    assert before.stdout == f"registry {as_json['rows']} rows {as_json['digest']}\n"
    assert as_json["tables"]["declared"]["rows"] == 1
