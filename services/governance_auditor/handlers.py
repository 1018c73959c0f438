"""What the governance-auditor does when something happens: gather, decide, tell."""

from cairn.events import (
    ApprovalGiven,
    ApprovalWithheld,
    ModelDeclared,
    ModelRegistered,
    PolicyAdopted,
    PolicySubmitted,
    PromotionApproved,
    PromotionPending,
    ValidationFailed,
    ValidationPassed,
)
from chassis import Handlers, Transaction
from governance_auditor.domain import (
    decide,
    policy_digest,
    refuse,
    why_closed,
    why_not,
    why_policy_refused,
    with_approval,
)
from governance_auditor.store import RolesOf, Store


def make_handlers(roles_of: RolesOf) -> Handlers:
    """The handlers; who may approve depends on the roles that the trust file gives."""
    handlers = Handlers()

    @handlers.on(ValidationPassed)
    def judge_after_verdict(event: ValidationPassed, tx: Transaction) -> None:
        """The verdict came last."""
        _judge(event.model.name, event.model.version, tx)

    @handlers.on(ValidationFailed)
    def refuse_after_verdict(event: ValidationFailed, tx: Transaction) -> None:
        """A failed version needs nothing else."""
        _judge(event.model.name, event.model.version, tx)

    @handlers.on(ModelRegistered)
    def judge_after_registration(event: ModelRegistered, tx: Transaction) -> None:
        """The registration came last."""
        _judge(event.model.name, event.model.version, tx)

    @handlers.on(ModelDeclared)
    def judge_after_declaration(event: ModelDeclared, tx: Transaction) -> None:
        """The declaration came last."""
        for version in Store(tx.session).versions_of(event.model, event.revision):
            _judge(event.model, version, tx)

    @handlers.on(ApprovalGiven)
    def judge_approval(event: ApprovalGiven, tx: Transaction) -> None:
        """Count the approval, or say why not."""
        _judge_request(event, tx, roles_of)

    @handlers.on(ApprovalWithheld)
    def judge_objection(event: ApprovalWithheld, tx: Transaction) -> None:
        """Refuse the promotion, or say why the objection does not count."""
        _judge_request(event, tx, roles_of)

    @handlers.on(PolicySubmitted)
    def judge_policy(event: PolicySubmitted, tx: Transaction) -> None:
        """Adopt the policy, or say why not."""
        current = Store(tx.session).adopted(event.policy)
        if refusal := why_policy_refused(event, current):
            tx.refuse(*refusal)
            return
        tx.tell(
            PolicyAdopted(
                policy=event.policy,
                revision=current.revision + 1 if current else 1,
                document=event.document,
                digest=policy_digest(event.document),
            )
        )

    return handlers


def _judge(model: str, version: int, tx: Transaction) -> None:
    """Judge the latest verdict on a version, once; what is approved stays so."""
    store = Store(tx.session)
    case, judged = store.case(model, version), store.judged(model, version)
    if case is None or isinstance(judged, PromotionApproved):
        return
    if judged is None or judged.validation != case.verdict_ref:
        tx.tell(decide(case, tx.now), n=version)


def _judge_request(event: ApprovalGiven | ApprovalWithheld, tx: Transaction, roles_of: RolesOf) -> None:
    store = Store(tx.session, roles_of)
    name, version = event.model.name, event.model.version
    judged, case, giver = store.judged(name, version), store.case(name, version), store.giver(tx.cause)
    closed = why_closed(event, judged, store.is_registered(event.model))
    if closed or case is None or not isinstance(judged, PromotionPending):
        tx.refuse(*(closed or ("not-pending", f"no promotion of {name} {version} waits for approvals")))
    elif refusal := why_not(event, giver, judged, case, tx.now):
        tx.refuse(*refusal)
    elif isinstance(event, ApprovalWithheld):
        tx.tell(refuse(case, "withheld", f"{giver.person} objects", giver.ref))
    else:
        tx.tell(decide(with_approval(case, giver), tx.now))
