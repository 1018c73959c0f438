"""What the validator tells of models: real packages, measured in this process; and what it remembers."""

import json
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient
from tests.services.trainer.samples import declared, digest_of, digest_replayed
from tests.services.validator.samples import (
    MISSING,
    MODEL,
    assembled,
    failed,
    part,
    promoted,
    published,
    put,
    registered,
    told,
)

from cairn.events import ModelDeclared, ModelRegistered, ValidationErrored, ValidationFailed, ValidationPassed
from cairn.events.identity import dataset_digest
from cairn.events.values import ObjectRef
from chassis import ServiceSettings
from chassis.testing import Actor, World
from validator.api import make_routes
from validator.app import build

BEATS = {"beats_champion": {"metric": "roc_auc"}}


@pytest.fixture
def validator(tmp_path: Path) -> Actor:
    return World(tmp_path).add(build(ServiceSettings.model_construct()))


@pytest.fixture
def data(validator: Actor, tmp_path: Path) -> ObjectRef:
    return put(validator.world.objects, tmp_path, part())


def known(validator: Actor, data: ObjectRef, **changes: Any) -> ModelDeclared:
    """A declaration for which the data were accepted."""
    declaration = declared(**changes)
    told(validator, declaration, published(data))
    return declaration


def made(validator: Actor, data: ObjectRef, declaration: ModelDeclared, version: int = 1) -> ModelRegistered:
    """A version that was trained to the declaration."""
    return registered(validator.world.objects, validator.world.directory, data, declaration, version)


def gone(validator: Actor, ref: ObjectRef) -> None:
    """Take an object out of the store."""
    validator.world.objects.get(ref).unlink()


def test_a_version_that_meets_its_gates_passes(validator: Actor, data: ObjectRef) -> None:
    declaration = known(validator, data, gates={"minimums": {"roc_auc": 0.9}})
    version = made(validator, data, declaration)
    (verdict,) = told(validator, version)
    assert isinstance(verdict, ValidationPassed)
    assert (verdict.model, verdict.dataset) == (version.model, version.dataset)
    assert [check.name for check in verdict.checks] == ["minimum.roc_auc"]
    assert {(metric.split, metric.dataset) for metric in verdict.metrics} == {("held_out", version.dataset)}


def test_a_version_that_misses_a_gate_fails_with_the_reason(validator: Actor, data: ObjectRef) -> None:
    declaration = known(validator, data, gates={"minimums": {"accuracy": 1.0}})
    (verdict,) = told(validator, made(validator, data, declaration))
    assert isinstance(verdict, ValidationFailed)
    assert failed(verdict) == ["minimum.accuracy"]


def test_a_verdict_has_a_report_with_the_same_figures(validator: Actor, data: ObjectRef) -> None:
    (verdict,) = told(validator, made(validator, data, known(validator, data)))
    report = json.loads(validator.world.objects.read_bytes(verdict.report, 1 << 20))
    assert verdict.report.media_type == "application/json"
    assert [metric["value"] for metric in report["metrics"]] == [metric.value for metric in verdict.metrics]


def test_a_first_version_has_nothing_to_beat(validator: Actor, data: ObjectRef) -> None:
    (verdict,) = told(validator, made(validator, data, known(validator, data, gates=BEATS)))
    assert isinstance(verdict, ValidationPassed)
    assert (verdict.compared_with, verdict.champion_metrics) == (None, ())


def test_a_later_version_is_compared_with_the_champion(validator: Actor, data: ObjectRef) -> None:
    declaration = known(validator, data, gates=BEATS)
    first = made(validator, data, declaration)
    told(validator, first, promoted(first))
    (verdict,) = told(validator, made(validator, data, declaration, version=2))
    assert isinstance(verdict, ValidationFailed)
    assert failed(verdict) == ["beats_champion"]
    assert verdict.compared_with == first.model
    assert verdict.champion_metrics == verdict.metrics


def test_a_champion_that_is_gone_stands_in_the_way_where_it_must_be_beaten(validator: Actor, data: ObjectRef) -> None:
    declaration = known(validator, data, gates=BEATS)
    first = made(validator, data, declaration)
    told(validator, first, promoted(first.model_copy(update={"package": MISSING})))
    (verdict,) = told(validator, made(validator, data, declaration, version=2))
    assert isinstance(verdict, ValidationErrored)
    assert verdict.reason.code == "object-refused"


