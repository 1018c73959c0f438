"""What the registry does when something happens: gather, decide, tell."""

from cairn.declaration import declaration_digest
from cairn.events import (
    DeclarationSubmitted,
    ModelDeclared,
    ModelRegistered,
    PromotionApproved,
    RolloutCompleted,
    TrainingCompleted,
    ValidationPassed,
)
from cairn.events.values import ModelRef
from chassis import Handlers, Origin, Transaction
from registry.domain import Evidence, is_unchanged, make_receipt, next_number
from registry.store import Store

handlers = Handlers()


@handlers.on(DeclarationSubmitted)
def judge_declaration(event: DeclarationSubmitted, tx: Transaction) -> None:
    """Declare the model anew, or say why not."""
    current = Store(tx.session).declaration(event.model)
    digest = declaration_digest(event.declaration)

    if event.declaration.model != event.model:
        tx.refuse("other-model", f"the request is about {event.model}, its declaration about {event.declaration.model}")
    elif is_unchanged(digest, current):
        tx.refuse("unchanged", f"{event.model} is declared so already")
    else:
        revision = current.revision + 1 if current else 1
        tx.tell(ModelDeclared(model=event.model, revision=revision, declaration=event.declaration, digest=digest))


@handlers.on(TrainingCompleted)
def register_version(event: TrainingCompleted, tx: Transaction) -> None:
    """Number the version that a run made, once."""
    store = Store(tx.session)
    if store.version_of_run(event.run.run_id):
        _promote_what_is_complete(event.model, tx)
        return

    number = next_number(store.version_numbers(event.model))

    tx.tell(
        ModelRegistered(
            model=ModelRef(name=event.model, version=number, digest=event.package.digest),
            package=event.package,
            profile=event.profile,
            forms=event.forms,
            io_schema=event.io_schema,
            run=event.run,
            dataset=event.dataset,
            declaration=event.declaration,
            card=event.card,
        )
    )


@handlers.on(RolloutCompleted)
def promote_after_rollout(event: RolloutCompleted, tx: Transaction) -> None:
    """The rollout came last."""
    _promote_what_is_complete(event.model.name, tx)


@handlers.on(PromotionApproved)
def promote_after_approval(event: PromotionApproved, tx: Transaction) -> None:
    """The approval came last."""
    _promote_what_is_complete(event.model.name, tx)


@handlers.on(ValidationPassed)
def promote_after_validation(event: ValidationPassed, tx: Transaction) -> None:
    """The verdict came last."""
    _promote_what_is_complete(event.model.name, tx)


def _promote_what_is_complete(model: str, tx: Transaction) -> None:
    """Promote each completed rollout whose evidence is all there, in the order of their routes."""
    store = Store(tx.session)
    champion = store.champion(model)
    for rollout, origin in store.completed_rollouts(model, champion.route_revision if champion else 0):
        evidence = _gather(store, rollout, origin)
        if evidence is None:
            continue
        generation = champion.generation + 1 if champion else 1
        champion = make_receipt(evidence, generation, champion, tx.now, tx.log_origin("registry", model))
        tx.tell(champion, fenced=True)  # no rollout is promoted whose route the champion has come past


def _gather(store: Store, rollout: RolloutCompleted, origin: Origin) -> Evidence | None:
    """All that the promotion rests on, or None while something is still on its way."""
    name, version = rollout.model.name, rollout.model.version
    registered, verdict, approval = (
        store.version(name, version),
        store.passed(name, version),
        store.approved(name, version),
    )
    if registered is None or verdict is None or approval is None:
        return None
    run = store.run(registered.run.run_id)
    declared = store.declaration(name, registered.declaration.revision)
    if run is None or declared is None:
        return None
    return Evidence(
        rollout, origin.ref, approval[0], approval[1].ref, verdict[0], verdict[1].ref, run, registered, declared
    )
