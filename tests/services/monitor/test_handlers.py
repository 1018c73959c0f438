"""What the monitor tells in answer to what it hears."""

from collections.abc import Sequence
from datetime import timedelta
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import select
from starlette.applications import Starlette
from starlette.testclient import TestClient
from tests.services.monitor.samples import (
    MODEL,
    START,
    bytes_of,
    declared,
    digest_of,
    digest_replayed,
    ended,
    keep_profile,
    label,
    labelled,
    labels,
    new_monitor,
    project,
    quiet,
    registered,
    replicas_apart,
    row,
    rows_of,
    served,
    shifted,
    successor,
    traffic,
)

from cairn.events import (
    AnomalyDetected,
    DatasetAssembled,
    DriftDetected,
    Event,
    OutcomesObserved,
    RecordParked,
    RecordRedriven,
    RedriveRequested,
    RetrainingAdvised,
    WindowClosed,
)
from cairn.events.codec import Outgoing, Record
from cairn.events.labels import Outcome
from cairn.events.values import Column, IoSchema, ObjectRef
from cairn.objects import ObjectRefused
from chassis.testing import Actor
from monitor.api import make_routes
from monitor.domain import Wanted
from monitor.store import Drifted, Served, Store
from monitor.work import pending_assemblies


@pytest.fixture
def monitor(tmp_path: Path) -> Actor:
    return new_monitor(tmp_path / "world")


@pytest.fixture
def profile(monitor: Actor) -> ObjectRef:
    return keep_profile(monitor.world.objects)


@pytest.fixture
def watching(monitor: Actor, profile: ObjectRef) -> Actor:
    monitor.hear(declared(), registered(profile))
    return monitor


def windows(monitor: Actor) -> list[WindowClosed]:
    return ended(monitor, WindowClosed)


def same_bytes(monitor: Actor, record: Record) -> Outgoing:
    headers = tuple((name, value or b"") for name, value in record.headers)
    return Outgoing(monitor.world.installation.topic(record.topic), record.key or b"", headers, record.value or b"")


def drifting(monitor: Actor, profile: ObjectRef, last: int = 60) -> None:
    """A quiet window, then rows that drifted."""
    monitor.hear(*traffic(profile, 1, 20), *traffic(profile, 21, last, shifted))


def as_text(numbers: Sequence[int]) -> list[list[str]]:
    """The rows of these numbers as they are written."""
    return [[repr(shifted(n)[0]), shifted(n)[1], str(label(n).value)] for n in numbers]


def test_a_full_window_is_closed_with_what_it_counted(watching: Actor, profile: ObjectRef) -> None:
    assert watching.hear(*traffic(profile, 1, 19, size=1)) == []
    (closed,) = watching.hear(*traffic(profile, 20, 20))
    assert isinstance(closed, WindowClosed)
    assert (closed.window, closed.row_count, closed.profile) == (1, 20, profile)
    assert {one.column: one.cells for one in closed.counts} == {
        "x": (5, 5, 5, 5, 0),
        "colour": (11, 9, 0, 0),
        "score": (10, 10, 0),
    }
    assert closed.period.start_at == START + timedelta(seconds=1)
    assert closed.period.end_at == START + timedelta(seconds=20, microseconds=1)


def test_a_window_like_the_reference_is_no_drift(watching: Actor, profile: ObjectRef) -> None:
    watching.hear(*traffic(profile, 1, 40))
    assert len(windows(watching)) == 2
    assert ended(watching, DriftDetected) == []


def test_a_drifted_window_tells_both_at_once(watching: Actor, profile: ObjectRef) -> None:
    closed, drift = watching.hear(*traffic(profile, 1, 20, shifted))
    assert isinstance(closed, WindowClosed)
    assert isinstance(drift, DriftDetected)
    assert (drift.window, drift.columns) == (1, ("x",))
    assert [one.column for one in closed.drift if one.drifted] == ["x"]
    assert [ref.type for ref in drift.evidence] == ["cairn.window.closed.v1"]


def test_a_window_holds_what_came_after_the_one_before(watching: Actor, profile: ObjectRef) -> None:
    watching.hear(*traffic(profile, 1, 20), *traffic(profile, 21, 40, shifted), *traffic(profile, 41, 60))
    counted = [closed.counts[0].cells for closed in windows(watching)]
    assert counted == [(5, 5, 5, 5, 0), (0, 0, 0, 20, 0), (5, 5, 5, 5, 0)]
    assert [drift.window for drift in ended(watching, DriftDetected)] == [2]


