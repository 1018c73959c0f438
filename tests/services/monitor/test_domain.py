"""What the monitor decides, from values alone."""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from functools import reduce
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.services.monitor.samples import NOWHERE, PROFILE, START, declared, quiet, registered, row, shifted

from cairn.events.declaration import Drift
from cairn.events.identity import dataset_digest
from cairn.events.values import Column, EventRef, IoSchema, LogRange
from monitor.domain import (
    Advised,
    Assembly,
    Baseline,
    Cells,
    OpenWindow,
    Said,
    Taken,
    Tally,
    Wanted,
    Watched,
    add,
    advise,
    after,
    as_table,
    close_window,
    count_rows,
    describe_target,
    find_drift,
    is_disputed,
    is_full,
    judge_columns,
    open_window,
    pass_over,
    replaces,
    subtract,
    tell_assembled,
    tell_unassembled,
)
from monitor.work import write_table

TOLD = EventRef(source="/cairn/monitor", id="1", type="cairn.window.closed.v1", digest=NOWHERE.digest)
WATCHED = Watched(registered(NOWHERE), declared().declaration, PROFILE)
counts = st.lists(st.integers(0, 99), min_size=3, max_size=3).map(lambda cells: (tuple(cells), tuple(cells[:2])))


def counted(of: Any, numbers: range) -> Cells:
    return count_rows(PROFILE, ("x", "colour"), [row(n, of(n)) for n in numbers])


def tally(partition: int, first: int, last: int, *cells: int) -> Tally:
    return Tally(partition, first, last, sum(cells), (cells,))


def assembly(*rows: tuple[Any, Any], inputs: Sequence[Column] = (), served: int = 10) -> Assembly:
    taken = tuple(
        Taken(n % 2, n, json.dumps({"x": value, "colour": "blue", "other": 1}), json.dumps(truth))
        for n, (value, truth) in enumerate(rows)
    )
    made = registered(NOWHERE)
    if inputs:
        made = made.model_copy(update={"io_schema": IoSchema(inputs=tuple(inputs), outputs=())})
    return Assembly(Wanted(made, declared().declaration, 2, TOLD, {}), taken, served)


@given(counts, counts)
def test_what_is_added_can_be_taken_away(left: Cells, right: Cells) -> None:
    assert subtract(add(left, right), right) == left
    assert add((), left) == left == subtract(left, ())


def test_rows_counted_together_are_the_sum_of_rows_counted_apart() -> None:
    assert add(counted(quiet, range(7)), counted(quiet, range(7, 20))) == counted(quiet, range(20))


def test_the_first_window_begins_with_the_first_record() -> None:
    window = open_window([tally(0, 7, 9, 3, 4)], Baseline())
    found = LogRange(topic="predictions", partition=0, first_offset=7, last_offset=9)
    assert window == OpenWindow(1, 7, ((3, 4),), (found,))


def test_a_window_is_what_was_counted_since_the_one_before() -> None:
    baseline = Baseline(3, 7, ((3, 4),), {0: 9})
    window = open_window([tally(0, 7, 12, 5, 6), tally(1, 2, 2, 0, 1)], baseline)
    assert window
    assert (window.number, window.rows, window.cells) == (4, 5, ((2, 3),))
    assert [(one.partition, one.first_offset, one.last_offset) for one in window.inputs] == [(0, 10, 12), (1, 2, 2)]


def test_a_partition_without_new_records_is_no_input() -> None:
    window = open_window([tally(0, 0, 9, 3, 4), tally(1, 2, 3, 0, 2)], Baseline(1, 7, ((3, 4),), {0: 9}))
    assert window
    assert [one.partition for one in window.inputs] == [1]


@pytest.mark.parametrize("tallies", [[], [tally(1, 0, 99, 50, 50)], [tally(0, 0, 8, 50, 50), tally(1, 0, 99, 5, 5)]])
def test_there_is_no_window_while_records_of_earlier_ones_are_not_counted(tallies: list[Tally]) -> None:
    assert open_window(tallies, Baseline(1, 7, ((3, 4),), {0: 9})) is None


