import base64
from datetime import timedelta
from itertools import pairwise

import pytest
from tests.services.governance_auditor.samples import declared, passed, registered

from cairn.audit.leaf import encode_leaf
from cairn.audit.merkle import Frontier, consistency_proof, leaf_hash, verify_consistency
from cairn.audit.note import open_checkpoint
from cairn.audit.walk import Mismatch, Walk, checkpoint_keys, key_name, open_by_any
from cairn.events import CheckpointSigned, FindingRaised
from governance_auditor.api import list_checkpoints
from governance_auditor.store import LogStore
from governance_auditor.work.appending import raw_of


def turn(auditor, seconds: float = 10.0, times: int = 1) -> list[object]:
    """Let some time go by, and all that is due be done; what was told."""
    before = auditor._count_told()
    for _ in range(times):
        auditor.world.now += timedelta(seconds=seconds)
        auditor.turn()
        auditor.wait()
    return auditor._told_since(before)


def signed(told) -> dict[str, int]:
    return {facts.log: facts.tree_size for facts in told if isinstance(facts, CheckpointSigned)}


def test_a_log_that_has_grown_is_signed_at_the_root_that_anyone_computes(auditor):
    record = auditor.world.publish(declared())
    (checkpoint,) = [one for one in turn(auditor) if isinstance(one, CheckpointSigned)]
    world = auditor.world
    log = f"registry/{record.partition}"
    note = open_by_any(checkpoint.note, key_name(world.installation), checkpoint_keys(world.trust))
    assert (note.origin, note.size) == (f"cairn/{log}", 1)
    assert note.root == leaf_hash(encode_leaf(raw_of(record, world.installation)))
    assert (checkpoint.log, checkpoint.tree_size) == (log, 1)
    assert checkpoint.root_hash == base64.b64encode(note.root).decode()


def test_the_note_names_the_auditors_own_key(auditor):
    auditor.world.publish(declared())
    (checkpoint,) = turn(auditor)
    public = auditor.world.signers["governance-auditor"].private_key.public_key()
    assert open_checkpoint(checkpoint.note, "cairn/governance-auditor", public).size == 1


def test_checkpoints_alone_are_never_signed(auditor):
    auditor.world.publish(declared())
    assert len(signed(turn(auditor))) == 1
    assert turn(auditor, times=5) == []
    auditor.world.publish(declared(revision=2))
    again = signed(turn(auditor))
    assert len(again) == 2
    assert sorted(log.split("/")[0] for log in again) == ["checkpoints", "registry"]
    assert turn(auditor, times=5) == []


def test_a_log_is_signed_at_most_every_five_seconds(auditor):
    auditor.world.publish(declared())
    assert signed(turn(auditor))
    auditor.world.publish(declared(revision=2))
    assert turn(auditor, seconds=1) == []
    assert list(signed(turn(auditor, seconds=5)).values()).count(2) == 1


def test_each_checkpoint_goes_on_from_the_one_before(auditor):
    world, seen = auditor.world, []
    for n in range(1, 40):
        world.publish(declared(revision=n))
        seen += [one for one in turn(auditor) if isinstance(one, CheckpointSigned) and one.log.startswith("registry")]
    assert [one.tree_size for one in seen] == list(range(1, 40))
    with auditor.session() as session:
        subtrees = LogStore(session).subtrees(seen[0].log)
        for first, second in pairwise(seen):
            assert verify_consistency(
                first=first.tree_size,
                second=second.tree_size,
                first_root=base64.b64decode(first.root_hash),
                second_root=base64.b64decode(second.root_hash),
                proof=consistency_proof(first.tree_size, second.tree_size, subtrees),
            )


def test_what_was_not_looked_at_is_not_signed(auditor, monkeypatch):
    monkeypatch.setattr("governance_auditor.work.inspecting._MOST_RECORDS", 10)
    for n in range(1, 26):
        auditor.world.publish(declared(revision=n))
    assert list(signed(turn(auditor)).values()) == [10]
    assert auditor.definition.waits[0].next_at(auditor.session()) <= auditor.world.now
    turn(auditor, times=3)
    assert signed_size(auditor) == 25


