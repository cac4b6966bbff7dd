"""What a signer has promised: one plan per slot, on disk before anyone sees the signature.

A slot is (chain, vault, kind, nonce key, nonce). A second plan may take it only once the first has expired by
the chain's clock, as it can no longer be executed then, and only if it begins after that: so both signatures
show by themselves that nothing was promised twice.
"""

import sqlite3
from pathlib import Path
from typing import Final

from keeper.planning import budgets
from keeper.planning.bounds import DAY
from keeper.planning.plan import Plan
from keeper.planning.policy import Policy
from keeper.quorum.database import Database

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


_BODIES: Final = """
CREATE TABLE IF NOT EXISTS plans (
    plan_hash   BLOB NOT NULL PRIMARY KEY,
    valid_until INTEGER NOT NULL,
    body        BLOB NOT NULL
) WITHOUT ROWID
"""
_KEEP: Final = "INSERT OR IGNORE INTO plans VALUES (?, ?, ?)"
_UNEXPIRED: Final = "SELECT body FROM plans WHERE valid_until >= ? ORDER BY valid_until, plan_hash"


class Promises:
    """The file of promises. Several processes may share one; each promise is one durable transaction."""

    def __init__(self, path: Path) -> None:
        """Creates the file, readable by its owner only. Raises ConfigError when it cannot be used."""
        self._database = Database(path, _SCHEMA, _BODIES)

    def promise(self, plan: Plan, now: int, policy: Policy) -> bytes | None:
        """Takes the plan's slot for it, durably, within the policy's budgets; the same plan again changes
        nothing.

        `now` is the hub chain's time in UNIX seconds. Returns None once the slot is the plan's, or the hash
        of the other plan that holds it, as that has not expired or had not when this one begins. Raises
        PolicyError, and promises nothing, for a plan that exceeds a budget with those promised before.
        """
        nonce_key, nonce = plan.slot
        slot = (str(plan.chain_id), plan.vault, plan.kind.value, str(nonce_key), str(nonce))
        with self._database.transaction() as database:
            row = database.execute(_SELECT, slot).fetchone()
            if row is not None and row[0] != plan.plan_hash and min(now, plan.valid_after) <= row[1]:
                return bytes(row[0])
            # In the same transaction, so that two plans at once do not both take what is left.
            budgets.check(policy, plan, _unexpired(database, plan.reference_time - DAY))
            database.execute(_TAKE, (*slot, plan.plan_hash, plan.valid_until))
            database.execute(_KEEP, (plan.plan_hash, plan.valid_until, plan.to_bytes()))
        return None

    def unexpired(self, now: int) -> tuple[Plan, ...]:
        """Every plan promised so far, in any slot, that is valid until `now` or longer."""
        with self._database.transaction() as database:
            return _unexpired(database, now)


def _unexpired(database: sqlite3.Connection, now: int) -> tuple[Plan, ...]:
    return tuple(Plan.from_bytes(bytes(body)) for (body,) in database.execute(_UNEXPIRED, (now,)).fetchall())
