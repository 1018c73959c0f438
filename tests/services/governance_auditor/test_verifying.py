import shutil
import sqlite3
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from tests.services.governance_auditor.samples import declared, passed, registered

from cairn.audit.leaf import encode_leaf
from cairn.audit.merkle import Frontier, leaf_hash
from cairn.events import Signer, Trust
from chassis import ServiceSettings
from governance_auditor.app import build
from governance_auditor.store import Raw
from governance_auditor.work.verifying import OK, TAMPERED, TRUNCATED, UNREACHABLE, USAGE, WRONG_KEY, verify


@pytest.fixture
def store(auditor, tmp_path) -> Path:
    """A copy of a store with 40 signed records in one log, and a few in others."""
    world = auditor.world
    for n in range(1, 41):
        world.publish(declared(revision=n))
    world.publish(registered(revision=7))
    world.publish(passed())
    for _ in range(3):
        world.now += timedelta(seconds=10)
        auditor.turn()
    auditor.append_new()
    auditor.database.engine.dispose()
    copy = tmp_path / "copy.db"
    shutil.copy(auditor.database.engine.url.database, copy)
    return copy


def run(store: Path, *arguments: str) -> int:
    settings = ServiceSettings.model_construct(trust_file=store.parent / "trust.json")
    return verify(build(settings), settings, "--store", str(store), *arguments)


def test_whoever_has_a_copy_needs_nothing_else_but_the_trust_file(store):
    command = [sys.executable, "-P", "-m", "governance_auditor", "verify", "--store", str(store)]
    environment = {"CAIRN_TRUST_FILE": str(store.parent / "trust.json"), "LOG_FORMAT": "console"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout[:10]) == (OK, "verify: ok"), done.stderr


def write(store: Path, statement: str, *values: object) -> None:
    with sqlite3.connect(store) as connection:
        assert connection.execute(statement, values).rowcount
    connection.close()


def flipped(value: bytes, at: int = -1) -> bytes:
    changed = bytearray(value)
    changed[at] ^= 1
    return bytes(changed)


def flip(store: Path, column: str, offset: int = 17) -> None:
    """Flip one bit in one column of one record."""
    with sqlite3.connect(store) as connection:
        where = "log LIKE 'registry/%' AND \"offset\" = ?"
        (value,) = connection.execute(f'SELECT "{column}" FROM entry WHERE {where}', (offset,)).fetchone()
        changed = flipped(value) if isinstance(value, bytes) else value ^ 1
        connection.execute(f'UPDATE entry SET "{column}" = ? WHERE {where}', (changed, offset))
    connection.close()


def test_an_untouched_store_is_ok(store, capsys):
    assert run(store) == OK
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("verify: ok, ")
    assert "not yet signed" in last


@pytest.mark.parametrize(
    ("column", "name"),
    [
        ("value", "value"),
        ("headers", "headers"),
        ("key", "key"),
        ("timestamp", "timestamp"),
        ("timestamp_type", "timestamp type"),
    ],
)
def test_one_flipped_bit_is_found_and_named(store, capsys, column, name):
    flip(store, column)
    assert run(store) == TAMPERED
    out = capsys.readouterr().out
    assert f"offset 17: the {name} differs from what was appended" in out
    assert out.splitlines()[-1].startswith("verify: TAMPERED")


@pytest.mark.parametrize(
    ("column", "says"), [("entry", "the stored leaf differs"), ("leaf", "the leaf's hash differs")]
)
def test_a_flipped_hash_is_told_from_a_flipped_record(store, capsys, column, says):
    flip(store, column)
    assert run(store) == TAMPERED
    assert f"offset 17: {says}; the record itself is as it was appended" in capsys.readouterr().out


def test_a_bit_flipped_in_the_file_itself_is_named(store, capsys):
    held = bytearray(store.read_bytes())
    held[held.index(b'"revision":18,') + 11] ^= 1
    store.write_bytes(held)
    assert run(store) == TAMPERED
    assert "offset 17: the value differs" in capsys.readouterr().out


def test_a_file_whose_pages_are_broken_is_damaged(store, capsys):
    held = bytearray(store.read_bytes())
    page = held.index(b'"revision":18,') // 4096 * 4096
    held[page : page + 16] = bytes(16)
    store.write_bytes(held)
    assert run(store) == TAMPERED
    assert "the file is damaged" in capsys.readouterr().out


def test_a_file_that_is_no_store_at_all_is_damaged_too(store, capsys):
    store.write_bytes(b"hello" * 1000)
    assert run(store) == TAMPERED
    assert "is damaged, or no SQLite file" in capsys.readouterr().err


def test_a_null_is_not_an_empty_value(store, capsys):
    write(store, "UPDATE entry SET value = NULL WHERE log LIKE 'registry/%' AND \"offset\" = 17")
    assert run(store) == TAMPERED
    assert "offset 17: the value differs" in capsys.readouterr().out


def test_a_deleted_record_is_named(store, capsys):
    write(store, "DELETE FROM entry WHERE log LIKE 'registry/%' AND \"offset\" = 17")
    assert run(store) == TAMPERED
    assert "offset 17: missing, 18 stands in its place" in capsys.readouterr().out


