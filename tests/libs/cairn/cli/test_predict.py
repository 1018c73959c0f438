"""`cairn predict`: rows become tensors, and the answer becomes rows again."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.libs.cairn.cli.conftest import Fake, Outcome

ANSWER = {
    "model_name": "risk.loans",
    "outputs": [
        {"name": "label", "shape": [2, 1], "datatype": "INT64", "data": [1, 0]},
        {"name": "scores", "shape": [2, 2], "datatype": "FP64", "data": [0.1, 0.9, 0.75, 0.25]},
    ],
}
PATH = "/v2/models/risk.loans/infer"

Cairn = Callable[..., Outcome]
Start = Callable[[dict[str, Any]], Fake]


@pytest.fixture
def serving(service: Start, known_services: Callable[..., None]) -> Fake:
    fake = service({PATH: (200, ANSWER)})
    known_services(serving=fake.url)
    return fake


def test_each_feature_is_a_tensor_of_its_kind(cairn: Cairn, serving: Fake, tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(
        '{"income": 52000.5, "age": 31, "grade": "B", "owner": true, "debt": null}\n'
        '{"income": 48000, "age": 44, "grade": "A", "owner": false, "debt": null}\n'
    )

    assert cairn("predict", "risk.loans", "--file", file).code == 0

    [(method, path, body)] = serving.heard
    assert (method, path) == ("POST", PATH)
    assert body["inputs"] == [
        {"name": "income", "shape": [2, 1], "datatype": "FP64", "data": [52000.5, 48000]},
        {"name": "age", "shape": [2, 1], "datatype": "INT64", "data": [31, 44]},
        {"name": "grade", "shape": [2, 1], "datatype": "BYTES", "data": ["B", "A"]},
        {"name": "owner", "shape": [2, 1], "datatype": "BOOL", "data": [True, False]},
        {"name": "debt", "shape": [2, 1], "datatype": "FP64", "data": [None, None]},
    ]


def test_the_answer_has_a_line_for_each_row(cairn: Cairn, serving: Fake, tmp_path: Path) -> None:
    file = tmp_path / "rows.json"
    file.write_text('[{"income": 1}, {"income": 2}]')

    outcome = cairn("predict", "risk.loans", "--file", file)

    assert outcome.out.splitlines() == ["row  label  scores", "1    1      [0.1, 0.9]", "2    0      [0.75, 0.25]"]


def test_for_programs_the_answer_comes_as_it_is(cairn: Cairn, serving: Fake) -> None:
    assert cairn("predict", "risk.loans", "--row", '{"income": 1}', "--json").data == ANSWER


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ("income=1", "the rows are not JSON"),
        ("[1]", "a row is a JSON object"),
        ("[]", "a row is a JSON object"),
        ("{}", "a row is a JSON object"),
        ('[{"a": 1}, {"b": 1}]', "all rows must have the same features"),
        ('[{"a": 1}, {"a": "x"}]', "the values of a are neither all numbers"),
        ('{"a": [1]}', "the values of a are neither all numbers"),
        ('{"a": NaN}', "write null for a missing value"),
    ],
)
def test_rows_that_cannot_be_meant_are_wrong_usage(cairn: Cairn, serving: Fake, row: str, complaint: str) -> None:
    outcome = cairn("predict", "risk.loans", "--row", row)

    assert outcome.code == 2
    assert complaint in outcome.err
    assert serving.heard == []


def test_either_a_row_or_a_file_is_wanted(cairn: Cairn, serving: Fake) -> None:
    outcome = cairn("predict", "risk.loans")

    assert outcome == Outcome(2, "", "give either --row or --file\n")


def test_what_the_model_refuses_is_told_in_its_words(
    cairn: Cairn, service: Start, known_services: Callable[..., None]
) -> None:
    known_services(serving=service({PATH: (400, {"error": "the input 'age' is missing"})}).url)

    outcome = cairn("predict", "risk.loans", "--row", '{"income": 1}')

    assert outcome == Outcome(1, "", "the serving process says: the input 'age' is missing (400)\n")
