"""The journal: intents, their transactions, and every step of each, written by one keeper at a time."""

import asyncio
import os
import socket
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any, Final, Self

from sqlalchemy import insert, update
from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import Session, col, func, select

from keeper.chain.transaction import Signed
from keeper.errors import KeeperError, LeaseError
from keeper.execution.fees import Fees
from keeper.execution.journal import lease
from keeper.execution.journal.database import READS, open_engine, reason, shown
from keeper.execution.journal.states import DIVERGED, ENDED, EXECUTED, INCLUDED, State, check
from keeper.execution.journal.tables import Intent, PlanRow, Transaction, Transition
from keeper.units import Address

LEASE_SECONDS: Final = 30.0
PLAN: Final = "plan/"
"""What the key of an intent begins with that carries out a plan; the plan's hash follows, in hex."""
_RENEWALS: Final = 3
"""In the length of a lease."""


class JournalError(KeeperError):
    """The journal could not be read or written."""


class Journal:
    """A journal in a folder, or in PostgreSQL by URL. Reading is free; writing takes the lease that
    `async with` holds, and each write is one durable transaction that checks it.

    What it returns are copies of rows as they were.
    """

    def __init__(self, place: str, *, lease_seconds: float = LEASE_SECONDS, holder: str = "") -> None:
        """Raises ConfigError for a database that cannot be used, or is of a newer version."""
        self._engine: Final = open_engine(place, lease_seconds=lease_seconds)
        self._seconds: Final = lease_seconds
        self._holder: Final = holder or f"{socket.gethostname()}:{os.getpid()}"
        self._term: lease.Term | None = None
        self._renewal: asyncio.Task[None] | None = None
        self.turns: Final[defaultdict[tuple[int, Address], asyncio.Lock]] = defaultdict(asyncio.Lock)
        """Who works on an account's transactions, by chain and account, in this process."""

    # LEASE

    async def __aenter__(self) -> Self:
        """Takes the lease; waits for one that is held for as long as a lease lasts. Raises LeaseError."""
        loop = asyncio.get_running_loop()
        patience = loop.time() + self._seconds * (1 + 1 / _RENEWALS)
        while self._term is None:
            try:
                self.take()
            except LeaseError:
                if loop.time() > patience:
                    raise
                await asyncio.sleep(self._seconds / _RENEWALS / 10)
        self._renewal = asyncio.create_task(self._renew())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ends the lease."""
        if self._renewal is not None:
            self._renewal.cancel()
            with suppress(asyncio.CancelledError):
                await self._renewal
        term, self._term = self._term, None
        with self._failures(), self._engine.begin() as connection:
            if term is not None:
                lease.leave(connection, term)
        self._engine.dispose()

    def take(self) -> None:
        """Takes the lease at once. Raises LeaseError while another keeper holds it."""
        with self._failures(), self._engine.begin() as connection:
            self._term = lease.take(connection, self._holder, int(self._seconds * 1000))

    async def _renew(self) -> None:
        """Until the lease is lost, as the next write will say. A database that fails may come back first."""
        with suppress(LeaseError):
            while True:
                await asyncio.sleep(self._seconds / _RENEWALS)
                with suppress(JournalError), self.write():
                    pass

    # WRITING

    def draft(self, intent: Intent, *, nonce: int, fee: Fees, since: int) -> None:
        """Gives an intent its transaction, with the lowest nonce from `nonce` on that no transaction of the
        account has had. Nothing happens when it has one that may still have an effect, or has had it."""
        with self.write() as session:
            if self._alive(session, intent.key):
                return
            session.merge(intent)
            session.flush()
            free = self._next_nonce(session, intent.chain_id, intent.account)
            self._add(session, intent, max(nonce, free), 0, fee, since)

    def fill(self, intent: Intent, *, nonce: int, fee: Fees, since: int) -> None:
        """Gives an intent the transaction of exactly this nonce, which no transaction has had."""
        with self.write() as session:
            session.add(intent)
            session.flush()
            self._add(session, intent, nonce, 0, fee, since)

    def supersede(self, old: Sequence[Transaction], *, fee: Fees, since: int, cancels: bool) -> None:
        """Puts another transaction in the place of those of one nonce: for the same intent at another price,
        or to cancel it."""
        newest = old[-1]
        with self.write() as session:
            for each in old:
                if each.at is not State.REPLACED:
                    self._step(session, each, State.REPLACED)
            intent = session.get_one(Intent, newest.intent)
            self._add(session, intent, newest.nonce, newest.attempt + 1, fee, since, cancels=cancels)

    def sign(self, transaction: Transaction, signed: Signed) -> None:
        """Keeps the bytes, before anyone else sees them."""
        with self.write() as session:
            self._step(session, transaction, State.SIGNED, raw=signed.raw, hash=signed.hash)

    def move(self, transaction: Transaction, after: State, **facts: Any) -> None:
        """The transaction's next state, and what is known with it. A plan that has ended with it is in no
        block while it is in none.

        Raises KeeperError for a step that the table of states lacks, or one from a state it is no longer in.
        """
        with self.write() as session:
            self._step(session, transaction, after, **facts)

    def include(
        self,
        mined: Transaction,
        after: State,
        others: Sequence[Transaction],
        *,
        block: int,
        since: int,
        **facts: Any,
    ) -> None:
        """As `move`, for a transaction that is in a `block`, and for the `others` of its nonce, which are
        not: all at once, so that there is always one that stands for the nonce. After a crash or a
        reorganisation they are a step behind, and take that first, at head `since`."""
        with self.write() as session:
            for each in (mined, *others):
                if each.at in {State.SIGNED, State.REORGED}:
                    self._step(session, each, State.BROADCAST, since=since)
            for each in others:
                if each.at is not State.REPLACED:
                    self._step(session, each, State.REPLACED)
            self._step(session, mined, after, block=block, **facts)

    def give_up(self, key: str, until: int) -> None:
        """An intent is no longer wanted: it was valid until then, in seconds of the chain's time."""
        with self.write() as session:
            intent = session.get_one(Intent, key)
            intent.valid_until = until
            session.add(intent)

    # READING

    def live(self, chain_id: int, account: Address) -> list[list[Transaction]]:
        """The transactions of an account that have not ended, by nonce, and by age within it."""
        with self.read() as session:
            rows = session.exec(
                select(Transaction)
                .where(
                    Transaction.chain_id == chain_id,
                    Transaction.account == account,
                    col(Transaction.state).in_(set(State) - ENDED),
                )
                .order_by(col(Transaction.nonce), col(Transaction.attempt))
            ).all()
        groups: defaultdict[int, list[Transaction]] = defaultdict(list)
        for row in rows:
            groups[row.nonce].append(row)
        return list(groups.values())

    def spent(self, chain_id: int, account: Address) -> int:
        """The account's nonces below this one are spent for good, as far as its transactions show."""
        with self.read() as session:
            top = session.exec(
                select(func.max(Transaction.nonce)).where(
                    Transaction.chain_id == chain_id,
                    Transaction.account == account,
                    col(Transaction.state).in_(ENDED),
                )
            ).one()
        return 0 if top is None else top + 1

    def next_nonce(self, chain_id: int, account: Address) -> int:
        """The lowest nonce behind all that the account's transactions have had."""
        with self.read() as session:
            return self._next_nonce(session, chain_id, account)

    def intent(self, key: str) -> Intent:
        """The intent of that key, which it must have."""
        with self.read() as session:
            return session.get_one(Intent, key)

    def transactions(self, key: str) -> list[Transaction]:
        """Every transaction that an intent has had, oldest first."""
        with self.read() as session:
            return list(
                session.exec(
                    select(Transaction).where(Transaction.intent == key).order_by(col(Transaction.id))
                )
            )

    def reorganised(self, rows: Sequence[Transaction]) -> bool:
        """Whether any of them has been in a block that is no more."""
        with self.read() as session:
            steps = select(Transition.id).where(
                col(Transition.transaction_id).in_([row.id for row in rows]),
                Transition.after == State.REORGED,
            )
            return session.exec(steps.limit(1)).first() is not None

    def executions(self, prefix: str) -> int:
        """How many intents whose keys begin so have had their effect."""
        with self.read() as session:
            rows = session.exec(
                select(Transaction).where(col(Transaction.intent).startswith(prefix, autoescape=True))
            ).all()
        return len({row.intent for row in rows if executed(row)})

    def under_way(self) -> list[Transaction]:
        """The transactions of every account that have not ended, by chain, account, nonce and age."""
        with self.read() as session:
            return list(
                session.exec(
                    select(Transaction)
                    .where(col(Transaction.state).not_in(ENDED))
                    .order_by(
                        col(Transaction.chain_id),
                        col(Transaction.account),
                        col(Transaction.nonce),
                        col(Transaction.attempt),
                    )
                )
            )

    def every(self, chain_id: int) -> list[Transaction]:
        """Every transaction on a chain, by account, nonce and age."""
        with self.read() as session:
            return list(
                session.exec(
                    select(Transaction)
                    .where(Transaction.chain_id == chain_id)
                    .order_by(col(Transaction.account), col(Transaction.nonce), col(Transaction.attempt))
                )
            )

    def holder(self) -> str | None:
        """Who holds the lease now, if anybody does."""
        with self.read() as session:
            holder, left = lease.standing(session.connection())
        return holder if left else None

    def transitions(self) -> list[Transition]:
        """Every step of every transaction, in order."""
        with self.read() as session:
            return list(session.exec(select(Transition).order_by(col(Transition.id))))

    # STEPS

    def _next_nonce(self, session: Session, chain_id: int, account: str) -> int:
        top = session.exec(
            select(func.max(Transaction.nonce)).where(
                Transaction.chain_id == chain_id, Transaction.account == account
            )
        ).one()
        return 0 if top is None else top + 1

    def _alive(self, session: Session, key: str) -> bool:
        rows = session.exec(
            select(Transaction).where(Transaction.intent == key, col(Transaction.cancels).is_(False))
        ).all()
        return any(row.at not in ENDED or executed(row) for row in rows)

    def _add(
        self,
        session: Session,
        intent: Intent,
        nonce: int,
        attempt: int,
        fee: Fees,
        since: int,
        *,
        cancels: bool = False,
    ) -> None:
        check(None, State.DRAFTED)
        made = Transaction(
            intent=intent.key,
            chain_id=intent.chain_id,
            account=intent.account,
            nonce=nonce,
            attempt=attempt,
            cancels=cancels,
            max_fee=fee.max_fee,
            tip=fee.tip,
            since=since,
            state=State.DRAFTED,
        )
        session.add(made)
        session.flush()
        self._note(session, made, None, State.DRAFTED, None)

    def _step(
        self, session: Session, row: Transaction, after: State, *, block: int | None = None, **facts: Any
    ) -> None:
        check(row.at, after)
        if State.MINED in (after, row.at) and after is not State.FINAL:
            self._place(session, row, block)
        moved = session.connection().execute(
            update(Transaction)
            .where(col(Transaction.id) == row.id, col(Transaction.state) == row.state)
            .values(state=after, **facts)
            .returning(col(Transaction.id))
        )
        if moved.scalar() is None:
            raise JournalError("Another has moved the transaction", expected=row.state, where=row.id)
        self._note(session, row, row.at, after, facts.get("block_hash"))
        for name, value in {"state": after, **facts}.items():
            setattr(row, name, value)

    def _place(self, session: Session, row: Transaction, block: int | None) -> None:
        """A plan that has ended with this transaction is in that block from now on, or in none."""
        plan = row.intent.removeprefix(PLAN)
        if plan != row.intent and not row.cancels:
            session.connection().execute(
                update(PlanRow)
                .where(
                    col(PlanRow.plan_hash) == bytes.fromhex(plan),
                    col(PlanRow.ended).in_((EXECUTED, DIVERGED)),
                )
                .values(block=block)
            )

    def _note(
        self, session: Session, row: Transaction, before: State | None, after: State, block: bytes | None
    ) -> None:
        values = {
            "transaction_id": row.id,
            "before": before,
            "after": after,
            "moment": lease.Now(),
            "token": self._held.token,
            "block_hash": block,
        }
        session.connection().execute(insert(Transition).values(values))

    @property
    def _held(self) -> lease.Term:
        if self._term is None:
            raise LeaseError("The journal is not open for writing", hint="Use it in `async with`")
        return self._term

    @contextmanager
    def write(self) -> Iterator[Session]:
        """All of it is on disk when the block ends, under this keeper's lease, or none."""
        term = self._held
        with self._failures(), Session(self._engine, expire_on_commit=False) as session, session.begin():
            lease.keep(session.connection(), term)
            yield session

    @contextmanager
    def append(self) -> Iterator[Session]:
        """As `write`, without the lease: for rows that only people add."""
        with self._failures(), Session(self._engine) as session, session.begin():
            yield session

    @contextmanager
    def read(self) -> Iterator[Session]:
        reading = self._engine.execution_options(**{READS: True})
        with self._failures(), Session(reading, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def _failures(self) -> Iterator[None]:
        try:
            yield
        except SQLAlchemyError as error:
            raise JournalError(
                "The journal's database fails", where=shown(self._engine), seen=reason(error)
            ) from error


def executed(row: Transaction) -> bool:
    """Whether an intent's transaction has had its effect, as far as is known."""
    return not row.cancels and row.succeeded is True and row.at in {*INCLUDED, State.FINAL}
