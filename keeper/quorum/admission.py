"""Who is let in: requests of a listed proposer, made now, each once."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from keeper.clock import Clock
from keeper.errors import DecodeError, EndpointError, PolicyError
from keeper.planning.policy import Policy
from keeper.quorum.database import Database
from keeper.quorum.proposers import listed
from keeper.quorum.requests import APPROVE, Claim
from keeper.quorum.signer import PlanRefusedError

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS requests (
    proposer  BLOB NOT NULL,
    nonce     BLOB NOT NULL,
    timestamp INTEGER NOT NULL,
    PRIMARY KEY (proposer, nonce)
) WITHOUT ROWID
"""
_FORGET: Final = "DELETE FROM requests WHERE timestamp < ?"
_USE: Final = "INSERT OR IGNORE INTO requests VALUES (?, ?, ?)"


class Admission:
    """Judges requests by the policy, the signer's clock and a durable memory of nonces."""

    def __init__(self, policy: Policy, clock: Clock, record: Path) -> None:
        """Raises ConfigError when the record cannot be used."""
        self._skew = policy.time.max_clock_skew
        self._proposers = policy.proposers
        self._clock = clock
        self._database = Database(record, _SCHEMA)

    def rank(self, claim: Claim) -> int:
        """The place of the claimed proposer, before anything is proved. Raises PlanRefusedError for a
        stranger."""
        known = () if self._proposers is None else self._proposers.keys
        if claim.proposer not in known:
            raise PlanRefusedError(
                "unknown_proposer",
                "The policy does not list this proposer",
                expected=listed(known) or "none: the policy has no [proposers]",
                seen=claim.proposer,
            )
        return known.index(claim.proposer)

    async def admit(self, claim: Claim, body: bytes) -> int:
        """The proposer's place, once the request is proved to be its own, in time and new; on disk before
        this returns. Raises PlanRefusedError with the difference."""
        rank = self.rank(claim)
        if not claim.authentic(APPROVE, body):
            raise PlanRefusedError(
                "bad_request_signature",
                "The proposer did not sign this request, or not with this body, time or nonce",
                expected=f"a signature of 0x{claim.proposer.hex()}",
            )
        try:
            now = await self._clock.now()
        except EndpointError as error:
            raise PlanRefusedError("endpoint", str(error)) from error
        if abs(claim.timestamp - now) > self._skew:
            raise PlanRefusedError(
                "request_time",
                "The request was not made now",
                expected=f"within {self._skew} s of {now}",
                seen=claim.timestamp,
            )
        if not self._use(claim, now):
            raise PlanRefusedError("replayed", "This request has been made before", seen=claim.nonce)
        return rank

    def _use(self, claim: Claim, now: int) -> bool:
        with self._database.transaction() as database:
            # Twice the skew: a clock that falls back by as much as it may opens no door.
            database.execute(_FORGET, (now - 2 * self._skew,))
            row = (claim.proposer, claim.nonce, claim.timestamp)
            return database.execute(_USE, row).rowcount == 1


def claimed(headers: Mapping[str, str]) -> Claim:
    """The claim in a request's headers. Raises PlanRefusedError where there is none."""
    try:
        return Claim.from_headers(headers)
    except DecodeError as error:
        raise PlanRefusedError("unauthenticated", str(error)) from error


def require_quorum(policy: Policy) -> None:
    """Raises PolicyError when the keeper role is a Safe's, to which signatures for a KeeperQuorum mean
    nothing."""
    if policy.safe is not None:
        raise PolicyError(
            "The policy's keeper is a Safe, not a KeeperQuorum",
            expected="a policy without a section safe",
            seen=policy.vault.quorum,
            hint="A Safe's owners sign by `keeper safe sign`.",
        )
