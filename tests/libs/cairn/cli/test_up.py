"""`cairn up` and `cairn down`, where no server needs to be started for it."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.libs.cairn.cli.conftest import Outcome

from cairn.holding import hold

Cairn = Callable[..., Outcome]


def test_down_where_nothing_runs_says_so_and_is_content(cairn: Cairn, tmp_path: Path) -> None:
    outcome = cairn("--home", tmp_path, "down")

    assert (outcome.code, outcome.out) == (0, f"no Cairn runs from {tmp_path}\n")


def test_down_leaves_a_stranger_alone_that_has_the_number_of_a_killed_up(cairn: Cairn, tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "600"]) as stranger:
        left = {"pid": stranger.pid, "installation": "cairn", "bootstrap_servers": "127.0.0.1:9092", "objects": ""}
        (tmp_path / "up.json").write_text(json.dumps(left))

        outcome = cairn("--home", tmp_path, "down")

        assert stranger.poll() is None
        stranger.kill()
    assert (outcome.code, outcome.out) == (0, f"no Cairn runs from {tmp_path}\n")


def test_a_second_up_in_the_same_home_is_refused(cairn: Cairn, tmp_path: Path) -> None:
    with hold(tmp_path):
        outcome = cairn("--home", tmp_path, "up")

    assert outcome.code == 3
    assert f"a Cairn runs from {tmp_path} already: stop it with `cairn down`" in outcome.err


def test_status_while_it_starts_says_that_it_starts(cairn: Cairn, tmp_path: Path) -> None:
    with hold(tmp_path):
        outcome = cairn("--home", tmp_path, "status")

    assert outcome.code == 3
    assert "starts or stops just now" in outcome.err
