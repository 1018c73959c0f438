import random
from datetime import timedelta

import pytest
from tests.services.deployer.made import (
    LOANS,
    activated,
    approved,
    declared,
    failed,
    registered,
    reported,
    stopped,
)

from cairn.events import (
    Heard,
    RequestRefused,
    RollbackRequested,
    RolloutAborted,
    RolloutAdvanced,
    RolloutCompleted,
    RolloutStarted,
    check,
    read,
)
from chassis.digest import combine, digest_tables
from chassis.ledger import Origin
from chassis.processor import sequence_of
from chassis.testing import Actor, World
from chassis.transaction import Place
from deployer.api import describe_rollouts, describe_routes
from deployer.app import build
from deployer.settings import Settings
from deployer.store import DeployerTable


def new_deployer(tmp_path) -> Actor:
    return World(tmp_path).add(build(Settings.model_construct(serving_url="http://127.0.0.1:8710")))


@pytest.fixture
def deployer(tmp_path) -> Actor:
    return new_deployer(tmp_path)


@pytest.fixture
def live(deployer) -> Actor:
    """Version 1 has all the traffic, on route 1."""
    deployer.hear(declared(steps=(0.2,), min_requests=10), registered(1), approved(1), activated(1, 1))
    deployer.relay()
    return deployer


def kinds(told) -> list[str]:
    return [type(one).__name__ for one in told]


@pytest.mark.parametrize("order", [(0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)])
def test_a_rollout_starts_whichever_of_its_grounds_comes_last(deployer, order):
    grounds = [declared(), registered(1), approved(1)]
    told = [deployer.hear(grounds[n]) for n in order]
    assert [kinds(one) for one in told] == [[], [], ["RolloutStarted"]]


def test_a_rollout_has_the_same_name_whichever_of_its_grounds_comes_last(tmp_path):
    names = set()
    grounds = [(declared(), "declared"), (registered(1), "registered"), (approved(1), "approved")]
    for order in (grounds, grounds[::-1]):
        deployer = new_deployer(tmp_path)
        told = [one for facts, event_id in order for one in deployer.hear(facts, id=event_id)]
        names |= {one.rollout_id for one in told}
    assert len(names) == 1


def test_the_endpoint_is_where_the_serving_processes_answer(live):
    assert describe_routes(live.database)[0]["endpoint"] == f"http://127.0.0.1:8710/v2/models/{LOANS}"


def test_an_approval_of_other_bytes_than_the_registered_ones_starts_nothing(deployer):
    deployer.hear(declared(), registered(1))
    other = approved(1).model_copy(update={"model": registered(2).model.model_copy(update={"version": 1})})
    assert deployer.hear(other) == []


def test_a_canary_goes_from_its_first_share_to_all_the_traffic(live):
    live.hear(registered(2))
    (started,) = live.hear(approved(2))
    assert isinstance(started, RolloutStarted)
    assert (started.route.revision, started.previous) == (2, registered(1).model)
    assert live.hear(activated(2, 2)) == []
    assert live.hear(reported({LOANS: 2}, ((1, 2, 50), (2, 2, 9)))) == []
    (advanced,) = live.hear(reported({LOANS: 2}, ((1, 2, 50), (2, 2, 10))))
    assert isinstance(advanced, RolloutAdvanced)
    assert advanced.route.revision == 3
    (completed,) = live.hear(activated(2, 3))
    assert isinstance(completed, RolloutCompleted)
    assert completed.route == advanced.route


def test_answers_under_an_earlier_route_or_by_the_champion_do_not_count(live):
    live.hear(registered(2), approved(2), activated(2, 2))
    assert live.hear(reported({LOANS: 2}, ((2, 1, 50), (1, 2, 50), (2, 2, 9)))) == []


def test_answers_of_all_replicas_and_of_ended_ones_add_up(live):
    live.hear(registered(2), approved(2), activated(2, 2), activated(2, 2, "serving-2"))
    assert live.hear(reported({LOANS: 2}, ((2, 2, 4),))) == []
    assert live.hear(reported({LOANS: 2}, ((2, 2, 4),), "serving-2")) == []
    assert live.hear(stopped("serving-2")) == []
    (told,) = live.hear(reported({LOANS: 2}, ((2, 2, 6),)))
    assert isinstance(told, RolloutAdvanced)


