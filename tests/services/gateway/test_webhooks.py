"""Who is told of what, how often, and what remains of it: the service in a world in memory, its receivers scripted."""

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import Session, select
from standardwebhooks import Webhook as Official
from tests.libs.chassis.memory import rebuild
from tests.services.gateway.samples import published

from cairn.events import (
    DatasetPublished,
    Event,
    PolicyAdopted,
    RecordDiscarded,
    RecordParked,
    RecordRedriven,
    RedriveRequested,
    RequestRefused,
    WebhookDelivered,
    WebhookFailed,
    WebhookSubscribed,
)
from cairn.events.policy import Policy
from cairn.events.values import Reason
from chassis import ledger
from chassis.digest import combine, digest_tables
from chassis.health import list_parked
from chassis.leases import void_leases
from chassis.testing import Actor, World
from chassis.transaction import Place
from gateway.api.webhooks import Overview
from gateway.app import assemble
from gateway.domain import Answer, Configuration, Webhook, parse_secrets
from gateway.store import HEARD, GatewayTable
from gateway.work.delivering import Courier

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
BILLING = Webhook(name="billing", url="https://billing", types=("cairn.dataset.published.v1",))


@dataclass
class Receivers:
    """All receivers of a world: they answer what they are told to, and remember what they got."""

    answers: dict[str, list[Answer | str]] = field(default_factory=dict)
    """For each URL: the next answers; 200 when there are none left."""
    got: list[tuple[str, bytes, dict[str, str]]] = field(default_factory=list)

    async def post(self, url: str, body: bytes, headers: Any) -> Answer | str:
        self.got.append((url, body, dict(headers)))
        queue = self.answers.get(url, [])
        return queue.pop(0) if queue else Answer(204)

    def ids(self, url: str = "https://billing") -> list[str]:
        return [json.loads(body)["id"] for where, body, _ in self.got if where == url]


@pytest.fixture
def world(tmp_path: Path):
    world = World(tmp_path)
    yield world
    for actor in world.actors:
        actor.database.close()


@pytest.fixture
def receivers() -> Receivers:
    return Receivers()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str | None:
    return request.getfixturevalue("postgres_url") if request.param == "postgresql" else None


@pytest.fixture
def new_gateway(world: World, receivers: Receivers, database_url: str | None) -> Callable[..., Actor]:
    def make(*webhooks: Webhook, retries: tuple[int, ...] = (0, 0)) -> Actor:
        async def read_record(place: Place):
            return world.log[place.topic, place.partition][place.offset]

        async def read_ends(topic: str):
            return [len(world.log.get((topic, n), [])) for n in range(4)]

        courier = Courier(
            world.installation.namespace, retries, read_record, receivers.post, lambda: datetime.now(UTC), lambda: 0.5
        )
        configuration = Configuration(webhooks=webhooks, retry_seconds=retries)
        secrets = {webhook.name: parse_secrets(SECRET) for webhook in webhooks}
        return world.add(assemble(configuration, secrets, courier, read_ends), database_url)

    return make


def tell(world: World, *versions: str, dataset: str = "risk.loans") -> None:
    for version in versions:
        world.publish(published(version, dataset), id=version)


def settle(world: World) -> list[Event]:
    world.settle()
    return world.told(WebhookSubscribed, WebhookDelivered, WebhookFailed, RecordParked, RecordRedriven, RequestRefused)


def kinds(events: list[Event]) -> list[str]:
    return [type(event).__name__ for event in events]


def redrive(world: World, parked: RecordParked) -> None:
    fields = parked.model_dump(include={"topic", "partition", "offset"})
    world.publish(RedriveRequested(service="gateway", reason="mended", **fields))


def digest_of(actor: Actor) -> str:
    return combine(digest_tables(actor.database, GatewayTable.metadata))


