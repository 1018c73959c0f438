"""The whole loop on real Kafka with every process of its own, and what must hold when it has ended."""

import shutil
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest
import pytest_asyncio

from cairn.context import Context
from cairn.events import SERVICES, TOPICS, ModelPromoted, RetrainingAdvised
from cairn.local.stack import Stack
from tests.e2e.toy import End, Listener, calm, options, read_all, run_service, tell_story


@dataclass(frozen=True)
class Told:
    """A story that has ended; the services are stopped, Kafka is not."""

    stack: Stack
    context: Context
    end: End
    backup: Path
    """The registry's store as it was when version 1 had just become champion."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def told(kafka: str, shared: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Told]:
    home = tmp_path_factory.mktemp("story")
    stack = Stack(options(home, kafka, f"story-{uuid4().hex[:8]}"), lambda _name, _line: None)
    with calm(shared) as known:
        async with stack:
            context = stack.context
            backup = home / "registry-before.db"

            def back_up(moment: str) -> None:
                if moment.startswith("Version 1 is champion"):
                    copy_store(context.home / "stores" / "registry.db", backup)

            known.end = end = await tell_story(stack, Listener(back_up))
    yield Told(stack, context, end, backup)


def copy_store(store: Path, copy: Path) -> None:
    """Copy a SQLite file as it stands, though a service may have it open, over whatever is there."""
    for part in ("", "-wal", "-shm"):
        copy.with_name(copy.name + part).unlink(missing_ok=True)
    with closing(sqlite3.connect(store)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)


def test_two_versions_were_promoted(told: Told):
    assert told.end.generations == ((1, 1), (2, 2))


def test_the_system_was_whole_without_a_gateway(told: Told):
    assert set(told.context.services) == set(SERVICES)


def test_the_second_version_has_all_the_traffic(told: Told):
    _revision, arms = told.end.route
    assert [(role, version, weight) for role, version, _digest, weight in arms] == [("champion", 2, 1.0)]


@pytest.mark.parametrize("service", SERVICES)
def test_a_store_is_rebuilt_from_the_log_to_the_same_rows(told: Told, service: str):
    before = run_service(told.stack, service, "digest")
    assert before.returncode == 0, before.stderr
    rebuilt = run_service(told.stack, service, "rebuild")
    assert rebuilt.returncode == 0, rebuilt.stderr
    assert rebuilt.stdout.split()[-1] == before.stdout.split()[-1]


async def test_every_event_is_signed_and_told_once_in_effect(told: Told):
    heard = await read_all(told.context, tuple(TOPICS))
    assert all(one.signed for one in heard)
    promotions = [one.facts.generation for one in heard if isinstance(one.facts, ModelPromoted)]
    assert sorted(promotions) == [1, 2]


async def test_the_second_story_begins_with_the_advice(told: Told):
    heard = await read_all(told.context, ("monitoring", "registry"))
    (advice,) = (one for one in heard if isinstance(one.facts, RetrainingAdvised))
    (second,) = (one for one in heard if isinstance(one.facts, ModelPromoted) and one.facts.generation == 2)
    assert advice.message.envelope.correlationid == advice.message.envelope.id
    assert second.facts.reason.strip()


def test_the_audit_log_is_verified_against_kafka(told: Told):
    command = [sys.executable, "-P", "-m", "cairn", "audit", "verify"]
    environment = {**told.stack.processes["registry"].program.environment, "CAIRN_HOME": str(told.context.home)}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert ended.returncode == 0, ended.stderr
    assert "ok" in ended.stdout.splitlines()[-1]


def test_one_flipped_byte_in_a_copy_of_the_audit_store_is_found_and_named(told: Told, tmp_path: Path):
    store = told.context.home / "stores" / "governance-auditor.db"
    copy = tmp_path / "copy.db"
    shutil.copy(store, copy)
    where = _flip_a_byte(copy)
    ended = run_service(told.stack, "governance-auditor", "verify", "--store", str(copy))
    assert ended.returncode == 1
    assert where in ended.stdout + ended.stderr


def test_one_changed_column_in_a_row_that_the_records_lead_to_is_found_and_named(told: Told, tmp_path: Path):
    copy = tmp_path / "copy.db"
    shutil.copy(told.context.home / "stores" / "governance-auditor.db", copy)
    intact = run_service(told.stack, "governance-auditor", "verify", "--store", str(copy))
    assert intact.returncode == 0, intact.stdout
    assert "not compared" not in intact.stderr
    with closing(sqlite3.connect(copy)) as database, database:
        database.execute("UPDATE promotion SET state = 'bpproved' WHERE version = 2")
        database.execute("UPDATE registered SET revision = 3 WHERE version = 1")
    ended = run_service(told.stack, "governance-auditor", "verify", "--store", str(copy))
    assert ended.returncode == 1
    assert "version=1: revision: not what the records lead to" in ended.stdout
    assert "version=2: state: not what the records lead to" in ended.stdout


def test_an_old_backup_that_is_put_back_is_refused(told: Told, tmp_path: Path):
    store, latest = told.context.home / "stores" / "registry.db", tmp_path / "latest.db"
    copy_store(store, latest)
    copy_store(told.backup, store)
    started = run_service(told.stack, "registry")
    copy_store(latest, store)
    assert started.returncode == 2
    assert "that its store does not know: the store was lost, or is an old copy" in started.stderr
    assert "-m registry rebuild" in started.stderr


def _flip_a_byte(path: Path) -> str:
    """Change one byte of one stored record's value; where that is."""
    with sqlite3.connect(path) as database:
        log, offset, value = database.execute(
            'SELECT log, "offset", value FROM entry WHERE length(value) > 40 LIMIT 1'
        ).fetchone()
        changed = value[:20] + bytes([value[20] ^ 1]) + value[21:]
        database.execute('UPDATE entry SET value = ? WHERE log = ? AND "offset" = ?', (changed, log, offset))
    return f"{log} offset {offset}: the value differs"
