"""A small model of two columns, its profile, and traffic for it."""

import json
from datetime import UTC, datetime, timedelta

from cairn.events import Declaration, LabelsObserved, ModelDeclared, ModelRegistered, PredictionsServed
from cairn.events.labels import Label
from cairn.events.predictions import Output, PredictionRow, ServedModel
from cairn.events.registry import Form
from cairn.events.values import Column, DatasetRef, DeclarationRef, IoSchema, ModelRef, ObjectRef, RunRef
from cairn.objects import ObjectStore

MODEL = "risk.loans"
DIGEST = "sha256:" + "a" * 64
NOWHERE = ObjectRef(uri="file:///nowhere", digest=DIGEST, bytes=1, media_type="application/json")
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
PROFILE = {
    "format": "cairn-profile-v1",
    "rows": 400,
    "columns": [
        {"kind": "number", "name": "income", "edges": [10.0, 20.0, 30.0], "counts": [100, 100, 100, 100, 0]},
        {"kind": "number", "name": "score", "edges": [0.5], "counts": [200, 200, 0]},
    ],
}
QUIET = (5.0, 15.0, 25.0, 35.0)
DRIFTED = (35.0, 36.0, 37.0, 38.0)


def declared(window_rows: int = 40, rows: int = 10, cooldown_seconds: float = 0) -> ModelDeclared:
    declaration = Declaration.model_validate(
        {
            "model": MODEL,
            "owner": "credit",
            "dataset": "loans",
            "target": "defaulted",
            "monitoring": {"window_rows": window_rows, "drift": {"bins": 4}},
            "retraining": {"rows": rows, "cooldown_seconds": cooldown_seconds},
        }
    )
    return ModelDeclared(model=MODEL, revision=1, declaration=declaration, digest=DIGEST)


def registered(version: int = 1) -> ModelRegistered:
    return ModelRegistered(
        model=ModelRef(name=MODEL, version=version, digest=DIGEST),
        package=NOWHERE,
        profile=NOWHERE,
        forms=(Form(name="skops", file="model.skops", digest=DIGEST),),
        io_schema=IoSchema(
            inputs=(Column(name="income", type="number"),), outputs=(Column(name="score", type="number"),)
        ),
        run=RunRef(run_id=f"run-{version}"),
        dataset=DatasetRef(name="loans", version="1", digest=DIGEST),
        declaration=DeclarationRef(name=MODEL, revision=1, digest=DIGEST),
        card=NOWHERE,
    )


def keep_profile(objects: ObjectStore) -> ObjectRef:
    return objects.put_bytes(json.dumps(PROFILE).encode(), "application/json")


def served(
    profile: ObjectRef, first: int, values: tuple[float, ...], *, version: int = 1, replica: str = "serving-1"
) -> PredictionsServed:
    """One record with one row for each value; rows are numbered on from `first`."""
    rows = tuple(
        PredictionRow(
            prediction_id=f"p{number:04d}",
            served_at=BEGIN + timedelta(seconds=number),
            arm=f"v{version}",
            version=version,
            features=(value,),
            output=Output(score=0.4 + 0.2 * (number % 2), label=0),
            latency_seconds=0.001,
        )
        for number, value in enumerate(values, start=first)
    )
    model = ModelRef(name=MODEL, version=version, digest=DIGEST)
    return PredictionsServed(
        model=MODEL,
        replica=replica,
        route_revision=1,
        models=(ServedModel(model=model, profile=profile),),
        columns=("income",),
        rows=rows,
        answered=len(rows),
    )


def labels(numbers: range, revision: int = 0, value: int | None = None) -> LabelsObserved:
    items = tuple(
        Label(
            prediction_id=f"p{number:04d}",
            value=number % 2 if value is None else value,
            observed_at=BEGIN,
            revision=revision,
        )
        for number in numbers
    )
    return LabelsObserved(model=MODEL, target="defaulted", items=items)
