"""`POST /events` at a real port, before a real Kafka."""

import asyncio
import json
from datetime import datetime

import pytest
from cloudevents.core.bindings.http import to_binary_event, to_structured_event
from cloudevents.core.v1.event import CloudEvent
from tests.services.gateway.conftest import Entrance, standing, token
from tests.services.gateway.samples import BATCH, SECRET, event, observed, published

from cairn.local import LocalKafka
from gateway.api import reading
from gateway.api.reading import MOST_BODY_BYTES
from gateway.domain import Configuration, Rate


def errors(response) -> dict[str, str]:
    """Each named place with what is wrong there."""
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert problem["status"] == response.status_code
    return {one.get("pointer") or one["header"]: one["detail"] for one in problem["errors"]}


FILE = published().files[0].model_dump(mode="json")


async def test_an_event_is_answered_with_its_id_and_place_and_is_in_kafka(entrance: Entrance):
    response = await entrance.post(event("first"))
    assert response.status_code == 202, response.text
    (said,) = response.json()["events"]
    (record,) = await entrance.taken()
    assert said == {"id": "first", "source": "/warehouse/loans"} | {
        "topic": record.topic, "partition": record.partition, "offset": record.offset
    }  # fmt: skip


async def test_every_reader_believes_it_and_the_source_stays_the_callers(entrance: Entrance):
    await entrance.post(event("first", correlationid="story", traceparent="00-1-2-01", region="eu", urgent=True))
    (heard,) = await entrance.heard()
    envelope = heard.message.envelope
    assert heard.signed
    assert heard.facts == published()
    assert (envelope.source, envelope.id) == ("/warehouse/loans", "first")
    assert (envelope.principal, envelope.keyid) == ("system/warehouse", "gateway")
    assert (envelope.subject, envelope.correlationid) == ("dataset/risk.loans", "story")
    assert {("region", "eu"), ("urgent", "true")} <= set(heard.message.attributes)


async def test_a_batch_is_answered_once_all_of_it_is_in_kafka_in_its_order(entrance: Entrance):
    models = [f"model-{n % 7}" for n in range(300)]
    batch = [event(str(n), observed(model)) for n, model in enumerate(models)]
    response = await entrance.post(batch, BATCH)
    assert response.status_code == 202
    assert [one["id"] for one in response.json()["events"]] == [str(n) for n in range(300)]
    heard = await entrance.heard()
    assert len(heard) == 300
    for partition in range(4):
        ids = [int(one.message.envelope.id) for one in heard if one.message.record.partition == partition]
        assert ids == sorted(ids)
    places = {one["id"]: (one["topic"], one["partition"], one["offset"]) for one in response.json()["events"]}
    records = {one.message.envelope.id: one.message.record for one in heard}
    assert places == {name: (one.topic, one.partition, one.offset) for name, one in records.items()}


async def test_many_requests_at_once_are_each_answered_with_their_own_places(entrance: Entrance):
    answers = await asyncio.gather(*(entrance.post(event(str(n), observed())) for n in range(60)))
    said = [answer.json()["events"][0] for answer in answers]
    assert [one["id"] for one in said] == [str(n) for n in range(60)]
    records = {one.message.envelope.id: one.message.record.offset for one in await entrance.heard()}
    assert {one["id"]: one["offset"] for one in said} == records


async def test_an_empty_batch_is_taken(entrance: Entrance):
    response = await entrance.post([], BATCH)
    assert (response.status_code, response.json()) == (202, {"events": []})


async def test_of_many_faults_no_more_are_looked_up_than_are_told(entrance: Entrance, monkeypatch):
    looked_up = []
    monkeypatch.setattr(reading, "content_of", lambda data: looked_up.append(data) or json.loads(data))
    whole = event(facts=observed())
    whole["data"]["items"] = [{} for _ in range(3000)]
    whole |= {f"Bad-{n}": None for n in range(3000)}
    for posted in (whole, {name: value for name, value in whole.items() if not name.startswith("Bad")}):
        response = await entrance.post(posted)
        assert response.status_code == 422
        assert len(response.json()["errors"]) == 20
    assert len(looked_up) == 20


