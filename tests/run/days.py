"""A vault's day by a script: the chain moves only where the script says, so that it is the same day however
often its keeper is killed in it."""

import asyncio
import sqlite3
import time
import tomllib
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import psycopg
from eth_account import Account
from killed import PATIENCE_SECONDS, Keepers
from running import Post
from sqlmodel import select
from staged import Staged, State

from keeper.chain.transaction import sign
from keeper.config import parse
from keeper.contracts import Contract, encode_call
from keeper.contracts.handle import functions
from keeper.execution.journal.database import FILE
from keeper.execution.journal.journal import Journal, executed
from keeper.execution.journal.tables import Intent, PlanRow
from keeper.execution.transactions import TRANSFER_GAS
from keeper.planning.policy import Policy
from keeper.simulation.cast import Cast
from keeper.simulation.deploy import BLOCK_SECONDS, signed
from keeper.simulation.devnet import Devnet
from keeper.units import Address

FINALITY = 2
GWEI = 10**9
DEAR = 300 * GWEI
"""A base fee at which nothing waits in the pool but what is offered later."""
GAS = 2_000_000
SETTINGS = "lease = 600\n[schedule]\npoll = 0.02\ninterval = 0.5\n[breakers]\nfailures = 5\n"
"""Whatever happens, the lease is renewed by what is written."""
ALWAYS_LOW = '[gas.{}]\nlow = "1000000000000 ether"\n'
"""An alert that is told, and kept, on the first pass."""
USERS = ("user1", "user2")
NAMES = {
    "0x" + each.selector.hex(): each.name for abi in ("Vault", "KeeperQuorum") for each in functions(abi)
} | {"0x": "cancel"}


def deeper(stage: Staged) -> Staged:
    """The vault under a policy by which a block counts once `FINALITY` others lie on it."""
    rules = stage.deployment.policy_toml.replace("finality = 0", f"finality = {FINALITY}")
    policy = parse(tomllib.loads(rules), Policy)
    return Staged(stage.devnet, replace(stage.deployment, policy_toml=rules, policy=policy))