def test_a_record_changed_with_all_its_hashes_does_not_lead_to_the_signed_root(store, capsys):
    rewrite(store, 17, b'{"forged":true}')
    assert run(store) == TAMPERED
    out = capsys.readouterr().out.splitlines()
    assert "not what was signed at size" in out[0]
    assert "the tables cannot be made anew from the records" in out[1]
    assert len(out) == 3


def rewrite(store: Path, offset: int, value: bytes) -> None:
    """What somebody would do who knows how the store is made, but has not the auditor's key."""
    with sqlite3.connect(store) as connection:
        (log,) = connection.execute("SELECT log FROM log WHERE log LIKE 'registry/%'").fetchone()
        connection.execute('UPDATE entry SET value = ? WHERE log = ? AND "offset" = ?', (value, log, offset))
        hashes = []
        query = 'SELECT "offset", timestamp, timestamp_type, "key", headers, value FROM entry WHERE log = ? ORDER BY 1'
        for row in connection.execute(query, (log,)).fetchall():
            from cairn.audit.leaf import decode_headers

            raw = Raw("cairn.registry", int(log[-1]), *row[:4], decode_headers(row[4]), row[5])
            entry = encode_leaf(raw)
            hashes.append(leaf_hash(entry))
            update = 'UPDATE entry SET entry = ?, leaf = ? WHERE log = ? AND "offset" = ?'
            connection.execute(update, (entry, hashes[-1], log, row[0]))
        frontier, runs = Frontier().grow(hashes)
        connection.execute("UPDATE log SET frontier = ? WHERE log = ?", (frontier.to_bytes(), log))
        for level_run in runs:
            for n, one in enumerate(level_run.hashes, start=level_run.first):
                update = "UPDATE subtree SET hash = ? WHERE log = ? AND level = ? AND position = ?"
                connection.execute(update, (one, log, level_run.level, n))
    connection.close()


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        ("UPDATE subtree SET hash = zeroblob(32)", "subtree 0 at level 5 differs"),
        ("DELETE FROM subtree", "subtree 0 at level 5 differs"),
        ("INSERT INTO subtree SELECT log, 9, 9, hash FROM subtree", "the tree's edge is not that"),
        ("UPDATE log SET size = size + 1 WHERE log LIKE 'registry/%'", "the tree's edge is not that"),
        ("DELETE FROM log WHERE log LIKE 'registry/%'", "the tree's edge is not that"),
        ("UPDATE signed SET note = replace(note, 'cairn/registry', 'cairn/registri')", "did not sign this text"),
        ("UPDATE signed SET note = 'hello'", "a note is a text"),
        ("UPDATE signed SET root_hash = 'AAAA' WHERE log LIKE 'registry/%'", "the note says otherwise"),
    ],
)
def test_whatever_else_was_changed_is_found(store, capsys, statement, says):
    write(store, statement)
    assert run(store) == TAMPERED
    assert says in capsys.readouterr().out


def test_a_log_shorter_than_what_was_signed_is_truncated(store, capsys):
    with sqlite3.connect(store) as connection:
        (log,) = connection.execute("SELECT log FROM log WHERE log LIKE 'registry/%'").fetchone()
        hashes = [
            row[0] for row in connection.execute('SELECT leaf FROM entry WHERE log = ? ORDER BY "offset"', (log,))
        ]
        connection.execute('DELETE FROM entry WHERE log = ? AND "offset" >= 35', (log,))
        frontier = Frontier().extend(hashes[:35])
        connection.execute("UPDATE log SET size = 35, frontier = ? WHERE log = ?", (frontier.to_bytes(), log))
    connection.close()
    assert run(store) == TRUNCATED
    assert "has 35 records, 41 were signed" in capsys.readouterr().out


def test_notes_by_another_key_are_a_wrong_key(store, capsys):
    trust = Trust.load(store.parent / "trust.json")
    keys = [
        key.model_copy(update={"public_key": Signer.generate("x").public_text}) if "checkpoints" in key.topics else key
        for key in trust.keys
    ]
    Trust(keys=tuple(keys)).save(store.parent / "trust.json")
    assert run(store) == WRONG_KEY
    assert capsys.readouterr().out.splitlines()[-1].startswith("verify: WRONG KEY")


def test_a_store_that_is_not_there_is_unreachable(store, capsys):
    assert run(store.parent / "nothing.db") == UNREACHABLE
    assert "cannot be read" in capsys.readouterr().err


def test_another_services_store_is_named_as_such(store, capsys):
    sqlite3.connect(store.parent / "other.db").execute("CREATE TABLE x (y)").connection.close()
    assert run(store.parent / "other.db") == USAGE
    assert "is not a governance-auditor's store" in capsys.readouterr().err


def test_wrong_usage_is_said(store, capsys):
    with pytest.raises(SystemExit) as end:
        verify(None, ServiceSettings.model_construct(), "--stroe", "x")
    assert end.value.code == USAGE


def test_a_store_is_only_read(store):
    store.chmod(0o400)
    before = store.read_bytes()
    assert run(store) == OK
    assert store.read_bytes() == before