def test_a_webhook_is_told_of_what_happens_from_now_on_and_of_each_event_once(world, new_gateway, receivers):
    tell(world, "before")
    new_gateway(BILLING)
    world.settle()
    tell(world, "first", "second")
    said = settle(world)
    assert receivers.ids() == ["first", "second"]
    assert kinds(said) == ["WebhookSubscribed", "WebhookDelivered", "WebhookDelivered"]
    assert [(one.webhook, one.event.id, one.attempts, one.status) for one in said[1:]] == [
        ("billing", "first", 1, 204),
        ("billing", "second", 1, 204),
    ]


def test_a_webhook_may_begin_at_the_beginning(world, new_gateway, receivers):
    tell(world, "long ago")
    new_gateway(BILLING.model_copy(update={"start": "beginning"}))
    world.settle()
    assert receivers.ids() == ["long ago"]


def test_what_is_told_is_the_event_whole_and_signed(world, new_gateway, receivers):
    new_gateway(BILLING)
    world.settle()
    tell(world, "first")
    world.settle()
    ((_, body, headers),) = receivers.got
    whole = Official(SECRET).verify(body, headers)
    assert headers["content-type"] == "application/cloudevents+json"
    assert (whole["specversion"], whole["id"], whole["type"]) == ("1.0", "first", "cairn.dataset.published.v1")
    assert (whole["subject"], whole["source"]) == ("dataset/risk.loans", "/test/upstream")
    assert DatasetPublished.model_validate_json(json.dumps(whole["data"])) == published("first")
    (record,) = (record for records in world.log.values() for record in records if record.topic == "datasets")
    assert record.value in body


def test_only_its_types_and_subjects_are_told(world, new_gateway, receivers):
    loans = BILLING.model_copy(update={"subject": "dataset/risk.loans"})
    risk = Webhook(name="risk", url="https://risk", types=(*BILLING.types, POLICY), subject="dataset/risk.*")
    everything = Webhook(name="all", url="https://all", types=(*BILLING.types, POLICY))
    new_gateway(loans, risk, everything)
    world.settle()
    tell(world, "a")
    tell(world, "b", dataset="risk.cards")
    tell(world, "c", dataset="riskless")
    world.publish(PolicyAdopted(policy="default", revision=1, document=Policy(name="default"), digest=DIGEST), id="p")
    world.settle()
    assert receivers.ids() == ["a"]
    assert sorted(receivers.ids("https://risk")) == ["a", "b"]
    assert sorted(receivers.ids("https://all")) == ["a", "b", "c", "p"]


POLICY = "cairn.policy.adopted.v1"
DIGEST = "sha256:" + "0" * 64


@pytest.mark.parametrize(
    "refusal", [Answer(500), Answer(429, "0"), Answer(302), Answer(404), "it could not be reached"]
)
def test_what_is_not_taken_is_told_again_under_the_same_id(world, new_gateway, receivers, refusal):
    receivers.answers["https://billing"] = [refusal, refusal]
    new_gateway(BILLING)
    world.settle()
    tell(world, "first")
    said = settle(world)
    assert kinds(said) == ["WebhookSubscribed", "WebhookDelivered"]
    assert said[-1].attempts == 3
    assert len({headers["webhook-id"] for _, _, headers in receivers.got}) == 1
    assert len({body for _, body, _ in receivers.got}) == 1


def test_what_is_never_taken_is_parked_and_announced_and_told_no_more(world, new_gateway, receivers):
    receivers.answers["https://billing"] = [Answer(500)] * 3
    gateway = new_gateway(BILLING)
    world.settle()
    tell(world, "first")
    said = settle(world)
    assert kinds(said) == ["WebhookSubscribed", "WebhookFailed", "RecordParked"]
    failed, parked = said[1:]
    assert (failed.attempts, failed.reason.code) == (3, "undelivered")
    assert parked.reason.text == "billing was told 3 times, at last it answered 500"
    assert (parked.topic, parked.digest, parked.parking) == ("datasets", failed.event.digest, 1)
    assert [(row["code"], row["state"]) for row in list_parked(gateway.database)] == [("undelivered", "parked")]
    world.settle()
    assert len(receivers.got) == 3


