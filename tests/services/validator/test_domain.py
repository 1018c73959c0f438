"""What the validator decides, from values alone."""

import hashlib

import pytest
from tests.services.trainer.samples import declared, event
from tests.services.validator.samples import MISSING, MODEL, SERVED, assembled, published

from cairn.events import DatasetAccepted, DatasetRejected
from cairn.events.identity import dataset_digest
from cairn.events.values import Check
from validator.domain import (
    Findings,
    Offer,
    find_objection,
    judge_dataset,
    metrics_on,
    offer_assembled,
    offer_published,
    reject_unread,
)

PUBLISHED = event("cairn.dataset.published.v1")
OTHER = MISSING.model_copy(update={"digest": "sha256:" + "a" * 64})
GOOD = Check(name="rows", asked="at least 10 rows", measured="250 rows", passed=True)


@pytest.fixture
def offer() -> Offer:
    return offer_published(published(MISSING, OTHER), PUBLISHED)


def test_the_digest_is_that_of_the_sorted_digests_of_the_files() -> None:
    array = f'["{MISSING.digest}","{OTHER.digest}"]'
    assert dataset_digest([OTHER.digest, MISSING.digest]) == "sha256:" + hashlib.sha256(array.encode()).hexdigest()


def test_what_an_upstream_system_publishes_is_read(offer: Offer) -> None:
    assert find_objection(offer) is None


def test_a_served_name_is_not_an_upstream_systems_to_give() -> None:
    objection = find_objection(offer_published(published(MISSING, name=SERVED), PUBLISHED))
    assert objection is not None
    assert objection[0] == "reserved-name"


def test_what_the_monitor_assembles_is_read_when_its_files_are_those_named() -> None:
    assert find_objection(offer_assembled(assembled(MISSING), PUBLISHED)) is None
    other = assembled(OTHER).model_copy(update={"files": (MISSING,)})
    objection = find_objection(offer_assembled(other, PUBLISHED))
    assert objection is not None
    assert objection[0] == "digest-mismatch"


@pytest.mark.parametrize(("accepted", "verdict"), [(True, DatasetAccepted), (False, DatasetRejected)])
def test_a_verdict_names_the_dataset_by_its_computed_digest(offer: Offer, accepted: bool, verdict: type) -> None:
    told = judge_dataset(offer, declared(), Findings((), 250, (GOOD,), accepted, None))
    assert type(told) is verdict
    assert told.dataset.digest == dataset_digest([MISSING.digest, OTHER.digest])
    assert (told.declaration.name, told.declaration.revision, told.published) == (MODEL, 1, PUBLISHED)


def test_a_verdict_on_assembled_data_repeats_what_they_were_assembled_from() -> None:
    offer = offer_assembled(assembled(MISSING), PUBLISHED)
    assert judge_dataset(offer, declared(), Findings((), 250, (), True, None)).inputs == assembled(MISSING).inputs


def test_data_that_cannot_be_read_fail_a_check_that_says_why(offer: Offer) -> None:
    told = reject_unread(offer, declared(), "object-missing", "there is no such object " * 200)
    (check,) = told.checks
    assert (check.name, check.passed, told.row_count, told.columns) == ("object-missing", False, 0, ())
    assert len(check.measured) == 2000


def test_a_measured_figure_names_its_data(offer: Offer) -> None:
    (metric,) = metrics_on(offer.dataset, [{"name": "roc_auc", "value": 0.9, "n": 75}])
    assert metric.dataset == offer.dataset
