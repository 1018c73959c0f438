"""A package gives back the model that was put in, and nothing foreign is ever opened."""

import io
import json
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skops.io
from sklearn.ensemble import RandomForestClassifier
from sklearn.preprocessing import FunctionTransformer
from tests.libs.modelkit.samples import CANCER, cancer, declared, iris, trained

from modelkit.errors import DataError, PackageError
from modelkit.package import Predictor, canonical_json, digest_of, load_package, read_manifest
from modelkit.skopsfile import dump, load

Trained = tuple[dict[str, Any], dict[str, Any]]


def loaded(result: dict[str, Any]) -> Predictor:
    files = {name: Path(file["path"]) for name, file in result["files"].items() if name != "manifest.json"}
    return load_package(Path(result["manifest_file"]), files)


def refused(content: bytes, width: int = 30) -> str:
    with pytest.raises(PackageError) as caught:
        load(content, width)
    return caught.value.code


def members_of(content: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def zipped(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def with_tree(content: bytes, **changes: Any) -> bytes:
    members = members_of(content)
    tree = json.loads(members["schema.json"]) | changes
    return zipped({**members, "schema.json": json.dumps(tree).encode()})


@pytest.fixture(scope="module")
def linear(first_version: Trained) -> bytes:
    return Path(first_version[1]["files"]["model.skops"]["path"]).read_bytes()


@pytest.fixture(scope="module")
def boosted(boosted_version: Trained) -> bytes:
    return Path(boosted_version[1]["files"]["model.skops"]["path"]).read_bytes()


def test_the_manifest_is_canonical_and_says_what_the_model_takes_and_gives(first_version: Trained) -> None:
    result = first_version[1]
    content = Path(result["manifest_file"]).read_bytes()
    told = json.loads(content)
    assert canonical_json(told) == content
    assert digest_of(content) == result["package_digest"]
    assert (told["format"], told["task"], told["classes"]) == ("cairn-package-v1", "binary", ["benign", "malignant"])
    assert [column["name"] for column in told["io_schema"]["inputs"]] == CANCER
    assert [column["name"] for column in told["io_schema"]["outputs"]] == ["score", "label"]
    digest = told["files"]["model.skops"]["digest"]
    assert told["forms"] == [{"name": "skops", "file": "model.skops", "digest": digest}]
    assert sorted(told["files"]) == ["card.md", "model.skops", "profile.json"]
    for name, file in told["files"].items():
        assert digest_of(Path(result["files"][name]["path"]).read_bytes()) == file["digest"]
        assert sorted(file) == ["bytes", "digest", "media_type"]


def test_no_instant_is_in_the_model_file(linear: bytes, boosted: bytes) -> None:
    for content in (linear, boosted):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
            assert {entry.compress_type for entry in archive.infolist()} == {zipfile.ZIP_DEFLATED}


def test_writing_what_was_read_gives_the_same_bytes(linear: bytes, boosted: bytes) -> None:
    for content in (linear, boosted):
        assert dump(load(content, 30)) == content


@pytest.mark.parametrize("version", ["first_version", "boosted_version"])
def test_rows_and_tables_are_scored_alike_and_missing_values_are_taken(
    version: str, request: pytest.FixtureRequest
) -> None:
    predictor = loaded(request.getfixturevalue(version)[1])
    table = cancer().slice(250, 50)
    rows: list[list[Any]] = [list(row.values()) for row in table.select(CANCER).to_pylist()]
    scores = predictor.scores(rows)
    assert scores == predictor.score_table(table).tolist()
    answers = [predictor.answer(score) for score in scores]
    right = sum(answer == truth for answer, truth in zip(answers, table["diagnosis"].to_pylist(), strict=True))
    assert right >= 45
    assert predictor.scores([[None] * 30]) == predictor.scores([[float("nan")] * 30])
    assert predictor.scores([]) == []
    assert predictor.classes == ("benign", "malignant")


@pytest.mark.parametrize("estimator", ["logistic_regression", "hist_gradient_boosting"])
def test_texts_truths_and_gaps_are_learned_from(tmp_path: Path, estimator: str) -> None:
    search = {"estimators": [estimator], "max_trials": 1}
    _, result = trained(iris(), tmp_path / "iris", declared(target="virginica", search=search))
    predictor = loaded(result)
    assert predictor.manifest.categories == {"garden": ("north", "süd")}
    assert predictor.classes == (0, 1)
    assert (
        result["io_schema"]["outputs"][1] | {"categories": [0, 1], "type": "integer"}
        == (result["io_schema"]["outputs"][1])
    )
    low, high = predictor.scores([[1.4, 51, True, "north"], [5.9, 72, False, "süd"]])
    assert low < 0.1 < 0.9 < high
    unseen, missing, empty = predictor.scores([[4.9, 60, None, text] for text in ("west", None, "")])
    assert unseen == missing == empty


@pytest.mark.parametrize(
    ("row", "code", "said"),
    [
        ([1.0], "bad-row", "row 0 has 1 cells where the model takes 30"),
        ([1.0] * 29 + ["x"], "bad-cell", "row 0: 'worst fractal dimension' is 'x', the model takes a number"),
        ([float("inf")] + [1.0] * 29, "bad-cell", "'mean radius' is inf"),
    ],
)
def test_a_row_that_is_not_fit_is_refused(first_version: Trained, row: list[Any], code: str, said: str) -> None:
    with pytest.raises(DataError, match=said) as caught:
        loaded(first_version[1]).scores([row])
    assert caught.value.code == code


def test_a_table_without_a_feature_is_refused(first_version: Trained) -> None:
    with pytest.raises(DataError, match="no column 'mean radius'"):
        loaded(first_version[1]).score_table(cancer().drop_columns(["mean radius"]))


@pytest.mark.parametrize("name", ["model.skops", "profile.json", "card.md"])
def test_a_changed_file_is_refused_before_it_is_read(first_version: Trained, tmp_path: Path, name: str) -> None:
    result = first_version[1]
    content = bytearray(Path(result["files"][name]["path"]).read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / name).write_bytes(content)
    given = {"model.skops": Path(result["files"]["model.skops"]["path"]), name: tmp_path / name}
    with pytest.raises(PackageError) as caught:
        load_package(Path(result["manifest_file"]), given)
    assert caught.value.code == "digest-mismatch"


def test_a_file_that_the_manifest_does_not_name_or_that_is_not_given_is_refused(first_version: Trained) -> None:
    manifest = Path(first_version[1]["manifest_file"])
    for given, code in (({"model.pkl": manifest}, "strange-file"), ({}, "file-missing")):
        with pytest.raises(PackageError) as caught:
            load_package(manifest, given)
        assert caught.value.code == code


@pytest.mark.parametrize("change", [{"format": "cairn-package-v9"}, {"classes": [1]}, {"files": {}}, {"forms": []}])
def test_a_manifest_that_is_none_is_refused(first_version: Trained, tmp_path: Path, change: dict[str, Any]) -> None:
    told = json.loads(Path(first_version[1]["manifest_file"]).read_bytes()) | change
    (tmp_path / "manifest.json").write_bytes(canonical_json(told))
    with pytest.raises(PackageError) as caught:
        read_manifest(tmp_path / "manifest.json")
    assert caught.value.code == "bad-manifest"


def test_a_pickle_is_never_opened() -> None:
    assert refused(pickle.dumps(print)) == "bad-model-file"
    assert refused(b"") == "bad-model-file"


def test_a_truncated_model_is_refused(linear: bytes) -> None:
    assert refused(linear[:-10]) == "bad-model-file"


@pytest.mark.parametrize(
    "node",
    [
        {"__loader__": "FunctionNode", "__module__": "posix", "__class__": "system"},
        {"__loader__": "TypeNode", "__module__": "subprocess", "__class__": "Popen"},
        {"__loader__": "OperatorFuncNode", "__module__": "operator", "__class__": "methodcaller", "attrs": {}},
        {"__loader__": "ObjectNode", "__module__": "sklearn.dummy", "__class__": "DummyClassifier"},
        {"__loader__": "FunctionNode", "__module__": "numpy", "__class__": "add"},
        {"__loader__": "ObjectNode", "__module__": "builtins", "__class__": "str"},
    ],
)
def test_a_node_of_another_kind_anywhere_in_the_tree_is_refused(linear: bytes, node: dict[str, Any]) -> None:
    assert refused(with_tree(linear, hidden={"deep": [node]})) == "foreign-type"


@pytest.mark.parametrize(
    "model", [FunctionTransformer(np.exp), RandomForestClassifier(2).fit([[0.0], [1.0]], [0, 1]), {"a": print}]
)
def test_what_skops_itself_would_write_or_trust_is_refused_when_it_is_not_ours(model: Any) -> None:
    assert refused(zipped(members_of(skops.io.dumps(model)))) in {"foreign-type", "bad-members"}
    with pytest.raises(PackageError):
        dump(model)


def test_our_types_put_together_otherwise_are_refused(linear: bytes) -> None:
    pipeline = load(linear, 30)
    assert refused(dump(pipeline[:-1])) == "foreign-type"
    assert refused(dump(pipeline.steps[-1][1])) == "foreign-type"
    assert refused(dump([pipeline])) == "foreign-type"
    assert refused(linear, width=29) == "bad-model"


def test_an_older_protocol_is_refused(linear: bytes) -> None:
    assert refused(with_tree(linear, protocol=0)) == "bad-model-file"


@pytest.mark.parametrize("field", ["left", "right", "feature_idx", "is_categorical"])
def test_a_tree_that_points_outside_itself_is_refused(boosted: bytes, field: str) -> None:
    """scikit-learn would follow it out of the array: reading foreign memory, or never coming back."""
    for value in (0, 1 << 20) if field in {"left", "right"} else (1 << 20 if field == "feature_idx" else 1,):
        model = load(boosted, 30)
        nodes = model._predictors[3][0].nodes
        nodes[field][nodes["is_leaf"] == 0] = value
        assert refused(dump(model)) == "bad-model"


def test_a_model_that_gives_no_probability_is_refused(linear: bytes) -> None:
    model = load(linear, 30)
    model[-1].coef_[:] = np.nan
    assert refused(dump(model)) == "bad-model"


def test_a_zip_bomb_is_refused_before_it_is_unpacked(linear: bytes) -> None:
    assert refused(zipped({**members_of(linear), "9999.npy": bytes(50 << 20)})) == "too-large"


@pytest.mark.parametrize("name", ["../evil.npy", "/etc/passwd", "code.py", "01.npy", "a/1.npy"])
def test_members_with_other_names_are_refused(linear: bytes, name: str) -> None:
    assert refused(zipped({**members_of(linear), name: b"x"})) == "bad-members"


def test_too_many_members_or_members_that_the_tree_does_not_name_are_refused(linear: bytes) -> None:
    many = {f"{number}.npy": b"" for number in range(1, 20_002)}
    assert refused(zipped({**many, **members_of(linear)})) == "too-many-members"
    assert refused(zipped({**members_of(linear), "999.npy": b"x"})) == "bad-members"


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_member_that_is_there_twice_is_refused(linear: bytes) -> None:
    buffer = io.BytesIO(linear)
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr("schema.json", "{}")
    assert refused(buffer.getvalue()) == "bad-members"
