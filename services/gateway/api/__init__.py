"""The gateway's HTTP side: `POST /events`."""

from collections.abc import Sequence

from starlette.routing import Route

from gateway.api.receiving import Door


def make_routes(door: Door) -> Sequence[Route]:
    """The routes."""
    return [Route("/events", door.receive, methods=["POST"])]
