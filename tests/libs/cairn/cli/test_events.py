"""`cairn events tail`, `search` and `show`: the log as it lies there, for people and for programs."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.kafka.raw import in_transactions
from tests.libs.cairn.cli.conftest import Outcome
from tests.libs.cairn.cli.test_manners import start
from tests.libs.cairn.installations import USER_TOPICS, new_installation, write_raw

from cairn.context import Context
from cairn.events import TOPICS, RedriveRequested, RollbackRequested, TrainingRequested
from cairn.publisher import Publisher

Cairn = Callable[..., Outcome]


@pytest.fixture
def context(kafka: str, tmp_path: Path, point_at: Callable[[Context], None]) -> Context:
    async def prepare() -> Context:
        context = await new_installation(kafka, tmp_path, *TOPICS)
        async with Publisher(context) as publisher:
            for n in range(12):
                await publisher.publish(TrainingRequested(model=f"risk.m{n}"))
                await asyncio.sleep(0.002)  # Kafka's clock counts milliseconds
            await publisher.publish(RollbackRequested(model="risk.m3"))
        return context

    context = asyncio.run(prepare())
    point_at(context)
    return context


def subjects_of(outcome: Outcome) -> list[str]:
    return [json.loads(line)["attributes"]["subject"] for line in outcome.out.splitlines()]


def test_the_last_ten_are_shown_oldest_first(context: Context, cairn: Cairn) -> None:
    outcome = cairn("events", "tail", "--json")

    assert outcome.code == 0
    assert subjects_of(outcome) == [*(f"model/risk.m{n}" for n in range(3, 12)), "model/risk.m3"]


def test_so_many_as_wanted_are_shown(context: Context, cairn: Cairn) -> None:
    assert subjects_of(cairn("events", "tail", "--json", "-n", 1)) == ["model/risk.m3"]
    assert cairn("events", "tail", "-n", 0) == Outcome(0, "", "")


def test_all_are_shown_from_the_beginning(context: Context, cairn: Cairn) -> None:
    assert len(cairn("events", "search").out.splitlines()) == 13


@pytest.mark.parametrize("wanted", ["rollback.requested", "cairn.rollback.requested.v1", "rollback.*"])
def test_a_type_is_named_in_full_or_in_short(context: Context, cairn: Cairn, wanted: str) -> None:
    assert subjects_of(cairn("events", "tail", "--json", "--type", wanted)) == ["model/risk.m3"]


def test_several_types_add_up(context: Context, cairn: Cairn) -> None:
    arguments = ("--type", "rollback.requested", "--type", "training.*")

    assert len(cairn("events", "search", *arguments).out.splitlines()) == 13


def test_a_subject_may_have_a_star(context: Context, cairn: Cairn) -> None:
    assert subjects_of(cairn("events", "tail", "--json", "--subject", "model/risk.m1*")) == [
        "model/risk.m1",
        "model/risk.m10",
        "model/risk.m11",
    ]


def test_a_type_that_is_none_is_wrong_usage_with_a_guess(context: Context, cairn: Cairn) -> None:
    outcome = cairn("events", "tail", "--type", "model.promotd")

    assert outcome == Outcome(2, "", "there is no type 'model.promotd': did you mean model.promoted?\n")


def test_a_line_for_people_says_when_what_about_and_where(context: Context, cairn: Cairn) -> None:
    words = cairn("events", "tail", "-n", 1).out.split()

    assert words[2:4] == ["rollback.requested", "model/risk.m3"]
    assert words[4].startswith("requests[")
    assert words[5] == f"/{context.installation.name}/person/ada"


def test_for_programs_an_event_comes_whole(context: Context, cairn: Cairn) -> None:
    event = json.loads(cairn("events", "tail", "-n", 1, "--json").out)

    assert event["topic"] == "requests"
    assert event["attributes"]["type"] == "cairn.rollback.requested.v1"
    assert event["data"]["model"] == "risk.m3"
    assert event["signed"]


def test_what_is_no_event_is_shown_harmlessly(context: Context, cairn: Cairn) -> None:
    asyncio.run(write_raw(context, "requests", b"\x1b[2Jhello"))

    line = cairn("events", "tail", "-n", 1).out
    event = json.loads(cairn("events", "tail", "-n", 1, "--json").out)

    assert "malformed" in line
    assert "not-a-cloudevent" in line
    assert event["malformed"]["code"] == "not-a-cloudevent"


def test_what_a_stranger_wrote_gives_no_orders_to_the_terminal(context: Context, cairn: Cairn) -> None:
    event: dict[str, object] = {
        "specversion": "1.0",
        "id": "1",
        "source": "/\x1b[2J",
        "type": "cairn.training.requested.v1",
        "data": {"model": "risk.m1"},
    }
    asyncio.run(write_structured(context, event))

    outcome = cairn("events", "tail", "-n", 1)

    assert "\x1b" not in outcome.out
    assert "malformed" in outcome.out


async def write_structured(context: Context, event: dict[str, object]) -> None:
    from aiokafka import AIOKafkaProducer

    producer = AIOKafkaProducer(bootstrap_servers=context.bootstrap_servers)
    await producer.start()
    try:
        headers = [("content-type", b"application/cloudevents+json")]
        topic = context.installation.topic("requests")
        await producer.send_and_wait(topic, json.dumps(event).encode(), key=b"model/risk.m1", headers=headers)
    finally:
        await producer.stop()


def test_without_topics_it_says_so(
    kafka: str, tmp_path: Path, cairn: Cairn, point_at: Callable[[Context], None]
) -> None:
    point_at(asyncio.run(new_installation(kafka, tmp_path, *USER_TOPICS)))

    outcome = cairn("events", "tail")

    assert outcome.code == 3
    assert "has no topic" in outcome.err


def test_a_service_is_a_subject_too(context: Context, cairn: Cairn) -> None:
    async def redrive() -> None:
        async with Publisher(context) as publisher:
            await publisher.publish(RedriveRequested(service="registry", topic="requests", partition=0, offset=0))

    asyncio.run(redrive())

    assert subjects_of(cairn("events", "tail", "--json", "--subject", "service/*")) == ["service/registry"]


def test_a_search_asks_who(context: Context, cairn: Cairn) -> None:
    assert len(cairn("events", "search", "--who", "person/ada").out.splitlines()) == 13
    assert len(cairn("events", "search", "--who", f"/{context.installation.name}/*").out.splitlines()) == 13
    assert cairn("events", "search", "--who", "person/bob") == Outcome(0, "", "")


def test_a_search_asks_when(context: Context, cairn: Cairn) -> None:
    seventh = cairn("events", "search", "--json").out.splitlines()[6]
    when = json.loads(seventh)["appended_at"]

    assert subjects_of(cairn("events", "search", "--json", "--since", when))[0] == "model/risk.m6"
    assert subjects_of(cairn("events", "search", "--json", "--until", when))[-1] == "model/risk.m5"
    assert len(cairn("events", "search", "--since", "1h").out.splitlines()) == 13
    assert cairn("events", "search", "--until", "1h") == Outcome(0, "", "")


@pytest.mark.parametrize("text", ["yesterday", "999999d"])
def test_a_time_that_is_none_is_wrong_usage(context: Context, cairn: Cairn, text: str) -> None:
    outcome = cairn("events", "search", "--since", text)

    assert outcome.code == 2
    assert f"{text!r} is no time: write 15m" in outcome.err


@pytest.mark.parametrize("words", [("events", "tail"), ("events", "search"), ("events", "show", "1")])
def test_a_kafka_without_the_topics_is_out_of_reach(
    context: Context, cairn: Cairn, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    monkeypatch.setenv("CAIRN_INSTALLATION", "nobody")

    outcome = cairn(*words)

    assert outcome.code == 3
    assert "has no topic nobody." in outcome.err


def test_a_tail_goes_on_where_a_partition_ends_in_a_transaction(context: Context, kafka: str) -> None:
    async def write_in_transactions() -> None:
        async with in_transactions(kafka) as upstream:
            for _ in range(5):
                async with upstream.transaction():
                    await upstream.send_and_wait(context.installation.topic("datasets"), b"{}", b"k", 0)

    async def ask_again() -> None:
        async with Publisher(context) as publisher:
            await publisher.publish(RollbackRequested(model="risk.m4"))

    asyncio.run(write_in_transactions())
    follower = start("events", "tail", "--follow", "--json", "-n", "1")
    assert follower.stdout
    first = json.loads(follower.stdout.readline())
    asyncio.run(ask_again())
    second = json.loads(follower.stdout.readline())
    follower.terminate()
    follower.communicate()

    assert [first["data"]["model"], second["data"]["model"]] == ["risk.m3", "risk.m4"]


def test_a_search_follows_what_arrives_until_its_reader_leaves(context: Context) -> None:
    follower = start("events", "search", "--follow", "--json", "--type", "rollback.requested")
    assert follower.stdout
    assert follower.stderr
    first = json.loads(follower.stdout.readline())

    async def ask_again() -> None:
        async with Publisher(context) as publisher:
            await publisher.publish(RollbackRequested(model="risk.m4"))

    asyncio.run(ask_again())
    second = json.loads(follower.stdout.readline())
    follower.stdout.close()
    asyncio.run(ask_again())

    assert [first["data"]["model"], second["data"]["model"]] == ["risk.m3", "risk.m4"]
    assert follower.wait(20) == 0
    assert follower.stderr.read() == b""
    follower.stderr.close()


def test_one_event_is_shown_by_its_id_its_name_and_its_place(context: Context, cairn: Cairn) -> None:
    event = json.loads(cairn("events", "tail", "-n", 1, "--json").out)
    identity = event["attributes"]["id"]
    place = f"{event['topic']}[{event['partition']}]@{event['offset']}"

    for name in (identity, f"{event['attributes']['source']}#{identity}", place):
        assert cairn("events", "show", name).data == event
        assert json.loads(cairn("events", "show", name, "--json").out) == event


@pytest.mark.parametrize(("name", "code"), [("no-such-id", 1), ("requests[0]@999999", 1), ("requests[99]@0", 2)])
def test_an_event_that_is_not_there_is_said_to_be_missing(context: Context, cairn: Cairn, name: str, code: int) -> None:
    outcome = cairn("events", "show", name)

    assert (outcome.code, outcome.out) == (code, "")
    assert name.split("@")[0] in outcome.err


def test_a_malformed_record_is_shown_by_its_place(context: Context, cairn: Cairn) -> None:
    asyncio.run(write_raw(context, "requests", b"\xff\xfe", partition=1))
    event = json.loads(cairn("events", "tail", "-n", 1, "--json").out)

    shown = cairn("events", "show", f"requests[1]@{event['offset']}")

    assert shown.data["malformed"]["code"] == "not-a-cloudevent"
