"""Reads the log, for those who look at it and for those who act on it.

`Subscriber` hands events to handlers, or to a plain loop, effectively once; `read_log` shows every record.
"""

from cairn.subscriber.app import Subscriber
from cairn.subscriber.hearing import hear
from cairn.subscriber.intake import HandlerFailed
from cairn.subscriber.log import Entry, Offsets, Start, end_offsets, read_log
from cairn.subscriber.received import Received
from cairn.subscriber.store import PositionLost, StoreError
