"""`verify`: whether a copy of the store still holds what was appended, and what was appended is what was signed."""

import argparse
import asyncio
import sqlite3
import sys
from functools import partial
from pathlib import Path
from urllib.parse import quote

from cairn.audit.leaf import encode_leaf, fill_holes
from cairn.audit.merkle import leaf_hash
from cairn.audit.walk import checkpoint_keys
from cairn.events.catalogue import TOPICS
from cairn.events.identity import Installation
from cairn.events.signing import Trust
from chassis import Definition, ServiceSettings
from chassis.database import StoreError
from chassis.kafka import Log, partitions_of
from chassis.rebuild import show_progress
from governance_auditor.store.log import log_name
from governance_auditor.work.appending import raw_of
from governance_auditor.work.recomputing import Recomputation
from governance_auditor.work.refolding import NotComparable, Refolding
from governance_auditor.work.report import OK, TAMPERED, TRUNCATED, UNREACHABLE, USAGE, WRONG_KEY, Report

_COVERED = (
    "looked at: the file; every raw record, the trees over them and the signed checkpoints; every row of the other "
    "tables, against what the records lead to. Not looked at: what no record says, that is chassis_position, "
    "chassis_lease, chassis_meta, and in chassis_told which decision told what, and where lies now what was sent again "
    "and is not appended yet"
)
_MANY_RECORDS = 10_000
"""A person is told how far it is from so many on: they take seconds."""
_MOST_SHOWN = 100


def verify(definition: Definition, settings: ServiceSettings, *arguments: str) -> int:
    """Recompute every leaf, root and row of a store's copy; name what differs.

    Raises KafkaUnreachable and TrustError.
    """
    parser = argparse.ArgumentParser(prog="python -P -m governance_auditor verify", description=verify.__doc__)
    parser.add_argument("--store", type=Path, required=True, help="the SQLite file, or a copy of it; only read")
    parser.add_argument("--bootstrap", default="", help="Kafka's addresses: compare with what lies there, too")
    asked = parser.parse_args(arguments)
    installation, report = Installation(settings.installation), Report()
    try:
        store = _open(asked.store)
    except sqlite3.OperationalError as error:
        return _say(f"{asked.store} cannot be read: {error}", UNREACHABLE)
    except sqlite3.DatabaseError as error:
        return _say(f"{asked.store} is damaged, or no SQLite file: {error}", TAMPERED)
    try:
        trust = Trust.load(settings.trust_file)
        Recomputation(store, installation, checkpoint_keys(trust), report).run()
        _compare_tables(Refolding(store, definition, installation, trust, _show_progress), report)
        _check_file(store, report)
        if asked.bootstrap:
            asyncio.run(_compare_with_kafka(store, asked.bootstrap, installation, report))
    except sqlite3.OperationalError as error:
        return _say(f"{asked.store} is not a governance-auditor's store: {error}", USAGE)
    except sqlite3.DatabaseError as error:
        report.add(TAMPERED, f"the file is damaged: {error}")
    finally:
        store.close()
    return _show(report)


def _open(path: Path) -> sqlite3.Connection:
    address = f"file:{quote(str(path.absolute()))}?mode=ro"
    try:
        return _connect(address)
    except sqlite3.OperationalError:
        # SQLite cannot make its lock beside a copy on a medium that cannot be written.
        return _connect(f"{address}&immutable=1")


def _connect(address: str) -> sqlite3.Connection:
    connection = sqlite3.connect(address, uri=True, isolation_level=None)
    connection.text_factory = partial(str, encoding="utf-8", errors="surrogateescape")  # whatever became of a text
    connection.execute("BEGIN")  # a service may write meanwhile: all that is compared is of one moment
    connection.execute("SELECT count(*) FROM sqlite_master")
    return connection


def _compare_tables(refolding: Refolding, report: Report) -> None:
    try:
        for text in refolding.compare():
            report.add(TAMPERED, text)
    except NotComparable as why:
        report.not_compared = str(why)
    except StoreError as error:
        unknown_key = any(code == WRONG_KEY for code, _ in report.problems)
        report.add(
            WRONG_KEY if unknown_key else TAMPERED,
            f"the tables cannot be made anew from the records, and were not compared: {error}",
        )


def _check_file(store: sqlite3.Connection, report: Report) -> None:
    for (text,) in store.execute("PRAGMA main.integrity_check"):
        if text != "ok":
            report.add(TAMPERED, f"the file is damaged: {text}")


def _show_progress(what: str, done: int, total: int) -> None:
    if total >= _MANY_RECORDS and sys.stderr.isatty():
        show_progress(what, done, total)


def _say(text: str, code: int) -> int:
    print(text, file=sys.stderr)  # noqa: T201 # a message to a person
    return code


def _show(report: Report) -> int:
    for _, text in report.problems[:_MOST_SHOWN]:
        print(text)  # noqa: T201 # the command's output
    if len(report.problems) > _MOST_SHOWN:
        print(f"… and {len(report.problems) - _MOST_SHOWN} more")  # noqa: T201 # as above
    words = {
        OK: "ok",
        TAMPERED: "TAMPERED",
        UNREACHABLE: "INCOMPLETE",
        TRUNCATED: "TRUNCATED",
        WRONG_KEY: "WRONG KEY",
    }
    counts = f"{report.logs} logs, {report.records} records, {report.unsigned} not yet signed"
    print(f"verify: {words[report.code]}, {counts}")  # noqa: T201 # as above
    if report.not_compared:
        _say(f"the tables that are made from the records were not compared: {report.not_compared}", report.code)
    elif report.code == OK:
        _say(_COVERED, OK)
    return report.code


async def _compare_with_kafka(
    store: sqlite3.Connection, servers: str, installation: Installation, report: Report
) -> None:
    stored = dict(store.execute("SELECT log, size FROM log WHERE typeof(size) = 'integer'").fetchall())
    sizes = {one: stored[log_name(*one)] for one in partitions_of(TOPICS) if log_name(*one) in stored}
    async with Log.open(servers, installation) as kafka:
        first, ends = await kafka.beginnings(sizes), await kafka.ends(sizes)
        for (topic, partition), size in sizes.items():
            there = f"{first[topic, partition]} to {ends[topic, partition]}"
            if first[topic, partition] > 0 or ends[topic, partition] < size:
                report.add(
                    TRUNCATED, f"{topic}/{partition}: Kafka has {there} of the {size} records that were appended"
                )
        following = dict(first)
        async for record in kafka.read(first, {one: min(size, ends[one]) for one, size in sizes.items()}):
            one, log = (record.topic, record.partition), f"{record.topic}/{record.partition}"
            for raw in fill_holes([raw_of(record, installation)], following[one]):
                query = 'SELECT leaf FROM entry WHERE log = ? AND "offset" = ?'
                if store.execute(query, (log, raw.offset)).fetchone() != (leaf_hash(encode_leaf(raw)),):
                    report.add(TAMPERED, f"{log} offset {raw.offset}: Kafka has another record than was appended")
            following[one] = record.offset + 1
