"""How labels and outcomes find the predictions that they are about."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import select
from tests.services.monitor.samples import (
    MODEL,
    START,
    at,
    declared,
    digest_of,
    ended,
    entity_label,
    keep_profile,
    label,
    labelled,
    labels,
    new_monitor,
    registered,
    row,
    rows_of,
    served,
    shifted,
)

from cairn.events import DatasetAssembled, OutcomesObserved
from cairn.events.labels import Label
from cairn.events.labels import Outcome as OutcomeItem
from cairn.events.values import ObjectRef
from chassis.testing import Actor
from monitor.store import Labelled, Outcome


@pytest.fixture
def watching(tmp_path: Path) -> Actor:
    """Sixty rows that drifted, ten of each entity in turn, and none of them labelled."""
    monitor = new_monitor(tmp_path)
    profile = keep_profile(monitor.world.objects)
    monitor.hear(declared(), registered(profile), *drifted(profile))
    return monitor


def drifted(profile: ObjectRef) -> list[Any]:
    rows = [row(n, shifted(n), entity=f"e{n % 6}") for n in range(1, 61)]
    return [served(profile, rows[start : start + 5]) for start in range(0, 60, 5)]


def truths(watching: Actor, *items: Label) -> list[str]:
    """The labels of the dataset, once these are told and then those of the rows from 31 on."""
    watching.hear(labelled(*items))
    watching.hear(*labels(31, 60))
    (assembled,) = ended(watching, DatasetAssembled)
    return [cells[-1] for cells in rows_of(watching, assembled)]


def of_rows(numbers: Sequence[int]) -> list[str]:
    return [str(label(n).value) for n in numbers]


def test_a_label_of_an_entity_and_a_period_is_that_of_all_its_predictions_in_it(watching: Actor) -> None:
    assert truths(watching, entity_label("e1", 1, 31, 7)) == ["7"] * 5 + of_rows(range(31, 56))


def test_a_period_holds_its_start_and_not_its_end(watching: Actor) -> None:
    assert truths(watching, entity_label("e1", 7, 19, 7))[:3] == ["7", "7", *of_rows([31])]


def test_a_label_of_another_entity_or_of_none_does_not_count(watching: Actor) -> None:
    watching.hear(served(profile_of(watching), [row(61, shifted(61))]))
    assert truths(watching, entity_label("e7", 1, 99, 7)) == of_rows(range(31, 61))


def profile_of(watching: Actor) -> ObjectRef:
    return keep_profile(watching.world.objects)


def test_a_label_of_an_entity_may_come_before_its_prediction(watching: Actor) -> None:
    watching.hear(labelled(entity_label("e9", 61, 62, 7)), *labels(1, 29))
    assert ended(watching, DatasetAssembled) == []
    watching.hear(served(profile_of(watching), [row(61, shifted(61), entity="e9")]))
    (assembled,) = ended(watching, DatasetAssembled)
    assert rows_of(watching, assembled)[-1][-1] == "7"
    assert assembled.label_coverage_ratio == 30 / 61


def test_of_a_period_the_highest_revision_counts_and_the_first_of_the_same(watching: Actor) -> None:
    said = [entity_label("e1", 1, 2, value, revision) for value, revision in ((4, 1), (5, 2), (6, 2), (7, 0))]
    assert truths(watching, *said)[0] == "5"


@pytest.mark.parametrize("spoiled", [{"retracted": True}, {"value": None}], ids=["retracted", "unknown"])
def test_what_is_taken_back_of_a_period_does_not_count(watching: Actor, spoiled: dict[str, Any]) -> None:
    last = entity_label("e1", 1, 2, spoiled.get("value", 4), 1, retracted=spoiled.get("retracted", False))
    assert truths(watching, entity_label("e1", 1, 2, 4), last) == of_rows(range(31, 61))


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize(
    ("of_one", "of_period", "wanted"), [(0, 0, "8"), (1, 0, "8"), (0, 1, "9")], ids=["same", "by id", "by entity"]
)
def test_of_all_that_stands_of_a_prediction_the_highest_revision_counts_and_of_the_same_what_names_it(
    watching: Actor, of_one: int, of_period: int, wanted: str, order: int
) -> None:
    said = [label(1, 8, of_one), entity_label("e1", 1, 2, 9, of_period)]
    assert truths(watching, *said[::order])[:2] == [wanted, *of_rows([31])]


def test_what_is_taken_back_under_one_name_leaves_what_stands_under_another(watching: Actor) -> None:
    wrong, back = entity_label("e1", 1, 8, 4), entity_label("e1", 1, 8, 4, 1, retracted=True)
    right = entity_label("e1", 1, 2, 5)
    assert truths(watching, wrong, back, right, label(2, 6, 3, retracted=True))[:2] == ["5", *of_rows([31])]


@pytest.mark.parametrize("order", [1, -1])
def test_of_two_periods_with_the_same_revision_the_later_and_then_the_shorter_counts(
    watching: Actor, order: int
) -> None:
    said = [entity_label("e1", 1, 20, 4), entity_label("e1", 7, 20, 5), entity_label("e1", 7, 10, 6)]
    assert truths(watching, *said[::order])[:3] == ["4", "6", "5"]


def test_a_row_with_two_labels_counts_once(watching: Actor) -> None:
    watching.hear(labelled(*(entity_label("e1", 1, end, 4) for end in (2, 3, 4)), label(1)), *labels(32, 60))
    (assembled,) = ended(watching, DatasetAssembled)
    assert len(rows_of(watching, assembled)) == 30
    assert assembled.label_coverage_ratio == 30 / 60


def test_outcomes_are_kept_by_either_name(watching: Actor) -> None:
    period = {"start_at": at(1), "end_at": at(9)}
    items = [
        {"prediction_id": "p00001", "value": 2.5, "observed_at": START},
        {"entity": "e1", "period": period, "value": 3.5, "observed_at": START},
        {"entity": "e1", "period": period, "value": 4.5, "observed_at": START, "revision": 2},
    ]
    told = OutcomesObserved(model=MODEL, name="loss", unit="EUR", items=tuple(map(OutcomeItem.model_validate, items)))
    assert watching.hear(told) == []
    with watching.session() as session:
        kept = session.exec(select(Outcome).order_by(Outcome.prediction_id)).all()
    assert [(one.prediction_id, one.entity, one.revision, one.value, one.unit) for one in kept] == [
        ("", "e1", 2, "4.5", "EUR"),
        ("p00001", "", 0, "2.5", "EUR"),
    ]


def test_another_value_in_the_same_revision_is_remembered(watching: Actor) -> None:
    watching.hear(labelled(label(1, 4), label(2, 4), label(3, 4, 1), entity_label("e1", 1, 9, 4)))
    watching.hear(labelled(label(1, 5), label(2, 4), label(3, 5, 0), entity_label("e1", 1, 9, 5)))
    with watching.session() as session:
        kept = session.exec(select(Labelled).order_by(Labelled.prediction_id)).all()
    assert [(one.value, one.disputed) for one in kept] == [("4", True), ("4", True), ("4", False), ("4", False)]


def test_the_digest_of_what_is_kept_is_that_of_the_same_labels_told_in_pieces(tmp_path: Path) -> None:
    items = [label(1, 4), label(1, 5, 1), entity_label("e1", 1, 9, 4), entity_label("e1", 1, 9, 5), label(2)]
    digests = set()
    for pieces in (1, len(items)):
        monitor = new_monitor(tmp_path / str(pieces))
        size = len(items) // pieces
        monitor.hear(*(labelled(*items[start : start + size]) for start in range(0, len(items), size)))
        digests.add(digest_of(monitor))
    assert len(digests) == 1
