from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.services.deployer.made import event_ref, registered

from cairn.events import RolloutAborted, RolloutAdvanced, RolloutCompleted, RolloutStarted
from deployer.domain import (
    ALL_AT_ONCE,
    Candidate,
    Counted,
    Failure,
    Observed,
    Plan,
    Replica,
    challenger_of,
    champion_of,
    choose_version,
    is_under_way,
    judge_rollback,
    next_step,
    rollout_id,
    start_promotion,
    start_rollback,
)

URL = "http://127.0.0.1:8710/v2/models/risk.loans"
TWO_STEPS = Plan(steps=(0.2, 0.5), min_requests=100)


def candidate(version, plan=TWO_STEPS):
    return Candidate(registered(version), plan, event_ref(f"approval-{version}"))


def promote(version, last=None, plan=TWO_STEPS):
    return start_promotion(candidate(version, plan), last, f"rollout-{version}", URL)


def live(*revisions):
    return [
        Replica(f"serving-{n}", revision, event_ref(f"report-{n}")) for n, revision in enumerate(revisions, start=1)
    ]


def follow(told, observed, plan=TWO_STEPS):
    previous = registered(told.previous.version) if told.previous else None
    return next_step(told, plan, previous, observed)


def everything_well(told):
    return Observed(live(told.route.revision), challenger=Counted(100))


def champion_one():
    """The first version, all the way."""
    return follow(promote(1), everything_well(promote(1)))


def shares(told):
    return [(arm.name, arm.role, arm.weight_ratio) for arm in told.route.arms]


def test_a_first_version_gets_all_the_traffic_in_one_step_and_completes():
    started = promote(1)
    assert (started.strategy, started.previous, started.route.revision) == ("all-at-once", None, 1)
    assert shares(started) == [("v1", "champion", 1.0)]
    done = follow(started, Observed(live(1)))
    assert isinstance(done, RolloutCompleted)
    assert done.route == started.route


def test_a_second_version_goes_by_the_declared_steps_to_all_the_traffic():
    told, seen = promote(2, champion_one()), []
    while told is not None and is_under_way(told):
        seen.append((type(told), told.step, told.route.revision, shares(told)))
        told = follow(told, everything_well(told))
    assert seen == [
        (RolloutStarted, 0, 2, [("v1", "champion", 0.8), ("v2", "challenger", 0.2)]),
        (RolloutAdvanced, 1, 3, [("v1", "champion", 0.5), ("v2", "challenger", 0.5)]),
        (RolloutAdvanced, 2, 4, [("v2", "champion", 1.0)]),
    ]
    assert isinstance(told, RolloutCompleted)
    assert (told.step, told.route.revision) == (2, 4)


def test_a_rollout_carries_what_it_is_about_from_its_first_event_to_its_last():
    told = promote(2, champion_one())
    kept = (told.rollout_id, told.kind, told.model, told.previous, told.strategy, told.endpoint, told.approval)
    while is_under_way(told):
        told = follow(told, everything_well(told))
    assert kept == (
        told.rollout_id,
        told.kind,
        told.model,
        told.previous,
        told.strategy,
        told.endpoint,
        told.approval,
    )


def test_without_declared_steps_a_version_gets_all_the_traffic_at_once():
    told = promote(2, champion_one(), Plan(steps=()))
    assert (told.strategy, shares(told)) == ("all-at-once", [("v2", "champion", 1.0)])
    assert told.previous == registered(1).model


@pytest.mark.parametrize(
    ("why", "observed"),
    [
        ("nobody is alive", Observed((), challenger=Counted(100))),
        ("one replica is behind", Observed(live(2, 1), challenger=Counted(100))),
        ("one replica follows nothing", Observed(live(2, 0), challenger=Counted(100))),
        ("too few were answered", Observed(live(2, 2), challenger=Counted(99))),
        ("nothing was answered", Observed(live(2), challenger=Counted(0))),
    ],
)
def test_a_step_waits_while(why, observed):
    assert follow(promote(2, champion_one()), observed) is None


@pytest.mark.parametrize(
    ("why", "observed"),
    [
        ("all follow the route", Observed(live(2, 2), challenger=Counted(100))),
        ("one follows a later route", Observed(live(2, 3), challenger=Counted(100))),
        ("more were answered than asked", Observed(live(2), challenger=Counted(101))),
    ],
)
def test_a_step_advances_when(why, observed):
    told = follow(promote(2, champion_one()), observed)
    assert isinstance(told, RolloutAdvanced)
    assert all(check.passed for check in told.checks)
    assert {ref.id for ref in told.reason.evidence} == {one.heard.id for one in observed.live}


