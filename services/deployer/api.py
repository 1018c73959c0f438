"""The deployer's read API: routes and rollouts. GET only, JSON."""

from collections.abc import Sequence
from typing import Any

from sqlmodel import col, select
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from chassis.database import Database
from deployer.store import Rollout, parse_told


def make_routes(database: Database) -> Sequence[Route]:
    """The routes, over this store."""

    async def list_routes(_request: Request) -> Response:
        return JSONResponse({"routes": await run_in_threadpool(describe_routes, database)})

    async def list_rollouts(request: Request) -> Response:
        model = request.query_params.get("model")
        return JSONResponse({"rollouts": await run_in_threadpool(describe_rollouts, database, model)})

    return [Route("/routes", list_routes), Route("/rollouts", list_rollouts)]


def describe_routes(database: Database) -> list[dict[str, Any]]:
    """The present route of each model, by the models' names."""
    with database.read() as session:
        rows = session.exec(select(Rollout).order_by(Rollout.model, col(Rollout.sequence))).all()
    newest = {row.model: row for row in rows}
    return [_describe_route(row) for row in newest.values()]


def describe_rollouts(database: Database, model: str | None = None) -> list[dict[str, Any]]:
    """All rollouts, or those of a model: each model's newest first."""
    query = select(Rollout).order_by(Rollout.model, col(Rollout.sequence).desc())
    with database.read() as session:
        rows = session.exec(query.where(Rollout.model == model) if model else query).all()
    return [_describe_rollout(row) for row in rows]


def _describe_route(row: Rollout) -> dict[str, Any]:
    told = parse_told(row)
    return {
        "model": row.model,
        "revision": told.route.revision,
        "arms": [
            {"name": arm.name, "role": arm.role, "version": arm.model.version, "weight_ratio": arm.weight_ratio}
            for arm in told.route.arms
        ],
        "endpoint": told.endpoint,
        "rollout": row.id,
        "stage": row.stage,
    }


def _describe_rollout(row: Rollout) -> dict[str, Any]:
    told = parse_told(row)
    return {
        "rollout": row.id,
        "model": row.model,
        "version": row.version,
        "previous": told.previous.version if told.previous else None,
        "kind": row.kind,
        "strategy": told.strategy,
        "stage": row.stage,
        "step": told.step,
        "route_revision": told.route.revision,
        "checks": [check.model_dump(mode="json") for check in told.checks],
        "reason": told.reason.text,
        "told_at": row.told_at,
    }
