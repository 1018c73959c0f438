import asyncio

import pytest
from tests.services.deployer.made import LOANS
from tests.services.deployer.serving.plane import INPUTS, FakeScorer, Plane, arm_of, tensors

from deployer.serving.refusals import NotNow, Refused
from deployer.serving.reporting import Account

INFER = f"/v2/models/{LOANS}/infer"


@pytest.fixture
def plane() -> Plane:
    plane = Plane()
    plane.route(3, {1: 1.0})
    return plane


async def test_an_answer_has_score_label_and_prediction_id_and_names_its_route(plane):
    answer = await plane.infer({name: cells * 2 for name, cells in INPUTS.items()} | {"amount": [100.0, 900.0]})
    assert answer.status == 200
    assert answer.output("score") == [0.1, 0.9]
    assert answer.output("label") == [0, 1]
    assert len(set(answer.output("prediction_id"))) == 2
    assert (answer.body["model_name"], answer.body["model_version"]) == (LOANS, "1")
    assert answer.body["parameters"] == {"route_revision": 3, "arm": "v1"}
    assert answer.headers["cairn-route-revision"] == "3"


async def test_an_answer_is_in_the_log_before_it_is_given(plane):
    answer = await plane.infer(INPUTS, id="app-1", parameters={"entity": "customer-1"})
    (told,) = plane.log.predictions
    (row,) = told.rows
    assert answer.body["id"] == "app-1"
    assert [row.prediction_id] == answer.output("prediction_id")
    assert (row.request_id, row.entity, row.arm, row.version) == ("app-1", "customer-1", "v1", 1)
    assert (told.columns, row.features) == (("amount", "months", "purpose", "first"), (100.5, 12, "car", True))
    assert (row.output.score, row.output.label) == (0.1005, 0)
    assert (told.route_revision, told.answered, told.models[0].model) == (3, 1, arm_of(1).model)


async def test_without_the_log_there_is_no_answer(plane):
    plane.log.away = True
    answer = await plane.infer(INPUTS)
    assert (answer.status, list(answer.body)) == (503, ["error"])
    assert plane.tally.failed == {Account(3, LOANS, 1, "v1"): 1}
    assert plane.tally.answered == {Account(3, LOANS, 1, "v1"): 0}
    plane.log.away = False
    await plane.infer(INPUTS)
    assert [(told.answered, told.failed) for told in plane.log.predictions] == [(1, 1)]


async def test_answers_are_counted_by_version_arm_and_route(plane):
    await plane.infer(INPUTS)
    plane.route(4, {1: 1.0})
    await plane.infer({name: cells * 3 for name, cells in INPUTS.items()})
    assert plane.tally.answered == {Account(3, LOANS, 1, "v1"): 1, Account(4, LOANS, 1, "v1"): 3}


async def test_only_the_outputs_that_are_asked_for_are_given(plane):
    answer = await plane.infer(INPUTS, outputs=[{"name": "label"}])
    assert [tensor["name"] for tensor in answer.body["outputs"]] == ["label"]


@pytest.mark.parametrize(
    ("status", "path", "content", "headers"),
    [
        (404, "/v2/models/nobody.knows/infer", {"inputs": tensors(INPUTS)}, {}),
        (404, f"/v2/models/{LOANS}/versions/9/infer", {"inputs": tensors(INPUTS)}, {}),
        (404, f"/v2/models/{LOANS}/versions/infer", {"inputs": tensors(INPUTS)}, {}),
        (404, "/v2/models/infer", {"inputs": tensors(INPUTS)}, {}),
        (415, INFER, b"<xml/>", {"content-type": "application/xml"}),
        (415, INFER, b"", {"content-encoding": "gzip"}),
        (415, INFER, b"", {"inference-header-content-length": "5"}),
        (400, INFER, b"{", {}),
        (413, INFER, b"{}", {"content-length": str(5 * 1024 * 1024)}),
        (413, INFER, b" " * (4 * 1024 * 1024 + 1), {}),
        (422, INFER, {"inputs": tensors({"amount": [1.0]})}, {}),
        (422, INFER, {"inputs": tensors({**INPUTS, "colour": ["red"]})}, {}),
        (422, INFER, {"inputs": tensors({**INPUTS, "amount": ["1"]})}, {}),
        (422, INFER, {"inputs": tensors({**INPUTS, "amount": [float("nan")]})}, {}),
        (422, INFER, {"inputs": tensors({name: [] for name in INPUTS})}, {}),
        (413, INFER, {"inputs": tensors({name: cells * 1001 for name, cells in INPUTS.items()})}, {}),
    ],
)
async def test_what_cannot_be_answered_says_why(plane, status, path, content, headers):
    answer = await plane.post(path, content, headers)
    assert (answer.status, list(answer.body)) == (status, ["error"])
    assert plane.log.told == []


async def test_bad_input_names_the_feature_and_is_counted(plane):
    answer = await plane.infer({**INPUTS, "amount": ["much"]})
    assert "amount: must be a finite number; row 0 is 'much'" in answer.body["error"]
    await plane.post(INFER, b"{")
    await plane.infer(INPUTS)
    assert [(told.answered, told.rejected) for told in plane.log.predictions] == [(1, 2)]


