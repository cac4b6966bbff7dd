"""A quote as evidence: its bytes as they came, and what every signer makes of them for itself.

JSON is what people and planners read, calldata is what the chain does. Both must say the same, and what they
say must be what was asked for. Pure: nothing is fetched, and the time is an argument.
"""

from dataclasses import dataclass
from typing import Final

from keeper.contracts.abi import address
from keeper.errors import ConfigError, RefusedError
from keeper.swap import calldata, deployments
from keeper.swap.calldata import Frame, GenericSwap, Target, refuse, require
from keeper.swap.models import Quote, parse
from keeper.units import Address

BPS: Final = 10_000
MAX_QUOTE: Final = 262_144
"""Bytes: a quote is evidence in a plan and not as long as a list of tokens may be."""


@dataclass(frozen=True)
class Expected:
    """What was asked for and what is allowed: from the policy and the plan, nothing from the answer.

    Amounts are in smallest units; times in seconds since 1970. `handler` sends and receives. A quote's
    minimum is from `min_out` to `max_out`: who promises more than the market gives promises nothing.
    `targets` are the contracts a step may call, as the handler on chain has them. Native value is
    refused above `max_native`, which is 0 where nothing is declared.
    """

    chain_id: int
    diamond: Address
    handler: Address
    token_in: Address
    token_out: Address
    amount_in: int
    min_out: int
    max_out: int
    max_fee_bps: int
    tools: frozenset[str]
    targets: tuple[tuple[Address, Target], ...]
    observed_at: int
    now: int
    max_age: int
    max_native: int = 0


@dataclass(frozen=True)
class CheckedQuote:
    """What the handler is called with: `swapLiFi(token_in, token_out, amount_in, min_out, data)`.

    `expected_out` is what LiFi expects, at best; only `min_out` is enforced. `fees` are in `token_in`.
    """

    token_in: Address
    token_out: Address
    amount_in: int
    min_out: int
    expected_out: int
    fees: int
    tool: str
    data: bytes


def check(quote_bytes: bytes, expected: Expected) -> CheckedQuote:
    """The quote, if nothing of it is other than it should be.

    Raises DecodeError when the bytes are no quote, PolicyError when the diamond is not LiFi's, RefusedError
    with the field, what was expected and what was seen.
    """
    deployments.check(expected.chain_id, expected.diamond)
    _check_age(expected)
    if len(quote_bytes) > MAX_QUOTE:
        raise refuse("length", f"at most {MAX_QUOTE} bytes", len(quote_bytes))
    quote = parse(quote_bytes, Quote, where="quote")
    _check_transaction(quote, expected)
    _check_action(quote, expected)
    _check_estimate(quote, expected)
    _check_tools(quote, expected)
    data = bytes.fromhex(_even(quote.transaction_request.data)[2:])
    swap = calldata.decode(data)
    frame = Frame(expected.diamond, dict(expected.targets), expected.now)
    _check_swap(quote, swap, expected)
    fees = calldata.check_steps(swap.steps, frame)
    _check_fees(quote, fees, expected)
    _check_included(quote, swap)
    return CheckedQuote(
        token_in=expected.token_in,
        token_out=expected.token_out,
        amount_in=expected.amount_in,
        min_out=swap.min_amount_out,
        expected_out=int(quote.estimate.to_amount),
        fees=fees,
        tool=quote.tool,
        data=data,
    )


def _check_age(expected: Expected) -> None:
    age = expected.now - expected.observed_at
    if not 0 <= age <= expected.max_age:
        raise refuse("age", f"0 to {expected.max_age} s", f"{age} s")


def _check_transaction(quote: Quote, expected: Expected) -> None:
    request = quote.transaction_request
    require("transactionRequest.chainId", expected.chain_id, request.chain_id)
    _require_address("transactionRequest.to", expected.diamond, request.to)
    _require_address("transactionRequest.from", expected.handler, request.from_)
    value = int(request.value, 16) if len(request.value) > 2 else 0
    if value > expected.max_native:
        raise refuse("transactionRequest.value", f"at most {expected.max_native}", value)


