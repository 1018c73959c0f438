"""The store: who may change which table, who holds it, and who waits for whom."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ClassVar

import psycopg
import pytest
from sqlalchemy import create_engine, delete, insert, text, update
from sqlalchemy.exc import InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as NoConnectionInTime
from sqlalchemy.orm import registry
from sqlmodel import Field, Session, select
from tests.libs.chassis import toy as a
from tests.libs.chassis.looking import digest_of, everything, positions_of, rows_of
from tests.libs.chassis.toy import Alarm, Note, Tally, Toy, ToyTable

from cairn.events import LabelsObserved, TrainingRequested
from chassis import Definition, Handlers, Projections, Rows, Table, Transaction
from chassis.database import Database, ForbiddenWrite, StoreError, is_infrastructure
from chassis.holding import StoreHeld, StoreReplaced
from chassis.testing import Actor, World

Write = Callable[[Session], object]


def add_a_row(session: Session) -> None:
    session.add(Note(model="risk.loans", number=9, text=""))


def merge_a_row(session: Session) -> None:
    session.merge(Tally(model="risk.loans", items=9, last=""))


def change_a_row(session: Session) -> None:
    session.get_one(Tally, "risk.loans").items = 9


def delete_a_row(session: Session) -> None:
    session.delete(session.get_one(Tally, "risk.loans"))


WRITES: dict[str, Write] = {
    "add": add_a_row,
    "merge": merge_a_row,
    "change": change_a_row,
    "delete": delete_a_row,
    "insert statement": lambda session: session.execute(insert(Note).values(model="a", number=1, text="")),
    "update statement": lambda session: session.execute(update(Tally).values(items=9)),
    "delete statement": lambda session: session.execute(delete(Tally)),
    "written by hand": lambda session: session.execute(text("UPDATE tally SET items = 9")),
    "with a comment": lambda session: session.execute(text("/* quietly */ DELETE FROM tally")),
    "behind a query": lambda session: session.execute(
        text("WITH some AS (SELECT model FROM tally) DELETE FROM tally WHERE model IN (SELECT model FROM some)")
    ),
    "replaced": lambda session: session.execute(text("REPLACE INTO tally VALUES ('a', 1, '')")),
    "truncated": lambda session: session.execute(text('TRUNCATE TABLE "tally"')),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_a_handler_that_writes_a_table_is_refused_and_nothing_is_kept(actor: Actor, toy: Toy, write: Write) -> None:
    def handle(event: LabelsObserved, tx: Transaction) -> None:
        write(tx.session)

    toy.on_labels = handle
    before = everything(actor)
    with pytest.raises(ForbiddenWrite, match="code that is no projection"):
        actor.hear(a.labels())
    assert everything(actor) == before


def test_a_handler_that_writes_and_then_tells_is_refused_too(actor: Actor, toy: Toy) -> None:
    def handle(event: LabelsObserved, tx: Transaction) -> None:
        tx.session.add(Note(model=event.model, number=9, text=""))
        tx.tell(a.note(event.model))

    toy.on_labels = handle
    with pytest.raises(ForbiddenWrite, match="the table note is fed by monitoring alone"):
        actor.hear(a.labels())


def test_a_projection_may_not_write_what_another_topic_feeds(world: World, database_url: str) -> None:
    projections = Projections()

    @projections.of(LabelsObserved)
    def remember(event: LabelsObserved, rows: Rows) -> None:
        rows.put(Alarm(id="1", model=event.model, due_at="", origin=""))

    actor = world.add(Definition(a.NAME, a.HEARS, ToyTable, Handlers(), projections), database_url)
    with pytest.raises(ForbiddenWrite, match="alarm is fed by requests alone; a projection of labels tried"):
        actor.hear(a.labels())
    assert (rows_of(actor, Alarm), positions_of(actor)) == ([], {})


def test_a_projection_of_what_is_told_may_not_write_what_is_heard(world: World, database_url: str) -> None:
    handlers, projections = Handlers(), Projections()
    handlers.on(TrainingRequested)(lambda event, tx: tx.tell(a.taken(event.model, 1)) and None)

    @projections.of(type(a.taken("a", 1)))
    def remember(event: object, rows: Rows) -> None:
        rows.put(Tally(model="a", items=1, last=""))

    actor = world.add(Definition(a.NAME, a.HEARS, ToyTable, handlers, projections), database_url)
    with pytest.raises(ForbiddenWrite, match="tally is fed by labels alone; a projection of monitoring tried"):
        actor.hear(a.order())


def test_two_projections_in_one_batch_each_write_their_own(world: World, toy: Toy, database_url: str) -> None:
    actor = world.add(toy.definition(), database_url)
    actor.take([world.publish(a.labels()), world.publish(a.alarm()), world.publish(a.labels())])
    assert (len(rows_of(actor, Alarm)), rows_of(actor, Tally)[0].items) == (1, 2)


def test_a_table_without_a_topic_is_refused_when_the_store_is_made(database_url: str) -> None:
    class OtherTable(Table, registry=registry()):
        pass

    class Homeless(OtherTable, table=True):
        id: int = Field(primary_key=True)

    with pytest.raises(AttributeError, match="topic"):
        Database(database_url, OtherTable)


def test_the_tables_of_one_service_are_unknown_to_another(database_url: str) -> None:
    class OtherTable(Table, registry=registry()):
        pass

    class Elsewhere(OtherTable, table=True):
        topic: ClassVar[str] = "labels"
        id: int = Field(primary_key=True)

    assert Database(database_url, OtherTable).domain_tables == {"elsewhere": "labels"}
    assert "elsewhere" not in Database(database_url, ToyTable).domain_tables


def test_a_sqlite_file_has_one_owner(tmp_path: Path) -> None:
    address = f"sqlite:///{tmp_path / 'new' / 'toy.db'}"
    first, second = Database(address, ToyTable), Database(address, ToyTable)
    first.take_ownership(exclusive=False)
    with pytest.raises(StoreError, match=r"another process uses .*toy.db: stop it first"):
        second.take_ownership(exclusive=False)
    first.close()
    second.take_ownership(exclusive=True)
    second.close()


def test_replicas_share_a_postgresql_database_but_a_rebuild_needs_it_alone(postgres_url: str) -> None:
    first, second, rebuild = (Database(postgres_url, ToyTable) for _ in range(3))
    first.take_ownership(exclusive=False)
    second.take_ownership(exclusive=False)
    with pytest.raises(StoreError, match="another process uses this database: stop all replicas first"):
        rebuild.take_ownership(exclusive=True)
    first.close()
    second.close()
    rebuild.take_ownership(exclusive=True)
    with pytest.raises(StoreError, match="rebuild"):
        first.take_ownership(exclusive=False)
    for database in (first, rebuild):
        database.close()


@pytest.fixture
def opened(postgres_url: str) -> Iterator[Callable[[], Database]]:
    """Opens the same PostgreSQL database as one more process would."""
    made: list[Database] = []

    def open_database() -> Database:
        made.append(Database(postgres_url, ToyTable))
        return made[-1]

    yield open_database
    for database in made:
        database.close()


def live_replica(opened: Callable[[], Database]) -> Database:
    replica = opened()
    replica.take_ownership(exclusive=False)
    replica.create_tables()
    return replica


def cut_holders(url: str) -> int:
    """End the connections that hold the store, as an administrator or a broken network would; how many there were."""
    holders = "SELECT DISTINCT pid FROM pg_locks WHERE locktype = 'advisory' AND granted AND pid <> pg_backend_pid()"
    with psycopg.connect(url, autocommit=True) as connection:
        found = connection.execute(f"SELECT pg_terminate_backend(pid, 10000) FROM ({holders}) AS holder").fetchall()
    return len(found)


WRITERS: dict[str, Callable[[Database], object]] = {
    "a decider": lambda database: database.begin(),
    "a relay or a lease": lambda database: database.begin(deciding=False),
    "an appender": lambda database: database.begin(appender="appender"),
}


@pytest.mark.parametrize("begin", WRITERS.values(), ids=WRITERS)
def test_a_replica_whose_connection_was_cut_writes_nothing_beside_a_rebuild(
    postgres_url: str, opened: Callable[[], Database], begin: Callable[[Database], object]
) -> None:
    replica, rebuild = live_replica(opened), opened()
    assert cut_holders(postgres_url) == 1
    rebuild.take_ownership(exclusive=True)
    with pytest.raises(StoreHeld, match="a rebuild of this store is running") as refused, begin(replica):
        pass
    assert is_infrastructure(refused.value), "it is waited out"
    rebuild.close()
    cut_holders(postgres_url)  # the server lets go of a lock only when it sees that its connection is closed
    with begin(replica):
        pass


@pytest.mark.parametrize("begin", WRITERS.values(), ids=WRITERS)
def test_no_rebuild_begins_while_a_transaction_runs(
    postgres_url: str, opened: Callable[[], Database], begin: Callable[[Database], object]
) -> None:
    replica, rebuild = live_replica(opened), opened()
    assert cut_holders(postgres_url) == 1
    with begin(replica), pytest.raises(StoreError, match="another process uses this database"):
        rebuild.take_ownership(exclusive=True)
    rebuild.take_ownership(exclusive=True)


def test_a_rebuild_whose_connection_was_cut_ends_and_no_replica_goes_on_with_what_it_left(
    postgres_url: str, opened: Callable[[], Database]
) -> None:
    replica, rebuild = live_replica(opened), opened()
    assert cut_holders(postgres_url) == 1
    rebuild.take_ownership(exclusive=True)
    rebuild.make_anew()
    assert rebuild.is_unfinished()
    assert cut_holders(postgres_url) == 1
    with pytest.raises(OperationalError):
        rebuild.finish()
    assert rebuild.is_unfinished()
    with pytest.raises(StoreError, match="lost its hold on the store: run it again"), rebuild.begin():
        pass
    with pytest.raises(StoreReplaced, match="rebuilt since this process started: start it again"), replica.begin():
        pass


def test_a_replica_that_lost_its_hold_takes_it_again(postgres_url: str, opened: Callable[[], Database]) -> None:
    replica, rebuild = live_replica(opened), opened()
    assert cut_holders(postgres_url) == 1
    with pytest.raises(OperationalError):
        replica.keep_ownership()
    replica.keep_ownership()
    replica.keep_ownership()
    with pytest.raises(StoreError, match="another process uses this database"):
        rebuild.take_ownership(exclusive=True)


def test_a_replica_that_lost_its_hold_to_a_rebuild_waits_and_then_must_start_again(
    postgres_url: str, opened: Callable[[], Database]
) -> None:
    replica, rebuild = live_replica(opened), opened()
    assert cut_holders(postgres_url) == 1
    rebuild.take_ownership(exclusive=True)
    with pytest.raises(OperationalError):
        replica.keep_ownership()
    with pytest.raises(StoreHeld, match="rebuild"):
        replica.keep_ownership()
    rebuild.make_anew()
    rebuild.close()
    with pytest.raises(StoreReplaced, match="start it again"):
        replica.keep_ownership()
    again = live_replica(opened)
    with again.begin():
        pass


def test_a_store_that_is_neither_is_refused_by_name() -> None:
    with pytest.raises(StoreError, match="mysql is not a store; use sqlite"):
        Database("mysql://localhost/x", ToyTable)


def test_who_reads_does_not_wait_for_who_decides(actor: Actor) -> None:
    actor.hear(a.labels())
    with actor.database.begin() as deciding:
        deciding.connection()
        with ThreadPoolExecutor(1) as other:
            assert other.submit(rows_of, actor, Tally).result(timeout=10)[0].items == 1


def test_who_decides_waits_for_who_decided_before_and_sees_it_all(actor: Actor) -> None:
    def decide() -> list[str]:
        with actor.database.begin() as session, actor.database.projecting(session, "labels"):
            found = [row.model for row in session.exec(select(Tally).order_by(Tally.model))]
            session.add(Tally(model=f"m{len(found)}", items=0, last=""))
            return found

    with ThreadPoolExecutor(4) as several:
        seen = sorted(len(one.result(timeout=30)) for one in [several.submit(decide) for _ in range(8)])
    assert seen == list(range(8))


def test_a_store_can_be_emptied_and_made_again(actor: Actor) -> None:
    empty = digest_of(actor)
    actor.hear(a.labels(), a.order())
    assert digest_of(actor) != empty
    actor.database.make_anew()
    actor.database.create_tables()
    assert digest_of(actor) == empty


def test_the_digest_tells_every_value_and_not_the_order_of_writing(world: World, toy: Toy) -> None:
    one, other = world.add(toy.definition()), world.add(toy.definition())
    records = [world.publish(a.figure(value=value, model=model)) for model, value in (("a", 1.0), ("b", 2.0))]
    one.take(records)
    other.take(records[::-1])
    assert digest_of(one) == digest_of(other)
    other.hear(a.figure(value=2.5, model="b"))
    assert digest_of(one) != digest_of(other)


def test_a_server_that_only_reads_is_waited_for(postgres_url: str) -> None:
    """A standby, until it takes over."""
    engine = create_engine(postgres_url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.connect() as connection:
        connection.exec_driver_sql("SET TRANSACTION READ ONLY")
        with pytest.raises(InternalError) as refused:
            connection.exec_driver_sql("CREATE TABLE anything (number integer)")
    assert is_infrastructure(refused.value)
    engine.dispose()


def test_a_pool_without_a_free_connection_is_waited_for(postgres_url: str) -> None:
    address = postgres_url.replace("postgresql://", "postgresql+psycopg://")
    engine = create_engine(address, pool_size=1, max_overflow=0, pool_timeout=0)
    with engine.connect(), pytest.raises(NoConnectionInTime) as refused:
        engine.connect()
    assert is_infrastructure(refused.value)
    engine.dispose()
