"""A small story on the real parts: the same loop as the demonstration's, in a few seconds."""

import asyncio
import os
import pickle
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, field
from fcntl import LOCK_EX, flock
from pathlib import Path
from typing import Any

from cairn.cli.audit import verify_context
from cairn.context import Context
from cairn.demo.data import Parts, load_parts
from cairn.demo.story import Story
from cairn.events import (
    TOPICS,
    Declaration,
    FindingRaised,
    ModelPromoted,
    ModelRegistered,
    RecordParked,
    RolloutAdvanced,
    RolloutCompleted,
    RolloutStarted,
)
from cairn.events.catalogue import type_of
from cairn.events.codec import Heard
from cairn.events.event import Event
from cairn.events.hearing import HEARD
from cairn.local.stack import Options, Stack
from cairn.subscriber import read_log
from chassis.kafka import Log, partitions_of

DECLARATION = Declaration.model_validate(
    {
        "model": "toy.tumours",
        "owner": "tests",
        "dataset": "toy.tumours",
        "target": "malignant",
        "search": {"estimators": ["logistic_regression"], "folds": 2, "max_trials": 2},
        "gates": {"minimums": {"roc_auc": 0.7}},
        "rollout": {"steps": [0.5], "min_requests": 2},
        "monitoring": {"window_rows": 40, "drift": {"bins": 5}},
        "retraining": {"rows": 50},
    }
)
LIFECYCLE = tuple(
    f"cairn.{one}"
    for one in (
        "dataset.", "training.queued.", "training.completed.", "model.", "validation.", "promotion.", "rollout.",
        "drift.detected.", "retraining.advised.",
    )
)  # fmt: skip
"""How the types begin of which a story has as many events whatever was killed."""


def toy_parts() -> Parts:
    """The demonstration's data, less of it."""
    whole = load_parts()
    return Parts(whole.published[:150], whole.quiet[:40], whole.shifted[:50], whole.rest[:20])


@dataclass
class Listener:
    """Hears the story, and does something at each of its moments."""

    at_moment: Callable[[str], None] = lambda _moment: None
    moments: list[str] = field(default_factory=list)
    predictions: list[str] = field(default_factory=list)

    def say(self, text: str) -> None:
        self._reach(text)

    @contextmanager
    def progress(self, what: str, total: int) -> Iterator[Callable[[], None]]:
        count = 0

        def advance() -> None:
            nonlocal count
            count += 1
            self._reach(f"{what} {count}")

        yield advance

    def _reach(self, moment: str) -> None:
        self.moments.append(moment)
        self.at_moment(moment)


@dataclass(frozen=True)
class End:
    """Where a story ended: what must be the same whatever was killed."""

    versions: tuple[tuple[int, str], ...]
    generations: tuple[tuple[int, int], ...]
    route: tuple[int, tuple[tuple[str, int, str, float], ...]]
    lifecycle: tuple[tuple[str, int], ...]
    """How many events of each type that a life of a model consists of; each event counts once."""

    @property
    def without_digests(self) -> Any:
        """The same but for what depends on the exact rows that were served."""
        arms = tuple((role, version, weight) for role, version, _digest, weight in self.route[1])
        versions = tuple(version for version, _ in self.versions)
        return versions, self.generations, (self.route[0], arms), self.lifecycle


def end_of(heard: list[Heard]) -> End:
    """Fold the log into where it ended."""
    facts = [one.facts for one in heard]
    rollouts = [one for one in facts if isinstance(one, (RolloutStarted, RolloutAdvanced, RolloutCompleted))]
    route = max((one.route for one in rollouts), key=lambda route: route.revision)
    return End(
        versions=tuple((one.model.version, one.model.digest) for one in facts if isinstance(one, ModelRegistered)),
        generations=tuple(
            sorted((one.generation, one.model.version) for one in facts if isinstance(one, ModelPromoted))
        ),
        route=(
            route.revision,
            tuple((arm.role, arm.model.version, arm.model.digest, arm.weight_ratio) for arm in route.arms),
        ),
        lifecycle=tuple(sorted(Counter(type_of(one).name for one in facts if is_lifecycle(one)).items())),
    )


