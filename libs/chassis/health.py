"""The service's own port: liveness, readiness, metrics, what is parked, and its read API."""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from sqlalchemy import select
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from chassis import ledger
from chassis.database import Database
from chassis.metrics import Metrics


def make_app(
    database: Database,
    metrics: Metrics,
    unready: Callable[[], list[str]],
    measure: Callable[[], None],
    routes: Sequence[Route],
    lifespan: Callable[[Any], AbstractAsyncContextManager[None]] | None = None,
) -> Starlette:
    """The ASGI application. `unready` answers with the reasons why the service is not ready."""

    async def healthz(_request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(_request: Request) -> Response:
        reasons = unready()
        return JSONResponse({"ready": not reasons, "reasons": reasons}, status_code=503 if reasons else 200)

    async def show_metrics(_request: Request) -> Response:
        await run_in_threadpool(measure)
        metrics.ready.set(0 if unready() else 1)
        shown = await run_in_threadpool(generate_latest, metrics.registry)
        return Response(shown, media_type=CONTENT_TYPE_LATEST)

    async def parked(_request: Request) -> Response:
        return JSONResponse({"records": await run_in_threadpool(list_parked, database)})

    return Starlette(
        routes=[
            Route("/healthz", healthz),
            Route("/readyz", readyz),
            Route("/metrics", show_metrics),
            Route("/parked", parked),
            *routes,
        ],
        lifespan=lifespan,
    )


def list_parked(database: Database) -> list[dict[str, Any]]:
    """The parked records, without their bytes."""
    table = ledger.PARKED.c
    columns = (table.topic, table.partition, table.offset, table.code, table.text, table.parking, table.state)
    with database.read() as session:
        rows = session.execute(select(*columns).order_by(table.topic, table.partition, table.offset))
        return [dict(row) for row in rows.mappings()]