def _check_action(quote: Quote, expected: Expected) -> None:
    action = quote.action
    require("action.fromChainId", expected.chain_id, action.from_chain_id)
    require("action.toChainId", expected.chain_id, action.to_chain_id)
    require("action.fromToken.chainId", expected.chain_id, action.from_token.chain_id)
    require("action.toToken.chainId", expected.chain_id, action.to_token.chain_id)
    _require_address("action.fromToken.address", expected.token_in, action.from_token.address)
    _require_address("action.toToken.address", expected.token_out, action.to_token.address)
    _require_address("action.fromAddress", expected.handler, action.from_address)
    _require_address("action.toAddress", expected.handler, action.to_address)
    require("action.fromAmount", expected.amount_in, int(action.from_amount))


def _check_estimate(quote: Quote, expected: Expected) -> None:
    estimate = quote.estimate
    # Whoever is approved can take: no other contract than the one that is called.
    _require_address("estimate.approvalAddress", expected.diamond, estimate.approval_address)
    require("estimate.fromAmount", expected.amount_in, int(estimate.from_amount))
    minimum, best = int(estimate.to_amount_min), int(estimate.to_amount)
    if minimum < max(expected.min_out, 1):
        raise refuse("estimate.toAmountMin", f"at least {max(expected.min_out, 1)}", minimum)
    if minimum > expected.max_out:
        raise refuse("estimate.toAmountMin", f"at most {expected.max_out}", minimum)
    if best < minimum:
        raise refuse("estimate.toAmount", f"at least toAmountMin {minimum}", best)


def _check_tools(quote: Quote, expected: Expected) -> None:
    require("estimate.tool", quote.tool, quote.estimate.tool)
    named = [("tool", quote.tool)]
    named += [(f"includedSteps.{number}.tool", step.tool) for number, step in enumerate(quote.included_steps)]
    for field, tool in named:
        if tool not in expected.tools:
            raise refuse(field, f"one of {', '.join(sorted(expected.tools))}", tool)


def _check_swap(quote: Quote, swap: GenericSwap, expected: Expected) -> None:
    """JSON against calldata, which says nothing that JSON does not."""
    require("calldata.receiver", expected.handler, swap.receiver)
    require("calldata.minAmountOut", int(quote.estimate.to_amount_min), swap.min_amount_out)
    require("calldata.integrator", quote.integrator, swap.integrator)
    for field, name in (("integrator", swap.integrator), ("referrer", swap.referrer)):
        if len(name.encode()) > calldata.MAX_NAME:
            raise refuse(f"calldata.{field}", f"at most {calldata.MAX_NAME} bytes", len(name.encode()))
    if not swap.steps:
        raise refuse("calldata.steps", "a step", "none")
    require("calldata.steps.0.sendingAssetId", expected.token_in, swap.steps[0].sending)
    require("calldata.steps.0.fromAmount", expected.amount_in, swap.steps[0].from_amount)
    require("calldata.steps.-1.receivingAssetId", expected.token_out, swap.steps[-1].receiving)


def _check_fees(quote: Quote, fees: int, expected: Expected) -> None:
    stated = 0
    for number, cost in enumerate(quote.estimate.fee_costs):
        where = f"estimate.feeCosts.{number}"
        require(f"{where}.included", True, cost.included)
        _require_address(f"{where}.token.address", expected.token_in, cost.token.address)
        stated += int(cost.amount)
    require("estimate.feeCosts", fees, stated)
    cap = expected.amount_in * expected.max_fee_bps // BPS
    if fees > cap:
        raise refuse("estimate.feeCosts", f"at most {cap} ({expected.max_fee_bps} bps)", fees)


def _check_included(quote: Quote, swap: GenericSwap) -> None:
    require("includedSteps", len(swap.steps), len(quote.included_steps))
    for number, (told, done) in enumerate(zip(quote.included_steps, swap.steps, strict=True)):
        where = f"includedSteps.{number}.action"
        _require_address(f"{where}.fromToken.address", done.sending, told.action.from_token.address)
        _require_address(f"{where}.toToken.address", done.receiving, told.action.to_token.address)
        require(f"{where}.fromAmount", done.from_amount, int(told.action.from_amount))


def _require_address(field: str, expected: Address, seen: str) -> None:
    try:
        known = address(seen)
    except ConfigError:
        raise refuse(field, expected, seen[:100]) from None
    require(field, expected, known)


def _even(text: str) -> str:
    if len(text) % 2:
        raise RefusedError("The calldata has half a byte", seen=len(text), where="transactionRequest.data")
    return text
