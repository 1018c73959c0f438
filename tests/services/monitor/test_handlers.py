"""What the monitor tells when it hears something."""

import itertools

import pytest
from tests.loop.refold import refold
from tests.services.monitor.samples import DRIFTED, QUIET, declared, keep_profile, labels, registered, served

from cairn.events import (
    DatasetAssembled,
    DriftDetected,
    PredictionsServed,
    RetrainingAdvised,
    WindowClosed,
)
from cairn.events.codec import Outgoing
from chassis import ServiceSettings
from chassis.digest import combine, digest_tables
from chassis.testing import Actor, World
from monitor.app import build


@pytest.fixture
def monitor(tmp_path) -> Actor:
    world = World(tmp_path)
    actor = world.add(build(ServiceSettings.model_construct()))
    actor.hear(declared(), registered())
    return actor


def traffic(monitor: Actor, first: int, values: tuple[float, ...], times: int, **changes) -> list:
    """So many records of four rows."""
    profile = keep_profile(monitor.world.objects)
    events = [served(profile, first + 4 * n, values, **changes) for n in range(times)]
    return list(itertools.chain.from_iterable(monitor.hear(event) for event in events))


def test_a_window_closes_with_the_records_that_it_counted(monitor):
    (closed,) = traffic(monitor, 1, QUIET, 10)
    assert isinstance(closed, WindowClosed)
    assert closed.row_count == 40
    assert sum(one.last_offset - one.first_offset + 1 for one in closed.inputs) == 10
    assert {one.column: sum(one.cells) for one in closed.counts} == {"income": 40, "score": 40}


def test_quiet_traffic_raises_no_drift(monitor):
    assert not [one for one in traffic(monitor, 1, QUIET, 30) if isinstance(one, DriftDetected)]


def test_a_drifted_window_tells_drift_with_it(monitor):
    told = traffic(monitor, 1, QUIET, 10) + traffic(monitor, 41, DRIFTED, 10)
    (drift,) = (one for one in told if isinstance(one, DriftDetected))
    assert (drift.window, drift.columns) == (2, ("income",))


def test_a_window_waits_for_its_declaration(tmp_path):
    world = World(tmp_path)
    late = world.add(build(ServiceSettings.model_construct()))
    assert traffic(late, 1, QUIET, 10) == []
    assert late.hear(registered()) == []
    (closed,) = late.hear(declared())
    assert isinstance(closed, WindowClosed)


def test_versions_are_counted_apart(monitor):
    monitor.hear(registered(version=2))
    told = traffic(monitor, 1, QUIET, 5) + traffic(monitor, 21, QUIET, 5, version=2)
    assert told == []


def finished(monitor: Actor) -> list:
    monitor.work()
    monitor.relay()
    return monitor.world.told(DatasetAssembled, RetrainingAdvised)


def test_exactly_the_declared_rows_become_a_dataset_in_the_order_served(monitor):
    traffic(monitor, 1, QUIET, 10)
    traffic(monitor, 41, DRIFTED, 10)
    monitor.hear(labels(range(1, 70)))
    assembled, advised = finished(monitor)
    assert (assembled.row_count, advised.dataset) == (10, assembled.dataset)
    content = monitor.world.objects.read_bytes(assembled.files[0], 10_000).decode().splitlines()
    assert content == ["income,defaulted", *(f"{35.0 + (n - 41) % 4},{n % 2}" for n in range(41, 51))]


def test_labels_first_or_predictions_first_give_the_same_dataset(tmp_path):
    digests = set()
    for order in ("labels first", "predictions first"):
        actor = World(tmp_path / order.replace(" ", "-")).add(build(ServiceSettings.model_construct()))
        actor.hear(declared(), registered())
        if order == "labels first":
            actor.hear(labels(range(1, 41)))
        traffic(actor, 1, DRIFTED, 10)
        if order == "predictions first":
            actor.hear(labels(range(1, 41)))
        assembled, _ = finished(actor)
        digests.add(assembled.dataset.digest)
    assert len(digests) == 1


def test_too_few_labels_wait(monitor):
    traffic(monitor, 1, DRIFTED, 10)
    monitor.hear(labels(range(1, 10)))
    assert finished(monitor) == []


def test_one_drift_leads_to_one_advice(monitor):
    traffic(monitor, 1, DRIFTED, 10)
    monitor.hear(labels(range(1, 41)))
    assert len(finished(monitor)) == 2
    monitor.hear(labels(range(1, 41), revision=1))
    assert len(finished(monitor)) == 2


def test_within_the_cooldown_no_second_advice_is_given(tmp_path):
    actor = World(tmp_path).add(build(ServiceSettings.model_construct()))
    actor.hear(declared(cooldown_seconds=3600), registered())
    for first in (1, 41):
        traffic(actor, first, DRIFTED, 10)
        actor.hear(labels(range(first, first + 40)))
        finished(actor)
    assert len(actor.world.told(RetrainingAdvised)) == 1


def test_the_highest_revision_of_a_label_wins(monitor):
    traffic(monitor, 1, DRIFTED, 10)
    monitor.hear(labels(range(1, 41), revision=2, value=1), labels(range(1, 41), revision=1, value=0))
    assembled, _ = finished(monitor)
    content = monitor.world.objects.read_bytes(assembled.files[0], 10_000).decode()
    assert {line.rpartition(",")[2] for line in content.splitlines()[1:]} == {"1"}


def test_a_record_that_comes_twice_is_counted_once(monitor):
    profile = keep_profile(monitor.world.objects)
    records = [monitor.world.publish(served(profile, 1 + 4 * n, QUIET)) for n in range(9)]
    again = [
        monitor.world.append(Outgoing(monitor.world.installation.topic(one.topic), one.key, one.headers, one.value))
        for one in records
    ]
    outcome = monitor.take([*records, *again])
    assert (outcome.applied, outcome.duplicates, outcome.told) == (9, 9, 0)


def test_the_order_between_topics_does_not_matter(monitor, tmp_path):
    traffic(monitor, 1, QUIET, 10, replica="serving-1")
    traffic(monitor, 41, DRIFTED, 10, replica="serving-2")
    monitor.hear(labels(range(1, 81)))
    finished(monitor)
    wanted = combine(digest_tables(monitor.database, monitor.definition.tables.metadata))
    assert [refold(monitor.world, monitor, tmp_path, seed) for seed in range(5)] == [wanted] * 5
    assert monitor.world.told(PredictionsServed)
