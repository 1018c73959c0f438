import asyncio
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.services.deployer.made import LOANS, model_ref, object_ref
from tests.services.deployer.serving.plane import FakeLog

from cairn.events import PredictionsServed
from cairn.events.predictions import Output, PredictionRow, ServedModel
from deployer.serving.journal import Answered, Journal
from deployer.serving.refusals import Refused
from deployer.serving.reporting import Account, Tally

LIMIT = 256 * 1024


def answered(texts, revision=1, version=1, columns=("note",)):
    rows = tuple(
        PredictionRow(
            prediction_id=f"{n}",
            served_at=datetime(2026, 1, 1, tzinfo=UTC),
            arm="v1",
            version=version,
            features=(text,) if isinstance(text, str) else text,
            output=Output(score=0.5, label=1),
            latency_seconds=0.001,
        )
        for n, text in enumerate(texts)
    )
    served = ServedModel(model=model_ref(version), profile=object_ref("profile"))
    return Answered(Account(revision, LOANS, version, f"v{version}"), served, columns, rows)


def journal_on(log):
    return Journal("serving-1", log, Tally())


async def test_a_request_that_fits_into_no_event_is_written_in_several():
    log = FakeLog()
    await journal_on(log).write(answered(["x" * 1000] * 900))
    assert sum(told.answered for told in log.predictions) == 900
    assert len(log.predictions) > 3
    assert max(len(told.model_dump_json(exclude_none=True).encode()) for told in log.predictions) <= 200 * 1024


async def test_a_row_that_is_too_large_to_be_recorded_is_refused():
    row = tuple("x" * 1000 for _ in range(500))
    with pytest.raises(Refused) as refused:
        await journal_on(FakeLog()).write(answered([row], columns=tuple(f"c{n}" for n in range(500))))
    assert refused.value.status == 413


async def test_rows_of_different_routes_or_columns_go_into_different_events():
    log = FakeLog()
    journal = journal_on(log)
    batches = [answered(["a"]), answered(["b"], 2), answered(["c"], 2, 2), answered(["d"], 2, 2, ("other",))]
    await asyncio.gather(*(journal.write(batch) for batch in batches))
    assert [(told.route_revision, told.columns, told.answered) for told in log.predictions] == [
        (1, ("note",), 1),
        (2, ("note",), 2),
        (2, ("other",), 1),
    ]
    assert [one.model.version for one in log.predictions[1].models] == [1, 2]


async def test_when_the_log_is_away_nobody_waits_for_the_next_try():
    log = FakeLog()
    log.away = True
    journal = journal_on(log)
    results = await asyncio.gather(*(journal.write(answered(["a"])) for _ in range(10)), return_exceptions=True)
    assert [getattr(result, "status", None) for result in results] == [503] * 10


async def test_who_has_gone_does_not_disturb_the_others():
    log = FakeLog()
    journal = journal_on(log)
    gone, stays = (asyncio.create_task(journal.write(answered([text]))) for text in ("a", "b"))
    await asyncio.sleep(0)
    gone.cancel()
    await stays
    assert sum(told.answered for told in log.predictions) == 2


@given(st.lists(st.lists(st.integers(0, 3000), min_size=1, max_size=40), min_size=1, max_size=8))
def test_every_row_is_written_once_in_order_and_no_event_is_too_large(requests):
    log = FakeLog()

    async def write_all():
        journal = journal_on(log)
        texts = [
            [f"{n}.{place}." + "x" * min(size, 900) for place, size in enumerate(r)] for n, r in enumerate(requests)
        ]
        await asyncio.gather(*(journal.write(answered(one)) for one in texts))
        return [text for one in texts for text in one]

    texts = asyncio.run(write_all())
    assert [row.features[0] for told in log.predictions for row in told.rows] == texts
    for told in log.predictions:
        assert told.answered == len(told.rows) <= 1000
        assert len(told.model_dump_json(exclude_none=True).encode()) <= LIMIT
        PredictionsServed.model_validate_json(told.model_dump_json())
