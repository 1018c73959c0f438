"""The model file: skops' format made bit-identical when written, and opened only when nothing foreign is in it.

A skops file is a zip of a tree (`schema.json`) and arrays. skops names objects and files after memory addresses and
random ids; here both are numbered in the order of the tree, and the zip gets fixed instants and a fixed order.

Reading distrusts the bytes: the zip's members are judged before any is unpacked, every node of the tree must be of a
kind listed here (skops alone would trust all of scikit-learn and many functions), and the trees of a boosted model,
which scikit-learn walks without looking, must stay inside their arrays.
"""

import io
import json
import re
import zipfile
from collections.abc import Iterator
from typing import Any

import numpy as np
import skops.io
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.ensemble._hist_gradient_boosting.common import PREDICTOR_RECORD_DTYPE
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from modelkit.errors import PackageError

MOST_MEMBERS = 20_000
MOST_BYTES = 512 << 20
"""Of all members together, unpacked."""
MOST_RATIO = 100
"""Unpacked bytes to packed ones."""
PROTOCOL = 2
"""The version of skops' tree that is written and read."""

_BOOSTING = "sklearn.ensemble._hist_gradient_boosting"
ALLOWED_NODES = frozenset(
    {
        ("DTypeNode", "numpy.dtype"),
        ("DictNode", "builtins.dict"),
        ("JsonNode", "builtins.str"),
        ("ListNode", "builtins.list"),
        ("LossNode", "sklearn._loss._loss.CyHalfBinomialLoss"),
        ("NdArrayNode", "numpy.float64"),
        ("NdArrayNode", "numpy.ndarray"),
        ("NdArrayNode", "numpy.uint64"),
        ("ObjectNode", "sklearn._loss.link.Interval"),
        ("ObjectNode", "sklearn._loss.link.LogitLink"),
        ("ObjectNode", "sklearn._loss.loss.HalfBinomialLoss"),
        ("ObjectNode", f"{_BOOSTING}.binning._BinMapper"),
        ("ObjectNode", f"{_BOOSTING}.gradient_boosting.HistGradientBoostingClassifier"),
        ("ObjectNode", f"{_BOOSTING}.predictor.TreePredictor"),
        ("ObjectNode", "sklearn.impute._base.SimpleImputer"),
        ("ObjectNode", "sklearn.linear_model._logistic.LogisticRegression"),
        ("ObjectNode", "sklearn.pipeline.Pipeline"),
        ("ObjectNode", "sklearn.preprocessing._data.StandardScaler"),
        ("ObjectNode", "sklearn.preprocessing._label.LabelEncoder"),
        ("RandomGeneratorNode", "numpy.random._generator.Generator"),
        ("TupleNode", "builtins.tuple"),
        ("TypeNode", "builtins.str"),
    }
)
"""What a fitted estimator of `modelkit.estimators` consists of, as skops loaders and types: nothing else is built."""

_TRUSTED = sorted({kind for _, kind in ALLOWED_NODES})
_TREE = "schema.json"
_MEMBER = re.compile(r"schema\.json|[1-9][0-9]{0,6}\.npy")
_INSTANT = (1980, 1, 1, 0, 0, 0)


def dump(model: Any) -> bytes:
    """A fitted estimator as bytes: the same model gives the same bytes. PackageError for one that could not be read."""
    with zipfile.ZipFile(io.BytesIO(skops.io.dumps(model))) as raw:
        tree = json.loads(raw.read(_TREE))
        members: dict[str, bytes] = {}
        for node in _nodes(tree):
            node.pop("__id__", None)
            if "file" in node:
                name = f"{len(members) + 1}.npy"
                members[name] = raw.read(node["file"])
                node["file"] = name
    _check_kinds(tree)
    return _zipped({_TREE: json.dumps(tree, separators=(",", ":")).encode(), **members})


