"""How any Cairn service runs. A service names its handlers, projections and work; all else is here."""

from chassis.definition import Appender, Definition, Due, Handlers, Projections, Task, Wait, Work
from chassis.ledger import Origin
from chassis.rows import Rows, Table
from chassis.settings import ServiceSettings
from chassis.transaction import Transaction
