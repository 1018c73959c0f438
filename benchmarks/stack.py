"""Start and memory of all services together, and the loop from a published dataset to a promotion.

The loop's time is told by the log itself: from `dataset.published` to `model.promoted`, less the training between
`training.started` and `training.completed`. Its floor is that training.
"""

import time
from pathlib import Path
from uuid import uuid4

from tests.e2e.toy import DECLARATION, Listener, toy_parts

from benchmarks.printing import show
from cairn.demo.story import Story
from cairn.demo.watching import Watch
from cairn.events import DatasetPublished, ModelPromoted, TrainingCompleted, TrainingStarted
from cairn.events.event import Event
from cairn.local.stack import Options, Stack


async def run(servers: str, directory: Path) -> None:
    """Print the start, the memory and the loop's latency."""
    options = Options(home=directory, installation=f"bench-{uuid4().hex[:8]}", bootstrap_servers=servers)
    begin = time.perf_counter()
    async with Stack(options, lambda _name, _line: None) as stack:
        show("six services and a serving process, until all are ready", f"{time.perf_counter() - begin:8.2f} s")
        total = 0.0
        for name, process in stack.processes.items():
            assert process.child
            mebibytes = proportional_set_size(process.child.pid) / 2**20
            total += mebibytes
            show(f"  memory of {name} with its children (PSS)", f"{mebibytes:8.0f} MiB")
        show("memory of all together (PSS)", f"{total:8.0f} MiB")
        for name, when in (("toy.first", "the first"), ("toy.next", "the next")):
            declaration = DECLARATION.model_copy(update={"model": name, "dataset": name})
            story = Story(stack.context, declaration, toy_parts(), Listener())
            await story.until_first_promotion()
            show_loop(story.watch, when)


def show_loop(watch: Watch, when: str) -> None:
    """The time from the data to the promotion, and how much of it was the training itself."""
    training = _time(watch, TrainingCompleted) - _time(watch, TrainingStarted)
    whole = _time(watch, ModelPromoted) - _time(watch, DatasetPublished)
    show(
        f"dataset.published to model.promoted, without the training, {when}",
        f"{whole - training:8.2f} s   (training itself {training:.2f} s: {whole / training:.2f} of it in all)",
    )


def _time(watch: Watch, kind: type[Event]) -> float:
    return watch.told(kind)[0].message.record.timestamp / 1000


def proportional_set_size(pid: int) -> int:
    """Bytes that a process and its descendants keep in memory, shared pages divided among those who share them."""
    total = 0
    for one in (pid, *descendants(pid)):
        try:
            text = Path(f"/proc/{one}/smaps_rollup").read_text()
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        total += sum(int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith("Pss:"))
    return total


def descendants(pid: int) -> list[int]:
    """Every process below this one."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, task.read_text().split()):
            found += [child, *descendants(child)]
    return found
