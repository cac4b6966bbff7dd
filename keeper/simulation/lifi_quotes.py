"""Quotes in LiFi's shapes for swaps on a local Uniswap v3."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from eth_hash.auto import keccak

from keeper.errors import RevertError
from keeper.simulation.deploy import view
from keeper.simulation.jsonrpc import JsonRpc
from keeper.swap.calldata import EXACT_INPUT, GenericSwap, SwapStep, encode
from keeper.swap.deployments import FORWARD_FEES, MULTIPLE, SINGLE, Deployment
from keeper.units import Address

BPS: Final = 10_000
MAX_HOPS: Final = 3
EXCHANGE: Final = "uniswap"
FEE_COLLECTION: Final = "feeCollection"
LIFETIME: Final = 1_200
"""Seconds from the quote to the deadline in its calldata."""
_FEE_DIGITS: Final = 3
_LOGO: Final = "https://127.0.0.1/logo.svg"


@dataclass(frozen=True)
class Market:
    """A local chain as the service sees it."""

    rpc: JsonRpc
    chain_id: int
    manifest: Mapping[str, Any]
    deployment: Deployment
    fee_recipient: Address

    def token(self, named: str) -> dict[str, Any] | None:
        """A token by address or symbol, in LiFi's shape."""
        for symbol, row in self.manifest["tokens"].items():
            if named.lower() in (symbol.lower(), row["address"].lower()):
                return {
                    "address": row["address"],
                    "chainId": self.chain_id,
                    "symbol": symbol,
                    "decimals": row["decimals"],
                    "name": symbol,
                    "coinKey": symbol,
                    "logoURI": _LOGO,
                    "priceUSD": "1",
                }
        return None

    def now(self) -> int:
        """Timestamp of the head."""
        return int(self.rpc("eth_getBlockByNumber", "latest", False)["timestamp"], 16)

    def best(self, token_in: str, token_out: str, amount: int) -> tuple[bytes, int] | None:
        """The path that pays most by the quoter, and what it pays; None where no path does."""
        quoter = self.manifest["uniswap"]["quoter"]
        found: list[tuple[int, bytes]] = []
        for path in self._paths(token_in, token_out):
            outputs = "(uint256,uint160[],uint32[],uint256)"
            try:
                paid = view(self.rpc, quoter, "quoteExactInput(bytes,uint256)", (path, amount), outputs)[0]
            except RevertError:
                continue  # not deep enough
            found.append((paid, path))
        paid, path = max(found, default=(0, b""))
        return (path, paid) if paid else None

    def _paths(self, token_in: str, token_out: str) -> Iterator[bytes]:
        pools = list(self.manifest["uniswap"]["pools"].values())
        waiting = [(bytes.fromhex(token_in[2:]), token_in, frozenset({token_in}))]
        for _ in range(MAX_HOPS):
            longer = []
            for path, at, seen in waiting:
                for pool in pools:
                    ends = {pool["token0"], pool["token1"]}
                    if at not in ends or ends <= seen:
                        continue
                    (to,) = ends - {at}
                    step = path + pool["fee"].to_bytes(_FEE_DIGITS, "big") + bytes.fromhex(to[2:])
                    if to == token_out:
                        yield step
                    else:
                        longer.append((step, to, seen | {to}))
            waiting = longer


@dataclass(frozen=True)
class Ask:
    """What is asked for: amounts in smallest units."""

    token_in: Mapping[str, Any]
    token_out: Mapping[str, Any]
    amount: int
    sender: str
    receiver: str
    slippage: Decimal
    integrator: str
    fee_bps: int
    unspent_bps: int


@dataclass(frozen=True)
class Draft:
    """A quote before it is written down: its JSON without the transaction, and its calldata as arguments."""

    content: dict[str, Any]
    swap: GenericSwap

    def written(self) -> dict[str, Any]:
        """With the calldata in its transaction."""
        request = {"data": "0x" + encode(self.swap).hex(), **self.content["transactionRequest"]}
        return {**self.content, "transactionRequest": request}


