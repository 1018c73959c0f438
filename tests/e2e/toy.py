"""A small story on the real parts: the same loop as the demonstration's, in a few seconds."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cairn.context import Context
from cairn.demo.data import Parts, load_parts
from cairn.demo.story import Story
from cairn.events import (
    Declaration,
    ModelPromoted,
    ModelRegistered,
    RolloutAdvanced,
    RolloutCompleted,
    RolloutStarted,
)
from cairn.events.codec import Heard
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

    @property
    def without_digests(self) -> Any:
        """The same but for what depends on the exact rows that were served."""
        arms = tuple((role, version, weight) for role, version, _digest, weight in self.route[1])
        return tuple(version for version, _ in self.versions), self.generations, (self.route[0], arms)


async def read_end(context: Context) -> End:
    """Fold the log into where it ended; each event counts once."""
    facts = [heard.facts for heard in await read_all(context, ("registry", "deployment"))]
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
    )


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
    """Tell the toy story to its end."""
    story = Story(stack.context, DECLARATION, toy_parts(), listener)
    await story.run()
    listener.predictions += story.predictions
    return await read_end(stack.context)


async def promote_first_version(stack: Stack, listener: Listener) -> None:
    """Tell the story only to its first promotion."""
    story = Story(stack.context, DECLARATION, toy_parts(), listener)
    await story.until_first_promotion()


def options(home: Path, servers: str, name: str, **environment: str) -> Options:
    """A stack on a Kafka that is there already, under a name of its own."""
    return Options(home=home, installation=name, bootstrap_servers=servers, environment=environment)


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
