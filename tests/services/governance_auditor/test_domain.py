from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from tests.services.governance_auditor.samples import approval, failed, model, objection, passed, ref

from cairn.events import Policy, PolicyAdopted, PolicySubmitted, PromotionApproved, PromotionPending, PromotionRefused
from governance_auditor.domain import (
    BUILT_IN,
    Case,
    Given,
    InForce,
    decide,
    fault_of,
    handle_of,
    in_force,
    misplaced,
    out_of_sequence,
    policy_digest,
    refuse,
    unsigned,
    why_closed,
    why_not,
    why_policy_refused,
    with_approval,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def policy(**asked) -> InForce:
    document = Policy(name="default", **asked)
    digest = policy_digest(document)
    return in_force(PolicyAdopted(policy="default", revision=1, document=document, digest=digest))


def case(*approvers, verdict=None, registered=model(), approvals=(), **asked) -> Case:  # noqa: B008 # a frozen value
    return Case(verdict or passed(), ref(), registered, approvers, policy(**asked), approvals)


def given(person, *roles) -> Given:
    return Given(person, frozenset(roles), ref(person or "nobody"))


ADA, BOB, EVE = given("ada", "risk"), given("bob", "risk"), given("eve")


@pytest.mark.parametrize(
    ("judged", "kind", "needed"),
    [
        (case(), PromotionApproved, None),
        (case(approvals_needed=2), PromotionPending, 2),
        (case(approvals_needed=2, approvals=(ADA,)), PromotionPending, 1),
        (case(approvals_needed=2, approvals=(ADA, BOB)), PromotionApproved, None),
        (case(approvals_needed=1, roles=("risk",), approvals=(EVE,)), PromotionPending, 1),
        (case(approvals_needed=1, roles=("risk",), approvals=(ADA,)), PromotionApproved, None),
        (case("ada"), PromotionPending, 1),
        (case("ada", approvals=(ADA,)), PromotionApproved, None),
        (case("ada", approvals=(BOB,)), PromotionPending, 1),
        (case("ada", approvals_needed=2), PromotionPending, 2),
        (case("ada", "bob", approvals_needed=1, approvals=(EVE,)), PromotionPending, 2),
        (case(minimums={"roc_auc": 0.8}), PromotionApproved, None),
        (case(minimums={"roc_auc": 0.95}), PromotionRefused, None),
        (case(minimums={"log_loss": 0.3}), PromotionApproved, None),
        (case(minimums={"log_loss": 0.2}), PromotionRefused, None),
        (case(minimums={"accuracy": 0.1}), PromotionRefused, None),
        (case("ada", minimums={"roc_auc": 0.95}), PromotionRefused, None),
        (case(registered=model(digest="sha256:" + "cd" * 32)), PromotionRefused, None),
        (case(verdict=failed()), PromotionRefused, None),
        (case(verdict=failed(), registered=None), PromotionRefused, None),
    ],
)
def test_the_policy_decides(judged, kind, needed):
    decided = decide(judged, NOW)
    assert type(decided) is kind
    if isinstance(decided, PromotionPending):
        assert decided.approvals_needed == needed
    else:
        assert all(check.passed for check in decided.checks) == isinstance(decided, PromotionApproved)


def test_an_approval_names_all_that_it_rests_on():
    approved = decide(case("ada", approvals_needed=1, approvals=(ADA,)), NOW)
    assert isinstance(approved, PromotionApproved)
    assert approved.reason.evidence == (ref(), ADA.ref)
    assert [check.name for check in approved.checks] == ["validation", "package", "approvals", "approver ada"]


def test_the_built_in_policy_is_revision_zero():
    assert in_force(None).document == BUILT_IN
    assert in_force(None).ref.revision == 0


def test_a_waiting_promotion_keeps_its_first_expiry():
    first = decide(case(approvals_needed=2, expires_after_seconds=60), NOW)
    assert isinstance(first, PromotionPending)
    assert first.expires_at == NOW + timedelta(seconds=60)
    going_on = replace(
        case(approvals_needed=2, expires_after_seconds=60), approvals=(ADA,), expires_at=first.expires_at
    )
    later = decide(going_on, NOW + timedelta(seconds=30))
    assert isinstance(later, PromotionPending)
    assert later.expires_at == first.expires_at


def test_a_refusal_says_why_and_on_what_it_rests():
    refused = refuse(case("ada"), "withheld", "bob objects", BOB.ref)
    assert (refused.reason.code, refused.reason.evidence) == ("withheld", (ref(), BOB.ref))


def pending(judged):
    waits = decide(judged, NOW)
    assert isinstance(waits, PromotionPending)
    return waits


NAMED = case("ada")
COUNTED = case(approvals_needed=2, roles=("risk",))
BOTH = case("ada", approvals_needed=1, approvals=(BOB,))
OTHER_POLICY = policy(approvals_needed=3).ref


@pytest.mark.parametrize(
    ("request_", "giver", "judged", "at", "code"),
    [
        (approval(), ADA, NAMED, NOW, None),
        (approval(validation=ref(), policy=NAMED.policy.ref), ADA, NAMED, NOW, None),
        (approval(), ADA, NAMED, NOW + timedelta(days=8), "expired"),
        (approval(policy=OTHER_POLICY), ADA, NAMED, NOW, "other-policy"),
        (approval(validation=ref("another")), ADA, NAMED, NOW, "other-validation"),
        (approval(), BOB, NAMED, NOW, "not-an-approver"),
        (approval(), given(""), case(approvals_needed=1), NOW, "not-an-approver"),
        (approval(), EVE, COUNTED, NOW, "not-an-approver"),
        (approval(), ADA, COUNTED, NOW, None),
        (approval(), ADA, with_approval(COUNTED, ADA), NOW, "same-person"),
        (approval(), BOB, with_approval(COUNTED, ADA), NOW, None),
        (approval(), EVE, BOTH, NOW, "not-needed"),
        (objection(), ADA, with_approval(COUNTED, ADA), NOW, None),
        (objection(), EVE, COUNTED, NOW, "not-an-approver"),
    ],
)
def test_whose_word_counts(request_, giver, judged, at, code):
    refusal = why_not(request_, giver, pending(judged), judged, at)
    assert (refusal and refusal[0]) == code


def test_a_policy_adopted_since_closes_a_waiting_promotion_to_approvals():
    waits = pending(NAMED)
    refusal = why_not(approval(), ADA, waits, replace(NAMED, policy=policy(approvals_needed=1)), NOW)
    assert refusal
    assert refusal[0] == "other-policy"


@pytest.mark.parametrize(
    ("judged", "registered", "code"),
    [
        (None, False, "unknown-version"),
        (None, True, "not-pending"),
        (decide(case(), NOW), True, "already-approved"),
        (decide(case(verdict=failed()), NOW), True, "not-pending"),
        (decide(case(verdict=passed(digest="sha256:" + "ef" * 32), registered=None), NOW), False, "unknown-version"),
        (pending(NAMED), True, None),
    ],
)
def test_which_promotions_are_open(judged, registered, code):
    refusal = why_closed(approval(), judged, registered)
    assert (refusal and refusal[0]) == code


@pytest.mark.parametrize(
    ("document", "code"),
    [
        (Policy(name="default", approvals_needed=1), None),
        (Policy(name="default"), "unchanged"),
        (Policy(name="strict"), "other-policy"),
        (Policy(name="default", expires_after_seconds=1e12), "expires-too-late"),
    ],
)
def test_which_policies_are_adopted(document, code):
    refusal = why_policy_refused(PolicySubmitted(policy="default", document=document), None)
    assert (refusal and refusal[0]) == code


def test_only_persons_have_handles():
    assert [handle_of(one) for one in ("person/ada", "service/ada", "", "ada")] == ["ada", "", "", ""]


@pytest.mark.parametrize(
    ("fault", "severity"),
    [
        (fault_of("signature", ""), "alarm"),
        (fault_of("not-allowed", ""), "alarm"),
        (fault_of("unsigned", ""), "alarm"),
        (fault_of("wrong-topic", ""), "alarm"),
        (fault_of("schema", ""), "warning"),
        (fault_of("unknown-type", ""), "warning"),
        (fault_of("unsupported-version", ""), "notice"),
        (unsigned("/erp"), "notice"),
        (misplaced(1, 2), "notice"),
    ],
)
def test_findings_are_graded(fault, severity):
    assert fault.severity == severity


@pytest.mark.parametrize(
    ("sequence", "previous", "code", "says"),
    [
        (1, None, None, ""),
        (8, 7, None, ""),
        (9, 7, "sequence-gap", "8 is missing"),
        (12, 7, "sequence-gap", "8 to 11 is missing"),
        (3, None, "sequence-gap", "1 to 2 is missing"),
        (7, 7, "sequence-regress", "after 7"),
        (1, 7, "sequence-regress", "back to 1"),
    ],
)
def test_numbers_follow_on_each_other(sequence, previous, code, says):
    fault = out_of_sequence(sequence, previous)
    assert (fault and fault.code) == code
    assert says in (fault.text if fault else "")