def test_a_window_names_the_records_that_it_counted(watching: Actor, profile: ObjectRef) -> None:
    one, other = replicas_apart(2)
    watching.hear(*traffic(profile, 1, 15, replica=one), *traffic(profile, 16, 20, replica=other))
    watching.hear(*traffic(profile, 21, 40, replica=one))
    first, second = windows(watching)
    assert [(part.first_offset, part.last_offset) for part in first.inputs] == [(0, 2), (0, 0)]
    assert [(part.first_offset, part.last_offset) for part in second.inputs] == [(3, 6)]


def test_a_record_is_never_divided(watching: Actor, profile: ObjectRef) -> None:
    watching.hear(*traffic(profile, 1, 105, size=35))
    assert [closed.row_count for closed in windows(watching)] == [35, 35, 35]


def test_each_version_has_windows_of_its_own(watching: Actor, profile: ObjectRef) -> None:
    watching.hear(registered(profile, version=2))
    rows = [row(n, quiet(n), version=1 + n % 2) for n in range(1, 41)]
    watching.hear(served(profile, rows))
    assert [(closed.model.version, closed.window, closed.row_count) for closed in windows(watching)] == [
        (1, 1, 20),
        (2, 1, 20),
    ]


def test_the_arms_of_a_version_count_together(watching: Actor, profile: ObjectRef) -> None:
    rows = [row(n, quiet(n), arm=("champion", "challenger")[n % 2]) for n in range(1, 21)]
    watching.hear(served(profile, rows))
    assert [closed.row_count for closed in windows(watching)] == [20]


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_what_comes_last_closes_the_window(monitor: Actor, profile: ObjectRef, order: tuple[int, ...]) -> None:
    events = [declared(), registered(profile), served(profile, [row(n, shifted(n)) for n in range(1, 21)])]
    answers = [monitor.hear(events[place]) for place in order]
    assert [[type(one) for one in told] for told in answers] == [[], [], [WindowClosed, DriftDetected]]


def test_a_version_is_watched_as_it_was_declared_when_it_was_made(watching: Actor, profile: ObjectRef) -> None:
    watching.hear(declared(2, monitoring={"window_rows": 5}), *traffic(profile, 1, 19, size=1))
    assert windows(watching) == []


def test_the_same_record_twice_counts_once(watching: Actor, profile: ObjectRef) -> None:
    events = [watching.world.publish(one) for one in traffic(profile, 1, 15)]
    again = [watching.world.append(same_bytes(watching, one)) for one in events]
    outcome = watching.take([*events, *again])
    assert (outcome.applied, outcome.duplicates, outcome.told) == (3, 3, 0)
    watching.offsets[again[0].topic, again[0].partition] = again[-1].offset + 1
    watching.hear(*traffic(profile, 16, 20))
    assert [closed.row_count for closed in windows(watching)] == [20]


def test_a_column_that_was_not_served_counts_as_missing(watching: Actor, profile: ObjectRef) -> None:
    rows = [row(n, (quiet(n)[0],)) for n in range(1, 21)]
    watching.hear(served(profile, rows, columns=("x",)))
    (closed,) = windows(watching)
    assert closed.counts[1].cells == (0, 0, 0, 20)


def test_events_without_rows_change_nothing(watching: Actor, profile: ObjectRef) -> None:
    before = digest_of(watching)
    assert watching.hear(served(profile, [], columns=(), rejected=3)) == []
    assert digest_of(watching) == before


def test_rows_of_a_version_that_the_event_does_not_name_are_parked(watching: Actor, profile: ObjectRef) -> None:
    (told,) = watching.hear(served(profile, [row(1, quiet(1), version=2)], models=()))
    assert isinstance(told, RecordParked)


def test_a_drift_and_enough_labels_make_a_dataset_and_advice(watching: Actor, profile: ObjectRef) -> None:
    drifting(watching, profile)
    watching.hear(*labels(1, 60))
    (assembled,), (advice,) = ended(watching, DatasetAssembled), ended(watching, RetrainingAdvised)
    assert (assembled.dataset.name, assembled.row_count, assembled.format) == (f"served.{MODEL}", 30, "csv")
    assert assembled.trigger == advice.trigger
    assert assembled.trigger.type == "cairn.drift.detected.v1"
    assert advice.dataset == assembled.dataset
    assert [column.name for column in assembled.columns] == ["x", "colour", "y"]
    assert assembled.columns[-1].type == "integer"


