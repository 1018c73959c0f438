"""Publishes events of the contract: sealed, signed, checked as every reader will, and confirmed.

    async with Publisher(context) as publisher:
        receipt = await publisher.publish(DatasetPublished(dataset="risk.loans-2026", version="1", …))

    with SyncPublisher(context, spool="/var/lib/loans/cairn.spool") as publisher:
        publisher.publish(labels)
        publisher.flush()

The context says which Cairn, and who speaks: `cairn.context.load_context(os.environ)`.
"""

from cairn.broker import BrokerUnreachable, TopicRefused
from cairn.publisher.blocking import SyncPublisher
from cairn.publisher.forwarding import EventsRefused
from cairn.publisher.publishing import Publisher, Receipt
from cairn.publisher.sealing import BadEvent, Options, Sealed, seal
from cairn.publisher.spool import Refused, SpoolBusy, SpoolDamaged, SpoolError, SpoolFull

__all__ = [
    "BadEvent",
    "BrokerUnreachable",
    "EventsRefused",
    "Options",
    "Publisher",
    "Receipt",
    "Refused",
    "Sealed",
    "SpoolBusy",
    "SpoolDamaged",
    "SpoolError",
    "SpoolFull",
    "SyncPublisher",
    "TopicRefused",
    "seal",
]
