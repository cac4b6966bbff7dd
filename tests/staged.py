"""A vault on a local chain with its users, its proposer and its signers' keys, all in this process.

For tests whose subject is not the processes around it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from eth_account import Account

from keeper import engine
from keeper.book import Book, open_book
from keeper.chain import snapshot
from keeper.chain.block import BlockRef
from keeper.chain.rpc import Endpoint, Source
from keeper.clock import ChainClock
from keeper.contracts import Contract, encode_call
from keeper.ledger.vault import Accounting
from keeper.planning.plan import Kind, Plan
from keeper.planning.policy import Policy
from keeper.quorum.record import Promises
from keeper.quorum.signer import Signer
from keeper.quorum.typed_data import Signature, artefact
from keeper.simulation.devnet import Devnet
from keeper.simulation.vault import EPOCH_SECONDS, SIGNERS, Deployment
from keeper.units import Address

ERRORS = ("KeeperQuorum", "Portfolio", "Vault", "Registry")
USDC = 10**6


@dataclass(frozen=True)
class State:
    """What a refusal must leave as it was."""

    idle: int
    nonce: int
    accounting: Accounting
    allocation: tuple[int, ...]


@dataclass
class Staged:
    """The chain, the vault on it, and what users, proposer and relayer do with it."""

    devnet: Devnet
    deployment: Deployment

    @property
    def policy(self) -> Policy:
        return self.deployment.policy

    @cached_property
    def vault(self) -> Contract:
        return Contract(self.deployment.vault, "Vault")

    @cached_property
    def portfolio(self) -> Contract:
        return Contract(self.deployment.portfolio, "Portfolio")

    # CHAIN

    @property
    def head(self) -> BlockRef:
        raw = self.devnet.block()
        return BlockRef(
            self.devnet.chain_id,
            int(raw["number"], 16),
            bytes.fromhex(raw["hash"][2:]),
            bytes.fromhex(raw["parentHash"][2:]),
            int(raw["timestamp"], 16),
            int(raw["baseFeePerGas"], 16),
        )

    def endpoint(self, url: str | None = None) -> Endpoint:
        return Endpoint(url or self.devnet.url, self.devnet.chain_id)

    def read(self, contract: Contract, function: str, *args: Any, at: int | str = "latest") -> Any:
        call = contract.call(function, *args)
        block = hex(at) if isinstance(at, int) else at
        answer = self.devnet.rpc("eth_call", {"to": call.target, "data": "0x" + call.data.hex()}, block)
        return call.decode(bytes.fromhex(answer[2:]))

    def accounting(self, at: int | str = "latest") -> Accounting:
        return Accounting.from_abi(self.read(self.vault, "accounting", at=at))

    def state(self) -> State:
        """Accounting, idle assets, nonce, and each connector's own units (which interest does not move)."""
        return State(
            idle=self.read(self.portfolio, "idle"),
            nonce=self.read(self.portfolio, "nextNonce", 0),
            accounting=self.accounting(),
            allocation=tuple(self._units()),
        )

    def _units(self) -> list[int]:
        manifest = self.devnet.manifest
        held = []
        for position in self.policy.positions:
            if position.connector == "aave_v3":
                to, signature = position.params["a_token"], "scaledBalanceOf(address)"
                held.append(self.devnet.call(to, signature, [position.address], "(uint256)"))
            elif position.connector == "metamorpho":
                to, signature = position.params["vault"], "balanceOf(address)"
                held.append(self.devnet.call(to, signature, [position.address], "(uint256)"))
            else:
                args = [position.key, position.address]
                signature, outputs = "position(bytes32,address)", "(uint256,uint128,uint128)"
                held.append(self.devnet.call(manifest["morpho"]["address"], signature, args, outputs)[0])
        return held

    # USERS

    def act(self, role: str, to: Address, signature: str, *args: Any) -> Mapping[str, Any]:
        return self.devnet.send(self.devnet.key(role), to, encode_call(signature, *args), errors=ERRORS)

    def request_deposit(self, role: str, assets: int) -> None:
        who, vault, asset = self.devnet.address(role), self.deployment.vault, self.deployment.asset
        self.act("deployer", asset, "mint(address,uint256)", who, assets)
        self.act(role, asset, "approve(address,uint256)", vault, assets)
        self.act(role, vault, "requestDeposit(uint256,address,address)", assets, who, who)

    def request_redeem(self, role: str, shares: int) -> None:
        who = self.devnet.address(role)
        self.act(role, self.deployment.vault, "requestRedeem(uint256,address,address)", shares, who, who)

    def claim(self, role: str) -> None:
        """Takes every share that is ready."""
        who = self.devnet.address(role)
        if ready := self.read(self.vault, "maxMint", who):
            self.act(role, self.deployment.vault, "mint(uint256,address)", ready, who)

    def shares(self, role: str) -> int:
        return int(self.read(self.vault, "balanceOf", self.devnet.address(role)))

    def close_epoch(self) -> None:
        """Waits as long as an epoch has to last, closes it, and makes a block after it."""
        until = self.accounting().settled_at + EPOCH_SECONDS
        self.devnet.warp(max(until - self.head.timestamp, 1))
        self.act("user1", self.deployment.vault, "closeEpoch()")
        self.devnet.rpc("evm_mine")

    # PROPOSER, SIGNERS AND RELAYER

    async def snapshot(
        self, url: str | None = None, at: BlockRef | None = None, policy: Policy | None = None
    ) -> snapshot.Snapshot:
        """The call set at `at`, by default the head, through `url`, by default the origin."""
        pinned = at or self.head
        calls = engine.calls(policy or self.policy)
        async with self.endpoint(url) as endpoint:
            return await snapshot.take_at({pinned.chain_id: endpoint}, calls, [pinned], pinned.timestamp)

    async def book(self, at: BlockRef | None = None) -> Book:
        return open_book(await self.snapshot(at=at), self.policy)

    async def propose(self, kind: Kind) -> Plan:
        return engine.derive(await self.snapshot(), self.policy, kind)

    def sign(self, plan: Plan, *roles: str) -> list[Signature]:
        """Signatures by the keys alone, in the order of the contract."""
        digest = artefact(plan).digest(plan.chain_id, self.policy.vault.quorum)
        accounts = [Account.from_key(self.devnet.key(role)) for role in roles]
        made = [
            Signature(Address(each.address), bytes(each.unsafe_sign_hash(digest).signature))
            for each in accounts
        ]
        return sorted(made, key=lambda each: int(each.signer, 16))

    def signer(self, endpoint: Source, promises: Path, role: str = "signer1") -> Signer:
        """One that derives plans itself, in this process, with its record in that file."""
        return Signer(
            policy=self.policy,
            engine=engine,
            endpoints={self.devnet.chain_id: endpoint},
            clock=ChainClock(endpoint),
            promises=Promises(promises),
            account=Account.from_key(self.devnet.key(role)),
        )

    def submit(self, plan: Plan, signatures: Sequence[Signature] | None = None) -> Mapping[str, Any]:
        """Sends the plan, by default with the signatures of the first two."""
        chosen = self.sign(plan, *SIGNERS[:2]) if signatures is None else signatures
        data = artefact(plan).submit_data(chosen)
        return self.devnet.send(self.devnet.key("relayer"), self.policy.vault.quorum, data, errors=ERRORS)

    async def settle(self, **terms: int) -> Plan:
        """Closes the epoch and settles it, with other terms than the engine's where given."""
        self.close_epoch()
        plan = await self.propose(Kind.SETTLEMENT)
        plan = replace(plan, terms=replace(plan.settlement, **terms))
        self.submit(plan)
        return plan

    async def allocate(self) -> Plan:
        """The batch the strategy wants."""
        plan = await self.propose(Kind.BATCH)
        self.submit(plan)
        return plan

    async def open(self, assets: int) -> None:
        """A first deposit, settled, claimed and put to work."""
        self.request_deposit("user1", assets)
        await self.settle()
        self.claim("user1")
        await self.allocate()