def test_a_champion_that_is_gone_does_not_matter_where_nothing_is_asked_of_it(
    validator: Actor, data: ObjectRef
) -> None:
    declaration = known(validator, data)
    first = made(validator, data, declaration)
    told(validator, first, promoted(first.model_copy(update={"package": MISSING})))
    (verdict,) = told(validator, made(validator, data, declaration, version=2))
    assert isinstance(verdict, ValidationPassed)
    assert verdict.compared_with is None


def test_a_champion_that_cannot_read_the_data_is_not_compared_with(validator: Actor, data: ObjectRef) -> None:
    declaration = known(validator, data)
    first = made(validator, data, declaration)
    table = part().rename_columns([name.replace(" ", "_") for name in part().column_names])
    other = put(validator.world.objects, validator.world.directory, table)
    told(validator, first, promoted(first), published(other, version="2"))
    ref = first.dataset.model_copy(update={"version": "2", "digest": dataset_digest([other.digest])})
    second = made(validator, other, declaration, version=2).model_copy(update={"dataset": ref})
    (verdict,) = told(validator, second)
    assert isinstance(verdict, ValidationPassed)
    assert verdict.compared_with is None


def test_a_version_whose_model_is_gone_is_not_judged(validator: Actor, data: ObjectRef) -> None:
    version = made(validator, data, known(validator, data))
    model = validator.world.objects.find(version.forms[0].digest)
    assert model is not None
    gone(validator, model)
    (told_of,) = told(validator, version)
    assert isinstance(told_of, ValidationErrored)
    assert (told_of.model, told_of.reason.code) == (version.model, "object-missing")


def test_a_version_whose_package_is_broken_is_not_judged(validator: Actor, data: ObjectRef) -> None:
    version = made(validator, data, known(validator, data))
    broken = validator.world.objects.put_bytes(b"{}", "application/json")
    (told_of,) = told(validator, version.model_copy(update={"package": broken}))
    assert isinstance(told_of, ValidationErrored)
    assert told_of.reason.code == "bad-manifest"


def test_a_version_whose_data_are_gone_is_not_judged(validator: Actor, data: ObjectRef) -> None:
    version = made(validator, data, known(validator, data))
    gone(validator, data)
    (told_of,) = told(validator, version)
    assert isinstance(told_of, ValidationErrored)
    assert told_of.reason.code == "object-missing"


def test_a_version_of_data_that_were_never_accepted_is_not_judged(validator: Actor, data: ObjectRef) -> None:
    validator.hear(declared())
    (told_of,) = told(validator, made(validator, data, declared()))
    assert isinstance(told_of, ValidationErrored)
    assert told_of.reason.code == "unknown-dataset"


def test_a_version_that_could_not_be_judged_is_not_tried_for_ever(validator: Actor, data: ObjectRef) -> None:
    told(validator, declared(), made(validator, data, declared()))
    assert told(validator) == []


def test_any_order_between_partitions_rebuilds_the_same_rows(validator: Actor, data: ObjectRef) -> None:
    declaration = known(validator, data)
    first = made(validator, data, declaration)
    told(validator, first, promoted(first), published(MISSING, version="2"), assembled(data), declared(2, seed=7))
    told(validator, published(data, version="3", name="unused"))
    validator.relay()
    assert {digest_replayed(validator, seed) for seed in range(8)} == {digest_of(validator)}


def test_what_was_judged_is_not_pending(validator: Actor, data: ObjectRef) -> None:
    told(validator, made(validator, data, known(validator, data)), published(MISSING, version="2"))
    validator.relay()
    with validator.session() as session:
        assert [work.pending(session) for work in validator.definition.works] == [[], []]


def test_verdicts_can_be_listed(validator: Actor, data: ObjectRef) -> None:
    told(validator, made(validator, data, known(validator, data, gates={"minimums": {"accuracy": 1.0}})))
    client = TestClient(Starlette(routes=make_routes(validator.database)))
    listed = client.get("/verdicts", params={"model": MODEL}).json()
    assert [(one["dataset"]["name"], one["verdict"]) for one in listed["datasets"]] == [("cancer", "accepted")]
    (version,) = listed["versions"]
    assert (version["version"], version["verdict"], version["failed"][0]["name"]) == (1, "failed", "minimum.accuracy")
    assert client.get("/verdicts", params={"model": "demo.other"}).json() == {"datasets": [], "versions": []}