def test_the_first_labelled_rows_from_the_drifted_window_on_are_taken(watching: Actor, profile: ObjectRef) -> None:
    drifting(watching, profile, 80)
    watching.hear(*labels(1, 80))
    (assembled,) = ended(watching, DatasetAssembled)
    assert rows_of(watching, assembled) == as_text(range(21, 51))
    assert assembled.label_coverage_ratio == 1
    assert [(part.first_offset, part.last_offset) for part in assembled.inputs] == [(4, 9)]


def test_rows_are_taken_in_the_order_served_wherever_they_lay(watching: Actor, profile: ObjectRef) -> None:
    one, other = replicas_apart(2)
    numbers = range(1, 41)
    late = [served(profile, [row(n, shifted(n))], one) for n in numbers if n % 2]
    early = [served(profile, [row(n, shifted(n))], other) for n in numbers if n % 2 == 0]
    watching.hear(*reversed(late), *reversed(early), *reversed(labels(1, 40)))
    (assembled,) = ended(watching, DatasetAssembled)
    assert rows_of(watching, assembled) == as_text(range(1, 31))
    assert assembled.label_coverage_ratio == 1


def test_a_dataset_is_plain_csv_without_ids_and_instants(watching: Actor, profile: ObjectRef) -> None:
    drifting(watching, profile)
    watching.hear(*labels(1, 60))
    (assembled,) = ended(watching, DatasetAssembled)
    lines = bytes_of(watching, assembled).split(b"\r\n")
    assert lines[0] == b"x,colour,y"
    assert lines[1] == f"{shifted(21)[0]!r},{shifted(21)[1]},{label(21).value}".encode()
    assert len(lines) == 32
    assert lines[-1] == b""


def test_too_few_labels_make_no_dataset(watching: Actor, profile: ObjectRef) -> None:
    drifting(watching, profile)
    watching.hear(*labels(1, 49))
    assert ended(watching, DatasetAssembled) == []
    watching.hear(*labels(50, 50))
    assert len(ended(watching, DatasetAssembled)) == 1


def test_rows_without_labels_lower_the_coverage(watching: Actor, profile: ObjectRef) -> None:
    drifting(watching, profile, 100)
    watching.hear(*(labelled(label(n)) for n in range(21, 101) if n % 2))
    (assembled,) = ended(watching, DatasetAssembled)
    assert rows_of(watching, assembled) == as_text(range(21, 81, 2))
    assert assembled.label_coverage_ratio == 30 / 59


def stories(profile: ObjectRef) -> list[list[Event]]:
    """The same facts in different orders: between topics any, within one as they were told."""
    patient = declared(retraining={"rows": 30, "cooldown_seconds": 3600})
    known: list[Event] = [patient, registered(profile, declaration=patient)]
    rows: list[Event] = [*traffic(profile, 1, 20), *traffic(profile, 21, 70, shifted)]
    truths: list[Event] = [*labels(1, 70)]
    mixed = [one for pair in zip(rows, truths, strict=False) for one in pair] + rows[len(truths) :]
    return [known + rows + truths, known + truths + rows, truths + known + rows, known + mixed]


def test_labels_first_or_predictions_first_make_the_same_bytes(tmp_path: Path) -> None:
    made = set()
    for number in range(4):
        monitor = new_monitor(tmp_path / str(number))
        for event in stories(keep_profile(monitor.world.objects))[number]:
            monitor.hear(event)
            ended(monitor)
        (assembled,) = ended(monitor, DatasetAssembled)
        assert (assembled.row_count, len(ended(monitor, RetrainingAdvised))) == (30, 1)
        made.add((bytes_of(monitor, assembled), assembled.dataset.version, assembled.label_coverage_ratio))
    assert len(made) == 1


@pytest.mark.parametrize(
    "spoiled",
    [label(21, retracted=True, revision=1), label(21, revision=1).model_copy(update={"value": None})],
    ids=["retracted", "unknown"],
)
def test_a_label_that_is_taken_back_does_not_count(watching: Actor, profile: ObjectRef, spoiled: Any) -> None:
    drifting(watching, profile)
    watching.hear(labelled(spoiled), *labels(1, 50))
    assert ended(watching, DatasetAssembled) == []
    watching.hear(*labels(51, 51))
    (assembled,) = ended(watching, DatasetAssembled)
    assert rows_of(watching, assembled) == as_text(range(22, 52))