def test_a_live_replica_that_is_behind_holds_a_step_back(live):
    live.hear(reported({LOANS: 1}, (), "serving-2"), registered(2), approved(2))
    assert live.hear(reported({LOANS: 2}, ((2, 2, 10),))) == []
    assert kinds(live.hear(activated(2, 2, "serving-2"))) == ["RolloutAdvanced"]


def test_a_replica_that_was_not_heard_from_for_ten_seconds_does_not_count(live):
    live.hear(reported({LOANS: 1}, (), "serving-2"), registered(2), approved(2))
    live.world.now += timedelta(seconds=9)
    assert live.hear(reported({LOANS: 2}, ((2, 2, 10),))) == []
    live.world.now += timedelta(seconds=2)
    assert kinds(live.hear(reported({LOANS: 2}, ((2, 2, 10),)))) == ["RolloutAdvanced"]


def test_a_replica_that_stopped_no_longer_holds_a_step_back(live):
    live.hear(reported({LOANS: 1}, (), "serving-2"), registered(2), approved(2))
    assert live.hear(reported({LOANS: 2}, ((2, 2, 10),))) == []
    assert kinds(live.hear(stopped("serving-2"))) == ["RolloutAdvanced"]


def test_a_new_start_replaces_the_one_before_and_a_late_stop_of_that_one_changes_nothing(live):
    live.hear(registered(2), approved(2), activated(2, 2))
    assert live.hear(reported({LOANS: 1}, (), start="b")) == []
    assert live.hear(reported({LOANS: 2}, ((2, 2, 10),), start="a")) == []
    assert live.hear(stopped(start="a")) == []
    assert kinds(live.hear(activated(2, 2, start="b"))) == ["RolloutAdvanced"]


def test_with_no_live_replica_nothing_advances(live):
    live.hear(registered(2), approved(2))
    assert live.hear(reported({LOANS: 2}, ((2, 2, 9),))) == []
    assert live.hear(stopped()) == []


def test_a_failing_replica_aborts_and_the_champion_has_all_the_traffic_again(live):
    live.hear(registered(2), approved(2))
    (told,) = live.hear(failed(2, 2))
    assert isinstance(told, RolloutAborted)
    assert [(arm.name, arm.weight_ratio) for arm in told.route.arms] == [("v1", 1.0)]
    assert told.route.revision == 3
    assert live.hear(failed(2, 2, "serving-2"), reported({LOANS: 3})) == []


def test_a_canary_that_only_fails_is_aborted_and_the_champion_has_all_the_traffic_again(live):
    live.hear(registered(2), approved(2), activated(2, 2))
    assert live.hear(reported({LOANS: 2}, ((1, 2, 40), (2, 2, 0, 9)))) == []
    (told,) = live.hear(reported({LOANS: 2}, ((1, 2, 44), (2, 2, 0, 10))))
    assert isinstance(told, RolloutAborted)
    assert [(arm.name, arm.weight_ratio) for arm in told.route.arms] == [("v1", 1.0)]
    (check,) = told.checks
    assert (check.name, check.measured, check.passed) == ("requests-failed", "10 of 10 failed; of v1, 0 of 44", False)
    assert told.reason.code == "requests-failed"


def test_failures_of_all_replicas_add_up(live):
    live.hear(registered(2), approved(2), activated(2, 2), activated(2, 2, "serving-2"))
    assert live.hear(reported({LOANS: 2}, ((2, 2, 0, 5),))) == []
    assert kinds(live.hear(reported({LOANS: 2}, ((2, 2, 0, 5),), "serving-2"))) == ["RolloutAborted"]


def test_a_replica_that_lives_but_never_follows_the_route_ends_the_rollout(live):
    live.hear(registered(2), approved(2))
    live.world.now += timedelta(minutes=9)
    assert live.hear(reported({LOANS: 1})) == []
    live.world.now += timedelta(minutes=2)
    (told,) = live.hear(reported({LOANS: 1}))
    assert isinstance(told, RolloutAborted)
    assert told.reason.code == "replicas-late"


