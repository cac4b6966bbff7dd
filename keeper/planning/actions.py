"""What a batch may ask of our contracts: every typed action, with names for its arguments.

One table for all connectors: an action of one name has one signature everywhere.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from keeper.contracts import Function
from keeper.errors import DecodeError, PlanError


@dataclass(frozen=True)
class Action:
    """A function and the names of its arguments, in order.

    `key` names the argument that says which position it is about, `pushes` the one with the amount of the
    call's token that the portfolio sends along; None where there is no such argument.
    """

    function: Function
    arguments: tuple[str, ...]
    key: str | None = None
    pushes: str | None = None

    @property
    def name(self) -> str:
        return self.function.name

    @property
    def selector(self) -> bytes:
        return self.function.selector

    def decode_input(self, data: bytes) -> tuple[Any, ...]:
        """Arguments of `data` in order. Raises PlanError unless `data` is the one encoding of a call."""
        try:
            values = self.function.decode_input(data)
        except DecodeError as error:
            raise PlanError(f"Not a call of {self.function.signature}: {error}") from error
        if self.function.encode(*values) != data:
            raise PlanError("Not the canonical bytes of a call", expected=self.function.signature, seen=data)
        return values

    def decode(self, data: bytes) -> dict[str, Any]:
        """The same by name."""
        return dict(zip(self.arguments, self.decode_input(data), strict=True))


SUPPLY: Final = Function("supply(bytes32,uint256)")
"""IConnector.supply(key, assets): the assets have been pushed just before."""
WITHDRAW: Final = Function("withdraw(bytes32,uint256)", "(uint256)")
"""IConnector.withdraw(key, assets): 2**256 - 1 is a full exit."""

CLAIM: Final = Action(Function("claimRewards(address)"), ("reward",))
"""All that the connector's account has earned of a reward, to the portfolio."""
SWAP_UNISWAP: Final = Action(
    Function("swapUniswap(bytes,uint256,uint256)"), ("path", "amount_in", "min_out"), pushes="amount_in"
)
SWAP_LIFI: Final = Action(
    Function("swapLiFi(address,address,uint256,uint256,bytes)"),
    ("token_in", "token_out", "amount_in", "min_out", "data"),
    pushes="amount_in",
)
SWAPS: Final = (SWAP_UNISWAP, SWAP_LIFI)
"""`ISwapHandler`: what is sold has been pushed just before, what it brings goes to the portfolio."""
SWAP: Final = "swap"
"""Stands for the swap handler where a call names its venue."""


def _of_key(signature: str, *more: str, pushes: str | None = None) -> Action:
    return Action(Function(signature), ("key", *more), key="key", pushes=pushes)


REPAY: Final = _of_key("repay(bytes32,uint256)", "assets", pushes="assets")
"""With what is pushed; what the debt does not take comes back."""
FREE: Final = _of_key("withdrawCollateral(bytes32,uint256)", "assets")
REDUCING: Final = frozenset(
    {WITHDRAW.name, CLAIM.name, REPAY.name, FREE.name, *(each.name for each in SWAPS)}
)
"""Actions that only ever lower risk; of swaps a policy allows those into the vault's asset alone, and of
collateral a connector lets go only what its floor of health allows."""


_LENDING: Final = (
    Action(SUPPLY, ("key", "assets"), key="key", pushes="assets"),
    Action(WITHDRAW, ("key", "assets"), key="key"),
    _of_key("borrow(bytes32,uint256)", "assets"),
    REPAY,
    _of_key("repayShares(bytes32,uint256,uint256)", "shares", "assets", pushes="assets"),
    _of_key("repayWithATokens(bytes32,uint256)", "assets"),
    _of_key("supplyCollateral(bytes32,uint256)", "assets", pushes="assets"),
    FREE,
    _of_key("setCollateral(bytes32,bool)", "used"),
    Action(Function("setEMode(uint8)"), ("category",)),
    CLAIM,
    Action(Function("collect(address)"), ("token",)),
)
_SHARES: Final = (
    _of_key("deposit(bytes32,uint256,uint256)", "assets", "min_shares", pushes="assets"),
    _of_key("redeem(bytes32,uint256,uint256)", "shares", "min_assets"),
    _of_key("requestRedeem(bytes32,uint256)", "shares"),
    _of_key("claim(bytes32)"),
)
_LIQUIDITY: Final = (
    _of_key("hold(bytes32,address,uint256)", "token", "amount", pushes="amount"),
    _of_key("release(bytes32,address,uint256)", "token", "amount"),
    _of_key(
        "mint(bytes32,int24,int24,uint256,uint256,uint256,uint256)",
        *("tick_lower", "tick_upper", "amount0", "amount1", "min0", "min1"),
    ),
    Action(
        Function("increase(uint256,uint256,uint256,uint256,uint256)"),
        ("token_id", "amount0", "amount1", "min0", "min1"),
    ),
    Action(Function("decrease(uint256,uint128,uint256,uint256)"), ("token_id", "liquidity", "min0", "min1")),
    Action(Function("collectFees(uint256)"), ("token_id",)),
    Action(Function("burn(uint256)"), ("token_id",)),
)
ACTIONS: Final[Mapping[str, Action]] = MappingProxyType(
    {action.name: action for action in (*_LENDING, *_SHARES, *_LIQUIDITY, *SWAPS)}
)
"""By name. What a policy does not allow for a position is refused, whatever this lists."""
