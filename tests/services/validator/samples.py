"""A small world around the validator: real data and models, and what others tell of them."""

from pathlib import Path
from typing import Any

import pyarrow as pa
from tests.libs.modelkit.samples import cancer, ignore, spec_of, written
from tests.services.trainer.samples import MODEL, event

from cairn.events import (
    DatasetAccepted,
    DatasetAssembled,
    DatasetPublished,
    DatasetRejected,
    Event,
    ModelDeclared,
    ModelPromoted,
    ModelRegistered,
    ValidationFailed,
    ValidationPassed,
)
from cairn.events.identity import dataset_digest
from cairn.events.values import DatasetRef, DeclarationRef, ObjectRef
from cairn.objects import ObjectStore
from chassis.testing import Actor
from modelkit import children

SERVED = f"served.{MODEL}"
MISSING = ObjectRef(uri="file:///nowhere", digest="sha256:" + "0" * 64, bytes=1, media_type="text/csv")


def part(first: int = 0, rows: int = 250) -> pa.Table:
    """Some rows of the breast-cancer data."""
    return cancer().slice(first, rows)


def put(objects: ObjectStore, directory: Path, table: pa.Table) -> ObjectRef:
    """A table, in the object store."""
    return objects.put_file(written(table, directory / "table.csv"), "text/csv")


def published(*files: ObjectRef, version: str = "1", name: str = "cancer") -> DatasetPublished:
    """What an upstream system tells."""
    return DatasetPublished(dataset=name, version=version, files=files, format="csv")


def assembled(file: ObjectRef, **changes: Any) -> DatasetAssembled:
    """What the monitor tells."""
    facts = {
        "model": MODEL,
        "dataset": DatasetRef(name=SERVED, version="1-1", digest=dataset_digest([file.digest])),
        "files": (file,),
        "format": "csv",
        "columns": (),
        "row_count": 250,
        "inputs": ({"topic": "predictions", "partition": 0, "first_offset": 0, "last_offset": 249},),
        "label_coverage_ratio": 1.0,
        "trigger": event("cairn.drift.detected.v1"),
    }
    return DatasetAssembled.model_validate({**facts, **changes})


def registered(
    objects: ObjectStore, directory: Path, data: ObjectRef, declaration: ModelDeclared, version: int = 1
) -> ModelRegistered:
    """A version that was really trained on these data."""
    output = directory / f"package-{version}"
    output.mkdir()
    files = [Path(objects.get(data))]
    spec = spec_of(files, declaration.declaration.model_dump(mode="json"), output_directory=str(output))
    made = children.train({**spec, "format": "csv"}, ignore)
    refs = {name: objects.put_file(Path(file["path"]), file["media_type"]) for name, file in made["files"].items()}
    return ModelRegistered.model_validate(
        {
            "model": {"name": MODEL, "version": version, "digest": made["package_digest"]},
            "package": refs["manifest.json"],
            "profile": refs["profile.json"],
            "card": refs["card.md"],
            "forms": made["forms"],
            "io_schema": made["io_schema"],
            "run": {"run_id": f"run-{version}"},
            "dataset": {"name": "cancer", "version": "1", "digest": dataset_digest([data.digest])},
            "declaration": reference(declaration),
        }
    )


def reference(declaration: ModelDeclared) -> DeclarationRef:
    """A declaration, as other events name it."""
    return DeclarationRef(name=MODEL, revision=declaration.revision, digest=declaration.digest)


def promoted(version: ModelRegistered, generation: int = 1) -> ModelPromoted:
    """That a version is champion."""
    zero = "sha256:" + "0" * 64
    facts = version.model_dump()
    return ModelPromoted.model_validate(
        {
            **{name: facts[name] for name in ("model", "package", "profile", "forms", "io_schema", "run", "card")},
            "generation": generation,
            "kind": "promotion",
            "reason": "",
            "effective_at": "2026-01-01T00:00:00Z",
            "io_change": {},
            "task": "binary",
            "classes": ("benign", "malignant"),
            "endpoint": "http://localhost",
            "route_revision": generation,
            "metrics": (),
            "validation": event("cairn.validation.passed.v1"),
            "report": MISSING,
            "policy": {"name": "default", "revision": 0, "digest": zero},
            "approval": event("cairn.promotion.approved.v1"),
            "rollout": event("cairn.rollout.completed.v1"),
            "log_origin": "cairn/registry/0",
            "datasets": (version.dataset,),
            "code": {"repository": "cairn", "commit": "test"},
            "environment": {"python": "3", "platform": "linux", "lock": zero},
            "declaration": version.declaration,
            "purpose": "",
            "owner": "team",
        }
    )


def told(validator: Actor, *events: Event) -> list[Any]:
    """What is told once the work that these events make pending is done."""
    for one in events:
        validator.hear(one)
    before = len(validator._rows())
    validator.work()
    return validator._told_since(before)


def failed(verdict: DatasetAccepted | DatasetRejected | ValidationPassed | ValidationFailed) -> list[str]:
    """The checks that decided against it."""
    return [check.name for check in verdict.checks if not check.passed and check.severity == "error"]