def test_a_replica_that_has_only_just_started_is_not_late(live):
    live.hear(registered(2), approved(2))
    live.world.now += timedelta(hours=1)
    assert live.hear(reported({}, (), start="b")) == []
    assert live.hear(reported({LOANS: 2}, ((2, 2, 9),), start="b")) == []
    assert kinds(live.hear(reported({LOANS: 2}, ((2, 2, 10),), start="b"))) == ["RolloutAdvanced"]


def test_a_failure_under_a_route_that_is_no_rollouts_changes_nothing(live):
    assert live.hear(failed(1, 1)) == []


def test_a_later_approval_waits_and_the_newest_of_those_that_wait_is_next(live):
    live.hear(registered(2), registered(3), registered(4))
    assert kinds(live.hear(approved(2), approved(3), approved(4))) == ["RolloutStarted"]
    aborted, started = live.hear(failed(2, 2))
    assert (aborted.model.version, started.model.version) == (2, 4)
    assert (aborted.route.revision, started.route.revision) == (3, 4)
    assert kinds(live.hear(failed(4, 4))) == ["RolloutAborted"]
    assert live.hear(reported({LOANS: 5})) == []


def test_what_waits_follows_a_completed_rollout_and_replaces_its_version(live):
    live.hear(registered(2), registered(3), approved(2), approved(3), activated(2, 2))
    live.hear(reported({LOANS: 2}, ((2, 2, 10),)))
    completed, started = live.hear(activated(2, 3))
    assert isinstance(completed, RolloutCompleted)
    assert (started.model.version, started.previous.version) == (3, 2)
    assert [(arm.name, arm.weight_ratio) for arm in started.route.arms] == [("v2", 0.8), ("v3", 0.2)]


def test_one_report_moves_one_model_on_and_the_next_report_the_next(live):
    other = "risk.cards"
    live.hear(declared(other), registered(1, other), approved(1, other), registered(2), approved(2))
    both = reported({LOANS: 2, other: 1}, ((2, 2, 10),))
    assert kinds(live.hear(both) + live.hear(both)) == ["RolloutCompleted", "RolloutAdvanced"]


@pytest.fixture
def two(live) -> Actor:
    """Version 2 has all the traffic, on route 3; version 1 had it before."""
    live.hear(registered(2), approved(2), activated(2, 2), reported({LOANS: 2}, ((2, 2, 10),)), activated(2, 3))
    return live


def test_a_rollback_brings_the_champion_before_this_one_back(two):
    (told,) = two.hear(RollbackRequested(model=LOANS, reason="Complaints since noon."))
    assert isinstance(told, RolloutStarted)
    assert (told.kind, told.model.version, told.strategy) == ("rollback", 1, "all-at-once")
    assert (told.previous.version, told.route.revision) == (2, 4)
    assert told.approval.type == "cairn.promotion.approved.v1"
    assert told.reason.text == "Complaints since noon."
    assert kinds(two.hear(activated(1, 4))) == ["RolloutCompleted"]


def test_after_a_rollback_the_champion_before_is_not_the_one_that_was_rolled_back(two):
    two.hear(RollbackRequested(model=LOANS), activated(1, 4))
    (told,) = two.hear(RollbackRequested(model=LOANS))
    assert told.reason.code == "no-champion-before"


def test_a_version_that_was_rolled_back_comes_back_by_name(two):
    two.hear(RollbackRequested(model=LOANS), activated(1, 4))
    (told,) = two.hear(RollbackRequested(model=LOANS, version=2))
    assert (told.model.version, told.previous.version) == (2, 1)


def test_a_rollback_is_not_undone_by_an_approval_that_was_there_before(two):
    assert two.hear(approved(2)) == []
    two.hear(RollbackRequested(model=LOANS))
    assert kinds(two.hear(activated(1, 4))) == ["RolloutCompleted"]


@pytest.mark.parametrize(
    ("version", "code"), [(9, "no-such-version"), (3, "never-approved"), (2, "champion-already"), (1, None)]
)
def test_a_rollback_is_granted_or_refused_by_name(two, version, code):
    two.hear(registered(3))
    (told,) = two.hear(RollbackRequested(model=LOANS, version=version))
    assert (told.reason.code if isinstance(told, RequestRefused) else None) == code


