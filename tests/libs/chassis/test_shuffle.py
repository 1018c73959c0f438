"""The order between partitions does not matter: whatever a history is shuffled to, the store comes out the same."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.libs.chassis import toy as a
from tests.libs.chassis.looking import digest_of, ledger_rows, rows_of, write_again
from tests.libs.chassis.memory import rebuild
from tests.libs.chassis.toy import Alarm, Figure, Tally, Toy, ToyTable

from cairn.events import OutcomesObserved, RedriveRequested, RollbackRequested
from cairn.events.codec import Record
from cairn.events.event import Event
from chassis import Definition, Handlers, Projections, Rows, Transaction, ledger
from chassis.kafka import Partition
from chassis.testing import Actor, World

MODELS = st.sampled_from(["a", "b", "risk.loans"])
VALUES = st.floats(0, 1, width=16)
EVENTS: st.SearchStrategy[Event] = st.one_of(
    st.builds(lambda model, value, count: a.labels(model, value=value, count=count), MODELS, VALUES, st.integers(1, 3)),
    st.builds(a.figure, st.sampled_from(["loss", "gain"]), VALUES, MODELS),
    st.builds(a.order, MODELS),
    st.builds(a.alarm, MODELS),
)
quick = settings(max_examples=25, deadline=None)


def fails(_event: OutcomesObserved, _tx: Transaction) -> None:
    raise ValueError("nobody can read this")


class Life:
    """A service that lives through a history."""

    def __init__(self, folder: str) -> None:
        self.world, self.toy = World(Path(folder)), Toy()
        self.actor = self.world.add(self.toy.definition())
        self.bad = 0

    def live(self, history: list[Event | str]) -> None:
        for step in history:
            if isinstance(step, Event):
                self.actor.hear(step)
            else:
                DEEDS[step](self)
        self.actor.relay()

    def an_hour_passes(self) -> None:
        self.world.now += a.PATIENCE
        self.actor.wait()

    def a_bad_figure(self) -> None:
        self.bad += 1
        if self.bad < 5:  # more in a row would stop the service
            self.toy.on_figure = fails
            self.actor.hear(a.figure("bad", float(self.bad)))
            self.toy.on_figure = a.ignore

    def mend(self) -> None:
        for row in ledger_rows(self.actor, ledger.PARKED):
            place = {name: row[name] for name in ("topic", "partition", "offset")}
            self.actor.hear(RedriveRequested(service=a.NAME, **place))

    def publish_again(self) -> None:
        for partition, records in list(self.world.log.items()):
            if partition[0] in a.HEARS:
                write_again(self.world, records[-1])
        self.actor.take_new()

    def close(self) -> None:
        for actor in self.world.actors:
            actor.database.close()


DEEDS: dict[str, Callable[[Life], object]] = {
    "work": lambda life: life.actor.work(),
    "an hour passes": Life.an_hour_passes,
    "a bad figure": Life.a_bad_figure,
    "mend": Life.mend,
    "restart the publisher": Life.publish_again,
}
HISTORIES = st.lists(st.one_of(EVENTS, EVENTS, EVENTS, st.sampled_from(list(DEEDS))), min_size=2, max_size=25)


def shuffle(log: dict[Partition, list[Record]], random: Random) -> list[Record]:
    """All records, in an order that keeps that of each partition."""
    left = {one: list(records) for one, records in log.items()}
    shuffled = []
    while left := {one: records for one, records in left.items() if records}:
        shuffled.append(left[random.choice(sorted(left))].pop(0))
    return shuffled


def fold(world: World, projections: Projections, records: list[Record], batch: int = 7) -> Actor:
    """A service that only remembers, and hears its own topics too."""
    hears = (*a.HEARS, a.OWN, f"operations.{a.NAME}")
    actor = world.add(Definition(a.NAME, hears, ToyTable, Handlers(), projections))
    for start in range(0, len(records), batch):
        actor.take(records[start : start + batch])
    return actor


def without_parked(life: Life) -> dict[Partition, list[Record]]:
    """The log, were what was parked replaced by nothing in particular: a fold would apply it."""
    parked = {(row["topic"], row["partition"], row["offset"]) for row in ledger_rows(life.actor, ledger.PARKED)}
    return {
        one: [r if (r.topic, r.partition, r.offset) not in parked else unread(r) for r in records]
        for one, records in life.world.log.items()
    }


def unread(record: Record) -> Record:
    headers = [(name, b"cairn.model.praised.v1" if name == "ce_type" else value) for name, value in record.headers]
    return Record(record.topic, record.partition, record.offset, record.timestamp, record.key, headers, record.value)


@quick
@given(history=HISTORIES, random=st.randoms(use_true_random=False), batch=st.integers(1, 20))
def test_projections_alone_make_the_store_from_the_log_in_any_order(
    history: list[Event | str], random: Random, batch: int
) -> None:
    history = [step for step in history if step != "mend"]
    with TemporaryDirectory() as folder, closing(Life(folder)) as life:
        life.live(history)
        remade = fold(life.world, a.projections, shuffle(without_parked(life), random), batch)
        assert digest_of(remade) == digest_of(life.actor)


@quick
@given(history=HISTORIES, random=st.randoms(use_true_random=False))
def test_a_rebuild_reads_the_partitions_in_any_order(history: list[Event | str], random: Random) -> None:
    with TemporaryDirectory() as folder, closing(Life(folder)) as life:
        life.live(history)
        before, parked = digest_of(life.actor), ledger_rows(life.actor, ledger.PARKED)
        rebuild(life.actor, choose=random.randrange)
        assert digest_of(life.actor) == before
        assert ledger_rows(life.actor, ledger.PARKED) == parked
        life.actor.hear(a.labels())
        assert life.world.log  # and it goes on from there


def test_a_projection_that_looks_at_another_topic_is_found_out(world: World) -> None:
    projections = Projections()

    @projections.of(RollbackRequested)
    def remember_alarm(event: RollbackRequested, rows: Rows) -> None:
        before = rows.get(Tally, event.model)
        rows.put(Alarm(id=event.model, model=event.model, due_at=str(before.items if before else 0), origin=""))

    projections.of(type(a.labels()))(a.remember_labels)
    heard = [world.publish(a.labels()), world.publish(a.alarm())]
    digests = {digest_of(fold(world, projections, order)) for order in (heard, heard[::-1])}
    assert len(digests) == 2


@pytest.mark.parametrize("wins", [1.0, 2.0])
def test_the_order_within_a_partition_does_matter(world: World, wins: float) -> None:
    records = [world.publish(a.figure(value=value)) for value in (3.0 - wins, wins)]
    assert rows_of(fold(world, a.projections, records), Figure)[0].value == wins
