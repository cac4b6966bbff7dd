"""Every kind of source, deployed over the local chain's feeds, pools and receipt tokens."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import oracle_states as states
from oracle_states import CONSTANT_AFTER, HEARTBEAT, HIGHEST, HOUR, LOWEST, WINDOW, Draw, Feed, State

from keeper.config import parse
from keeper.contracts import encode_call
from keeper.oracle.routes import OraclePolicy
from keeper.simulation.devnet import Devnet
from keeper.simulation.vault import DOLLAR, NOBODY
from keeper.units import WAD, Address

SLOT0 = "(uint160,int24,uint16,uint16,uint16,uint8,bool)"
STAKED_ETHER = Address("0x" + "00" * 19 + "51")
GRACE = HOUR
GROWTH = WAD // 1000


@dataclass
class World:
    """A chain, and the section of a policy that describes its oracle."""

    devnet: Devnet
    oracle: OraclePolicy
    feeds: Mapping[str, Feed]
    head: int
    """Time of the built state, which is the last block."""
    ticks: Mapping[str, int]
    """Of the pools, in that block."""

    def quiet(self) -> State:
        """Everything in order."""
        state = State(self.head + 60)
        for feed in self.feeds.values():
            states.steady_feed(state, feed, feed.usual * 10**feed.decimals)
        states.steady_sequencer(state, self.sequencer, state.at - GRACE - 1)
        for pool, tick in self.ticks.items():
            states.steady_pool(state, pool, tick)
        return state

    @property
    def sequencer(self) -> str:
        return str(self.devnet.manifest["sequencer"])

    def feed(self, source: str) -> Feed:
        """The feed of a source."""
        config = self.devnet.manifest["feeds"].get(source)
        return self.feeds[config["aggregator"] if config else self.oracle.sources[source].aggregator]

    def draw(self, draw: Draw) -> State:
        """A state near the usual one, in which some things are out of order."""
        state = State(self.head + 12 + draw.magnitude(28))
        ether = 3000 * 10**8 * (950 + draw.below(100)) // 1000
        for feed in self.feeds.values():
            usual = ether if feed.usual == 3000 else feed.usual * 10**8
            states.draw_feed(draw, state, feed, usual * 10**feed.decimals // 10**8)
        states.draw_sequencer(draw, state, self.sequencer, GRACE)
        for pool, usual in self.ticks.items():
            states.draw_pool(draw, state, pool, usual)
        states.draw_readings(draw, state, self._address("checked"), ether * 10**10)
        tokens, vault = self.devnet.manifest["tokens"], self.devnet.manifest["metamorpho"]["vault"]
        wsteth = tokens["wstETH"]["address"]
        states.draw_rate(draw, state, self._address("wstETH/stETH"), wsteth, 18, 119 * WAD // 100)
        states.draw_rate(draw, state, self._address("shares"), vault, 18, WAD)
        return state

    def _address(self, source: str) -> Address:
        return self.oracle.sources[source].address


def build(devnet: Devnet) -> World:
    """Deploys all of it, at a time when every pool covers the window."""
    devnet.rpc("evm_setNextBlockTimestamp", int(devnet.block()["timestamp"], 16) + WINDOW)
    devnet.rpc("evm_mine")
    builder = Builder(devnet)
    builder.feeds_of_dollars()
    builder.pools()
    builder.receipts()
    builder.checked()
    section = builder.section()
    pools = devnet.manifest["uniswap"]["pools"]
    chosen = [pools[name]["address"] for name in ("USDC/WETH", "WBTC/WETH")]
    ticks = {pool: int(devnet.call(pool, "slot0()", (), SLOT0)[1]) for pool in chosen}
    return World(devnet, section, builder.feeds, int(devnet.block()["timestamp"], 16), ticks)


class Builder:
    def __init__(self, devnet: Devnet) -> None:
        self.devnet = devnet
        self.manifest = devnet.manifest
        self.deployer = devnet.key("deployer")
        self.tokens: dict[str, dict[str, Any]] = {
            name: {"address": each["address"], "decimals": each["decimals"]}
            for name, each in self.manifest["tokens"].items()
        }
        self.tokens |= {"USD": {"address": DOLLAR}, "stETH": {"address": STAKED_ETHER}}
        self.sources: dict[str, dict[str, Any]] = {}
        self.feeds: dict[str, Feed] = {}

    def deploy(self, contract: str, *args: Any) -> Address:
        return self.devnet.deploy(self.deployer, contract, args)

    def token(self, name: str) -> str:
        return str(self.tokens[name]["address"])

    def feeds_of_dollars(self) -> None:
        feeds = self.manifest["feeds"]
        # Through a proxy, as live feeds are, and an aggregator with 18 decimals by itself.
        self._feed("ETH/USD", "WETH", "USD", feeds["ETH/USD"], 3000, constant_after=CONSTANT_AFTER)
        self._feed("USDC/USD", "USDC", "USD", feeds["USDC/USD"], 1)
        self._feed("stETH/USD", "stETH", "USD", feeds["stETH/USD"], 3000, sequencer=NOBODY)
        for name, base, quote, decimals in (
            ("second", "WETH", "USD", 18),
            ("zero", "WETH", "USD", 0),
            ("direct", "WETH", "USDC", 6),
        ):
            own = self._aggregator(decimals, name)
            if name != "direct":
                self._feed(name, base, quote, own, 3000, deviation=0)
        self._feed(
            "confirmed", "WETH", "USD", feeds["ETH/USD"], 3000, second=("second", 200), sequencer=NOBODY
        )

    def _aggregator(self, decimals: int, name: str) -> dict[str, Any]:
        transmitter = self.devnet.address("oracle")
        address = self.deploy("PriceAggregator", decimals, name, transmitter)
        push = encode_call("push(int256)", 3000 * 10**decimals)
        self.devnet.send(self.devnet.key("oracle"), address, push)
        return {"proxy": address, "aggregator": address, "decimals": decimals}

    def _feed(
        self,
        name: str,
        base: str,
        quote: str,
        feed: Mapping[str, Any],
        usual: int,
        *,
        deviation: int = 50,
        second: tuple[str, int] = ("", 0),
        constant_after: int = 0,
        sequencer: str = "",
    ) -> None:
        sequencer = sequencer or self.manifest["sequencer"]
        config = {
            "aggregator": feed["proxy"],
            "heartbeat": HEARTBEAT,
            "minimum": LOWEST,
            "maximum": HIGHEST,
            "deviation_bps": deviation,
            "sequencer": sequencer,
            "grace_period": 0 if sequencer == NOBODY else GRACE,
            "cross_check": self.sources[second[0]]["address"] if second[0] else NOBODY,
            "tolerance_bps": second[1],
            "constant_after": constant_after,
        }
        address = self.deploy("ChainlinkSource", (self.token(base), self.token(quote), *config.values(), ""))
        self.sources[name] = config | {
            "kind": "chainlink",
            "address": address,
            "base": base,
            "quote": quote,
            "decimals": feed["decimals"],
            "cross_check": second[0],
        }
        self.feeds[feed["aggregator"]] = Feed(feed["aggregator"], feed["decimals"], usual)

    def pools(self) -> None:
        pools = self.manifest["uniswap"]["pools"]
        for name, pool, base, quote in (
            ("twap", "USDC/WETH", "WETH", "USDC"),
            ("twap back", "USDC/WETH", "USDC", "WETH"),
            ("bitcoin", "WBTC/WETH", "WBTC", "WETH"),
            ("bitcoin back", "WBTC/WETH", "WETH", "WBTC"),
        ):
            address = pools[pool]["address"]
            terms = {"window": WINDOW, "min_cardinality": 1, "min_liquidity": 10**15}
            source = self.deploy(
                "UniswapV3TwapSource", address, self.token(base), self.token(quote), *terms.values()
            )
            self.sources[name] = terms | {
                "kind": "uniswap_v3_twap",
                "address": source,
                "base": base,
                "quote": quote,
                "pool": address,
            }
        own = self._aggregator(6, "direct")
        self._feed("direct", "WETH", "USDC", own, 3000, second=("twap", 300))

    def receipts(self) -> None:
        aave, vault = self.manifest["aave"]["reserves"]["USDC"], self.manifest["metamorpho"]["vault"]
        self.tokens["shares"] = {"address": vault, "decimals": 18}
        self.tokens["aUSDC"] = {"address": aave["a_token"], "decimals": 6}
        for name, kind, base, quote, contract, args in (
            ("wstETH/stETH", "staked_ether", "wstETH", "stETH", "StakedEtherSource", (STAKED_ETHER, GROWTH)),
            ("shares", "erc4626", "shares", "USDC", "ERC4626Source", (GROWTH,)),
            ("aUSDC/USDC", "a_token", "aUSDC", "USDC", "ATokenSource", ()),
        ):
            address = self.deploy(contract, self.token(base), *args)
            growth = {"max_growth": GROWTH} if args else {}
            self.sources[name] = growth | {"kind": kind, "address": address, "base": base, "quote": quote}

    def checked(self) -> None:
        hops = [{"source": "ETH/USD"}, {"source": "USDC/USD", "inverse": True}]
        router = self.deploy("OracleRouter", [self._route("WETH", "USDC", hops)])
        address = self.deploy("CheckedSource", router, self.sources["twap"]["address"], 200)
        self.sources["checked"] = {
            "kind": "checked",
            "address": address,
            "base": "WETH",
            "quote": "USDC",
            "feeds": router,
            "hops": hops,
            "market": "twap",
            "tolerance_bps": 200,
        }

    def section(self) -> OraclePolicy:
        dollar = {"source": "USDC/USD", "inverse": True}
        routes = {
            ("WETH", "USDC"): [{"source": "checked"}],
            ("WBTC", "USDC"): [{"source": "bitcoin"}, {"source": "direct"}],
            ("wstETH", "USDC"): [{"source": "wstETH/stETH"}, {"source": "stETH/USD"}, dollar],
            ("shares", "USDC"): [{"source": "shares"}],
            ("aUSDC", "USDC"): [{"source": "aUSDC/USDC"}],
            ("USDC", "WETH"): [{"source": "twap back"}],
            ("shares", "WETH"): [
                {"source": "shares"},
                {"source": "USDC/USD"},
                {"source": "confirmed", "inverse": True},
            ],
            ("aUSDC", "WETH"): [{"source": "aUSDC/USDC"}, {"source": "direct", "inverse": True}],
            ("wstETH", "WETH"): [
                {"source": "wstETH/stETH"},
                {"source": "stETH/USD"},
                {"source": "zero", "inverse": True},
            ],
            ("WETH", "WBTC"): [{"source": "bitcoin back"}],
            ("shares", "WBTC"): [
                {"source": "shares"},
                {"source": "twap", "inverse": True},
                {"source": "bitcoin", "inverse": True},
            ],
            ("aUSDC", "WBTC"): [
                {"source": "aUSDC/USDC"},
                {"source": "USDC/USD"},
                {"source": "second", "inverse": True},
                {"source": "bitcoin back"},
            ],
        }
        router = self.deploy("OracleRouter", [self._route(*pair, hops) for pair, hops in routes.items()])
        return parse(
            {
                "router": router,
                "tokens": self.tokens,
                "sources": self.sources,
                "routes": [
                    {"base": base, "quote": quote, "hops": hops} for (base, quote), hops in routes.items()
                ],
            },
            OraclePolicy,
        )

    def _route(self, base: str, quote: str, hops: Sequence[Mapping[str, Any]]) -> tuple[Any, ...]:
        listed = [(self.sources[hop["source"]]["address"], bool(hop.get("inverse"))) for hop in hops]
        return self.token(base), self.token(quote), listed