def draft(market: Market, ask: Ask) -> Draft | None:
    """A quote at the head, or None where no path pays anything."""
    fee = ask.amount * ask.fee_bps // BPS
    # Without a step for the fee there is one step, and that sells all.
    net = ask.amount - fee - (ask.amount * ask.unspent_bps // BPS if fee else 0)
    found = market.best(ask.token_in["address"], ask.token_out["address"], net)
    if found is None:
        return None
    path, paid = found
    minimum = int(paid * (1 - ask.slippage))
    steps = _steps(market, ask, path, (net, fee))
    now = market.now()
    identity = keccak(f"{market.chain_id} {now} {ask}".encode())
    selector = MULTIPLE.selector if fee else SINGLE.selector
    receiver = Address(ask.receiver)
    swap = GenericSwap(selector, identity, ask.integrator, "", receiver, minimum, steps)
    content = {
        "id": f"{identity[:16].hex()}:0",
        "type": "lifi",
        "tool": EXCHANGE,
        "toolDetails": _details(EXCHANGE),
        "action": _action(market, ask, ask.amount),
        "estimate": _estimate(market, ask, (ask.amount, paid, minimum), fee),
        "includedSteps": _included(market, ask, (net, paid, minimum), fee),
        "integrator": ask.integrator,
        "transactionId": "0x" + identity.hex(),
        "transactionRequest": {
            "value": "0x0",
            "to": market.deployment.diamond,
            "from": ask.sender,
            "chainId": market.chain_id,
            "gasPrice": hex(int(market.rpc("eth_gasPrice"), 16)),
            "gasLimit": hex(1_000_000),
        },
    }
    return Draft(content, swap)


def _steps(market: Market, ask: Ask, path: bytes, amounts: tuple[int, int]) -> tuple[SwapStep, ...]:
    router, diamond = Address(market.manifest["uniswap"]["swap_router"]), market.deployment.diamond
    sold, bought = Address(ask.token_in["address"]), Address(ask.token_out["address"])
    (net, fee), deadline = amounts, market.now() + LIFETIME
    call = EXACT_INPUT.encode((path, diamond, deadline, net, 0))
    swap = SwapStep(router, router, sold, bought, net, call, fee == 0)
    if not fee:
        return (swap,)
    forwarder = market.deployment.fee_forwarder
    collect = FORWARD_FEES.encode(sold, [(market.fee_recipient, fee)])
    return (SwapStep(forwarder, forwarder, sold, sold, ask.amount, collect, True), swap)


def _action(market: Market, ask: Ask, amount: int) -> dict[str, Any]:
    return {
        "fromChainId": market.chain_id,
        "toChainId": market.chain_id,
        "fromToken": dict(ask.token_in),
        "toToken": dict(ask.token_out),
        "fromAmount": str(amount),
        "slippage": float(ask.slippage),
        "fromAddress": ask.sender,
        "toAddress": ask.receiver,
    }


def _estimate(market: Market, ask: Ask, amounts: tuple[int, int, int], fee: int) -> dict[str, Any]:
    sold, paid, minimum = amounts
    costs = {
        "name": "LIFI Fixed Fee",
        "description": "Fixed LIFI fee, independent of any other fee",
        "percentage": str(Decimal(ask.fee_bps) / BPS),
        "token": dict(ask.token_in),
        "amount": str(fee),
        "amountUSD": "0",
        "included": True,
    }
    return {
        "tool": EXCHANGE,
        "approvalAddress": market.deployment.diamond,
        "fromAmount": str(sold),
        "toAmount": str(paid),
        "toAmountMin": str(minimum),
        "feeCosts": [costs] if fee else [],
        "gasCosts": [],
        "executionDuration": 0,
    }


def _included(market: Market, ask: Ask, amounts: tuple[int, int, int], fee: int) -> list[dict[str, Any]]:
    net = amounts[0]
    swap = {
        "id": "swap",
        "type": "swap",
        "tool": EXCHANGE,
        "toolDetails": _details(EXCHANGE),
        "action": _action(market, ask, net),
        "estimate": _estimate(market, ask, amounts, 0),
    }
    if not fee:
        return [swap]
    paying = {**_action(market, ask, ask.amount), "toToken": dict(ask.token_in)}
    left = ask.amount - fee
    collected = _estimate(market, ask, (ask.amount, left, left), fee)
    collect = {
        "id": "fee",
        "type": "protocol",
        "tool": FEE_COLLECTION,
        "toolDetails": _details(FEE_COLLECTION),
        "action": paying,
        "estimate": {**collected, "tool": FEE_COLLECTION},
    }
    return [collect, swap]


def _details(tool: str) -> dict[str, str]:
    return {"key": tool, "name": tool, "logoURI": _LOGO}