def test_a_receiver_that_is_gone_is_not_asked_twice(world, new_gateway, receivers):
    receivers.answers["https://billing"] = [Answer(410)]
    new_gateway(BILLING)
    world.settle()
    tell(world, "first")
    said = settle(world)
    assert kinds(said)[1:] == ["WebhookFailed", "RecordParked"]
    assert said[1].reason.code == "gone"
    assert len(receivers.got) == 1


def test_a_wait_that_is_not_over_is_kept(world, new_gateway, receivers):
    receivers.answers["https://billing"] = [Answer(500)]
    gateway = new_gateway(BILLING, retries=(3600,))
    world.settle()
    tell(world, "first")
    world.settle()
    world.settle()
    assert len(receivers.got) == 1
    with gateway.database.begin() as session:
        void_leases(session)  # as a restart does
    assert settle(world)[-1].attempts == 2


def test_what_was_parked_is_told_again_on_request_as_often_as_it_takes(world, new_gateway, receivers):
    receivers.answers["https://billing"] = [Answer(500)] * 6
    new_gateway(BILLING)
    world.settle()
    tell(world, "first")
    for number in (1, 2):
        parked = [one for one in settle(world) if isinstance(one, RecordParked)]
        assert [one.parking for one in parked] == list(range(1, number + 1))
        redrive(world, parked[-1])
    said = settle(world)
    assert kinds(said).count("RecordRedriven") == 2
    assert [one.parking for one in said if isinstance(one, RecordRedriven)] == [1, 2]
    assert kinds(said)[-1] == "WebhookDelivered"
    assert len(receivers.got) == 7
    assert len({headers["webhook-id"] for _, _, headers in receivers.got}) == 1
    redrive(world, parked[-1])
    assert kinds(settle(world))[-1] == "RequestRefused"


def test_one_webhook_that_fails_holds_up_no_other_and_a_redrive_tells_only_who_had_it_not(
    world, new_gateway, receivers
):
    receivers.answers["https://billing"] = [Answer(500)] * 3
    new_gateway(BILLING, BILLING.model_copy(update={"name": "other", "url": "https://other"}))
    world.settle()
    tell(world, "first")
    (parked,) = (one for one in settle(world) if isinstance(one, RecordParked))
    assert receivers.ids("https://other") == ["first"]
    redrive(world, parked)
    world.settle()
    assert receivers.ids("https://other") == ["first"]
    assert receivers.ids() == ["first"] * 4


def test_two_webhooks_may_fail_on_one_record_and_one_redrive_serves_both(world, new_gateway, receivers):
    receivers.answers = {url: [Answer(500)] * 3 for url in ("https://billing", "https://other")}
    new_gateway(BILLING, BILLING.model_copy(update={"name": "other", "url": "https://other"}))
    world.settle()
    tell(world, "first")
    parked = [one for one in settle(world) if isinstance(one, RecordParked)]
    assert [one.parking for one in parked] == [1, 2]
    redrive(world, parked[0])
    said = settle(world)
    assert sorted(one.webhook for one in said if isinstance(one, WebhookDelivered)) == ["billing", "other"]


def a_long_story(world, new_gateway, receivers) -> Actor:
    """Delivered, failed, redriven and failed again, redriven and delivered, and one that is still to be told."""
    receivers.answers["https://billing"] = [Answer(200), *[Answer(500)] * 6, Answer(200), Answer(500)]
    gateway = new_gateway(BILLING)
    world.settle()
    tell(world, "taken")
    world.settle()
    tell(world, "hard")
    for _ in range(2):
        redrive(world, [one for one in settle(world) if isinstance(one, RecordParked)][-1])
    world.settle()
    receivers.answers["https://billing"] = [Answer(410), *[Answer(500)] * 3]
    tell(world, "gone", "refused")
    world.settle()
    return gateway


