"""How the webhooks fare: for people at `GET /webhooks`, for Prometheus beside the chassis's figures."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from cairn.events.instants import parse_instant
from chassis.database import Database
from gateway.domain import Webhook
from gateway.store import FAILED, Store


@dataclass(frozen=True, slots=True)
class Overview(Collector):
    """What each webhook waits for, and what it has had."""

    database: Database
    webhooks: Sequence[Webhook]
    now: Callable[[], datetime]

    def describe_all(self) -> list[dict[str, Any]]:
        """Each webhook; its URL is left out, which may hold a secret."""
        with self.database.read() as session:
            store = Store(session)
            return [self._describe(webhook, store) for webhook in self.webhooks]

    def _describe(self, webhook: Webhook, store: Store) -> dict[str, Any]:
        waiting, oldest_at = store.waiting(webhook)
        oldest = parse_instant(oldest_at)
        ended = {"delivered": 0, FAILED: 0} | store.ended(webhook.name)
        return {
            "webhook": webhook.name,
            "types": webhook.types,
            "waiting": waiting,
            "oldest_seconds": max(0.0, (self.now() - oldest).total_seconds()) if oldest else 0.0,
            **ended,
        }

    async def show(self, _request: Request) -> Response:
        """The same, as JSON."""
        return JSONResponse({"webhooks": await run_in_threadpool(self.describe_all)})

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """The figures, as Prometheus reads them."""
        found = self.describe_all()
        for name, key, says in (
            ("cairn_webhook_waiting", "waiting", "Events that a webhook is still to be told of"),
            ("cairn_webhook_oldest_seconds", "oldest_seconds", "Age of the oldest of them"),
            ("cairn_webhook_failed", FAILED, "Events that it did not take, and that nobody had driven again"),
        ):
            family = GaugeMetricFamily(name, says, labels=["webhook"])
            for one in found:
                family.add_metric([one["webhook"]], one[key])
            yield family
