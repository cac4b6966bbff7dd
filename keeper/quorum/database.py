"""A file that must not forget: SQLite, one durable transaction at a time."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from keeper.errors import ConfigError


class Database:
    """One file; several processes, and several tables' owners, may share it."""

    def __init__(self, path: Path, *schema: str) -> None:
        """Creates the file, readable by its owner only. Raises ConfigError when it cannot be used."""
        self._path = path
        try:
            path.touch(mode=0o600, exist_ok=True)
            with self.transaction() as connection:
                for table in schema:
                    connection.execute(table)
        except (OSError, sqlite3.Error) as error:
            raise ConfigError("Cannot use the signer's record", where=path, seen=error) from error

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All of it is on disk when the block ends, or none."""
        with closing(sqlite3.connect(self._path, timeout=10, isolation_level=None)) as connection:
            # FULL: the commit returns when the record is on disk, so that a power cut forgets no promise.
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("BEGIN IMMEDIATE")
            # An error leaves by closing the connection, which rolls back.
            yield connection
            connection.execute("COMMIT")