def test_no_requests_need_to_be_answered_where_none_are_declared():
    plan = Plan(steps=(0.5,), min_requests=0)
    told = follow(promote(2, champion_one(), plan), Observed(live(2)), plan)
    assert isinstance(told, RolloutAdvanced)


def test_the_full_step_does_not_wait_for_requests():
    started = promote(2, champion_one(), Plan(steps=(0.5,), min_requests=100))
    full = follow(started, everything_well(started), Plan(steps=(0.5,), min_requests=100))
    assert isinstance(
        follow(full, Observed(live(3), challenger=Counted(0)), Plan(steps=(0.5,), min_requests=100)), RolloutCompleted
    )


FAILED = (Failure("serving-1", "The package cannot be read.", event_ref("failure")),)


@pytest.mark.parametrize("steps", [0, 1, 2])
def test_a_failing_replica_gives_all_the_traffic_back_at_any_step(steps):
    told = promote(2, champion_one())
    for _ in range(steps):
        told = follow(told, everything_well(told))
    aborted = follow(told, Observed(live(told.route.revision), FAILED, Counted(100)))
    assert isinstance(aborted, RolloutAborted)
    assert shares(aborted) == [("v1", "champion", 1.0)]
    assert aborted.route.revision == told.route.revision + 1
    assert aborted.reason.evidence == (FAILED[0].told,)
    assert not is_under_way(aborted)


@pytest.mark.parametrize(
    ("why", "challenger", "champion"),
    [
        ("all of enough rows failed", Counted(0, 20), Counted(80)),
        ("a tenth failed", Counted(18, 2), Counted(80)),
        ("too many failed although enough were answered", Counted(100, 10), Counted(400)),
        ("more failed than of the champion's", Counted(10, 10), Counted(60, 20)),
    ],
)
def test_a_challenger_loses_its_traffic_when(why, challenger, champion):
    told = promote(2, champion_one())
    aborted = follow(told, Observed(live(2), challenger=challenger, champion=champion))
    assert isinstance(aborted, RolloutAborted)
    assert shares(aborted) == [("v1", "champion", 1.0)]
    assert aborted.reason.code == "requests-failed"
    assert [(check.name, check.passed) for check in aborted.checks] == [("requests-failed", False)]
    assert aborted.reason.evidence == (event_ref("report-1"),)


@pytest.mark.parametrize(
    ("why", "challenger", "champion"),
    [
        ("too few rows were asked", Counted(0, 19), Counted(80)),
        ("few of many failed", Counted(95, 5), Counted(400)),
        ("as many of the champion's failed", Counted(10, 10), Counted(40, 40)),
    ],
)
def test_a_challenger_keeps_its_traffic_while(why, challenger, champion):
    assert follow(promote(2, champion_one()), Observed(live(2), challenger=challenger, champion=champion)) is None


def test_fewer_rows_are_enough_to_fail_where_fewer_answers_are_asked_for():
    plan = Plan(steps=(0.2,), min_requests=3)
    told = promote(2, champion_one(), plan)
    assert follow(told, Observed(live(2), challenger=Counted(0, 2)), plan) is None
    assert isinstance(follow(told, Observed(live(2), challenger=Counted(0, 3)), plan), RolloutAborted)


def test_a_step_is_told_with_how_many_rows_failed():
    told = follow(promote(2, champion_one()), Observed(live(2), challenger=Counted(100, 1)))
    checks = {check.name: check.measured for check in told.checks}
    assert checks["requests-failed"] == "1 of 101 failed; of v1, 0 of 0"


@pytest.mark.parametrize(("seconds", "ends"), [(600, False), (601, True)])
def test_a_live_replica_that_does_not_follow_in_time_ends_a_rollout(seconds, ends):
    slow = replace(live(1)[0], seconds=seconds)
    told = follow(promote(2, champion_one()), Observed([slow]))
    assert isinstance(told, RolloutAborted) is ends


def test_a_first_version_that_fails_is_left_without_traffic():
    aborted = follow(promote(1), Observed(live(0), FAILED))
    assert isinstance(aborted, RolloutAborted)
    assert shares(aborted) == [("v1", "challenger", 0.0)]
    assert aborted.route.revision == 2


