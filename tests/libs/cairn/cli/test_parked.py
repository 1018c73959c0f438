"""`cairn parked`: what could not be handled is seen, and tried again."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.libs.cairn.cli.conftest import Fake, Outcome
from tests.libs.cairn.cli.judges import judging, refusing
from tests.libs.cairn.installations import new_installation

from cairn.context import Context
from cairn.events import Event, Heard, RecordRedriven, RedriveRequested
from cairn.events.values import Reason

PARKED = {
    "topic": "datasets",
    "partition": 2,
    "offset": 17,
    "code": "schema",
    "text": "rows: \x1b[31mred",
    "state": "parked",
}

Cairn = Callable[..., Outcome]
Start = Callable[[dict[str, Any]], Fake]


def test_each_record_is_listed_with_the_service_that_parked_it(
    cairn: Cairn, service: Start, known_services: Callable[..., None]
) -> None:
    with_one, with_none = (
        service({"/parked": (200, {"records": [PARKED]})}),
        service({"/parked": (200, {"records": []})}),
    )
    known_services(validator=with_one.url, registry=with_none.url)

    outcome = cairn("parked", "list")

    assert outcome.code == 0
    header, row = outcome.out.splitlines()
    assert header.split() == ["service", "topic", "partition", "offset", "code", "text", "state"]
    assert row.split() == ["validator", "datasets", "2", "17", "schema", "rows:", "\\x1b[31mred", "parked"]
    assert cairn("parked", "list", "--json").data == [{"service": "validator", **PARKED}]


def test_only_the_named_service_is_asked(cairn: Cairn, service: Start, known_services: Callable[..., None]) -> None:
    asked, other = service({"/parked": (200, {"records": []})}), service({})
    known_services(registry=asked.url, monitor=other.url)

    outcome = cairn("parked", "list", "--service", "registry")

    assert outcome == Outcome(0, "", "nothing is parked\n")
    assert other.heard == []


def test_a_silent_service_does_not_hide_the_others(
    cairn: Cairn, service: Start, known_services: Callable[..., None]
) -> None:
    known_services(registry="http://127.0.0.1:9", validator=service({"/parked": (200, {"records": [PARKED]})}).url)

    outcome = cairn("parked", "list")

    assert outcome.code == 3
    assert "validator" in outcome.out
    assert "the registry at http://127.0.0.1:9/parked does not answer" in outcome.err


@pytest.mark.parametrize("arguments", [("list", "--service", "nobody"), ("redrive", "nobody", "datasets", 0, 0)])
def test_a_service_that_is_none_is_wrong_usage(
    cairn: Cairn, known_services: Callable[..., None], arguments: tuple[object, ...]
) -> None:
    known_services()

    outcome = cairn("parked", *arguments)

    assert outcome.code == 2
    assert "no service 'nobody': expected one of registry, trainer" in outcome.err


class TestRedriving:
    @pytest.fixture
    async def context(self, kafka: str, tmp_path: Path) -> Context:
        return await new_installation(kafka, tmp_path, "requests", "operations.validator")

    async def test_tells_that_the_record_was_handled(
        self, context: Context, cairn: Cairn, point_at: Callable[[Context], None]
    ) -> None:
        def redrive(heard: Heard) -> Event:
            request = heard.facts
            assert isinstance(request, RedriveRequested)
            assert request.reason == "the column is declared now"
            place: Any = {"topic": request.topic, "partition": request.partition, "offset": request.offset}
            reason = Reason(code="asked", text="asked for", evidence=(heard.message.ref,))
            digest = "sha256:" + "0" * 64
            return RecordRedriven(service="validator", digest=digest, reason=reason, parking=1, **place)

        async with judging(context, "validator", redrive) as judged:
            point_at(replace(judged, signer=context.signer))
            arguments = ("validator", "datasets", 2, 17, "--reason", "the column is declared now")
            outcome = await asyncio.to_thread(cairn, "parked", "redrive", *arguments)

        assert outcome == Outcome(0, "redriven: datasets[2]@17 by the validator\n", "")

    async def test_tells_why_not(self, context: Context, cairn: Cairn, point_at: Callable[[Context], None]) -> None:
        judge = refusing("validator", "not-parked", "there is no parked record at datasets/2/17")
        async with judging(context, "validator", judge) as judged:
            point_at(replace(judged, signer=context.signer))
            outcome = await asyncio.to_thread(cairn, "parked", "redrive", "validator", "datasets", 2, 17)

        assert outcome.code == 1
        assert outcome.err == "refused by the validator: there is no parked record at datasets/2/17 (not-parked)\n"
