"""What makes one service different from another: a table of contents that the chassis runs."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

from prometheus_client.registry import Collector
from sqlmodel import Session
from starlette.routing import Route

from cairn.events.codec import Record
from cairn.events.event import Event
from chassis.ledger import Origin
from chassis.rows import Rows, Table

if TYPE_CHECKING:
    from chassis.transaction import Transaction
    from chassis.work import Job

Facts = TypeVar("Facts", bound=Event)
Projection = TypeVar("Projection", bound=Callable[..., None])


class Handlers:
    """What a service does when it hears something: at most one function for each type."""

    def __init__(self) -> None:
        self.by_type: dict[type[Event], Callable[[Any, Transaction], None]] = {}

    def on(
        self, facts: type[Facts]
    ) -> Callable[[Callable[[Facts, "Transaction"], None]], Callable[[Facts, "Transaction"], None]]:
        """Register the decorated function for this type; it stays a plain function."""

        def register(function: Callable[[Facts, "Transaction"], None]) -> Callable[[Facts, "Transaction"], None]:
            _refuse_second(self.by_type, facts)
            self.by_type[facts] = function
            return function

        return register


class Projections:
    """What a service remembers: at most one function for each type, heard or told."""

    def __init__(self) -> None:
        self.by_type: dict[type[Event], Callable[[Any, Rows], None]] = {}

    def of(self, *classes: type[Event]) -> Callable[[Projection], Projection]:
        """Register the decorated function for these types; it stays a plain function."""

        def register(function: Projection) -> Projection:
            for facts in classes:
                _refuse_second(self.by_type, facts)
                self.by_type[facts] = function
            return function

        return register


def _refuse_second(registered: Mapping[type[Event], object], facts: type[Event]) -> None:
    if facts in registered:
        raise ValueError(f"{facts.__name__} is registered twice")


@dataclass(frozen=True, slots=True)
class Task:
    """One piece of pending work, as a query found it."""

    id: str
    """Names it among its kind."""
    origin: Origin
    """The event that asked for it."""
    detail: Any = None
    """What the work needs to know."""


@dataclass(frozen=True, slots=True)
class Work:
    """Slow work that an event makes pending: asked minus ended."""

    name: str
    pending: Callable[[Session], Sequence[Task]]
    """The tasks that wait, the most urgent first; those that are worked on may be among them."""
    run: Callable[[Task, "Job"], Awaitable[Any]]
    """Does the work, with no transaction open. Raises WorkFailed when it can never succeed."""
    finish: Callable[[Task, Any, "Transaction"], None]
    """Tells how it ended."""
    fail: Callable[[Task, str, str, "Transaction"], None]
    """Tells that it failed; is given a code and a sentence."""
    begin: Callable[[Task, int, "Transaction"], None] | None = None
    """Tells that it begins; is given the attempt."""
    at_once: int = 1
    """How many tasks one process works on at the same time."""
    most_attempts: int = 3
    """How often it is begun and neither ended nor given back in order before it has failed; a postponement counts."""


@dataclass(frozen=True, slots=True)
class Due:
    """A wait that is over."""

    origin: Origin
    """The event that began it."""
    detail: Any = None
    """What its handler needs to know."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Something that happens at its time, if nothing ends it before."""

    name: str
    due: Callable[[Session, datetime], Sequence[Due]]
    """The waits whose time has come."""
    next_at: Callable[[Session], datetime | None]
    """When the next one's time comes."""
    handle: Callable[[Due, "Transaction"], None]
    """Must tell something that ends or renews the wait."""


@dataclass(frozen=True, slots=True)
class Appender:
    """A second consumer that takes records raw, by position alone: it neither parses nor decides."""

    name: str
    topics: tuple[str, ...]
    append: Callable[[Session, int, Sequence[Record]], None]
    """Stores new records of one partition, in order; is given the offset up to which it has stored them before.

    An offset from there on that none of them has holds no record.
    """


@dataclass(frozen=True, slots=True)
class Definition:
    """A service, whole."""

    name: str
    hears: tuple[str, ...]
    """Topics, without prefix."""
    tables: type[Table]
    handlers: Handlers
    projections: Projections
    works: tuple[Work, ...] = ()
    waits: tuple[Wait, ...] = ()
    appenders: tuple[Appender, ...] = ()
    routes: Callable[[Any], Sequence[Route]] | None = None
    """The read API, given the running service's database."""
    lifespan: Callable[[Any], AbstractAsyncContextManager[None]] | None = None
    """What its routes and its work hold open; Starlette's, entered before the port opens, left after it has closed."""
    collectors: Callable[[Any], Sequence[Collector]] | None = None
    """Figures of its own for Prometheus, given the running service's database."""
    preload: tuple[str, ...] = ()
    """Modules that the fork server of its children loads."""
    commands: Mapping[str, Callable[..., int]] = field(default_factory=dict)
    """Further commands of `python -P -m <service>`."""
