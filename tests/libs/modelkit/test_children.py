"""What children run: from files to a package, and from a package to a verdict."""

import json
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.libs.modelkit.samples import (
    CANCER,
    cancer,
    declared,
    ignore,
    iris,
    package_of,
    shifted,
    spec_of,
    trained,
    written,
)

from cairn.events.declaration import Split
from cairn.events.values import Check, Environment, IoSchema, Metric, Usage
from modelkit import children
from modelkit.datasets import held_out
from modelkit.errors import DataError, ModelkitError, PackageError
from modelkit.grid import Profile
from modelkit.metrics import METRICS

Trained = tuple[dict[str, Any], dict[str, Any]]

ELSEWHERE = """
import json, sys
from modelkit import children
results = [children.train(spec, lambda kind, payload: None) for spec in json.load(sys.stdin)]
digests = [{name: file["digest"] for name, file in result["files"].items()} for result in results]
json.dump([digests, sorted({name.split(".")[0] for name in sys.modules})], sys.stdout)
"""
FOREIGN = {"chassis", "faststream", "sqlmodel", "sqlalchemy", "aiokafka"}


def digests(result: dict[str, Any]) -> dict[str, str]:
    return {name: file["digest"] for name, file in result["files"].items()}


def test_the_same_inputs_give_a_bit_identical_package_in_another_process(
    first_version: Trained, boosted_version: Trained, tmp_path: Path
) -> None:
    """Another process has other memory addresses and another order of sets; it needs nothing of the chassis."""
    specs: list[dict[str, Any]] = []
    for number, (spec, _) in enumerate((first_version, boosted_version)):
        (tmp_path / str(number)).mkdir()
        specs.append({**spec, "output_directory": str(tmp_path / str(number))})
    run = subprocess.run(
        [sys.executable, "-c", ELSEWHERE],
        input=json.dumps(specs).encode(),
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONHASHSEED": "17"},
        check=True,
    )
    found, modules = json.loads(run.stdout)
    assert found == [digests(first_version[1]), digests(boosted_version[1])]
    assert not FOREIGN & set(modules)


def test_the_order_of_files_does_not_change_the_package(tmp_path: Path) -> None:
    parts = [written(cancer().slice(start, 100), tmp_path / f"{start}.csv") for start in (0, 100)]
    results = []
    for number, files in enumerate((parts, parts[::-1])):
        (tmp_path / str(number)).mkdir()
        spec = spec_of(files, declared(), output_directory=str(tmp_path / str(number)))
        results.append(digests(children.train(spec, ignore)))
    assert results[0] == results[1]


def test_another_seed_salt_or_row_gives_another_package(first_version: Trained, tmp_path: Path) -> None:
    known = {first_version[1]["package_digest"]}
    others: list[dict[str, Any]] = [{"seed": 1}, {"split": {"salt": "pepper"}}]
    for number, changes in enumerate(others):
        known.add(trained(cancer().slice(0, 250), tmp_path / str(number), declared(**changes))[1]["package_digest"])
    known.add(trained(cancer().slice(0, 251), tmp_path / "more", declared())[1]["package_digest"])
    assert len(known) == 4


def test_training_tells_all_that_the_event_needs(first_version: Trained) -> None:
    result = first_version[1]
    assert json.loads(json.dumps(result)) == result
    assert [Metric.model_validate(metric).name for metric in result["metrics"]] == list(METRICS)
    assert {metric["split"] for metric in result["metrics"]} == {"cross_validation"}
    assert [column.name for column in IoSchema.model_validate(result["io_schema"]).inputs] == CANCER
    assert Usage.model_validate(result["usage"]).wall_seconds > 0
    assert Environment.model_validate(result["environment"]).python.startswith("3.")
    assert (result["estimator"], result["trials"], result["seed"]) == ("logistic_regression", 2, 0)
    assert result["params"] == {"C": 1.0}
    assert result["rows"] == result["metrics"][0]["n"]
    assert sorted(result["files"]) == ["card.md", "manifest.json", "model.skops", "profile.json"]