def load(content: bytes, width: int) -> Any:
    """The estimator in a model file that takes `width` doubles a row; PackageError for anything but one of ours."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            _check_members(archive, len(content))
            tree = json.loads(archive.read(_TREE))
            _check_tree(tree, set(archive.namelist()))
        model = skops.io.loads(content, trusted=_TRUSTED)
        _check_model(model, width)
    except PackageError:
        raise
    except Exception as fault:  # noqa: BLE001 # whatever bytes from outside make the reader raise
        raise PackageError(
            "bad-model-file", f"the model file cannot be read: {type(fault).__name__}: {fault}"
        ) from None
    return model


def _zipped(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            entry = zipfile.ZipInfo(name, _INSTANT)
            entry.create_system = 3
            entry.external_attr = 0o644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, content, compresslevel=6)
    return buffer.getvalue()


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    """All nodes of a tree, each before those inside it, in the order written. No recursion: depth is the writer's."""
    waiting = [tree]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            if "__loader__" in part:
                yield part
            waiting.extend(reversed(part.values()))
        elif isinstance(part, list):
            waiting.extend(reversed(part))


def _check_members(archive: zipfile.ZipFile, packed: int) -> None:
    entries = archive.infolist()
    names = [entry.filename for entry in entries]
    if len(entries) > MOST_MEMBERS:
        raise PackageError("too-many-members", f"the model file has {len(entries)} members, at most {MOST_MEMBERS}")
    strange = [name for name in names if not _MEMBER.fullmatch(name)]
    if strange or len(set(names)) != len(names) or _TREE not in names:
        raise PackageError("bad-members", f"the model file's members are not those of a model: {strange[:3]}")
    if any(entry.flag_bits & 1 or entry.compress_type not in (0, zipfile.ZIP_DEFLATED) for entry in entries):
        raise PackageError("bad-members", "a member of the model file is encrypted or packed in an unknown way")
    unpacked = sum(entry.file_size for entry in entries)
    if unpacked > MOST_BYTES or unpacked > packed * MOST_RATIO:
        raise PackageError("too-large", f"the model file's {packed} bytes unpack to {unpacked}")


def _check_tree(tree: Any, members: set[str]) -> None:
    if not isinstance(tree, dict) or tree.get("protocol") != PROTOCOL:
        raise PackageError("bad-model-file", f"the model file is not of skops' protocol {PROTOCOL}")
    _check_kinds(tree)
    named = {node["file"] for node in _nodes(tree) if "file" in node}
    if named | {_TREE} != members:
        raise PackageError("bad-members", "the model file's tree does not name each of its members")


def _check_kinds(tree: Any) -> None:
    found = {(str(node["__loader__"]), f"{node.get('__module__')}.{node.get('__class__')}") for node in _nodes(tree)}
    foreign = sorted(f"{kind} ({loader})" for loader, kind in found - ALLOWED_NODES)
    if foreign:
        raise PackageError("foreign-type", f"the model file holds what no model of ours consists of: {foreign[:5]}")


def _check_model(model: Any, width: int) -> None:
    if isinstance(model, Pipeline):
        kinds = [type(step) for _, step in model.steps]
        if kinds != [SimpleImputer, StandardScaler, LogisticRegression]:
            raise PackageError("foreign-type", "the pipeline is not one that this library builds")
    elif isinstance(model, HistGradientBoostingClassifier):
        _check_trees(model, width)
    else:
        raise PackageError("foreign-type", f"a {type(model).__name__} is not a model that this library builds")
    if model.n_features_in_ != width or list(model.classes_) != [0, 1]:
        raise PackageError("bad-model", f"the model does not take {width} numbers and choose between two classes")
    scores = model.predict_proba(np.full((1, width), np.nan))
    if scores.shape != (1, 2) or not np.isfinite(scores).all():
        raise PackageError("bad-model", "the model gives no probability for a row of missing values")


def _check_trees(model: Any, width: int) -> None:
    """Each node is a leaf or points at two later nodes and an existing number; nothing is read by category."""
    for (tree,) in model._predictors:  # noqa: SLF001 # they are public nowhere
        nodes = tree.nodes
        if not isinstance(nodes, np.ndarray) or nodes.dtype != PREDICTOR_RECORD_DTYPE or nodes.ndim != 1:
            raise PackageError("bad-model", "a tree's nodes are not an array of nodes")
        places, inner = np.arange(len(nodes)), nodes["is_leaf"] == 0
        ahead = (np.minimum(nodes["left"], nodes["right"]) > places) & (
            np.maximum(nodes["left"], nodes["right"]) < len(nodes)
        )
        known = (nodes["feature_idx"] >= 0) & (nodes["feature_idx"] < width) & (nodes["is_categorical"] == 0)
        if len(nodes) == 0 or not np.all((ahead & known)[inner]):
            raise PackageError("bad-model", "a tree of the model points outside itself")
