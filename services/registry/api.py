"""The registry's read API: models, versions, lineage. GET only, JSON."""

from collections.abc import Sequence
from typing import Any

from sqlmodel import col, select
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from chassis.database import Database
from registry.domain import life_of
from registry.store import Approved, Declared, Promotion, Store, Verdict, Version


def make_routes(database: Database) -> Sequence[Route]:
    """The routes, over this store."""

    async def list_models(_request: Request) -> Response:
        return JSONResponse({"models": await run_in_threadpool(summarise_all, database)})

    async def show_model(request: Request) -> Response:
        found = await run_in_threadpool(describe, database, request.path_params["model"])
        if found is None:
            problem = {"title": "no such model", "status": 404, "detail": request.path_params["model"]}
            return JSONResponse(problem, status_code=404, media_type="application/problem+json")
        return JSONResponse(found)

    return [Route("/models", list_models), Route("/models/{model}", show_model)]


def summarise_all(database: Database) -> list[dict[str, Any]]:
    """Each model with its champion."""
    with database.read() as session:
        names = session.exec(select(Declared.model).distinct().order_by(Declared.model)).all()
        store = Store(session)
        return [_summarise(store, name) for name in names]


def _summarise(store: Store, model: str) -> dict[str, Any]:
    champion, declared = store.champion(model), store.declaration(model)
    return {
        "model": model,
        "owner": declared.declaration.owner if declared else None,
        "revision": declared.revision if declared else None,
        "versions": len(store.version_numbers(model)),
        "champion": champion.model.version if champion else None,
        "generation": champion.generation if champion else None,
    }


def describe(database: Database, model: str) -> dict[str, Any] | None:
    """A model with its versions and promotions; None if it was never declared."""
    with database.read() as session:
        store = Store(session)
        declared = store.declaration(model)
        if declared is None:
            return None
        promotions = session.exec(
            select(Promotion).where(Promotion.model == model).order_by(col(Promotion.generation))
        ).all()
        versions = session.exec(select(Version).where(Version.model == model).order_by(col(Version.version))).all()
        champion = promotions[-1].version if promotions else None
        promoted = {row.version for row in promotions}
        return {
            **_summarise(store, model),
            "declaration": declared.declaration.model_dump(mode="json"),
            "versions": [
                _describe_version(
                    store,
                    session.get(Verdict, (model, row.version)),
                    session.get(Approved, (model, row.version)) is not None,
                    row,
                    champion,
                    promoted,
                )
                for row in versions
            ],
            "promotions": [
                {
                    "generation": row.generation,
                    "version": row.version,
                    "route_revision": row.route_revision,
                    "promoted_at": row.promoted_at,
                }
                for row in promotions
            ],
        }


def _describe_version(
    store: Store, verdict: Verdict | None, approved: bool, row: Version, champion: int | None, promoted: set[int]
) -> dict[str, Any]:
    registered = store.version(row.model, row.version)
    assert registered is not None
    passed = verdict.passed if verdict else None
    return {
        "version": row.version,
        "digest": registered.model.digest,
        "life": life_of(registered.model, passed, approved, champion, row.version in promoted),
        "registered_at": row.registered_at,
        "run": registered.run.run_id,
        "dataset": registered.dataset.model_dump(mode="json"),
    }
