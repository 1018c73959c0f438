"""What the monitor decides, from values alone."""

import csv
import io

import pytest
from tests.services.monitor.samples import PROFILE

from cairn.events.declaration import Drift
from modelkit.grid import Profile
from monitor.domain import (
    NOTHING,
    Standing,
    add,
    advance,
    coverage,
    describe_target,
    difference,
    is_full,
    judge_drift,
    subtract,
    write_csv,
)


def test_counts_add_up_and_subtract_exactly():
    left, right = {"a": [1, 2, 3]}, {"a": [1, 1], "b": [4]}
    assert subtract(add(left, right), right)["a"] == [1, 2, 3]


def test_a_window_is_what_was_counted_since_the_last_one():
    first = difference([Standing(0, 5, 9, 10, {"a": [4, 6]})], NOTHING)
    baseline = advance(NOTHING, first.window, first.rows, first.counts, first.inputs)
    later = difference([Standing(0, 5, 12, 25, {"a": [10, 15]})], baseline)
    assert (later.window, later.rows, later.counts) == (2, 15, {"a": [6, 9]})
    assert [(one.first_offset, one.last_offset) for one in later.inputs] == [(9, 11)]


def test_a_window_adds_up_over_partitions():
    window = difference([Standing(1, 0, 2, 3, {"a": [3]}), Standing(0, 0, 1, 4, {"a": [4]})], NOTHING)
    assert (window.rows, window.counts) == (7, {"a": [7]})
    assert [one.partition for one in window.inputs] == [0, 1]


@pytest.mark.parametrize(("rows", "full"), [(39, False), (40, True), (41, True)])
def test_a_window_closes_when_it_holds_the_declared_rows(rows, full):
    assert is_full(difference([Standing(0, 0, 1, rows, {})], NOTHING), 40) is full


def test_a_window_like_the_reference_has_not_drifted():
    drift = judge_drift(Profile.model_validate(PROFILE), {"income": [10, 10, 10, 10, 0], "score": [20, 20, 0]}, Drift())
    assert not any(one.drifted for one in drift)


def test_a_window_unlike_the_reference_has_drifted_in_that_column():
    drift = judge_drift(
        Profile.model_validate(PROFILE), {"income": [0, 0, 0, 40, 0], "score": [20, 20, 0]}, Drift(bins=4)
    )
    assert [one.column for one in drift if one.drifted] == ["income"]


def test_numbers_read_back_as_they_were():
    value = 0.1 + 0.2
    text = write_csv(["x"], "y", [({"x": value}, True)]).decode()
    header, row = csv.reader(io.StringIO(text))
    assert header == ["x", "y"]
    assert float(row[0]) == value
    assert row[1] == "true"


def test_a_missing_value_is_an_empty_cell():
    assert write_csv(["x"], "y", [({"x": None}, 1)]) == b"x,y\n,1\n"


@pytest.mark.parametrize(
    ("values", "kind"), [([True], "boolean"), ([0, 1], "integer"), ([0, 0.5], "number"), (["a", "b"], "string")]
)
def test_the_target_is_described_by_what_its_labels_are(values, kind):
    assert describe_target("y", values).type == kind


def test_coverage_of_nothing_is_nothing():
    assert coverage(0, 0) == 0.0
