"""The package of a trained model: a manifest and the files that it names by digest.

`manifest.json` is canonical JSON (sorted keys, no blanks, UTF-8): the same model gives the same bytes, and its digest
is the model's identity. No instant, no chance and no uri gets into a package; where the files are is told beside it.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import ConfigDict, Field, JsonValue, ValidationError

from cairn.events.values import Column, Count, Digest, IoSchema, Value
from modelkit.datasets import Label
from modelkit.encoding import Cell, Encoder
from modelkit.errors import PackageError
from modelkit.estimators import single_thread
from modelkit.grid import Profile
from modelkit.metrics import THRESHOLD
from modelkit.skopsfile import dump, load

MANIFEST = "manifest.json"
MODEL = "model.skops"
PROFILE = "profile.json"
CARD = "card.md"
MEDIA_TYPES = {
    MANIFEST: "application/json",
    MODEL: "application/vnd.skops",
    PROFILE: "application/json",
    CARD: "text/markdown",
}
MOST_FILE_BYTES = 512 << 20


class _Read(Value):
    """What is read from a manifest: a newer writer may have added fields."""

    model_config = ConfigDict(extra="ignore")


class PackagedFile(_Read):
    """One file of a package."""

    digest: Digest
    """SHA-256 of its bytes."""
    bytes: Count
    """Its size."""
    media_type: Annotated[str, Field(max_length=200)]
    """What it is."""


class PackagedForm(_Read):
    """One form of the model."""

    name: Literal["skops"]
    """Which form."""
    file: str
    """The file that holds it."""
    digest: Digest
    """Digest of that file."""


class Manifest(_Read):
    """What a package holds and what its model takes and gives."""

    format: Literal["cairn-package-v1"] = "cairn-package-v1"
    """The format's name and version."""
    task: Literal["binary"] = "binary"
    """The kind of answer."""
    classes: tuple[bool | int | float | str, bool | int | float | str]
    """Negative, positive."""
    io_schema: IoSchema
    """Columns taken, in order, and columns given: the score and the class."""
    categories: dict[str, tuple[str, ...]]
    """Of each text input the categories that training saw, which become a number each."""
    forms: Annotated[tuple[PackagedForm, ...], Field(min_length=1, max_length=8)]
    """The forms of the model."""
    files: dict[str, PackagedFile]
    """Every file of the package but this one."""