def test_the_highest_revision_wins_and_the_first_of_the_same(watching: Actor, profile: ObjectRef) -> None:
    drifting(watching, profile)
    watching.hear(labelled(label(21, 7, revision=2), label(22, 5)), labelled(label(21, 8, revision=1), label(22, 6)))
    watching.hear(labelled(label(21, 9, revision=2)), *labels(23, 50))
    (assembled,) = ended(watching, DatasetAssembled)
    assert [cells[-1] for cells in rows_of(watching, assembled)[:2]] == ["7", "5"]


def test_labels_of_another_column_do_not_count(watching: Actor, profile: ObjectRef) -> None:
    drifting(watching, profile)
    watching.hear(*(labelled(*one.items, target="z") for one in labels(1, 60)))
    assert ended(watching, DatasetAssembled) == []


def test_rows_of_another_version_are_not_taken(watching: Actor, profile: ObjectRef) -> None:
    watching.hear(registered(profile, version=2), *traffic(profile, 1, 20, shifted))
    watching.hear(*traffic(profile, 21, 30, shifted, version=2), *traffic(profile, 31, 45, shifted))
    watching.hear(*labels(1, 45))
    (assembled,) = ended(watching, DatasetAssembled)
    assert rows_of(watching, assembled) == as_text([*range(1, 21), *range(31, 41)])


def test_rows_count_for_an_open_assembly_after_the_version_was_replaced(watching: Actor, profile: ObjectRef) -> None:
    drifting(watching, profile)
    watching.hear(registered(profile, version=2), *traffic(profile, 61, 90, version=2))
    watching.hear(*labels(1, 60))
    assert len(ended(watching, DatasetAssembled)) == 1


def test_later_drift_starts_nothing_while_one_waits_and_says_so(watching: Actor, profile: ObjectRef) -> None:
    drifting(watching, profile, 80)
    first, second, third = ended(watching, DriftDetected)
    assert first.passed_over is None
    for later in (second, third):
        assert later.passed_over.code == "dataset-awaited"
        assert [ref.type for ref in later.passed_over.evidence] == ["cairn.drift.detected.v1"]
    watching.hear(*labels(1, 80))
    (assembled,) = ended(watching, DatasetAssembled)
    assert (assembled.trigger,) == second.passed_over.evidence == third.passed_over.evidence
    assert rows_of(watching, assembled) == as_text(range(21, 51))


def test_drift_after_the_advice_starts_the_next(watching: Actor, profile: ObjectRef) -> None:
    drifting(watching, profile, 80)
    watching.hear(*labels(1, 80))
    assert len(ended(watching, RetrainingAdvised)) == 1
    watching.hear(*traffic(profile, 81, 130, shifted), *labels(81, 130))
    _, second = ended(watching, DatasetAssembled)
    assert rows_of(watching, second) == as_text(range(81, 111))
    assert len({advice.trigger.id for advice in ended(watching, RetrainingAdvised)}) == 2


def impatient(monitor: Actor, profile: ObjectRef, *versions: int) -> None:
    """Versions of a model that may be retrained once an hour."""
    patient = declared(retraining={"rows": 30, "cooldown_seconds": 3600})
    monitor.hear(patient, *(registered(profile, version, patient) for version in versions))


def test_drift_within_the_cooldown_starts_nothing_and_says_so(monitor: Actor, profile: ObjectRef) -> None:
    impatient(monitor, profile, 1)
    drifting(monitor, profile)
    monitor.hear(*labels(1, 60))
    (advice,) = ended(monitor, RetrainingAdvised)
    monitor.hear(*traffic(profile, 61, 100, shifted), *labels(61, 100))
    assert len(ended(monitor, RetrainingAdvised)) == 1
    passed_over = ended(monitor, DriftDetected)[-1].passed_over
    assert passed_over.code == "cooldown"
    assert [ref.type for ref in passed_over.evidence] == ["cairn.retraining.advised.v1"]
    monitor.world.now = advice.cooldown_until_at
    monitor.hear(*traffic(profile, 101, 140, shifted), *labels(101, 140))
    assert len(ended(monitor, RetrainingAdvised)) == 2


def test_the_cooldown_is_the_models_whichever_version_drifts(monitor: Actor, profile: ObjectRef) -> None:
    impatient(monitor, profile, 1, 2)
    drifting(monitor, profile)
    monitor.hear(*labels(1, 60))
    assert len(ended(monitor, RetrainingAdvised)) == 1
    monitor.hear(*traffic(profile, 61, 100, shifted, version=2), *labels(61, 100))
    assert len(ended(monitor, DatasetAssembled)) == 1
    assert ended(monitor, DriftDetected)[-1].passed_over.code == "cooldown"


