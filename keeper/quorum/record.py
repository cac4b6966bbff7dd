"""What a signer has promised: one plan per slot, on disk before anyone sees the signature.

A slot is (chain, vault, kind, nonce key, nonce). A second plan may take it only once the first has expired by
the chain's clock, as it can no longer be executed then.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from keeper.errors import ConfigError
from keeper.planning.plan import Plan

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS promises (
    chain_id    TEXT NOT NULL,
    vault       TEXT NOT NULL,
    kind        TEXT NOT NULL,
    nonce_key   TEXT NOT NULL,
    nonce       TEXT NOT NULL,
    plan_hash   BLOB NOT NULL,
    valid_until INTEGER NOT NULL,
    PRIMARY KEY (chain_id, vault, kind, nonce_key, nonce)
) WITHOUT ROWID
"""
_SELECT: Final = """
SELECT plan_hash, valid_until FROM promises
WHERE chain_id = ? AND vault = ? AND kind = ? AND nonce_key = ? AND nonce = ?
"""
_TAKE: Final = "INSERT OR REPLACE INTO promises VALUES (?, ?, ?, ?, ?, ?, ?)"


class Promises:
    """The file of promises. Several processes may share one; each promise is one durable transaction."""

    def __init__(self, path: Path) -> None:
        """Creates the file, readable by its owner only. Raises ConfigError when it cannot be used."""
        self._path = path
        try:
            path.touch(mode=0o600, exist_ok=True)
            with self._transaction() as database:
                database.execute(_SCHEMA)
        except (OSError, sqlite3.Error) as error:
            raise ConfigError("Cannot use the signer's record", where=path, seen=error) from error

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self._path, timeout=10, isolation_level=None)) as database:
            # FULL: the commit returns when the record is on disk, so that a power cut forgets no promise.
            database.execute("PRAGMA synchronous = FULL")
            database.execute("BEGIN IMMEDIATE")
            # An error leaves by closing the connection, which rolls back.
            yield database
            database.execute("COMMIT")

    def promise(self, plan: Plan, now: int) -> bytes | None:
        """Takes the plan's slot for it, durably; the same plan again changes nothing.

        `now` is the hub chain's time in UNIX seconds. Returns None once the slot is the plan's, or the hash
        of the other, unexpired plan that holds it.
        """
        nonce_key, nonce = plan.slot
        slot = (str(plan.chain_id), plan.vault, plan.kind.value, str(nonce_key), str(nonce))
        with self._transaction() as database:
            row = database.execute(_SELECT, slot).fetchone()
            if row is not None and row[0] != plan.plan_hash and now <= row[1]:
                return bytes(row[0])
            database.execute(_TAKE, (*slot, plan.plan_hash, plan.valid_until))
        return None