def signed_size(auditor) -> int:
    return next(one["signed_size"] for one in list_checkpoints(auditor.database) if one["log"].startswith("registry"))


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE entry SET leaf = zeroblob(32) WHERE log LIKE 'registry/%' AND \"offset\" = 2",
        "DELETE FROM entry WHERE log LIKE 'registry/%' AND \"offset\" = 2",
        "UPDATE subtree SET hash = zeroblob(32) WHERE log LIKE 'registry/%' AND level = 5 AND position = 0",
        "DELETE FROM subtree WHERE log LIKE 'registry/%' AND level = 5",
    ],
)
def test_a_log_that_does_not_go_on_from_what_was_signed_is_not_signed(auditor, statement):
    size = 40 if "subtree" in statement else 5
    for n in range(1, size + 1):
        auditor.world.publish(declared(revision=n))
    assert signed(turn(auditor))
    with auditor.database.engine.begin() as connection:
        connection.connection.cursor().execute(statement)
    auditor.world.publish(declared(revision=99))
    told = turn(auditor)
    (finding,) = [one for one in told if isinstance(one, FindingRaised)]
    assert (finding.code, finding.severity) == ("fork", "alarm")
    auditor.world.publish(declared(revision=100))
    later = turn(auditor, times=3)
    assert not any(log.startswith("registry") for log in signed(later))
    assert not any(isinstance(one, FindingRaised) for one in later)
    assert [one["broken"] for one in list_checkpoints(auditor.database) if one["log"].startswith("registry")] == [True]


def test_a_log_that_is_mended_is_signed_again_and_a_second_break_is_told(auditor):
    for n in range(1, 6):
        auditor.world.publish(declared(revision=n))
    turn(auditor)
    right = set_leaf(auditor, bytes(32))
    auditor.world.publish(declared(revision=6))
    assert breaks(turn(auditor, times=2)) == ["fork"]
    set_leaf(auditor, right)
    assert signed_size(auditor) == 5
    assert list(signed(turn(auditor)).values()).count(6) == 1
    set_leaf(auditor, bytes(32))
    auditor.world.publish(declared(revision=7))
    assert breaks(turn(auditor, times=2)) == ["fork"]
    assert signed_size(auditor) == 6


def breaks(told) -> list[str]:
    return [one.code for one in told if isinstance(one, FindingRaised)]


def set_leaf(auditor, leaf: bytes) -> bytes:
    """Change a leaf's hash; what it was before."""
    where = "log LIKE 'registry/%' AND \"offset\" = 2"
    with auditor.database.engine.begin() as connection:
        cursor = connection.connection.cursor()
        (before,) = cursor.execute(f"SELECT leaf FROM entry WHERE {where}").fetchone()
        cursor.execute(f"UPDATE entry SET leaf = ? WHERE {where}", (leaf,))
    return before


def test_a_store_with_fewer_records_than_were_signed_is_found(auditor):
    for n in range(1, 6):
        auditor.world.publish(declared(revision=n))
    assert signed(turn(auditor))
    frontier = Frontier().extend([bytes(32)] * 3).to_bytes()
    with auditor.database.engine.begin() as connection:
        cursor = connection.connection.cursor()
        cursor.execute("UPDATE log SET size = 3, frontier = ? WHERE log LIKE 'registry/%'", (frontier,))
    (finding,) = [one for one in turn(auditor) if isinstance(one, FindingRaised)]
    assert (finding.code, finding.record.last_offset) == ("truncated", 4)


def test_the_api_says_how_much_is_not_yet_signed(auditor):
    auditor.world.publish(declared())
    auditor.append_new()
    (log,) = list_checkpoints(auditor.database)
    assert (log["size"], log["signed_size"], log["waiting"], log["note"]) == (1, 0, 1, None)
    turn(auditor, times=2)
    logs = {one["log"].split("/")[0]: one for one in list_checkpoints(auditor.database)}
    assert (logs["registry"]["waiting"], logs["checkpoints"]["waiting"]) == (0, 1)


def test_a_promotion_is_in_a_signed_log(auditor):
    for facts in (declared(), registered(), passed()):
        auditor.world.publish(facts)
    turn(auditor, times=3)
    logs = {one["log"].split("/")[0]: one for one in list_checkpoints(auditor.database)}
    assert (logs["governance"]["size"], logs["governance"]["waiting"]) == (1, 0)


LEAVES = [leaf_hash(b"%d" % n) for n in range(20)]


def walk_of(**roots: bytes) -> Walk:
    return Walk({int(size[1:]): {root} for size, root in roots.items()})


def root(size: int) -> bytes:
    return Frontier().extend(LEAVES[:size]).root


@pytest.mark.parametrize("step", [1, 3, 7, 20])
def test_a_walk_names_between_which_sizes_a_log_was_changed(step):
    walk = walk_of(_4=root(4), _9=bytes(32), _15=bytes(32), _20=root(20))
    found = [one for at in range(0, 20, step) for one in walk.step(LEAVES[at : at + step])]
    assert found == [Mismatch(4, 9), Mismatch(4, 15)]
    assert walk.frontier.root == root(20)


def test_two_roots_signed_for_one_size_never_agree():
    walk = walk_of(_4=root(4))
    walk.signed[4].add(bytes(32))
    assert walk.step(LEAVES) == [Mismatch(0, 4)]
