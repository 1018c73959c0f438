"""Queries about promotions: versions, verdicts, policies, approvals."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime

from sqlmodel import Session, col, select

from cairn.events.governance import PolicyAdopted, PromotionApproved, PromotionPending, PromotionRefused
from cairn.events.validation import ValidationFailed, ValidationPassed
from cairn.events.values import EventRef, ModelRef, format_instant
from chassis import Origin
from governance_auditor.domain import BUILT_IN, Case, Given, InForce, Judgement, handle_of, in_force
from governance_auditor.store.tables import Adopted, Approval, Declared, Promotion, Registered, Verdict

RolesOf = Callable[[str, str], frozenset[str]]
"""Which roles a person has who speaks with a key: the handle, and the key's name."""

_JUDGEMENTS: dict[str, type[Judgement]] = {
    "pending": PromotionPending,
    "approved": PromotionApproved,
    "refused": PromotionRefused,
}


class Store:
    """Reads within one transaction."""

    def __init__(self, session: Session, roles_of: RolesOf = lambda _person, _keyid: frozenset()) -> None:
        self._session = session
        self._roles_of = roles_of

    def adopted(self, policy: str) -> PolicyAdopted | None:
        """The latest revision of a policy."""
        row = self._latest_adoption(policy)
        return PolicyAdopted.model_validate_json(row.facts) if row else None

    def policy_in_force(self) -> InForce:
        """What promotions are judged by."""
        return in_force(self.adopted(BUILT_IN.name))

    def judged(self, model: str, version: int) -> Judgement | None:
        """What was told last of a version's promotion."""
        row = self._session.get(Promotion, (model, version))
        return _JUDGEMENTS[row.state].model_validate_json(row.facts) if row else None

    def is_registered(self, model: ModelRef) -> bool:
        """Whether the registry has this very version."""
        row = self._session.get(Registered, (model.name, model.version))
        return row is not None and row.digest == model.digest

    def versions_of(self, model: str, revision: int) -> Sequence[int]:
        """The versions that were made to a revision of the declaration."""
        query = select(Registered.version).where(Registered.model == model, Registered.revision == revision)
        return self._session.exec(query.order_by(col(Registered.version))).all()

    def case(self, model: str, version: int) -> Case | None:
        """All that a promotion is judged on; None while something is on its way."""
        row = self._session.get(Verdict, (model, version))
        if row is None:
            return None
        verdict = (ValidationPassed if row.passed else ValidationFailed).model_validate_json(row.facts)
        registered = self._session.get(Registered, (model, version))
        declared = self._session.get(Declared, (model, registered.revision)) if registered else None
        if row.passed and declared is None:
            return None
        ref, policy, judged = Origin.parse(row.origin).ref, self.policy_in_force(), self.judged(model, version)
        waits = judged if isinstance(judged, PromotionPending) else None
        if waits and (waits.validation, waits.policy) != (ref, policy.ref):
            waits = None
        return Case(
            verdict=verdict,
            verdict_ref=ref,
            registered=ModelRef(name=model, version=version, digest=registered.digest) if registered else None,
            approvers=tuple(json.loads(declared.approvers)) if declared else (),
            policy=policy,
            approvals=tuple(self._given(waits.approvals)) if waits else (),
            expires_at=waits.expires_at if waits else None,
        )

    def giver(self, request: Origin) -> Given:
        """Who speaks in a request for or against a promotion."""
        person = handle_of(request.principal)
        return Given(person, self._roles_of(person, request.keyid), request.ref)

    def expired(self, now: datetime) -> Sequence[Promotion]:
        """The promotions that waited too long."""
        query = select(Promotion).where(Promotion.state == "pending", Promotion.expires_at <= format_instant(now))
        return self._session.exec(query.order_by(col(Promotion.expires_at))).all()

    def next_expiry(self) -> datetime | None:
        """When the next promotion will have waited too long."""
        query = select(Promotion.expires_at).where(Promotion.state == "pending")
        first = self._session.exec(query.order_by(col(Promotion.expires_at)).limit(1)).first()
        return datetime.fromisoformat(first) if first else None

    def overtaken(self) -> tuple[Origin, Sequence[Promotion]] | None:
        """The latest adoption, and the promotions that still wait under the policy before it."""
        adoption = self._latest_adoption(BUILT_IN.name)
        if adoption is None:
            return None
        query = select(Promotion).where(Promotion.state == "pending", Promotion.policy_revision != adoption.revision)
        rows = self._session.exec(query.order_by(col(Promotion.model), col(Promotion.version))).all()
        return (Origin.parse(adoption.origin), rows) if rows else None

    def _given(self, refs: Iterable[EventRef]) -> Iterator[Given]:
        for ref in refs:
            row = self._session.get(Approval, (ref.source, ref.id))
            if row:
                yield Given(row.person, self._roles_of(row.person, row.keyid), ref)

    def _latest_adoption(self, policy: str) -> Adopted | None:
        query = select(Adopted).where(Adopted.policy == policy).order_by(col(Adopted.revision).desc()).limit(1)
        return self._session.exec(query).first()
