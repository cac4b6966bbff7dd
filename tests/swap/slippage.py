"""Swaps drawn at random, between a quote and its execution pools and feeds that move.

What each swap must do is worked out first: a stranger's swap of the same amount on the same pools says what
they pay, the vault's own oracle what both sides are worth, and the handler's rules whether that will do.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from stage import ALLOWED_BPS, SWAP_LIFI, Stage

from keeper.contracts import Revert, encode_call, parse_revert
from keeper.contracts.abi import decode
from keeper.simulation.lifi_quotes import BPS, Market
from keeper.simulation.uniswap import SWAP
from keeper.swap.calldata import EXACT_INPUT
from keeper.swap.calldata import decode as decode_calldata
from keeper.swap.check import CheckedQuote, check
from keeper.swap.client import LiFi
from keeper.swap.models import Quote, parse
from keeper.swap.refusals import LiFiError
from keeper.units import Address

DOLLARS = {"USDC": 1, "USDT": 1, "DAI": 1, "WETH": 3_000, "WBTC": 90_000}
FED = {"WETH": "ETH", "WBTC": "BTC", "USDT": "USDT", "DAI": "DAI"}
SLIPPAGE_BPS = 50
CASES_PER_MARKET = 10
DUST = 7
MOST = 50_000_000
"""Dollars of one swap; no pool here takes as many."""
FAR = 2**40
WEALTH = 10**26
GAS = 40_000_000
"""Enough to walk an exhausted pool to its last tick."""

RECEIVED = "received"
PARTLY = "received, rest"
"""Not all could be sold, or was meant to be: the rest is back."""
MINIMUM = "signed minimum"
ORACLE = "oracle bound"
UNQUOTED = "not quoted"
NAMED = {"LiFi": "CumulativeSlippageTooLow", "Uniswap": "Error"}
"""Where the signed minimum cannot be had the route itself says so before the handler does."""


@dataclass(frozen=True)
class Case:
    """A swap, and the calls that come between its quote and its execution."""

    route: str
    sold: str
    bought: str
    amount: int
    kind: str
    promise_bps: int
    fee_bps: int
    unspent_bps: int
    between: tuple[dict[str, str], ...]


@dataclass(frozen=True)
class Order:
    """What is signed: the handler is called with `data`. The pools are asked for `swapped` of the amount."""

    data: bytes
    min_out: int
    path: bytes
    swapped: int


@dataclass(frozen=True)
class Trade:
    """What a stranger's swap comes to, and by what it fails where pools have nothing left."""

    spent: int
    paid: int
    failed: Revert | None


