"""What the validator tells of data: real files, judged in this process."""

import json
from pathlib import Path

import pytest
from tests.libs.modelkit.samples import shifted
from tests.services.trainer.samples import declared
from tests.services.validator.samples import (
    MISSING,
    MODEL,
    SERVED,
    assembled,
    failed,
    part,
    published,
    put,
    told,
)

from cairn.events import DatasetAccepted, DatasetRejected
from cairn.events.values import ObjectRef
from chassis import ServiceSettings
from chassis.testing import Actor, World
from validator.app import build


@pytest.fixture
def validator(tmp_path: Path) -> Actor:
    return World(tmp_path).add(build(ServiceSettings.model_construct()))


@pytest.fixture
def data(validator: Actor, tmp_path: Path) -> ObjectRef:
    return put(validator.world.objects, tmp_path, part())


def test_data_alone_and_a_declaration_alone_are_not_judged(validator: Actor, data: ObjectRef) -> None:
    assert told(validator, published(data, name="other"), declared()) == []


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_fit_dataset_is_accepted_whichever_came_first(validator: Actor, data: ObjectRef, order: list[int]) -> None:
    events = (published(data), declared())
    (verdict,) = told(validator, *(events[place] for place in order))
    assert isinstance(verdict, DatasetAccepted)
    assert (verdict.row_count, len(verdict.columns), failed(verdict)) == (250, 31, [])
    assert verdict.declaration.revision == 1


def test_an_accepted_dataset_has_a_profile(validator: Actor, data: ObjectRef) -> None:
    (verdict,) = told(validator, declared(), published(data))
    profile = json.loads(validator.world.objects.read_bytes(verdict.profile, 1 << 20))
    assert len(profile["columns"]) == 30


def test_the_verdict_follows_from_what_came_last(validator: Actor, data: ObjectRef) -> None:
    told(validator, published(data), declared())
    validator.relay()
    (record,) = [
        record for (topic, _), records in validator.world.log.items() for record in records if topic == "validation"
    ]
    assert (dict(record.headers)["ce_causationid"] or b"").startswith(b"/cairn/registry#")


def test_a_verdict_is_told_once(validator: Actor, data: ObjectRef) -> None:
    assert len(told(validator, declared(), published(data))) == 1
    assert told(validator) == []


def test_a_dataset_without_the_target_is_rejected(validator: Actor, data: ObjectRef) -> None:
    (verdict,) = told(validator, declared(target="nothing"), published(data))
    assert isinstance(verdict, DatasetRejected)
    assert "target" in failed(verdict)


def test_drifted_data_are_accepted(validator: Actor, tmp_path: Path) -> None:
    drifted = put(validator.world.objects, tmp_path, shifted(part()))
    (verdict,) = told(validator, declared(), published(drifted))
    assert isinstance(verdict, DatasetAccepted)


def test_a_missing_file_is_a_failed_check(validator: Actor, data: ObjectRef) -> None:
    gone = MISSING.model_copy(update={"uri": data.uri.replace(data.digest[-64:], "0" * 64)})
    (verdict,) = told(validator, declared(), published(data, gone))
    assert isinstance(verdict, DatasetRejected)
    assert (failed(verdict), verdict.row_count, verdict.columns) == (["object-missing"], 0, ())


def test_a_corrupt_file_is_a_failed_check(validator: Actor, data: ObjectRef) -> None:
    path = Path(validator.world.objects.get(data))
    path.chmod(0o600)
    path.write_bytes(b"other")
    (verdict,) = told(validator, declared(), published(data))
    assert failed(verdict) == ["object-corrupt"]


def test_a_file_elsewhere_is_not_read(validator: Actor) -> None:
    outside = MISSING.model_copy(update={"uri": "file:///etc/passwd"})
    (verdict,) = told(validator, declared(), published(outside))
    assert failed(verdict) == ["object-refused"]


def test_a_file_that_is_no_table_is_a_failed_check(validator: Actor) -> None:
    garbage = validator.world.objects.put_bytes(b"\x00\x01\x02", "text/csv")
    (verdict,) = told(validator, declared(), published(garbage))
    assert isinstance(verdict, DatasetRejected)
    assert failed(verdict)


def test_an_event_full_of_files_is_answered_all_the_same(validator: Actor) -> None:
    event = published(*[MISSING] * 200)
    spare = 64 * 1024 - len(event.model_dump_json(exclude_none=True))
    padded = MISSING.model_copy(update={"uri": MISSING.uri + "x" * (spare // 200)})
    (verdict,) = told(validator, declared(), published(*[padded] * 200))
    assert isinstance(verdict, DatasetRejected)
    assert len(verdict.files) == 1


def test_two_models_on_one_dataset_have_a_verdict_each(validator: Actor, data: ObjectRef) -> None:
    other = declared(target="nothing")
    changed = other.declaration.model_copy(update={"model": "demo.other"})
    verdicts = told(
        validator, declared(), other.model_copy(update={"model": "demo.other", "declaration": changed}), published(data)
    )
    assert {verdict.declaration.name: type(verdict) for verdict in verdicts} == {
        MODEL: DatasetAccepted,
        "demo.other": DatasetRejected,
    }


def test_a_new_revision_has_the_latest_version_judged_again(validator: Actor, data: ObjectRef) -> None:
    told(validator, declared(), published(MISSING, version="1"))
    told(validator, published(data, version="2"))
    (verdict,) = told(validator, declared(2, seed=7))
    assert (verdict.dataset.version, verdict.declaration.revision) == ("2", 2)


def test_versions_that_were_never_judged_are_judged_in_order(validator: Actor, data: ObjectRef) -> None:
    verdicts = told(validator, published(data, version="1"), published(data, version="2"), declared())
    assert [(verdict.dataset.version, type(verdict)) for verdict in verdicts] == [
        ("1", DatasetAccepted),
        ("2", DatasetAccepted),
    ]


def test_a_declaration_of_other_data_has_those_judged(validator: Actor, data: ObjectRef) -> None:
    told(validator, declared(), published(data))
    (verdict,) = told(validator, published(data, name="other"), declared(2, dataset="other"))
    assert verdict.dataset.name == "other"


def test_an_assembled_dataset_is_judged_for_its_model(validator: Actor, data: ObjectRef) -> None:
    (verdict,) = told(validator, declared(), assembled(data))
    assert isinstance(verdict, DatasetAccepted)
    assert (verdict.dataset.name, verdict.dataset.version) == (SERVED, "1-1")
    assert verdict.inputs == assembled(data).inputs


def test_a_served_name_from_outside_is_rejected_unread(validator: Actor, data: ObjectRef) -> None:
    (verdict,) = told(validator, declared(), published(data, name=SERVED))
    assert isinstance(verdict, DatasetRejected)
    assert failed(verdict) == ["reserved-name"]


def test_assembled_files_other_than_named_are_rejected(validator: Actor, data: ObjectRef) -> None:
    event = assembled(MISSING).model_copy(update={"files": (data,)})
    (verdict,) = told(validator, declared(), event)
    assert failed(verdict) == ["digest-mismatch"]
