"""The journal's database: opened, brought to this version's schema, or refused."""

from __future__ import annotations

import errno
import os
import sqlite3
from pathlib import Path
from typing import Any, Final

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, event, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlmodel import create_engine, select

from keeper.errors import ConfigError
from keeper.execution.journal import lease
from keeper.execution.journal.tables import Lease

FILE: Final = "journal.sqlite"
POSTGRESQL: Final = "postgresql"
READS: Final = "reads"
"""Execution option of connections that only read."""
BUSY_SECONDS: Final = 10
"""How long a write waits for another that is under way."""
_MIGRATIONS: Final = Path(__file__).parent / "migrations"
_MIGRATION_LOCK: Final = 6_650_901


def open_engine(place: str, *, lease_seconds: float) -> Engine:
    """The database in a folder, made if need be, or at a `postgresql://` URL; its schema is this version's.

    Raises ConfigError for a folder that cannot be written, a database that cannot be used, and one whose
    schema is newer, or older while a keeper works with it. A password in the URL is never shown.
    """
    url = _url(place)
    engine = _postgresql(url, lease_seconds) if url.drivername.startswith(POSTGRESQL) else _sqlite(url)
    try:
        with engine.begin() as connection:
            _migrate(connection, where=shown(engine))
    except SQLAlchemyError as error:
        engine.dispose()
        raise ConfigError(
            "Cannot use the journal's database", where=shown(engine), seen=reason(error)
        ) from None
    except ConfigError:
        engine.dispose()
        raise
    return engine


def shown(engine: Engine) -> str:
    """Where the database is, without a password, which the query may hold, too."""
    return engine.url.set(query={}).render_as_string(hide_password=True)


def reason(error: SQLAlchemyError) -> str:
    """The driver's words alone: SQLAlchemy's hold the statement and its values."""
    return " ".join(str(getattr(error, "orig", None) or type(error).__name__).split())


def _url(place: str) -> URL:
    if "://" not in place:
        return URL.create("sqlite", database=str(_file(Path(place))))
    try:
        url = make_url(place)
        if place.count("@") > 1 or "@" in (url.database or ""):
            raise ValueError("a sign in it is not that of a URL")
    except (ArgumentError, ValueError):
        raise ConfigError(
            "Not the URL of a database",
            expected="postgresql://user:password@host:port/name",
            hint="It may hold a password: not shown. Signs such as @ : / in one are written as %40 %3A %2F.",
        ) from None
    if url.drivername != POSTGRESQL:
        raise ConfigError(
            "The journal is kept in SQLite or PostgreSQL",
            expected="a folder or postgresql://…",
            seen=url.drivername,
        )
    return url.set(drivername="postgresql+psycopg")


def _file(folder: Path) -> Path:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = folder / FILE
        # Once it is there only SQLite may open it: whoever else closes it ends, as POSIX has it, the locks of
        # all this process's connections, and another process takes the log away under them.
        if not file.exists():
            file.open("ab").close()
        elif not os.access(file, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        file.chmod(0o600)
    except OSError as error:
        raise ConfigError(
            "The keeper cannot write to its data folder",
            where=folder,
            seen=error.strerror,
            hint="Nothing is sent that is not written down first.",
        ) from error
    return file


def _sqlite(url: URL) -> Engine:
    engine = create_engine(url, connect_args={"timeout": BUSY_SECONDS})

    def prepare(connection: sqlite3.Connection, _: object) -> None:
        # Transactions begin where `begin` says so, not where the driver thinks best.
        connection.isolation_level = None
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
            connection.execute(f"PRAGMA {pragma}")

    def begin(connection: Connection) -> None:
        # At once a writer, unless it will only read: two that have both read cannot both go on to write, and
        # nobody who looks at the journal may keep the keeper waiting.
        reads = connection.get_execution_options().get(READS)
        connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")

    event.listen(engine, "connect", prepare)
    event.listen(engine, "begin", begin)
    return engine


def _postgresql(url: URL, lease_seconds: float) -> Engine:
    # A writer that stops in the middle of a transaction holds locks for no longer than its lease.
    limit = max(1, int(lease_seconds * 1000))
    ours = f"-c idle_in_transaction_session_timeout={limit} -c synchronous_commit=on"
    theirs = url.normalized_query.get("options", ())
    third = max(1, int(lease_seconds / 3))
    connect: dict[str, Any] = {
        "options": " ".join((*theirs, ours)),
        "connect_timeout": BUSY_SECONDS,
        # A network that swallows everything ends the connection about as soon: the keeper's one thread waits
        # for it.
        "tcp_user_timeout": limit,
        "keepalives_idle": third,
        "keepalives_interval": third,
        "keepalives_count": 2,
    }
    return create_engine(url, connect_args=connect, pool_pre_ping=True)


def _migrate(connection: Connection, where: str) -> None:
    if connection.dialect.name == POSTGRESQL:
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _MIGRATION_LOCK})
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    script = ScriptDirectory.from_config(config)
    seen = MigrationContext.configure(connection).get_current_revision()
    if seen == script.get_current_head():
        return
    if seen is not None and seen not in {each.revision for each in script.walk_revisions()}:
        raise ConfigError(
            "The journal's database is of a newer version of the keeper",
            expected=f"schema {script.get_current_head()} or older",
            seen=f"schema {seen}",
            where=where,
            hint="Run the version that wrote it, or a later one.",
        )
    if seen is not None:
        _require_nobody(connection, f"schema {seen}", where)
    command.upgrade(config, "head")


def _require_nobody(connection: Connection, schema: str, where: str) -> None:
    """Raises ConfigError while a keeper holds the lease. None can take it before this transaction ends."""
    connection.execute(select(Lease.id).with_for_update())
    _, left = lease.standing(connection)
    if left:
        raise ConfigError(
            "A keeper of an older version holds the lease of this journal",
            expected=f"nobody, before its {schema} is brought up to date",
            seen=f"its lease lasts for another {left / 1000:.1f} s",
            where=where,
            hint="Stop it, or wait.",
        )