async def test_counts_that_no_prediction_takes_along_are_told_alone(plane):
    await plane.post(INFER, b"{")
    await plane.journal.close()
    (told,) = plane.log.predictions
    assert (told.rows, told.answered, told.rejected, told.route_revision) == ((), 0, 1, 3)


async def test_a_named_version_answers_whatever_its_weight(plane):
    plane.route(4, {1: 0.999, 2: 0.001})
    content = {"inputs": tensors(INPUTS)}
    answers = [await plane.post(f"/v2/models/{LOANS}/versions/2/infer", content) for _ in range(5)]
    assert [answer.body["model_version"] for answer in answers] == ["2"] * 5


async def test_requests_are_divided_by_the_weights_and_each_goes_to_one_arm_whole(plane):
    plane.route(4, {1: 0.8, 2: 0.2})
    versions = [(await plane.infer({n: c * 2 for n, c in INPUTS.items()})).body["model_version"] for _ in range(500)]
    assert 60 <= versions.count("2") <= 140
    assert {len({row.arm for row in told.rows}) for told in plane.log.predictions} == {1}


async def test_the_arm_follows_from_the_prediction_id_alone(plane):
    plane.route(4, {1: 0.5, 2: 0.5})
    for _ in range(50):
        answer = await plane.infer(INPUTS)
        picked = plane.table.route(LOANS).pick(answer.output("prediction_id")[0])
        assert picked.arm.name == answer.body["parameters"]["arm"]


async def test_a_model_without_traffic_is_a_conflict(plane):
    plane.route(4, {})
    assert (await plane.infer(INPUTS)).status == 409


async def test_before_it_is_ready_a_replica_says_so(plane):
    plane.table.tried = False
    plane.table.routes.clear()
    assert (await plane.infer(INPUTS)).status == 503
    assert (await plane.get("/readyz")).status == 503
    assert (await plane.get("/v2/health/ready")).status == 503
    assert (await plane.get("/v2/health/live")).status == 200


async def test_a_replica_that_may_have_missed_a_route_is_not_ready_and_answers_all_the_same(plane):
    plane.table.current = False
    assert (await plane.get("/readyz")).status == 503
    assert (await plane.infer(INPUTS)).status == 200


@pytest.mark.parametrize("path", ["", "/ready", "/infer"])
async def test_a_model_that_has_a_route_but_is_not_loaded_is_to_be_asked_for_again(plane, path):
    plane.table.known.add("risk.cards")
    call = plane.infer(INPUTS, "risk.cards") if path == "/infer" else plane.get(f"/v2/models/risk.cards{path}")
    answer = await call
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")


@pytest.mark.parametrize(("error", "status"), [(NotNow("busy"), 503), (Refused(422, "strange"), 422)])
async def test_what_the_model_refuses_is_passed_on_and_counted(plane, error, status):
    plane.route(4, {1: 1.0}, FakeScorer(error))
    assert (await plane.infer(INPUTS)).status == status
    await plane.journal.close()
    (told,) = plane.log.predictions
    assert (told.failed, told.rejected) == ((1, 0) if status == 503 else (0, 1))


async def test_an_unforeseen_error_is_the_servers_own(plane):
    plane.route(4, {1: 1.0}, FakeScorer(ZeroDivisionError()))
    answer = await plane.infer(INPUTS)
    assert (answer.status, list(answer.body)) == (500, ["error"])
    assert plane.tally.failed == {Account(4, LOANS, 1, "v1"): 1}


@pytest.mark.parametrize(
    "path",
    [
        "/v2",
        "/v2/health/live",
        "/v2/health/ready",
        f"/v2/models/{LOANS}",
        f"/v2/models/{LOANS}/ready",
        f"/v2/models/{LOANS}/versions/1",
        f"/v2/models/{LOANS}/versions/1/ready",
        "/healthz",
        "/readyz",
        "/metrics",
    ],
)
async def test_what_can_be_read(plane, path):
    assert (await plane.get(path)).status == 200


@pytest.mark.parametrize(
    ("status", "path", "method"),
    [
        (404, "/", "GET"),
        (404, "/v2/models", "GET"),
        (404, "/v2/models/nobody.knows/ready", "GET"),
        (404, "/v2/repository/index", "GET"),
        (405, "/v2", "POST"),
        (405, INFER, "GET"),
    ],
)
async def test_what_cannot_be_read(plane, status, path, method):
    answer = await plane.get(path, method)
    assert (answer.status, list(answer.body)) == (status, ["error"])


async def test_requests_that_come_while_an_event_is_on_its_way_go_into_the_next(plane):
    on_its_way, go_on = asyncio.Event(), asyncio.Event()
    tell = plane.log.__call__

    async def slow(facts, ground=None, event_id=""):
        on_its_way.set()
        await go_on.wait()
        await tell(facts)

    plane.journal._tell = slow
    first = asyncio.create_task(plane.infer(INPUTS))
    await on_its_way.wait()
    others = [asyncio.create_task(plane.infer(INPUTS)) for _ in range(20)]
    while len(plane.journal._lanes[LOANS].waiting) < 20:
        await asyncio.sleep(0)
    assert not first.done()
    go_on.set()
    answers = await asyncio.gather(first, *others)
    assert {answer.status for answer in answers} == {200}
    assert [told.answered for told in plane.log.predictions] == [1, 20]
