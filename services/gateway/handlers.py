"""There is no handler: who is told of what is a query over what was heard, and work tells it (see work)."""

from chassis import Handlers

handlers = Handlers()
