"""What a service measures of itself, for Prometheus."""

from dataclasses import dataclass, field
from typing import Any

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge

from chassis.processor import Outcome

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Metrics:
    """The figures of one service, in a registry of its own."""

    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    records: Counter = field(init=False)
    told: Counter = field(init=False)
    parked: Counter = field(init=False)
    waiting: Gauge = field(init=False)
    ready: Gauge = field(init=False)

    def __post_init__(self) -> None:
        for name, metric in {
            "records": Counter(
                "cairn_records", "Records taken, by what became of them", ["outcome"], registry=self.registry
            ),
            "told": Counter("cairn_events_told", "Events told", registry=self.registry),
            "parked": Counter("cairn_records_parked", "Records parked, by reason", ["code"], registry=self.registry),
            "waiting": Gauge(
                "cairn_outbox_waiting", "Events told that Kafka has not confirmed", registry=self.registry
            ),
            "ready": Gauge("cairn_ready", "Whether the service is ready", registry=self.registry),
        }.items():
            object.__setattr__(self, name, metric)

    def observe(self, outcome: Any, records: int) -> None:
        """Count what became of so many records; those that were parked are logged."""
        if not isinstance(outcome, Outcome):
            self.records.labels("appended").inc(records)
            return
        for name in ("applied", "skipped", "duplicates"):
            self.records.labels(name).inc(getattr(outcome, name))
        self.told.inc(outcome.told)
        for record, reason in outcome.parked:
            self.parked.labels(reason.code).inc()
            log.warning(
                "record.parked",
                place=f"{record.topic}/{record.partition}/{record.offset}",
                code=reason.code,
                reason=reason.text,
            )
