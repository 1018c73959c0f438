"""What the auditor's tables hold is compared with what the records in the same copy lead to."""

import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import String
from tests.services.governance_auditor.samples import approval, declared, failed, passed, registered
from tests.services.governance_auditor.test_findings import publish_unsigned
from tests.services.governance_auditor.worlds import add_auditor, make_world

from cairn.events import Policy, PolicySubmitted
from chassis import ServiceSettings, ledger
from governance_auditor.app import build
from governance_auditor.store import AuditorTable
from governance_auditor.work.verifying import OK, TAMPERED, UNREACHABLE, verify

TABLES = {
    **AuditorTable.metadata.tables,
    **{table.name: table for table in (ledger.TOLD, ledger.INBOX, ledger.SEQUENCE, ledger.PARKED)},
}
OF_ITS_OWN_LIFE = {"decision", "heard_topic", "heard_partition", "heard_offset"}
"""What only the store that told an event can know of it."""
COLUMNS = [
    column
    for table in TABLES.values()
    for column in table.columns
    if not (table is ledger.TOLD and column.name in OF_ITS_OWN_LIFE)
]
LAST_TEXTS = {one.table.name: one.name for one in COLUMNS if isinstance(one.type, String)}
BYTES = [
    *(pytest.param(one.table.name, one.name, 64, id=f"{one}") for one in COLUMNS),
    *(pytest.param(name, one, 128, id=f"{name}.{one}-no-utf-8") for name, one in LAST_TEXTS.items()),
]


@pytest.fixture(scope="module")
def busy(tmp_path_factory):
    """An auditor to which everything has happened that its tables remember."""
    world = make_world(tmp_path_factory.mktemp("busy"))
    auditor = add_auditor(world)
    for n in range(1, 41):  # enough records in one log for a subtree
        world.publish(declared("ada", revision=n))
    auditor.hear(registered(1), registered(2), passed(1), failed(2))
    auditor.hear(PolicySubmitted(policy="default", document=Policy(name="default", approvals_needed=1)))
    auditor.hear(approval(1), authid="ada")
    publish_unsigned(world, "1", "/stranger")
    publish_unsigned(world, "2")
    broken = world.publish(declared(revision=41))
    world.log[broken.topic, broken.partition][-1] = replace(broken, value=b'{"model":1}')
    for _ in range(6):
        world.now += timedelta(seconds=10)
        auditor.turn()
    auditor.append_new()
    return auditor


@pytest.fixture(scope="module")
def idle(busy) -> Path:
    """Its store, when all that it told had come back to it."""
    return copy_of(busy, "idle.db")


@pytest.fixture
def copy(idle, tmp_path) -> Path:
    shutil.copy(idle, tmp_path / "copy.db")
    shutil.copy(idle.parent / "trust.json", tmp_path)
    return tmp_path / "copy.db"


def copy_of(auditor, name: str) -> Path:
    copy = auditor.world.directory / name
    with closing(sqlite3.connect(auditor.database.engine.url.database)) as source, closing(sqlite3.connect(copy)) as to:
        source.backup(to)
    return copy


def run(store: Path) -> int:
    settings = ServiceSettings.model_construct(trust_file=store.parent / "trust.json")
    return verify(build(settings), settings, "--store", str(store))


def write(store: Path, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(store)) as connection, connection:
        assert connection.execute(statement, values).rowcount


def cell(store: Path, table: str, column: str) -> tuple[int | str, object]:
    """The last row of a table that has something there: what finds it again, and the value."""
    keys = [f'"{one.name}"' for one in TABLES[table].primary_key.columns]
    with closing(sqlite3.connect(store)) as connection:
        query = f'SELECT "{column}", {", ".join(keys)} FROM {table} WHERE length("{column}") > 0'
        value, *key = connection.execute(query).fetchall()[-1]
    return " AND ".join(f"{name} = {one!r}" for name, one in zip(keys, key, strict=True)), value


