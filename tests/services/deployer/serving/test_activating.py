import asyncio

import pytest
from tests.services.deployer.made import LOANS, event_ref, model_ref
from tests.services.deployer.serving.plane import SCHEMA, FakeLog, FakeScorer, arm_of

from cairn.children import ChildDied
from cairn.events import ReplicaActivated, ReplicaFailed, RolloutAborted, RolloutCompleted, RolloutStarted
from cairn.events.values import Reason, Route
from cairn.objects import StoreUnreachable
from deployer.serving.activating import Activator, Loaded
from deployer.serving.packages import PackageUnusable
from deployer.serving.refusals import NotNow
from deployer.serving.reporting import Reporter, Tally
from deployer.serving.routing import RouteTable
from deployer.serving.speaking import Ground

GROUND = Ground(event_ref("rollout"), "story")


def told(revision, *arms, version=None, kind=RolloutStarted):
    return kind(
        rollout_id="rollout",
        kind="promotion",
        model=model_ref(version or arms[-1].model.version),
        strategy="canary",
        step=0,
        route=Route(revision=revision, arms=arms),
        endpoint="http://127.0.0.1:8710",
        approval=event_ref("approval"),
        reason=Reason(code="approved", text="Approved."),
    )


class Replica:
    """An activator with a loader that the test commands."""

    def __init__(self):
        self.table, self.log, self.loaded, self.errors = RouteTable(), FakeLog(), {}, []
        self.reporter = Reporter("serving-1", "start", self.log, Tally(), self.table.revisions)
        self.activator = Activator("serving-1", "start", self.table, self.load, self.reporter)
        self.gate = asyncio.Event()
        self.gate.set()

    async def load(self, arm):
        await self.gate.wait()
        if self.errors:
            raise self.errors.pop(0)
        self.loaded.setdefault(arm.name, []).append(scorer := FakeScorer())
        return Loaded(SCHEMA, scorer)

    async def hear(self, *events):
        for event in events:
            self.activator.take(event, GROUND)
        await asyncio.gather(*self.activator._tasks.values())

    def said(self):
        return [(type(one.facts), one.facts.route_revision, one.facts.model.version) for one in self.reporter._queued]

    def arms(self):
        return [(live.arm.name, live.arm.weight_ratio) for live in self.table.route(LOANS).arms]


@pytest.fixture
async def replica():
    replica = Replica()
    await replica.activator.go()
    return replica


async def test_at_its_start_a_replica_takes_only_the_latest_route_over():
    replica = Replica()
    for event in (told(1, arm_of(1)), told(2, arm_of(2)), told(3, arm_of(3)), told(2, arm_of(2))):
        replica.activator.take(event, GROUND)
    assert replica.loaded == {}
    await replica.activator.go()
    assert list(replica.loaded) == ["v3"]
    assert replica.said() == [(ReplicaActivated, 3, 3)]


async def test_a_new_route_is_loaded_told_and_followed(replica):
    await replica.hear(told(1, arm_of(1)))
    await replica.hear(told(2, arm_of(1, 0.8), arm_of(2, 0.2, "challenger")))
    assert replica.arms() == [("v1", 0.8), ("v2", 0.2)]
    assert replica.said() == [(ReplicaActivated, 1, 1), (ReplicaActivated, 2, 2)]


async def test_what_is_loaded_is_not_loaded_again_and_what_is_not_needed_is_let_go(replica):
    await replica.hear(told(1, arm_of(1)))
    await replica.hear(told(2, arm_of(1, 0.8), arm_of(2, 0.2, "challenger")))
    await replica.hear(told(3, arm_of(2)))
    await asyncio.sleep(0)
    assert {name: [scorer.closed for scorer in scorers] for name, scorers in replica.loaded.items()} == {
        "v1": [True],
        "v2": [False],
    }


async def test_a_route_that_is_as_old_or_older_changes_nothing(replica):
    await replica.hear(told(5, arm_of(1)))
    await replica.hear(told(5, arm_of(1), kind=RolloutCompleted), told(4, arm_of(2)))
    assert replica.arms() == [("v1", 1.0)]
    assert replica.said() == [(ReplicaActivated, 5, 1)]


