"""`cairn models`: what the registry knows, for people and for programs."""

from collections.abc import Callable
from typing import Any

from tests.libs.cairn.cli.conftest import Fake, Outcome

LOANS = {"model": "risk.loans", "owner": "risk-team", "revision": 2, "versions": 3, "champion": 2, "generation": 1}
CARDS = {
    "model": "risk.cards",
    "owner": "[bold]cards",
    "revision": 1,
    "versions": 0,
    "champion": None,
    "generation": None,
}
DETAIL = {
    **LOANS,
    "declaration": {"model": "risk.loans"},
    "versions": [{"version": 2, "life": "live", "dataset": {"name": "risk.loans-2026"}}],
    "promotions": [],
}

Cairn = Callable[..., Outcome]
Start = Callable[[dict[str, Any]], Fake]


def test_the_list_is_a_table_for_people(cairn: Cairn, service: Start, known_services: Callable[..., None]) -> None:
    known_services(registry=service({"/models": (200, {"models": [LOANS, CARDS]})}).url)

    outcome = cairn("models", "list")

    assert outcome.code == 0
    assert [line.split() for line in outcome.out.splitlines()] == [
        ["model", "owner", "revision", "versions", "champion", "generation"],
        ["risk.loans", "risk-team", "2", "3", "2", "1"],
        ["risk.cards", "[bold]cards", "1", "0", "-", "-"],
    ]


def test_the_list_is_json_for_programs(cairn: Cairn, service: Start, known_services: Callable[..., None]) -> None:
    known_services(registry=service({"/models": (200, {"models": [LOANS, CARDS]})}).url)

    assert cairn("models", "list", "--json").data == [LOANS, CARDS]


def test_an_empty_list_says_so_beside_the_data(
    cairn: Cairn, service: Start, known_services: Callable[..., None]
) -> None:
    known_services(registry=service({"/models": (200, {"models": []})}).url)

    assert cairn("models", "list") == Outcome(0, "", "no model is declared yet: `cairn apply model.yaml`\n")
    assert cairn("models", "list", "--json") == Outcome(0, "[]\n", "")


def test_one_model_is_shown_with_its_versions(
    cairn: Cairn, service: Start, known_services: Callable[..., None]
) -> None:
    known_services(registry=service({"/models/risk.loans": (200, DETAIL)}).url)

    outcome = cairn("models", "show", "risk.loans")

    assert outcome.code == 0
    assert "champion    2\n" in outcome.out
    assert "\nversions\nversion  life\n2        live\n" in outcome.out
    assert cairn("models", "show", "risk.loans", "--json").data == DETAIL


def test_a_model_that_is_not_there_is_a_failed_check(
    cairn: Cairn, service: Start, known_services: Callable[..., None]
) -> None:
    problem = {"title": "no such model", "status": 404, "detail": "risk.lones"}
    known_services(registry=service({"/models/risk.lones": (404, problem)}).url)

    outcome = cairn("models", "show", "risk.lones")

    assert outcome == Outcome(1, "", "the registry says: no such model: risk.lones (404)\n")


def test_a_name_cannot_lead_elsewhere(cairn: Cairn, service: Start, known_services: Callable[..., None]) -> None:
    registry = service({})
    known_services(registry=registry.url)

    cairn("models", "show", "../parked?x=#y")

    assert registry.heard == [("GET", "/models/..%2Fparked%3Fx%3D%23y", None)]


def test_a_registry_in_trouble_is_out_of_reach(
    cairn: Cairn, service: Start, known_services: Callable[..., None]
) -> None:
    for answer in [(503, {"title": "starting"}), (200, b"<html>"), (200, []), (200, {"other": 1}), (302, {})]:
        known_services(registry=service({"/models": answer}).url)

        outcome = cairn("models", "list")

        assert outcome.code in {1, 3}
        assert outcome.err.startswith("the registry ")
        assert outcome.out == ""


def test_a_registry_that_is_not_there_is_out_of_reach(cairn: Cairn, known_services: Callable[..., None]) -> None:
    known_services(registry="http://127.0.0.1:9")

    outcome = cairn("models", "list")

    assert outcome.code == 3
    assert "the registry at http://127.0.0.1:9/models does not answer" in outcome.err


def test_a_proxy_of_the_environment_is_not_asked_about_this_machine(
    cairn: Cairn, service: Start, known_services: Callable[..., None], monkeypatch: Any
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    known_services(registry=service({"/models": (200, {"models": []})}).url)

    assert cairn("models", "list").code == 0


def test_an_address_that_is_not_known_is_asked_for(cairn: Cairn, known_services: Callable[..., None]) -> None:
    known_services()

    outcome = cairn("models", "list")

    assert outcome.code == 2
    assert "set CAIRN_REGISTRY_URL" in outcome.err
