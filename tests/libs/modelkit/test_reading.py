"""Files become a typed table, or a sentence that says what is wrong with them."""

import gzip
import json
from hashlib import sha256
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from tests.libs.modelkit.samples import cancer, iris, written

from cairn.events.identity import dataset_digest
from modelkit.datasets import Limits, file_digest, read_dataset, read_target
from modelkit.errors import DataError


def types(table: pa.Table) -> dict[str, str]:
    return {name: str(column.type) for name, column in zip(table.column_names, table.columns, strict=True)}


def refused(path: Path, content: bytes, data_format: str = "csv") -> DataError:
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_dataset([path], data_format)
    return caught.value


def test_csv_and_parquet_of_the_same_values_give_the_same_table(tmp_path: Path) -> None:
    for table in (cancer(), iris()):
        as_csv = read_dataset([written(table, tmp_path / "a.csv")], "csv").table
        as_parquet = read_dataset([written(table, tmp_path / "a.parquet")], "parquet").table
        assert as_csv.equals(as_parquet)


def test_columns_are_told_with_their_kind_and_whether_they_have_gaps(tmp_path: Path) -> None:
    columns = read_dataset([written(iris(), tmp_path / "a.csv")], "csv").columns
    assert [(column.name, column.type, column.required) for column in columns] == [
        ("petal length", "number", False),
        ("sepal millimetres", "integer", True),
        ("wide", "boolean", True),
        ("garden", "string", False),
        ("virginica", "integer", True),
    ]


def test_the_order_of_files_changes_nothing(tmp_path: Path) -> None:
    files = [written(cancer().slice(start, 100), tmp_path / f"{start}.csv") for start in (0, 100, 200)]
    forward, backward = read_dataset(files, "csv"), read_dataset(files[::-1], "csv")
    assert forward.digest == backward.digest
    assert forward.table.equals(backward.table)
    assert forward.table.num_rows == 300


