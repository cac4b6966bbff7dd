"""Feed configuration for the package, out of the published directory: `python tools/feeds.py DIRECTORY`.

DIRECTORY holds `feeds_all_chains.csv` and `l2_sequencer_uptime_feeds.csv`. What comes out is what a policy is
checked against (`keeper.oracle.directory`), and nothing more.
"""

import argparse
import csv
import gzip
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

TARGET = Path(__file__).parents[1] / "keeper" / "oracle" / "data" / "feeds.json.gz"

PROVENANCE = {
    "collected": "2026-11-20",
    "feeds": "Chainlink's directory as copied by euler-xyz/oracle-checks at bbcf606; facts",
    "sequencers": "smartcontractkit/documentation at 59e5cde; MIT",
    "left_out": "reserves, macroeconomic and health feeds: they price no token",
    "decimals": "null where the directory is known to be wrong: shared-SVR rows say 18, their proxies may "
    "say 8. Only the proxy tells.",
    "format": "feeds by chain and lower-case proxy, a secondary SVR proxy included: name, decimals, "
    "heartbeat in seconds, deviation in percent, and the date of shutdown where there is one",
}
NOT_PRICES = frozenset({"Proof of Reserve", "Macroeconomics", "Blockchain"})


def main() -> int:
    parser = argparse.ArgumentParser(prog="tools/feeds.py", description=__doc__)
    parser.add_argument("directory", type=Path, help="folder with the two CSV files")
    content = generate(parser.parse_args().directory)
    # Without a time in it, so that the same content is the same file.
    TARGET.write_bytes(gzip.compress(dump(content).encode(), mtime=0))
    feeds = sum(len(each) for each in content["feeds"].values())
    sys.stdout.write(f"{feeds} proxies on {len(content['feeds'])} chains: {TARGET.stat().st_size:,} bytes\n")
    return 0


def dump(content: dict[str, Any]) -> str:
    return json.dumps(content, separators=(",", ":"), sort_keys=True) + "\n"


def generate(directory: Path) -> dict[str, Any]:
    """The package's data. Raises ValueError when a proxy has two rows, or a row no proxy."""
    feeds: dict[str, dict[str, list[Any]]] = {}
    for row in _rows(directory / "feeds_all_chains.csv"):
        if row["product_type"] in NOT_PRICES or not int(row["heartbeat_s"] or 0):
            continue
        known = feeds.setdefault(row["chain_id"], {})
        for proxy in _proxies(row):
            if proxy in known:
                raise ValueError(f"chain {row['chain_id']}: {proxy} has two rows")
            known[proxy] = _feed(row)
    sequencers = {
        row["chain_id"]: row["proxy"].lower() for row in _rows(directory / "l2_sequencer_uptime_feeds.csv")
    }
    return {"provenance": PROVENANCE, "feeds": feeds, "sequencers": sequencers}


def _rows(path: Path) -> Iterator[dict[str, str]]:
    with path.open(newline="") as file:
        yield from csv.DictReader(file)


def _proxies(row: dict[str, str]) -> list[str]:
    named = [row["proxy"].lower(), row["secondary_proxy_svr"].lower()]
    if not named[0]:
        raise ValueError(f"no proxy: {row['path']}")
    return [each for each in named if each]


def _feed(row: dict[str, str]) -> list[Any]:
    decimals = int(row["decimals"])
    trusted = not ("shared-svr" in row["path"] and decimals == 18)
    feed = [row["name"], decimals if trusted else None, int(row["heartbeat_s"]), row["deviation_pct"]]
    return [*feed, row["shutdown_date"]] if row["shutdown_date"] else feed


if __name__ == "__main__":
    raise SystemExit(main())