def test_every_trial_is_told_as_it_ends(tmp_path: Path) -> None:
    told: list[dict[str, Any]] = []
    path = written(iris(), tmp_path / "iris.csv")
    spec = spec_of([path], declared(target="virginica", search={"max_trials": 3}), output_directory=str(tmp_path))
    result = children.train(spec, lambda kind, payload: told.append({"kind": kind, **payload}))
    assert [trial["number"] for trial in told] == [1, 2, 3]
    estimators = [trial["estimator"] for trial in told]
    assert estimators == ["logistic_regression", "hist_gradient_boosting", "logistic_regression"]
    assert set(told[0]) == {
        "kind", "number", "trials", "estimator", "params", "metric", "mean", "deviation", "n", "seconds"
    }  # fmt: skip
    assert (told[0]["kind"], told[0]["metric"], told[0]["trials"]) == ("trial", "roc_auc", 3)
    assert result["trials"] == 3


def test_a_search_ends_when_its_time_is_over(tmp_path: Path) -> None:
    declaration = declared(search={"max_trials": 8, "max_seconds": 0.001})
    assert trained(cancer().slice(0, 100), tmp_path / "short", declaration)[1]["trials"] == 1


def test_the_profile_holds_every_feature_and_the_score_of_the_training_rows(first_version: Trained) -> None:
    result = first_version[1]
    profile = Profile.model_validate_json(Path(result["profile_file"]).read_bytes())
    assert [grid.name for grid in profile.columns] == [*CANCER, "score"]
    assert {sum(grid.counts) for grid in profile.columns} == {profile.rows} == {result["rows"]}


def test_the_card_names_the_data_and_no_instant(first_version: Trained) -> None:
    spec, result = first_version
    card = Path(result["files"]["card.md"]["path"]).read_text()
    assert spec["digest"] in card
    assert "# Model card: demo.cancer" in card
    assert "`malignant`" in card
    assert "202" not in card.replace(spec["digest"], "")


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"digest": "sha256:" + "0" * 64}, "digest-mismatch"),
        ({"declaration": declared(target="price")}, "target-missing"),
        ({"declaration": declared(features=["mean radius", "height"])}, "feature-missing"),
        ({"declaration": declared(target="mean radius")}, "target-not-binary"),
        ({"declaration": declared(split={"held_out_ratio": 0.99})}, "too-few-rows"),
        ({"format": "parquet"}, "not-parquet"),
        ({"format": "xlsx"}, "unknown-format"),
    ],
)
def test_data_that_cannot_be_trained_on_is_refused(tmp_path: Path, changes: dict[str, Any], code: str) -> None:
    spec = spec_of([written(cancer().slice(0, 60), tmp_path / "a.csv")], declared(), output_directory=str(tmp_path))
    with pytest.raises(DataError) as caught:
        children.train({**spec, **changes}, ignore)
    assert caught.value.code == code


def test_named_features_alone_are_used(tmp_path: Path) -> None:
    declaration = declared(features=["worst area", "mean texture"])
    _, result = trained(cancer(), tmp_path / "two", declaration)
    assert [column["name"] for column in result["io_schema"]["inputs"]] == ["worst area", "mean texture"]


def test_the_held_out_rows_decide_nothing_in_training(first_version: Trained, tmp_path: Path) -> None:
    """Without the held-out rows in the file, the same model is made; only the card tells of other data."""
    table = cancer().slice(0, 250)
    seen = table.filter([not aside for aside in held_out(table, Split()).tolist()])
    _, result = trained(seen, tmp_path / "seen", declared())
    for name in ("model.skops", "profile.json"):
        assert digests(result)[name] == digests(first_version[1])[name]


def test_the_validator_measures_the_held_out_rows_itself(first_version: Trained) -> None:
    spec, result = first_version
    verdict = children.measure({**spec, **package_of(result)}, ignore)
    assert json.loads(json.dumps(verdict)) == verdict
    figures = {metric["name"]: metric for metric in verdict["metrics"]}
    assert {metric["split"] for metric in verdict["metrics"]} == {"held_out"}
    assert figures["roc_auc"]["n"] == 250 - result["rows"]
    assert figures["roc_auc"]["value"] > 0.95
    report = verdict["report"]
    assert (report["format"], report["rows"], report["held_out_rows"]) == ("cairn-report-v1", 250, figures["f1"]["n"])
    assert (
        sum(report["confusion"].values()) == report["held_out_rows"] == sum(row["n"] for row in report["calibration"])
    )
    assert verdict["passed"]
    assert verdict["checks"] == []


