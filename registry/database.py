"""Database: short sessions over SQLite in WAL mode (or what `KTD_DATABASE_URL` names)."""

import fcntl
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from ktd.registry.errors import DatabaseError
from ktd.registry.migrations import migrate

BUSY_MS = 30_000  # how long to wait for another process's write
PRAGMAS = (
    f"PRAGMA busy_timeout = {BUSY_MS}",
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = NORMAL",  # in WAL mode a power cut loses the last commits at worst, never the database
    "PRAGMA foreign_keys = ON",
)


class Database:
    """Gives sessions; raises `DatabaseError` for all that the database does not do."""

    def __init__(self, home: Path, url: str | None = None) -> None:
        """Open or create the database and bring it to today's tables."""
        self._label = "KTD_DATABASE_URL" if url else str(home / "registry.db")  # a URL may hold a password
        with _explained(self._label):
            self._engine = _engine(make_url(url) if url else URL.create("sqlite", database=self._label))
            self._writer = self._engine.execution_options(writes=True)
        with _alone(home), _explained(self._label):
            self._migrate()
        self._watch = None if url else _watch(self._label)
        self._watching = Lock()

    @contextmanager
    def read(self) -> Iterator[Session]:
        with _explained(self._label), Session(self._engine) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A transaction that holds the write lock from its first statement, so that what it reads stays true."""
        with _explained(self._label), Session(self._writer) as session, session.begin():
            yield session

    def version(self) -> int | None:
        """Another one after every change, by whatever process; None when the database does not tell. It never waits."""
        with self._watching, _explained(self._label):
            if self._watch is None:
                return None
            (version,) = self._watch.execute("PRAGMA data_version").fetchone()
            return int(version)

    def close(self) -> None:
        with self._watching:
            if self._watch is not None:
                self._watch.close()
                self._watch = None
        self._engine.dispose()

    def _migrate(self) -> None:
        try:
            with self._writer.begin() as connection:
                migrate(connection)
        except LookupError as error:
            raise DatabaseError(
                f"{self._label} was written by a newer ktd; update ktd, or use another home ({error})"
            ) from error


def _engine(url: URL) -> Engine:
    engine = create_engine(url)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare)
        event.listen(engine, "begin", _begin)
    return engine


def _watch(path: str) -> sqlite3.Connection:
    """A connection that changes nothing: what others do shows in its data_version."""
    return sqlite3.connect(path, isolation_level=None, check_same_thread=False)


def _prepare(connection: Any, record: object) -> None:
    connection.isolation_level = None  # SQLAlchemy begins transactions, not the driver behind its back
    for pragma in PRAGMAS:
        connection.execute(pragma)


def _begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get("writes")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


@contextmanager
def _alone(home: Path) -> Iterator[None]:
    """Hold the home's lock: the switch to WAL and the migrations must not run twice at once."""
    with open(home / "registry.lock", "ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def _explained(label: str) -> Iterator[None]:
    try:
        yield
    except (SQLAlchemyError, sqlite3.Error, ModuleNotFoundError) as error:
        reason = getattr(error, "orig", None) or error
        raise DatabaseError(f"the registry's database ({label}) failed: {reason}") from error
