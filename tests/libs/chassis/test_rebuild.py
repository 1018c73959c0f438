"""On a real Kafka: a store can be lost and made anew from the log, and none that is behind the log goes on."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from tests.libs.chassis import toy as a
from tests.libs.chassis.live import Live
from tests.libs.chassis.looking import digest_of, everything, ledger_rows, positions_of, rows_of, told, told_ids
from tests.libs.chassis.toy import Figure, Note

from cairn.events import OutcomesObserved, RedriveRequested
from cairn.events.codec import Outgoing, read
from cairn.events.signing import Trust, TrustedKey
from cairn.events.upcasting import Versions
from chassis import Transaction
from chassis.database import StoreError
from chassis.kafka import Log, Partition, partitions_of
from chassis.ledger import LEASE, PARKED, TOLD
from chassis.outbox import confirm, load_waiting
from chassis.rebuild import RebuildError
from chassis.standing import MustRebuild


@pytest.fixture
async def live(kafka: str, tmp_path: Path) -> AsyncIterator[Live]:
    async with Live.begin(kafka, tmp_path) as begun:
        yield begun


@pytest.fixture
async def live_on_each(kafka: str, tmp_path: Path, database_url: str) -> AsyncIterator[Live]:
    async with Live.begin(kafka, tmp_path, database_url) as begun:
        yield begun


def fails(event: OutcomesObserved, _tx: Transaction) -> None:
    if event.name == "bad":
        raise ValueError("nobody can read this")


def redrive(where: Partition, offset: int = 0) -> RedriveRequested:
    return RedriveRequested(service=a.NAME, topic=where[0], partition=where[1], offset=offset)


async def delete_before(live: Live, where: Partition, offset: int) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=live.servers)
    await admin.start()
    try:
        partition = TopicPartition(live.world.installation.topic(where[0]), where[1])
        await admin.delete_records({partition: RecordsToDelete(before_offset=offset)})
    finally:
        await admin.close()


def durable(live: Live) -> dict[str, object]:
    """All of a store but what only its own life knows: its name, which heard record an answer was an answer to."""
    found = everything(live.actor)
    found["chassis_meta"] = [row for row in found["chassis_meta"] if row["name"] != "life"]
    for row in found["chassis_told"]:
        for name in ("heard_topic", "heard_partition", "heard_offset"):
            del row[name]
    return found


async def live_a_while(live: Live) -> None:
    await live.hear(a.labels("a"), a.labels("b", value=0.25), a.figure("loss", 3.0, "a"), a.order("a"), a.alarm("b"))
    await live.work()
    await live.hear(a.order("a"), a.labels("a", value="ja"))
    live.world.now += a.PATIENCE
    live.actor.wait()
    await live.hear(a.order("b"), a.order("b"))


async def test_a_store_made_anew_holds_what_the_old_one_held(live_on_each: Live) -> None:
    live = live_on_each
    await live_a_while(live)
    await live.settle()
    before, digest, positions = durable(live), digest_of(live.actor), positions_of(live.actor)
    live.lose_store()
    await live.rebuild()
    assert digest_of(live.actor) == digest
    assert {one: n for one, n in positions_of(live.actor).items() if n} == positions
    after = durable(live)
    del before["chassis_position"], after["chassis_position"]
    assert after == before


async def test_a_store_made_anew_goes_on_where_the_old_one_stood(live: Live) -> None:
    await live_a_while(live)
    await live.settle()
    sequence = int(told(live.actor)[-1].envelope.sequence)
    live.lose_store()
    await live.rebuild()
    await live.check()
    assert (await live.take_new()).applied == 0
    assert load_waiting(live.actor.database) == []

    await live.work()  # the order that was taken and had not ended
    await live.hear(a.labels("a"))
    assert [message.envelope.type.split(".")[1] for message in told(live.actor)[-2:]] == ["performance", "anomaly"]
    numbers = [int(m.envelope.sequence) for m in told(live.actor) if m.envelope.subject == "model/a"]
    assert numbers == list(range(1, len(numbers) + 1))
    assert sequence in range(1, 20)
    await live.settle()
    await live.check()


async def test_a_rebuild_tells_nothing_and_does_nothing(live: Live) -> None:
    await live_a_while(live)
    await live.settle()
    before = len(await live.lying_on(a.OWN, f"operations.{a.NAME}"))
    live.toy.on_labels = live.toy.on_order = live.toy.on_alarm = fails  # type: ignore[assignment]  # nobody may call them
    await live.rebuild()
    assert len(await live.lying_on(a.OWN, f"operations.{a.NAME}")) == before
    assert load_waiting(live.actor.database) == []
    assert ledger_rows(live.actor, LEASE) == []


async def test_what_was_parked_stays_parked_though_it_could_be_handled_now(live: Live) -> None:
    live.toy.on_figure = fails
    outcome = await live.hear(a.figure("bad"), a.figure("good"))
    assert len(outcome.parked) == 1
    await live.settle()
    before = ledger_rows(live.actor, PARKED)
    live.toy.on_figure = a.ignore
    await live.rebuild()
    assert [row.name for row in rows_of(live.actor, Figure)] == ["good"]
    assert ledger_rows(live.actor, PARKED) == before


async def test_what_was_driven_again_is_applied_where_it_was_driven(live: Live) -> None:
    live.toy.on_figure = fails
    where = (await live.publish(a.figure("bad", 1.0)))[0]
    await live.take_new()
    live.toy.on_figure = a.ignore
    await live.hear(a.figure("bad", 2.0), redrive(where), a.figure("after", 3.0))
    assert [(row.name, row.value) for row in rows_of(live.actor, Figure)] == [("after", 3.0), ("bad", 1.0)]
    await live.settle()
    before = durable(live)
    await live.rebuild()
    assert [(row.name, row.value) for row in rows_of(live.actor, Figure)] == [("after", 3.0), ("bad", 1.0)]
    after = durable(live)
    assert (after["domain"], after["chassis_parked"]) == (before["domain"], before["chassis_parked"])


async def test_what_came_after_a_record_was_driven_again_is_applied_after_it(live: Live) -> None:
    live.toy.on_figure = fails
    where = (await live.publish(a.figure("bad", 1.0)))[0]
    await live.take_new()
    live.toy.on_figure = a.ignore
    await live.hear(redrive(where), a.figure("bad", 2.0))
    await live.settle()
    await live.rebuild()
    assert [row.value for row in rows_of(live.actor, Figure)] == [2.0]


async def test_without_a_committed_offset_nothing_is_rebuilt_and_nothing_is_lost(live: Live) -> None:
    await live.hear(a.labels())
    await live.settle()
    before = everything(live.actor)
    async with Log.open(live.servers, live.world.installation, "a group that never committed") as log:
        with pytest.raises(RebuildError, match=r"no committed offset for labels/0, .*A service that never ran"):
            await live.rebuild(log=log)
    assert everything(live.actor) == before


async def test_a_rebuild_that_was_not_finished_refuses_to_start_until_one_is(live: Live) -> None:
    def pull_the_plug(what: str, done: int, total: int) -> None:
        if what == "heard topics":
            raise KeyboardInterrupt

    await live.hear(a.labels())
    await live.settle()
    with pytest.raises(KeyboardInterrupt):
        await live.rebuild(pull_the_plug)
    with pytest.raises(MustRebuild, match=r"was not finished: stop all replicas .*python -P -m monitor rebuild"):
        await live.check()
    await live.rebuild()
    await live.check()


async def test_what_was_handled_and_never_told_is_handled_again_under_the_same_names(live: Live) -> None:
    """The store is lost between the commit of its transaction and the relay."""
    await live.hear(a.labels("a"))
    await live.settle()
    await live.hear(a.labels("a"), a.order("b"))
    await live.commit()
    before = told_ids(live.actor)
    assert len(before) == 3

    live.lose_store()
    await live.rebuild()
    assert told_ids(live.actor) == before[:1]
    await live.check()
    await live.take_new()
    assert sorted(told_ids(live.actor)) == sorted(before)
    assert [row.number for row in rows_of(live.actor, Note)] == [1, 2]


async def test_what_was_told_and_not_confirmed_is_told_once_all_the_same(live: Live) -> None:
    """The relay dies after it sent, before it stored that; it sends again; then the store is lost."""
    await live.hear(a.labels("a"), a.labels("a"))
    (row, *_) = load_waiting(live.actor.database)
    await live.send(Outgoing(live.world.installation.topic(row.topic), row.key, row.headers, row.value))
    await live.settle()
    before, digest = told_ids(live.actor), digest_of(live.actor)
    assert len(await live.lying_on(a.OWN)) == 3
    await live.rebuild()
    assert (told_ids(live.actor), digest_of(live.actor)) == (before, digest)
    await live.check()


async def test_a_start_confirms_what_kafka_has_though_nobody_stored_it(live: Live) -> None:
    await live.hear(a.labels("a"), a.labels("b"))
    (row, other) = load_waiting(live.actor.database)
    await live.send(Outgoing(live.world.installation.topic(row.topic), row.key, row.headers, row.value))
    await live.check()
    assert [left.position for left in load_waiting(live.actor.database)] == [other.position]


async def test_a_store_put_back_from_an_older_copy_is_refused_until_it_is_rebuilt(live: Live) -> None:
    await live.hear(a.labels())
    await live.settle()
    copy = live.copy_store("older.db")
    await live.hear(a.labels())
    await live.settle()
    digest = digest_of(live.actor)
    live.put_back_store(copy)
    assert len(rows_of(live.actor, Note)) == 1
    with pytest.raises(MustRebuild, match=r"its store does not know: the store was lost, or is an old copy"):
        await live.check()
    await live.rebuild()
    await live.check()
    assert digest_of(live.actor) == digest


async def test_an_older_copy_that_knows_all_it_told_is_refused_for_what_it_heard(live: Live) -> None:
    await live.hear(a.figure())
    await live.settle()
    copy = live.copy_store("older.db")
    await live.hear(a.figure("gain"))
    await live.settle()
    live.put_back_store(copy)
    with pytest.raises(MustRebuild, match=r"its group has passed 2 in labels/0, the store only 1"):
        await live.check()


@pytest.mark.parametrize("event", [a.labels(), a.figure()], ids=["that told something", "that told nothing"])
async def test_a_lost_store_of_a_service_is_refused(live: Live, event: OutcomesObserved) -> None:
    await live.hear(event)
    await live.settle()
    await live.check()
    live.lose_store()
    with pytest.raises(MustRebuild, match=r"python -P -m monitor rebuild"):
        await live.check()


async def test_a_service_that_never_ran_may_start(live: Live) -> None:
    await live.publish(a.labels())
    await live.check()


async def test_a_replica_may_start_while_another_confirms_what_was_told(live: Live) -> None:
    ends = live.log.ends

    async def ends_before_another_relay(partitions: Iterable[Partition]) -> dict[Partition, int]:
        found = await ends(partitions)
        await live.relay()
        return found

    await live.hear(a.labels())
    live.log.ends = ends_before_another_relay
    await live.check()
    assert load_waiting(live.actor.database) == []


async def test_what_was_deleted_from_the_log_before_it_was_heard_is_not_passed_over(live: Live) -> None:
    (where, *_) = await live.publish(a.figure(), a.figure(), a.figure())
    await delete_before(live, where, 2)
    with pytest.raises(StoreError, match=r"labels/0 begins at 2, monitor took it only to 0: .*nothing is skipped"):
        await live.check()


async def test_what_was_deleted_after_it_was_heard_stops_no_start_but_a_rebuild(live: Live) -> None:
    (where, *_) = await live.publish(a.figure(), a.figure(), a.figure())
    await live.take_new()
    await live.settle()
    await delete_before(live, where, 2)
    await live.check()
    before = everything(live.actor)
    with pytest.raises(RebuildError, match=r"labels/0 begins at 2"):
        await live.rebuild()
    assert everything(live.actor) == before


async def test_what_was_deleted_from_its_own_topic_stops_a_rebuild_too(live: Live) -> None:
    await live.hear(a.labels(), a.labels())
    await live.settle()
    await delete_before(live, (a.OWN, told(live.actor)[0].record.partition), 1)
    with pytest.raises(RebuildError, match=r"monitoring/\d begins at 1"):
        await live.rebuild()


async def test_what_a_stranger_wrote_on_the_service_s_own_topic_is_no_memory(live: Live) -> None:
    await live.hear(a.labels("a"))
    await live.settle()
    digest = digest_of(live.actor)
    topic = live.world.installation.topic(a.OWN)
    forged = live.written(a.labels("a"), owner="upstream", topic="labels")
    await live.send(Outgoing(topic, forged.key, forged.headers, forged.value))
    await live.send(Outgoing(topic, b"model/a", (), b"noise"))
    await live.check()
    await live.rebuild()
    assert digest_of(live.actor) == digest


def distrust(live: Live, change: Callable[[TrustedKey], TrustedKey | None]) -> None:
    """Have the service's own key changed in the trust file, or left out of it."""
    processor = live.actor.processor
    keyid = processor.voice.signer.keyid
    keys = [change(key) if key.keyid == keyid else key for key in processor.trust.keys]
    processor.trust = Trust(keys=tuple(filter(None, keys)), unsigned=processor.trust.unsigned)


