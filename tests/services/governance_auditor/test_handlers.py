import random
from datetime import timedelta

import pytest
from tests.services.governance_auditor.samples import (
    approval,
    declared,
    failed,
    model,
    objection,
    passed,
    ref,
    registered,
)

from cairn.events import (
    Policy,
    PolicyAdopted,
    PolicySubmitted,
    PromotionApproved,
    PromotionPending,
    PromotionRefused,
    RequestRefused,
)
from cairn.events.signing import Signer, Trust, TrustedKey
from chassis.digest import combine, digest_tables
from governance_auditor.store import AuditorTable, Promotion


def submitted(**asked) -> PolicySubmitted:
    return PolicySubmitted(policy="default", document=Policy(name="default", **asked))


def wait_for_approval(auditor, *approvers, **asked) -> PromotionPending:
    if asked:
        auditor.hear(submitted(**asked))
    (waits,) = auditor.hear(declared(*approvers), registered(), passed())
    assert isinstance(waits, PromotionPending)
    return waits


def waits_told(auditor):
    before = auditor._count_told()
    auditor.wait()
    return [facts for facts in auditor._told_since(before) if not type(facts).__name__.startswith("Checkpoint")]


@pytest.mark.parametrize("order", [(0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)])
def test_a_valid_version_is_approved_whatever_comes_last(auditor, order):
    events = [declared(), registered(), passed()]
    (told,) = auditor.hear(*(events[n] for n in order))
    assert isinstance(told, PromotionApproved)
    assert told.policy.revision == 0


def test_a_failed_validation_refuses_at_once(auditor):
    (told,) = auditor.hear(failed())
    assert isinstance(told, PromotionRefused)
    assert told.reason.code == "validation-failed"
    assert auditor.hear(declared(), registered()) == []


def test_a_second_verdict_is_judged_again_until_one_is_approved(auditor):
    auditor.hear(declared(), registered(), failed())
    (told,) = auditor.hear(passed())
    assert isinstance(told, PromotionApproved)
    assert auditor.hear(failed(), passed()) == []


def test_the_declared_approver_must_approve(auditor):
    waits = wait_for_approval(auditor, "ada")
    assert (waits.approvals_needed, waits.approvers) == (1, ("ada",))
    (told,) = auditor.hear(approval(validation=waits.validation, policy=waits.policy), authid="ada")
    assert isinstance(told, PromotionApproved)
    assert len(told.approvals) == 1


def test_four_eyes_are_two_persons(auditor):
    waits = wait_for_approval(auditor, approvals_needed=2, roles=("risk",))
    (first,) = auditor.hear(approval(), authid="ada")
    (again,) = auditor.hear(approval(), authid="ada")
    (second,) = auditor.hear(approval(), authid="bob")
    assert isinstance(first, PromotionPending)
    assert (first.approvals_needed, first.expires_at) == (1, waits.expires_at)
    assert isinstance(again, RequestRefused)
    assert again.reason.code == "same-person"
    assert isinstance(second, PromotionApproved)
    assert len({one.id for one in second.approvals}) == 2


@pytest.mark.parametrize(
    ("request_", "attributes", "code"),
    [
        (approval(version=9), {"authid": "ada"}, "unknown-version"),
        (approval(validation=ref("another")), {"authid": "ada"}, "other-validation"),
        (approval(), {"authid": "eve"}, "not-an-approver"),
        (approval(), {"authid": "ada", "authtype": "service"}, "not-an-approver"),
        (approval(), {"authid": "", "authtype": ""}, "not-an-approver"),
        (objection(), {"authid": "eve"}, "not-an-approver"),
    ],
)
def test_an_approval_that_does_not_count_is_refused(auditor, request_, attributes, code):
    wait_for_approval(auditor, approvals_needed=2, roles=("risk",))
    (told,) = auditor.hear(request_, **attributes)
    assert isinstance(told, RequestRefused)
    assert told.reason.code == code


def test_a_key_without_a_role_borrows_none_from_another_of_the_same_person(auditor, world):
    waits = wait_for_approval(auditor, approvals_needed=1, roles=("risk",))
    laptop = Signer.generate("laptop")
    key = TrustedKey(
        keyid="laptop",
        public_key=laptop.public_text,
        principal="person/ada",
        sources=("*",),
        topics=("requests",),
    )
    world.trust = Trust(keys=(*world.trust.keys, key), unsigned=world.trust.unsigned)
    world.trust.save(world.directory / "trust.json")
    auditor.processor.trust = world.trust
    world.signers["people"] = laptop
    (told,) = auditor.hear(approval(validation=waits.validation, policy=waits.policy), authid="ada")
    assert isinstance(told, RequestRefused)
    assert told.reason.code == "not-an-approver"


def test_an_approval_of_another_package_is_refused(auditor):
    wait_for_approval(auditor, "ada")
    other = approval().model_copy(update={"model": model(digest="sha256:" + "99" * 32)})
    (told,) = auditor.hear(other, authid="ada")
    assert isinstance(told, RequestRefused)
    assert told.reason.code == "unknown-version"


