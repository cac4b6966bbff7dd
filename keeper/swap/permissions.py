"""What the policy's section `swap` asks of the vault's handler: the calls that grant it, and a comparison."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from keeper.chain.call import Call
from keeper.connectors.base import Read
from keeper.contracts import Contract
from keeper.oracle.source import told
from keeper.swap.policy import SwapPolicy
from keeper.units import Address


@dataclass(frozen=True)
class Wanted:
    """What the handler should hold: tokens it lists with their slippage, pools it allows, (contract,
    selector) that LiFi's steps may call with who is approved, and code hashes by selector of the diamond."""

    tokens: Mapping[Address, int]
    pools: frozenset[Address]
    targets: Mapping[tuple[Address, bytes], Address]
    facets: Mapping[bytes, bytes]

    @classmethod
    def of(cls, swap: SwapPolicy) -> "Wanted":
        lifi = swap.lifi
        return cls(
            tokens={each.address: each.max_slippage_bps for each in swap.tokens.values()},
            pools=frozenset(hop.pool for each in swap.tokens.values() for hop in each.path),
            targets={
                (each.address, selector): each.spender
                for each in (lifi.targets if lifi else ())
                for selector in each.selectors
            },
            facets=dict(lifi.facets) if lifi else {},
        )


def set_up(swap: SwapPolicy) -> Iterator[tuple[str, str, bytes]]:
    """(function, what, calldata): the governor's calls to the handler."""
    handler, wanted = Contract(swap.handler, "SwapHandler"), Wanted.of(swap)
    names = {each.address: name for name, each in swap.tokens.items()}
    for token, bps in sorted(wanted.tokens.items()):
        what = f"{names[token]}, at most {bps} bps below the oracle"
        yield "listToken", what, handler.encode("listToken", token, bps)
    for pool in sorted(wanted.pools):
        yield "allowPool", pool, handler.encode("allowPool", pool)
    for (target, selector), spender in sorted(wanted.targets.items()):
        what = f"0x{selector.hex()} of {target}"
        yield "allowTarget", what, handler.encode("allowTarget", target, selector, spender)
    for selector, code in sorted(wanted.facets.items()):
        yield "pinFacet", f"0x{selector.hex()}", handler.encode("pinFacet", selector, code)


class HandlerReads:
    """What the handler says of itself."""

    def __init__(self, swap: SwapPolicy) -> None:
        handler, wanted = Contract(swap.handler, "SwapHandler"), Wanted.of(swap)
        self._swap = swap
        self._wanted = wanted
        self._parts = {name: handler.call(name) for name in ("portfolio", "swapRouter", "diamond")}
        self._tokens, self._pools, self._targets = (
            handler.call(name) for name in ("tokens", "pools", "targets")
        )
        self._spenders = {target: handler.call("spenderOf", target) for target, _ in wanted.targets}
        self._facets = {selector: handler.call("facetHash", selector) for selector in wanted.facets}

    def calls(self) -> tuple[Call[Any], ...]:
        """All of them."""
        lists = (self._tokens, self._pools, self._targets)
        return (*self._parts.values(), *lists, *self._spenders.values(), *self._facets.values())

    def differences(self, read: Read, portfolio: Address, asset: Address) -> Iterator[tuple[str, str, str]]:
        """(field, what the policy says, what the chain says) wherever they differ; "none" where there is
        nothing."""
        swap, wanted = self._swap, self._wanted
        own = {"portfolio": portfolio, "swapRouter": swap.router}
        if swap.lifi is not None:
            own["diamond"] = swap.lifi.diamond
        for name, expected in own.items():
            yield from _differing(f"swap handler's {name}", expected, told(read, self._parts[name]))
        tokens = {token: bps for token, restricted, bps in told(read, self._tokens) or () if token != asset}
        for token in sorted(wanted.tokens.keys() | tokens.keys()):
            yield from _differing(f"slippage of {token}", wanted.tokens.get(token), tokens.get(token))
        pools = frozenset(told(read, self._pools) or ())
        for pool in sorted(wanted.pools ^ pools):
            yield _said(f"pool {pool}", pool in wanted.pools)
        targets = frozenset((target, selector) for target, selector in told(read, self._targets) or ())
        for target, selector in sorted(wanted.targets.keys() ^ targets):
            yield _said(f"target {target} 0x{selector.hex()}", (target, selector) in wanted.targets)
        for (target, _), spender in sorted(wanted.targets.items()):
            yield from _differing(f"spender of {target}", spender, told(read, self._spenders[target]))
        for selector, code in sorted(wanted.facets.items()):
            seen = told(read, self._facets[selector])
            yield from _differing(f"code behind 0x{selector.hex()}", code, seen)


def _differing(field: str, expected: object, seen: object) -> Iterator[tuple[str, str, str]]:
    if expected != seen:
        yield field, _shown(expected), _shown(seen)


def _said(field: str, listed: bool) -> tuple[str, str, str]:
    return (field, "allowed", "none") if listed else (field, "none", "allowed")


def _shown(value: object) -> str:
    if value is None:
        return "none"
    return f"0x{value.hex()}" if isinstance(value, bytes) else str(value)