@pytest.mark.parametrize(
    "change",
    [lambda _key: None, lambda key: key.model_copy(update={"not_after_at": datetime(2000, 1, 1, tzinfo=UTC)})],
    ids=["unknown", "out of date"],
)
async def test_own_events_whose_key_the_trust_file_does_not_admit_are_not_left_out_in_silence(
    live: Live, change: Callable[[TrustedKey], TrustedKey | None]
) -> None:
    await live.hear(a.labels("a"))
    await live.settle()
    keyid, trust, digest = live.actor.processor.voice.signer.keyid, live.actor.processor.trust, digest_of(live.actor)
    live.lose_store()
    distrust(live, change)
    what = rf"{a.OWN}/\d/0 .*key '?{keyid}'?.*CAIRN_TRUST_FILE"
    with pytest.raises(StoreError, match=what):
        await live.check()
    with pytest.raises(RebuildError, match=what):
        await live.rebuild()
    live.actor.processor.trust = trust
    await live.rebuild()
    assert digest_of(live.actor) == digest


async def test_what_a_stranger_forged_in_the_service_s_name_is_no_memory(live: Live) -> None:
    await live.hear(a.labels("a"))
    await live.settle()
    digest = digest_of(live.actor)
    (record,) = await live.lying_on(a.OWN)
    headers = tuple((name, value or b"") for name, value in record.headers)
    topic = live.world.installation.topic(a.OWN)
    await live.send(Outgoing(topic, record.key or b"", headers, (record.value or b"") + b" "))
    another = {"ce_keyid": b"nobody", "ce_source": b"/elsewhere/monitor"}
    await live.send(Outgoing(topic, record.key or b"", tuple((n, another.get(n, v)) for n, v in headers), b"{}"))
    await live.check()
    await live.rebuild()
    assert digest_of(live.actor) == digest


