"""What the trainer tells in answer to what it hears."""

import hashlib
from itertools import permutations
from pathlib import Path

import pytest
from tests.services.trainer.samples import MODEL, NOWHERE, accepted, advised, declared, event

from cairn.events import Event, TrainingDeclined, TrainingQueued, TrainingRequested
from chassis import ServiceSettings
from chassis.testing import Actor, World
from trainer.app import build

SERVED = f"served.{MODEL}"
OTHER = NOWHERE.model_copy(update={"digest": "sha256:" + "1" * 64})
DRIFT = event("cairn.drift.detected.v1")


@pytest.fixture
def trainer(tmp_path: Path) -> Actor:
    return World(tmp_path).add(build(ServiceSettings.model_construct()))


def hear(trainer: Actor, *events: Event) -> list[Event]:
    """What is told in answer; the same facts have the same id in every world."""
    return [
        answer
        for facts in events
        for answer in trainer.hear(facts, id=hashlib.sha256(facts.model_dump_json().encode()).hexdigest())
    ]


def queued(*answers: Event) -> TrainingQueued:
    (answer,) = answers
    assert isinstance(answer, TrainingQueued)
    return answer


def declined(*answers: Event) -> str:
    (answer,) = answers
    assert isinstance(answer, TrainingDeclined)
    return answer.reason.code


def test_an_accepted_dataset_of_a_declared_model_is_trained_on(trainer: Actor) -> None:
    hear(trainer, declared())
    verdict = accepted(declared())
    answer = queued(*hear(trainer, verdict))
    assert (answer.model, answer.dataset, answer.declaration) == (MODEL, verdict.dataset, verdict.declaration)
    assert answer.trigger.type == "cairn.dataset.accepted.v1"


def test_either_order_of_declaration_and_verdict_makes_the_same_run(tmp_path: Path) -> None:
    runs = set()
    for order in permutations([declared(), accepted(declared())]):
        (tmp_path / type(order[0]).__name__).mkdir()
        world = World(tmp_path / type(order[0]).__name__)
        runs.add(queued(*hear(world.add(build(ServiceSettings.model_construct())), *order)).run.run_id)
    assert len(runs) == 1


def test_a_verdict_for_a_revision_that_is_not_known_yet_waits_for_it(trainer: Actor) -> None:
    hear(trainer, declared())
    assert hear(trainer, accepted(declared(2, seed=7))) == []
    assert queued(*hear(trainer, declared(2, seed=7))).declaration.revision == 2


def test_a_verdict_for_an_earlier_revision_is_declined(trainer: Actor) -> None:
    hear(trainer, declared(), declared(2, seed=7))
    assert declined(*hear(trainer, accepted(declared()))) == "superseded"


def test_a_new_revision_trains_on_all_that_was_accepted_for_it(trainer: Actor) -> None:
    hear(trainer, accepted(declared()), accepted(declared(), OTHER))
    answers = hear(trainer, declared())
    assert [type(answer) for answer in answers] == [TrainingQueued, TrainingQueued]


def test_the_same_data_published_again_are_trained_on_once(trainer: Actor) -> None:
    hear(trainer, declared())
    trainer.hear(accepted(declared()))
    assert declined(*trainer.hear(accepted(declared()))) == "trained-already"


def test_the_same_verdict_heard_twice_is_answered_once(trainer: Actor) -> None:
    verdict = accepted(declared())
    hear(trainer, declared(), verdict)
    assert hear(trainer, verdict) == []


def test_a_changed_declaration_trains_on_the_same_data_again(trainer: Actor) -> None:
    hear(trainer, declared(), accepted(declared()), declared(2, seed=7))
    assert queued(*hear(trainer, accepted(declared(2, seed=7)))).seed == 7