NOTE = 'Grüße, 中文: "100 %25" \\ 😀'


def as_sdk_event(name: str, **attributes) -> CloudEvent:
    whole = event(name, observed(), time="2026-02-03T04:05:06Z", **attributes)
    data = whole.pop("data")
    time = datetime.fromisoformat(whole.pop("time"))
    return CloudEvent({**whole, "time": time, "datacontenttype": "application/json"}, data)


@pytest.mark.parametrize("form", [to_binary_event, to_structured_event])
async def test_what_the_official_sdk_makes_is_taken(entrance: Entrance, form):
    made = form(as_sdk_event("sdk", note=NOTE))
    headers = dict(made.headers)
    media = headers.pop("content-type", None) or headers.pop("Content-Type")
    response = await entrance.post(made.body, media, **headers)
    assert response.status_code == 202, response.text
    (heard,) = await entrance.heard()
    assert heard.facts == observed()
    assert heard.message.envelope.time.startswith("2026-02-03T04:05:06")
    assert ("note", NOTE) in heard.message.attributes


QUOTED = {"plain": '"two words"', "euro": '"Euro %E2%82%AC \\"\\%F0%9F%98%80\\" \\\\"'}


async def test_a_quoted_header_is_read_as_the_text_that_it_quotes(entrance: Entrance):
    """As the HTTP binding of CloudEvents 1.0.2 has it, 3.1.3.2: what is quoted is unescaped, then percent-decoded."""
    attributes = {f"ce-{name}": value for name, value in event().items() if name != "data"}
    body = published().model_dump_json(exclude_none=True)
    response = await entrance.post(body, "application/json", **attributes, **{f"ce-{n}": v for n, v in QUOTED.items()})
    assert response.status_code == 202, response.text
    (heard,) = await entrance.heard()
    assert {("plain", "two words"), ("euro", 'Euro € "😀" \\')} <= set(heard.message.attributes)


async def test_a_batch_of_what_the_official_sdk_makes_is_taken(entrance: Entrance):
    made = [to_structured_event(as_sdk_event(name)).body for name in "ab"]
    response = await entrance.post(b"[" + b",".join(made) + b"]", BATCH)
    assert response.status_code == 202, response.text
    assert [one.message.envelope.id for one in await entrance.heard()] == ["a", "b"]


async def test_who_is_not_known_is_told_so_and_nothing_else(entrance: Entrance):
    for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": f"Basic {SECRET}"}):
        response = await entrance.client.post(f"{entrance.url}/events", headers=headers, json=event())
        assert response.status_code == 401
        assert response.headers["www-authenticate"].startswith("Bearer")
    assert await entrance.taken() == []


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"id": None}, "#/id"),
        ({"source": ""}, "#/source"),
        ({"specversion": "0.3"}, "#/specversion"),
        ({"type": "cairn.model.promoted.v1"}, "#/type"),
        ({"time": "yesterday"}, "#/time"),
        ({"time": "2026-01-01T00:00:00"}, "#/time"),
        ({"subject": "dataset/other"}, "#/subject"),
        ({"authid": "somebody else"}, "#/authid"),
        ({"signature": "abc"}, "#/signature"),
        ({"hops": "99"}, "#/hops"),
        ({"causationid": "/warehouse/loans#1"}, "#/causationid"),
        ({"Region": "eu"}, "#/Region"),
        ({"region": 1.5}, "#/region"),
        ({"a/b": "x"}, "#/a~1b"),
        ({"x" * 61 + "~~~~": "x"}, "#/" + "x" * 61 + "~0~0~0"),
        ({"größe %": "x"}, "#/gr%C3%B6%C3%9Fe%20%25"),
        ({"region": "e\x07u"}, "#/region"),
        ({"sequence": "7"}, "#/sequence"),
        ({"datacontenttype": "text/xml"}, "#/datacontenttype"),
        ({"data": None}, "#/data"),
        ({"data": [1]}, "#/data"),
        ({"data_base64": "e30="}, "#/data_base64"),
    ],
)
async def test_a_fault_in_an_attribute_is_named(entrance: Entrance, changes, place):
    whole = {name: value for name, value in {**event(), **changes}.items() if value is not None}
    response = await entrance.post(whole)
    assert response.status_code == 422, response.text
    assert set(errors(response)) == {place}
    assert await entrance.taken() == []


