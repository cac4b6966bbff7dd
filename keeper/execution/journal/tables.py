"""The journal's tables. A change here needs a migration beside it."""

from decimal import Decimal
from typing import Any, Final

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, LargeBinary, String, UniqueConstraint
from sqlalchemy.engine import Dialect
from sqlalchemy.types import NUMERIC, TypeDecorator, TypeEngine
from sqlmodel import Field, SQLModel

from keeper.errors import KeeperError, printable
from keeper.execution.journal.states import State

_DIGITS: Final = 78


class Uint256(TypeDecorator[int]):
    """0 to 2**256 - 1, exactly and in order: NUMERIC in PostgreSQL, digits in SQLite, whose integers have 64
    bits and whose NUMERIC is a float beyond them."""

    impl = String(_DIGITS)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return NUMERIC(_DIGITS, 0) if dialect.name == "postgresql" else String(_DIGITS)

    def process_bind_param(self, value: int | None, dialect: Dialect) -> Any:
        if value is None:
            return None
        if not 0 <= value < 2**256:
            raise KeeperError("Not a uint256", seen=value)
        return Decimal(value) if dialect.name == "postgresql" else f"{value:0{_DIGITS}d}"

    def process_result_value(self, value: Any, dialect: Dialect) -> int | None:
        return None if value is None else int(value)


class Words(TypeDecorator[str]):
    """What others have said. What cannot be printed is escaped: PostgreSQL takes no NUL, and nobody's words
    may keep a row from being written."""

    impl = String
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        if value is None:
            return None
        return printable(value)


def _words() -> Any:
    return Column(Words, nullable=False)


def _uint(*, nullable: bool = False) -> Any:
    return Column(Uint256, nullable=nullable)


def _row_id() -> Any:
    # SQLite numbers rows by itself only where the type is plainly INTEGER.
    return Column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True)


class Lease(SQLModel, table=True):
    """One row: who may write, by a token that only grows. `until` is in milliseconds of the database's
    clock."""

    __tablename__ = "lease"

    id: int = Field(primary_key=True)
    holder: str
    token: int = Field(sa_column=Column(BigInteger, nullable=False))
    until: int = Field(sa_column=Column(BigInteger, nullable=False))


class Intent(SQLModel, table=True):
    """What is to be done once. `gas` is the limit; after `valid_until`, in seconds of the chain's time, it is
    given up. `vault` is the one it is done for, where it is one's alone."""

    __tablename__ = "intents"

    key: str = Field(primary_key=True)
    chain_id: int = Field(sa_column=_uint())
    account: str
    purpose: str
    target: str
    data: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    gas: int = Field(sa_column=_uint())
    valid_until: int | None = Field(default=None, sa_column=_uint(nullable=True))
    vault: str | None = None


class Transaction(SQLModel, table=True):
    """One transaction for an intent, or the empty transfer that `cancels` it. Fees in wei per gas; `since` is
    the head when it was drafted, or offered again; `block_hash` where it was last seen mined. While it is
    mined, `gas_used` at `gas_price` and `data_fee` are what it cost, in wei, and `mined_at` is its block's
    time; all of them are unknown for what was mined before the journal kept them."""

    __tablename__ = "transactions"
    __table_args__ = (
        UniqueConstraint("chain_id", "account", "nonce", "attempt"),
        Index("ix_transactions_live", "chain_id", "account", "state"),
    )

    id: int | None = Field(default=None, sa_column=_row_id())
    intent: str = Field(sa_column=Column(String, ForeignKey("intents.key"), nullable=False, index=True))
    chain_id: int = Field(sa_column=_uint())
    account: str
    nonce: int = Field(sa_column=_uint())
    attempt: int
    cancels: bool
    max_fee: int = Field(sa_column=_uint())
    tip: int = Field(sa_column=_uint())
    since: int = Field(sa_column=_uint())
    state: str = Field(index=True)
    hash: bytes | None = Field(default=None, sa_column=Column(LargeBinary, unique=True))
    raw: bytes | None = Field(default=None, sa_column=Column(LargeBinary))
    block_hash: bytes | None = Field(default=None, sa_column=Column(LargeBinary))
    succeeded: bool | None = None
    gas_used: int | None = Field(default=None, sa_column=_uint(nullable=True))
    gas_price: int | None = Field(default=None, sa_column=_uint(nullable=True))
    data_fee: int | None = Field(default=None, sa_column=_uint(nullable=True))
    mined_at: int | None = Field(default=None, sa_column=Column(Uint256, nullable=True, index=True))

    @property
    def at(self) -> State:
        return State(self.state)

    @property
    def cost(self) -> int | None:
        """What it has cost in wei, as far as is known; None for what is not mined."""
        if self.gas_used is None or self.gas_price is None:
            return None
        return self.gas_used * self.gas_price + (self.data_fee or 0)