def test_what_is_decided_is_closed(auditor):
    wait_for_approval(auditor, "ada")
    auditor.hear(approval(), authid="ada")
    (told,) = auditor.hear(approval(), authid="ada")
    assert isinstance(told, RequestRefused)
    assert told.reason.code == "already-approved"


def test_one_objection_refuses_the_promotion(auditor):
    wait_for_approval(auditor, "ada", "bob")
    auditor.hear(approval(), authid="bob")
    (told,) = auditor.hear(objection(), authid="ada")
    assert isinstance(told, PromotionRefused)
    assert told.reason.code == "withheld"
    (late,) = auditor.hear(approval(), authid="ada")
    assert isinstance(late, RequestRefused)
    assert late.reason.code == "not-pending"


def test_a_promotion_nobody_approves_expires_once(auditor):
    waits = wait_for_approval(auditor, "ada")
    assert waits_told(auditor) == []
    auditor.world.now = waits.expires_at + timedelta(seconds=1)
    (late,) = auditor.hear(approval(), authid="ada")
    assert isinstance(late, RequestRefused)
    assert late.reason.code == "expired"
    (told,) = waits_told(auditor)
    assert isinstance(told, PromotionRefused)
    assert told.reason.code == "expired"
    assert waits_told(auditor) == []


def test_policies_are_numbered_and_an_unchanged_one_is_refused(auditor):
    first, second = auditor.hear(submitted(approvals_needed=1), submitted(approvals_needed=2))
    assert isinstance(first, PolicyAdopted)
    assert isinstance(second, PolicyAdopted)
    assert (first.revision, second.revision) == (1, 2)
    (told,) = auditor.hear(submitted(approvals_needed=2))
    assert isinstance(told, RequestRefused)
    assert told.reason.code == "unchanged"


def test_a_new_policy_judges_again_what_waits(auditor):
    waits = wait_for_approval(auditor, approvals_needed=2)
    auditor.hear(approval(), authid="ada")
    auditor.hear(submitted(approvals_needed=1))
    (early,) = auditor.hear(approval(), authid="bob")
    assert isinstance(early, RequestRefused)
    assert early.reason.code == "other-policy"
    (anew,) = waits_told(auditor)
    assert isinstance(anew, PromotionPending)
    assert (anew.approvals_needed, anew.approvals, anew.policy.revision) == (1, (), 2)
    assert waits_told(auditor) == []
    (bound,) = auditor.hear(approval(policy=waits.policy), authid="ada")
    assert isinstance(bound, RequestRefused)
    (told,) = auditor.hear(approval(policy=anew.policy), authid="ada")
    assert isinstance(told, PromotionApproved)


def test_a_new_policy_may_approve_or_refuse_what_waits(auditor):
    auditor.hear(submitted(approvals_needed=1), declared(), registered(1), registered(2), passed(1), passed(2, 0.7))
    auditor.hear(submitted(minimums={"roc_auc": 0.8}))
    assert [type(facts) for facts in waits_told(auditor)] == [PromotionApproved, PromotionRefused]


def test_a_declaration_that_comes_last_judges_each_of_its_versions(auditor):
    told = auditor.hear(registered(1), registered(2), registered(3, revision=2), passed(1), passed(2), passed(3))
    assert told == []
    told = auditor.hear(declared())
    assert [facts.model.version for facts in told] == [1, 2]


def test_the_order_between_topics_does_not_show_in_the_tables(auditor, new_auditor):
    auditor.hear(submitted(approvals_needed=1), declared("ada"), registered(1), registered(2), passed(1), failed(2))
    auditor.hear(approval(1), authid="ada")
    auditor.hear(passed(2), approval(2), authid="bob", authtype="person", owner=None)
    auditor.turn()
    log = {one: list(records) for one, records in auditor.world.log.items()}
    digests = {shuffled(new_auditor(), log, seed) for seed in range(5)}
    assert len(digests) == 1


def shuffled(auditor, log, seed) -> str:
    """The digest of what is heard, taken in another order between the partitions."""
    chance = random.Random(seed)
    queues = {one: list(records) for one, records in log.items() if one[0] in auditor.definition.hears}
    while queues:
        one = chance.choice(sorted(queues))
        auditor.take([queues[one].pop(0)])
        if not queues[one]:
            del queues[one]
    tables = digest_tables(auditor.database, AuditorTable.metadata)
    heard = {
        mapper.local_table.name
        for mapper in AuditorTable._sa_registry.mappers
        if mapper.class_.topic in log_topics(auditor)
    }
    assert all(rows for name, (_, rows) in tables.items() if name in heard)
    return combine({name: found for name, found in tables.items() if name in heard})


def log_topics(auditor) -> set[str]:
    return set(auditor.definition.hears)


def test_the_promotion_table_holds_what_was_told_last(auditor):
    wait_for_approval(auditor, "ada")
    with auditor.session() as session:
        assert session.get(Promotion, ("risk.loans", 1)).state == "pending"
    auditor.hear(approval(), authid="ada")
    with auditor.session() as session:
        assert session.get(Promotion, ("risk.loans", 1)).state == "approved"