def test_a_rebuild_gives_the_same_store_and_tells_nobody_anything(world, new_gateway, receivers):
    gateway = a_long_story(world, new_gateway, receivers)
    before, parked, posted = digest_of(gateway), list_parked(gateway.database), len(receivers.got)
    assert {row["state"] for row in parked} == {"parked", "redriven"}
    rebuild(gateway)
    assert digest_of(gateway) == before
    assert list_parked(gateway.database) == parked
    world.settle()
    assert len(receivers.got) == posted


def test_after_a_rebuild_what_was_parked_can_still_be_driven_again(world, new_gateway, receivers):
    gateway = a_long_story(world, new_gateway, receivers)
    rebuild(gateway)
    posted = len(receivers.got)
    for parked in {one.offset: one for one in settle(world) if isinstance(one, RecordParked)}.values():
        redrive(world, parked)
    said = settle(world)
    assert [one.event.id for one in said if isinstance(one, WebhookDelivered)][-2:] == ["gone", "refused"]
    assert len(receivers.got) == posted + 2
    before = digest_of(gateway)
    rebuild(gateway)
    assert digest_of(gateway) == before


def test_a_rebuild_forgets_only_how_often_it_was_tried(world, new_gateway, receivers):
    receivers.answers["https://billing"] = [Answer(500)]
    gateway = new_gateway(BILLING, retries=(3600, 3600))
    world.settle()
    tell(world, "first")
    world.settle()
    rebuild(gateway)
    assert settle(world)[-1].attempts == 1
    assert receivers.ids() == ["first", "first"]


def configure(world: World, new_gateway: Callable[..., Actor], gateway: Actor, *webhooks: Webhook) -> None:
    """Start the gateway again with another file."""
    definition = new_gateway(*webhooks).definition
    world.actors.pop().database.close()
    gateway.definition = gateway.processor.definition = definition


def test_a_type_that_is_wanted_later_begins_later(world, new_gateway, receivers, database_url):
    gateway = new_gateway(BILLING)
    world.settle()
    assert gateway.definition.hears == ("requests", "datasets")
    world.publish(PolicyAdopted(policy="default", revision=1, document=Policy(name="default"), digest=DIGEST), id="old")
    configure(world, new_gateway, gateway, BILLING.model_copy(update={"types": (*BILLING.types, POLICY)}))
    world.settle()
    world.publish(PolicyAdopted(policy="default", revision=2, document=Policy(name="default"), digest=DIGEST), id="new")
    tell(world, "data")
    world.settle()
    assert sorted(receivers.ids()) == ["data", "new"]


PARKED, DISCARDED = "cairn.record.parked.v1", "cairn.record.discarded.v1"
ALARM = Webhook(name="alarm", url="https://alarm", types=(PARKED,))


def tell_of_itself(world: World, *names: str) -> None:
    """Have the registry tell of a record that it parked, and of one that was given up."""
    place = {"topic": "datasets", "partition": 0, "offset": 0, "digest": DIGEST}
    fields = {"service": "registry", **place, "parking": 1, "reason": Reason(code="bad", text="it is bad")}
    world.publish(RecordParked(**fields), owner="registry", id=names[0])
    world.publish(RecordDiscarded(**fields), owner="registry", id=names[1])


def test_a_webhook_that_begins_at_the_beginning_gets_what_was_heard_before_anybody_wanted_it(
    world, new_gateway, receivers
):
    gateway = new_gateway(ALARM)
    tell_of_itself(world, "parked", "discarded")
    redrive_of_nothing = RedriveRequested(service="trainer", reason="x", topic="datasets", partition=0, offset=0)
    world.publish(redrive_of_nothing, id="request")
    world.settle()
    wanted = (DISCARDED, "cairn.redrive.requested.v1")
    late = Webhook(name="late", url="https://late", types=wanted, start="beginning")
    configure(world, new_gateway, gateway, ALARM, late)
    world.settle()
    assert sorted(receivers.ids("https://late")) == ["discarded", "request"]
    before = digest_of(gateway)
    rebuild(gateway)
    assert digest_of(gateway) == before


