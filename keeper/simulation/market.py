"""The market around a vault: a seeded agent that keeps rates and prices moving.

It acts only by signed transactions of its own accounts, so a replica can execute the same again. The same
seed on the same chain gives the same transactions.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

from eth_hash.auto import keccak

from keeper.contracts import encode_call
from keeper.simulation.devnet import Devnet
from keeper.simulation.uniswap import SWAP

_MAX: Final = 2**256 - 1
_VARIABLE: Final = 2
_NEVER: Final = 2**40
_PARAMS: Final = "(address,address,address,address,uint256)"
_USDC: Final = 10**6
_BORROW: Final = "borrow(address,uint256,uint256,uint16,address)"
_REPAY: Final = "repay(address,uint256,uint256,address)"
_PRICE_STEP_BPS: Final = 20
_BPS: Final = 10_000
_PUSHED: Final = ("ETH", "BTC", "USDC", "USDT", "DAI", "stETH")
_PEGGED: Final = frozenset({"USDC", "USDT", "DAI"})


_T = TypeVar("_T")


class Draws:
    """A stream of choices that is the same on every machine and in every Python version."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._taken = 0

    def between(self, low: int, high: int) -> int:
        """An integer with low <= n < high, from keccak(seed, count)."""
        self._taken += 1
        word = keccak(self._seed.to_bytes(32, "big") + self._taken.to_bytes(32, "big"))
        return low + int.from_bytes(word, "big") % (high - low)

    def pick(self, options: Sequence[_T]) -> _T:
        """One of the options."""
        return options[self.between(0, len(options))]

    def coin(self) -> bool:
        """True half of the time."""
        return self.between(0, 2) == 1


class MarketAgent:
    """Borrows and repays on Aave and Morpho, swaps on Uniswap and pushes oracle rounds, one act per step.

    Amounts are in smallest units of USDC (6 decimals) unless said otherwise.
    """

    def __init__(self, devnet: Devnet, seed: int = 0) -> None:
        self.devnet = devnet
        self._draws = Draws(seed)
        self._manifest = devnet.manifest
        self._acts: tuple[Callable[[], dict[str, Any]], ...] = (
            self._lend_on_aave,
            self._lend_on_morpho,
            self._swap,
            self._push_price,
        )

    def step(self) -> dict[str, Any]:
        """One act, mined in one block. Returns its receipt. Raises RevertError."""
        return self._draws.pick(self._acts)()

    def whale_borrow(self, amount: int) -> dict[str, Any]:
        """Borrows USDC on Aave from the whale's account. Raises RevertError beyond the pool's liquidity."""
        asset, pool = self._token("USDC"), self._manifest["aave"]["pool"]
        whale = self.devnet.address("whale")
        return self._send("whale", pool, _BORROW, asset, amount, _VARIABLE, 0, whale)

    def whale_repay(self) -> dict[str, Any]:
        """Repays all that the whale owes in USDC on Aave, interest included."""
        return self._repay_aave("whale", "USDC", _MAX)

    def aave_debt(self, role: str, symbol: str) -> int:
        """What an account owes on Aave at the head, in smallest units of the token."""
        debt = self._manifest["aave"]["reserves"][symbol]["variable_debt_token"]
        return int(self.devnet.call(debt, "balanceOf(address)", [self.devnet.address(role)], "(uint256)"))

    def _lend_on_aave(self) -> dict[str, Any]:
        symbol = self._draws.pick(("USDC", "USDT"))
        amount = self._draws.between(50_000, 800_000) * _USDC
        debt = self.aave_debt("agent", symbol)
        if debt > amount and self._draws.coin():
            return self._repay_aave("agent", symbol, amount)
        asset, pool, who = self._token(symbol), self._manifest["aave"]["pool"], self.devnet.address("agent")
        if self._aave_liquidity(symbol) < 2 * amount:
            return self._repay_aave("agent", symbol, min(amount, debt)) if debt else self._push_price()
        return self._send("agent", pool, _BORROW, asset, amount, _VARIABLE, 0, who)

    def _lend_on_morpho(self) -> dict[str, Any]:
        section = self._manifest["morpho"]
        market = section["markets"][self._draws.pick(self._manifest["metamorpho"]["supply_queue"])]
        params = (
            market["loan_token"],
            market["collateral_token"],
            market["oracle"],
            market["irm"],
            market["lltv"],
        )
        amount = self._draws.between(20_000, 400_000) * _USDC
        morpho, who, id_ = section["address"], self.devnet.address("agent"), bytes.fromhex(market["id"][2:])
        state = self.devnet.call(
            morpho, "market(bytes32)", [id_], "(uint128,uint128,uint128,uint128,uint128,uint128)"
        )
        owed = self.devnet.call(morpho, "position(bytes32,address)", [id_, who], "(uint256,uint128,uint128)")[
            1
        ]
        if owed and (self._draws.coin() or state[0] - state[2] < 2 * amount):
            shares = self._draws.between(1, owed + 1)
            signature = f"repay({_PARAMS},uint256,uint256,address,bytes)"
            return self._send("agent", morpho, signature, params, 0, shares, who, b"")
        if state[0] - state[2] < 2 * amount:
            return self._push_price()
        signature = f"borrow({_PARAMS},uint256,uint256,address,address)"
        return self._send("agent", morpho, signature, params, amount, 0, who, who)

    def _swap(self) -> dict[str, Any]:
        pools = self._manifest["uniswap"]["pools"]
        pool = pools[self._draws.pick(sorted(pools))]
        source, target = self._draws.pick(
            ((pool["token0"], pool["token1"]), (pool["token1"], pool["token0"]))
        )
        trader = self.devnet.address("trader")
        held = int(self.devnet.call(source, "balanceOf(address)", [trader], "(uint256)"))
        amount = held * self._draws.between(1, 20) // (10 * _BPS)
        order = (source, target, pool["fee"], trader, _NEVER, amount, 0, 0)
        return self._send("trader", self._manifest["uniswap"]["swap_router"], SWAP, order)

    def _push_price(self) -> dict[str, Any]:
        base = self._draws.pick(_PUSHED)
        feed = self._manifest["feeds"][f"{base}/USD"]
        last = int(self.devnet.call(feed["proxy"], "latestAnswer()", [], "(int256)"))
        step = 1 if base in _PEGGED else _PRICE_STEP_BPS
        answer = last * (_BPS + self._draws.between(-step, step + 1)) // _BPS
        return self._send("oracle", feed["aggregator"], "push(int256)", answer)

    def _repay_aave(self, role: str, symbol: str, amount: int) -> dict[str, Any]:
        pool, who = self._manifest["aave"]["pool"], self.devnet.address(role)
        return self._send(role, pool, _REPAY, self._token(symbol), amount, _VARIABLE, who)

    def _aave_liquidity(self, symbol: str) -> int:
        holder = self._manifest["aave"]["reserves"][symbol]["a_token"]
        return int(self.devnet.call(self._token(symbol), "balanceOf(address)", [holder], "(uint256)"))

    def _token(self, symbol: str) -> str:
        return str(self._manifest["tokens"][symbol]["address"])

    def _send(self, role: str, to: str, signature: str, *args: Any) -> dict[str, Any]:
        return self.devnet.send(self.devnet.key(role), to, encode_call(signature, *args))