def test_types_are_decided_over_all_files_together(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x,y\n1,a\n2,b\n")
    (tmp_path / "b.csv").write_text("y,x\nc,2.5\n")
    assert types(read_dataset([tmp_path / "a.csv", tmp_path / "b.csv"], "csv").table)["x"] == "double"


def test_the_digest_of_a_dataset_is_that_of_the_sorted_array_of_its_files_digests(tmp_path: Path) -> None:
    files = [written(cancer().slice(start, 50), tmp_path / f"{start}.csv") for start in (0, 50)]
    digests = ["sha256:" + sha256(path.read_bytes()).hexdigest() for path in files]
    assert [file_digest(path) for path in files] == digests
    array = json.dumps(sorted(digests), separators=(",", ":")).encode()
    assert read_dataset(files, "csv").digest == "sha256:" + sha256(array).hexdigest()
    assert dataset_digest(digests) == dataset_digest(digests[::-1])


@pytest.mark.parametrize(
    ("cells", "kind", "values"),
    [
        ("1,-2,0", "int64", [1, -2, 0]),
        ("1,2.5,.5", "double", [1.0, 2.5, 0.5]),
        ("1e3,-2E-2,5.", "double", [1000.0, -0.02, 5.0]),
        ("1,NA,3", "int64", [1, None, 3]),
        ("1.5,nan,", "double", [1.5, None, None]),
        ("true,FALSE,", "bool", [True, False, None]),
        ("007,010,100", "string", ["007", "010", "100"]),
        ("NA,x,", "string", ["NA", "x", None]),
        ("=1+1,@SUM(A1),+2", "string", ["=1+1", "@SUM(A1)", "+2"]),
        ("0x1F,1_000,1", "string", ["0x1F", "1_000", "1"]),
        ("2026-01-01,2026-01-02,", "string", ["2026-01-01", "2026-01-02", None]),
        ("9007199254740993,1,2", "double", [9007199254740992.0, 1.0, 2.0]),
        ("12345678901234567890,1,2", "double", [1.2345678901234567e19, 1.0, 2.0]),
        (",,", "double", [None, None, None]),
    ],
)
def test_text_is_matched_and_never_evaluated(data_file: Path, cells: str, kind: str, values: list[object]) -> None:
    data_file.write_text("x,row\n" + "".join(f"{cell},{row}\n" for row, cell in enumerate(cells.split(","))))
    column = read_dataset([data_file], "csv").table["x"]
    assert str(column.type) == kind
    assert column.to_pylist() == values


def test_quoted_commas_newlines_and_a_byte_order_mark_are_read(data_file: Path) -> None:
    data_file.write_bytes('\ufeff"a, b",c\r\n"x\ny",1\r\n"say ""no""",2\r\n'.encode())
    assert read_dataset([data_file], "csv").table.to_pydict() == {"a, b": ["x\ny", 'say "no"'], "c": [1, 2]}


@pytest.mark.parametrize(
    ("content", "code", "said"),
    [
        (b"", "empty-file", "data.csv is empty"),
        (b"a,b\n", "no-rows", "data.csv has a header and no rows"),
        (b"a,b\n1,2\n3\n", "ragged-row", "data.csv: row 3 has 1 cells where the header has 2"),
        (b"a,b\n1,2,3\n", "ragged-row", "row 2 has 3 cells"),
        ("a,b\n1,ä\n".encode("latin-1"), "wrong-encoding", "data.csv: line 2 is not UTF-8"),
        ("ä,b\n1,2\n".encode("latin-1"), "wrong-encoding", "line 1 is not UTF-8"),
        ("a,b\n1,2\n".encode("utf-16"), "wrong-encoding", "line 1 is not UTF-8"),
        (b"a,b,a\n1,2,3\n", "duplicate-column-name", "columns 1 and 3 are both called 'a'"),
        (b"a,,c\n1,2,3\n", "empty-column-name", "column 2 has no name"),
        (b"a,  ,c\n1,2,3\n", "empty-column-name", "column 2 has no name"),
        (b"a, b\n1,2\n", "bad-column-name", "the name of column 2, ' b', begins or ends with a blank"),
        (b"a,b\n1,2\n3,inf\n", "infinite-value", "column 'b' holds an infinite number, first in data row 2"),
        (b"a,b\n-Infinity,2\n3,4\n", "infinite-value", "column 'a'"),
        (b"a,b\n1e999,2\n3,4\n", "infinite-value", "column 'a'"),
        (b'a,b\n1,"2\n3,4\n', "unterminated-quote", "a quote opened in row 2 is never closed"),
        (gzip.compress(b"a,b\n1,2\n", mtime=0), "not-csv", "data.csv is gzip, not CSV"),
        (b"PK\x03\x04zip", "not-csv", "data.csv is a zip archive"),
    ],
)
def test_a_bad_csv_is_refused_with_file_and_place(data_file: Path, content: bytes, code: str, said: str) -> None:
    fault = refused(data_file, content)
    assert (fault.code, said in fault.text) == (code, True), fault.text


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "empty-file"),
        (b"no parquet at all", "not-parquet"),
        (b"PAR", "not-parquet"),
        (b"PAR1", "unreadable-parquet"),
        (b"PAR1" + b"\xff" * 64 + b"PAR1", "unreadable-parquet"),
    ],
)
def test_a_bad_parquet_is_refused(tmp_path: Path, content: bytes, code: str) -> None:
    assert refused(tmp_path / "data.parquet", content, "parquet").code == code


def test_a_parquet_without_its_end_is_refused(tmp_path: Path) -> None:
    whole = written(cancer(), tmp_path / "a.parquet").read_bytes()
    assert refused(tmp_path / "b.parquet", whole[:-100], "parquet").code == "not-parquet"


@pytest.mark.parametrize(
    ("table", "code"),
    [
        (pa.table({"a": [1.0, float("inf")]}), "infinite-value"),
        (pa.table({"a": [[1], [2]]}), "unsupported-type"),
        (pa.table({"a": pa.array([1, 2], pa.timestamp("s"))}), "unsupported-type"),
        (pa.table({"a": pa.array([b"x"])}), "unsupported-type"),
        (pa.table({"a": pa.array([], pa.float64())}), "no-rows"),
    ],
)
def test_parquet_that_holds_what_cannot_be_learned_from_is_refused(tmp_path: Path, table: pa.Table, code: str) -> None:
    with pytest.raises(DataError) as caught:
        read_dataset([written(table, tmp_path / "a.parquet")], "parquet")
    assert caught.value.code == code


