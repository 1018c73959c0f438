"""The validator's read API: what was found of datasets and of versions. GET only, JSON, the newest first."""

import json
from collections.abc import Sequence
from typing import Any

from sqlmodel import col, select
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from chassis.database import Database
from validator.store import DatasetVerdict, ModelVerdict

MOST = 100
"""Verdicts of each kind in one answer."""


def make_routes(database: Database) -> Sequence[Route]:
    """The routes, over this store."""

    async def list_verdicts(request: Request) -> Response:
        model = request.query_params.get("model")
        return JSONResponse(await run_in_threadpool(describe_verdicts, database, model))

    return [Route("/verdicts", list_verdicts)]


def describe_verdicts(database: Database, model: str | None) -> dict[str, Any]:
    """The latest verdicts, of one model if it is named."""
    datasets = select(DatasetVerdict).order_by(col(DatasetVerdict.judged_at).desc(), col(DatasetVerdict.event_id))
    versions = select(ModelVerdict).order_by(col(ModelVerdict.judged_at).desc(), col(ModelVerdict.model))
    if model:
        datasets = datasets.where(DatasetVerdict.model == model)
        versions = versions.where(ModelVerdict.model == model)
    with database.read() as session:
        return {
            "datasets": [_describe_dataset(row) for row in session.exec(datasets.limit(MOST))],
            "versions": [_describe_version(row) for row in session.exec(versions.limit(MOST))],
        }


def _describe_dataset(row: DatasetVerdict) -> dict[str, Any]:
    facts = json.loads(row.facts)
    return {
        "dataset": facts["dataset"],
        "model": row.model,
        "revision": row.revision,
        "verdict": "accepted" if row.accepted else "rejected",
        "row_count": facts["row_count"],
        "failed": _failed(facts),
        "judged_at": row.judged_at,
    }


def _describe_version(row: ModelVerdict) -> dict[str, Any]:
    facts = json.loads(row.facts)
    return {
        "model": row.model,
        "version": row.version,
        "verdict": row.verdict,
        "failed": _failed(facts),
        "reason": facts.get("reason"),
        "metrics": {metric["name"]: metric["value"] for metric in facts.get("metrics", ())},
        "judged_at": row.judged_at,
    }


def _failed(facts: dict[str, Any]) -> list[dict[str, Any]]:
    """The checks that were not met, warnings too."""
    return [check for check in facts.get("checks", ()) if not check["passed"]]
