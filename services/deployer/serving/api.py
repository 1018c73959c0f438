"""The HTTP side, as raw ASGI: the Open Inference Protocol v2, health and metrics."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import structlog

from cairn.events.identity import fresh_id
from cairn.events.predictions import Output, PredictionRow
from cairn.events.values import Scalar
from deployer.serving.journal import Answered, Journal
from deployer.serving.protocol import Request, describe_model, make_outputs, parse_request, read_rows, write_answer
from deployer.serving.refusals import RETRY_SECONDS, NotNow, Refused, is_askers_fault
from deployer.serving.reporting import Account, Tally
from deployer.serving.routing import LiveArm, RouteTable

MOST_BODY_BYTES = 4 * 1024 * 1024

_BODY_SECONDS = 10.0
_SCORE_SECONDS = 10.0
_WRITE_SECONDS = 20.0
_JSON = "application/json"
log = structlog.get_logger()

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Response:
    """What is sent back."""

    body: bytes
    status: int = 200
    content_type: str = _JSON
    headers: tuple[tuple[bytes, bytes], ...] = ()

    @classmethod
    def of(cls, content: Any, status: int = 200, headers: tuple[tuple[bytes, bytes], ...] = ()) -> "Response":
        """JSON."""
        body = json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
        return cls(body, status, headers=headers)


@dataclass(frozen=True, slots=True)
class Api:
    """The ASGI application."""

    table: RouteTable
    journal: Journal
    tally: Tally
    now: Callable[[], datetime] = field(default=lambda: datetime.now(UTC))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        try:
            response = await self._respond(scope, receive)
        except Refused as refused:
            response = _refusal(refused)
        except Exception:
            log.exception("request.error", path=scope["path"])
            response = Response.of({"error": "an error of the server; its log says more"}, 500)
        await _send(send, response, closing=response.status == 413)

    async def _respond(self, scope: Scope, receive: Receive) -> Response:
        parts = [part for part in scope["path"].split("/") if part]
        method = scope["method"]
        if parts[:2] == ["v2", "models"] and parts[-1] == "infer":
            _demand(method, "POST")
            return await self._infer(*_model_of(parts[2:-1]), _headers(scope), receive)
        _demand(method, "GET", "HEAD")
        if parts[:2] == ["v2", "models"]:
            return self._describe(parts[2:])
        return self._tell("/".join(parts))

    def _tell(self, path: str) -> Response:
        """What is not about one model."""
        if path in ("healthz", "v2/health/live"):
            return Response.of({"live": True})
        if path in ("readyz", "v2/health/ready"):
            return Response.of({"ready": self.table.ready}, 200 if self.table.ready else 503)
        if path == "metrics":
            return Response(_measure(self.table, self.tally).encode(), content_type="text/plain; version=0.0.4")
        if path == "v2":
            return Response.of({"name": "cairn", "version": "2", "extensions": []})
        raise Refused(404, f"there is nothing at /{path[:200]}")

    def _describe(self, parts: list[str]) -> Response:
        asks_ready = len(parts) in (2, 4) and parts[-1] == "ready"
        model, version = _model_of(parts[:-1] if asks_ready else parts)
        live = self.table.champion(model, version)
        if asks_ready:
            return Response.of({"name": model, "ready": True})
        versions = sorted(one.arm.model.version for one in self.table.route(model).arms)
        return Response.of(describe_model(model, versions, live.schema))

    async def _infer(self, model: str, version: str | None, headers: dict[bytes, bytes], receive: Receive) -> Response:
        began = time.perf_counter()
        account = self.table.champion(model, version).account
        try:
            _demand_json(headers)
            asked = parse_request(await _read_body(headers, receive))
        except Refused:
            self.journal.reject(account, 1)
            raise
        ids = [fresh_id() for _ in range(asked.rows)]
        live = self.table.arm(model, version, ids[0])
        outputs, cells, named = await self._score(live, asked)
        rows = self._rows(live, ids, cells, outputs, named, time.perf_counter() - began)
        try:
            async with asyncio.timeout(_WRITE_SECONDS):
                await self.journal.write(Answered(live.account, live.served, live.columns, rows))
        except TimeoutError:
            raise NotNow("the prediction could not be recorded in time") from None
        return _answer(live, asked, outputs, ids)

    async def _score(
        self, live: LiveArm, asked: Request
    ) -> tuple[list[Output], list[list[Scalar]], list[tuple[str | None, str | None]]]:
        """The outputs, the rows that they are for, and how the caller names each."""
        try:
            cells = read_rows(asked, live.schema)
            named = list(zip(asked.request_ids(), asked.entities(), strict=True))
            async with asyncio.timeout(_SCORE_SECONDS):
                return await live.scorer.score(cells), cells, named
        except Exception as error:
            count = self.journal.reject if is_askers_fault(error) else self.journal.fail
            count(live.account, asked.rows)
            if isinstance(error, TimeoutError):
                raise NotNow("the model did not answer in time") from None
            raise

    def _rows(
        self,
        live: LiveArm,
        ids: list[str],
        cells: list[list[Scalar]],
        outputs: list[Output],
        named: list[tuple[str | None, str | None]],
        seconds: float,
    ) -> tuple[PredictionRow, ...]:
        now, arm = self.now(), live.arm
        return tuple(
            PredictionRow(
                prediction_id=prediction_id,
                request_id=request_id,
                entity=entity,
                served_at=now,
                arm=arm.name,
                version=arm.model.version,
                features=tuple(row),
                output=output,
                latency_seconds=seconds,
            )
            for prediction_id, row, output, (request_id, entity) in zip(ids, cells, outputs, named, strict=True)
        )


def _answer(live: LiveArm, asked: Request, outputs: list[Output], ids: list[str]) -> Response:
    parameters = {"route_revision": live.revision, "arm": live.arm.name}
    tensors = make_outputs(live.schema, outputs, ids)
    body = write_answer(asked, live.arm.model.name, live.arm.model.version, parameters, tensors)
    return Response(body, headers=((b"cairn-route-revision", str(live.revision).encode()),))


def _refusal(refused: Refused) -> Response:
    headers = ((b"retry-after", str(RETRY_SECONDS).encode()),) if isinstance(refused, NotNow) else ()
    return Response.of({"error": str(refused)}, refused.status, headers)


def _model_of(parts: list[str]) -> tuple[str, str | None]:
    """Model and version in a path's part `name` or `name/versions/number`. Raises Refused."""
    if len(parts) == 1:
        return parts[0], None
    if len(parts) == 3 and parts[1] == "versions":
        return parts[0], parts[2]
    raise Refused(404, "there is nothing at this path")


