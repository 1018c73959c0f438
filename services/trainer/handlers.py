"""What the trainer does when something happens: gather, decide, tell."""

from collections.abc import Sequence

from cairn.events import DatasetAccepted, ModelDeclared, RetrainingAdvised, TrainingRequested
from chassis import Handlers, Transaction
from trainer.domain import Ask, Fit, asks_of, decide, decline
from trainer.store import Store

handlers = Handlers()


@handlers.on(DatasetAccepted)
def consider_dataset(event: DatasetAccepted, tx: Transaction) -> None:
    """The verdict came last."""
    store, fit = Store(tx.session), Fit(event, tx.cause.ref)
    declared = store.declaration(event.declaration.name)
    if declared is None or declared.revision < event.declaration.revision:
        return  # the declaration is on its way
    if fit.is_served and declared.revision > event.declaration.revision:
        return  # the advice waits for the verdict for that revision
    _answer(asks_of(fit, store.advice(declared.model, event.dataset.digest)), declared, tx)


@handlers.on(ModelDeclared)
def consider_declaration(event: ModelDeclared, tx: Transaction) -> None:
    """The declaration came last: verdicts for it may be there already."""
    store = Store(tx.session)
    asks = [
        ask
        for fit in store.fit_for(event.model, event.revision)
        for ask in asks_of(fit, store.advice(event.model, fit.facts.dataset.digest))
    ]
    _answer(asks, event, tx)


@handlers.on(RetrainingAdvised)
def consider_advice(event: RetrainingAdvised, tx: Transaction) -> None:
    """The advice came last."""
    store = Store(tx.session)
    declared = store.declaration(event.model)
    if declared is None:
        return
    fits = store.fit_for(event.model, declared.revision, event.dataset.digest)
    _answer([Ask(fit, tx.cause.ref, event.trigger) for fit in fits], declared, tx)


@handlers.on(TrainingRequested)
def judge_request(event: TrainingRequested, tx: Transaction) -> None:
    """Queue the run that a person wants, or say why not."""
    store = Store(tx.session)
    declared = store.declaration(event.model)
    if declared is None:
        tx.tell(decline(event.model, tx.cause.ref, "unknown-model", f"{event.model} is not declared", event.dataset))
        return
    name = event.dataset.name if event.dataset else declared.declaration.dataset
    digest = event.dataset.digest if event.dataset else None
    fits = [fit for fit in store.fit_for(event.model, declared.revision, digest) if fit.facts.dataset.name == name]
    if not fits:
        text = f"no such version of {name} was accepted for revision {declared.revision}"
        tx.tell(decline(event.model, tx.cause.ref, "no-accepted-dataset", text, event.dataset))
        return
    _answer([Ask(fits[-1], tx.cause.ref)], declared, tx)


def _answer(asks: Sequence[Ask], declared: ModelDeclared, tx: Transaction) -> None:
    if asks:
        history = Store(tx.session).history(declared.model)
        for answer in decide(asks, declared, history, tx.voice.installation.namespace):
            tx.tell(answer)