def test_a_dataset_made_within_anothers_cooldown_is_told_without_advice(monitor: Actor, profile: ObjectRef) -> None:
    impatient(monitor, profile, 1, 2)
    drifting(monitor, profile)
    monitor.hear(*traffic(profile, 61, 100, shifted, version=2), *labels(1, 100))
    first, second = ended(monitor, DatasetAssembled)
    (advice,) = ended(monitor, RetrainingAdvised)
    assert (first.not_advised, advice.dataset) == (None, first.dataset)
    assert second.not_advised.code == "cooldown"
    assert monitor.work() == 0


def test_a_drift_of_one_version_does_not_wait_for_labels_of_another(watching: Actor, profile: ObjectRef) -> None:
    watching.hear(registered(profile, version=2), *traffic(profile, 1, 20, shifted))
    watching.hear(*traffic(profile, 21, 50, shifted, version=2), *labels(21, 50))
    (assembled,) = ended(watching, DatasetAssembled)
    assert assembled.dataset.version == "2-w1"


def test_what_was_told_of_a_drift_is_remembered_as_it_was_told(watching: Actor, profile: ObjectRef) -> None:
    """Even by a store that knows nothing of what led to it."""
    drifting(watching, profile, 80)
    told = ended(watching, DriftDetected)
    fresh = successor(watching)
    records = [record for records in watching.world.log.values() for record in records if is_drift(record)]
    with fresh.database.begin() as session:
        for record in reversed(records):
            project(fresh, session, record, {"monitoring"})
    with fresh.session() as session:
        kept = {row.window: row.state for row in session.exec(select(Drifted))}
    assert kept == {one.window: "passed-over" if one.passed_over else "open" for one in told}


def is_drift(record: Record) -> bool:
    return dict(record.headers)["ce_type"] == b"cairn.drift.detected.v1"


@pytest.mark.parametrize(
    ("trouble", "code"),
    [
        (RuntimeError("broken"), "error"),
        (ObjectRefused("too large"), "error"),
        (OSError(28, "No space left on device"), "no-resources"),
    ],
)
def test_a_dataset_that_cannot_be_made_ends_its_drift_and_only_the_next_one_is_new_ground(
    watching: Actor, profile: ObjectRef, monkeypatch: pytest.MonkeyPatch, trouble: Exception, code: str
) -> None:
    def fail(*_arguments: object) -> None:
        raise trouble

    with monkeypatch.context() as broken:
        broken.setattr(type(watching.world.objects), "put_file", fail)
        drifting(watching, profile, 40)
        watching.hear(*labels(1, 100), *traffic(profile, 41, 50, shifted))
        (told,) = ended(watching, AnomalyDetected)
    (drift,) = ended(watching, DriftDetected)
    assert (told.reason.code, told.trigger.type, told.window) == (code, "cairn.drift.detected.v1", drift.window)
    assert str(trouble) in told.reason.text
    assert told.evidence == told.reason.evidence == (told.trigger,)
    assert watching.work() == 0
    watching.hear(*traffic(profile, 51, 100, shifted))
    (assembled,) = ended(watching, DatasetAssembled)
    assert rows_of(watching, assembled) == as_text(range(41, 71))


def test_pending_work_names_its_rows_and_a_job_reads_them(watching: Actor, profile: ObjectRef) -> None:
    drifting(watching, profile, 50)
    watching.hear(*labels(1, 50))
    with watching.session() as session:
        (task,) = pending_assemblies(session)
    assert isinstance(task.detail, Wanted)
    with watching.session() as session:
        assembly = Store(session).assembly(task.detail)
    assert assembly
    assert len(assembly.rows) == 30


def test_labels_taken_back_before_a_job_reads_them_leave_no_dataset(watching: Actor, profile: ObjectRef) -> None:
    drifting(watching, profile, 50)
    watching.hear(*labels(1, 50))
    with watching.session() as session:
        (task,) = pending_assemblies(session)
    watching.hear(labelled(label(21, retracted=True, revision=1)))
    with watching.session() as session:
        assert Store(session).assembly(task.detail) is None


