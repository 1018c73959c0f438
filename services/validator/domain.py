"""What the validator decides: what may not be judged at all, and what a judgement says."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from cairn.events.datasets import DataFormat, DatasetPublished
from cairn.events.identity import dataset_digest
from cairn.events.monitoring import DatasetAssembled
from cairn.events.registry import ModelDeclared, ModelRegistered
from cairn.events.validation import (
    DatasetAccepted,
    DatasetRejected,
    ValidationErrored,
    ValidationFailed,
    ValidationPassed,
)
from cairn.events.values import (
    Check,
    Column,
    DatasetRef,
    DeclarationRef,
    EventRef,
    LogRange,
    Metric,
    ModelRef,
    ObjectRef,
    Reason,
)

_ASKED = {
    "reserved-name": "the dataset's name is its publisher's to give",
    "digest-mismatch": "the files make up the dataset that the event names",
    "object-missing": "every file is in the object store",
    "object-corrupt": "every file has the bytes that the event names",
    "object-refused": "every file is in a place that is read from",
}
_LONGEST = 2000
"""Characters of a text in an event."""


@dataclass(frozen=True, slots=True)
class Offer:
    """A version of a dataset, as somebody told of it."""

    name: str
    version: str
    files: tuple[ObjectRef, ...]
    format: DataFormat
    published: EventRef
    inputs: tuple[LogRange, ...] = ()
    reserved: bool = False
    """Whether the name was not its publisher's to give."""
    claimed_digest: str | None = None

    @property
    def dataset(self) -> DatasetRef:
        """The version, with its computed digest."""
        return DatasetRef(name=self.name, version=self.version, digest=dataset_digest(one.digest for one in self.files))


@dataclass(frozen=True, slots=True)
class Findings:
    """What was found in a dataset."""

    columns: tuple[Column, ...]
    row_count: int
    checks: tuple[Check, ...]
    accepted: bool
    profile: ObjectRef | None


@dataclass(frozen=True, slots=True)
class Measured:
    """What was measured of a version."""

    metrics: tuple[Metric, ...]
    checks: tuple[Check, ...]
    passed: bool
    report: ObjectRef
    champion: ModelRef | None
    """What it was compared with."""
    champion_metrics: tuple[Metric, ...]


def offer_published(event: DatasetPublished, published: EventRef) -> Offer:
    """What an upstream system offers."""
    reserved = event.dataset.startswith("served.")
    return Offer(event.dataset, event.version, event.files, event.format, published, reserved=reserved)


def offer_assembled(event: DatasetAssembled, published: EventRef) -> Offer:
    """What the monitor offers."""
    name, version, digest = event.dataset.name, event.dataset.version, event.dataset.digest
    return Offer(name, version, event.files, event.format, published, event.inputs, claimed_digest=digest)


def find_objection(offer: Offer) -> tuple[str, str] | None:
    """Why a dataset is not even read: a code and a sentence."""
    if offer.reserved:
        return "reserved-name", f"{offer.name} begins with 'served.': those datasets are the monitor's alone"
    computed = offer.dataset.digest
    if offer.claimed_digest not in (None, computed):
        return "digest-mismatch", f"the files make up {computed}, the event names {offer.claimed_digest}"
    return None


def judge_dataset(offer: Offer, declared: ModelDeclared, findings: Findings) -> DatasetAccepted | DatasetRejected:
    """The verdict on a dataset that was read."""
    verdict = DatasetAccepted if findings.accepted else DatasetRejected
    return verdict(
        dataset=offer.dataset,
        files=offer.files,
        format=offer.format,
        columns=findings.columns,
        row_count=findings.row_count,
        inputs=offer.inputs,
        declaration=name_declaration(declared),
        published=offer.published,
        checks=findings.checks,
        profile=findings.profile,
    )


def reject_unread(offer: Offer, declared: ModelDeclared, code: str, text: str) -> DatasetRejected:
    """The verdict on a dataset that could not be read."""
    check = Check(
        name=code, asked=_ASKED.get(code, "the dataset can be inspected"), measured=text[:_LONGEST], passed=False
    )
    return DatasetRejected(
        dataset=offer.dataset,
        files=offer.files,
        format=offer.format,
        columns=(),
        row_count=0,
        inputs=offer.inputs,
        declaration=name_declaration(declared),
        published=offer.published,
        checks=(check,),
    )


def judge_model(registered: ModelRegistered, measured: Measured) -> ValidationPassed | ValidationFailed:
    """The verdict on a version that was measured."""
    verdict = ValidationPassed if measured.passed else ValidationFailed
    return verdict(
        model=registered.model,
        dataset=registered.dataset,
        metrics=measured.metrics,
        checks=measured.checks,
        compared_with=measured.champion,
        champion_metrics=measured.champion_metrics,
        report=measured.report,
    )


def tell_errored(registered: ModelRegistered, code: str, text: str) -> ValidationErrored:
    """That a version could not be judged."""
    return ValidationErrored(model=registered.model, reason=Reason(code=code, text=text[:_LONGEST]))


def name_declaration(declared: ModelDeclared) -> DeclarationRef:
    """A declaration, as other events name it."""
    return DeclarationRef(name=declared.model, revision=declared.revision, digest=declared.digest)


def metrics_on(dataset: DatasetRef, found: Iterable[Mapping[str, Any]]) -> tuple[Metric, ...]:
    """Measured figures, each with the data that it was measured on."""
    return tuple(Metric.model_validate({**metric, "dataset": dataset}) for metric in found)
