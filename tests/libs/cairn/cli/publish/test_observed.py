"""`cairn publish labels` and `outcomes`: rows become events, and a bad row is named before anything goes."""

import asyncio
import json
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet
from tests.libs.cairn.cli.conftest import Outcome
from tests.libs.cairn.installations import new_installation

from cairn.context import Context
from cairn.events import TOPICS, Event, Heard, LabelsObserved, OutcomesObserved
from cairn.events.labels import Label
from cairn.subscriber import read_log

Cairn = Callable[..., Outcome]
LABELS = ("publish", "labels", "--model", "risk.loans", "--target", "default")
OUTCOMES = ("publish", "outcomes", "--model", "risk.loans", "--name", "loss", "--unit", "EUR")
NOON = "2026-11-21T12:00:00Z"


@pytest.fixture
async def context(kafka: str, tmp_path: Path, point_at: Callable[[Context], None]) -> Context:
    context = await new_installation(kafka, tmp_path, "labels")
    point_at(context)
    return context


def facts_in(context: Context) -> list[Event]:
    async def read() -> list[Event]:
        entries = [entry.heard async for entry in read_log(context, ["labels"])]
        assert all(isinstance(heard, Heard) for heard in entries)
        return [heard.facts for heard in entries if isinstance(heard, Heard)]

    return asyncio.run(read())


def items_in(context: Context) -> list[Any]:
    return [item for facts in facts_in(context) for item in facts.items]  # type: ignore[attr-defined]  # both have them


def test_each_row_is_a_label(context: Context, cairn: Cairn, tmp_path: Path) -> None:
    file = tmp_path / "repaid.csv"
    file.write_text(
        "prediction_id,entity,start_at,end_at,value,observed_at,revision,retracted\n"
        f"p-1,,,,1,{NOON},,\n"
        f"p-2,,,,0,{NOON},3,\n"
        f"p-3,,,,,{NOON},4,true\n"
        f",customer-7,2026-01-01T00:00:00Z,2026-02-01T00:00:00+01:00,1,{NOON},,\n"
    )

    outcome = cairn(*LABELS, file)

    assert (outcome.code, outcome.err) == (0, "")
    [facts] = facts_in(context)
    assert isinstance(facts, LabelsObserved)
    assert (facts.model, facts.target) == ("risk.loans", "default")
    assert facts.items == (
        Label(prediction_id="p-1", value=1, observed_at=NOON),
        Label(prediction_id="p-2", value=0, observed_at=NOON, revision=3),
        Label(prediction_id="p-3", value=None, observed_at=NOON, revision=4, retracted=True),
        Label(
            entity="customer-7",
            period={"start_at": "2026-01-01T00:00:00Z", "end_at": "2026-01-31T23:00:00Z"},
            value=1,
            observed_at=NOON,
        ),
    )
    assert outcome.out.startswith("published 4 in 1 events: labels[")


def test_many_rows_are_divided_by_number_and_by_size(context: Context, cairn: Cairn, tmp_path: Path) -> None:
    file = tmp_path / "many.jsonl"
    rows = [{"prediction_id": f"p-{n}", "value": n % 2, "observed_at": NOON} for n in range(1500)]
    rows += [{"prediction_id": f"q-{n}", "value": "é" * 900, "observed_at": NOON} for n in range(200)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))

    outcome = cairn(*LABELS, file, "--json")

    events = facts_in(context)
    assert outcome.data["items"] == 1700
    assert len(outcome.data["events"]) == len(events)
    assert [item.prediction_id for item in items_in(context)] == [row["prediction_id"] for row in rows]
    sizes = [len(event.model_dump_json().encode()) for event in events]
    assert max(sizes) <= TOPICS["labels"].max_value_bytes
    assert max(len(event.items) for event in events) <= 1000  # type: ignore[attr-defined]  # labels have them
    assert len(events) < 3 + 1700 * 110 / 60_000 + 200 * 1800 / 60_000


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (["1", "0"], [1, 0]),
        (["1.5", "2"], [1.5, 2.0]),
        (["TRUE", "false"], [True, False]),
        (["01234", "12345"], ["01234", "12345"]),
        (["yes", "1"], ["yes", "1"]),
        (["9007199254740991", "1"], [2**53 - 1, 1]),
        (["100000000000000000000", "1"], [1e20, 1]),
    ],
)
def test_values_of_csv_are_what_all_of_them_are(
    cairn: Cairn, context: Context, tmp_path: Path, written: list[str], read: list[object]
) -> None:
    file = tmp_path / "values.csv"
    lines = [f"p-{n},{value},{NOON}\n" for n, value in enumerate(written)]
    file.write_text("prediction_id,value,observed_at\n" + "".join(lines))

    values = [item["value"] for item in json.loads(cairn(*LABELS, file, "--dry-run").out)["data"]["items"]]

    assert values == read
    assert [type(value) for value in values] == [type(value) for value in read]