def test_parquet_of_any_width_and_dictionaries_is_read(tmp_path: Path) -> None:
    table = pa.table(
        {
            "small": pa.array([1, None], pa.int8()),
            "single": pa.array([0.5, float("nan")], pa.float32()),
            "huge": pa.array([2**60, 1], pa.uint64()),
            "coded": pa.array(["x", ""]).dictionary_encode(),
            "money": pa.array([1, 2]).cast(pa.decimal128(25, 2)),
            "nothing": pa.nulls(2),
        }
    )
    read = read_dataset([written(table, tmp_path / "a.parquet")], "parquet").table
    assert types(read) == {
        "small": "int64",
        "single": "double",
        "huge": "double",
        "coded": "string",
        "money": "double",
        "nothing": "double",
    }
    assert read["single"].to_pylist() == [0.5, None]
    assert read["coded"].to_pylist() == ["x", None]


def test_the_footer_is_judged_before_the_data_is_read(tmp_path: Path) -> None:
    path = written(pa.table({"a": np.zeros(100_000)}), tmp_path / "a.parquet")
    for limits, code in ((Limits(rows=99_999), "too-many-rows"), (Limits(bytes=799_999), "too-large")):
        with pytest.raises(DataError) as caught:
            read_dataset([path], "parquet", limits)
        assert caught.value.code == code
        assert "the footers promise" in caught.value.text


def test_more_rows_columns_or_bytes_than_allowed_are_refused(data_file: Path) -> None:
    written(cancer().slice(0, 20), data_file)
    limits = {"too-many-rows": Limits(rows=19), "too-many-columns": Limits(columns=30), "too-large": Limits(bytes=100)}
    for code, limit in limits.items():
        with pytest.raises(DataError) as caught:
            read_dataset([data_file], "csv", limit)
        assert caught.value.code == code


def test_files_with_other_columns_or_none_at_all_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x,y\n1,2\n")
    (tmp_path / "b.csv").write_text("x,z\n1,2\n")
    for files, code in (([tmp_path / "a.csv", tmp_path / "b.csv"], "columns-differ"), ([], "no-files")):
        with pytest.raises(DataError) as caught:
            read_dataset(files, "csv")
        assert caught.value.code == code
    with pytest.raises(DataError, match=r"gone\.csv is not there"):
        read_dataset([tmp_path / "gone.csv"], "csv")
    numbers = written(pa.table({"x": [1]}), tmp_path / "c.parquet")
    texts = written(pa.table({"x": ["a"]}), tmp_path / "d.parquet")
    with pytest.raises(DataError) as caught:
        read_dataset([numbers, texts], "parquet")
    assert caught.value.code == "columns-differ"


@pytest.mark.parametrize(
    ("cells", "code"),
    [
        (["a", "a"], "target-one-class"),
        (["a", "b", "c"], "target-not-binary"),
        (["a", None, "b"], "target-incomplete"),
        ([1.5, 2.5, 3.5], "target-not-binary"),
    ],
)
def test_a_target_that_is_not_binary_and_whole_is_refused(cells: list[object], code: str) -> None:
    with pytest.raises(DataError) as caught:
        read_target(pa.table({"y": cells}), "y")
    assert caught.value.code == code


def test_a_missing_target_is_refused_with_the_names_that_are_there() -> None:
    with pytest.raises(DataError, match="no column 'z'; there are 'x', 'y'") as caught:
        read_target(pa.table({"x": [1], "y": [2]}), "z")
    assert caught.value.code == "target-missing"


def test_the_greater_value_is_the_positive_class_and_whole_numbers_are_integers() -> None:
    for cells, classes in (
        (["no", "yes"], ("no", "yes")),
        ([True, False], (False, True)),
        ([1, 0], (0, 1)),
        ([0.0, 1.0], (0, 1)),
    ):
        target = read_target(pa.table({"y": cells}), "y")
        assert target.classes == classes
        assert [type(label) for label in target.classes] == [type(label) for label in classes]
        assert [target.classes[label] for label in target.labels] == cells
