"""`POST /events`: who asks, what is posted, whether all of it is good, and that Kafka has it before it is answered."""

import asyncio
import hashlib
import hmac
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice

from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from cairn.broker import BrokerUnreachable, TopicRefused
from cairn.events.catalogue import TOPICS
from cairn.events.codec import Outgoing, check_payload, write_bytes
from cairn.events.event import Event
from cairn.events.identity import Installation
from cairn.events.signing import Signer
from cairn.events.values import format_instant
from gateway.api.problems import MOST_ERRORS, Refused, later
from gateway.api.reading import Posted, content_of, form_of, parse, read_body
from gateway.api.sending import Busy, Sender
from gateway.domain import (
    INWARD,
    Bucket,
    Configuration,
    Fault,
    Given,
    Token,
    draw,
    fault_of,
    find_faults,
    innermost,
    make_envelope,
)

_SLICE = 50
"""So many events are judged and signed before others get their turn."""
_RETRY_SECONDS = 5.0
_CHALLENGE = {"www-authenticate": 'Bearer realm="cairn"'}


@dataclass(frozen=True, slots=True)
class Door:
    """All that it takes to let an event in."""

    configuration: Configuration
    installation: Installation
    signer: Signer | None
    """None where posted events are not signed."""
    sender: Sender
    now: Callable[[], datetime]
    steady: Callable[[], float]
    """A clock that never goes back, in seconds."""
    buckets: dict[str, Bucket] = field(default_factory=dict)

    async def receive(self, request: Request) -> Response:
        """Answer one request."""
        try:
            token = self._admit(request.headers.get("authorization", ""))
            form = form_of(request.headers)
            posted = parse(form, request.headers, await read_body(request))
            if len(posted.events) > token.rate.burst:
                raise Refused(
                    413, f"the batch has {len(posted.events)} events; you may post {token.rate.burst} at once"
                )
            self._draw(token, len(posted.events))
            sealed = await self._seal(posted, token)
            return JSONResponse({"events": await self._send(posted, sealed)}, 202)
        except Refused as refused:
            return refused.as_response()

    def _admit(self, authorization: str) -> Token:
        """Whose request it is. Raises Refused for nobody, and for somebody who has posted too much already."""
        scheme, _, secret = authorization.partition(" ")
        digest = "sha256:" + hashlib.sha256(secret.strip().encode()).hexdigest()
        known = [one for one in self.configuration.tokens if hmac.compare_digest(one.sha256, digest)]
        if scheme.lower() != "bearer" or not known:
            raise Refused(401, "a known bearer token is needed", headers=_CHALLENGE)
        self._draw(known[0], 0)
        return known[0]

    def _draw(self, token: Token, events: int) -> None:
        """Count events against a principal's rate; none looks whether there is room for one."""
        bucket, wait = draw(self.buckets.get(token.principal), token.rate, self.steady(), events or 1)
        if wait:
            raise later(429, f"{token.principal} may post {token.rate.events_per_second} events a second", wait)
        if events:
            self.buckets[token.principal] = bucket

    async def _seal(self, posted: Posted, token: Token) -> list[Outgoing]:
        """Every event as Kafka will have it; or Refused, with what is wrong, as much of it as is written out."""
        sealed: list[Outgoing] = []
        faults: list[tuple[int, Fault]] = []
        now = format_instant(self.now())
        for number, given in enumerate(posted.events):
            found = list(islice(find_faults(given.attributes), MOST_ERRORS))
            if not found:
                _refuse_foreign(number, given, token)
                event = self._seal_one(number, given, token, now)
                found = event if isinstance(event, list) else []
                sealed += [event] if isinstance(event, Outgoing) else []
            faults += [(number, fault) for fault in found]
            if len(faults) >= MOST_ERRORS:
                break
            if number % _SLICE == _SLICE - 1:
                await asyncio.sleep(0)
        faults += _find_repeated(posted) if not faults else []
        if faults:
            errors = [posted.error(number, fault) for number, fault in faults]
            raise Refused(422, "nothing was taken: there are faults in what was posted", errors)
        return sealed

    def _seal_one(self, number: int, given: Given, token: Token, now: str) -> Outgoing | list[Fault]:
        entry = INWARD[str(given.attributes["type"])]
        limit = TOPICS[entry.topic].max_value_bytes
        if len(given.data) > limit:
            raise Refused(413, f"the data of event {number} has {len(given.data)} bytes; at most {limit} are taken")
        try:
            facts: Event = entry.facts.model_validate_json(given.data, strict=True)
        except ValidationError as error:
            found = error.errors(include_url=False, include_input=False, include_context=False)
            return innermost([Fault("", one["msg"], one["loc"]) for one in found])[:MOST_ERRORS]
        subject = entry.subject_of(facts)
        if given.attributes.get("subject", subject) != subject:
            return [Fault("subject", f"must be {subject}, which the data are about, or left out")]
        envelope = make_envelope(given.attributes, entry, subject, token.principal, now)
        if unfit := check_payload(envelope, given.data, TOPICS[entry.topic], rewritten=given.rewritten):
            return [fault_of(unfit, content_of(given.data))]
        return write_bytes(given.data, entry.key_of(facts), envelope, entry.topic, self.installation, self.signer)

    async def _send(self, posted: Posted, sealed: list[Outgoing]) -> list[dict[str, object]]:
        if not sealed:
            return []
        try:
            places = await self.sender.send(sealed)
        except Busy:
            raise later(503, "nothing was taken: too much waits to be sent", 1.0) from None
        except (BrokerUnreachable, TopicRefused) as error:
            detail = f"{error}. Post the same again, with the same ids: what was taken counts once"
            raise later(503, detail, _RETRY_SECONDS) from None
        return [
            {"id": given.attributes["id"], "source": given.attributes["source"]}
            | {"topic": topic, "partition": partition, "offset": offset}
            for given, (topic, partition, offset) in zip(posted.events, places, strict=True)
        ]


def _refuse_foreign(number: int, given: Given, token: Token) -> None:
    """Raise Refused for an event that the token's holder may not post."""
    source, kind = str(given.attributes["source"]), str(given.attributes["type"])
    if not token.admits_source(source):
        raise Refused(403, f"{token.principal} may not speak for the source {source!r} (event {number})")
    if kind not in token.types:
        raise Refused(403, f"{token.principal} may not post {kind} (event {number})")


def _find_repeated(posted: Posted) -> Iterator[tuple[int, Fault]]:
    """Events of one identity: if they are the same one is enough, and if not only one would count."""
    seen = set()
    for number, given in enumerate(posted.events):
        identity = (given.attributes["source"], given.attributes["id"])
        if identity in seen:
            yield number, Fault("id", "is there twice in this batch, from one source")
        seen.add(identity)
