"""Every way in which the local service can be told to lie: in JSON, in calldata, or the same in both."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Final

from keeper.simulation.lifi_quotes import Draft
from keeper.swap.calldata import EXACT_INPUT, SwapStep
from keeper.swap.deployments import FORWARD_FEES
from keeper.units import Address

THIEF: Final = Address("0x000000000000000000000000000000000000dEaD")
GENEROUS: Final = 2
"""Times what the pools pay."""

Lie = Callable[[Draft], Draft]


def _put(draft: Draft, path: str, value: object) -> Draft:
    """The draft with one field of its JSON replaced."""
    *folders, name = path.split(".")
    content = dict(draft.content)
    at = content
    for folder in folders:
        at[folder] = dict(at[folder])
        at = at[folder]
    at[name] = value
    return replace(draft, content=content)


def _json(path: str, value: object) -> Lie:
    return lambda draft: _put(draft, path, value)


def _scaled(path: str, numerator: int, denominator: int) -> Lie:
    def lie(draft: Draft) -> Draft:
        at: Any = draft.content
        for name in path.split("."):
            at = at[name]
        return _put(draft, path, str(int(at) * numerator // denominator))

    return lie


def _swap(**changed: Any) -> Lie:
    return lambda draft: replace(draft, swap=replace(draft.swap, **changed))


def _minimum(numerator: int, denominator: int) -> Lie:
    def lie(draft: Draft) -> Draft:
        lower = draft.swap.min_amount_out * numerator // denominator
        return replace(draft, swap=replace(draft.swap, min_amount_out=lower))

    return lie


def _last(change: Callable[[SwapStep], SwapStep]) -> Lie:
    """Changes the step that swaps."""

    def lie(draft: Draft) -> Draft:
        steps = (*draft.swap.steps[:-1], change(draft.swap.steps[-1]))
        return replace(draft, swap=replace(draft.swap, steps=steps))

    return lie


def _first(change: Callable[[SwapStep], SwapStep]) -> Lie:
    def lie(draft: Draft) -> Draft:
        steps = (change(draft.swap.steps[0]), *draft.swap.steps[1:])
        return replace(draft, swap=replace(draft.swap, steps=steps))

    return lie


def _inner(position: int, value: object) -> Lie:
    """Changes one argument of the router's call."""

    def change(step: SwapStep) -> SwapStep:
        (arguments,) = EXACT_INPUT.decode_input(step.data)
        changed = (*arguments[:position], value, *arguments[position + 1 :])
        return replace(step, data=EXACT_INPUT.encode(changed))

    return _last(change)


def _more_fees(step: SwapStep) -> SwapStep:
    if not step.is_fee:
        return step
    token, paid = FORWARD_FEES.decode_input(step.data)
    doubled = [(who, 2 * amount) for who, amount in paid]
    return replace(step, data=FORWARD_FEES.encode(token, doubled))


def _fees_in_json(draft: Draft) -> Draft:
    named = draft.content["estimate"]["feeCosts"]
    costs = [{**each, "amount": str(2 * int(each["amount"]))} for each in named]
    return _put(draft, "estimate.feeCosts", costs)


def _less_to_swap(draft: Draft) -> Draft:
    """What the greater fee leaves, in the router's call as well."""
    steps = draft.swap.steps
    _, paid = FORWARD_FEES.decode_input(steps[0].data)
    net = steps[0].from_amount - sum(amount for _, amount in paid)
    (arguments,) = EXACT_INPUT.decode_input(steps[-1].data)
    call = EXACT_INPUT.encode((*arguments[:3], net, arguments[4]))
    swap = replace(draft.swap, steps=(steps[0], replace(steps[-1], from_amount=net, data=call)))
    included = [dict(each) for each in draft.content["includedSteps"]]
    included[-1]["action"] = {**included[-1]["action"], "fromAmount": str(net)}
    return replace(_put(draft, "includedSteps", included), swap=swap)


def _all(*lies: Lie) -> Lie:
    def lie(draft: Draft) -> Draft:
        for each in lies:
            draft = each(draft)
        return draft

    return lie


_AMOUNT: Final = "estimate.toAmountMin"
_ANYTHING: Final = "0x0502b1c5" + "00" * 32


def promise(numerator: int, denominator: int) -> Lie:
    """More or less than the pools pay, and the minimum with it."""
    best = _scaled("estimate.toAmount", numerator, denominator)
    return _all(best, _scaled(_AMOUNT, numerator, denominator), _minimum(numerator, denominator))


LIES: Final[Mapping[str, Lie]] = MappingProxyType(
    {
        "json: another target": _json("transactionRequest.to", THIEF),
        "json: approval of another contract": _json("estimate.approvalAddress", THIEF),
        "json: another receiver": _json("action.toAddress", THIEF),
        "json: another sender": _json("transactionRequest.from", THIEF),
        "json: native value": _json("transactionRequest.value", "0xde0b6b3a7640000"),
        "json: another chain": _json("transactionRequest.chainId", 1),
        "json: another token": _json("action.toToken.address", THIEF),
        "json: another amount": _scaled("action.fromAmount", 1, 2),
        "json: a higher minimum than enforced": _scaled(_AMOUNT, 1_001, 1_000),
        "json: no fees named": _json("estimate.feeCosts", []),
        "json: an unknown tool": _json("tool", "drainer"),
        "json: a minimum that is no number": _json(_AMOUNT, "1e30"),
        "json: no calldata": _json("transactionRequest.data", "0x"),
        "json: another function": _json("transactionRequest.data", _ANYTHING),
        "calldata: another receiver": _swap(receiver=THIEF),
        "calldata: a lower minimum": _minimum(1, 2),
        "calldata: no minimum": _swap(min_amount_out=0),
        "calldata: another integrator": _swap(integrator="thief"),
        "calldata: another amount": _first(lambda step: replace(step, from_amount=2 * step.from_amount)),
        "calldata: another token to sell": _first(lambda step: replace(step, sending=THIEF)),
        "calldata: another token to buy": _last(lambda step: replace(step, receiving=THIEF)),
        "calldata: a call of another contract": _last(lambda step: replace(step, call_to=THIEF)),
        "calldata: approval of another contract": _last(lambda step: replace(step, approve_to=THIEF)),
        "calldata: another function inside": _last(
            lambda step: replace(step, data=bytes.fromhex("a9059cbb") + step.data[4:])
        ),
        "calldata: no deposit": _first(lambda step: replace(step, requires_deposit=False)),
        "calldata: no steps": _swap(steps=()),
        "calldata: another recipient inside": _inner(1, THIEF),
        "calldata: another amount inside": _inner(3, 1),
        "calldata: a deadline that has passed": _inner(2, 1),
        "calldata: more fees than named": _first(_more_fees),
        "both: another receiver": _all(_json("action.toAddress", THIEF), _swap(receiver=THIEF)),
        "both: half the minimum": _all(_scaled(_AMOUNT, 1, 2), _minimum(1, 2)),
        "both: fees above the cap": _all(_first(_more_fees), _fees_in_json, _less_to_swap),
        "both: twice what the pools pay": promise(GENEROUS, 1),
    }
)
"""By what is told. All but the last can be seen in the quote; that one takes a look at prices."""
