"""The events of `cairn publish`: shown, or published."""

import json
from collections.abc import Sequence

from cairn.cli.faults import WrongUsage
from cairn.cli.output import emit_line
from cairn.context import Context
from cairn.events import Event
from cairn.publisher import BadEvent, Receipt, Sealed, SyncPublisher, seal


def show(context: Context, events: Sequence[Event], source: str) -> None:
    """Print what would be sent, each event as one line: a CloudEvent in JSON. Raises WrongUsage."""
    for sealed in _sealed(context, events, source):
        headers = {name: value.decode() for name, value in sealed.outgoing.headers}
        attributes = {name.removeprefix("ce_"): text for name, text in headers.items() if name.startswith("ce_")}
        emit_line({**attributes, "datacontenttype": headers["content-type"], "data": json.loads(sealed.outgoing.value)})


def publish(context: Context, events: Sequence[Event], source: str) -> list[Receipt]:
    """Publish events, all checked before the first goes. Raises WrongUsage, BrokerUnreachable, TopicRefused."""
    sealed = _sealed(context, events, source)
    with SyncPublisher(context) as publisher:
        return publisher.publish_all(sealed)


def _sealed(context: Context, events: Sequence[Event], source: str) -> list[Sealed]:
    try:
        return [seal(context, event, source=source) for event in events]
    except BadEvent as error:
        raise WrongUsage(str(error)) from None
