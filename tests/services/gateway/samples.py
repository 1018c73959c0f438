"""What outsiders post."""

import json
from typing import Any

from cairn.events import DatasetPublished, Event, LabelsObserved
from cairn.events.labels import Label
from cairn.events.values import ObjectRef

SECRET = "a token that only the warehouse knows"
BATCH, STRUCTURED = "application/cloudevents-batch+json", "application/cloudevents+json"


def published(version: str = "v1", dataset: str = "risk.loans") -> DatasetPublished:
    file = ObjectRef(uri=f"s3://data/{version}.csv", digest="sha256:" + "a" * 64, bytes=10, media_type="text/csv")
    return DatasetPublished(dataset=dataset, version=version, files=(file,), format="csv")


def observed(model: str = "risk.loans", items: int = 1) -> LabelsObserved:
    labels = [Label(prediction_id=f"p-{n}", observed_at="2026-01-01T00:00:00Z", value=0.5) for n in range(items)]
    return LabelsObserved(model=model, target="defaulted", items=tuple(labels))


def event(event_id: str = "1", facts: Event | None = None, **attributes: Any) -> dict[str, Any]:
    """A CloudEvent in structured form; an attribute that is None is left out."""
    facts = facts or published()
    kind = "cairn.labels.observed.v1" if isinstance(facts, LabelsObserved) else "cairn.dataset.published.v1"
    whole = {"specversion": "1.0", "id": event_id, "source": "/warehouse/loans", "type": kind}
    data = json.loads(facts.model_dump_json(exclude_none=True))
    return {name: value for name, value in {**whole, "data": data, **attributes}.items() if value is not None}