def _demand(method: str, *methods: str) -> None:
    if method not in methods:
        raise Refused(405, f"{method} is not answered here, {' and '.join(methods)} is")


def _headers(scope: Scope) -> dict[bytes, bytes]:
    return dict(scope["headers"])


def _demand_json(headers: dict[bytes, bytes]) -> None:
    content_type = headers.get(b"content-type", _JSON.encode()).partition(b";")[0].strip().lower()
    if content_type != _JSON.encode():
        raise Refused(415, f"a body of {content_type.decode(errors='replace')[:100]} is not read, {_JSON} is")
    if headers.get(b"content-encoding", b"identity").lower() != b"identity":
        raise Refused(415, "a packed body is not read")
    if b"inference-header-content-length" in headers:
        raise Refused(415, "binary tensors are not read: send the data as JSON")


async def _read_body(headers: dict[bytes, bytes], receive: Receive) -> bytes:
    """The body, if it is not too large. Raises Refused."""
    declared = headers.get(b"content-length", b"0")
    if declared.isdigit() and int(declared) > MOST_BODY_BYTES:
        raise Refused(413, f"a body of {int(declared)} bytes is too large; at most {MOST_BODY_BYTES} are read")
    chunks, size, more = [], 0, True
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise Refused(400, "the request ended before its body")
                chunks.append(message.get("body", b""))
                size += len(chunks[-1])
                if size > MOST_BODY_BYTES:
                    raise Refused(413, f"the body is too large; at most {MOST_BODY_BYTES} bytes are read")
                more = message.get("more_body", False)
    except TimeoutError:
        raise Refused(408, f"the body did not come within {_BODY_SECONDS:g} s") from None
    return b"".join(chunks)


async def _send(send: Send, response: Response, *, closing: bool) -> None:
    headers = [
        (b"content-type", response.content_type.encode()),
        (b"content-length", str(len(response.body)).encode()),
        *response.headers,
    ]
    if closing:  # what is left of the body is not read
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    await send({"type": "http.response.body", "body": response.body})


def _measure(table: RouteTable, tally: Tally) -> str:
    """The figures, as Prometheus reads them."""
    lines = ["# TYPE cairn_ready gauge", f"cairn_ready {int(table.ready)}"]
    lines.append("# TYPE cairn_route_revision gauge")
    lines += [f'cairn_route_revision{{model="{model}"}} {number}' for model, number in table.revisions().items()]
    for name, counts in (("answered", tally.answered), ("failed", tally.failed)):
        lines.append(f"# TYPE cairn_rows_{name} counter")
        lines += [f"cairn_rows_{name}_total{{{_labels(account)}}} {count}" for account, count in counts.items()]
    return "\n".join(lines) + "\n"


def _labels(account: Account) -> str:
    return ",".join(f'{name}="{value}"' for name, value in account._asdict().items())
