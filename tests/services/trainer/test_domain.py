"""Whether a run is made, from values alone."""

from uuid import UUID

import pytest
from tests.services.trainer.samples import accepted, declared, event

from cairn.events import TrainingDeclined, TrainingQueued
from trainer.domain import Advice, Ask, Fit, History, asks_of, decide

NAMESPACE = UUID(int=1)


@pytest.fixture
def fit() -> Fit:
    return Fit(accepted(declared()), event("cairn.dataset.accepted.v1"))


@pytest.fixture
def served() -> Fit:
    return Fit(accepted(declared(), name="served.demo.cancer"), event("cairn.dataset.accepted.v1"))


@pytest.fixture
def advice() -> Advice:
    return Advice(event("cairn.retraining.advised.v1"), event("cairn.drift.detected.v1"))


def codes(answers: list[TrainingQueued | TrainingDeclined]) -> list[str]:
    return [answer.reason.code if isinstance(answer, TrainingDeclined) else "queued" for answer in answers]


def test_an_accepted_dataset_asks_by_itself(fit: Fit) -> None:
    assert asks_of(fit, []) == [Ask(fit, fit.ref)]


def test_a_served_dataset_asks_only_through_advice(served: Fit, advice: Advice) -> None:
    assert asks_of(served, []) == []
    assert asks_of(served, [advice]) == [Ask(served, advice.ref, advice.drift)]


def test_a_run_takes_seed_and_budget_from_the_declaration(fit: Fit) -> None:
    declaration = declared(seed=7, search={"max_trials": 3, "max_seconds": 60})
    (queued,) = decide(asks_of(fit, []), declaration, History(), NAMESPACE)
    assert isinstance(queued, TrainingQueued)
    assert (queued.seed, queued.budget.max_trials, queued.budget.max_seconds) == (7, 3, 60)
    assert queued.trigger == fit.ref


def test_the_same_ask_has_the_same_name(fit: Fit) -> None:
    names = {
        answer.run.run_id
        for _ in range(2)
        for answer in decide(asks_of(fit, []), declared(), History(), NAMESPACE)
        if isinstance(answer, TrainingQueued)
    }
    assert len(names) == 1


def test_two_asks_for_the_same_inputs_make_one_run(fit: Fit) -> None:
    again = Ask(fit, event("cairn.training.requested.v1"))
    assert codes(decide([*asks_of(fit, []), again], declared(), History(), NAMESPACE)) == ["queued", "trained-already"]


def test_another_declaration_of_the_same_data_makes_another_run(fit: Fit) -> None:
    history = History().after(Ask(fit, fit.ref), declared(seed=7))
    assert codes(decide(asks_of(fit, []), declared(), history, NAMESPACE)) == ["queued"]


def test_one_drift_makes_one_run_whatever_data_are_advised_for_it(served: Fit, advice: Advice) -> None:
    history = History(drifts=frozenset({(advice.drift.source, advice.drift.id)}))
    assert codes(decide(asks_of(served, [advice]), declared(), history, NAMESPACE)) == ["answered-already"]


def test_a_verdict_for_an_earlier_revision_makes_no_run(fit: Fit) -> None:
    assert codes(decide(asks_of(fit, []), declared(revision=2), History(), NAMESPACE)) == ["superseded"]


def test_what_is_declined_names_who_asked_and_the_data(fit: Fit) -> None:
    (declined,) = decide(asks_of(fit, []), declared(revision=2), History(), NAMESPACE)
    assert isinstance(declined, TrainingDeclined)
    assert (declined.cause, declined.dataset) == (fit.ref, fit.facts.dataset)
