"""Chainlink-compatible feeds and the sequencer feed of a local chain."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from keeper.simulation.accounts import Account
from keeper.simulation.deploy import Builder
from keeper.simulation.tokens import USD, Token
from keeper.units import Address

_DECIMALS: Final = 8
_HEARTBEATS: Final = {
    "ETH": 3_600,
    "BTC": 3_600,
    "USDC": 82_800,
    "USDT": 86_400,
    "DAI": 3_600,
    "stETH": 3_600,
}
FIRST_ANSWERS: Final = {
    "ETH": 3_000 * USD,
    "BTC": 90_000 * USD,
    "USDC": 99_990_000,
    "USDT": 100_020_000,
    "DAI": 99_980_000,
    "stETH": 299_748_000_000,
}
_FEED_OF: Final = {"WETH": "ETH", "WBTC": "BTC", "USDC": "USDC", "USDT": "USDT", "DAI": "DAI"}


@dataclass(frozen=True)
class Oracles:
    """Addresses by pair base ("ETH" is ETH / USD); `sources` maps a token to the feed that prices it."""

    aggregators: Mapping[str, Address]
    proxies: Mapping[str, Address]
    sources: Mapping[str, Address]
    sequencer: Address


def deploy(builder: Builder, people: Mapping[str, Account], tokens: Mapping[str, Token]) -> Oracles:
    """Queues feeds, their first round and the sequencer feed."""
    owner, transmitter = people["deployer"].address, people["oracle"].address
    aggregators, proxies = {}, {}
    for base in FIRST_ANSWERS:
        aggregators[base] = builder.create(owner, "PriceAggregator", _DECIMALS, f"{base} / USD", transmitter)
        proxies[base] = builder.create(owner, "PriceFeedProxy", aggregators[base], owner)
    wsteth = builder.create(owner, "WrappedStakedEtherFeed", proxies["stETH"], tokens["wstETH"].address)
    sources = {symbol: proxies[base] for symbol, base in _FEED_OF.items()} | {"wstETH": wsteth}
    sequencer = builder.create(owner, "SequencerUptimeFeed", transmitter)
    oracles = Oracles(aggregators, proxies, sources, sequencer)
    push_first_answers(builder, people, oracles)
    return oracles


def push_first_answers(builder: Builder, people: Mapping[str, Account], oracles: Oracles) -> None:
    """Queues one round per feed with its first answer, so that every feed is fresh."""
    for base, answer in FIRST_ANSWERS.items():
        builder.send(people["oracle"].address, oracles.aggregators[base], "push(int256)", answer)


def describe(oracles: Oracles) -> dict[str, Any]:
    """Manifest section "feeds" ("sequencer" among them) and which feed prices which token."""
    feeds: dict[str, Any] = {
        f"{base}/USD": {
            "proxy": oracles.proxies[base],
            "aggregator": oracles.aggregators[base],
            "decimals": _DECIMALS,
            "heartbeat": _HEARTBEATS[base],
        }
        for base in oracles.proxies
    }
    feeds["wstETH/USD"] = {
        "proxy": oracles.sources["wstETH"],
        "decimals": _DECIMALS,
        "heartbeat": _HEARTBEATS["stETH"],
    }
    return {"feeds": feeds, "price_sources": dict(oracles.sources), "sequencer": oracles.sequencer}