async def test_several_relays_at_once_keep_the_order_of_what_was_told(live: Live) -> None:
    await live.hear(*[a.labels("a")] * 5, a.labels("b"), a.order("a"))
    await asyncio.gather(*(live.new_relay().publish_waiting() for _ in range(3)))
    assert load_waiting(live.actor.database) == []
    seen: dict[Partition, list[bytes]] = {}
    for record in await live.lying_on(a.OWN):
        seen.setdefault((record.topic, record.partition), []).append(record.value or b"")
    for where, values in seen.items():
        wanted = [message.data for message in told(live.actor) if message.record.partition == where[1]]
        assert list(dict.fromkeys(values)) == wanted


async def test_what_kafka_confirms_is_stored_with_its_place(live: Live) -> None:
    await live.hear(a.labels("a"), a.labels("a"), a.labels("b"))
    await live.relay()
    stored = {(row["topic"], row["partition"], row["offset"]): row["value"] for row in ledger_rows(live.actor, TOLD)}
    assert {(one.topic, one.partition, one.offset): one.value for one in await live.lying_on(a.OWN)} == stored
    assert len(stored) == 3


async def test_a_log_that_is_shorter_than_what_was_heard_is_not_waited_for_in_silence(live: Live) -> None:
    """Kafka lost its disk: new records would have offsets that the store has passed, and be passed over."""
    records = [live.world.publish(a.figure()) for _ in range(3)]
    live.actor.take(records)
    with pytest.raises(StoreError, match=r"labels/0 ends at 0, monitor took it to 3: Kafka has lost records"):
        await live.check()


