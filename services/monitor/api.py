"""The monitor's read API: windows. GET only, JSON, each version's newest first."""

import json
from collections.abc import Sequence
from typing import Any

from sqlmodel import col, select
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from chassis.database import Database
from monitor.store import ClosedWindow, Drifted

MOST = 100
"""Windows in one answer."""


def make_routes(database: Database) -> Sequence[Route]:
    """The routes, over this store."""

    async def list_windows(request: Request) -> Response:
        model = request.query_params.get("model")
        return JSONResponse({"windows": await run_in_threadpool(describe_windows, database, model)})

    return [Route("/windows", list_windows)]


def describe_windows(database: Database, model: str | None) -> list[dict[str, Any]]:
    """The latest windows, of one model if it is named."""
    order = (col(ClosedWindow.model), col(ClosedWindow.version).desc(), col(ClosedWindow.window).desc())
    query = select(ClosedWindow).order_by(*order).limit(MOST)
    if model:
        query = query.where(ClosedWindow.model == model)
    with database.read() as session:
        rows = session.exec(query).all()
        return [_describe(row, session.get(Drifted, (row.model, row.version, row.window))) for row in rows]


def _describe(row: ClosedWindow, drifted: Drifted | None) -> dict[str, Any]:
    told = json.loads(row.facts)
    return {
        "model": row.model,
        "version": row.version,
        "window": row.window,
        "period": told["period"],
        "row_count": told["row_count"],
        "inputs": told["inputs"],
        "drift": told["drift"],
        "drifted": [one["column"] for one in told["drift"] if one["drifted"]],
        "retraining": drifted.state if drifted else None,
    }