def put(store: Path, table: str, column: str, value: object, *, as_text: bool = False) -> None:
    where, _ = cell(store, table, column)
    write(store, f'UPDATE {table} SET "{column}" = {"CAST(? AS TEXT)" if as_text else "?"} WHERE {where}', value)


def flipped(value: object, bit: int) -> bytes | int:
    if isinstance(value, int):
        return value ^ bit
    changed = bytearray(value if isinstance(value, bytes) else value.encode())
    changed[len(changed) // 2] ^= bit
    return bytes(changed)


def test_a_store_of_which_nothing_was_changed_is_ok(copy, capsys):
    before = copy.read_bytes()
    assert run(copy) == OK
    said = capsys.readouterr()
    assert "not compared" not in said.err
    assert "chassis_told" in said.err
    assert copy.read_bytes() == before


def test_every_table_has_rows_to_change(copy):
    with closing(sqlite3.connect(copy)) as connection:
        assert all(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in TABLES)


@pytest.mark.parametrize(("table", "column", "bit"), BYTES)
def test_one_byte_of_any_column_of_any_table_is_found_and_named(copy, capsys, table, column, bit):
    _, value = cell(copy, table, column)
    put(copy, table, column, flipped(value, bit), as_text=isinstance(value, str))
    assert run(copy) == TAMPERED
    assert any(names(line, table, column) for line in capsys.readouterr().out.splitlines())


def names(line: str, table: str, column: str) -> bool:
    """Whether a line says where something was changed: the table and the column, or the place in the log."""
    if TABLES[table] not in (AuditorTable.metadata.tables[name] for name in ("entry", "log", "subtree")):
        keys = [one.name for one in TABLES[table].primary_key.columns]
        return (
            line.startswith(f"{table} ")
            and all(f"{name}=" in line for name in keys)
            and (column in keys or column in line.partition(":")[2])
        )
    return "/" in line and any(word in line for word in ("offset", "subtree", "edge", "log"))


@pytest.mark.parametrize("table", sorted(TABLES))
def test_a_deleted_row_is_found_and_named(copy, capsys, table):
    key = next(iter(TABLES[table].primary_key.columns)).name
    where, _ = cell(copy, table, key)
    write(copy, f"DELETE FROM {table} WHERE {where}")
    assert run(copy) == TAMPERED
    if table not in ("entry", "log", "subtree"):
        assert any(line.startswith(f"{table} ") and ": missing" in line for line in lines(capsys))


def test_an_added_row_is_found_and_named(copy, capsys):
    write(copy, "INSERT INTO declared VALUES ('risk.loans', 99, '[]')")
    assert run(copy) == TAMPERED
    assert "declared model='risk.loans' revision=99: no record leads to this row" in lines(capsys)


def test_each_changed_column_of_a_row_is_named(copy, capsys):
    write(copy, "UPDATE registered SET digest = 'sha256:00', revision = 9 WHERE version = 2")
    assert run(copy) == TAMPERED
    assert "registered model='risk.loans' version=2: digest, revision: not what the records lead to" in lines(capsys)


@pytest.mark.parametrize(
    ("table", "column", "value"),
    [
        ("registered", "revision", "seven"),
        ("verdict", "facts", b"\x00"),
        ("verdict", "facts", "{"),
        ("promotion", "origin", "no JSON"),
        ("signed", "tree_size", "many"),
        ("signed", "note", b"\xff"),
        ("entry", "value", "text"),
        ("entry", "headers", "text"),
        ("entry", "key", 5),
        ("entry", "timestamp", "late"),
        ("entry", "offset", "last"),
        ("entry", "entry", "text"),
        ("entry", "leaf", 5),
        ("log", "size", "large"),
        ("log", "frontier", "text"),
        ("subtree", "level", "low"),
        ("subtree", "hash", "text"),
        ("chassis_told", "value", "text"),
        ("chassis_told", "offset", "far"),
    ],
)
def test_a_value_of_another_type_is_tampering_and_no_traceback(copy, capsys, table, column, value):
    put(copy, table, column, value)
    assert run(copy) == TAMPERED
    assert lines(capsys)


def test_a_value_whose_bytes_are_the_same_but_now_a_text_is_named(copy, capsys):
    where, _ = cell(copy, "entry", "value")
    write(copy, f"UPDATE entry SET value = CAST(value AS TEXT) WHERE {where}")
    assert run(copy) == TAMPERED
    assert any("value" in line and "type" in line for line in lines(capsys))


def test_a_byte_flipped_in_an_index_of_the_file_is_named(copy, capsys):
    held = bytearray(copy.read_bytes())
    held[held.index(b"risk.loans\x11\x11")] ^= 1  # revision 17 in row 17: so it stands in the index alone
    copy.write_bytes(held)
    assert run(copy) == TAMPERED
    assert "the file is damaged: row 17 missing from index sqlite_autoindex_declared_1" in lines(capsys)


def test_what_the_raw_records_themselves_lead_to_is_said_after_they_were_named(copy, capsys):
    write(copy, "UPDATE entry SET value = x'7b7d' WHERE log LIKE 'registry/%' AND \"offset\" = 17")
    assert run(copy) == TAMPERED
    said = lines(capsys)
    assert "offset 17: the value differs from what was appended" in said[0]
    assert any("cannot be made anew from the records" in line and "/17 cannot be trusted now" in line for line in said)


def test_what_was_told_and_is_not_in_the_log_yet_is_not_compared(tmp_path, capsys):
    world = make_world(tmp_path)
    auditor = add_auditor(world)
    auditor.hear(declared(), registered(), passed())
    auditor.append_new()
    store = copy_of(auditor, "told.db")
    assert run(store) == UNREACHABLE
    assert (
        "not compared: 1 told events are not in the log yet; copy the store when it is idle" in capsys.readouterr().err
    )
    auditor.relay()
    store = copy_of(auditor, "relayed.db")
    write(store, "UPDATE registered SET digest = 'x'")
    assert run(store) == UNREACHABLE
    assert "not compared: 1 told events are not in the log yet" in capsys.readouterr().err
    auditor.append_new()
    assert run(copy_of(auditor, "appended.db")) == OK
    assert "not compared" not in capsys.readouterr().err


def test_what_was_sent_again_and_has_not_come_back_yet_is_no_tampering(tmp_path, capsys):
    world = make_world(tmp_path)
    auditor = add_auditor(world)
    auditor.hear(declared(), registered(), passed())
    for _ in range(2):
        auditor.turn()
    auditor.append_new()
    assert run(copy_of(auditor, "settled.db")) == OK
    write(Path(auditor.database.engine.url.database), 'UPDATE chassis_told SET "offset" = NULL')
    auditor.relay()
    assert run(copy_of(auditor, "again.db")) == OK, lines(capsys)
    copy = copy_of(auditor, "far.db")
    write(copy, 'UPDATE chassis_told SET "offset" = "offset" + 64')
    assert run(copy) == TAMPERED


def test_no_two_events_can_have_been_sent_again_to_one_place(copy, capsys):
    end = """SELECT max("offset") + 1 FROM entry WHERE log = topic || '/' || "partition" """
    write(copy, f'UPDATE chassis_told SET "offset" = ({end})')
    assert run(copy) == TAMPERED


def test_what_was_heard_and_is_not_appended_yet_is_not_compared(tmp_path, capsys):
    world = make_world(tmp_path)
    auditor = add_auditor(world)
    auditor.hear(declared())
    assert run(copy_of(auditor, "heard.db")) == UNREACHABLE
    assert (
        "not compared: 1 heard records are not appended yet; copy the store when it is idle" in capsys.readouterr().err
    )


def lines(capsys) -> list[str]:
    """What was found, without the last line, which sums up."""
    return capsys.readouterr().out.splitlines()[:-1]
