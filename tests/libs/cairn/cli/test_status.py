"""`cairn status` and `cairn doctor`: whether what is needed is there."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.libs.cairn.cli.conftest import Fake, Outcome

from cairn.context import Running
from cairn.holding import hold
from cairn.local import doctor

READY = {"/readyz": (200, {"ready": True, "reasons": []})}

Cairn = Callable[..., Outcome]
Start = Callable[[dict[str, Any]], Fake]


def test_when_all_are_ready_it_ends_well(cairn: Cairn, service: Start, known_services: Callable[..., None]) -> None:
    serving = service({"/v2/health/ready": (200, b"")})
    known_services(registry=service(READY).url, serving=serving.url)

    outcome = cairn("status", "--json")

    assert outcome.code == 0
    assert [(one["service"], one["state"]) for one in outcome.data] == [("registry", "ready"), ("serving", "ready")]


def test_one_that_is_not_ready_fails_the_check_with_its_reasons(
    cairn: Cairn, service: Start, known_services: Callable[..., None]
) -> None:
    starting = service({"/readyz": (503, {"ready": False, "reasons": ["Kafka is away", "relay is behind"]})})
    known_services(registry=service(READY).url, trainer=starting.url)

    outcome = cairn("status")

    assert outcome.code == 1
    assert "not ready" in outcome.out
    assert "Kafka is away; relay is behind" in outcome.out


def test_one_that_does_not_answer_is_out_of_reach(
    cairn: Cairn, service: Start, known_services: Callable[..., None]
) -> None:
    known_services(registry="http://127.0.0.1:9", trainer=service(READY).url)

    outcome = cairn("status")

    assert outcome.code == 3
    assert "out of reach" in outcome.out


def test_one_that_was_given_up_is_shown_with_the_reason(cairn: Cairn, service: Start, tmp_path: Path) -> None:
    Running(
        installation="cairn",
        bootstrap_servers="127.0.0.1:9",
        objects="",
        services={"registry": service(READY).url, "monitor": "http://127.0.0.1:9"},
        given_up={"monitor": "it ended with exit code 2"},
    ).save(tmp_path)

    with hold(tmp_path):
        outcome = cairn("--home", tmp_path, "status", "--json")

    assert outcome.code == 1
    assert [(one["service"], one["state"]) for one in outcome.data] == [("registry", "ready"), ("monitor", "given up")]
    assert outcome.data[1]["reasons"] == ["it ended with exit code 2"]


def test_where_no_service_is_known_it_says_what_to_set(cairn: Cairn, known_services: Callable[..., None]) -> None:
    known_services()

    outcome = cairn("status")

    assert outcome.code == 3
    assert "set CAIRN_REGISTRY_URL" in outcome.err


def test_where_nothing_runs_it_says_how_to_start(cairn: Cairn) -> None:
    outcome = cairn("status")

    assert outcome.code == 3
    assert "start one with `cairn up`" in outcome.err


def test_the_doctor_tells_findings_and_cures(cairn: Cairn, monkeypatch: pytest.MonkeyPatch) -> None:
    findings = [doctor.Finding("Python", True, "3.11"), doctor.Finding("Java", False, "not there", "install it")]
    monkeypatch.setattr(doctor, "check", lambda: findings)

    outcome = cairn("doctor")

    assert outcome.code == 1
    assert [line.split() for line in outcome.out.splitlines()[1:]] == [
        ["Python", "yes", "3.11"],
        ["Java", "no", "not", "there", "install", "it"],
    ]
    assert [one["ok"] for one in cairn("doctor", "--json").data] == [True, False]


def test_the_doctor_is_content_with_a_machine_that_has_everything(
    cairn: Cairn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "check", lambda: [doctor.Finding("Python", True, "3.11")])

    assert cairn("doctor").code == 0
