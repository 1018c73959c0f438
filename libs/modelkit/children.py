"""What child processes run: each function takes one plain dict and gives one plain dict.

`send(kind, payload)` tells the parent of progress while the work goes on. All paths are of local files that the
parent has verified; digests are computed again here all the same. What cannot be worked with is a DataError or a
PackageError; every other exception is a fault of this library.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from cairn.events.declaration import Declaration
from cairn.events.values import Code
from modelkit.datasets import Dataset, digest_of_files, read_dataset
from modelkit.errors import DataError
from modelkit.estimators import candidates, single_thread
from modelkit.inspection import Inspection, Question, checked, features_of, inspect
from modelkit.judging import judge
from modelkit.machine import Meter, environment
from modelkit.package import MANIFEST, MEDIA_TYPES, PROFILE, Predictor, digest_of, load_package
from modelkit.search import Trial
from modelkit.training import train_model

Spec = Mapping[str, Any]
Send = Callable[[str, dict[str, Any]], None]


def inspect_dataset(spec: Spec, send: Send) -> dict[str, Any]:
    """Whether a dataset can be read, and is fit for a target and features or for a whole declaration.

    Takes `files`, `format`; and `declaration`, or `target` and `features` (each may be left out). Sends `check` with
    each check. Gives `digest` (null when a file is not there), `row_count`, `columns`, `checks`, `accepted` (no
    check that decides has failed) and `profile` (of all rows, without scores; null where the features are not there).
    Raises nothing for bad data: that is what the checks are for.
    """
    try:
        dataset = _read(spec)
    except DataError as fault:
        found = Inspection((checked("the files can be read as one table", "readable", "", fault),), None)
        told: dict[str, Any] = {"digest": _digest_or_none(spec["files"]), "row_count": 0, "columns": []}
    else:
        found = inspect(dataset.table, _question(spec, dataset.table.column_names))
        columns = [_plain(column) for column in dataset.columns]
        told = {"digest": dataset.digest, "row_count": dataset.table.num_rows, "columns": columns}
    checks = [_plain(check) for check in found.checks]
    for check in checks:
        send("check", check)
    profile = _plain(found.profile) if found.profile else None
    return {**told, "checks": checks, "accepted": found.accepted, "profile": profile}


def train(spec: Spec, send: Send) -> dict[str, Any]:
    """Search, fit, profile and package, on the rows that are not held out.

    Takes `files`, `format`, `declaration`, `digest` (the dataset's), `output_directory` (existing), `code`
    (`repository`, `commit`). Sends `trial` after each trial: `number`, `trials` (at most), `estimator`, `params`,
    `metric`, `mean`, `deviation`, `n`, `seconds`. Gives what `training.completed` tells, with local paths.
    """
    meter = Meter()
    declaration = Declaration.model_validate(spec["declaration"])
    code = Code.model_validate(spec["code"])
    directory = Path(spec["output_directory"])
    at_most = len(candidates(declaration.search))

    def report(trial: Trial) -> None:
        send("trial", {**_told(trial), "trials": at_most, "metric": declaration.search.metric})

    with single_thread():
        trained = train_model(_read(spec), declaration, code, directory, report)
    best = trained.outcome.best
    files = _files(directory)
    return {
        "package_digest": files[MANIFEST]["digest"],
        "manifest_file": files[MANIFEST]["path"],
        "profile_file": files[PROFILE]["path"],
        "files": files,
        "estimator": best.candidate.estimator,
        "params": best.candidate.params,
        "metrics": [_plain(metric) for metric in trained.metrics],
        "io_schema": _plain(trained.manifest.io_schema),
        "classes": list(trained.manifest.classes),
        "forms": [_plain(form) for form in trained.manifest.forms],
        "trials": trained.outcome.trials,
        "rows": trained.rows,
        "seed": declaration.seed,
        "code": _plain(code),
        "environment": _plain(environment()),
        "usage": _plain(meter.usage()),
    }


def measure(spec: Spec, send: Send) -> dict[str, Any]:
    """Measure a packaged model on the held-out rows and judge the declared gates.

    Takes `files`, `format`, `digest` (may be left out), `declaration`, `manifest_file`, `package_files` (name to
    path) and `champion` (`manifest_file`, `package_files`; may be left out). Sends `check` with each gate. Gives
    `metrics`, `champion_metrics`, `checks`, `passed` and `report`. Raises DataError or PackageError for what cannot
    be judged: that is no verdict.
    """
    declaration = Declaration.model_validate(spec["declaration"])
    champion = spec.get("champion")
    with single_thread():
        verdict = judge(_read(spec), declaration, _loaded(spec), _loaded(champion) if champion else None)
    checks = [_plain(check) for check in verdict.checks]
    for check in checks:
        send("check", check)
    return {
        "metrics": [_plain(metric) for metric in verdict.metrics],
        "champion_metrics": [_plain(metric) for metric in verdict.champion_metrics],
        "checks": checks,
        "passed": verdict.passed,
        "report": verdict.report,
    }


def _read(spec: Spec) -> Dataset:
    dataset = read_dataset(spec["files"], spec["format"])
    wanted = spec.get("digest")
    if wanted is not None and dataset.digest != wanted:
        raise DataError("digest-mismatch", f"the files make up the dataset {dataset.digest}, not {wanted}")
    return dataset


def _digest_or_none(files: list[str]) -> str | None:
    try:
        return digest_of_files(files)
    except DataError:
        return None


def _question(spec: Spec, columns: list[str]) -> Question:
    if spec.get("declaration"):
        declaration = Declaration.model_validate(spec["declaration"])
        return Question(declaration.target, features_of(declaration, columns), declaration)
    target = spec.get("target")
    features = spec.get("features") or [name for name in columns if name != target]
    return Question(target, tuple(features))


def _loaded(spec: Spec) -> Predictor:
    files = {name: Path(path) for name, path in spec["package_files"].items()}
    return load_package(Path(spec["manifest_file"]), files)


def _told(trial: Trial) -> dict[str, Any]:
    return {
        "number": trial.number,
        "estimator": trial.candidate.estimator,
        "params": trial.candidate.params,
        "mean": trial.mean,
        "deviation": trial.deviation,
        "n": len(trial.scores),
        "seconds": trial.seconds,
    }


def _files(directory: Path) -> dict[str, dict[str, Any]]:
    contents = {name: (directory / name).read_bytes() for name in MEDIA_TYPES}
    return {
        name: {
            "path": str(directory / name),
            "digest": digest_of(content),
            "bytes": len(content),
            "media_type": MEDIA_TYPES[name],
        }
        for name, content in contents.items()
    }


def _plain(value: BaseModel) -> dict[str, Any]:
    return value.model_dump(mode="json")