def test_a_dataset_that_cannot_be_told_ends_its_drift_too(monitor: Actor, profile: ObjectRef) -> None:
    """Five hundred features and the target are more columns than an event names."""
    wide = registered(profile).model_copy(
        update={
            "io_schema": IoSchema(inputs=tuple(Column(name=f"x{n}", type="number") for n in range(500)), outputs=())
        }
    )
    monitor.hear(declared(), wide)
    drifting(monitor, profile)
    monitor.hear(*labels(1, 60))
    (told,) = ended(monitor, AnomalyDetected)
    assert told.reason.code == "error"
    assert "columns" in told.reason.text
    assert monitor.work() == 0


def test_one_id_in_two_partitions_gives_one_row_whatever_came_first(tmp_path: Path) -> None:
    digests = set()
    for order in permutations(replicas_apart(2)):
        monitor = new_monitor(tmp_path / order[0])
        profile = keep_profile(monitor.world.objects)
        for replica in order:
            features = (float(replica == min(order)), "red")
            monitor.hear(served(profile, [row(1, features)], replica), id=replica)
        digests.add(digest_of(monitor))
    assert len(digests) == 1


def test_a_rebuilt_store_waits_until_it_has_heard_again_what_it_told_of(watching: Actor, profile: ObjectRef) -> None:
    one, other = replicas_apart(2)
    for first in range(1, 61, 10):
        watching.hear(*traffic(profile, first, first + 4, shifted, replica=one))
        watching.hear(*traffic(profile, first + 5, first + 9, replica=other))
    watching.hear(*traffic(profile, 61, 75, replica=other))
    assert len(windows(watching)) == 3
    fresh = successor(watching)
    with fresh.database.begin() as session:
        for (topic, _), records in sorted(watching.world.log.items()):
            for record in records if topic == "monitoring" else ():
                project(fresh, session, record, {"monitoring"})
    order = [key for key in sorted(watching.world.log) if key[0] in fresh.definition.hears]
    for key in sorted(order, key=lambda place: (place[0] != "registry", -place[1])):
        outcome = fresh.take(watching.world.log[key])
        assert (outcome.parked, outcome.told) == ([], 0)
    assert digest_of(fresh) == digest_of(watching)


def test_a_record_that_is_driven_again_belongs_to_no_later_window(watching: Actor, profile: ObjectRef) -> None:
    file = watching.world.objects.get(profile)
    aside = file.rename(file.with_suffix(".aside"))
    (parked,) = watching.hear(*traffic(profile, 1, 5))
    assert isinstance(parked, RecordParked)
    aside.rename(file)
    watching.hear(*traffic(profile, 6, 40))
    request = {"service": "monitor", "topic": parked.topic, "partition": parked.partition, "offset": parked.offset}
    (answer,) = watching.hear(RedriveRequested.model_validate({**request, "reason": "the profile is back"}))
    assert isinstance(answer, RecordRedriven)
    watching.hear(*traffic(profile, 41, 45))
    first, second = windows(watching)
    assert (first.row_count, second.row_count) == (20, 20)
    assert [(one.inputs[0].first_offset, one.inputs[0].last_offset) for one in (first, second)] == [(1, 4), (5, 8)]
    with watching.session() as session:
        assert session.get(Served, (MODEL, "p00001", 1))


def test_any_order_between_partitions_rebuilds_the_same_rows(watching: Actor, profile: ObjectRef) -> None:
    one, other = replicas_apart(2)
    watching.hear(registered(profile, version=2), *traffic(profile, 1, 20, replica=one))
    outcome = {"prediction_id": "p00001", "value": 2.5, "observed_at": START}
    watching.hear(
        *traffic(profile, 21, 50, shifted, replica=one),
        *traffic(profile, 51, 90, shifted, replica=other, arm="challenger"),
        *traffic(profile, 91, 99, shifted, replica=other, version=2),
        *labels(1, 90),
        labelled(label(5, 4, revision=3), label(6, retracted=True, revision=1)),
        OutcomesObserved(model=MODEL, name="loss", unit="EUR", items=(Outcome.model_validate(outcome),)),
    )
    assert len(ended(watching, RetrainingAdvised)) == 1
    assert {digest_replayed(watching, seed) for seed in range(8)} == {digest_of(watching)}


def test_windows_can_be_listed(watching: Actor, profile: ObjectRef) -> None:
    drifting(watching, profile)
    client = TestClient(Starlette(routes=make_routes(watching.database)))
    listed = client.get("/windows", params={"model": MODEL}).json()["windows"]
    assert sorted(one["window"] for one in listed) == [1, 2, 3]
    assert client.get("/windows", params={"model": "demo.other"}).json() == {"windows": []}
