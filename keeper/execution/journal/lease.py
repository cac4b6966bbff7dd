"""One writer: a lease with a token that only grows, checked in the transaction of every write.

It is measured by the database's clock alone, so that keepers whose own clocks differ agree about it. Safety
does not rest on time: who has lost the lease finds another token there, however late it wakes up.
"""

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import BigInteger, Connection, or_, update
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement
from sqlmodel import col, select

from keeper.errors import LeaseError
from keeper.execution.journal.tables import Lease

LONGEST_SECONDS: Final = 3_600
"""No lease lasts longer: one that seems to was taken by a clock that has been put right since."""
_LONGEST: Final = 1_000 * LONGEST_SECONDS


class Now(FunctionElement[int]):
    """Milliseconds since the epoch as the database counts them, not those at which its transaction began."""

    type = BigInteger()
    inherit_cache = True


@compiles(Now, "sqlite")
def _sqlite_now(element: Now, compiler: Any, **_: Any) -> str:
    return "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)"


@compiles(Now, "postgresql")
def _postgresql_now(element: Now, compiler: Any, **_: Any) -> str:
    return "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)"


def now(connection: Connection) -> int:
    """Milliseconds since the epoch by the database's clock."""
    return int(connection.execute(select(Now())).scalar_one())


def standing(connection: Connection) -> tuple[str, int]:
    """Who held the lease last, and for how many milliseconds yet; 0 when nobody does."""
    holder, left = connection.execute(select(Lease.holder, col(Lease.until) - Now())).one()
    return holder, int(left) if 0 < left <= _LONGEST else 0


@dataclass(frozen=True)
class Term:
    """A lease that is held: `token` is what fences, `millis` how long it lasts without a write."""

    holder: str
    token: int
    millis: int


def take(connection: Connection, holder: str, millis: int) -> Term:
    """The lease, under a new token. Raises LeaseError while another holds it."""
    token, until = col(Lease.token), col(Lease.until)
    taken = connection.execute(
        update(Lease)
        .where(or_(until <= Now(), until > Now() + _LONGEST))
        .values(holder=holder, token=token + 1, until=Now() + millis)
        .returning(token)
    ).scalar()
    if taken is not None:
        return Term(holder, int(taken), millis)
    by, left = standing(connection)
    raise LeaseError(
        "Another keeper holds the lease of this journal",
        seen=f"{by}, for another {left / 1000:.1f} s",
        hint="Stop it, or wait: its lease ends by itself once it no longer writes.",
    )


def keep(connection: Connection, term: Term) -> None:
    """Prolongs the lease. Its row stays locked to the end of the transaction, so that nobody can take it
    before what is written with it is there. Raises LeaseError when it has ended."""
    token, until = col(Lease.token), col(Lease.until)
    kept = connection.execute(
        update(Lease)
        .where(token == term.token, until > Now())
        .values(until=Now() + term.millis)
        .returning(token)
    ).scalar()
    if kept is None:
        current, holder = connection.execute(select(Lease.token, Lease.holder)).one()
        raise LeaseError(
            "This keeper's lease has ended, so it may no longer write",
            expected=f"token {term.token}",
            seen=f"token {current} of {holder}",
            hint="Start it again: it goes on where the journal is.",
        )


def leave(connection: Connection, term: Term) -> None:
    """Ends the lease, if it is still held."""
    connection.execute(update(Lease).where(col(Lease.token) == term.token).values(until=0))
