"""What a service measures of itself, for Prometheus."""

from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Counter, Gauge


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