async def test_a_log_that_has_lost_what_was_told_is_noticed_too(live: Live) -> None:
    await live.hear(a.labels())
    (row,) = load_waiting(live.actor.database)
    confirm(live.actor.database, [(row.position, row.partition, 6)])
    with pytest.raises(StoreError, match=r"monitoring/\d ends at 0, monitor told it to 7: Kafka has lost records"):
        await live.check()


async def test_a_rebuild_does_not_wait_for_records_that_were_lost(live: Live) -> None:
    (where,) = await live.publish(a.figure())
    await live.commit({where: 5})
    with pytest.raises(RebuildError, match=r"labels/0 ends at 1, its group had come to 5"):
        await live.rebuild()


async def test_a_lost_store_is_refused_though_its_own_topic_lost_its_beginning(live: Live) -> None:
    await live.hear(a.labels(), a.labels())
    await live.settle()
    await delete_before(live, (a.OWN, told(live.actor)[0].record.partition), 1)
    await live.check()
    live.lose_store()
    with pytest.raises(MustRebuild, match="its store does not know"):
        await live.check()


async def test_what_no_version_looked_at_before_is_parked_by_a_rebuild_and_stops_it_not(live: Live) -> None:
    """An earlier version passed over all of its type, bad ones included."""
    processor = live.actor.processor
    by_type = processor.definition.handlers.by_type, processor.definition.projections.by_type
    new = [types.pop(OutcomesObserved) for types in by_type]
    (where,) = await live.publish(a.figure("good", 1.0))
    bad = live.written(a.figure("bad", 2.0))
    await live.send(Outgoing(bad.topic, bad.key, bad.headers, bad.value + b" "))
    assert (await live.take_new()).skipped == 2
    await live.settle()
    for types, function in zip(by_type, new, strict=True):
        types[OutcomesObserved] = function
    await live.rebuild()
    assert [row.name for row in rows_of(live.actor, Figure)] == ["good"]
    (parked,) = ledger_rows(live.actor, PARKED)
    assert (parked["topic"], parked["partition"], parked["offset"], parked["code"]) == (*where, 1, "signature")


async def test_a_topic_that_only_this_version_hears_is_rebuilt_from_its_beginning(live: Live) -> None:
    await live.publish(a.labels())
    async with Log.open(live.servers, live.world.installation, "an earlier version") as log:
        await log.commit(dict.fromkeys(partitions_of(["requests"]), 0))
        await live.rebuild(log=log)
    assert positions_of(live.actor) == dict.fromkeys(partitions_of(a.HEARS), 0)


async def test_own_events_that_this_version_cannot_read_are_not_left_out_in_silence(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A later version told them, and was taken back."""
    await live.hear(a.labels())
    await live.settle()
    live.lose_store()
    monkeypatch.setattr("chassis.standing.read", partial(read, versions=Versions({}, {})))
    what = rf"{a.OWN}/\d/0 holds an event of monitor that this version cannot read: .*anomaly.detected"
    with pytest.raises(StoreError, match=what):
        await live.check()
    with pytest.raises(RebuildError, match=what):
        await live.rebuild()