@pytest.mark.parametrize(
    ("minimums", "passed"),
    [
        ({"roc_auc": 0.9}, True),
        ({"roc_auc": 0.9999}, False),
        ({"brier_score": 0.2}, True),
        ({"brier_score": 0.001}, False),
        ({"accuracy": 0.8, "log_loss": 0.0001}, False),
    ],
)
def test_minimums_are_gates_and_of_losses_they_are_maximums(
    first_version: Trained, minimums: dict[str, float], passed: bool
) -> None:
    spec, result = first_version
    verdict = children.measure(
        {**spec, **package_of(result), "declaration": declared(gates={"minimums": minimums})}, ignore
    )
    assert verdict["passed"] == passed
    assert len(verdict["checks"]) == len(minimums)
    for check in verdict["checks"]:
        assert Check.model_validate(check).measured


def test_a_model_trained_on_the_shifted_data_beats_the_first_there(
    first_version: Trained, second_version: Trained
) -> None:
    spec, result = second_version
    verdict = children.measure({**spec, **package_of(result), "champion": package_of(first_version[1])}, ignore)
    assert [(check["name"], check["passed"]) for check in verdict["checks"]] == [
        ("minimum.roc_auc", True),
        ("beats_champion", True),
    ]
    ours, theirs = (
        next(metric["value"] for metric in verdict[part] if metric["name"] == "brier_score")
        for part in ("metrics", "champion_metrics")
    )
    assert ours < theirs
    assert verdict["report"]["comparison"]["difference"] == pytest.approx(theirs - ours)


def test_the_first_does_not_beat_the_second_there_nor_itself(first_version: Trained, second_version: Trained) -> None:
    spec, second = second_version
    for champion in (second, first_version[1]):
        verdict = children.measure({**spec, **package_of(first_version[1]), "champion": package_of(champion)}, ignore)
        assert not verdict["passed"]


def test_a_first_version_has_nothing_to_beat(second_version: Trained) -> None:
    spec, result = second_version
    verdict = children.measure({**spec, **package_of(result)}, ignore)
    assert verdict["passed"]
    assert verdict["report"]["comparison"] is None
    assert verdict["champion_metrics"] == []


def test_shifted_data_are_accepted_for_training(tmp_path: Path) -> None:
    spec = spec_of([written(shifted(cancer().slice(350, 170)), tmp_path / "a.csv")], declared())
    assert children.inspect_dataset(spec, ignore)["accepted"]


def test_what_cannot_be_judged_is_no_verdict(first_version: Trained, tmp_path: Path) -> None:
    spec, result = first_version
    package = package_of(result)
    other = spec_of([written(iris(), tmp_path / "iris.csv")], declared(target="virginica"))
    narrow = spec_of([written(cancer().drop_columns(["mean radius"]), tmp_path / "narrow.csv")], declared())
    changed = shutil.copy(package["package_files"]["model.skops"], tmp_path / "model.skops")
    Path(changed).write_bytes(Path(changed).read_bytes()[::-1])
    broken = {**package, "package_files": {"model.skops": str(changed)}}
    cases: list[tuple[dict[str, Any], type[ModelkitError], str]] = [
        ({**other, **package}, PackageError, "other-classes"),
        ({**narrow, **package}, DataError, "feature-missing"),
        ({**spec, **broken}, PackageError, "digest-mismatch"),
        ({**spec, **package, "champion": broken}, PackageError, "digest-mismatch"),
        ({**spec, **package, "digest": "sha256:" + "0" * 64}, DataError, "digest-mismatch"),
    ]
    for given, kind, code in cases:
        with pytest.raises(kind) as caught:
            children.measure(given, ignore)
        assert caught.value.code == code


def test_errors_survive_the_way_out_of_a_child() -> None:
    fault = pickle.loads(pickle.dumps(PackageError("foreign-type", "a sentence")))
    assert isinstance(fault, PackageError)
    assert (fault.code, fault.text, str(fault)) == ("foreign-type", "a sentence", "a sentence")
