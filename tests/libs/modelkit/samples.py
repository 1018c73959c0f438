"""Real data and what is declared for it, for all tests of modelkit."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import csv, parquet
from sklearn.datasets import load_breast_cancer, load_iris

from modelkit import children
from modelkit.datasets import digest_of_files

CODE = {"repository": "https://example.org/cairn", "commit": "0123abc"}
CANCER = [str(name) for name in load_breast_cancer().feature_names]
WORST = CANCER[20:]


def cancer(seed: int = 0) -> pa.Table:
    """The breast-cancer data, permuted: their natural order is not exchangeable."""
    data = load_breast_cancer()
    order = np.random.default_rng(seed).permutation(len(data.target))
    columns = {name: data.data[order, place] for place, name in enumerate(CANCER)}
    return pa.table({**columns, "diagnosis": np.where(data.target[order], "benign", "malignant")})


def shifted(table: pa.Table) -> pa.Table:
    """The same with the ten worst features half as large again."""
    return pa.table({name: pa.array(_shifted(name, table[name])) for name in table.column_names})


def _shifted(name: str, column: pa.ChunkedArray) -> Any:
    return column.to_numpy() * 1.5 if name in WORST else column.to_numpy()


def iris() -> pa.Table:
    """Iris made binary, with text, truths, integers and gaps among its features."""
    data = load_iris()
    width = data.data[:, 1]
    return pa.table(
        {
            "petal length": pa.array([None if row % 11 == 0 else value for row, value in enumerate(data.data[:, 2])]),
            "sepal millimetres": pa.array((data.data[:, 0] * 10).astype(int)),
            "wide": pa.array(width > 3),
            "garden": pa.array(["north" if value > 3.2 else None if value < 2.5 else "süd" for value in width]),
            "virginica": pa.array((data.target == 2).astype(int)),
        }
    )


def declared(**changes: Any) -> dict[str, Any]:
    """A declaration for the breast-cancer data, as JSON has it."""
    return {
        "model": "demo.cancer",
        "owner": "team",
        "dataset": "cancer",
        "target": "diagnosis",
        "search": {"max_trials": 2},
        "monitoring": {"drift": {"bins": 5}},
        **changes,
    }


def written(table: pa.Table, path: Path) -> Path:
    """The table as a file, CSV or Parquet by its name."""
    if path.suffix == ".csv":
        csv.write_csv(table, path)
    else:
        parquet.write_table(table, path)
    return path


def spec_of(files: Sequence[Path], declaration: dict[str, Any], **more: Any) -> dict[str, Any]:
    """What a child is given."""
    names = [str(path) for path in files]
    data_format = files[0].suffix[1:]
    digest = digest_of_files(names)
    return {"files": names, "format": data_format, "declaration": declaration, "digest": digest, "code": CODE, **more}


def trained(table: pa.Table, directory: Path, declaration: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Train on a table: what the child was given and what it gave."""
    directory.mkdir()
    spec = spec_of([written(table, directory / "data.csv")], declaration, output_directory=str(directory))
    return spec, children.train(spec, ignore)


def package_of(result: dict[str, Any]) -> dict[str, Any]:
    """A package as `measure` takes it."""
    files = {name: file["path"] for name, file in result["files"].items() if name != "manifest.json"}
    return {"manifest_file": result["manifest_file"], "package_files": files}


def ignore(kind: str, payload: dict[str, Any]) -> None:
    """A parent that does not listen."""
