"""Whether a version may take traffic: what the policy asks, what was found, who must still agree."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from cairn.events.declaration import LOWER_IS_BETTER, MetricName
from cairn.events.governance import PolicyAdopted, PromotionApproved, PromotionPending, PromotionRefused
from cairn.events.policy import Policy
from cairn.events.requests import ApprovalGiven, ApprovalWithheld, PolicySubmitted
from cairn.events.validation import ValidationFailed, ValidationPassed
from cairn.events.values import Check, Digest, EventRef, ModelRef, PolicyRef, Reason

BUILT_IN = Policy(name="default")
"""In force, as revision 0, until another is adopted under its name."""

LONGEST_SECONDS = 10 * 365 * 86_400.0
"""No promotion waits longer for its approvals than this."""

Judgement = PromotionApproved | PromotionPending | PromotionRefused
Refusal = tuple[str, str]
"""Why a request is refused: a code, and a sentence."""


@dataclass(frozen=True, slots=True)
class InForce:
    """The policy that promotions are judged by."""

    document: Policy
    ref: PolicyRef


@dataclass(frozen=True, slots=True)
class Given:
    """An approval, and whose it is."""

    person: str
    roles: frozenset[str]
    ref: EventRef


@dataclass(frozen=True, slots=True)
class Case:
    """All that a promotion is judged on."""

    verdict: ValidationPassed | ValidationFailed
    verdict_ref: EventRef
    registered: ModelRef | None
    """The version as the registry has it; a failed one need not be there yet."""
    approvers: tuple[str, ...]
    """The persons whom its declaration names."""
    policy: InForce
    approvals: tuple[Given, ...] = ()
    """Those that count so far: given for this verdict, under this policy."""
    expires_at: datetime | None = None
    """Of a promotion that waits already."""


def handle_of(principal: str) -> str:
    """A person's handle; empty for whoever is none."""
    kind, _, handle = principal.partition("/")
    return handle if kind == "person" else ""


