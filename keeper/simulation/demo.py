"""One day of a vault on the real protocols: deposits, a shock, a rebalance, refusals, rewards, exits, pay.

Everything happens by signed transactions and by signers in processes of their own; nothing is staged but
the market's moves. `play` returns what it saw, and `Day.ok` says whether every check held.
"""

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from eth_account import Account

from keeper.book import Book
from keeper.chain.rpc import Endpoint
from keeper.clock import ChainClock
from keeper.config import EndpointUrl
from keeper.contracts import Contract, encode_call
from keeper.events import EventStream, StepFinished, StepStarted
from keeper.execution.cycle import Keeper, Turn
from keeper.execution.journal.journal import Journal
from keeper.execution.relay import Relayer
from keeper.ops.output import amount
from keeper.planning.actions import SWAP
from keeper.planning.build import NothingToDoError
from keeper.planning.plan import BatchTerms, Kind, Plan
from keeper.quorum.collect import Outcome, ask
from keeper.quorum.requests import Proposer
from keeper.simulation import demo_swaps
from keeper.simulation.cast import Cast, cast
from keeper.simulation.devnet import Devnet
from keeper.simulation.lifi_process import LiFiService
from keeper.simulation.market import MarketAgent
from keeper.simulation.proposers import PROPOSERS, proposer_key
from keeper.simulation.replica import Replica
from keeper.simulation.swaps import deploy_selling_vault, push_prices
from keeper.simulation.vault import EPOCH_SECONDS, Deployment
from keeper.swap.client import LiFi, LiFiConfig
from keeper.units import Value

USDC: Final = 10**6
HOUR: Final = 3_600
PATIENCE_SECONDS: Final = 20.0
AAVE: Final = "aave:USDC"
DEPOSITS: Final = {"user1": 1_200_000 * USDC, "user2": 600_000 * USDC, "user3": 200_000 * USDC}
WHALE_PART: Final = (2, 3)
"""Part of the free liquidity on Aave that the whale borrows."""
REBALANCER: Final = "user6"
"""Relays the rebalance alone, so that the day can be replayed without it."""


@dataclass
class User:
    """One user's day. Amounts in the vault's asset; `value` is what is still held."""

    paid_in: int
    paid_out: int = 0
    value: int = 0

    @property
    def earned(self) -> int:
        return self.paid_out + self.value - self.paid_in


@dataclass
class Day:
    """What happened, and which checks held."""

    users: dict[str, User] = field(default_factory=dict)
    before: dict[str, int] = field(default_factory=dict)
    after: dict[str, int] = field(default_factory=dict)
    rates_before: dict[str, int] = field(default_factory=dict)
    rates_after: dict[str, int] = field(default_factory=dict)
    contract_nav: Value = field(default_factory=lambda: Value(0, 0))
    book_nav: Value = field(default_factory=lambda: Value(0, 0))
    nav_difference: int = 0
    gained: int = 0
    unexplained: int = 0
    refusals: list[Outcome] = field(default_factory=list)
    lies: list[Outcome] = field(default_factory=list)
    harvested: int = 0
    gas: dict[str, int] = field(default_factory=dict)
    checks: dict[str, bool] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        return bool(self.checks) and all(self.checks.values())


async def play(events: EventStream) -> Day:
    """Plays the day on a fresh local chain. Raises whatever stops it."""
    with Devnet() as devnet, TemporaryDirectory(prefix="omnikeeper-") as folder, ExitStack() as stack:
        with _Step(events, "Start a LiFi service that quotes the local Uniswap") as step:
            service = stack.enter_context(LiFiService([devnet]))
            step.detail = service.url
        with _Step(events, "Deploy the vault, its connectors, oracle, swap handler and quorum"):
            deployment = deploy_selling_vault(devnet, service.contracts[devnet.chain_id])
        with _Step(events, "Start three signers, each with its own key and its own node") as step:
            players = stack.enter_context(cast(devnet, deployment, Path(folder)))
            step.detail = ", ".join(players.urls)
        config = LiFiConfig(url=EndpointUrl(service.url), budget_file=Path(folder) / "budget.json")
        async with (
            Endpoint(devnet.url, devnet.chain_id) as endpoint,
            LiFi(config, ChainClock(endpoint)) as lifi,
            Journal(str(Path(folder) / "keeper")) as journal,
        ):
            stage = _Stage(devnet, deployment, players, endpoint, journal, events)
            return await stage.play(service, lifi)