def test_a_rollback_while_a_version_is_rolled_out_calls_it_off_and_brings_the_champion_back(two):
    two.hear(registered(3), approved(3))
    aborted, started = two.hear(RollbackRequested(model=LOANS, reason="It errs."))
    assert isinstance(aborted, RolloutAborted)
    assert (aborted.model.version, aborted.reason.code, aborted.route.revision) == (3, "rollback-requested", 5)
    assert isinstance(started, RolloutStarted)
    assert (started.kind, started.model.version, started.route.revision) == ("rollback", 2, 6)
    assert [(arm.name, arm.weight_ratio) for arm in started.route.arms] == [("v2", 1.0)]
    assert kinds(two.hear(activated(2, 6))) == ["RolloutCompleted"]


def test_a_rollback_by_name_while_a_version_is_rolled_out_brings_the_named_one_back(two):
    two.hear(registered(3), approved(3))
    aborted, started = two.hear(RollbackRequested(model=LOANS, version=1))
    assert (aborted.model.version, started.model.version, started.previous.version) == (3, 1, 2)


def test_a_first_version_that_is_rolled_out_cannot_be_rolled_back(deployer):
    deployer.hear(declared(), registered(1), approved(1))
    (told,) = deployer.hear(RollbackRequested(model=LOANS))
    assert told.reason.code == "no-champion-before"
    assert kinds(deployer.hear(activated(1, 1))) == ["RolloutCompleted"]


@pytest.mark.parametrize("version", [None, 1])
def test_a_rollback_that_is_asked_for_twice_is_not_turned_round(two, version):
    two.hear(RollbackRequested(model=LOANS))
    (told,) = two.hear(RollbackRequested(model=LOANS, version=version))
    assert told.reason.code == "rollout-under-way"
    assert kinds(two.hear(activated(1, 4))) == ["RolloutCompleted"]


def test_what_waits_does_not_come_between_a_rollback_and_the_rollout_that_it_calls_off(two):
    two.hear(registered(3), approved(3), registered(4), approved(4))
    assert kinds(two.hear(RollbackRequested(model=LOANS))) == ["RolloutAborted", "RolloutStarted"]
    (_, started) = two.hear(activated(2, 6))
    assert (started.kind, started.model.version) == ("promotion", 4)


def test_a_rollback_of_an_unknown_model_is_refused(deployer):
    (told,) = deployer.hear(RollbackRequested(model="nobody.knows"))
    assert told.reason.code == "no-champion-before"


def test_routes_and_rollouts_can_be_read(two):
    (route,) = describe_routes(two.database)
    assert (route["model"], route["revision"], route["stage"]) == (LOANS, 3, "completed")
    assert route["arms"] == [{"name": "v2", "role": "champion", "version": 2, "weight_ratio": 1.0}]
    assert [one["version"] for one in describe_rollouts(two.database, LOANS)] == [2, 1]
    assert describe_rollouts(two.database, "other") == []


@pytest.mark.parametrize("seed", range(5))
def test_a_store_made_from_the_log_in_any_order_of_its_partitions_is_the_same(two, tmp_path, seed):
    two.hear(RollbackRequested(model=LOANS), failed(1, 4), stopped(), reported({LOANS: 5}, ((2, 5, 3),), start="b"))
    two.relay()
    fresh = two.world.add(two.definition)
    project_shuffled(two, fresh, random.Random(seed))
    assert tables_of(fresh) == tables_of(two)
    assert len(two.world.told()) > 15


def project_shuffled(actor: Actor, fresh: Actor, chance: random.Random) -> None:
    """What a rebuild does, with the partitions interleaved by chance."""
    left = [list(records) for _, records in sorted(actor.world.log.items())]
    while left:
        records = chance.choice(left)
        record = records.pop(0)
        left = [one for one in left if one]
        heard = check(read(record), actor.world.installation, actor.world.trust)
        assert isinstance(heard, Heard)
        mine = record.topic == "deployment"
        place = None if mine else Place(record.topic, record.partition, record.offset)
        with fresh.database.begin() as session:
            origin, sequence = Origin.of(heard.message), sequence_of(heard.message)
            fresh.processor.project(session, heard.facts, origin, sequence, place)


def tables_of(actor: Actor) -> str:
    return combine(digest_tables(actor.database, DeployerTable.metadata))
