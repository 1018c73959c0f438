"""The gateway's composition root."""

import os
import random
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from starlette.routing import Route

from cairn.declaration import DeclarationError, Problem, read_document
from cairn.events.catalogue import GATEWAY
from cairn.events.identity import Installation
from cairn.events.signing import DELEGATE, Signer, Trust, TrustError, source_matches
from chassis import Definition, ServiceSettings
from chassis.database import Database
from chassis.kafka import new_producer
from chassis.service import wall_clock
from gateway.api import make_routes
from gateway.api.receiving import Door
from gateway.api.sending import Sender
from gateway.api.webhooks import Overview
from gateway.domain import INWARD, Configuration, Webhook, find_doubles, parse_secrets
from gateway.handlers import handlers
from gateway.projections import with_heard
from gateway.settings import Settings
from gateway.store import GatewayTable
from gateway.work.delivering import Courier, make_delivering
from gateway.work.reaching import Poster, Shelf
from gateway.work.subscribing import ReadEnds, make_subscribing

Secrets = Mapping[str, Sequence[bytes]]
"""The keys of each webhook."""


def build(settings: ServiceSettings) -> Definition:
    """The gateway, whole. Raises DeclarationError for its file, TrustError for its keys and secrets."""
    configuration = read_configuration(settings)
    servers, installation = settings.bootstrap_servers, Installation(settings.installation)
    sender = Sender(servers, installation, lambda: new_producer(servers, f"{GATEWAY}.door"))
    shelf, poster = Shelf(servers, installation), Poster()

    @asynccontextmanager
    async def hold_open(_app: Any) -> AsyncIterator[None]:
        try:
            yield
        finally:
            await sender.close()
            await poster.close()
            await shelf.close()

    def routes(database: Database) -> Sequence[Route]:
        signer = usable_signer(settings, configuration)
        door = Door(configuration, installation, signer, sender, wall_clock, time.monotonic)
        return make_routes(door, Overview(database, configuration.webhooks, wall_clock))

    schedule, chance = configuration.retry_seconds, random.SystemRandom().random
    courier = Courier(installation.namespace, schedule, shelf.read_record, poster.post, wall_clock, chance)
    secrets = {webhook.name: read_secrets(webhook, os.environ) for webhook in configuration.webhooks}
    return replace(
        assemble(configuration, secrets, courier, shelf.read_ends),
        routes=routes,
        lifespan=hold_open,
        collectors=lambda database: [Overview(database, configuration.webhooks, wall_clock)],
    )


def assemble(configuration: Configuration, secrets: Secrets, courier: Courier, read_ends: ReadEnds) -> Definition:
    """The gateway without its door."""
    webhooks = configuration.webhooks
    hears = tuple(dict.fromkeys(("requests", *configuration.topics)))
    return Definition(
        name=GATEWAY,
        hears=hears,
        tables=GatewayTable,
        handlers=handlers,
        projections=with_heard(hears),
        works=(
            make_subscribing(webhooks, read_ends),
            *(make_delivering(webhook, secrets[webhook.name], courier) for webhook in webhooks),
        ),
    )


def read_configuration(settings: ServiceSettings) -> Configuration:
    """What the gateway's file says; nothing where there is none. Raises DeclarationError."""
    file = settings.file if isinstance(settings, Settings) else None
    if file is None:
        return Configuration()
    configuration = read_document(file, str(file), Configuration)
    doubles = [Problem(0, 0, "", text) for text in find_doubles(configuration)]
    if doubles:
        raise DeclarationError(str(file), doubles)
    return configuration


def read_secrets(webhook: Webhook, environ: Mapping[str, str]) -> Sequence[bytes]:
    """A webhook's keys, from the environment or the file that it names. Raises TrustError."""
    name = webhook.secret_name
    try:
        text = environ.get(name) or Path(environ[f"{name}_FILE"]).read_text()
        return parse_secrets(text)
    except KeyError:
        raise TrustError(f"the webhook {webhook.name} has no secret: set {name}, or {name}_FILE") from None
    except (OSError, ValueError) as error:
        raise TrustError(f"the secret of the webhook {webhook.name}, {name}, cannot be used: {error}") from None


def usable_signer(settings: ServiceSettings, configuration: Configuration) -> Signer | None:
    """The key that signs what is posted; None if nothing is to be signed.

    Raises TrustError where no reader would believe what the gateway tells.
    """
    trust = Trust.load(settings.trust_file)
    topics = {entry.topic for entry in INWARD.values()}
    if not configuration.signed:
        for source in {source for token in configuration.tokens for source in token.sources}:
            if not all(trust.admits_unsigned(source, topic) for topic in topics):
                raise TrustError(f"`signed: false`, but the trust file does not admit {source} unsigned on all topics")
        return None
    signer = Signer.load(settings.key_file)
    key = trust.key(signer.keyid)
    if key is None or DELEGATE not in key.roles or not topics <= set(key.topics):
        raise TrustError(
            f"the gateway's key {signer.keyid} may not speak for others: in the trust file it needs the role "
            f"{DELEGATE} and the topics {', '.join(sorted(topics))}; `cairn up --gateway` makes such a key"
        )
    for source in {source for token in configuration.tokens for source in token.sources}:
        if not any(source_matches(pattern, source) for pattern in key.sources):
            raise TrustError(f"the gateway's key {signer.keyid} may not speak for {source}: the trust file must say so")
    return signer
