"""The governance-auditor's read API: checkpoints and findings. GET only, JSON."""

import json
from collections.abc import Sequence
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from chassis.database import Database
from governance_auditor.store import Finding, Head, LogStore

_PAGE = 500


def make_routes(database: Database) -> Sequence[Route]:
    """The routes, over this store."""

    async def checkpoints(_request: Request) -> Response:
        return JSONResponse({"logs": await run_in_threadpool(list_checkpoints, database)})

    async def findings(request: Request) -> Response:
        cursor = request.query_params.get("after", "")
        try:
            return JSONResponse(await run_in_threadpool(list_findings, database, cursor))
        except ValueError:
            problem = {"title": "no such cursor", "status": 400, "detail": cursor}
            return JSONResponse(problem, status_code=400, media_type="application/problem+json")

    return [Route("/checkpoints", checkpoints), Route("/findings", findings)]


def list_checkpoints(database: Database) -> list[dict[str, Any]]:
    """Each log with its size and its latest checkpoint."""
    with database.read() as session:
        return [_describe_head(head) for head in LogStore(session).heads()]


def list_findings(database: Database, cursor: str = "") -> dict[str, Any]:
    """A page of findings, by log and place; `next` is the cursor of the page after it. Raises ValueError."""
    with database.read() as session:
        found = LogStore(session).findings(_parse_cursor(cursor), _PAGE)
        return {
            "findings": [_describe_finding(row) for row in found],
            "next": _cursor_of(found[-1]) if len(found) == _PAGE else None,
        }


def _describe_head(head: Head) -> dict[str, Any]:
    signed = head.signed
    return {
        "log": head.log,
        "size": head.size,
        "signed_size": head.signed_size,
        "waiting": max(0, head.size - head.signed_size),
        "broken": head.broken,
        "root_hash": signed.root_hash if signed else None,
        "signed_at": signed.signed_at if signed else None,
        "note": signed.note if signed else None,
    }


def _describe_finding(row: Finding) -> dict[str, Any]:
    return {
        "log": row.log,
        "first_offset": row.first_offset,
        "last_offset": row.last_offset,
        "code": row.code,
        "severity": row.severity,
        "text": row.text,
        "event": json.loads(row.event) if row.event else None,
        "raised_at": row.raised_at,
    }


def _cursor_of(row: Finding) -> str:
    return json.dumps([row.log, row.first_offset, row.code])


def _parse_cursor(cursor: str) -> tuple[str, int, str]:
    if not cursor:
        return "", -1, ""
    match json.loads(cursor):
        case [str(log), int(offset), str(code)]:
            return log, offset, code
    raise ValueError(cursor)
