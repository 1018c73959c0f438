import asyncio
from dataclasses import dataclass, replace

import pytest
from tests.services.governance_auditor.samples import approval, declared, failed, passed, registered

from cairn.audit.leaf import Hole, decode_headers, encode_headers, encode_leaf
from cairn.audit.merkle import Frontier, inclusion_proof, leaf_hash, root_at, verify_inclusion
from cairn.events.codec import Record
from chassis.appending import take_raw
from chassis.digest import combine, digest_tables
from chassis.processor import StoreBehind
from chassis.rebuild import Rebuild
from governance_auditor.store import AuditorTable, LogStore
from governance_auditor.work.appending import OutOfStep, raw_of


def a_record(offset: int, topic: str = "registry", **fields) -> Record:
    record = Record(topic, 0, offset, 1_700_000_000_000 + offset, b"model/m", (("ce_id", b"%d" % offset),), b"{}")
    return replace(record, **fields)


def append(auditor, records) -> None:
    for record in records:
        auditor.world.log.setdefault((record.topic, record.partition), []).append(record)
    auditor.append_new()


def leaves_of(auditor, log) -> list[bytes]:
    installation = auditor.world.installation
    return [leaf_hash(encode_leaf(raw_of(record, installation))) for record in auditor.world.log[log]]


STRANGE = [
    a_record(0),
    a_record(1, value=None),
    a_record(2, key=None, value=b""),
    a_record(3, headers=()),
    a_record(4, headers=(("x", None), ("x", b""), ("ünï", b"\xff\x00"))),
    a_record(5, value=b"\xff\xfe not JSON", timestamp=-1, timestamp_type=0),
]


def test_whatever_a_record_holds_it_is_kept_as_it_is(auditor):
    append(auditor, STRANGE)
    with auditor.session() as session:
        assert LogStore(session).records("registry/0", 0, 100) == STRANGE


@pytest.mark.parametrize("sizes", [[1], [1, 1, 1], [5, 1, 64, 31, 1, 200], [100, 100, 100]])
def test_the_root_is_the_audit_librarys_own(auditor, sizes):
    offset = 0
    for size in sizes:
        append(auditor, [a_record(offset + n) for n in range(size)])
        offset += size
    leaves = leaves_of(auditor, ("registry", 0))
    with auditor.session() as session:
        store = LogStore(session)
        assert store.frontier("registry/0") == Frontier().extend(leaves)
        for size in range(1, len(leaves) + 1, 7):
            assert root_at(size, store.subtrees("registry/0")) == Frontier().extend(leaves[:size]).root


def test_every_record_can_be_proved(auditor):
    append(auditor, [a_record(n) for n in range(70)])
    leaves = leaves_of(auditor, ("registry", 0))
    with auditor.session() as session:
        store = LogStore(session)
        root = store.frontier("registry/0").root
        for index, leaf in enumerate(leaves):
            proof = inclusion_proof(index, 70, store.subtrees("registry/0"))
            assert verify_inclusion(leaf, index=index, size=70, proof=proof, root=root)


def test_what_was_taken_already_is_not_taken_again(auditor):
    append(auditor, [a_record(0), a_record(1)])
    auditor.appended.clear()
    append(auditor, [a_record(2)])
    with auditor.session() as session:
        assert LogStore(session).frontier("registry/0").size == 3


def test_a_record_that_does_not_go_on_where_the_tree_ends_is_not_stored(auditor):
    appender = auditor.definition.appenders[0]
    with pytest.raises(OutOfStep), auditor.session() as session:
        appender.append(session, 3, [a_record(3)])


def test_an_offset_without_a_record_has_a_leaf_of_its_own_and_is_no_record(auditor):
    appender, whole = auditor.definition.appenders[0], {("registry", 0): 0}
    take_raw(auditor.database, appender, [a_record(0), a_record(2, key=None)], whole)
    take_raw(auditor.database, appender, [a_record(5)], whole)
    kafka_topic = auditor.world.installation.topic("registry")
    seen = {n: raw_of(a_record(n, **({"key": None} if n == 2 else {})), auditor.world.installation) for n in (0, 2, 5)}
    leaves = [leaf_hash(encode_leaf(seen.get(n) or Hole(kafka_topic, 0, n))) for n in range(6)]
    with auditor.session() as session:
        store = LogStore(session)
        assert store.frontier("registry/0") == Frontier().extend(leaves)
        assert [record.offset for record in store.records("registry/0", 0, 100)] == [0, 2, 5]
        assert [record.offset for record in store.earlier("registry/0", None, 9, 100)] == [2]


def test_records_that_the_log_does_not_hold_any_more_are_not_taken_for_nothing(auditor):
    appender = auditor.definition.appenders[0]
    for beginnings in ({}, {("registry", 0): 2}):
        with pytest.raises(StoreBehind, match=r"registry/0 continues at 2, stored is 1"):
            take_raw(auditor.database, appender, [a_record(0), a_record(2)], beginnings)


@pytest.mark.parametrize("record", STRANGE)
def test_headers_are_read_back_as_they_were(record):
    assert decode_headers(encode_headers(record.headers)) == tuple(record.headers)


@pytest.mark.parametrize("stored", [b"", b"\x00", b"\x00\x00\x00\x01", b"\xff\xff\xff\xff", b"\x00\x00\x00\x00x"])
def test_bytes_that_are_no_headers_are_refused(stored):
    with pytest.raises(ValueError):
        decode_headers(stored)


@dataclass
class MemoryLog:
    """The world's log, as a rebuild reads it."""

    world: object

    async def committed(self, partitions):
        return await self.ends(partitions)

    async def beginnings(self, partitions):
        return dict.fromkeys(partitions, 0)

    async def ends(self, partitions):
        return {one: len(self.world.log.get(one, ())) for one in partitions}

    async def read(self, start, end):
        for one in sorted(start):
            for record in self.world.log.get(one, ())[start[one] : end[one]]:
                yield record


def digest(auditor) -> str:
    return combine(digest_tables(auditor.database, AuditorTable.metadata))


def test_a_rebuild_from_the_same_records_gives_the_same_store(auditor, new_auditor):
    auditor.hear(declared("ada"), registered(1), registered(2), passed(1), failed(2))
    auditor.hear(approval(1), authid="ada")
    auditor.hear(approval(1), authid="eve")
    for _ in range(4):
        auditor.turn()
    assert auditor.world.told()
    anew = new_auditor()
    log = MemoryLog(auditor.world)
    rebuild = Rebuild(anew.definition, anew.database, anew.processor, log, log, lambda *_: None)
    asyncio.run(rebuild.run())
    assert digest(anew) == digest(auditor)
