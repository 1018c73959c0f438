"""What the trainer decides: who asks for a run, and whether it is made."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid5

from cairn.events.declaration import LOWER_IS_BETTER, Declaration
from cairn.events.registry import ModelDeclared
from cairn.events.training import (
    Budget,
    TrainingCompleted,
    TrainingDeclined,
    TrainingFailed,
    TrainingQueued,
    TrainingStarted,
    TrialFinished,
)
from cairn.events.validation import DatasetAccepted
from cairn.events.values import DatasetRef, EventRef, Metric, ObjectRef, Reason, RunRef

Identity = tuple[str, str]
"""An event's source and id."""
_LONGEST = 2000
"""Characters of a text in an event."""


@dataclass(frozen=True, slots=True)
class Fit:
    """A dataset that was accepted, with the event that said so."""

    facts: DatasetAccepted
    ref: EventRef

    @property
    def is_served(self) -> bool:
        """Whether the monitor assembled it: being fit is no reason yet to train on it."""
        return self.facts.dataset.name.startswith("served.")


@dataclass(frozen=True, slots=True)
class Advice:
    """That a model should be retrained, and the drift that gave rise to it."""

    ref: EventRef
    drift: EventRef


@dataclass(frozen=True, slots=True)
class Ask:
    """Something asks for a run on a dataset."""

    fit: Fit
    trigger: EventRef
    drift: EventRef | None = None


@dataclass(frozen=True, slots=True)
class History:
    """The runs of a model that were queued and have not failed."""

    inputs: frozenset[tuple[str, str]] = frozenset()
    """Digests of dataset and declaration."""
    drifts: frozenset[Identity] = frozenset()
    """What they were advised for."""

    def after(self, ask: Ask, declared: ModelDeclared) -> "History":
        """With one run more."""
        drifts = {_identity(ask.drift)} if ask.drift else set()
        return History(self.inputs | {_inputs(ask, declared)}, self.drifts | drifts)


@dataclass(frozen=True, slots=True)
class Plan:
    """A run that was queued, and all that it is made from."""

    queued: TrainingQueued
    declaration: Declaration
    data: DatasetAccepted


@dataclass(frozen=True, slots=True)
class Package:
    """What a run made."""

    made: Mapping[str, Any]
    """As the child tells it."""
    files: Mapping[str, ObjectRef]
    """Its files in the object store, by name."""


def asks_of(fit: Fit, advice: Sequence[Advice]) -> list[Ask]:
    """Who asks for a run once a dataset is accepted."""
    if fit.is_served:
        return [Ask(fit, one.ref, one.drift) for one in advice]
    return [Ask(fit, fit.ref)]


def decide(
    asks: Iterable[Ask], declared: ModelDeclared, history: History, namespace: UUID
) -> list[TrainingQueued | TrainingDeclined]:
    """One answer to each who asks, in order."""
    answers: list[TrainingQueued | TrainingDeclined] = []
    for ask in asks:
        objection = _find_objection(ask, declared, history)
        if objection:
            answers.append(decline(declared.model, ask.trigger, *objection, ask.fit.facts.dataset))
        else:
            answers.append(_queue(ask, declared, namespace))
            history = history.after(ask, declared)
    return answers


def decline(model: str, cause: EventRef, code: str, text: str, dataset: DatasetRef | None = None) -> TrainingDeclined:
    """No run, and why."""
    return TrainingDeclined(model=model, cause=cause, dataset=dataset, reason=Reason(code=code, text=text))


def _find_objection(ask: Ask, declared: ModelDeclared, history: History) -> tuple[str, str] | None:
    judged_for = ask.fit.facts.declaration.revision
    if judged_for != declared.revision:
        return "superseded", f"it was judged for revision {judged_for}, {declared.revision} is declared now"
    if _inputs(ask, declared) in history.inputs:
        return "trained-already", "there is a run on the same data to the same declaration"
    if ask.drift and _identity(ask.drift) in history.drifts:
        return "answered-already", "there is a run for the same drift"
    return None


def _queue(ask: Ask, declared: ModelDeclared, namespace: UUID) -> TrainingQueued:
    facts, declaration = ask.fit.facts, declared.declaration
    return TrainingQueued(
        model=declared.model,
        run=RunRef(run_id=_name_run(ask, declared, namespace)),
        dataset=facts.dataset,
        declaration=facts.declaration,
        trigger=ask.trigger,
        seed=declaration.seed,
        budget=Budget(max_trials=declaration.search.max_trials, max_seconds=declaration.search.max_seconds),
    )


def _name_run(ask: Ask, declared: ModelDeclared, namespace: UUID) -> str:
    """The same ask for the same data and declaration has the same name, whichever came last."""
    parts = [*_identity(ask.trigger), *_identity(ask.fit.ref), declared.model, *_inputs(ask, declared)]
    return str(uuid5(namespace, json.dumps(parts, ensure_ascii=False, separators=(",", ":"))))


def _inputs(ask: Ask, declared: ModelDeclared) -> tuple[str, str]:
    return ask.fit.facts.dataset.digest, declared.digest


def _identity(event: EventRef) -> Identity:
    return event.source, event.id


def tell_trial(plan: Plan, attempt: int, trial: Mapping[str, Any]) -> TrialFinished:
    """One trial, from what the child sent of it."""
    queued, name = plan.queued, trial["metric"]
    return TrialFinished(
        model=queued.model,
        run=_attempted(plan, attempt),
        trial=trial["number"],
        trials=trial["trials"],
        estimator=trial["estimator"],
        params=trial["params"],
        metric=Metric(
            name=name,
            value=trial["mean"],
            n=trial["n"],
            dataset=queued.dataset,
            split="cross_validation",
            higher_is_better=name not in LOWER_IS_BETTER,
        ),
        seconds=trial["seconds"],
    )


def tell_completed(plan: Plan, attempt: int, package: Package) -> TrainingCompleted:
    """The end of a run, from what the child gave and where its files are now."""
    queued, made = plan.queued, package.made
    return TrainingCompleted(
        model=queued.model,
        run=_attempted(plan, attempt),
        dataset=queued.dataset,
        declaration=queued.declaration,
        package=package.files["manifest.json"],
        profile=package.files["profile.json"],
        card=package.files["card.md"],
        forms=made["forms"],
        io_schema=made["io_schema"],
        classes=made["classes"],
        estimator=made["estimator"],
        params=made["params"],
        metrics=tuple(Metric.model_validate({**metric, "dataset": queued.dataset}) for metric in made["metrics"]),
        trials=made["trials"],
        seed=made["seed"],
        code=made["code"],
        environment=made["environment"],
        usage=made["usage"],
    )


def tell_failed(plan: Plan, attempt: int, code: str, text: str) -> TrainingFailed:
    """The end of a run without a package."""
    reason = Reason(code=code, text=text[:_LONGEST])
    return TrainingFailed(model=plan.queued.model, run=_attempted(plan, attempt), reason=reason)


def tell_started(plan: Plan, attempt: int) -> TrainingStarted:
    """The beginning of an attempt."""
    return TrainingStarted(model=plan.queued.model, run=_attempted(plan, attempt))


def _attempted(plan: Plan, attempt: int) -> RunRef:
    return RunRef(run_id=plan.queued.run.run_id, attempt=attempt)
