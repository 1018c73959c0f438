"""The contract: every event, its envelope, its identity, its signature, and how it travels on Kafka."""

from cairn.events.catalogue import (
    ALL_SERVICES,
    CATALOGUE,
    GATEWAY,
    SERVICES,
    TOPICS,
    EventType,
    Topic,
    topic_for,
    topics_owned_by,
    type_of,
)
from cairn.events.codec import Heard, Malformed, Message, Outgoing, Record, check, read, write
from cairn.events.datasets import DatasetPublished
from cairn.events.declaration import Declaration
from cairn.events.deployment import RolloutAborted, RolloutAdvanced, RolloutCompleted, RolloutHeld, RolloutStarted
from cairn.events.envelope import Envelope
from cairn.events.event import Event
from cairn.events.governance import (
    CheckpointSigned,
    FindingClosed,
    FindingRaised,
    PolicyAdopted,
    PromotionApproved,
    PromotionPending,
    PromotionRefused,
)
from cairn.events.identity import Cause, Installation
from cairn.events.labels import LabelsObserved, OutcomesObserved
from cairn.events.monitoring import (
    AnomalyDetected,
    DatasetAssembled,
    DriftDetected,
    PerformanceDegraded,
    RetrainingAdvised,
    WindowClosed,
    WindowRevised,
)
from cairn.events.operations import (
    CensusReported,
    RecordDiscarded,
    RecordParked,
    RecordRedriven,
    RequestRefused,
    WebhookDelivered,
    WebhookFailed,
    WebhookSubscribed,
)
from cairn.events.policy import Policy
from cairn.events.predictions import PredictionsServed
from cairn.events.registry import ModelDeclared, ModelPromoted, ModelRegistered
from cairn.events.requests import (
    ApprovalGiven,
    ApprovalWithheld,
    DeclarationSubmitted,
    PolicySubmitted,
    RedriveRequested,
    RollbackRequested,
    TrainingRequested,
)
from cairn.events.serving import ReplicaActivated, ReplicaFailed, ReplicaReported, ReplicaStopped
from cairn.events.signing import Signer, Trust, TrustedKey, UnsignedSource
from cairn.events.training import (
    TrainingCompleted,
    TrainingDeclined,
    TrainingFailed,
    TrainingQueued,
    TrainingStarted,
    TrialFinished,
)
from cairn.events.validation import (
    DatasetAccepted,
    DatasetRejected,
    ValidationErrored,
    ValidationFailed,
    ValidationPassed,
)
