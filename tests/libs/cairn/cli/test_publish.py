"""`cairn publish dataset`: files go to the object store, and an event tells of them."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.libs.cairn.cli.conftest import Outcome
from tests.libs.cairn.installations import new_installation

from cairn.context import Context
from cairn.events import DatasetPublished, Heard
from cairn.objects import open_store
from cairn.subscriber import read_log

Cairn = Callable[..., Outcome]


@pytest.fixture
async def context(kafka: str, tmp_path: Path, point_at: Callable[[Context], None]) -> Context:
    context = await new_installation(kafka, tmp_path, "datasets")
    point_at(context)
    return context


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "loans.CSV"
    path.write_text("income,default\n1,0\n")
    return path


async def test_a_file_can_be_read_by_whoever_hears_of_it(context: Context, cairn: Cairn, file: Path) -> None:
    arguments = ("publish", "dataset", file, "--name", "risk.loans-2026", "--version", "1")

    outcome = await asyncio.to_thread(cairn, *arguments)

    [(record, heard)] = [entry async for entry in read_log(context, ["datasets"])]
    assert isinstance(heard, Heard)
    facts = heard.facts
    assert isinstance(facts, DatasetPublished)
    assert (facts.dataset, facts.version, facts.format) == ("risk.loans-2026", "1", "csv")
    assert open_store(context.objects_url).get(facts.files[0]).read_text() == file.read_text()
    assert facts.files[0].media_type == "text/csv"
    assert outcome.code == 0
    assert outcome.out == f"published risk.loans-2026 1: datasets[{record.partition}]@{record.offset}\n"
    assert outcome.err == f"uploaded {file} (19 bytes)\n"


async def test_for_programs_the_answer_names_the_event(context: Context, cairn: Cairn, file: Path) -> None:
    arguments = ("publish", "dataset", file, "--name", "risk.loans-2026", "--version", "1", "--json")

    outcome = await asyncio.to_thread(cairn, *arguments)

    [entry] = [entry async for entry in read_log(context, ["datasets"])]
    assert isinstance(entry.heard, Heard)
    assert outcome.data["event"] == entry.heard.message.envelope.id
    assert outcome.data["files"][0]["bytes"] == 19


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--name", "Loans", "--version", "1"), "dataset: "),
        (("--name", "loans", "--version", "x" * 129), "version: "),
        (("--name", "loans", "--version", "1", "--format", "xml"), "xml"),
        (("--name", "loans"), "--version"),
    ],
)
def test_what_cannot_be_meant_is_wrong_usage_before_anything_is_uploaded(
    context: Context, cairn: Cairn, file: Path, tmp_path: Path, arguments: tuple[str, ...], complaint: str
) -> None:
    outcome = cairn("publish", "dataset", file, *arguments)

    assert outcome.code == 2
    assert complaint in outcome.err
    assert not (tmp_path / "objects").exists()


def test_a_file_whose_name_says_nothing_needs_a_format(context: Context, cairn: Cairn, tmp_path: Path) -> None:
    file = tmp_path / "loans.dat"
    file.write_text("a\n1\n")

    outcome = cairn("publish", "dataset", file, "--name", "loans", "--version", "1")

    assert outcome.code == 2
    assert "add --format csv" in outcome.err


def test_a_file_that_is_not_there_is_wrong_usage(cairn: Cairn) -> None:
    outcome = cairn("publish", "dataset", "gone.csv", "--name", "loans", "--version", "1")

    assert outcome.code == 2
    assert "gone.csv" in outcome.err
