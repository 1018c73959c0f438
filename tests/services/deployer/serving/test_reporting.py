import asyncio

from tests.services.deployer.made import LOANS, activated, event_ref
from tests.services.deployer.serving.plane import FakeLog

from cairn.events import ReplicaActivated, ReplicaReported, ReplicaStopped
from deployer.serving.reporting import Account, Reporter, Tally
from deployer.serving.speaking import Ground

GROUND = Ground(event_ref("rollout"), "story")


def reporter_on(log, tally, revisions=None):
    return Reporter("serving-1", "start", log, tally, lambda: revisions or {})


async def until(condition):
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.005)


async def test_a_report_comes_at_the_start_and_then_on_every_change():
    log, tally = FakeLog(), Tally()
    running = asyncio.create_task(reporter_on(log, tally, {LOANS: 3}).run())
    await until(lambda: len(log.told) == 1)
    tally.add(Account(3, LOANS, 1, "v1"), answered=2)
    await until(lambda: len(log.told) == 2)
    running.cancel()
    first, second = log.told
    assert [(one.model, one.route_revision) for one in first.revisions] == [(LOANS, 3)]
    assert first.answers == ()
    assert [(one.arm, one.answered, one.failed) for one in second.answers] == [("v1", 2, 0)]


async def test_many_changes_at_once_are_one_report(monkeypatch):
    monkeypatch.setattr("deployer.serving.reporting.COUNTS_SECONDS", 1.0)
    log, tally = FakeLog(), Tally()
    running = asyncio.create_task(reporter_on(log, tally).run())
    await until(lambda: log.told)
    for _ in range(100):
        tally.add(Account(3, LOANS, 1, "v1"), answered=1)
        await asyncio.sleep(0)
    await until(lambda: len(log.told) > 1)
    running.cancel()
    assert [one.answers[0].answered for one in log.told[1:]] == [100]


async def test_what_is_said_does_not_wait_for_counts(monkeypatch):
    monkeypatch.setattr("deployer.serving.reporting.COUNTS_SECONDS", 60)
    log = FakeLog()
    reporter = reporter_on(log, Tally())
    running = asyncio.create_task(reporter.run())
    await until(lambda: log.told)
    reporter.say(activated(1, 1), GROUND)
    await until(lambda: len(log.told) == 3)
    running.cancel()
    assert [type(one) for one in log.told] == [ReplicaReported, ReplicaActivated, ReplicaReported]


async def test_without_a_change_a_report_comes_all_the_same(monkeypatch):
    monkeypatch.setattr("deployer.serving.reporting.COUNTS_SECONDS", 0.05)
    monkeypatch.setattr("deployer.serving.reporting.REPORT_SECONDS", 0.06)
    log = FakeLog()
    running = asyncio.create_task(reporter_on(log, Tally()).run())
    await until(lambda: len(log.told) == 3)
    running.cancel()


async def test_what_is_said_is_told_before_the_next_report_and_kept_while_the_log_is_away(monkeypatch):
    monkeypatch.setattr("deployer.serving.reporting._RETRY_SECONDS", 0.01)
    log = FakeLog()
    log.away = True
    reporter = reporter_on(log, Tally())
    reporter.say(activated(1, 1), GROUND)
    running = asyncio.create_task(reporter.run())
    await asyncio.sleep(0.05)
    log.away = False
    await until(lambda: len(log.told) == 2)
    running.cancel()
    assert [type(one) for one in log.told] == [ReplicaActivated, ReplicaReported]


async def test_the_last_words_are_a_report_and_a_farewell():
    log = FakeLog()
    await reporter_on(log, Tally()).end()
    assert [type(one) for one in log.told] == [ReplicaReported, ReplicaStopped]


async def test_the_end_does_not_wait_for_a_log_that_is_away():
    log = FakeLog()
    log.away = True
    await reporter_on(log, Tally()).end()
    assert log.told == []


def test_a_report_is_about_each_models_two_latest_routes():
    tally = Tally()
    for revision in range(1, 101):
        for version in (1, 2):
            tally.add(Account(revision, LOANS, version, f"v{version}"), answered=1)
    tally.add(Account(7, "risk.cards", 1, "v1"), answered=1)
    told = [(one.route_revision, one.model, one.version) for one in tally.report()]
    assert told == [(7, "risk.cards", 1), (99, LOANS, 1), (99, LOANS, 2), (100, LOANS, 1), (100, LOANS, 2)]


def test_a_report_of_many_models_fits_into_an_event():
    tally = Tally()
    for n in range(1000):
        tally.add(Account(10**9, f"{n:063}.{n:063}", 10**6, "v1000000"), answered=10**12)
    names = {f"{n:063}.{n:063}": 10**9 for n in range(1000)}
    report = reporter_on(FakeLog(), tally, names)._report()
    assert len(report.model_dump_json()) < 64 * 1024
