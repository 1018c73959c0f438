"""`cairn apply`: a declaration goes to the registry, and its answer comes back."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.libs.cairn.cli.conftest import Outcome
from tests.libs.cairn.cli.judges import Judgement, judging, refusing
from tests.libs.cairn.installations import new_installation

from cairn.context import Context
from cairn.events import DeclarationSubmitted, Event, Heard, ModelDeclared, RecordParked
from cairn.events.values import Reason
from cairn.subscriber import read_log

DECLARATION = "model: risk.loans\nowner: risk-team\ndataset: risk.loans-2026\ntarget: default\n"

Cairn = Callable[..., Outcome]


@pytest.fixture
async def context(kafka: str, tmp_path: Path, point_at: Callable[[Context], None]) -> Context:
    context = await new_installation(kafka, tmp_path, "requests", "registry", "operations.registry")
    point_at(context)
    return context


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "model.yaml"
    path.write_text(DECLARATION)
    return path


def declare(heard: Heard) -> Event:
    request = heard.facts
    assert isinstance(request, DeclarationSubmitted)
    digest = "sha256:" + "0" * 64
    return ModelDeclared(model=request.model, revision=3, declaration=request.declaration, digest=digest)


def park(heard: Heard) -> Event:
    record = heard.message.record
    reason = Reason(code="schema", text="owner: too long")
    place: Any = {"topic": record.topic, "partition": record.partition, "offset": record.offset}
    return RecordParked(service="registry", digest=record.digest, reason=reason, parking=1, **place)


async def apply(
    context: Context, cairn: Cairn, point_at: Callable[[Context], None], judge: Judgement, file: Path
) -> Outcome:
    async with judging(context, "registry", judge) as judged:
        point_at(replace(judged, signer=context.signer))
        return await asyncio.to_thread(cairn, "apply", file)


async def test_a_declaration_that_stands_is_told_with_its_revision(
    context: Context, cairn: Cairn, point_at: Callable[[Context], None], file: Path
) -> None:
    outcome = await apply(context, cairn, point_at, declare, file)

    assert outcome == Outcome(0, "declared risk.loans, revision 3\n", "")


async def test_a_refusal_is_told_with_its_reason(
    context: Context, cairn: Cairn, point_at: Callable[[Context], None], file: Path
) -> None:
    judge = refusing("registry", "other-model", "The declaration is about another model.")

    outcome = await apply(context, cairn, point_at, judge, file)

    assert outcome.code == 1
    assert outcome.out == ""
    assert outcome.err == "refused by the registry: The declaration is about another model. (other-model)\n"


async def test_a_declaration_that_changes_nothing_is_no_failure(
    context: Context, cairn: Cairn, point_at: Callable[[Context], None], file: Path
) -> None:
    judge = refusing("registry", "unchanged", "risk.loans is declared so already")

    outcome = await apply(context, cairn, point_at, judge, file)

    assert outcome == Outcome(0, "unchanged: risk.loans is declared so already\n", "")


async def test_a_request_that_the_registry_could_not_handle_is_told(
    context: Context, cairn: Cairn, point_at: Callable[[Context], None], file: Path
) -> None:
    outcome = await apply(context, cairn, point_at, park, file)

    assert outcome.code == 1
    assert "could not handle the request: owner: too long (schema)" in outcome.err


def test_no_answer_in_time_is_told_with_where_the_request_lies(context: Context, cairn: Cairn, file: Path) -> None:
    began = time.monotonic()

    outcome = cairn("apply", file, "--timeout", 1)

    assert outcome.code == 3
    assert "the registry has not answered within 1 s" in outcome.err
    assert "requests[" in outcome.err
    assert time.monotonic() - began < 10


async def test_without_waiting_it_is_submitted_and_no_more(context: Context, cairn: Cairn, file: Path) -> None:
    outcome = await asyncio.to_thread(cairn, "apply", file, "--no-wait")

    [entry] = [entry async for entry in read_log(context, ["requests"])]
    assert isinstance(entry.heard, Heard)
    assert isinstance(entry.heard.facts, DeclarationSubmitted)
    place = f"requests[{entry.record.partition}]@{entry.record.offset}"
    assert outcome == Outcome(0, f"submitted risk.loans: {place}\n", "")


def test_what_is_wrong_with_the_file_is_told_line_by_line(cairn: Cairn, file: Path) -> None:
    file.write_text("model: Risk\ntarget: default\n")

    outcome = cairn("apply", file)

    assert outcome.code == 2
    assert f"{file}:1:8: model: " in outcome.err
    assert "dataset: is missing" in outcome.err


def test_a_file_that_is_not_there_is_wrong_usage(cairn: Cairn, tmp_path: Path) -> None:
    outcome = cairn("apply", tmp_path / "gone.yaml")

    assert outcome.code == 2
    assert "gone.yaml: cannot be read: No such file" in outcome.err
