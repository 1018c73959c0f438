"""Promotions that wait: for approvals that do not come, or under a policy that another took the place of."""

from collections.abc import Sequence
from datetime import datetime

from sqlmodel import Session

from cairn.events.governance import PromotionPending
from chassis import Due, Origin, Transaction, Wait
from governance_auditor.domain import decide, refuse
from governance_auditor.store import RolesOf, Store


def make_waits(roles_of: RolesOf) -> tuple[Wait, Wait]:
    """What ends the waiting of a promotion, when no person does."""

    def refuse_expired(due: Due, tx: Transaction) -> None:
        """Refuse a promotion whose approvals did not come in time."""
        store = Store(tx.session, roles_of)
        case, waits = store.case(*due.detail), store.judged(*due.detail)
        if case and isinstance(waits, PromotionPending):
            tx.tell(refuse(case, "expired", f"it waited for approvals until {waits.expires_at.isoformat()}"))

    return (
        Wait("expiry", find_expired, next_expiry, refuse_expired),
        Wait("policy", find_overtaken, never, judge_again),
    )


def find_expired(session: Session, now: datetime) -> Sequence[Due]:
    """The promotions that have waited too long."""
    rows = Store(session).expired(now)
    return [Due(Origin.parse(row.origin), (row.model, row.version)) for row in rows]


def next_expiry(session: Session) -> datetime | None:
    """When the next one will have."""
    return Store(session).next_expiry()


def find_overtaken(session: Session, _now: datetime) -> Sequence[Due]:
    """The promotions that still wait under an earlier policy."""
    found = Store(session).overtaken()
    if found is None:
        return []
    adoption, rows = found
    return [Due(adoption, (row.model, row.version)) for row in rows]


def never(_session: Session) -> None:
    """Time alone brings no policy; the commit of an adoption wakes the wait."""


def judge_again(due: Due, tx: Transaction) -> None:
    """Judge a promotion by the policy that is in force now: approvals under an earlier one count no more."""
    case = Store(tx.session).case(*due.detail)
    if case:
        tx.tell(decide(case, tx.now), n=due.detail[1])
