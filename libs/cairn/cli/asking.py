"""Requests: published, then waited for until their judge has answered."""

import asyncio
import os
from collections.abc import AsyncIterable, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import TypeVar

import typer
from pydantic import ValidationError

from cairn.cli.faults import CheckFailed, OutOfReach, WrongUsage
from cairn.context import Context, load_context
from cairn.events import Event, RecordParked, RecordRedriven, RequestRefused
from cairn.events.codec import Heard, Record
from cairn.events.envelope import cause_name
from cairn.publisher import Publisher, Receipt
from cairn.subscriber import Entry, end_offsets, read_log

Facts = TypeVar("Facts", bound=Event)


def context_of(ctx: typer.Context) -> Context:
    """The Cairn that the command is about. Raises ContextError and TrustError."""
    home: Path | None = ctx.obj
    return load_context(os.environ, home)


def facts_of(kind: type[Facts], **fields: object) -> Facts:
    """An event with these facts. Raises WrongUsage, naming each field that is wrong."""
    try:
        return kind.model_validate(fields)
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors(include_url=False)]
        raise WrongUsage("\n".join(faults)) from None


async def ask(context: Context, request: Event, judge: str, topics: Sequence[str], seconds: float) -> Heard:
    """Publish a request and wait for the answer of its judge, a service, on its operations or one of these topics.

    Raises OutOfReach when none comes in time, CheckFailed when the judge could not read the request, and what
    publishing and reading raise. A refusal is an answer too.
    """
    heard_on = [*topics, f"operations.{judge}"]
    start = await end_offsets(context, heard_on)
    async with Publisher(context) as publisher:
        receipt = await publisher.publish(request)
    try:
        async with asyncio.timeout(seconds), aclosing(read_log(context, heard_on, start, follow=True)) as log:
            return await _answer(log, receipt, judge)
    except TimeoutError:
        raise OutOfReach(
            f"the {judge} has not answered within {seconds:g} s (`cairn status` shows whether it runs). "
            f"The request stays in the log, at {place_of(receipt)}, and will be judged: look with `cairn events tail`"
        ) from None


async def _answer(log: AsyncIterable[Entry], receipt: Receipt, judge: str) -> Heard:
    async for _record, heard in log:
        if not isinstance(heard, Heard):
            continue
        facts = heard.facts
        if isinstance(facts, RecordParked) and _same_place(facts, receipt):
            raise CheckFailed(f"the {judge} could not handle the request: {facts.reason.text} ({facts.reason.code})")
        if _names(heard, receipt):
            return heard
    raise AssertionError("a followed log has no end")


def _same_place(facts: RecordParked, receipt: Receipt) -> bool:
    return (facts.topic, facts.partition, facts.offset) == (receipt.topic, receipt.partition, receipt.offset)


def _names(heard: Heard, receipt: Receipt) -> bool:
    if isinstance(heard.facts, RequestRefused):
        return (heard.facts.request.source, heard.facts.request.id) == (receipt.source, receipt.id)
    if isinstance(heard.facts, RecordRedriven):  # its cause is the record, so that any request leads to the same event
        return any((one.source, one.id) == (receipt.source, receipt.id) for one in heard.facts.reason.evidence)
    return heard.message.envelope.causationid == cause_name(receipt.source, receipt.id)


def place_of(lies: Receipt | Record) -> str:
    """Where an event lies, for a person."""
    return f"{lies.topic}[{lies.partition}]@{lies.offset}"


def refusal(facts: RequestRefused) -> CheckFailed:
    """What to say about a refusal."""
    return CheckFailed(f"refused by the {facts.service}: {facts.reason.text} ({facts.reason.code})")
