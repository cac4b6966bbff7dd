"""LiFi's contracts for the package, and the shapes its answers are tested against:
`python tools/lifi.py DIRECTORY`.

DIRECTORY holds `lifi-diamond-selectors.csv`, `diamond/` and `openapi/lifi-openapi-original.json` (the
specification as JSON). What comes out is facts: addresses, selectors, and which fields have which type.
"""

import argparse
import csv
import gzip
import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
DEPLOYMENTS = ROOT / "keeper" / "swap" / "data" / "lifi.json"
SHAPES = ROOT / "tests" / "swap" / "data" / "shapes.json.gz"
NETWORKS = ("mainnet", "optimism", "polygon", "base", "arbitrum")
PROVENANCE = {
    "collected": "2026-11-20",
    "chains": "lifinance/contracts at ef00558, config and deployments; facts",
    "selectors": "ethereum/clear-signing-erc7730-registry at 3b66ba2; CC0",
    "format": "chains by id: diamond, facet of the generic swaps (version 3), forwarder of fees; selectors "
    "of the generic swaps by canonical signature",
}
NAMES = {
    "diamond": "LiFiDiamond",
    "generic_swap_facet": "GenericSwapFacetV3",
    "fee_forwarder": "FeeForwarder",
}
KEPT = frozenset(
    {"type", "properties", "required", "items", "enum", "allOf", "anyOf", "oneOf", "$ref", "nullable"}
)


def main() -> int:
    parser = argparse.ArgumentParser(prog="tools/lifi.py", description=__doc__)
    parser.add_argument("directory", type=Path, help="folder with the published data")
    directory = parser.parse_args().directory
    DEPLOYMENTS.write_text(json.dumps(deployments(directory), indent=1) + "\n")
    specification = json.loads((directory / "openapi" / "lifi-openapi-original.json").read_text())
    SHAPES.write_bytes(gzip.compress(json.dumps(shapes(specification), sort_keys=True).encode(), mtime=0))
    sys.stdout.write(f"{len(NETWORKS)} chains; {SHAPES.stat().st_size:,} bytes of shapes\n")
    return 0


def deployments(directory: Path) -> dict[str, Any]:
    """The package's data. Raises KeyError when a chain lacks one of the contracts."""
    networks = json.loads((directory / "diamond" / "networks.json").read_text())
    chains = {}
    for network in NETWORKS:
        contracts = json.loads((directory / "diamond" / f"{network}.deployments.json").read_text())
        chains[str(networks[network]["chainId"])] = {
            name: contracts[published] for name, published in NAMES.items()
        }
    with (directory / "lifi-diamond-selectors.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["function"].endswith("V3ERC20ToERC20")]
    selectors = {row["signature"]: row["selector"] for row in rows}
    return {"provenance": PROVENANCE, "chains": chains, "selectors": selectors}


def shapes(specification: dict[str, Any]) -> dict[str, Any]:
    """Schemas without words and examples, and the schema of each answer by method, path and status."""
    components = specification["components"]
    answers = {}
    for path, methods in specification["paths"].items():
        for method in methods.keys() & {"get", "post"}:
            for status, answer in methods[method]["responses"].items():
                named = answer.get("$ref", "").rpartition("/")[2]
                content = (components["responses"].get(named, {}) if named else answer).get("content", {})
                if "application/json" in content:
                    key = f"{method} {path} {status}"
                    answers[key] = shape(content["application/json"].get("schema", {}))
    schemas = {name: shape(schema) for name, schema in components["schemas"].items()}
    return {"answers": answers, "components": {"schemas": schemas}}


def shape(schema: dict[str, Any]) -> dict[str, Any]:
    """A schema of OpenAPI 3.0 as JSON schema: only what bears on validity."""
    kept = {key: value for key, value in schema.items() if key in KEPT}
    if "properties" in kept:
        kept["properties"] = {name: shape(each) for name, each in kept["properties"].items()}
    if "items" in kept:
        kept["items"] = shape(kept["items"])
    for group in ("allOf", "anyOf", "oneOf"):
        if group in kept:
            kept[group] = [shape(each) for each in kept[group]]
    if kept.pop("nullable", False) and "type" in kept:
        kept["type"] = [kept["type"], "null"]
    return kept


if __name__ == "__main__":
    raise SystemExit(main())
