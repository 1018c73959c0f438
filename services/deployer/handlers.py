"""What the deployer does when something happens: gather, decide, tell."""

from cairn.events import (
    ModelDeclared,
    ModelRegistered,
    PromotionApproved,
    ReplicaActivated,
    ReplicaFailed,
    ReplicaReported,
    ReplicaStopped,
    RollbackRequested,
)
from chassis import Handlers, Transaction
from deployer.domain import (
    ALL_AT_ONCE,
    Candidate,
    RolloutTold,
    call_off,
    champion_of,
    choose_version,
    is_under_way,
    judge_rollback,
    next_step,
    rollout_id,
    start_promotion,
    start_rollback,
)
from deployer.store import Store


def make_handlers(serving_url: str) -> Handlers:
    """All handlers, for serving processes that answer at this address."""
    handlers = Handlers()

    @handlers.on(PromotionApproved)
    def start_after_approval(event: PromotionApproved, tx: Transaction) -> None:
        """The approval came last."""
        move_on(event.model.name, tx, serving_url)

    @handlers.on(ModelRegistered)
    def start_after_registration(event: ModelRegistered, tx: Transaction) -> None:
        """The version came last."""
        move_on(event.model.name, tx, serving_url)

    @handlers.on(ModelDeclared)
    def start_after_declaration(event: ModelDeclared, tx: Transaction) -> None:
        """The declaration came last."""
        move_on(event.model, tx, serving_url)

    @handlers.on(ReplicaActivated)
    def go_on_after_activation(event: ReplicaActivated, tx: Transaction) -> None:
        """A replica follows a route."""
        move_on(event.model.name, tx, serving_url)

    @handlers.on(ReplicaFailed)
    def go_on_after_failure(event: ReplicaFailed, tx: Transaction) -> None:
        """A replica cannot follow a route."""
        move_on(event.model.name, tx, serving_url)

    @handlers.on(ReplicaReported)
    def go_on_after_report(_event: ReplicaReported, tx: Transaction) -> None:
        """A replica lives and has answered."""
        move_one_on(tx, serving_url)

    @handlers.on(ReplicaStopped)
    def go_on_after_stop(_event: ReplicaStopped, tx: Transaction) -> None:
        """Those that are left may all follow the route."""
        move_one_on(tx, serving_url)

    @handlers.on(RollbackRequested)
    def judge_request(event: RollbackRequested, tx: Transaction) -> None:
        """Bring a version back, or say why not."""
        roll_back(event, tx, serving_url)

    return handlers


def move_one_on(tx: Transaction, serving_url: str) -> None:
    """The next step of the first model for which it is time; the others' at the next report: all told has one key."""
    for model in Store(tx.session).models_under_way():
        if move_on(model, tx, serving_url):
            return


def move_on(model: str, tx: Transaction, serving_url: str) -> bool:
    """The model's next step, if it is time: of the rollout under way, else of what waits. Whether anything was told."""
    store = Store(tx.session)
    last = store.last_told(model)
    if last is None or not is_under_way(last):
        return _start_waiting(model, last, tx, serving_url)

    step = _decide_step(last, store, tx)
    if step is None:
        return False

    tx.tell(step)
    if not is_under_way(step):
        _start_waiting(model, step, tx, serving_url)
    return True


def roll_back(event: RollbackRequested, tx: Transaction, serving_url: str) -> None:
    """Answer a request for a rollback; a rollout that is under way is called off for it."""
    store = Store(tx.session)
    last = store.last_told(event.model)
    champion = champion_of(last)
    before = store.version_before(champion.model) if champion else None
    wanted = choose_version(event.version, last, before)
    registered = store.version(event.model, wanted) if wanted else None
    approval = store.approval(registered) if registered else None

    refusal = judge_rollback(wanted, last, registered, approval.ref if approval else None)

    if refusal or registered is None or approval is None:
        assert refusal is not None
        tx.refuse(refusal.code, refusal.text)
        return
    asked = tx.cause.ref
    if last is not None and is_under_way(last):
        last = call_off(last, store.registered(last.previous), registered.model, asked)
        tx.tell(last)
    candidate = Candidate(registered, ALL_AT_ONCE, approval.ref)
    name = rollout_id(tx.cause.source, tx.cause.id)
    tx.tell(start_rollback(candidate, last, name, _endpoint(serving_url, event.model), asked, event.reason))


def _decide_step(last: RolloutTold, store: Store, tx: Transaction) -> RolloutTold | None:
    registered = store.registered(last.model)
    if registered is None:
        return None
    plan = ALL_AT_ONCE if last.strategy == "all-at-once" else store.plan(registered)
    previous = store.registered(last.previous)
    if plan is None or (last.previous and previous is None):  # not heard yet is not the same as not there
        return None
    return next_step(last, plan, previous, store.observed(last, tx.now))


def _start_waiting(model: str, last: RolloutTold | None, tx: Transaction, serving_url: str) -> bool:
    champion = champion_of(last)
    waiting = Store(tx.session).waiting(model)
    if waiting is None or (champion and champion.model == waiting[0].registered.model):
        return False
    candidate, origin = waiting
    name = rollout_id(origin.source, origin.id)
    # An approval waits no more once a rollout rests on it.
    tx.tell(start_promotion(candidate, last, name, _endpoint(serving_url, model)), fenced=True)
    return True


def _endpoint(serving_url: str, model: str) -> str:
    return f"{serving_url.rstrip('/')}/v2/models/{model}"