@pytest.mark.parametrize(
    ("error", "code"),
    [(PackageUnusable("bad", "It is bad."), "bad"), (ZeroDivisionError(), "load-failed")],
)
async def test_a_route_that_cannot_be_loaded_is_told_and_the_one_before_stays(replica, error, code):
    await replica.hear(told(1, arm_of(1)))
    replica.errors = [error]
    await replica.hear(told(2, arm_of(1, 0.8), arm_of(2, 0.2, "challenger")))
    assert replica.arms() == [("v1", 1.0)]
    assert replica.said()[1:] == [(ReplicaFailed, 2, 2)]
    assert replica.reporter._queued[1].facts.reason.code == code
    await replica.hear(told(3, arm_of(1), version=2, kind=RolloutAborted))
    assert replica.said()[2:] == [(ReplicaActivated, 3, 1)]


PASSING = [(StoreUnreachable("away"), "store-unreachable"), (ChildDied("killed"), "child-died")]


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr("deployer.serving.activating._SHORTEST_PAUSE_SECONDS", 0)
    monkeypatch.setattr("deployer.serving.activating.PATIENCE_SECONDS", 0)


@pytest.mark.parametrize(("error", "_code"), PASSING)
async def test_what_may_pass_is_waited_for(replica, monkeypatch, error, _code):
    monkeypatch.setattr("deployer.serving.activating._SHORTEST_PAUSE_SECONDS", 0)
    replica.errors = [error] * 3
    await replica.hear(told(1, arm_of(1)))
    assert replica.said() == [(ReplicaActivated, 1, 1)]


@pytest.mark.parametrize(("error", "code"), PASSING)
async def test_what_does_not_pass_for_long_is_told_once_and_waited_for_still(replica, impatient, error, code):
    replica.errors = [error] * 3
    await replica.hear(told(1, arm_of(1)))
    assert replica.said() == [(ReplicaFailed, 1, 1), (ReplicaActivated, 1, 1)]
    assert replica.reporter._queued[0].facts.reason.code == code


async def test_a_start_lasts_until_a_model_that_could_not_be_loaded_at_first_is(monkeypatch):
    monkeypatch.setattr("deployer.serving.activating._SHORTEST_PAUSE_SECONDS", 0.02)
    replica = Replica()
    replica.errors = [ChildDied("killed")]
    replica.activator.take(told(1, arm_of(1)), GROUND)
    going = asyncio.create_task(replica.activator.go())
    while replica.errors:
        await asyncio.sleep(0)
    assert not going.done()
    await going
    assert replica.arms() == [("v1", 1.0)]


async def test_a_start_ends_when_a_model_that_cannot_be_loaded_was_told(impatient, monkeypatch):
    monkeypatch.setattr("deployer.serving.activating._SHORTEST_PAUSE_SECONDS", 60)
    replica = Replica()
    replica.errors = [ChildDied("killed")]
    replica.activator.take(told(1, arm_of(1)), GROUND)
    await replica.activator.go()
    assert replica.said() == [(ReplicaFailed, 1, 1)]
    with pytest.raises(NotNow):
        replica.table.route(LOANS)
    await replica.activator.close()


async def test_a_new_route_does_not_wait_for_the_pause_after_a_failure_of_the_one_before(replica, monkeypatch):
    monkeypatch.setattr("deployer.serving.activating._SHORTEST_PAUSE_SECONDS", 60)
    replica.errors = [StoreUnreachable("away")]
    replica.activator.take(told(1, arm_of(1)), GROUND)
    while replica.errors:
        await asyncio.sleep(0)
    await replica.hear(told(2, arm_of(2)))
    assert replica.arms() == [("v2", 1.0)]


async def test_a_route_that_comes_while_another_is_loaded_is_taken_over_after_it(replica):
    replica.gate.clear()
    replica.activator.take(told(1, arm_of(1)), GROUND)
    await asyncio.sleep(0)
    replica.activator.take(told(2, arm_of(2)), GROUND)
    replica.gate.set()
    await replica.hear()
    assert replica.arms() == [("v2", 1.0)]
    assert replica.said()[-1] == (ReplicaActivated, 2, 2)


async def test_a_route_without_traffic_is_followed_and_nothing_is_loaded(replica):
    await replica.hear(told(2, arm_of(1, 0.0, "challenger"), kind=RolloutAborted))
    assert (replica.loaded, replica.said(), replica.table.revisions()) == ({}, [], {LOANS: 2})


async def test_a_shadow_is_not_loaded(replica):
    await replica.hear(told(2, arm_of(1), arm_of(2, 1.0, "shadow"), version=1))
    assert list(replica.loaded) == ["v1"]


async def test_at_the_end_every_model_is_let_go(replica):
    await replica.hear(told(1, arm_of(1, 0.5), arm_of(2, 0.5, "challenger")))
    await replica.activator.close()
    assert all(scorer.closed for scorers in replica.loaded.values() for scorer in scorers)
