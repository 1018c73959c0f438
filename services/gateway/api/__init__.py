"""The gateway's HTTP side: `POST /events`, `GET /webhooks`."""

from collections.abc import Sequence

from starlette.routing import Route

from gateway.api.receiving import Door
from gateway.api.webhooks import Overview


def make_routes(door: Door, overview: Overview) -> Sequence[Route]:
    """The routes."""
    return [Route("/events", door.receive, methods=["POST"]), Route("/webhooks", overview.show)]