def test_outcomes_come_from_parquet(context: Context, cairn: Cairn, tmp_path: Path) -> None:
    noon = datetime(2026, 11, 21, 12, tzinfo=UTC)
    table = pa.table({"prediction_id": ["p-1", "p-2"], "value": [12.5, -3.0], "observed_at": [noon, noon]})
    parquet.write_table(table, tmp_path / "losses.parquet")

    assert cairn(*OUTCOMES, tmp_path / "losses.parquet").code == 0

    [facts] = facts_in(context)
    assert isinstance(facts, OutcomesObserved)
    assert (facts.name, facts.unit, [item.value for item in facts.items]) == ("loss", "EUR", [12.5, -3.0])


def test_labels_come_from_a_query(context: Context, cairn: Cairn, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "core.db") as database:
        database.execute("CREATE TABLE repaid (id TEXT, bad INTEGER, seen TEXT)")
        database.executemany("INSERT INTO repaid VALUES (?, ?, ?)", [("p-1", 1, NOON), ("p-2", 0, NOON)])
    database.close()
    query = "SELECT id AS prediction_id, bad AS value, seen AS observed_at FROM repaid ORDER BY id"

    outcome = cairn(*LABELS, "--query", query, "--database", f"sqlite:///{tmp_path}/core.db")

    assert outcome.code == 0
    assert [(item.prediction_id, item.value) for item in items_in(context)] == [("p-1", 1), ("p-2", 0)]


def test_labels_from_postgresql_are_observed_at_its_instants(context: Context, cairn: Cairn, postgres_url: str) -> None:
    query = f"SELECT 'p-1' AS prediction_id, 0.5::float8 AS value, timestamptz '{NOON}' AS observed_at"

    outcome = cairn(*LABELS, "--query", query, "--database", postgres_url)

    assert outcome.code == 0, outcome.err
    assert [item.observed_at for item in items_in(context)] == [datetime(2026, 11, 21, 12, tzinfo=UTC)]


def test_what_is_no_query_is_refused(cairn: Cairn, postgres_url: str) -> None:
    outcome = cairn(*LABELS, "--query", "CREATE TABLE labels (id int)", "--database", postgres_url)

    assert outcome.code == 2
    assert "the query answers with no table" in outcome.err


