"""Whether a dataset is fit to train on."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from tests.libs.modelkit.samples import cancer, declared, ignore, iris, spec_of, written

from modelkit.children import inspect_dataset
from modelkit.grid import Profile


def inspected(table: pa.Table, path: Path, **question: Any) -> dict[str, Any]:
    return inspect_dataset({"files": [str(written(table, path))], "format": "csv", **question}, ignore)


def failed(found: dict[str, Any]) -> dict[str, str]:
    return {check["name"]: check["severity"] for check in found["checks"] if not check["passed"]}


def with_column(table: pa.Table, name: str, cells: Any) -> pa.Table:
    return table.append_column(name, pa.array(cells))


def test_a_good_dataset_is_accepted_with_its_columns_and_profile(data_file: Path) -> None:
    told: list[tuple[str, Any]] = []
    spec = spec_of([written(cancer(), data_file)], declared())
    found = inspect_dataset(spec, lambda kind, payload: told.append((kind, payload)))
    assert (found["accepted"], found["row_count"], found["digest"]) == (True, 569, spec["digest"])
    assert len(found["columns"]) == 31
    assert failed(found) == {}
    assert told == [("check", check) for check in found["checks"]]
    profile = Profile.model_validate(found["profile"])
    assert (profile.rows, len(profile.columns)) == (569, 30)


def test_a_dataset_can_be_inspected_for_nothing_in_particular(data_file: Path) -> None:
    found = inspected(iris(), data_file)
    assert found["accepted"]
    assert len(found["profile"]["columns"]) == 5


@pytest.mark.parametrize("content", [b"", b"a,b\n1\n", b"\xff\xfe"])
def test_what_cannot_be_read_is_not_accepted_but_has_its_digest(data_file: Path, content: bytes) -> None:
    data_file.write_bytes(content)
    found = inspect_dataset(spec_of([data_file], declared()), ignore)
    assert failed(found) == {"readable": "error"}
    assert (found["accepted"], found["row_count"], found["columns"], found["profile"]) == (False, 0, [], None)
    assert found["digest"].startswith("sha256:")


def test_a_file_that_is_not_there_has_no_digest(data_file: Path) -> None:
    found = inspect_dataset({"files": [str(data_file)], "format": "csv"}, ignore)
    assert (found["digest"], failed(found)) == (None, {"readable": "error"})


def test_a_missing_target_and_missing_features_are_errors(data_file: Path) -> None:
    found = inspected(iris(), data_file, target="price", features=["wide", "height"])
    assert failed(found) == {"target": "error", "features": "error"}
    assert not found["accepted"]
    assert found["profile"] is None


def test_a_target_that_is_not_binary_is_an_error(data_file: Path) -> None:
    assert failed(inspected(cancer(), data_file, target="mean radius")) == {"target": "error"}


def test_a_feature_called_as_the_models_answer_is_an_error(data_file: Path) -> None:
    table = iris().rename_columns(["score", "a", "b", "c", "virginica"])
    assert failed(inspected(table, data_file, target="virginica")) == {"features": "error"}


def test_few_rows_and_parts_without_both_classes_are_errors(data_file: Path) -> None:
    found = inspected(cancer().slice(0, 4), data_file, declaration=declared())
    assert failed(found).keys() >= {"rows", "split"}
    assert not found["accepted"]


def test_gaps_duplicates_and_constants_are_warnings(data_file: Path) -> None:
    table = pa.concat_tables([cancer().slice(0, 100), cancer().slice(0, 20)])
    table = with_column(table, "gappy", [None if row % 2 else row for row in range(120)])
    table = with_column(table.drop_columns(["gappy"]), "constant", [7] * 120)
    found = inspected(table, data_file, target="diagnosis")
    assert failed(found) == {"duplicates": "warning", "constant-features": "warning"}
    assert found["accepted"]
    gappy = with_column(cancer(), "gappy", [None if row % 2 else row for row in range(569)])
    assert failed(inspected(gappy, data_file, target="diagnosis")) == {"missing-values": "warning"}


def test_a_feature_that_is_missing_everywhere_is_an_error(data_file: Path) -> None:
    found = inspected(with_column(cancer(), "empty", pa.nulls(569, pa.float64())), data_file, target="diagnosis")
    assert failed(found)["empty-features"] == "error"


def test_a_copy_of_the_target_is_an_error(data_file: Path) -> None:
    texts = with_column(cancer(), "copy", cancer()["diagnosis"].to_pylist())
    truths = with_column(iris(), "copy", [bool(value) for value in iris()["virginica"].to_pylist()])
    assert failed(inspected(texts, data_file, target="diagnosis")) == {"target-copies": "error"}
    assert failed(inspected(truths, data_file, target="virginica"))["target-copies"] == "error"


def test_a_feature_that_alone_separates_the_classes_is_a_warning(data_file: Path) -> None:
    truth = [value == "malignant" for value in cancer()["diagnosis"].to_pylist()]
    by_threshold = with_column(cancer(), "leak", [row + 1000.5 * value for row, value in enumerate(truth)])
    by_text = with_column(cancer(), "leak", [f"{value} {row % 7}" for row, value in enumerate(truth)])
    for table in (by_threshold, by_text):
        found = inspected(table, data_file, target="diagnosis")
        assert failed(found) == {"leakage": "warning"}
        assert found["accepted"]


def test_an_identifier_is_not_taken_for_a_leak(data_file: Path) -> None:
    table = with_column(cancer(), "id", [f"patient {row}" for row in range(569)])
    assert failed(inspected(table, data_file, target="diagnosis")) == {}