def units(symbol: str, dollars: int, stage: Stage) -> int:
    """An amount in smallest units."""
    scale: int = 10 ** stage.devnet.manifest["tokens"][symbol]["decimals"]
    return max(1, dollars * scale // DOLLARS[symbol])


class Campaign:
    """Random swaps on one stage. `table` counts what came of them, by route and kind of quote."""

    def __init__(self, stage: Stage, seed: str, folder: Path) -> None:
        self.stage = stage
        self.table: Counter[tuple[str, str, str]] = Counter()
        self._random = Random(seed)
        self._folder = folder
        manifest = stage.devnet.manifest
        self._router = manifest["uniswap"]["swap_router"]
        pools = manifest["uniswap"]["pools"].values()
        self._pools = [pool for pool in pools if set(pool["symbols"]) <= DOLLARS.keys()]
        deployer = stage.devnet.address("deployer")
        self._market = Market(
            stage.devnet.connection, stage.devnet.chain_id, manifest, stage.lifi.deployment, deployer
        )

    async def run(self, cases: int) -> None:
        """Raises AssertionError with the case where the handler does other than its rules say."""
        devnet = self.stage.devnet
        devnet.rpc("anvil_setBalance", devnet.address("deployer"), hex(WEALTH))
        for symbol in DOLLARS:
            # What lies there already is no part of any swap.
            self._send(self._give(symbol, self.stage.handler, DUST))
        for first in range(0, cases, CASES_PER_MARKET):
            clean = devnet.rpc("evm_snapshot")
            self._send(self._moves())
            async with self.stage.client(self._folder) as lifi:
                for _ in range(min(CASES_PER_MARKET, cases - first)):
                    case = self._draw()
                    outcome = await self._swap(case, lifi)
                    self.table[case.route, case.kind, outcome] += 1
            devnet.revert(clean)

    def lines(self) -> Iterator[str]:
        """The table as text."""
        outcomes = (RECEIVED, PARTLY, MINIMUM, ORACLE, UNQUOTED)
        yield f"{'route':<9}{'quote':<10}" + "".join(f"{each:>16}" for each in outcomes)
        for route, kind in sorted({key[:2] for key in self.table}):
            counts = (self.table[route, kind, each] for each in outcomes)
            yield f"{route:<9}{kind:<10}" + "".join(f"{count:>16,}" for count in counts)

    def _draw(self) -> Case:
        random = self._random
        sold, bought = random.sample(sorted(DOLLARS), 2)
        amount = self._size(sold) if random.random() < 0.9 else random.randint(1, 1_000)
        kind = random.choice(("honest", "generous", "mean"))
        bounds = {"honest": (BPS, BPS), "generous": (BPS + 1, 2 * BPS), "mean": (1, BPS - 1)}[kind]
        return Case(
            route=random.choice(sorted(NAMED)),
            sold=sold,
            bought=bought,
            amount=amount,
            kind=kind,
            promise_bps=random.choice((random.randint(*bounds), min(max(BPS + 60, bounds[0]), bounds[1]))),
            fee_bps=random.choice((0, 25)),
            unspent_bps=random.choice((0, 0, 20)),
            between=self._moves(),
        )

    def _size(self, symbol: str) -> int:
        return units(symbol, int(MOST ** self._random.random()), self.stage)

    def _moves(self) -> tuple[dict[str, str], ...]:
        """Swaps of others, on up to all pools but one, and perhaps another price."""
        random, moved = self._random, []
        for pool in random.sample(self._pools, random.randrange(len(self._pools))):
            symbols = random.sample(pool["symbols"], 2)
            source, target = (self.stage.token(each) for each in symbols)
            amount, trader = self._size(symbols[0]), self.stage.devnet.address("trader")
            order = (source, target, pool["fee"], trader, FAR, amount, 0, 0)
            moved += self._give(symbols[0], trader, amount)
            moved.append(self._call("trader", self._router, encode_call(SWAP, order)))
        if random.random() < 0.3:
            symbol = random.choice(sorted(FED))
            change = random.randint(-300, 300) if DOLLARS[symbol] > 1 else random.randint(-20, 20)
            feed = self.stage.devnet.manifest["feeds"][f"{FED[symbol]}/USD"]
            answer = DOLLARS[symbol] * 10 ** feed["decimals"] * (BPS + change) // BPS
            moved.append(self._call("oracle", feed["aggregator"], encode_call("push(int256)", answer)))
        return tuple(moved)

    def _give(self, symbol: str, account: str, amount: int) -> list[dict[str, str]]:
        """Tokens from nowhere; ether, of which there is enough, is wrapped."""
        token = self.stage.token(symbol)
        if symbol != "WETH":
            return [self._call("deployer", token, encode_call("mint(address,uint256)", account, amount))]
        wrap = {**self._call("deployer", token, encode_call("deposit()")), "value": hex(amount)}
        return [
            wrap,
            self._call("deployer", token, encode_call("transfer(address,uint256)", account, amount)),
        ]

    def _send(self, calls: Iterable[dict[str, str]]) -> None:
        for call in calls:
            self.stage.devnet.rpc("anvil_impersonateAccount", call["from"])
            self.stage.devnet.rpc("eth_sendTransactionSync", call)

    def _call(self, sender: str, to: str, data: bytes) -> dict[str, str]:
        source = sender if sender.startswith("0x") else self.stage.devnet.address(sender)
        return {"from": source, "to": to, "data": "0x" + data.hex(), "gas": hex(GAS)}

    async def _swap(self, case: Case, lifi: LiFi) -> str:
        order = await self._by_lifi(case, lifi) if case.route == "LiFi" else self._by_uniswap(case)
        if order is None:
            return UNQUOTED
        return self._execute(case, order, self._pays(case, order))

    async def _by_lifi(self, case: Case, lifi: LiFi) -> Order | None:
        costs = {"fee_bps": case.fee_bps, "unspent_bps": case.unspent_bps}
        self.stage.service.behave(promise_bps=case.promise_bps, **costs)
        request = self.stage.request(case.amount, case.sold, case.bought)
        try:
            quote = await lifi.quote(request)
        except LiFiError:
            return None
        if parse(quote.data, Quote, where=case).estimate.to_amount_min == "0":
            return None
        return self._lifi_order(check(quote.data, self.stage.expected(request, quote, 1)))

    def _lifi_order(self, quote: CheckedQuote) -> Order:
        arguments = (quote.token_in, quote.token_out, quote.amount_in, quote.min_out, quote.data)
        step = decode_calldata(quote.data).steps[-1]
        ((path, *_),) = EXACT_INPUT.decode_input(step.data)
        return Order(encode_call(SWAP_LIFI, *arguments), quote.min_out, path, step.from_amount)

    def _by_uniswap(self, case: Case) -> Order | None:
        sold, bought = self.stage.token(case.sold), self.stage.token(case.bought)
        best = self._market.best(sold, bought, case.amount)
        if best is None:
            return None
        path, paid = best
        minimum = max(1, paid * case.promise_bps * (BPS - SLIPPAGE_BPS) // BPS**2)
        data = encode_call("swapUniswap(bytes,uint256,uint256)", path, case.amount, minimum)
        return Order(data, minimum, path, case.amount)

    def _pays(self, case: Case, order: Order) -> Trade:
        """What the pools take and pay once they have moved, by a stranger's swap."""
        trader = self.stage.devnet.address("trader")
        arguments = (order.path, trader, FAR, order.swapped, 0)
        answers = self._simulate(
            [
                *case.between,
                *self._give(case.sold, trader, order.swapped),
                *self._balances(case, trader),
                self._call(trader, self._router, EXACT_INPUT.encode(arguments)),
                *self._balances(case, trader),
            ]
        )
        had, held, trade, has, holds = answers[-5:]
        (sold_before, sold_after), (before, after) = words([had, has]), words([held, holds])
        failed = refusal(trade) if trade["status"] == "0x0" else None
        return Trade(sold_before - sold_after, after - before, failed)

    def _execute(self, case: Case, order: Order, trade: Trade) -> str:
        """The swap itself. What a fee takes is spent as well; what is left unsold is not."""
        handler, kept = self.stage.handler, self._kept(case)
        cost_of, paid = trade.spent + self._fee(case), trade.paid
        answers = self._simulate(
            [
                *case.between,
                *self._give(case.sold, handler, case.amount),
                *kept,
                self._call(self.stage.portfolio, handler, order.data),
                *kept,
                self._worth(case.sold, cost_of),
                self._worth(case.bought, paid),
            ]
        )
        *rest, cost, worth = answers
        ran, after = rest[-1 - len(kept)], words(rest[-len(kept) :])
        before = words(rest[-1 - 2 * len(kept) : -1 - len(kept)])
        low_cost, low_worth = value(cost), value(worth)
        floor = -(-low_cost * (BPS - ALLOWED_BPS) // BPS)
        expected = MINIMUM if paid < order.min_out else ORACLE if low_worth < floor else RECEIVED
        if expected == RECEIVED:
            assert ran["status"] == "0x1", (case, refusal(ran))
            self._received(case, order, before, after, cost_of, paid)
            assert int(ran["returnData"], 16) == paid, case
            return RECEIVED if cost_of == case.amount else PARTLY
        assert ran["status"] == "0x0", case
        assert after == before, "nothing has moved"
        said = refusal(ran)
        if expected == MINIMUM:
            same = said == trade.failed if trade.failed else said.name == NAMED[case.route]
            assert same, (case, said)
        else:
            assert said == Revert("BelowOracleBound", ("floor", "worth"), (floor, low_worth)), (case, said)
        return expected

    def _received(
        self, case: Case, order: Order, before: Sequence[int], after: Sequence[int], spent: int, paid: int
    ) -> None:
        in_, out, *handler = (now - then for now, then in zip(after, before, strict=True))
        assert out == paid >= order.min_out, case
        assert in_ == case.amount - spent, "leftovers come back"
        # The handler had been given the amount, and beyond it dust that stays.
        assert handler == [-case.amount, 0, 0, 0], case
        assert list(after[4:]) == [0, 0], "no allowance is left"

    def _fee(self, case: Case) -> int:
        return case.amount * case.fee_bps // BPS if case.route == "LiFi" else 0

    def _kept(self, case: Case) -> list[dict[str, str]]:
        """Balances of portfolio and handler in both tokens, and what the handler lets others take."""
        sold, handler = self.stage.token(case.sold), self.stage.handler
        allowed = [
            self._call(handler, sold, encode_call("allowance(address,address)", handler, spender))
            for spender in (self._router, self.stage.lifi.deployment.diamond)
        ]
        return [
            *self._balances(case, self.stage.portfolio),
            *self._balances(case, handler),
            *allowed,
        ]

    def _balances(self, case: Case, account: Address) -> list[dict[str, str]]:
        tokens = (self.stage.token(each) for each in (case.sold, case.bought))
        return [self._call(account, token, encode_call("balanceOf(address)", account)) for token in tokens]

    def _worth(self, symbol: str, amount: int) -> dict[str, str]:
        token, asset = self.stage.token(symbol), self.stage.token("USDC")
        data = encode_call("value(address,address,uint256)", token, asset, amount)
        return self._call("trader", self.stage.oracle, data)

    def _simulate(self, calls: Iterable[dict[str, str]]) -> list[dict[str, Any]]:
        block = {"blockOverrides": {"baseFeePerGas": "0x0", "gasLimit": hex(100 * GAS)}, "calls": list(calls)}
        asked = {"blockStateCalls": [block], "validation": False}
        answers: list[dict[str, Any]] = self.stage.devnet.rpc("eth_simulateV1", asked, "latest")[0]["calls"]
        return answers


def words(answers: Sequence[dict[str, Any]]) -> list[int]:
    return [int(each["returnData"], 16) for each in answers]


def value(answer: dict[str, Any]) -> int:
    """The low end of a value; the feeds are sound all the while."""
    low, _, status = decode(("uint256", "uint256", "uint8"), bytes.fromhex(answer["returnData"][2:]))
    assert status == 0
    return int(low)


def refusal(answer: dict[str, Any]) -> Revert:
    data = answer["returnData"] if len(answer["returnData"]) > 2 else answer["error"].get("data", "0x")
    return parse_revert(bytes.fromhex(data[2:]), "SwapHandler", "GenericSwapFacet")
