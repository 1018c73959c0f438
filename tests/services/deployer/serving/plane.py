"""A serving process without Kafka and without models: a fake predictor, a fake log, and an HTTP call that is a call."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from tests.services.deployer.made import LOANS, model_ref, object_ref

from cairn.events.event import Event
from cairn.events.predictions import Output, PredictionsServed
from cairn.events.values import Arm, Column, IoSchema
from deployer.serving.api import Api
from deployer.serving.journal import Journal
from deployer.serving.reporting import Tally
from deployer.serving.routing import LiveArm, LiveRoute, RouteTable
from deployer.serving.speaking import CannotTell, Ground

SCHEMA = IoSchema(
    inputs=(
        Column(name="amount", type="number"),
        Column(name="months", type="integer"),
        Column(name="purpose", type="string", required=False),
        Column(name="first", type="boolean"),
    ),
    outputs=(Column(name="score", type="number"), Column(name="label", type="integer")),
)
INPUTS = {"amount": [100.5], "months": [12], "purpose": ["car"], "first": [True]}


class FakeScorer:
    """Scores a row by its first cell."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.closed = False

    async def score(self, rows: Sequence[Sequence[Any]]) -> list[Output]:
        if self.error:
            raise self.error
        return [Output(score=row[0] / 1000, label=int(row[0] >= 500)) for row in rows]

    async def close(self) -> None:
        self.closed = True


class FakeLog:
    """Keeps what is told, or refuses it."""

    def __init__(self) -> None:
        self.told: list[Event] = []
        self.away = False

    async def __call__(self, facts: Event, ground: Ground | None = None, event_id: str = "") -> None:
        if self.away:
            raise CannotTell("Kafka is away")
        self.told.append(facts)

    @property
    def predictions(self) -> list[PredictionsServed]:
        return [facts for facts in self.told if isinstance(facts, PredictionsServed)]


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: Any

    def output(self, name: str) -> Any:
        (found,) = [tensor["data"] for tensor in self.body["outputs"] if tensor["name"] == name]
        return found


class Plane:
    """The parts, put together by hand."""

    def __init__(self, schema: IoSchema = SCHEMA) -> None:
        self.schema = schema
        self.log = FakeLog()
        self.tally = Tally()
        self.table = RouteTable(tried=True, current=True)
        self.journal = Journal("serving-1", self.log, self.tally)
        self.api = Api(self.table, self.journal, self.tally, lambda: datetime(2026, 1, 1, tzinfo=UTC))

    def route(self, revision: int, weights: dict[int, float], scorer: Any = None, model: str = LOANS) -> None:
        arms = tuple(
            LiveArm(arm_of(version, weight, model=model), revision, self.schema, scorer or FakeScorer())
            for version, weight in weights.items()
        )
        self.table.routes[model] = LiveRoute(revision, arms)

    async def get(self, path: str, method: str = "GET") -> Answer:
        return await self._call(method, path, {}, b"")

    async def post(self, path: str, content: Any, headers: dict[str, str] | None = None) -> Answer:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        return await self._call("POST", path, headers or {"content-type": "application/json"}, body)

    async def infer(self, inputs: dict[str, list[Any]], model: str = LOANS, **more: Any) -> Answer:
        return await self.post(f"/v2/models/{model}/infer", {"inputs": tensors(inputs), **more})

    async def _call(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Answer:
        sent: list[Any] = []
        chunks = [body[start : start + 65_536] for start in range(0, len(body), 65_536)] or [b""]

        async def receive() -> dict[str, Any]:
            chunk = chunks.pop(0)
            return {"type": "http.request", "body": chunk, "more_body": bool(chunks)}

        async def send(message: Any) -> None:
            sent.append(message)

        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        await self.api({"type": "http", "method": method, "path": path, "headers": raw}, receive, send)
        start, end = sent
        found = {name.decode(): value.decode() for name, value in start["headers"]}
        content = json.loads(end["body"]) if found["content-type"] == "application/json" else end["body"].decode()
        return Answer(start["status"], found, content)


def arm_of(version: int, weight: float = 1.0, role: str = "champion", model: str = LOANS) -> Arm:
    package = object_ref(f"{model}/{version}")
    return Arm(
        name=f"v{version}",
        role=role,  # type: ignore[arg-type]  # the tests name roles
        model=model_ref(version, model),
        package=package,
        profile=object_ref(f"profile {version}"),
        weight_ratio=weight,
    )


def tensors(inputs: dict[str, list[Any]]) -> list[dict[str, Any]]:
    return [{"name": name, "shape": [len(data)], "datatype": "FP64", "data": data} for name, data in inputs.items()]