def test_a_type_that_was_out_of_the_file_for_a_while_misses_nothing(world, new_gateway, receivers):
    both = ALARM.model_copy(update={"types": (PARKED, DISCARDED)})
    gateway = new_gateway(both)
    world.settle()
    configure(world, new_gateway, gateway, ALARM)
    tell_of_itself(world, "parked", "discarded")
    world.settle()
    assert receivers.ids("https://alarm") == ["parked"]
    configure(world, new_gateway, gateway, both)
    world.settle()
    assert receivers.ids("https://alarm") == ["parked", "discarded"]


def test_what_services_tell_of_themselves_can_be_told_too_but_not_what_the_gateway_does(world, new_gateway, receivers):
    alarm = Webhook(name="alarm", url="https://alarm", types=("cairn.record.redriven.v1", PARKED))
    gateway = new_gateway(alarm, BILLING)
    assert "operations.registry" in gateway.definition.hears
    assert "operations.gateway" not in gateway.definition.hears
    receivers.answers["https://billing"] = [Answer(410)]
    world.settle()
    tell(world, "first")
    (parked,) = (one for one in settle(world) if isinstance(one, RecordParked))
    redrive(world, parked)
    world.publish(parked.model_copy(update={"service": "registry"}), owner="registry", id="theirs")
    world.settle()
    assert receivers.ids("https://alarm") == ["theirs"]


def test_how_a_webhook_fares_is_shown(world, new_gateway, receivers):
    receivers.answers["https://billing"] = [Answer(200), Answer(410), Answer(500)]
    gateway = new_gateway(BILLING, retries=(3600,))
    world.settle()
    for version in ("a", "b", "c"):
        tell(world, version)
        world.settle()
    overview = Overview(gateway.database, (BILLING,), world.clock)
    (shown,) = overview.describe_all()
    assert (shown["waiting"], shown["delivered"], shown["failed"]) == (1, 1, 1)
    assert shown["oldest_seconds"] > 0
    assert "url" not in shown
    samples = {family.name: family.samples[0] for family in overview.collect()}
    assert samples["cairn_webhook_waiting"].value == 1
    assert samples["cairn_webhook_waiting"].labels == {"webhook": "billing"}


def test_each_topic_has_a_table_of_its_own_and_no_other_feeds_it(world, new_gateway):
    gateway = new_gateway(BILLING)
    assert gateway.database.domain_tables.items() >= {(HEARD[topic].__tablename__, topic) for topic in HEARD}
    assert len({table.__tablename__ for table in HEARD.values()}) == len(HEARD)


def test_a_record_that_is_in_the_log_no_more_or_is_another_is_parked(world, new_gateway, receivers):
    receivers.answers["https://billing"] = [Answer(500)]
    gateway = new_gateway(BILLING)
    world.settle()
    tell(world, "first")
    gateway.take_new()
    (records,) = (records for where, records in world.log.items() if where[0] == "datasets")
    tell(world, "forged")
    records[0] = records.pop()
    said = settle(world)
    assert [one.reason.code for one in said if isinstance(one, WebhookFailed)] == ["record-other"]
    assert receivers.got == []


def test_nothing_of_the_secret_is_in_the_store(world, new_gateway, receivers):
    gateway = a_long_story(world, new_gateway, receivers)
    with Session(gateway.database.engine) as session:
        for table in (*GatewayTable.metadata.tables.values(), *ledger.METADATA.tables.values()):
            for row in session.execute(select(table)):
                assert SECRET.removeprefix("whsec_") not in str(row)
