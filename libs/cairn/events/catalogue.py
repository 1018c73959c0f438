"""The catalogue: every type of event with its class, topic, owner, key and judge.

Schemas, topic creation, access rules, documents and the routing of messages are all made from this one table.
"""

import re
from dataclasses import dataclass
from typing import Literal

from cairn.events import (
    datasets,
    deployment,
    governance,
    labels,
    monitoring,
    operations,
    predictions,
    registry,
    requests,
    serving,
    training,
    validation,
)
from cairn.events.event import Event

SERVICES = ("registry", "trainer", "validator", "deployer", "monitor", "governance-auditor")
"""The six services, in the order in which they are brought up."""

GATEWAY = "gateway"
ALL_SERVICES = (*SERVICES, GATEWAY)
"""With the door for systems that do not speak Kafka: the six are whole without it."""

OUTSIDE = ("upstream", "people")
"""Who writes topics with programs of their own: data systems, people and CI."""

Subject = Literal["model", "dataset", "policy", "service", "log"]


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic. Only its owner writes it; everyone may read it."""

    name: str
    """Without the installation's prefix."""
    owner: str
    """A service, `serving`, or one of `OUTSIDE`."""
    partitions: int = 4
    max_value_bytes: int = 64 * 1024


@dataclass(frozen=True, slots=True)
class EventType:
    """One type of event."""

    name: str
    """Its CloudEvents type, e.g. `cairn.model.promoted.v1`."""
    facts: type[Event]
    topic: str
    """The topic's name; for what every service tells of itself: `operations`."""
    subject: Subject
    """The kind of thing it is about."""
    entity: str
    """The field that names that thing."""
    judge: str | None = None
    """Of a request: the service that answers it."""

    def subject_of(self, facts: Event) -> str:
        """What these facts are about, e.g. `model/risk.loans`."""
        return f"{self.subject}/{self.entity_of(facts)}"

    def entity_of(self, facts: Event) -> str:
        """The name of the thing that these facts are about."""
        value = getattr(facts, self.entity)
        return str(value if isinstance(value, str) else value.name)

    def key_of(self, facts: Event) -> str:
        """The Kafka key: what has one key keeps its order."""
        if isinstance(facts, predictions.PredictionsServed):
            return f"model/{facts.model}/{facts.replica}"
        return self.subject_of(facts)


TOPICS = {
    topic.name: topic
    for topic in (
        Topic("datasets", "upstream"),
        Topic("labels", "upstream"),
        Topic("requests", "people"),
        Topic("registry", "registry"),
        Topic("training", "trainer"),
        Topic("validation", "validator"),
        Topic("deployment", "deployer"),
        Topic("serving", "serving"),
        Topic("predictions", "serving", partitions=8, max_value_bytes=256 * 1024),
        Topic("monitoring", "monitor", max_value_bytes=256 * 1024),
        Topic("governance", "governance-auditor"),
        Topic("checkpoints", "governance-auditor"),
        *(Topic(f"operations.{service}", service) for service in ALL_SERVICES),
    )
}
"""Every topic by its name, the operations of each service included."""

OPERATIONS = "operations"


def _name(facts: type[Event]) -> str:
    entity, *happened = re.findall(r"[A-Z][a-z]*", facts.__name__)
    return f"cairn.{entity}.{''.join(happened)}.v{facts.major}".lower()


def _types(
    topic: str, subject: Subject, *classes: type[Event], entity: str | None = None, judge: str | None = None
) -> dict[str, EventType]:
    return {_name(facts): EventType(_name(facts), facts, topic, subject, entity or subject, judge) for facts in classes}


CATALOGUE: dict[str, EventType] = {
    **_types("datasets", "dataset", datasets.DatasetPublished),
    **_types("labels", "model", labels.LabelsObserved, labels.OutcomesObserved),
    **_types("requests", "model", requests.DeclarationSubmitted, judge="registry"),
    **_types("requests", "policy", requests.PolicySubmitted, judge="governance-auditor"),
    **_types("requests", "model", requests.TrainingRequested, judge="trainer"),
    **_types("requests", "model", requests.ApprovalGiven, requests.ApprovalWithheld, judge="governance-auditor"),
    **_types("requests", "model", requests.RollbackRequested, judge="deployer"),
    **_types("requests", "service", requests.RedriveRequested),
    **_types("registry", "model", registry.ModelDeclared, registry.ModelRegistered, registry.ModelPromoted),
    **_types(
        "training",
        "model",
        training.TrainingQueued,
        training.TrainingDeclined,
        training.TrainingStarted,
        training.TrialFinished,
        training.TrainingCompleted,
        training.TrainingFailed,
    ),
    **_types("validation", "dataset", validation.DatasetAccepted, validation.DatasetRejected),
    **_types(
        "validation",
        "model",
        validation.ValidationPassed,
        validation.ValidationFailed,
        validation.ValidationErrored,
    ),
    **_types(
        "deployment",
        "model",
        deployment.RolloutStarted,
        deployment.RolloutAdvanced,
        deployment.RolloutHeld,
        deployment.RolloutCompleted,
        deployment.RolloutAborted,
    ),
    **_types(
        "serving",
        "service",
        serving.ReplicaActivated,
        serving.ReplicaFailed,
        serving.ReplicaStopped,
        serving.ReplicaReported,
        entity="replica",
    ),
    **_types("predictions", "model", predictions.PredictionsServed),
    **_types(
        "monitoring",
        "model",
        monitoring.WindowClosed,
        monitoring.WindowRevised,
        monitoring.DriftDetected,
        monitoring.PerformanceDegraded,
        monitoring.AnomalyDetected,
        monitoring.DatasetAssembled,
        monitoring.RetrainingAdvised,
    ),
    **_types("governance", "policy", governance.PolicyAdopted),
    **_types(
        "governance", "model", governance.PromotionPending, governance.PromotionApproved, governance.PromotionRefused
    ),
    **_types("governance", "log", governance.FindingRaised, governance.FindingClosed),
    **_types("checkpoints", "log", governance.CheckpointSigned),
    **_types(
        OPERATIONS,
        "service",
        operations.RecordParked,
        operations.RecordRedriven,
        operations.RecordDiscarded,
        operations.RequestRefused,
        operations.CensusReported,
    ),
    **_types(
        f"{OPERATIONS}.{GATEWAY}",
        "service",
        operations.WebhookSubscribed,
        operations.WebhookDelivered,
        operations.WebhookFailed,
    ),
}
"""Every type by its name."""

_BY_CLASS = {entry.facts: entry for entry in CATALOGUE.values()}


def type_of(facts: type[Event] | Event) -> EventType:
    """The catalogue's entry for a class of events, or for one event."""
    return _BY_CLASS[facts if isinstance(facts, type) else type(facts)]


def topic_for(entry: EventType, service: str) -> Topic:
    """The topic on which `service` tells events of this type."""
    return TOPICS[f"{OPERATIONS}.{service}" if entry.topic == OPERATIONS else entry.topic]


def carries(topic: str, entry: EventType) -> bool:
    """Whether events of this type belong on this topic."""
    return topic == entry.topic or (entry.topic == OPERATIONS and topic.startswith(f"{OPERATIONS}."))


def topics_owned_by(owner: str) -> tuple[Topic, ...]:
    """The topics that only this owner writes."""
    return tuple(topic for topic in TOPICS.values() if topic.owner == owner)