def is_lifecycle(facts: Event) -> bool:
    """Whether it is a step in the life of a model, and no sign of how often one was tried or looked at."""
    return type_of(facts).name.startswith(LIFECYCLE)


def find_faults(heard: list[Heard]) -> list[str]:
    """Where a log is not as every log must be, whatever was killed: a hole, a record parked, a finding."""
    return [*_gaps(heard), *(f"{one.facts!r}" for one in heard if _is_trouble(one.facts))]


def _gaps(heard: list[Heard]) -> Iterator[str]:
    last: dict[tuple[str, str, str], int] = {}
    for one in heard:
        envelope = one.message.envelope
        if envelope.sequence:
            key = (envelope.source, one.message.record.topic, envelope.subject)
            if int(envelope.sequence) != last.get(key, 0) + 1:
                yield f"{key}: {int(envelope.sequence)} follows on {last.get(key, 0)}"
            last[key] = int(envelope.sequence)
    if not last:
        yield "no event has a sequence"


def _is_trouble(facts: Event) -> bool:
    return isinstance(facts, RecordParked) or (isinstance(facts, FindingRaised) and facts.severity != "notice")


async def read_all(context: Context, topics: tuple[str, ...]) -> list[Heard]:
    """Every event of some topics, each once."""
    seen, found = set(), []
    async with aclosing(read_log(context, topics)) as log:
        async for _record, heard in log:
            assert isinstance(heard, Heard), heard
            identity = (heard.message.envelope.source, heard.message.envelope.id)
            if identity not in seen:
                seen.add(identity)
                found.append(heard)
    return found


async def tell_story(stack: Stack, listener: Listener) -> End:
    """Tell the toy story to its end, and see that the log is as every log must be."""
    story = Story(stack.context, DECLARATION, toy_parts(), listener)
    await story.run()
    listener.predictions += story.predictions
    await quiesce(stack)
    heard = await read_all(stack.context, tuple(TOPICS))
    assert find_faults(heard) == []
    await verify_context(stack.context)
    return end_of(heard)


async def promote_first_version(stack: Stack, listener: Listener) -> None:
    """Tell the story only to its first promotion."""
    story = Story(stack.context, DECLARATION, toy_parts(), listener)
    await story.until_first_promotion()


def options(home: Path, servers: str, name: str, **environment: str) -> Options:
    """A stack on a Kafka that is there already, under a name of its own."""
    return Options(home=home, installation=name, bootstrap_servers=servers, environment=environment)


@dataclass
class Calm:
    """Where the story ends when nothing is killed; None until it was told."""

    end: End | None = None


@contextmanager
def calm(shared: Path) -> Iterator[Calm]:
    """What is known of it, in a folder that the tests' processes share: while one tells it, others wait."""
    with (shared / "calm").open("a+b") as file:
        flock(file, LOCK_EX)
        file.seek(0)
        written = file.read()
        known = Calm(pickle.loads(written) if written else None)
        yield known
        if not written:
            file.write(pickle.dumps(known.end))


def run_service(stack: Stack, service: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command of a service whose process is stopped, in the environment that it had."""
    environment = {**os.environ, **stack.processes[service].program.environment}
    command = [sys.executable, "-P", "-m", service.replace("-", "_"), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)


async def quiesce(stack: Stack, seconds: float = 30) -> None:
    """Wait until every service has taken all there is and told all it had: lag and outboxes are empty."""
    context = stack.context
    async with asyncio.timeout(seconds):
        while True:
            behind = []
            for service, topics in HEARD.items():
                if service not in context.services:
                    continue
                async with Log.open(
                    context.bootstrap_servers, context.installation, f"{context.installation.name}.{service}"
                ) as log:
                    ends = await log.ends(partitions_of(topics))
                    committed = await log.committed(partitions_of(topics))
                behind += [(service, one) for one, end in ends.items() if (committed[one] or 0) < end]
            if not behind:
                return
            await asyncio.sleep(0.3)
