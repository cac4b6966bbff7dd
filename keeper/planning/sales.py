"""What a policy's section `swap` says of a batch's calls, and which positions keep what sales leave."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

from keeper.contracts import address
from keeper.errors import PolicyError
from keeper.planning.actions import CLAIM, SWAP, SWAP_LIFI, SWAP_UNISWAP, SWAPS
from keeper.planning.calls import PlannedCall
from keeper.swap.policy import SwapPolicy
from keeper.units import Address

if TYPE_CHECKING:
    from keeper.planning.policy import PositionPolicy

HELD: Final = "token"
"""The connector of positions that hold one token."""


def held_tokens(positions: Iterable["PositionPolicy"]) -> dict[str, Address]:
    """The tokens of positions that hold one, by venue. Raises ConfigError for what is no address."""
    return {
        each.venue: address(str(each.params.get("token"))) for each in positions if each.connector == HELD
    }


def is_sale(call: PlannedCall) -> bool:
    """Whether it is a swap at the swap handler, which `check_sales` checks; all else is a position's."""
    return call.venue == SWAP and call.function in {each.name for each in SWAPS}


def check_sales(swap: SwapPolicy | None, calls: Sequence[PlannedCall], asset: Address) -> int:
    """What the batch's swaps may lose together, in the vault's asset; 0 where it makes none.

    Raises PolicyError, naming the field, for a claim or a swap that no entry allows.
    """
    swaps = 0
    for i, call in enumerate(calls):
        where = f"terms.calls[{i}]"
        if call.venue == SWAP:
            # Whatever it calls: no position's entry is there to check it by.
            _check_swap(_section(swap, where), where, call, asset)
            swaps += 1
        elif call.function == CLAIM.name and call.args["reward"] != asset:
            _section(swap, where).sold(call.args["reward"])
    return swap.max_loss if swap is not None and swaps else 0


def _section(swap: SwapPolicy | None, where: str) -> SwapPolicy:
    if swap is None:
        raise PolicyError(
            "The policy lets nothing be sold", expected="a section swap", seen="none", where=where
        )
    return swap


def _check_swap(swap: SwapPolicy, where: str, call: PlannedCall, asset: Address) -> None:
    token = swap.sold(call.token)
    said = {f"{where}.target": (swap.handler, call.target), f"{where}.amount": (call.pushed, call.amount)}
    if call.function == SWAP_UNISWAP.name and token.path:
        said[f"{where}.decoded.path"] = (token.route, call.args["path"])
    elif call.function == SWAP_LIFI.name and swap.lifi is not None:
        said[f"{where}.decoded.token_in"] = (token.address, call.args["token_in"])
        said[f"{where}.decoded.token_out"] = (asset, call.args["token_out"])
    else:
        raise PolicyError("The policy does not allow this function", seen=call.function, where=where)
    for field, (expected, seen) in said.items():
        if expected != seen:
            raise PolicyError("The policy does not allow this", expected=expected, seen=seen, where=field)
    if not call.args["min_out"] or not call.amount:
        raise PolicyError("A swap of nothing, or for nothing", seen=call.explain(), where=where)
