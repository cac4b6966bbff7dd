"""Catches a signer that signs two plans for one slot: both plans with both signatures prove it to anyone.

An honest signer never does: it promises a slot to one plan until that has expired.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from keeper.errors import QuorumError
from keeper.planning.plan import Plan
from keeper.quorum.database import Database
from keeper.quorum.typed_data import Signature, artefact, check
from keeper.units import Address

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS sightings (
    signer    TEXT NOT NULL,
    slot      TEXT NOT NULL,
    plan_hash BLOB NOT NULL,
    quorum    TEXT NOT NULL,
    body      BLOB NOT NULL,
    signature BLOB NOT NULL,
    PRIMARY KEY (signer, slot, plan_hash)
) WITHOUT ROWID
"""
_SEE: Final = "INSERT OR IGNORE INTO sightings VALUES (?, ?, ?, ?, ?, ?)"
_OTHERS: Final = "SELECT body, signature FROM sightings WHERE signer = ? AND slot = ? AND quorum = ?"


@dataclass(frozen=True)
class Equivocation:
    """One signer's signatures of two plans that were to be valid at the same moment in the same slot.

    `quorum` is the contract that both are for.
    """

    signer: Address
    quorum: Address
    first: Plan
    first_signature: bytes
    second: Plan
    second_signature: bytes

    def verify(self) -> None:
        """Raises QuorumError unless this proves that the signer equivocated."""
        if slot(self.first) != slot(self.second) or self.first.plan_hash == self.second.plan_hash:
            raise QuorumError("Not two plans for one slot", seen=f"{slot(self.first)}, {slot(self.second)}")
        if not overlapping(self.first, self.second):
            raise QuorumError("The second plan begins after the first has expired")
        for plan, data in ((self.first, self.first_signature), (self.second, self.second_signature)):
            check(artefact(plan).digest(plan.chain_id, self.quorum), Signature(self.signer, data))

    def __str__(self) -> str:
        hashes = f"0x{self.first.plan_hash.hex()} and 0x{self.second.plan_hash.hex()}"
        return f"{self.signer} signed both {hashes} for {slot(self.first)}"


class Sightings:
    """Valid signatures that have been seen, on disk."""

    def __init__(self, path: Path) -> None:
        """Creates the file. Raises ConfigError when it cannot be used."""
        self._database = Database(path, _SCHEMA)

    def see(self, plan: Plan, signature: Signature, quorum: Address) -> Equivocation | None:
        """Remembers a signature that has been checked; returns what it proves beside an earlier one."""
        key = (signature.signer, slot(plan))
        with self._database.transaction() as database:
            rows = database.execute(_OTHERS, (*key, quorum)).fetchall()
            database.execute(_SEE, (*key, plan.plan_hash, quorum, plan.to_bytes(), signature.data))
        return next(_conflicts(rows, plan, signature, quorum), None)


def _conflicts(
    rows: list[tuple[bytes, bytes]], plan: Plan, signature: Signature, quorum: Address
) -> Iterator[Equivocation]:
    for body, data in rows:
        other = Plan.from_bytes(bytes(body))
        if other.plan_hash != plan.plan_hash and overlapping(other, plan):
            yield Equivocation(signature.signer, quorum, other, bytes(data), plan, signature.data)


def overlapping(first: Plan, second: Plan) -> bool:
    """Whether there is a moment at which both could be executed."""
    return first.valid_after <= second.valid_until and second.valid_after <= first.valid_until


def slot(plan: Plan) -> str:
    """What only one unexpired plan may be signed for."""
    nonce_key, nonce = plan.slot
    return f"{plan.chain_id}/{plan.vault}/{plan.kind.value}/{nonce_key}/{nonce}"
