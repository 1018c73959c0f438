"""The gateway's composition root."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from cairn.declaration import DeclarationError, Problem, read_document
from cairn.events.catalogue import GATEWAY
from cairn.events.identity import Installation
from cairn.events.signing import DELEGATE, Signer, Trust, TrustError
from chassis import Definition, ServiceSettings
from chassis.kafka import new_producer
from chassis.service import wall_clock
from gateway.api import make_routes
from gateway.api.receiving import Door
from gateway.api.sending import Sender
from gateway.domain import INWARD, Configuration, find_doubles
from gateway.handlers import handlers
from gateway.projections import projections
from gateway.settings import Settings
from gateway.store import GatewayTable


def build(settings: ServiceSettings) -> Definition:
    """The gateway, whole. Raises DeclarationError for a file that cannot be used."""
    configuration = read_configuration(settings)
    servers, installation = settings.bootstrap_servers, Installation(settings.installation)
    sender = Sender(servers, installation, lambda: new_producer(servers, f"{GATEWAY}.door"))

    @asynccontextmanager
    async def hold_open(_app: Any) -> AsyncIterator[None]:
        try:
            yield
        finally:
            await sender.close()

    def routes(_database: Any) -> Any:
        signer = usable_signer(settings, configuration)
        return make_routes(Door(configuration, installation, signer, sender, wall_clock, time.monotonic))

    return Definition(
        name=GATEWAY,
        hears=("requests",),
        tables=GatewayTable,
        handlers=handlers,
        projections=projections,
        routes=routes,
        lifespan=hold_open,
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
    return signer