def test_a_served_dataset_alone_is_not_trained_on(trainer: Actor) -> None:
    assert hear(trainer, declared(), accepted(declared(), name=SERVED)) == []


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_a_served_dataset_is_trained_on_once_it_is_accepted_and_advised(trainer: Actor, order: tuple[int, ...]) -> None:
    verdict = accepted(declared(), name=SERVED)
    events = [declared(), verdict, advised(verdict, DRIFT)]
    answer = queued(*hear(trainer, *(events[place] for place in order)))
    assert answer.trigger.type == "cairn.retraining.advised.v1"


def test_every_order_of_declaration_verdict_and_advice_makes_the_same_run(tmp_path: Path) -> None:
    verdict, runs = accepted(declared(), name=SERVED), set()
    for number, order in enumerate(permutations([declared(), verdict, advised(verdict, DRIFT)])):
        (tmp_path / str(number)).mkdir()
        trainer = World(tmp_path / str(number)).add(build(ServiceSettings.model_construct()))
        runs.add(queued(*hear(trainer, *order)).run.run_id)
    assert len(runs) == 1


def test_a_second_set_of_data_for_the_same_drift_is_declined(trainer: Actor) -> None:
    first, second = accepted(declared(), name=SERVED), accepted(declared(), OTHER, SERVED)
    hear(trainer, declared(), first, advised(first, DRIFT), second)
    assert declined(*hear(trainer, advised(second, DRIFT))) == "answered-already"


def test_the_next_drift_is_trained_for(trainer: Actor) -> None:
    first, second = accepted(declared(), name=SERVED), accepted(declared(), OTHER, SERVED)
    hear(trainer, declared(), first, advised(first, DRIFT), second)
    queued(*hear(trainer, advised(second, event("cairn.drift.detected.v1"))))


def test_a_new_revision_does_not_train_for_an_answered_drift_again(trainer: Actor) -> None:
    verdict = accepted(declared(), name=SERVED)
    hear(trainer, declared(), verdict, advised(verdict, DRIFT), declared(2, seed=7))
    assert declined(*hear(trainer, accepted(declared(2, seed=7), name=SERVED))) == "answered-already"


def test_a_late_verdict_on_served_data_waits_for_the_one_on_the_current_revision(trainer: Actor) -> None:
    verdict = accepted(declared(), name=SERVED)
    assert hear(trainer, declared(), declared(2, seed=7), advised(verdict, DRIFT), verdict) == []
    queued(*hear(trainer, accepted(declared(2, seed=7), name=SERVED)))


def test_a_request_for_an_unknown_model_is_declined(trainer: Actor) -> None:
    assert declined(*trainer.hear(TrainingRequested(model="demo.other"))) == "unknown-model"


def test_a_request_without_accepted_data_is_declined(trainer: Actor) -> None:
    hear(trainer, declared())
    assert declined(*trainer.hear(TrainingRequested(model=MODEL))) == "no-accepted-dataset"


def test_a_request_for_what_is_queued_is_declined(trainer: Actor) -> None:
    hear(trainer, declared(), accepted(declared()))
    assert declined(*trainer.hear(TrainingRequested(model=MODEL))) == "trained-already"


def test_a_request_may_name_served_data_that_nobody_advised(trainer: Actor) -> None:
    verdict = accepted(declared(), name=SERVED)
    hear(trainer, declared(), verdict)
    answer = queued(*trainer.hear(TrainingRequested(model=MODEL, dataset=verdict.dataset)))
    assert answer.trigger.type == "cairn.training.requested.v1"


def test_a_request_after_a_failed_run_makes_another(trainer: Actor) -> None:
    hear(trainer, declared(), accepted(declared()))
    trainer.work()  # its data are nowhere
    queued(*trainer.hear(TrainingRequested(model=MODEL)))


def test_the_latest_accepted_version_is_what_a_request_means(trainer: Actor) -> None:
    hear(trainer, declared(), accepted(declared()), accepted(declared(), OTHER))
    trainer.work()
    answer = queued(*trainer.hear(TrainingRequested(model=MODEL)))
    assert answer.dataset == accepted(declared(), OTHER).dataset
