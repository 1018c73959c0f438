"""`cairn events story`: what followed from what."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer
from tests.libs.cairn.cli.conftest import Outcome
from tests.libs.cairn.installations import as_service, new_installation

from cairn.cli.story import Step, Story, tree_lines, walk
from cairn.context import Context
from cairn.events import TOPICS, Envelope, Event, RequestRefused, RollbackRequested, TrainingRequested, type_of, write
from cairn.events.envelope import cause_name
from cairn.events.values import EventRef, Reason
from cairn.publisher import Publisher, Receipt

Cairn = Callable[..., Outcome]


def step(name: str, cause: str = "", story: str = "s", at: int = 0, kind: str = "model.promoted") -> Step:
    envelope = Envelope(
        id=name,
        source="/x",
        type=f"cairn.{kind}.v1",
        subject="model/risk",
        time="",
        correlationid=story,
        causationid=cause_name("/x", cause) if cause else "",
    )
    return Step(envelope, at, "2026-11-21T09:00:00.000000Z")


def test_events_stand_below_their_cause_in_the_order_of_time() -> None:
    steps = [step("a"), step("b", "a"), step("c", "a"), step("d", "b")]
    assert [(one.envelope.id, lead) for one, lead in walk(steps)] == [
        ("a", ""),
        ("b", "├─ "),
        ("d", "│  └─ "),
        ("c", "└─ "),
    ]


def test_an_event_whose_cause_lies_elsewhere_begins_the_tree() -> None:
    assert [lead for _, lead in walk([step("a", cause="of another story"), step("b", "a")])] == ["", "└─ "]


def test_what_causes_itself_is_shown_once() -> None:
    steps = [step("a", "a"), step("b", "c"), step("c", "b")]
    assert [one.envelope.id for one, _ in walk(steps)] == ["a", "b", "c"]


def test_a_long_chain_is_no_trouble() -> None:
    steps = [step("0"), *(step(str(n), str(n - 1)) for n in range(1, 3000))]
    assert sum(1 for _ in walk(steps)) == 3000


def test_a_line_says_when_what_about_and_who_and_names_the_stories_that_began_there() -> None:
    story = Story("s", [step("a", at=1000), step("b", "a", at=1250, kind="retraining.advised")], {"/x#b": ["next"]})
    head, first, second, onward = tree_lines(story)
    assert head == "story s, from 2026-11-21T09:00:00.000000Z"
    assert first.split() == ["+0.000", "s", "model.promoted", "model/risk", "/x"]
    assert second.split() == ["+0.250", "s", "└─", "retraining.advised", "model/risk", "/x"]
    assert onward.strip() == "-> cairn events story next"


@pytest.fixture
def asked(kafka: str, tmp_path: Path, point_at: Callable[[Context], None]) -> Receipt:
    """A rollback was asked for and refused; something else was asked for too."""

    async def prepare() -> tuple[Context, Receipt]:
        context = await new_installation(kafka, tmp_path, *TOPICS)
        async with Publisher(context) as publisher:
            await publisher.publish(TrainingRequested(model="risk.other"))
            receipt = await publisher.publish(RollbackRequested(model="risk.loans"))
        deployer = as_service(context, "deployer")
        await refuse(deployer, receipt)
        return replace(context, trust=deployer.trust), receipt

    context, receipt = asyncio.run(prepare())
    point_at(context)
    return receipt


async def refuse(context: Context, receipt: Receipt) -> None:
    reference = EventRef(
        source=receipt.source, id=receipt.id, type="cairn.rollback.requested.v1", digest="sha256:" + "0" * 64
    )
    facts = RequestRefused(
        service="deployer", request=reference, reason=Reason(code="no-champion", text="there is none")
    )
    await tell(context, facts, receipt)


async def tell(context: Context, facts: Event, receipt: Receipt) -> None:
    envelope = Envelope(
        id="refusal",
        source=context.installation.source("deployer"),
        type=type_of(facts).name,
        subject=type_of(facts).subject_of(facts),
        time="2026-11-21T09:00:00.000000Z",
        correlationid=receipt.id,
        causationid=cause_name(receipt.source, receipt.id),
        sequence="0" * 19 + "1",
    )
    sent = write(facts, envelope, "operations.deployer", context.installation, context.signer)
    producer = AIOKafkaProducer(bootstrap_servers=context.bootstrap_servers)
    await producer.start()
    try:
        await producer.send_and_wait(sent.topic, sent.value, key=sent.key, headers=list(sent.headers))
    finally:
        await producer.stop()


@pytest.mark.parametrize("named_by", ["correlation", "event"])
def test_a_story_is_told_from_its_name_or_any_of_its_events(asked: Receipt, cairn: Cairn, named_by: str) -> None:
    outcome = cairn("events", "story", asked.id if named_by == "correlation" else "refusal")

    assert outcome.code == 0
    head, request, refusal = outcome.out.splitlines()
    assert asked.id in head
    assert "rollback.requested" in request
    assert "└─ request.refused" in refusal
    assert "risk.other" not in outcome.out


def test_for_programs_each_event_is_a_line(asked: Receipt, cairn: Cairn) -> None:
    lines = [json.loads(line) for line in cairn("events", "story", asked.id, "--json").out.splitlines()]

    assert [(one["type"], one["depth"]) for one in lines] == [
        ("cairn.rollback.requested.v1", 0),
        ("cairn.request.refused.v1", 1),
    ]


def test_a_story_that_nobody_knows_is_said_to_be_missing(asked: Receipt, cairn: Cairn) -> None:
    outcome = cairn("events", "story", "no-such-story")

    assert (outcome.code, outcome.out) == (1, "")
    assert "'no-such-story'" in outcome.err
