"""What the gateway's file says: who may bring events, and which webhooks are told of which."""

from typing import TYPE_CHECKING, Literal, TypeAlias

from cairn.events.catalogue import CATALOGUE, GATEWAY, TOPICS, EventType, carries
from cairn.events.signing import source_matches
from cairn.events.values import Count, Digest, HttpUrl, Number, Principal, Service, Value, Word

INWARD = {name: entry for name, entry in CATALOGUE.items() if entry.topic in ("datasets", "labels")}
"""The types that may be posted."""
OWN_TOPIC = next(topic.name for topic in TOPICS.values() if topic.owner == GATEWAY)

if TYPE_CHECKING:
    InwardType: TypeAlias = str
    OutwardType: TypeAlias = str
else:
    InwardType = Literal[tuple(INWARD)]
    OutwardType = Literal[tuple(name for name, entry in CATALOGUE.items() if entry.topic != OWN_TOPIC)]


class Rate(Value):
    """How many events a principal may post."""

    events_per_second: Number = 1000
    """On average."""
    burst: Number = 5000
    """At once. No batch may be larger."""


class Token(Value):
    """A bearer token, known by its digest alone."""

    principal: Principal
    """Who holds it, such as system/warehouse; becomes the events' `authtype` and `authid`."""
    sha256: Digest
    """The digest of the token: `printf %s "$TOKEN" | sha256sum`, after `sha256:`. Its text is at no place."""
    sources: tuple[Word, ...]
    """The sources that its holder may speak for; one that ends in `/*` stands for all below it."""
    types: tuple[InwardType, ...] = tuple(INWARD)
    """The types that its holder may post."""
    rate: Rate = Rate()
    """How much its holder may post."""

    def admits_source(self, source: str) -> bool:
        """Whether the holder may speak for it."""
        return any(source_matches(pattern, source) for pattern in self.sources)


class Webhook(Value):
    """A receiver of events."""

    name: Service
    """Its name. Its secret is in the environment, as CAIRN_WEBHOOK_<NAME>_SECRET, or in the file that …_FILE names."""
    url: HttpUrl
    """The address that events are posted to."""
    types: tuple[OutwardType, ...]
    """The types that it is told of."""
    subject: Word = "*"
    """What the events must be about, such as model/risk.loans; one that ends in `*` stands for all that begin so."""
    start: Literal["now", "beginning"] = "now"
    """Whether it is also told what happened before it was configured."""

    @property
    def secret_name(self) -> str:
        """The environment variable that holds its secret."""
        return f"CAIRN_WEBHOOK_{self.name.upper().replace('-', '_')}_SECRET"

    @property
    def wanted(self) -> tuple[EventType, ...]:
        """The catalogue's entries of its types."""
        return tuple(CATALOGUE[name] for name in dict.fromkeys(self.types))


class Configuration(Value):
    """The gateway's file."""

    tokens: tuple[Token, ...] = ()
    """Who may post events."""
    webhooks: tuple[Webhook, ...] = ()
    """Who is told of events."""
    retry_seconds: tuple[Count, ...] = (5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400)
    """The waits between attempts to tell a webhook; after the last, the record is parked. Unless set, three days."""
    signed: bool = True
    """Whether posted events are signed. If not, the trust file must admit their sources unsigned."""

    @property
    def topics(self) -> tuple[str, ...]:
        """The topics on which the wanted types are told."""
        wanted = [entry for webhook in self.webhooks for entry in webhook.wanted]
        return tuple(topic for topic in TOPICS if any(topic in topics_of(entry) for entry in wanted))


def topics_of(entry: EventType) -> tuple[str, ...]:
    """Where a type is told, by others than the gateway."""
    return tuple(topic for topic in TOPICS if topic != OWN_TOPIC and carries(topic, entry))


def find_doubles(configuration: Configuration) -> list[str]:
    """What is there twice and must be unique, in words."""
    names = [one.secret_name for one in configuration.webhooks]
    digests = [one.sha256 for one in configuration.tokens]
    doubles = [
        f"webhooks: two have the name {one.name}" for one in configuration.webhooks if _is_twice(one.secret_name, names)
    ]
    return [
        *dict.fromkeys(doubles),
        *(f"tokens: two have the digest {one}" for one in dict.fromkeys(digests) if _is_twice(one, digests)),
    ]


def _is_twice(one: str, among: list[str]) -> bool:
    return among.count(one) > 1
