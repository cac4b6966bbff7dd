"""The published directory of feeds: generated as it is, and held against policies."""

from pathlib import Path
from typing import Any

import feeds
import pytest

from keeper.errors import PolicyError
from keeper.oracle import directory
from keeper.oracle.routes import OraclePolicy
from keeper.units import WAD, Address

PUBLISHED = Path(__file__).parents[3] / "shared" / "data" / "chain_config" / "chainlink"
MAINNET, ARBITRUM, LOCAL = 1, 42_161, 31_337
ETHER_ON_MAINNET = "0x5f4eC3Df9cbd43714FE2740f5E3616155c5b8419"
ETHER_ON_ARBITRUM = "0x639Fe6ab55C921f74e7fac1ee960C0B6293ba612"
SHARED_ON_ARBITRUM = "0xe4D040128CFdF03eC221832251caC9b6f0515E3f"
BAT = "0x9441D7556e7820B5ca42082cfa99487D56AcA958"
UPTIME_ON_ARBITRUM = "0xFdB631F5EE196F0ed6FAa767959853A9F217697D"


def section(aggregator: str, **other: Any) -> OraclePolicy:
    """One feed of ether, as it would be on mainnet."""
    source = {
        "kind": "chainlink",
        "address": "0x" + "11" * 20,
        "base": "WETH",
        "quote": "USD",
        "aggregator": aggregator,
        "decimals": 8,
        "heartbeat": 3600,
        "minimum": WAD,
        "maximum": 10**5 * WAD,
        "deviation_bps": 50,
    }
    tokens = {"WETH": {"address": "0x" + "22" * 20}, "USD": {"address": "0x" + "33" * 20}}
    sources = {"ETH/USD": source | other}
    return OraclePolicy.model_validate(
        {"router": "0x" + "44" * 20, "tokens": tokens, "sources": sources, "routes": []}
    )


def on_arbitrum(aggregator: str = ETHER_ON_ARBITRUM, **other: Any) -> OraclePolicy:
    uptime = {"sequencer": UPTIME_ON_ARBITRUM, "grace_period": 3600}
    return section(aggregator, **({"heartbeat": 1755} | uptime | other))


def test_the_packages_data_is_what_the_tool_makes_of_the_published_files() -> None:
    assert feeds.generate(PUBLISHED) == directory.content()


def test_a_small_directory_becomes_what_is_needed_of_it(tmp_path: Path) -> None:
    head = "chain_id,path,proxy,secondary_proxy_svr,decimals,heartbeat_s,deviation_pct,product_type"
    head += ",shutdown_date,name"
    rows = [
        "7,eth-usd,0xAA,,8,3600,0.5,Price,,ETH / USD",
        "7,btc-usd-shared-svr,0xBB,0xCC,18,60,0.1,Price,,BTC / USD",
        '7,bat-usd,0xDD,,8,86400,1,Price,"May 1st, 2024",BAT / USD',
        "7,usd-reserves,0xEE,,8,86400,1,Proof of Reserve,,USD Reserves",
        "7,uptime,0xFF,,0,,0,Price,,Uptime",
    ]
    (tmp_path / "feeds_all_chains.csv").write_text("\n".join([head, *rows]))
    (tmp_path / "l2_sequencer_uptime_feeds.csv").write_text("chain_id,proxy\n7,0xFF\n")
    made = feeds.generate(tmp_path)
    assert made["sequencers"] == {"7": "0xff"}
    assert made["feeds"] == {
        "7": {
            "0xaa": ["ETH / USD", 8, 3600, "0.5"],
            "0xbb": ["BTC / USD", None, 60, "0.1"],
            "0xcc": ["BTC / USD", None, 60, "0.1"],
            "0xdd": ["BAT / USD", 8, 86400, "1", "May 1st, 2024"],
        }
    }
    (tmp_path / "feeds_all_chains.csv").write_text("\n".join([head, rows[0], rows[0]]))
    with pytest.raises(ValueError, match="0xaa has two rows"):
        feeds.generate(tmp_path)


def test_the_data_says_where_it_comes_from() -> None:
    provenance = directory.content()["provenance"]
    assert {"collected", "feeds", "sequencers", "decimals"} <= set(provenance)


def test_a_feed_is_found_by_its_proxy_and_not_by_its_name() -> None:
    found = directory.feed(MAINNET, Address(ETHER_ON_MAINNET))
    assert found is not None
    assert (found.name, found.decimals, found.heartbeat, found.deviation_bps) == ("ETH / USD", 8, 3600, 50)
    shared = directory.feed(ARBITRUM, Address(SHARED_ON_ARBITRUM))
    assert shared is not None
    assert (shared.name, shared.decimals) == ("ETH / USD", None)
    assert directory.feed(ARBITRUM, Address(ETHER_ON_MAINNET)) is None
    assert directory.sequencer(MAINNET) is None


def test_what_is_published_passes() -> None:
    directory.check(section(ETHER_ON_MAINNET), MAINNET)
    directory.check(section(ETHER_ON_MAINNET, heartbeat=7200), MAINNET)
    directory.check(on_arbitrum(), ARBITRUM)
    # The directory says 18 there, wrongly: only the chain tells.
    directory.check(on_arbitrum(SHARED_ON_ARBITRUM, heartbeat=86400), ARBITRUM)
    directory.check(on_arbitrum(SHARED_ON_ARBITRUM, heartbeat=86400, decimals=18), ARBITRUM)


def test_of_a_chain_that_is_not_in_it_nothing_is_known() -> None:
    directory.check(section("0x" + "55" * 20, heartbeat=1), LOCAL)


@pytest.mark.parametrize(
    ("oracle", "chain_id", "message"),
    [
        (section("0x" + "55" * 20), MAINNET, r"No published price feed of chain 1 .*aggregator\]"),
        (section(ETHER_ON_MAINNET), ARBITRUM, "No published price feed of chain 42161"),
        (section(BAT), MAINNET, r"BAT / USD is shut down .*2023"),
        (section(ETHER_ON_MAINNET, decimals=18), MAINNET, r"other decimals .*expected 8, saw 18"),
        (section(ETHER_ON_MAINNET, heartbeat=3599), MAINNET, r"another heartbeat .*expected 3600 to 7200 s"),
        (section(ETHER_ON_MAINNET, heartbeat=7201), MAINNET, r"another heartbeat .*a dead one looks alive"),
        (section(ETHER_ON_MAINNET, deviation_bps=49), MAINNET, r"deviation_bps\]: expected at least 50 bps"),
        (
            section(ETHER_ON_ARBITRUM, heartbeat=1755),
            ARBITRUM,
            "has a sequencer, and this source does not look",
        ),
        (on_arbitrum(sequencer="0x" + "55" * 20), ARBITRUM, "not the uptime feed of chain 42161"),
        # Optimism's feeds are not in the directory; its sequencer is.
        (section("0x" + "55" * 20), 10, "Chain 10 has a sequencer"),
    ],
)
def test_a_feed_configured_otherwise_than_published_is_refused(
    oracle: OraclePolicy, chain_id: int, message: str
) -> None:
    with pytest.raises(PolicyError, match=message):
        directory.check(oracle, chain_id)