def test_a_window_is_full_at_the_declared_rows() -> None:
    declaration = declared().declaration
    assert [is_full(OpenWindow(1, rows, (), ()), declaration) for rows in (19, 20, 21)] == [False, True, True]


def test_the_windows_hold_together_what_was_counted() -> None:
    baseline, cells = Baseline(), counted(quiet, range(20))
    for end in (3, 7):
        window = open_window([Tally(0, 0, end, 20 * (end // 3), reduce(add, [cells] * (end // 3)))], baseline)
        assert window
        baseline = after(baseline, close_window(WATCHED, window, START, START))
    assert (baseline.window, baseline.rows, baseline.ends) == (2, 40, {0: 7})
    assert baseline.cells == add(cells, cells)


def test_a_period_ends_just_after_its_last_row() -> None:
    window = OpenWindow(1, 20, counted(quiet, range(20)), ())
    told = close_window(WATCHED, window, START, START)
    assert told.period.end_at - told.period.start_at == timedelta(microseconds=1)


def test_a_column_drifts_when_both_tests_say_so() -> None:
    cells = counted(shifted, range(40))
    assert [one.column for one in judge_columns(PROFILE, cells, Drift(bins=4)) if one.drifted] == ["x"]
    for strict in (Drift(bins=4, psi=99), Drift(bins=4, significance=1e-99)):
        assert not any(one.drifted for one in judge_columns(PROFILE, cells, strict))


def test_the_significance_is_divided_by_the_number_of_features() -> None:
    cells = counted(shifted, range(40))
    probability = judge_columns(PROFILE, cells, Drift(bins=4))[0].probability
    asked = [Drift(bins=4, significance=probability * factor) for factor in (1.99, 2.01)]
    assert [judge_columns(PROFILE, cells, one)[0].drifted for one in asked] == [False, True]


def test_drift_names_the_columns_and_the_window() -> None:
    window = close_window(WATCHED, OpenWindow(4, 40, counted(shifted, range(40)), ()), START, START)
    drift = find_drift(window, TOLD, None)
    assert drift
    assert (drift.window, drift.columns, drift.evidence) == (4, ("x",), (TOLD,))
    calm = close_window(WATCHED, OpenWindow(4, 40, counted(quiet, range(40)), ()), START, START)
    assert find_drift(calm, TOLD, None) is None


def test_a_drift_leads_to_a_dataset_unless_an_earlier_one_waits_or_it_is_too_soon() -> None:
    later = START + timedelta(seconds=1)
    advised = Advised(TOLD, later)
    assert pass_over(START, waiting=None, advised=None) is None
    assert pass_over(later, waiting=None, advised=advised) is None
    for found, code in (
        (pass_over(START, waiting=TOLD, advised=advised), "dataset-awaited"),
        (pass_over(START, waiting=None, advised=advised), "cooldown"),
    ):
        assert found
        assert (found.code, found.evidence) == (code, (TOLD,))


def test_a_drift_that_is_passed_over_says_until_when() -> None:
    found = pass_over(START, waiting=None, advised=Advised(TOLD, START + timedelta(seconds=1)))
    assert found
    assert "2026-01-01T00:00:01.000000Z" in found.text


observations = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2), st.sampled_from("ab")), min_size=1, max_size=7)


@given(observations, st.randoms(use_true_random=False))
def test_what_stands_does_not_depend_on_the_order_between_partitions(
    said: list[tuple[int, int, str]], chance: Any
) -> None:
    queues = {place: [Said(*one) for one in said if one[1] == place] for place in range(3)}
    shuffled = [partition for _, partition, _ in said]
    chance.shuffle(shuffled)
    assert standing([queues[place].pop(0) for place in shuffled]) == standing(
        sorted((Said(*one) for one in said), key=lambda one: one.partition)
    )


@given(observations)
def test_what_stands_is_disputed_when_its_revision_was_said_with_two_values(said: list[tuple[int, int, str]]) -> None:
    highest = max(revision for revision, _, _ in said)
    values = {value for revision, _, value in said if revision == highest}
    stands = standing([Said(*one) for one in said])
    assert (stands.revision, stands.disputed) == (highest, len(values) == 2)


def standing(said: Sequence[Said]) -> Said:
    known = said[0]
    for heard in said[1:]:
        winner = heard if replaces(heard, known) else known
        known = replace(winner, disputed=is_disputed(heard, known))
    return known


def test_numbers_are_written_so_that_they_read_back_the_same() -> None:
    values = [0.1 + 0.2, 1e-7, 1e22, -0.0, 5, 17.0]
    lines = list(as_table(assembly(*((value, 1) for value in values))))
    assert lines[0] == ["x", "colour", "y"]
    assert [line[0] for line in lines[1:]] == ["0.30000000000000004", "1e-07", "1e+22", "-0.0", "5.0", "17.0"]
    assert [float(line[0]) for line in lines[1:]] == values


@pytest.mark.parametrize(
    ("kind", "value", "cell"),
    [
        ("integer", 3, "3"), ("integer", 3.0, "3"), ("boolean", True, "true"), ("boolean", False, "false"),
        ("number", None, ""), ("string", 'a "b", c', 'a "b", c'), ("string", None, ""),
    ],
)  # fmt: skip
def test_each_kind_of_cell_has_one_form(kind: Any, value: Any, cell: str) -> None:
    lines = list(as_table(assembly((value, 1), inputs=[Column(name="x", type=kind)])))
    assert lines == [["x", "y"], [cell, "1"]]


def test_the_file_is_what_every_reader_of_csv_takes(tmp_path: Path) -> None:
    text = assembly(('a "b",\r\nc', "yes"), ("é", "no"), inputs=[Column(name="x", type="string")])
    write_table(text, tmp_path / "served.csv")
    content = (tmp_path / "served.csv").read_bytes()
    assert content == 'x,y\r\n"a ""b"",\r\nc",yes\r\né,no\r\n'.encode()
    assert list(csv.reader(io.StringIO(content.decode(), newline=""))) == list(as_table(text))


@pytest.mark.parametrize(
    ("labels", "kind"),
    [
        ((True, False), "boolean"),
        ((0, 1), "integer"),
        ((0, 1.0), "number"),
        (("yes", "no"), "string"),
        ((True, 1), "string"),
    ],
)
def test_the_target_is_described_by_its_labels(labels: tuple[Any, ...], kind: str) -> None:
    assert describe_target(assembly(*((1.0, one) for one in labels))).type == kind


def test_a_dataset_names_where_its_rows_lay_and_how_many_had_labels() -> None:
    told = tell_assembled(assembly(*((1.0, n % 2) for n in range(5))), NOWHERE)
    assert (told.dataset.name, told.dataset.version) == ("served.demo.toy", "1-w2")
    assert told.dataset.digest == dataset_digest([NOWHERE.digest])
    assert [(one.partition, one.first_offset, one.last_offset) for one in told.inputs] == [(0, 0, 4), (1, 1, 3)]
    assert (told.row_count, told.label_coverage_ratio) == (5, 0.5)


def test_advice_holds_for_the_declared_time() -> None:
    patient = declared(retraining={"cooldown_seconds": 60}).declaration
    wanted = Wanted(registered(NOWHERE), patient, 2, TOLD, {})
    advice = advise(wanted, tell_assembled(assembly((1.0, 1)), NOWHERE), TOLD, START)
    assert advice.cooldown_until_at == START + timedelta(seconds=60)


def test_what_could_not_be_assembled_names_the_drift_and_why() -> None:
    told = tell_unassembled(assembly((1.0, 1)).wanted, "error", "x" * 5000)
    assert told.trigger == TOLD
    assert told.reason
    assert (told.reason.code, told.reason.text[:3], told.reason.evidence) == ("error", "xxx", (TOLD,))