def policy_digest(policy: Policy) -> Digest:
    """SHA-256 of the policy's canonical JSON: every field, keys sorted, no spaces, UTF-8."""
    canonical = json.dumps(policy.model_dump(mode="json"), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return "sha256:" + hashlib.sha256(canonical.encode()).hexdigest()


def in_force(adopted: PolicyAdopted | None) -> InForce:
    """The policy of the latest adoption; the built-in one where there was none."""
    if adopted is None:
        return InForce(BUILT_IN, PolicyRef(name=BUILT_IN.name, revision=0, digest=policy_digest(BUILT_IN)))
    return InForce(adopted.document, PolicyRef(name=adopted.policy, revision=adopted.revision, digest=adopted.digest))


def why_policy_refused(request: PolicySubmitted, current: PolicyAdopted | None) -> Refusal | None:
    """Why a policy is not adopted; None when it is."""
    before = current.digest if current else policy_digest(BUILT_IN)
    if request.document.name != request.policy:
        return "other-policy", f"the request is about {request.policy}, its document about {request.document.name}"
    if policy_digest(request.document) == before:
        return "unchanged", f"the policy {request.policy} says so already"
    if request.document.expires_after_seconds > LONGEST_SECONDS:
        return "expires-too-late", f"a promotion may wait {LONGEST_SECONDS:.0f} seconds for its approvals, not longer"
    return None


def with_approval(case: Case, given: Given) -> Case:
    """The case with one more approval."""
    return replace(case, approvals=(*case.approvals, given))


def decide(case: Case, now: datetime) -> Judgement:
    """Approve, wait for persons, or refuse."""
    if isinstance(case.verdict, ValidationFailed):
        return refuse(case, "validation-failed", f"the validation failed: {_failed_gates(case.verdict)}")
    if unmet := [check for check in _evidence_checks(case) if not check.passed]:
        return refuse(case, "policy-not-met", "; ".join(f"{one.asked}: {one.measured}" for one in unmet)[:2000])
    if needed := approvals_needed(case):
        return PromotionPending(
            model=case.verdict.model,
            validation=case.verdict_ref,
            policy=case.policy.ref,
            approvals=tuple(given.ref for given in case.approvals),
            approvals_needed=needed,
            approvers=_missing_approvers(case),
            roles=case.policy.document.roles,
            expires_at=case.expires_at or now + timedelta(seconds=case.policy.document.expires_after_seconds),
        )
    return PromotionApproved(
        model=case.verdict.model,
        validation=case.verdict_ref,
        policy=case.policy.ref,
        approvals=tuple(given.ref for given in case.approvals),
        checks=checks_of(case),
        reason=_reason(case, "policy-met", f"all that the policy {case.policy.ref.name} asks is there"),
    )


def refuse(case: Case, code: str, text: str, because: EventRef | None = None) -> PromotionRefused:
    """The refusal of a promotion."""
    return PromotionRefused(
        model=case.verdict.model,
        validation=case.verdict_ref,
        policy=case.policy.ref,
        approvals=tuple(given.ref for given in case.approvals),
        checks=checks_of(case),
        reason=_reason(case, code, text, because),
    )


def why_closed(request: ApprovalGiven | ApprovalWithheld, judged: Judgement | None, registered: bool) -> Refusal | None:
    """Why nobody can approve, or object to, this version now; None when its promotion waits."""
    version = f"{request.model.name} {request.model.version}"
    if judged is not None and judged.model == request.model:
        match judged:
            case PromotionPending():
                return None
            case PromotionApproved():
                return "already-approved", f"the promotion of {version} is approved already"
            case PromotionRefused():
                return "not-pending", f"the promotion of {version} is refused: {judged.reason.text}"[:2000]
    if registered:
        return "not-pending", f"no promotion of {version} waits for approvals"
    return "unknown-version", f"there is no {version} with the digest {request.model.digest}"


def why_not(
    request: ApprovalGiven | ApprovalWithheld, given: Given, waits: PromotionPending, case: Case, now: datetime
) -> Refusal | None:
    """Why this person's word does not count for a promotion that waits; None when it does."""
    if now >= waits.expires_at:
        return "expired", f"the promotion waited until {waits.expires_at.isoformat()}"
    if waits.policy != case.policy.ref or request.policy not in (None, waits.policy):
        return "other-policy", f"the promotion is judged by revision {case.policy.ref.revision} of the policy"
    if waits.validation != case.verdict_ref or request.validation not in (None, waits.validation):
        return "other-validation", f"the promotion rests on the validation {waits.validation.id}"
    named = given.person in case.approvers
    if not given.person or not (named or (case.policy.document.approvals_needed and _counts(given, case))):
        return "not-an-approver", f"{given.person or 'who asks'} is not among those who may approve this"
    return _why_not_again(given, case, named=named) if isinstance(request, ApprovalGiven) else None


def _why_not_again(given: Given, case: Case, *, named: bool) -> Refusal | None:
    if any(earlier.person == given.person for earlier in case.approvals):
        return "same-person", f"{given.person} has approved already: another person must"
    if not named and not _missing_count(case):
        return "not-needed", f"only these persons must still approve: {', '.join(_missing_approvers(case))}"
    return None


def approvals_needed(case: Case) -> int:
    """The least number of approvals that are still missing."""
    return max(len(_missing_approvers(case)), _missing_count(case))


def checks_of(case: Case) -> tuple[Check, ...]:
    """Every rule and what was found."""
    return (*_evidence_checks(case), *_approval_checks(case))


def _evidence_checks(case: Case) -> Iterator[Check]:
    passed = isinstance(case.verdict, ValidationPassed)
    yield Check(
        name="validation",
        asked="a passed validation",
        measured="passed" if passed else _failed_gates(case.verdict),
        passed=passed,
    )
    if case.registered:
        yield Check(
            name="package",
            asked=f"the validated package is the registered one, {case.registered.digest}",
            measured=case.verdict.model.digest,
            passed=case.verdict.model == case.registered,
        )
    for metric, bound in case.policy.document.minimums.items():
        yield _metric_check(case, metric, bound)


def _metric_check(case: Case, metric: MetricName, bound: float) -> Check:
    found = [one.value for one in case.verdict.metrics if one.name == metric and one.slice is None]
    lower = metric in LOWER_IS_BETTER
    return Check(
        name=f"minimum {metric}",
        asked=f"{metric} {'at most' if lower else 'at least'} {bound}",
        measured=str(found[0]) if found else "not measured",
        passed=bool(found) and (found[0] <= bound if lower else found[0] >= bound),
    )


def _approval_checks(case: Case) -> Iterator[Check]:
    policy, persons = case.policy.document, {given.person for given in case.approvals}
    if policy.approvals_needed:
        count = policy.approvals_needed - _missing_count(case)
        of_roles = f" with one of the roles {', '.join(policy.roles)}" if policy.roles else ""
        yield Check(
            name="approvals",
            asked=f"approvals by {policy.approvals_needed} different persons{of_roles}"[:2000],
            measured=str(count),
            passed=count == policy.approvals_needed,
        )
    for approver in case.approvers:
        approved = approver in persons
        yield Check(
            name=f"approver {approver}"[:128],
            asked=f"{approver} approves, as declared",
            measured="approved" if approved else "not yet",
            passed=approved,
        )


def _counts(given: Given, case: Case) -> bool:
    roles = case.policy.document.roles
    return not roles or not given.roles.isdisjoint(roles)


def _missing_count(case: Case) -> int:
    persons = {given.person for given in case.approvals if _counts(given, case)}
    return max(0, case.policy.document.approvals_needed - len(persons))


def _missing_approvers(case: Case) -> tuple[str, ...]:
    persons = {given.person for given in case.approvals}
    return tuple(approver for approver in case.approvers if approver not in persons)


def _failed_gates(verdict: ValidationPassed | ValidationFailed) -> str:
    failed = [check.name for check in verdict.checks if not check.passed and check.severity == "error"]
    return (", ".join(failed) or "its gates")[:1000]


def _reason(case: Case, code: str, text: str, because: EventRef | None = None) -> Reason:
    evidence = (case.verdict_ref, *(given.ref for given in case.approvals), *((because,) if because else ()))
    return Reason(code=code, text=text, evidence=evidence)
