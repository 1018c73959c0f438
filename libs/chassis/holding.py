"""Who may use a store: of a file one process; of a PostgreSQL database all replicas together, or a rebuild alone.

On PostgreSQL each process holds the store by a lock of one idle connection, and a connection can be cut unseen. So
the lock is asked for again where it counts: by each transaction that writes, in its first statement, together with
the store's life. A rebuild holds the lock alone, works on that one connection and no other, and begins a new life of
the store: who loses the lock can neither write beside it nor go on with what it made.
"""

import fcntl
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from zlib import crc32

from sqlalchemy import Boolean, Connection, Engine, Integer, bindparam, case, func, select

from chassis import ledger

_STORE_LOCK = 7_203_002
_TURN_LOCK = 7_203_003
# The store's lock is only ever tried, never waited for: whoever waits for a turn holds nothing that others wait for.
LIFE = select(ledger.META.c.value).where(ledger.META.c.name == "life")
"""Which life of the store it is: each rebuild begins a new one; the first has no name."""
_MAY_WRITE = func.pg_try_advisory_xact_lock_shared(_STORE_LOCK, type_=Boolean)
_TURN_TAKEN = func.pg_advisory_xact_lock(_TURN_LOCK, bindparam("turn", type_=Integer)).is_not(None)
_WRITE = select(_MAY_WRITE, LIFE.scalar_subquery())
_TAKE_TURN = select(case((_MAY_WRITE, _TURN_TAKEN), else_=False), LIFE.scalar_subquery())
_TAKE_FIRST_TURN = select(case((_MAY_WRITE, _TURN_TAKEN), else_=False))


class StoreError(Exception):
    """The store cannot be used; the message says why and what to do."""


class StoreHeld(StoreError):
    """A rebuild has the store for itself: wait until it ends."""


class StoreReplaced(StoreError):
    """The store is another one than this process began with: only a new start can go on."""


class Hold(Protocol):
    """One process's right to a store."""

    life: str | None
    """The life of the store with which this process began."""

    @property
    def bind(self) -> Engine | Connection:
        """Where transactions run. Raises StoreError when they may run no more."""
        ...

    def take(self, *, exclusive: bool) -> None:
        """Hold the store; alone if `exclusive`. Raises StoreError if somebody else holds it."""
        ...

    def keep(self) -> None:
        """Look whether the store is held still, and take it again if not. Raises StoreHeld and StoreReplaced."""
        ...

    def enter(self, connection: Connection, turn: str) -> None:
        """Begin a transaction that writes; with a `turn` none other of that name runs meanwhile.

        Raises StoreHeld and StoreReplaced.
        """
        ...

    def enter_first(self, connection: Connection, turn: str) -> None:
        """As `enter`, where it is not known yet whether there are tables. Raises StoreHeld."""
        ...

    def release(self) -> None:
        """Let go of the store."""
        ...


@dataclass(slots=True)
class FileHold:
    """The right to a SQLite file. Its lock lasts as long as the process, and a transaction of its own is a turn."""

    engine: Engine
    life: str | None = None
    _file: Any = None

    @property
    def bind(self) -> Engine:
        """See Hold."""
        return self.engine

    def take(self, *, exclusive: bool) -> None:  # noqa: ARG002 # a file has one owner in any case
        """See Hold."""
        path = self.engine.url.database
        if not path or path == ":memory:":
            return
        try:
            if not Path(path).parent.exists():
                Path(path).parent.mkdir(parents=True, exist_ok=True)
            self._file = Path(f"{path}.lock").open("w")  # noqa: SIM115 # held as long as the process lives
        except OSError as error:
            raise StoreError(f"DATABASE_URL: the file {path} cannot be used: {error.strerror}") from None
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise StoreError(
                f"another process uses {path}: stop it first (a file has one owner; replicas need PostgreSQL)"
            ) from None

    def keep(self) -> None:
        """See Hold."""

    def enter(self, connection: Connection, turn: str) -> None:
        """See Hold."""

    enter_first = enter

    def release(self) -> None:
        """See Hold."""
        if self._file is not None:
            self._file.close()


@dataclass(slots=True)
class ServerHold:
    """The right to a PostgreSQL database."""

    engine: Engine
    life: str | None = None
    _holder: Connection | None = None
    """The connection that has the lock; a rebuild's transactions run on it, too: they end with the lock."""
    _alone: bool = False

    @property
    def bind(self) -> Engine | Connection:
        """See Hold."""
        if not self._alone or self._holder is None:
            return self.engine
        if self._holder.invalidated:  # it would connect anew, without the lock
            raise StoreError("the rebuild lost its hold on the store: run it again")
        return self._holder

    def take(self, *, exclusive: bool) -> None:
        """See Hold."""
        if not self._try(func.pg_try_advisory_lock if exclusive else func.pg_try_advisory_lock_shared):
            raise StoreHeld("another process uses this database: stop all replicas first, or the rebuild that runs")
        self._alone = exclusive

    def keep(self) -> None:
        """See Hold."""
        lost = self._holder is None or self._holder.invalidated
        if lost and not self._try(func.pg_try_advisory_lock_shared):
            raise _held()
        assert self._holder
        with self._holder.begin():
            self._refuse_other(self._holder.scalar(LIFE))

    def enter(self, connection: Connection, turn: str) -> None:
        """See Hold."""
        if self._alone:
            return
        may_write, life = connection.execute(*_asking(turn)).one()
        if not may_write:
            raise _held()
        self._refuse_other(life)

    def enter_first(self, connection: Connection, turn: str) -> None:
        """See Hold."""
        if not self._alone and not connection.scalar(_TAKE_FIRST_TURN, {"turn": _number(turn)}):
            raise _held()

    def release(self) -> None:
        """See Hold."""
        if self._holder is not None:
            self._holder.invalidate()  # back in the pool it would keep the lock
            self._holder.close()
            self._holder, self._alone = None, False

    def _try(self, lock: Any) -> bool:
        self.release()
        holder = self.engine.connect()
        with holder.begin():
            held = bool(holder.scalar(select(lock(_STORE_LOCK, type_=Boolean))))
        self._holder = holder
        if not held:
            self.release()
        return held

    def _refuse_other(self, life: str | None) -> None:
        if life != self.life:
            raise StoreReplaced("the store was rebuilt since this process started: start it again")


def _asking(turn: str) -> tuple[Any, dict[str, int]]:
    return (_TAKE_TURN, {"turn": _number(turn)}) if turn else (_WRITE, {})


def _number(turn: str) -> int:
    return crc32(turn.encode()) - 2**31


def _held() -> StoreHeld:
    return StoreHeld("a rebuild of this store is running: nothing is written until it ends")