@dataclass(frozen=True)
class Predictor:
    """A loaded model."""

    manifest: Manifest
    encoder: Encoder
    model: Any

    @property
    def classes(self) -> tuple[Label, Label]:
        """The negative and the positive class."""
        return self.manifest.classes

    @property
    def features(self) -> list[str]:
        """The names of the inputs, in order."""
        return [column.name for column in self.encoder.inputs]

    def scores(self, rows: Sequence[Sequence[Cell]]) -> list[float]:
        """The probability of the positive class for each row of cells; None and NaN are missing. DataError if unfit."""
        return self._scores(self.encoder.encode_rows(rows)).tolist() if rows else []

    def score_table(self, table: pa.Table) -> npt.NDArray[np.float64]:
        """The same for each row of a table, whatever else it holds."""
        return self._scores(self.encoder.encode_table(table))

    def answer(self, score: float) -> Label:
        """The class that a score means."""
        return self.classes[int(score >= THRESHOLD)]

    def _scores(self, matrix: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        with single_thread():
            return np.asarray(self.model.predict_proba(matrix)[:, 1], dtype=np.float64)


def write_package(
    directory: Path, model: Any, encoder: Encoder, classes: tuple[Label, Label], profile: Profile, card: str
) -> Manifest:
    """Write all files of a package into an existing directory."""
    contents = {
        MODEL: dump(model),
        PROFILE: canonical_json(profile.model_dump(mode="json")),
        CARD: card.encode(),
    }
    files = {name: _described(name, content) for name, content in contents.items()}
    manifest = Manifest(
        classes=classes,
        io_schema=io_schema(encoder, classes),
        categories=encoder.categories,
        forms=(PackagedForm(name="skops", file=MODEL, digest=files[MODEL].digest),),
        files=files,
    )
    contents[MANIFEST] = canonical_json(manifest.model_dump(mode="json"))
    for name, content in contents.items():
        (directory / name).write_bytes(content)
    return manifest


def load_package(manifest_file: Path, package_files: Mapping[str, Path]) -> Predictor:
    """The model in a package: every file given is verified before any of it is read as anything.

    `package_files` are local copies by name in the manifest; what is not needed here may be left out. PackageError
    when a digest or size differs, a file is strange to the manifest, or the model file holds anything foreign.
    """
    manifest = read_manifest(manifest_file)
    contents = {name: _verified(manifest, name, path) for name, path in package_files.items()}
    (form,) = [form for form in manifest.forms if form.name == "skops"][:1]
    if form.file not in contents:
        raise PackageError("file-missing", f"the package's {form.file} was not given")
    encoder = Encoder(manifest.io_schema.inputs, dict(manifest.categories))
    if sorted(encoder.categories) != sorted(column.name for column in encoder.inputs if column.type == "string"):
        raise PackageError("bad-manifest", "the manifest does not list the categories of exactly its text inputs")
    with single_thread():
        model = load(contents[form.file], encoder.width)
    return Predictor(manifest, encoder, model)


def read_manifest(path: Path) -> Manifest:
    """A package's manifest; PackageError when it is none."""
    try:
        manifest = Manifest.model_validate_json(path.read_bytes())
    except ValidationError as fault:
        first = fault.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise PackageError("bad-manifest", f"{path.name} is no package manifest: {place}: {first['msg']}") from None
    for form in manifest.forms:
        if form.file not in manifest.files or manifest.files[form.file].digest != form.digest:
            raise PackageError("bad-manifest", f"the form {form.name} names a file that the manifest does not hold")
    return manifest


def io_schema(encoder: Encoder, classes: tuple[Label, Label]) -> IoSchema:
    """What a model takes, and what it gives: the score and the label."""
    label = Column(name="label", type=_type_of(classes), categories=classes)
    return IoSchema(inputs=encoder.inputs, outputs=(Column(name="score", type="number"), label))


def canonical_json(content: JsonValue) -> bytes:
    """The one way to write a value as JSON: sorted keys, no blanks, UTF-8, no NaN."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def digest_of(content: bytes) -> str:
    """SHA-256 of bytes, as `sha256:<hex>`."""
    return "sha256:" + hashlib.sha256(content).hexdigest()


def _described(name: str, content: bytes) -> PackagedFile:
    return PackagedFile(digest=digest_of(content), bytes=len(content), media_type=MEDIA_TYPES[name])


def _verified(manifest: Manifest, name: str, path: Path) -> bytes:
    wanted = manifest.files.get(name)
    if wanted is None:
        raise PackageError("strange-file", f"the manifest names no file {name!r}")
    if wanted.bytes > MOST_FILE_BYTES:
        raise PackageError("too-large", f"{name} has {wanted.bytes} bytes, at most {MOST_FILE_BYTES} are read")
    if path.stat().st_size != wanted.bytes:
        raise PackageError(
            "digest-mismatch", f"{name} does not have the manifest's {wanted.bytes} bytes, or has too many"
        )
    content = path.read_bytes()
    if digest_of(content) != wanted.digest:
        raise PackageError("digest-mismatch", f"{name} is not the file that the manifest names")
    return content


def _type_of(classes: tuple[Label, Label]) -> Literal["number", "integer", "boolean", "string"]:
    kinds = {type(label) for label in classes}
    if kinds <= {bool}:
        return "boolean"
    if kinds <= {str}:
        return "string"
    return "integer" if kinds <= {int} else "number"
