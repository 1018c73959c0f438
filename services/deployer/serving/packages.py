"""Fetching a model's package: every byte by its digest."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cairn.events.values import Arm, Count, Digest, IoSchema, ObjectRef
from cairn.objects import ObjectError, ObjectStore, StoreUnreachable

_MOST_MANIFEST_BYTES = 4 * 1024 * 1024
_FORM = "skops"


class PackageUnusable(Exception):
    """A package cannot be served; `code` and the text say why."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class _File(_Part):
    digest: Digest
    bytes: Count
    media_type: str


class _Form(_Part):
    name: str
    file: str


class _Manifest(_Part):
    """As much of a manifest as is needed to fetch what it names and to check requests; the child checks it whole."""

    io_schema: IoSchema
    forms: tuple[_Form, ...]
    files: Annotated[dict[str, _File], Field(max_length=1000)]


@dataclass(frozen=True, slots=True)
class Package:
    """A package on this machine."""

    digest: Digest
    io_schema: IoSchema
    manifest: Path
    files: dict[str, Path]


def fetch_package(objects: ObjectStore, arm: Arm) -> Package:
    """The arm's package, verified. Blocks. Raises PackageUnusable, and StoreUnreachable: then call again."""
    if arm.package.digest != arm.model.digest:
        raise PackageUnusable("other-package", f"version {arm.model.version} is not the package {arm.package.digest}")
    if arm.package.bytes > _MOST_MANIFEST_BYTES:
        raise PackageUnusable("too-large", f"a manifest of {arm.package.bytes} bytes is not read")
    try:
        path = objects.get(arm.package)
        manifest = _Manifest.model_validate_json(path.read_bytes())
        wanted = {form.file for form in manifest.forms if form.name == _FORM}
        files = {name: _fetch_file(objects, name, manifest.files[name]) for name in wanted & manifest.files.keys()}
    except StoreUnreachable:
        raise
    except ObjectError as error:
        raise PackageUnusable("package-unreadable", str(error)) from None
    except ValidationError as error:
        raise PackageUnusable("bad-manifest", f"the package's manifest is none: {error.errors()[0]['msg']}") from None
    if not files:
        raise PackageUnusable("no-form", f"the package has no {_FORM} form")
    return Package(arm.package.digest, manifest.io_schema, path, files)


def _fetch_file(objects: ObjectStore, name: str, file: _File) -> Path:
    found = objects.find(file.digest)
    if found is None:
        raise PackageUnusable("object-missing", f"the package's {name} ({file.digest}) is not in the object store")
    return objects.get(ObjectRef(uri=found.uri, digest=file.digest, bytes=file.bytes, media_type=file.media_type))