HEADER = "prediction_id,value,observed_at,revision\n"


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("a.csv", HEADER + f"p-1,1,{NOON},0\np-2,1,2026-11-21,0\n", "a.csv:3: observed_at: '2026-11-21' is no instant"),
        ("a.csv", HEADER + f"p-1,1,{NOON},-1\n", "a.csv:2: revision: Input should be greater than or equal to 0"),
        ("a.csv", HEADER + f",1,{NOON},0\n", "a.csv:2: prediction_id: name either a prediction_id, or an entity"),
        ("a.csv", HEADER + f"p-1,,{NOON},0\n", "a.csv:2: value: is empty"),
        ("a.csv", HEADER + "p-1,1,,0\n", "a.csv:2: observed_at: Field required"),
        ("a.csv", HEADER + f"p-1,1,{NOON}\n", "a.csv:2: 3 cells where the header has 4"),
        ("a.csv", 'prediction_id,value\n"p\n1",1\np-2\n', "a.csv:4: 1 cells"),
        (
            "a.csv",
            "prediction_id,valeu\np-1,1\n",
            "a.csv:2: there is no column 'valeu' here; a row holds prediction_id,",
        ),
        (
            "a.csv",
            f"prediction_id,value,observed_at,value\np-1,1,{NOON},0\n",
            "a.csv:1: the column 'value' is there twice",
        ),
        ("a.csv", HEADER + f"p-1,1e9999999999999999999,{NOON},0\n", "a.csv:2: value: "),
        ("a.csv", HEADER + f"p-1,12345678901234567,{NOON},0\n", "a.csv:2: value: 12345678901234567 would be rounded"),
        (
            "a.csv",
            HEADER + f"p-1,1.5,{NOON},0\np-2,12345678901234567,{NOON},0\n",
            "a.csv:3: value: 12345678901234567 would be rounded",
        ),
        (
            "a.jsonl",
            json.dumps({"prediction_id": "p", "value": 12345678901234567, "observed_at": NOON}),
            "a.jsonl:1: value: 12345678901234567 would be rounded",
        ),
        ("a.csv", HEADER, "a.csv: there are no rows"),
        ("a.csv", "", "a.csv: there are no rows"),
        ("a.jsonl", '{"prediction_id": "p-1"\n', "a.jsonl:1: this is not JSON"),
        ("a.jsonl", "\n[1]\n", "a.jsonl:2: this is no JSON object"),
        (
            "a.jsonl",
            json.dumps({"entity": "c", "start_at": NOON, "value": 1, "observed_at": NOON}),
            "a.jsonl:1: end_at: Field required",
        ),
        ("a.jsonl", json.dumps({"prediction_id": "p", "value": [1], "observed_at": NOON}), "a.jsonl:1: value: "),
        ("a.parquet", "nonsense", "a.parquet: it cannot be read as Parquet"),
    ],
)
def test_a_bad_row_is_named_and_nothing_is_published(
    context: Context, cairn: Cairn, tmp_path: Path, name: str, text: str, complaint: str
) -> None:
    (tmp_path / name).write_text(text)

    outcome = cairn(*LABELS, name)

    assert (outcome.code, outcome.out) == (2, "")
    assert complaint in outcome.err
    assert facts_in(context) == []


def test_every_bad_row_is_named_but_not_thousands(cairn: Cairn, tmp_path: Path) -> None:
    (tmp_path / "bad.csv").write_text(HEADER + "p-1,1,never,0\n" * 1000)

    err = cairn(*LABELS, tmp_path / "bad.csv").err

    assert err.count("bad.csv:") == 20
    assert "bad.csv:21: observed_at" in err
    assert "and 980 more\nnothing was published" in err


def test_text_that_is_not_utf8_is_told(cairn: Cairn, tmp_path: Path) -> None:
    (tmp_path / "old.csv").write_bytes(HEADER.encode() + b"p-1,M\xfcller,2026,0\n")

    outcome = cairn(*LABELS, tmp_path / "old.csv")

    assert outcome.code == 2
    assert "old.csv: it is not UTF-8" in outcome.err


def test_a_dry_run_shows_the_events_and_sends_nothing(context: Context, cairn: Cairn, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(HEADER + f"p-1,1,{NOON},0\n")

    outcome = cairn(*LABELS, tmp_path / "a.csv", "--dry-run")

    event = json.loads(outcome.out)
    assert (event["type"], event["subject"], event["specversion"]) == (
        "cairn.labels.observed.v1",
        "model/risk.loans",
        "1.0",
    )
    assert event["data"]["items"][0]["prediction_id"] == "p-1"
    assert facts_in(context) == []


def test_a_name_that_cannot_be_is_wrong_usage(cairn: Cairn, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(HEADER + f"p-1,1,{NOON},0\n")

    outcome = cairn("publish", "labels", tmp_path / "a.csv", "--model", "Loans", "--target", "default")

    assert outcome.code == 2
    assert "model: " in outcome.err


def test_without_kafka_it_ends_with_3(context: Context, cairn: Cairn, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("a.csv").write_text(HEADER + f"p-1,1,{NOON},0\n")
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:9")

    outcome = cairn(*LABELS, "a.csv")

    assert outcome.code == 3
    assert "127.0.0.1:9 cannot be reached" in outcome.err
