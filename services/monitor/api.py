"""The monitor's read API: closed windows. GET only, JSON."""

from collections.abc import Sequence
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from chassis.database import Database
from monitor.store import Store


def make_routes(database: Database) -> Sequence[Route]:
    """The routes, over this store."""

    async def list_windows(request: Request) -> Response:
        model = request.query_params.get("model", "")
        return JSONResponse({"windows": await run_in_threadpool(describe_windows, database, model)})

    return [Route("/windows", list_windows)]


def describe_windows(database: Database, model: str) -> list[dict[str, Any]]:
    """Every closed window of a model, without its counts."""
    with database.read() as session:
        windows = Store(session).windows(model)
    return [one.model_dump(mode="json", exclude={"counts"}) for one in windows]
