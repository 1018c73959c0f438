"""What a projection puts is there at once, for itself and for the handler after it."""

from collections.abc import Callable
from typing import ClassVar

import pytest
from sqlalchemy.orm import registry
from sqlmodel import Field
from tests.libs.chassis import toy as a
from tests.libs.chassis.looking import rows_of

from cairn.events import LabelsObserved
from chassis import Definition, Handlers, Projections, Rows, Table, Transaction
from chassis.testing import Actor, World


class ShelfTable(Table, registry=registry()):
    """The tables of this test."""


class Book(ShelfTable, table=True):
    """A row with a key of two parts."""

    topic: ClassVar[str] = "labels"

    shelf: str = Field(primary_key=True)
    place: int = Field(primary_key=True)
    title: str
    lent_to: str | None = None


class Shelf(ShelfTable, table=True):
    """A row that is nothing but its key."""

    topic: ClassVar[str] = "labels"

    name: str = Field(primary_key=True)


Remember = Callable[[Rows], None]


@pytest.fixture
def remember(world: World, database_url: str) -> Callable[[Remember], Actor]:
    """Gives a service whose projection does this for each label heard, after one was heard."""

    def hear(work: Remember) -> Actor:
        projections, handlers = Projections(), Handlers()
        projections.of(LabelsObserved)(lambda event, rows: work(rows))
        handlers.on(LabelsObserved)(lambda event, tx: _see(tx))
        actor = world.add(Definition(a.NAME, a.HEARS, ShelfTable, handlers, projections), database_url)
        actor.hear(a.labels())
        return actor

    return hear


def _see(tx: Transaction) -> None:
    book = tx.session.get(Book, ("b", 1))
    assert book is None or book.title == "last", book


def book(title: str, lent_to: str | None = None) -> Book:
    return Book(shelf="b", place=1, title=title, lent_to=lent_to)


def test_a_row_is_replaced_whole(remember: Callable[[Remember], Actor]) -> None:
    def work(rows: Rows) -> None:
        rows.put(book("first", "Ada"))
        rows.put(book("last"))

    actor = remember(work)
    assert [(row.title, row.lent_to) for row in rows_of(actor, Book)] == [("last", None)]


def test_a_row_that_was_looked_at_before_is_seen_as_it_is_now(remember: Callable[[Remember], Actor]) -> None:
    seen: list[str] = []

    def work(rows: Rows) -> None:
        rows.put(book("first"))
        held = rows.get(Book, "b", 1)
        assert held
        held.title = "changed"
        rows.put(book("last"))
        again = rows.get(Book, "b", 1)
        assert again
        seen.extend([held.title, again.title])

    assert rows_of(remember(work), Book)[0].title == "last"
    assert seen == ["last", "last"]


def test_a_row_that_was_added_just_before_is_replaced_too(remember: Callable[[Remember], Actor]) -> None:
    def work(rows: Rows) -> None:
        rows.add(book("first"))
        rows.put(book("last"))

    assert [row.title for row in rows_of(remember(work), Book)] == ["last"]


def test_a_row_of_nothing_but_its_key_can_be_put_twice(remember: Callable[[Remember], Actor]) -> None:
    def work(rows: Rows) -> None:
        rows.put(Shelf(name="b"))
        rows.put(Shelf(name="b"))

    assert [row.name for row in rows_of(remember(work), Shelf)] == ["b"]