class Transition(SQLModel, table=True):
    """A step of one transaction; rows are only ever added. `token` is the writer's, `moment` in milliseconds
    of the database's clock."""

    __tablename__ = "transitions"

    id: int | None = Field(default=None, sa_column=_row_id())
    transaction_id: int = Field(
        sa_column=Column(BigInteger, ForeignKey("transactions.id"), nullable=False, index=True)
    )
    before: str | None
    after: str
    moment: int = Field(sa_column=Column(BigInteger, nullable=False))
    token: int = Field(sa_column=Column(BigInteger, nullable=False))
    block_hash: bytes | None = Field(default=None, sa_column=Column(LargeBinary))


class PlanRow(SQLModel, table=True):
    """A plan the keeper has made up its mind about, before anybody is asked to sign it. `ended` says how it
    ended; it is open until then. `block` is the one it was carried out in; none once that was reorganised
    away, until its transaction is in another."""

    __tablename__ = "plans"
    __table_args__ = (
        Index("ix_plans_open", "chain_id", "ended"),
        Index("ix_plans_done", "chain_id", "vault", "block"),
    )

    plan_hash: bytes = Field(sa_column=Column(LargeBinary, primary_key=True))
    chain_id: int = Field(sa_column=_uint())
    vault: str
    kind: str
    body: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    ended: str | None = None
    block: int | None = Field(default=None, sa_column=_uint(nullable=True))


class BreakerRow(SQLModel, table=True):
    """A circuit breaker of a vault that tripped, or, without `breaker`, that somebody has set all of them
    again; rows are only ever added. `price`, by 1e27, and `epoch` are those at which a loss tripped."""

    __tablename__ = "breakers"

    id: int | None = Field(default=None, sa_column=_row_id())
    chain_id: int = Field(sa_column=_uint())
    vault: str
    breaker: str | None
    reason: str = Field(sa_column=_words())
    moment: int = Field(sa_column=Column(BigInteger, nullable=False))
    price: int | None = Field(default=None, sa_column=_uint(nullable=True))
    epoch: int | None = Field(default=None, sa_column=_uint(nullable=True))


class FloatRow(SQLModel, table=True):
    """What was last said about an account's gas: whether it was `low`, and on which day of the chain's time,
    in days since the epoch, its cap was reached."""

    __tablename__ = "floats"

    chain_id: int = Field(sa_column=Column(Uint256, primary_key=True))
    account: str = Field(primary_key=True)
    low: bool
    capped_on: int | None = Field(default=None, sa_column=_uint(nullable=True))


class Heartbeat(SQLModel, table=True):
    """The last pass over a vault. `account` pays for its gas; `trouble` is what went wrong, or nothing."""

    __tablename__ = "heartbeats"

    chain_id: int = Field(sa_column=Column(Uint256, primary_key=True))
    vault: str = Field(primary_key=True)
    account: str
    moment: int = Field(sa_column=Column(BigInteger, nullable=False))
    did: str = Field(sa_column=_words())
    trouble: str = Field(sa_column=_words())