@dataclass
class Day:
    """One day of a vault. `keepers` are attended to whenever the script waits for something."""

    post: Post
    players: Cast
    keepers: Keepers

    @property
    def signers(self) -> Sequence[str]:
        return self.players.urls

    @property
    def stage(self) -> Staged:
        return self.post.stage

    @cached_property
    def journal(self) -> Journal:
        """To be read, and for what people write."""
        return Journal(self.post.place)

    # CHAIN

    def block(self, *sent: str, wait: int = BLOCK_SECONDS, price: int = GWEI) -> None:
        """Mines one block so many seconds after the last, at a base fee in wei."""
        rpc = self.stage.devnet.rpc
        rpc("anvil_setNextBlockBaseFeePerGas", hex(price))
        for raw in sent:
            rpc("eth_sendRawTransaction", raw)
        rpc("evm_setNextBlockTimestamp", self.stage.head.timestamp + wait)
        rpc("evm_mine")

    def blocks(self, count: int, **how: int) -> None:
        """So many, of which a keeper sees the last: at one between it might begin what the day has later. So
        it might where signers do not know the last one yet, and refuse what comes first."""
        with self.keepers.held():
            for _ in range(count):
                self.block(**how)
            asyncio.run(self.players.caught_up(self.stage.head.number))

    def by(
        self, role: str, signature: str, *arguments: Any, to: Address | None = None, ahead: int = 0
    ) -> str:
        """A signed call of a user, to the vault unless told otherwise."""
        devnet = self.stage.devnet
        nonce = int(devnet.rpc("eth_getTransactionCount", devnet.address(role), "latest"), 16) + ahead
        return signed(
            devnet.key(role),
            chain_id=devnet.chain_id,
            nonce=nonce,
            to=to or self.stage.deployment.vault,
            data=encode_call(signature, *arguments),
            value=0,
            gas=GAS,
        )

    def foreign(self) -> str:
        """A transaction of the keeper's account that it knows nothing of, in the place of its next."""
        devnet = self.stage.devnet
        account = Account.from_key(devnet.key("relayer"))
        nonce = int(devnet.rpc("eth_getTransactionCount", account.address, "latest"), 16)
        offer = {"gas": TRANSFER_GAS, "max_fee": 2 * DEAR, "tip": 2 * GWEI}
        made = sign(
            account, chain_id=devnet.chain_id, nonce=nonce, to=Address(account.address), data=b"", **offer
        )
        return "0x" + made.raw.hex()

    def claim(self, role: str) -> str:
        who = self.stage.devnet.address(role)
        ready = self.stage.read(self.stage.vault, "maxMint", who)
        return self.by(role, "mint(uint256,address)", ready, who)

    # KEEPER

    def until(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not condition():
            assert time.monotonic() < deadline, f"{what}; {self.keepers.said()}"
            self.keepers.attend()

    def begins(self, signers: Sequence[str]) -> None:
        """A keeper starts that knows these signers."""
        self.post.vaults.clear()
        self.post.vault(self.stage, signers, "day")
        self.post.write(SETTINGS + ALWAYS_LOW.format(self.post.stage.devnet.chain_id))
        self.keepers.begin()

    def pool(self) -> Mapping[str, Any]:
        """What waits there of the keeper's account, if anything does."""
        devnet = self.stage.devnet
        pending = devnet.rpc("txpool_content")["pending"]
        mine = {who.lower(): each for who, each in pending.items()}.get(devnet.address("relayer").lower(), {})
        return next(iter(mine.values()), {})

    def offers(self, name: str, *, but: str = "") -> str:
        """Waits until the keeper offers that call, in a transaction that is not `but`; its hash."""

        def offered() -> bool:
            waiting = self.pool()
            return bool(waiting) and NAMES[waiting["input"][:10]] == name and waiting["hash"] != but

        self.until(offered, name)
        return str(self.pool()["hash"])

    def does(self, name: str, **how: int) -> None:
        """Waits until the keeper offers that call, and mines it."""
        self.offers(name)
        self.block(**how)

    def finishes(self) -> None:
        """Waits until nothing is under way any more, and stops the keeper."""
        self.blocks(FINALITY)
        journal = self.journal
        self.until(
            lambda: not journal.under_way() and all(each.ended for each in plans(journal)), "nothing left"
        )
        self.keepers.stop()

    def outcome(self, since: int) -> "Outcome":
        """What can be told of the day that began after that block."""
        stage, journal = self.stage, self.journal
        devnet = stage.devnet
        people = {
            role: tuple(
                stage.read(contract, function, devnet.address(role))
                for contract, function in (
                    (Contract(stage.deployment.asset, "Vault"), "balanceOf"),
                    (stage.vault, "balanceOf"),
                    (stage.vault, "maxMint"),
                    (stage.vault, "maxWithdraw"),
                )
            )
            for role in USERS
        }
        return Outcome(
            people,
            stage.state(),
            asyncio.run(stage.book()).allocation,
            [block_of(devnet, number) for number in range(since + 1, stage.head.number + 1)],
            [(each.kind, each.ended, each.block) for each in plans(journal)],
            carried_out(journal),
        )


@dataclass(frozen=True)
class Outcome:
    """What a day has come to: amounts to the smallest unit, blocks with the time and calls of each, how plans
    ended, and what was meant to be done with how often it was."""

    people: Mapping[str, tuple[int, ...]]
    state: State
    allocation: Mapping[str, int]
    blocks: Sequence[tuple[int, list[tuple[str, str]]]]
    plans: Sequence[tuple[str, str | None, int | None]]
    intents: Sequence[tuple[str, int]]


def block_of(devnet: Devnet, number: int) -> tuple[int, list[tuple[str, str]]]:
    raw = devnet.rpc("eth_getBlockByNumber", hex(number), True)
    return int(raw["timestamp"], 16), [(each["from"], each["input"][:10]) for each in raw["transactions"]]


def plans(journal: Journal) -> list[PlanRow]:
    with journal.read() as session:
        return sorted(session.exec(select(PlanRow)), key=lambda each: (each.block or 0, each.plan_hash))


def carried_out(journal: Journal) -> list[tuple[str, int]]:
    with journal.read() as session:
        intents = session.exec(select(Intent)).all()
    return sorted(
        (each.purpose, sum(executed(row) for row in journal.transactions(each.key))) for each in intents
    )


def free(place: str) -> None:
    """Ends the lease of a keeper that was killed, if it had come so far."""
    if "://" in place:
        with psycopg.connect(place) as connection:
            if connection.execute("SELECT to_regclass('lease')").fetchone() != (None,):
                connection.execute("UPDATE lease SET until = 0")
        return
    file = Path(place) / FILE
    if file.exists():
        with closing(sqlite3.connect(file, timeout=10)) as connection, connection:
            if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'lease'").fetchone():
                connection.execute("UPDATE lease SET until = 0")