class _Step:
    """Announces a step of the day and its end."""

    def __init__(self, events: EventStream, name: str) -> None:
        self._events = events
        self._name = name
        self.detail = ""

    def __enter__(self) -> "_Step":
        self._events.emit(StepStarted(step=self._name))
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._events.emit(StepFinished(step=self._name, detail=self.detail))


class _Stage:
    """The day's script over a running chain."""

    def __init__(
        self,
        devnet: Devnet,
        deployment: Deployment,
        players: Cast,
        endpoint: Endpoint,
        journal: Journal,
        events: EventStream,
    ) -> None:
        self.devnet = devnet
        self.deployment = deployment
        self.players = players
        self.journal = journal
        self.events = events
        self.vault = Contract(deployment.vault, "Vault")
        self.market = MarketAgent(devnet, seed=1)
        self.day = Day()
        self.proposer = Proposer(proposer_key(PROPOSERS[0]), ChainClock(endpoint))
        self.keeper = self._keeper(endpoint, "relayer")
        self.rebalancer = self._keeper(endpoint, REBALANCER)

    async def play(self, service: LiFiService, lifi: LiFi) -> Day:
        """The script."""
        with self._step("Three users ask to deposit") as step:
            step.detail = self._request_deposits()
        with self._step("The epoch closes and the quorum settles it") as step:
            step.detail = self._prices(await self._settle("settle deposits"))
        with self._step("The users claim their shares"):
            self._claim_shares()
        with self._step("The quorum puts the funds to work") as step:
            turn = await self._turn(self.keeper, Kind.BATCH, "allocate")
            step.detail = self._split(turn.book.allocation)
        with self._step("Six hours of market"):
            self._market(hours=6)
        await self._shock()
        with self._step("Sixteen hours of market"):
            self._market(hours=16)
        with self._step("What the day would have been without the rebalance") as step:
            await self._gain()
            step.detail = f"{amount(self.day.gained, 6, 'USDC')} less"
        await self._harvest(service, lifi)
        await self._exits()
        await self._close()
        return self.day

    async def _shock(self) -> None:
        book = await self._book()
        self.day.before, self.day.rates_before = book.allocation, _rates(book)
        with self._step("A whale borrows on Aave and rates cross") as step:
            step.detail = self._whale()
            book = await self._book()
            self.day.rates_after = _rates(book)
        with self._step("The proposer is compromised: one signer is fed a tampered plan") as step:
            plan = await self.rebalancer.propose(Kind.BATCH)
            step.detail = await self._tamper(plan)
        with self._step("The honest plan is signed and executed") as step:
            turn = await self._turn(self.rebalancer, Kind.BATCH, "rebalance")
            self.day.after = turn.book.allocation
            step.detail = self._split(turn.book.allocation)

    async def _harvest(self, service: LiFiService, lifi: LiFi) -> None:
        keeper = replace(self.keeper, lifi=lifi)
        push_prices(self.devnet)
        await self._caught_up()
        with self._step("LiFi lies about who is paid, and a compromised proposer passes it on") as step:
            honest = await demo_swaps.harvest(keeper, AAVE)
            service.behave(lie="calldata: another receiver")
            lying = await demo_swaps.requoted(keeper, lifi, honest)
            service.behave()
            for url in self.players.urls:
                self.day.lies.append(await ask(url, lying.to_bytes(), PATIENCE_SECONDS, self.proposer))
            refusal = self.day.lies[0]
            step.detail = f"{refusal.code}: {refusal.reason}"
        with self._step("Aave's rewards are claimed, and sold by an honest quote") as step:
            idle = (await self._book()).idle
            turn = self._seen("harvest", await keeper.execute(honest, await keeper.approve(honest)))
            self.day.harvested = turn.book.idle - idle
            sale = next(each for each in honest.batch.calls if each.venue == SWAP)
            step.detail = f"{sale.explain()}: {amount(self.day.harvested, 6, 'USDC')}"

    async def _exits(self) -> None:
        with self._step("One user asks for half, another for everything"):
            half = self._shares("user2") // 2
            self._request_redeem("user2", half)
            self._request_redeem("user3", self._shares("user3"))
        with self._step("The quorum unwinds what the queue needs") as step:
            try:
                turn = await self._turn(self.keeper, Kind.BATCH, "unwind")
                step.detail = self._split(turn.book.allocation)
            except NothingToDoError:
                step.detail = "enough was at hand"
        with self._step("The epoch closes and the quorum settles it") as step:
            step.detail = self._prices(await self._settle("settle redemptions"))
        with self._step("Claims are paid"):
            self._claim_assets()

    async def _close(self) -> None:
        book = await self._book()
        self.day.book_nav = book.nav
        for role, user in self.day.users.items():
            user.value = self._read("convertToAssets", self._shares(role))
        pending = [self._read("pendingRedeemRequest", 0, self._who(role)) for role in DEPOSITS]
        checks = self.day.checks
        checks["contract and book agree on NAV, to the wei"] = self.day.nav_difference == 0
        checks["every plan's outcome was explained, to the wei"] = self.day.unexplained == 0
        checks["the tampered plan was refused"] = any(
            refusal.code == "different_plan" for refusal in self.day.refusals
        )
        checks["no signer signed the lying quote"] = len(self.day.lies) == len(self.players.urls) and all(
            refusal.code == "no_plan" and "calldata.receiver" in refusal.reason for refusal in self.day.lies
        )
        checks["the rewards were sold"] = self.day.harvested > 0
        checks["the rebalance moved funds"] = self.day.before != self.day.after
        checks["the rebalance gained"] = self.day.gained > 0
        checks["nobody waits for payment"] = not any(pending)
        checks["everyone earned"] = all(user.earned > 0 for user in self.day.users.values())
        owed = self._read("escrowed")
        # Every claim is rounded down, so a unit for each may stay.
        checks["the escrow holds what it owes, and owes only roundings"] = (
            self._balance(self.deployment.escrow) == owed <= len(DEPOSITS)
        )

    # USERS

    def _request_deposits(self) -> str:
        asset = self.deployment.asset
        for role, assets in DEPOSITS.items():
            who = self._who(role)
            self._send("deployer", asset, encode_call("mint(address,uint256)", who, assets))
            self._send(role, asset, encode_call("approve(address,uint256)", self.vault.address, assets))
            self._act(role, "request deposit", "requestDeposit", assets, who, who)
            self.day.users[role] = User(paid_in=assets)
        return amount(sum(DEPOSITS.values()), 6, "USDC")

    def _claim_shares(self) -> None:
        for role, assets in DEPOSITS.items():
            self._act(role, "claim shares", "deposit(uint256,address)", assets, self._who(role))

    def _request_redeem(self, role: str, shares: int) -> None:
        self._act(role, "request redeem", "requestRedeem", shares, self._who(role), self._who(role))

    def _claim_assets(self) -> None:
        for role in ("user2", "user3"):
            who = self._who(role)
            owed = self._read("maxWithdraw", who)
            held = self._balance(who)
            self._act(role, "claim assets", "withdraw", owed, who, who)
            paid = self._balance(who) - held
            self.day.checks[f"{role} was paid what was owed"] = paid == owed > 0
            self.day.users[role].paid_out = paid

    # KEEPER

    async def _settle(self, name: str) -> Turn:
        self.devnet.warp(EPOCH_SECONDS)
        self._act("relayer", "close epoch", "closeEpoch")
        self.devnet.warp(12)
        return await self._turn(self.keeper, Kind.SETTLEMENT, name)

    async def _turn(self, keeper: Keeper, kind: Kind, name: str) -> Turn:
        await self._caught_up()
        return self._seen(name, await keeper.turn(kind))

    def _seen(self, name: str, turn: Turn) -> Turn:
        self.day.gas[name] = turn.receipt.gas_used
        self.day.unexplained += turn.reconciliation.unexplained
        self._compare(turn.book)
        return turn

    async def _tamper(self, plan: Plan) -> str:
        """Sends the last signer a plan that lets the batch lose half the vault and says nothing of it."""
        await self._caught_up()
        terms = plan.batch
        tampered: BatchTerms = replace(terms, min_nav_after=terms.min_nav_after // 2)
        bad = replace(plan, terms=tampered)
        outcome = await ask(self.players.urls[-1], bad.to_bytes(), PATIENCE_SECONDS, self.proposer)
        self.day.refusals.append(outcome)
        return f"{outcome.code}: {outcome.reason}"

    async def _book(self) -> Book:
        book = await self.keeper.book()
        self._compare(book)
        return book

    def _compare(self, book: Book) -> None:
        """The contract's own NAV at the head, asked apart from the snapshot, against the book."""
        (low, high), _ = self.devnet.call(self.deployment.portfolio, "nav()", [], "((uint256,uint256),bool)")
        self.day.contract_nav = Value(low, high)
        gap = max(abs(book.nav.low - low), abs(book.nav.high - high))
        self.day.nav_difference = max(self.day.nav_difference, gap)

    async def _caught_up(self) -> None:
        await self.players.caught_up(int(self.devnet.block()["number"], 16))

    def _keeper(self, endpoint: Endpoint, role: str) -> Keeper:
        account = Account.from_key(self.devnet.key(role))
        relayer = Relayer(endpoint, account, self.journal, self.events)
        policy, clock, signers = self.deployment.policy, ChainClock(endpoint), self.players.urls
        return Keeper(policy, endpoint, clock, signers, self.events, relayer, self.proposer)

    # MARKET

    def _market(self, hours: int) -> None:
        for _ in range(hours):
            self.market.step()
            self.devnet.warp(HOUR)

    def _whale(self) -> str:
        reserve = self.devnet.manifest["aave"]["reserves"]["USDC"]
        borrowed = self._balance(reserve["a_token"]) * WHALE_PART[0] // WHALE_PART[1]
        self.market.whale_borrow(borrowed)
        return amount(borrowed, 6, "USDC")

    async def _gain(self) -> None:
        """Low NAV beside that of the same chain without the rebalance, at the same height and time."""
        book = await self._book()
        omitted = [self._who(REBALANCER)]
        with Replica(self.devnet.url, self.devnet.chain_id, omit=omitted) as without:
            call = Contract(self.deployment.portfolio, "Portfolio").call("nav")
            request = {"to": call.target, "data": "0x" + call.data.hex()}
            answer = without.rpc("eth_call", request, "latest")
            (low, _), _ = call.decode(bytes.fromhex(answer[2:]))
        self.day.gained = book.nav.low - low

    # CHAIN

    def _step(self, name: str) -> _Step:
        return _Step(self.events, name)

    def _who(self, role: str) -> str:
        return self.devnet.address(role)

    def _shares(self, role: str) -> int:
        return int(self._read("balanceOf", self._who(role)))

    def _read(self, function: str, *args: Any) -> Any:
        return self._call(self.vault, function, *args)

    def _call(self, contract: Contract, function: str, *args: Any) -> Any:
        call = contract.call(function, *args)
        answer = self.devnet.rpc("eth_call", {"to": call.target, "data": "0x" + call.data.hex()}, "latest")
        return call.decode(bytes.fromhex(answer[2:]))

    def _balance(self, who: str) -> int:
        """USDC of an account."""
        return int(self.devnet.call(self.deployment.asset, "balanceOf(address)", [who], "(uint256)"))

    def _act(self, role: str, name: str, function: str, *args: Any) -> None:
        receipt = self._send(role, self.vault.address, self.vault.encode(function, *args))
        self.day.gas[name] = int(receipt["gasUsed"], 16)

    def _send(self, role: str, to: str, data: bytes) -> Mapping[str, Any]:
        return self.devnet.send(self.devnet.key(role), to, data)

    # WORDS

    def _split(self, allocation: Mapping[str, int]) -> str:
        return ", ".join(f"{venue} {assets // USDC:,}" for venue, assets in sorted(allocation.items()))

    def _prices(self, turn: Turn) -> str:
        accounting = turn.book.accounting
        return f"epoch {accounting.settled_epoch}, NAV {accounting.stored_nav // USDC:,} USDC"


def _rates(book: Book) -> dict[str, int]:
    """Supply rate per year by venue, in wad."""
    return {position.ref.venue: position.supply_rate(0, book.at) for position in book.positions}
