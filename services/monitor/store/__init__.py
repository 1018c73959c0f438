"""What the monitor remembers."""

from monitor.store.queries import Store, dump, parse_cells, parse_ends
from monitor.store.tables import (
    Closed,
    ClosedWindow,
    Counted,
    Declared,
    Drifted,
    Labelled,
    MonitorTable,
    Observed,
    Outcome,
    Reference,
    Served,
    Version,
)