@pytest.mark.parametrize(
    ("data", "places"),
    [
        ({"version": "v1"}, {"#/data/dataset", "#/data/files", "#/data/format"}),
        ({"files": [{"uri": "s3://x", "digest": "md5:1", "bytes": 1, "media_type": "x"}]}, {"#/data/files/0/digest"}),
        ({"row_count": "many"}, {"#/data/row_count"}),
        ({"rows": 3}, {"#/data/rows"}),
        ({"row_count": 2**60}, {"#/data/row_count"}),
        ({"version": "v\u202e1", "row_count": 1}, {"#/data/version"}),
        ({"files": [{**FILE, "uri": "s3://x\0y"}]}, {"#/data/files/0/uri"}),
    ],
)
async def test_a_fault_in_the_data_is_named_by_its_field(entrance: Entrance, data, places):
    whole = event()
    whole["data"] = data if data.keys() == {"version"} else whole["data"] | data
    response = await entrance.post(whole)
    assert response.status_code == 422
    assert set(errors(response)) == places


@pytest.mark.parametrize("field", ['"version":"v0",', '"row_count":-0,'])
async def test_what_could_be_read_in_two_ways_is_not_taken(entrance: Entrance, field):
    headers = {f"ce-{name}": value for name, value in event().items() if name != "data"}
    body = "{" + field + published().model_dump_json(exclude_none=True).removeprefix("{")
    response = await entrance.post(body, "application/json", **headers)
    assert response.status_code == 422, response.text
    assert set(errors(response)) == {"#"}
    assert await entrance.taken() == []


async def test_a_number_that_is_none_is_not_turned_into_nothing(entrance: Entrance):
    text = json.dumps(event(facts=observed())).replace("0.5", "1e999")
    response = await entrance.post(text.encode())
    assert response.status_code == 422
    assert set(errors(response)) == {"#/data/items/0/value"}


async def test_one_fault_in_a_batch_is_named_with_its_place_and_nothing_is_taken(entrance: Entrance):
    bad = event("2", observed())
    bad["data"]["items"][0]["observed_at"] = "soon"
    response = await entrance.post([event("1", observed()), bad, event("3", source=7)], BATCH)
    assert response.status_code == 422
    assert set(errors(response)) == {"#/1/data/items/0/observed_at", "#/2/source"}
    assert await entrance.taken() == []


async def test_an_identity_that_is_twice_in_a_batch_is_named(entrance: Entrance):
    response = await entrance.post([event("1"), event("1", published("v2"))], BATCH)
    assert set(errors(response)) == {"#/1/id"}


async def test_faults_of_a_binary_event_are_headers_and_fields(entrance: Entrance):
    headers = {"ce-specversion": "1.0", "ce-source": "/warehouse/x", "ce-type": "cairn.dataset.published.v1"}
    response = await entrance.post({"dataset": "x"}, "application/json", **headers)
    assert set(errors(response)) == {"ce-id"}
    response = await entrance.post({"dataset": "NO"}, "application/json", **headers, **{"ce-id": "1"})
    assert set(errors(response)) == {"#/dataset", "#/version", "#/files", "#/format"}
    response = await entrance.post(b"{", "application/json", **headers, **{"ce-id": "1"})
    assert set(errors(response)) == {"#"}


async def test_what_is_no_json_is_refused(entrance: Entrance):
    for body in (b"{", b"\xff", b"NaN", b"[" * 5000):
        assert (await entrance.post(body)).status_code == 400