def test_after_a_failed_first_version_the_next_one_is_a_first_version_again():
    aborted = follow(promote(1), Observed(live(0), FAILED))
    told = promote(2, aborted)
    assert (told.strategy, told.previous, told.route.revision) == ("all-at-once", None, 3)
    assert shares(told) == [("v2", "champion", 1.0)]


def test_after_an_abort_the_next_version_is_compared_with_the_old_champion():
    told = promote(2, champion_one())
    aborted = follow(told, Observed(live(2), FAILED))
    again = promote(3, aborted)
    assert shares(again) == [("v1", "champion", 0.8), ("v3", "challenger", 0.2)]
    assert again.route.revision == 4


def champion_two():
    told = promote(2, champion_one())
    while is_under_way(told):
        told = follow(told, everything_well(told))
    return told


def roll_back_to_one():
    return start_rollback(candidate(1, ALL_AT_ONCE), champion_two(), "rollback", URL, event_ref("request"), "It errs.")


def test_a_rollback_gives_an_earlier_version_all_the_traffic_at_once():
    told = roll_back_to_one()
    assert (told.kind, told.strategy, told.previous) == ("rollback", "all-at-once", registered(2).model)
    assert shares(told) == [("v1", "champion", 1.0)]
    assert (told.approval, told.reason.text) == (event_ref("approval-1"), "It errs.")
    done = follow(told, Observed(live(told.route.revision)), ALL_AT_ONCE)
    assert isinstance(done, RolloutCompleted)


def test_a_rollback_that_fails_goes_back_to_the_champion_it_was_to_replace():
    told = roll_back_to_one()
    aborted = follow(told, Observed(live(told.route.revision), FAILED), ALL_AT_ONCE)
    assert shares(aborted) == [("v2", "champion", 1.0)]


@pytest.mark.parametrize(
    ("code", "wanted", "last", "version", "approval"),
    [
        ("rollout-under-way", 1, promote(1), registered(1), event_ref("a")),
        (None, 1, promote(2, champion_one()), registered(1), event_ref("a")),
        ("no-champion-before", None, champion_one(), None, None),
        ("no-champion-before", None, None, None, None),
        ("no-such-version", 9, champion_one(), None, None),
        ("never-approved", 3, champion_one(), registered(3), None),
        ("champion-already", 1, champion_one(), registered(1), event_ref("a")),
        (None, 1, champion_two(), registered(1), event_ref("a")),
        (None, 3, champion_two(), registered(3), event_ref("a")),
    ],
)
def test_a_rollback_is_judged(code, wanted, last, version, approval):
    refusal = judge_rollback(wanted, last, version, approval)
    assert (refusal.code if refusal else None) == code


@pytest.mark.parametrize(
    ("why", "asked", "last", "wanted"),
    [
        ("it is named", 7, champion_two(), 7),
        ("the present champion replaced it", None, champion_two(), 1),
        ("it is replaced just now", None, promote(3, champion_two()), 2),
        ("nothing is replaced", None, promote(1), None),
        ("it comes back just now", None, roll_back_to_one(), 1),
    ],
)
def test_the_version_that_comes_back_is_the_one_of_which(why, asked, last, wanted):
    assert choose_version(asked, last, before=1) == wanted


def test_a_rollout_is_named_after_the_event_it_rests_on():
    assert rollout_id("/cairn/governance-auditor", "1") == rollout_id("/cairn/governance-auditor", "1")
    assert rollout_id("/cairn/governance-auditor", "1") != rollout_id("/someone", "1")


@given(st.lists(st.floats(0.01, 0.99), max_size=8, unique=True), st.data())
def test_in_every_history_weights_add_up_and_revisions_rise(steps, data):
    plan = Plan(steps=tuple(sorted(steps)), min_requests=10)
    told, revisions = promote(2, champion_one(), plan), []
    while told is not None and is_under_way(told):
        revisions.append(told.route.revision)
        assert sum(arm.weight_ratio for arm in told.route.arms) == pytest.approx(1)
        assert challenger_of(told).model == registered(2).model
        fails = data.draw(st.integers(0, 5)) == 0
        observed = everything_well(told)
        told = follow(told, Observed(observed.live, FAILED if fails else (), Counted(100)), plan)
    assert revisions == list(range(2, 2 + len(revisions)))
    assert champion_of(told).model.version == (1 if isinstance(told, RolloutAborted) else 2)
