"""`cairn events story`: what followed from what, as a tree with times."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from cairn.cli.faults import CheckFailed
from cairn.cli.output import cell
from cairn.cli.wanted import appended_at, short
from cairn.context import Context
from cairn.events.catalogue import TOPICS
from cairn.events.codec import Heard
from cairn.events.envelope import Envelope, cause_name
from cairn.events.values import format_instant
from cairn.subscriber import read_log

_INDENT = 3


@dataclass(frozen=True, slots=True)
class Step:
    """One event of a story."""

    envelope: Envelope
    milliseconds: int
    """When Kafka got it, since 1970."""
    appended_at: str

    @property
    def name(self) -> str:
        """By which its consequences name it."""
        return cause_name(self.envelope.source, self.envelope.id)


@dataclass(frozen=True, slots=True)
class Story:
    """All that belongs to one correlation, and the stories that began with it."""

    name: str
    steps: Sequence[Step]
    """In the order of Kafka's time."""
    next: Mapping[str, Sequence[str]]
    """The stories that an event began, by the event's name."""


async def read_story(context: Context, wanted: str) -> Story:
    """The story with this correlation id, or to which an event with this id belongs.

    Raises CheckFailed when the log knows neither, and as `read_log`.
    """
    steps = await _read_steps(context)
    name = next((one.envelope.story for one in steps if wanted in (one.envelope.story, one.envelope.id)), None)
    if name is None:
        raise CheckFailed(f"the log holds neither a story nor an event {wanted!r}: look with `cairn events search`")
    own = [one for one in steps if one.envelope.story == name]
    return Story(name, own, _stories_begun(own, steps))


async def _read_steps(context: Context) -> list[Step]:
    steps: dict[str, Step] = {}
    async with aclosing(read_log(context, tuple(TOPICS))) as log:
        async for record, heard in log:
            if isinstance(heard, Heard):
                step = Step(heard.message.envelope, record.timestamp, format_instant(appended_at(record)))
                steps.setdefault(step.name, step)  # what was published twice happened once
    return list(steps.values())


def _stories_begun(own: Sequence[Step], steps: Sequence[Step]) -> dict[str, list[str]]:
    begun: dict[str, list[str]] = {}
    names = {one.name for one in own}
    for one in steps:
        if one.envelope.causationid in names and one.envelope.story != own[0].envelope.story:
            begun.setdefault(one.envelope.causationid, []).append(one.envelope.story)
    return {name: list(dict.fromkeys(stories)) for name, stories in begun.items()}


def tree_lines(story: Story) -> Iterator[str]:
    """The story for people: each event below its cause, with the seconds since the story began."""
    start = story.steps[0].milliseconds
    yield f"story {cell(story.name)}, from {story.steps[0].appended_at}"
    for step, lead in walk(story.steps):
        seconds = f"+{(step.milliseconds - start) / 1000:.3f} s"
        what = f"{lead}{short(step.envelope.type)}"
        yield f"{seconds:>12}  {what:44} {cell(step.envelope.subject):28} {cell(step.envelope.source)}".rstrip()
        for name in story.next.get(step.name, ()):
            yield f"{'':>12}  {' ' * len(lead)}-> cairn events story {cell(name)}"


def as_objects(story: Story) -> list[dict[str, Any]]:
    """The story for programs, in the tree's order."""
    return [
        {
            "source": step.envelope.source,
            "id": step.envelope.id,
            "type": step.envelope.type,
            "subject": step.envelope.subject,
            "appended_at": step.appended_at,
            "causationid": step.envelope.causationid,
            "depth": len(lead) // _INDENT,
            "next_stories": list(story.next.get(step.name, ())),
        }
        for step, lead in walk(story.steps)
    ]


def walk(steps: Sequence[Step]) -> Iterator[tuple[Step, str]]:
    """Each event after its cause, with the lines that lead to it; events with one cause in the order of time."""
    names = {one.name for one in steps}
    below: dict[str, list[Step]] = {}
    for one in steps:
        below.setdefault(one.envelope.causationid, []).append(one)
    roots = [one for one in steps if one.envelope.causationid not in names]
    shown: set[str] = set()
    for root in [*roots, *steps]:  # what causes itself, in one step or several, has no root
        if root.name not in shown:
            yield from _walk_from(root, below, shown)


def _walk_from(root: Step, below: Mapping[str, Sequence[Step]], shown: set[str]) -> Iterator[tuple[Step, str]]:
    waiting = [(root, "", "")]
    while waiting:  # without recursion: a chain of causes may be longer than the stack
        step, lead, inner = waiting.pop()
        shown.add(step.name)
        yield step, lead
        children = [one for one in below.get(step.name, ()) if one.name not in shown]
        for n, child in reversed(list(enumerate(children, start=1))):
            branch, line = ("└─ ", "   ") if n == len(children) else ("├─ ", "│  ")
            waiting.append((child, inner + branch, inner + line))
