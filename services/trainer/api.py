"""The trainer's read API: runs. GET only, JSON, the newest first."""

import json
from collections.abc import Sequence
from typing import Any

from sqlmodel import col, select
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from chassis.database import Database
from trainer.store import Run

MOST = 100
"""Runs in one answer."""


def make_routes(database: Database) -> Sequence[Route]:
    """The routes, over this store."""

    async def list_runs(request: Request) -> Response:
        model = request.query_params.get("model")
        return JSONResponse({"runs": await run_in_threadpool(describe_runs, database, model)})

    return [Route("/runs", list_runs)]


def describe_runs(database: Database, model: str | None) -> list[dict[str, Any]]:
    """The latest runs, of one model if it is named."""
    query = select(Run).order_by(col(Run.queued_at).desc(), col(Run.run_id)).limit(MOST)
    if model:
        query = query.where(Run.model == model)
    with database.read() as session:
        return [_describe(run) for run in session.exec(query)]


def _describe(run: Run) -> dict[str, Any]:
    queued, outcome = json.loads(run.facts), json.loads(run.outcome or "{}")
    return {
        "run": run.run_id,
        "model": run.model,
        "state": run.state,
        "attempt": run.attempt,
        "trials": run.trials,
        "dataset": queued["dataset"],
        "revision": queued["declaration"]["revision"],
        "queued_at": run.queued_at,
        "ended_at": run.ended_at,
        "estimator": outcome.get("estimator"),
        "params": outcome.get("params"),
        "metrics": {metric["name"]: metric["value"] for metric in outcome.get("metrics", ())},
        "package": outcome.get("package"),
        "reason": outcome.get("reason"),
    }
