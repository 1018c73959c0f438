"""Whatever happened: the dataset is what the facts make it, and any order of the log makes the same rows."""

import random
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.services.monitor.samples import (
    MODEL,
    START,
    at,
    declared,
    digest_of,
    digest_replayed,
    ended,
    entity_label,
    keep_profile,
    label,
    labelled,
    labels,
    new_monitor,
    quiet,
    registered,
    replicas_apart,
    row,
    rows_of,
    served,
    shifted,
    traffic,
)

from cairn.events import DatasetAssembled, Event, OutcomesObserved
from cairn.events.labels import Label
from cairn.events.labels import Outcome as OutcomeItem
from cairn.events.predictions import PredictionRow
from cairn.events.values import ObjectRef
from chassis.testing import Actor

ENTITIES = ("a", "b", "c", None)


@pytest.fixture(params=["sqlite", "postgresql"])
def make_monitor(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Actor]:
    """Monitors on each database in turn."""

    def make() -> Actor:
        postgres = request.param == "postgresql"
        return new_monitor(tmp_path / "world", request.getfixturevalue("new_postgres")() if postgres else None)

    return make


def drifted_rows(chance: random.Random) -> list[PredictionRow]:
    """Rows that all drifted; some were served at the same instant."""
    rows = [row(n, shifted(n), entity=chance.choice(ENTITIES)) for n in range(1, 61)]
    return [one.model_copy(update={"served_at": at(n // 2)}) for n, one in enumerate(rows)]


def any_labels(chance: random.Random, rows: int) -> Iterator[Label]:
    """As many as rows, by id or by entity and period, in any revision, some taken back."""
    for _ in range(rows):
        more: dict[str, Any] = {"revision": chance.randint(0, 2), "retracted": chance.random() < 0.2}
        value = chance.choice([0, 1, 2])
        if chance.random() < 0.6:
            yield label(chance.randint(1, rows), value, **more)
        else:
            first = chance.randint(0, rows // 2)
            yield entity_label(chance.choice("abc"), first, first + chance.randint(1, 8), value, **more)


def truths(rows: list[PredictionRow], said: list[Label]) -> dict[str, Any]:
    """What stands of each prediction: of each name the highest revision, the first of the same; then of all names."""
    standing: dict[Any, Label] = {}
    for item in said:
        name = item.prediction_id or (item.entity, item.period)
        if name not in standing or item.revision > standing[name].revision:
            standing[name] = item
    found = {}
    for one in rows:
        fit = [item for item in standing.values() if not item.retracted and _is_about(item, one)]
        if fit:
            found[one.prediction_id] = max(fit, key=_weight).value
    return found


def _is_about(item: Label, one: PredictionRow) -> bool:
    if item.period:
        return item.entity == one.entity and item.period.start_at <= one.served_at < item.period.end_at
    return item.prediction_id == one.prediction_id


def _weight(item: Label) -> tuple[Any, ...]:
    if item.period:
        return item.revision, 0, item.period.start_at, START - item.period.end_at
    return (item.revision, 1)


@pytest.mark.parametrize("seed", range(3))
def test_a_dataset_holds_the_declared_rows_in_the_order_served_with_what_stands_of_them(
    make_monitor: Callable[[], Actor], seed: int
) -> None:
    chance, monitor = random.Random(seed), make_monitor()
    profile = keep_profile(monitor.world.objects)
    rows, said = drifted_rows(chance), list(any_labels(chance, 60))
    predictions = [served(profile, rows[n : n + 5], chance.choice(replicas_apart(3))) for n in range(0, 60, 5)]
    told = [labelled(*said[n : n + 7]) for n in range(0, len(said), 7)]
    made_to = declared(retraining={"rows": 10})
    monitor.hear(made_to, registered(profile, declaration=made_to))
    monitor.hear(*shuffle_together(chance, predictions, told))

    expected = truths(rows, said)
    taken = [one for one in rows if one.prediction_id in expected][:10]
    assert len(taken) == 10
    assembled = ended(monitor, DatasetAssembled)[0]
    assert rows_of(monitor, assembled) == [
        [repr(one.features[0]), one.features[1], str(expected[one.prediction_id])] for one in taken
    ]
    assert (assembled.row_count, assembled.label_coverage_ratio) == (10, 10 / (rows.index(taken[-1]) + 1))


def shuffle_together(chance: random.Random, *stories: list[Any]) -> list[Any]:
    """The events of all, each story in its own order."""
    queues = [list(story) for story in stories]
    return [queue.pop(0) for queue in in_turn(chance, queues)]


def in_turn(chance: random.Random, queues: list[list[Any]]) -> Iterator[list[Any]]:
    while waiting := [queue for queue in queues if queue]:
        yield chance.choice(waiting)


def any_story(chance: random.Random, profile: ObjectRef) -> list[Event]:
    """Two versions in two partitions, quiet and drifted; labels and figures of all kinds."""
    made_to = declared(retraining={"rows": 10, "cooldown_seconds": 0.5})
    known: list[Event] = [made_to, registered(profile, 1, made_to), registered(profile, 2, made_to)]
    replicas, predictions = replicas_apart(2), []
    for n in range(1, 201, 5):
        of, version = chance.choice([quiet, shifted]), chance.randint(1, 2)
        some = [row(m, of(m), version, entity=chance.choice(ENTITIES)) for m in range(n, n + 5)]
        predictions.append(served(profile, some, chance.choice(replicas)))
    said = list(any_labels(chance, 200))
    told = [labelled(*said[n : n + 9]) for n in range(0, 200, 9)]
    return shuffle_together(chance, known, predictions, told, [figure(chance) for _ in range(5)])


def figure(chance: random.Random) -> OutcomesObserved:
    names = [{"entity": "a", "period": {"start_at": at(1), "end_at": at(9)}}, {"prediction_id": "p00001"}]
    item = {"value": chance.random(), "observed_at": START, "revision": chance.randint(0, 1), **chance.choice(names)}
    return OutcomesObserved(model=MODEL, name="loss", unit="EUR", items=(OutcomeItem.model_validate(item),))


@pytest.mark.parametrize("seed", range(3))
def test_any_order_of_any_story_makes_the_same_rows(
    make_monitor: Callable[[], Actor], seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance, monitor = random.Random(seed), make_monitor()
    objects, profile = type(monitor.world.objects), keep_profile(monitor.world.objects)
    for event in any_story(chance, profile):
        monitor.hear(event)
        if chance.random() < 0.3:
            with monkeypatch.context() as broken:
                broken.setattr(objects, "put_file", chance.choice([objects.put_file, fail]))
                ended(monitor)
    monitor.world.now += timedelta(seconds=1)
    monitor.hear(*traffic(profile, 201, 260, shifted), *labels(1, 260))
    assert ended(monitor, DatasetAssembled)
    assert {digest_replayed(monitor, order) for order in range(4)} == {digest_of(monitor)}


def fail(*_arguments: object) -> None:
    raise RuntimeError("broken")
