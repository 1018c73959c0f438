"""`cairn publish dataset`: files go to the object store, and an event tells of them."""

import asyncio
import io
import json
import os
import sqlite3
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from tests.conftest import S3Server
from tests.libs.cairn.cli.conftest import Outcome
from tests.libs.cairn.installations import new_installation
from tests.libs.cairn.objects.places import minio, put

from cairn.context import Context
from cairn.events import DatasetPublished, Heard
from cairn.objects import S3Settings, open_store
from cairn.subscriber import read_log
from modelkit.datasets import read_dataset

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


def published(context: Context) -> DatasetPublished:
    """What was told of the one dataset."""

    async def read() -> DatasetPublished:
        [entry] = [entry async for entry in read_log(context, ["datasets"])]
        assert isinstance(entry.heard, Heard)
        assert isinstance(entry.heard.facts, DatasetPublished)
        return entry.heard.facts

    return asyncio.run(read())


NAMED = ("--name", "risk.loans-2026", "--version", "1")


class TestASource:
    def test_may_be_several_files(self, context: Context, cairn: Cairn, tmp_path: Path) -> None:
        for name in ("a.csv", "b.csv"):
            (tmp_path / name).write_text(f"x\n{ord(name[0])}\n")

        assert cairn("publish", "dataset", "a.csv", "b.csv", *NAMED).code == 0

        store = open_store(context.objects_url)
        assert [store.get(file).read_text() for file in published(context).files] == ["x\n97\n", "x\n98\n"]

    def test_may_be_standard_input(self, context: Context, cairn: Cairn, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"x\n1\n")))
        assert cairn("publish", "dataset", "-", *NAMED).code == 2

        assert cairn("publish", "dataset", "-", *NAMED, "--format", "csv").code == 0

        assert open_store(context.objects_url).get(published(context).files[0]).read_bytes() == b"x\n1\n"

    def test_may_lie_in_a_bucket_and_is_copied(
        self, context: Context, cairn: Cairn, s3: S3Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        settings = S3Settings(s3.endpoint, access_key=s3.access_key, secret_key=s3.secret_key)
        client, bucket = minio(settings), f"upstream-{uuid.uuid4()}"
        client.make_bucket(bucket)
        url = put(client, bucket, "2026/loans.csv", b"x\n1\n")
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", s3.endpoint)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3.access_key)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3.secret_key)

        gone = cairn("publish", "dataset", url.replace("loans", "gone"), *NAMED)
        assert (gone.code, "there is no object" in gone.err) == (2, True)
        assert cairn("publish", "dataset", url, *NAMED).code == 0

        [file] = published(context).files
        assert file.uri.startswith("file:///")
        assert open_store(context.objects_url).get(file).read_bytes() == b"x\n1\n"

    def test_of_json_lines_becomes_parquet_that_readers_read(
        self, context: Context, cairn: Cairn, tmp_path: Path
    ) -> None:
        rows = [{"day": "2026-11-21", "income": n, "rate": n / 2, "good": n % 2 == 0, "note": None} for n in range(9)]
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (tmp_path / "loans.jsonl").write_text(lines)

        first = cairn("publish", "dataset", "loans.jsonl", *NAMED, "--dry-run")
        assert cairn("publish", "dataset", "loans.jsonl", *NAMED).code == 0

        facts = published(context)
        assert "loans.jsonl is published as Parquet" in first.err
        assert json.loads(first.out)["data"]["files"][0] == facts.files[0].model_dump()
        table = read_dataset([open_store(context.objects_url).get(facts.files[0])], facts.format).table
        assert table.to_pylist() == rows

    @pytest.mark.parametrize(
        ("text", "complaint"),
        [
            ('{"a": 1}\n{"a": \n', "bad.jsonl:2: this is not JSON"),
            ('{"a": 1}\n7\n', "bad.jsonl:2: this is no JSON object"),
            ('{"a": 1}\n{"a": "x"}\n', "bad.jsonl: JSON parse error: Column(/a) changed from number to string"),
            ('{"a": [1]}\n', "bad.jsonl: column 'a' is of type list"),
        ],
    )
    def test_of_json_lines_that_are_no_table_is_wrong_usage(
        self, context: Context, cairn: Cairn, tmp_path: Path, text: str, complaint: str
    ) -> None:
        (tmp_path / "bad.jsonl").write_text(text)

        outcome = cairn("publish", "dataset", "bad.jsonl", *NAMED)

        assert outcome.code == 2
        assert complaint in outcome.err

    def test_may_be_a_query_whose_answer_is_always_the_same_bytes(
        self, context: Context, cairn: Cairn, tmp_path: Path
    ) -> None:
        with sqlite3.connect(tmp_path / "core.db") as database:
            database.execute("CREATE TABLE loans (id INTEGER, income REAL, note TEXT)")
            database.executemany("INSERT INTO loans VALUES (?, ?, ?)", [(n, n / 4, f"n{n}") for n in range(70_000)])
        database.close()
        query = ("--query", "SELECT * FROM loans ORDER BY id", "--database", f"sqlite:///{tmp_path}/core.db")

        digests = {
            json.loads(cairn("publish", "dataset", *query, *NAMED, "--dry-run").out)["data"]["files"][0]["digest"]
            for _ in range(2)
        }
        assert cairn("publish", "dataset", *query, *NAMED).code == 0

        facts = published(context)
        assert {file.digest for file in facts.files} == digests
        table = read_dataset([open_store(context.objects_url).get(facts.files[0])], facts.format).table
        assert table.num_rows == 70_000
        assert table.slice(69_999).to_pylist() == [{"id": 69_999, "income": 69_999 / 4, "note": "n69999"}]

    def test_may_be_a_query_to_postgresql(self, context: Context, cairn: Cairn, postgres_url: str) -> None:
        with psycopg.connect(postgres_url) as connection:
            connection.execute(
                "CREATE TABLE loans AS SELECT n AS id, n / 4.0::float8 AS income FROM generate_series(1, 3) n"
            )
        query = ("--query", "SELECT * FROM loans ORDER BY id", "--database", postgres_url)

        assert cairn("publish", "dataset", *query, *NAMED).code == 0

        table = read_dataset([open_store(context.objects_url).get(published(context).files[0])], "parquet").table
        assert table.to_pylist() == [{"id": 1, "income": 0.25}, {"id": 2, "income": 0.5}, {"id": 3, "income": 0.75}]

    def test_in_a_type_that_no_dataset_holds_is_told(self, context: Context, cairn: Cairn, postgres_url: str) -> None:
        query = ("--query", "SELECT now() AS seen", "--database", postgres_url)

        outcome = cairn("publish", "dataset", *query, *NAMED)

        assert outcome.code == 2
        assert "the query: column 'seen' is of type timestamp" in outcome.err

    @pytest.mark.parametrize(
        ("arguments", "code", "complaint"),
        [
            (("--query", "SELECT 1"), 2, "both --query and --database"),
            (("--database", "sqlite:///x.db"), 2, "both --query and --database"),
            (("a.csv", "--query", "SELECT 1", "--database", "sqlite:///x.db"), 2, "name a SOURCE, or both"),
            (("--query", "SELECT 1", "--database", "mysql://host/x"), 2, "--database is no address"),
            (("--query", "SELECT 1", "--database", "sqlite:///gone.db"), 3, "there is no SQLite database gone.db"),
            (("--query", "SELECT 1", "--database", "postgresql://127.0.0.1:9/x"), 3, "database cannot be reached"),
            (("a.csv", "b.parquet"), 2, "all CSV or all Parquet"),
            ((".",), 2, "its name does not say"),
            ((".", "--format", "csv"), 2, ".: it is no file"),
        ],
    )
    def test_that_cannot_be_meant_is_told(
        self, context: Context, cairn: Cairn, tmp_path: Path, arguments: tuple[str, ...], code: int, complaint: str
    ) -> None:
        for name in ("a.csv", "b.parquet"):
            (tmp_path / name).touch()

        outcome = cairn("publish", "dataset", *arguments, *NAMED)

        assert (outcome.code, outcome.out) == (code, "")
        assert complaint in outcome.err

    def test_with_a_query_that_is_none_is_wrong_usage(self, context: Context, cairn: Cairn, tmp_path: Path) -> None:
        sqlite3.connect(tmp_path / "core.db").execute("CREATE TABLE t (x)").connection.close()

        outcome = cairn(
            "publish", "dataset", "--query", "SELEC 1", "--database", f"sqlite:///{tmp_path}/core.db", *NAMED
        )

        assert outcome.code == 2
        assert "the query cannot be answered" in outcome.err


class TestADryRun:
    def test_shows_the_event_and_uploads_nothing(
        self, context: Context, cairn: Cairn, file: Path, tmp_path: Path
    ) -> None:
        outcome = cairn("publish", "dataset", file, *NAMED, "--dry-run")

        event = json.loads(outcome.out)
        assert (event["type"], event["subject"]) == ("cairn.dataset.published.v1", "dataset/risk.loans-2026")
        assert not (tmp_path / "objects").exists()
        cairn("publish", "dataset", file, *NAMED)
        assert published(context).model_dump(mode="json", exclude_none=True) == {
            name: cell for name, cell in event["data"].items() if cell is not None
        }


def test_an_extra_that_is_not_installed_is_named(
    context: Context, cairn: Cairn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.jsonl").write_text('{"a": 1}\n')
    sqlite3.connect(tmp_path / "x.db").execute("CREATE TABLE t (x)").connection.close()
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "adbc_driver_sqlite.dbapi", None)

    lines = cairn("publish", "dataset", "a.jsonl", *NAMED)
    query = cairn("publish", "dataset", "--query", "SELECT 1", "--database", "sqlite:///x.db", *NAMED)

    assert (lines.code, query.code) == (2, 2)
    assert "pip install 'cairn-sdk[data]'" in lines.err
    assert "pip install 'cairn-sdk[sql]'" in query.err


def test_a_topic_that_is_not_there_ends_with_3(
    cairn: Cairn, kafka: str, tmp_path: Path, point_at: Callable[[Context], None], file: Path
) -> None:
    point_at(asyncio.run(new_installation(kafka, tmp_path)))

    outcome = cairn("publish", "dataset", file, *NAMED)

    assert outcome.code == 3
    assert "has no topic" in outcome.err


def test_who_may_not_publish_is_told_so(context: Context, cairn: Cairn, file: Path) -> None:
    outcome = cairn("publish", "dataset", file, *NAMED, "--event-source", "/somebody-else")

    assert outcome.code == 2
    assert "may not speak for /somebody-else" in outcome.err


def test_on_a_terminal_a_bar_shows_how_far_the_upload_is(context: Context, file: Path) -> None:
    master, slave = os.openpty()
    command = [sys.executable, "-c", "from cairn.cli import main; main()", "publish", "dataset", str(file), *NAMED]

    child = subprocess.run(command, stderr=slave, stdout=subprocess.PIPE, env=os.environ | {"TERM": "xterm"})
    os.close(slave)
    shown = os.read(master, 100_000)
    os.close(master)

    assert child.returncode == 0
    assert b"19/19 bytes" in shown
