"""The story: data, version 1, traffic, drift, retraining on what was served, version 2."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from cairn.context import Context
from cairn.declaration import read_declaration
from cairn.demo.data import Parts, Sample, as_csv
from cairn.demo.traffic import label, serve
from cairn.demo.watching import Watch
from cairn.events import (
    DatasetAccepted,
    DatasetAssembled,
    DatasetPublished,
    DatasetRejected,
    DeclarationSubmitted,
    DriftDetected,
    ModelDeclared,
    ModelPromoted,
    ModelRegistered,
    PromotionApproved,
    PromotionRefused,
    ReplicaActivated,
    RequestRefused,
    RetrainingAdvised,
    RolloutAborted,
    RolloutAdvanced,
    RolloutCompleted,
    RolloutStarted,
    TrainingCompleted,
    TrainingDeclined,
    TrainingFailed,
    TrainingQueued,
    TrialFinished,
    ValidationErrored,
    ValidationFailed,
    ValidationPassed,
    WindowClosed,
)
from cairn.events.codec import Heard
from cairn.events.declaration import Declaration
from cairn.events.event import Event
from cairn.objects import open_store
from cairn.publisher import Publisher

TOPICS = (
    "datasets", "labels", "requests", "registry", "training", "validation", "governance", "deployment", "monitoring",
    "serving",
)  # fmt: skip
_NEVER: tuple[type[Event], ...] = (
    DatasetRejected, TrainingDeclined, TrainingFailed, ValidationFailed, ValidationErrored, PromotionRefused,
    RolloutAborted,
)  # fmt: skip
_STEP_SECONDS = 120.0
_CANARY_PAUSE_SECONDS = 0.1
"""Between the requests of the canary, so that each of its steps sees some of them."""


class Teller(Protocol):
    """Shows the story to whoever watches."""

    def say(self, text: str) -> None:
        """A sentence about what happens now."""

    @contextmanager
    def progress(self, what: str, total: int) -> Iterator["Advance"]:
        """A bar for something that takes a while."""


class Advance(Protocol):
    """Moves a bar by one."""

    def __call__(self) -> None:
        """One more is done."""


@dataclass(slots=True)
class Story:
    """The whole loop for one declaration and one division of the data."""

    context: Context
    declaration: Declaration
    parts: Parts
    teller: Teller
    watch: Watch = field(init=False)
    predictions: list[str] = field(default_factory=list)
    """The ids of all predictions that callers got."""

    def __post_init__(self) -> None:
        self.watch = Watch(self.context, TOPICS)

    @classmethod
    def of_tumours(cls, context: Context, parts: Parts, teller: Teller) -> "Story":
        """The demonstration's own story."""
        file = Path(__file__).with_name("tumours.yaml")
        return cls(context, read_declaration(file, file.name), parts, teller)

    async def run(self) -> None:
        """Tell it from the beginning to the second promotion. Raises StoryStuck and NoAnswer."""
        await self.watch.start()
        try:
            await self._first_version()
            await self._quiet_traffic()
            await self._drift()
            await self._second_version()
        finally:
            await self.watch.stop()

    async def until_first_promotion(self) -> None:
        """Tell only how the first version went live."""
        await self.watch.start()
        try:
            await self._first_version()
        finally:
            await self.watch.stop()

    async def _first_version(self) -> None:
        model = self.declaration.model
        self.teller.say(f"A data scientist declares {model} in one YAML file.")
        async with Publisher(self.context) as publisher:
            await publisher.publish(DeclarationSubmitted(model=model, declaration=self.declaration))
            await self._until(ModelDeclared)
            self.teller.say(f"An upstream system publishes {len(self.parts.published)} labelled rows.")
            ref = open_store(self.context.objects()).put_bytes(as_csv(self.parts.published), "text/csv")
            await publisher.publish(
                DatasetPublished(dataset=self.declaration.dataset, version="1", files=(ref,), format="csv")
            )
        await self._until(DatasetAccepted)
        await self._show_training(1)
        await self._until_promoted(1)

    async def _show_training(self, number: int) -> None:
        """Follow a run's trials until it is completed."""
        queued = await self._nth(TrainingQueued, number)
        assert isinstance(queued.facts, TrainingQueued)
        run = queued.facts.run.run_id
        with self.teller.progress(f"training version {number}", queued.facts.budget.max_trials) as advance:
            for trial in range(1, queued.facts.budget.max_trials + 1):
                told = await self.watch.until(
                    Event,
                    lambda facts, trial=trial: _is_trial(facts, run, trial) or _is_end(facts, run),  # type: ignore[misc]  # a default binds the loop's value
                    never=_NEVER,
                    seconds=_STEP_SECONDS,
                )
                if isinstance(told.facts, TrainingCompleted):
                    break
                advance()
        await self.watch.until(
            TrainingCompleted, lambda facts: facts.run.run_id == run, never=_NEVER, seconds=_STEP_SECONDS
        )

    async def _until_promoted(self, generation: int) -> None:
        await self._nth(ModelRegistered, generation)
        await self._nth(ValidationPassed, generation)
        await self._nth(PromotionApproved, generation)
        told = await self.watch.until(
            ModelPromoted, lambda facts: facts.generation == generation, never=_NEVER, seconds=_STEP_SECONDS
        )
        assert isinstance(told.facts, ModelPromoted)
        self.teller.say(f"Version {told.facts.model.version} is champion, generation {generation}.")

    async def _quiet_traffic(self) -> None:
        self.teller.say(f"Callers ask for {len(self.parts.quiet)} predictions; labels follow later.")
        await self._serve_and_label(self.parts.quiet, first=1)
        await self._nth(WindowClosed, 1)

    async def _drift(self) -> None:
        self.teller.say(f"The instrument loses its calibration; {len(self.parts.shifted)} more predictions.")
        await self._serve_and_label(self.parts.shifted, first=1 + len(self.parts.quiet))
        drift = await self._until(DriftDetected)
        assert isinstance(drift.facts, DriftDetected)
        self.teller.say(f"Drift is detected in {len(drift.facts.columns)} columns; retraining is advised.")
        await self._until(DatasetAssembled)
        await self._until(RetrainingAdvised)

    async def _second_version(self) -> None:
        await self._nth(DatasetAccepted, 2)
        await self._show_training(2)
        started = await self._nth(RolloutStarted, 2)
        assert isinstance(started.facts, RolloutStarted)
        revision = started.facts.route.revision
        await self.watch.until(ReplicaActivated, lambda facts: facts.route_revision == revision, seconds=_STEP_SECONDS)
        self.teller.say("Version 2 takes its first share of the traffic.")
        first = 1 + len(self.parts.quiet) + len(self.parts.shifted)
        await self._serve(self.parts.rest, first, _CANARY_PAUSE_SECONDS)
        await self._until_promoted(2)

    async def _serve_and_label(self, samples: Sequence[Sample], first: int) -> None:
        ids = await self._serve(samples, first)
        await label(self.context, self.declaration.model, ids, samples, datetime.now(UTC))

    async def _serve(self, samples: Sequence[Sample], first: int, pause_seconds: float = 0) -> list[str]:
        with self.teller.progress("predictions", len(samples)) as advance:
            ids = await serve(self.context, self.declaration.model, samples, first, advance, pause_seconds)
        self.predictions += ids
        return ids

    async def _until(self, kind: type[Event]) -> Heard:
        return await self._nth(kind, 1)

    async def _nth(self, kind: type[Event], number: int) -> Heard:
        """The n-th event of a type in this story."""
        await self.watch.until(
            kind, lambda _facts: len(self.watch.told(kind)) >= number, never=_NEVER, seconds=_STEP_SECONDS
        )
        return self.watch.told(kind)[number - 1]


def _is_trial(facts: Event, run: str, number: int) -> bool:
    return isinstance(facts, TrialFinished) and facts.run.run_id == run and facts.trial == number


def _is_end(facts: Event, run: str) -> bool:
    return isinstance(facts, TrainingCompleted) and facts.run.run_id == run


TOLD_IN_TABLE: tuple[type[Event], ...] = (
    ModelDeclared, DatasetPublished, DatasetAccepted, TrainingQueued, TrainingCompleted, ModelRegistered,
    ValidationPassed, PromotionApproved, RolloutStarted, RolloutAdvanced, RolloutCompleted, ModelPromoted,
    WindowClosed, DriftDetected, DatasetAssembled, RetrainingAdvised, RequestRefused,
)  # fmt: skip
"""What the story's table shows."""