@pytest.mark.parametrize(
    ("media", "headers"),
    [
        ("text/xml", {}),
        ("application/cloudevents+xml", {}),
        ("application/cloudevents+json; charset=latin-1", {}),
        ("application/cloudevents+json", {"content-encoding": "gzip"}),
    ],
)
async def test_a_body_of_another_kind_is_refused(entrance: Entrance, media, headers):
    assert (await entrance.post(b"{}", media, **headers)).status_code == 415


async def ask(entrance: Entrance, *lines: str, body: bytes = b"") -> bytes:
    """The first line of the answer to a request written by hand."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(entrance.url.rpartition(":")[2]))
    head = ("POST /events HTTP/1.1", "Host: x", f"Authorization: Bearer {SECRET}", f"Content-Type: {BATCH}", *lines)
    writer.write("\r\n".join((*head, "", "")).encode() + body)
    try:
        return await reader.readline()
    finally:
        writer.close()


async def test_a_body_that_says_it_is_too_large_is_not_even_read(entrance: Entrance):
    assert b" 413 " in await ask(entrance, f"Content-Length: {MOST_BODY_BYTES + 1}")


async def test_a_body_that_turns_out_too_large_is_refused(entrance: Entrance):
    chunk = b"100000\r\n" + b" " * 0x100000 + b"\r\n"
    assert b" 413 " in await ask(entrance, "Transfer-Encoding: chunked", body=4 * chunk + b"1\r\n \r\n")


async def test_a_payload_and_a_batch_that_are_too_large_are_refused(entrance: Entrance):
    assert (await entrance.post(event(facts=observed(items=900)))).status_code == 413
    batch = [event(str(n), observed()) for n in range(1001)]
    assert (await entrance.post(batch, BATCH)).status_code == 413
    assert await entrance.taken() == []


async def test_a_source_or_type_that_is_not_the_holders_is_forbidden(kafka, tmp_path):
    labels = token(types=("cairn.labels.observed.v1",))
    async with standing(kafka, tmp_path, Configuration(tokens=(labels,))) as entrance:
        assert (await entrance.post(event())).status_code == 403
        assert (await entrance.post(event(facts=observed(), source="/cairn/registry"))).status_code == 403
        assert (await entrance.post(event(facts=observed(), source="/warehousing"))).status_code == 403
        assert (await entrance.post(event(facts=observed()))).status_code == 202
        assert len(await entrance.taken()) == 1


async def test_who_posts_too_much_is_told_when_to_come_again(kafka, tmp_path):
    tokens = (token(rate=Rate(events_per_second=1, burst=3)), token("another", principal="system/other"))
    async with standing(kafka, tmp_path, Configuration(tokens=tokens)) as entrance:
        batch = [event(str(n), observed()) for n in range(3)]
        assert (await entrance.post([*batch, event("3", observed())], BATCH)).status_code == 413
        assert (await entrance.post(batch, BATCH)).status_code == 202
        refused = await entrance.post(batch, BATCH)
        assert refused.status_code == 429
        assert 1 <= int(refused.headers["retry-after"]) <= 4
        assert (await entrance.post(event("9"), secret="another")).status_code == 202
        assert len(await entrance.taken()) == 4


async def test_without_kafka_nothing_is_taken_and_later_all_is_well(tmp_path):
    async with LocalKafka(tmp_path / "kafka", fast_start=True) as server:
        configuration = Configuration(tokens=(token(),))
        async with standing(server.bootstrap_servers, tmp_path, configuration) as entrance:
            assert (await entrance.post(event("before"))).status_code == 202
            await server.kill()
            for name in ("during", "still during"):
                refused = await asyncio.wait_for(entrance.post(event(name)), 40)
                assert refused.status_code == 503, refused.text
                assert int(refused.headers["retry-after"]) > 0
                assert "same ids" in refused.json()["detail"]
            await server.start()
            assert (await entrance.post(event("after"))).status_code == 202
            assert [one.message.envelope.id for one in await entrance.heard()] == ["before", "after"]
