"""A whole vault on a local chain: contracts, roles, allow-lists, and the policy its signers keep."""

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Final

from keeper.config import parse
from keeper.contracts import Contract, artifact
from keeper.exposures import risk_id
from keeper.oracle.routes import OraclePolicy
from keeper.planning.actions import ACTIONS, CLAIM, SUPPLY, WITHDRAW
from keeper.planning.policy import Policy
from keeper.simulation.deploy import created_address
from keeper.simulation.devnet import Devnet
from keeper.simulation.keeper_safe import create_safe, safe_section
from keeper.simulation.proposers import PROPOSERS, proposer_key
from keeper.units import WAD, Address

DAY: Final = 86_400
TIMELOCK: Final = 3 * DAY
SIGNERS: Final = ("signer1", "signer2", "signer3")
THRESHOLD: Final = 2
PATIENCE_SECONDS: Final = 120
EPOCH_SECONDS: Final = 600
CAP: Final = 5_000_000 * 10**6
MORPHO_MARKET: Final = "WETH/USDC"
_ALONE: Final[Mapping[str, Sequence[str]]] = MappingProxyType({})
ETHER_FEED: Final = MappingProxyType({"WETH": "ETH/USD"})
NOBODY: Final = Address("0x" + "0" * 40)
DOLLAR: Final = Address("0x0000000000000000000000000000000000000348")
"""Feeds quote in dollars, which is no token; this address stands for them, by ISO 4217."""
_FEED_FIELDS: Final = (
    "aggregator",
    "heartbeat",
    "minimum",
    "maximum",
    "deviation_bps",
    "sequencer",
    "grace_period",
)
MIN_HEALTH_WAD: Final = 105 * WAD // 100

PARAMS: Final[tuple[int | str, ...]] = (
    WAD // 100,  # management fee, 1 % a year
    WAD // 10,  # performance fee
    0,  # exit fee
    10**10,  # growth of the redemption price, 1e-8 a second or 32 % a year at most
    WAD // 20,  # fall of the deposit price between settlements, 5 %
    WAD // 200,  # spread, 50 bps
    EPOCH_SECONDS,
    "0x0000000000000000000000000000000000000000",  # no compliance hook
    10 * 10**6,  # smallest deposit, 10 USDC
    50_000_000 * 10**6,  # deposit cap
    10**12,  # smallest redemption, 1 share
    2 * DAY,  # age of the queue above which only risk-reducing batches pass
)


@dataclass(frozen=True)
class Seats:
    """Who signs, by role, and how many must."""

    roles: tuple[str, ...] = SIGNERS
    threshold: int = THRESHOLD


@dataclass(frozen=True)
class Core:
    """A vault's own contracts, before it may hold anything anywhere."""

    registry: Address
    quorum: Address
    escrow: Address
    portfolio: Address
    vault: Address
    asset: Address


@dataclass(frozen=True)
class Deployment(Core):
    """A sealed vault: its contracts, oracle, and policy, also as TOML text."""

    oracle: Address
    policy: Policy
    policy_toml: str


@dataclass(frozen=True)
class Listing:
    """A position to be allow-listed. `params` are for the policy; it counts under its venue's risk id and
    those of `groups`."""

    venue: str
    address: Address
    key: bytes
    connector: str = ""
    params: Mapping[str, Any] = field(default_factory=dict)
    groups: tuple[str, ...] = ()
    functions: tuple[str, ...] = (SUPPLY.name, WITHDRAW.name)

    @property
    def risk_ids(self) -> tuple[str, ...]:
        return self.venue, *self.groups


_SEATS: Final = Seats()


def deploy_vault(
    devnet: Devnet,
    params: tuple[int | str, ...] = PARAMS,
    groups: Mapping[str, Sequence[str]] = _ALONE,
    seats: Seats = _SEATS,
    *,
    safe: bool = False,
) -> Deployment:
    """Deploys, configures and seals a USDC vault over Aave, Morpho Blue and MetaMorpho.

    `params` are `IVault.Params` without the fee recipient, who is the treasury; `groups` names risk ids that
    several venues count under beside their own, and those venues. With `safe` the signers' Safe has the
    keeper role, and is the deployment's `quorum`.
    """
    core = deploy_core(devnet, params, seats=seats)
    if safe:
        core = replace(core, quorum=create_safe(devnet, signers(devnet), THRESHOLD))
        govern(devnet, core, "setKeeper", core.vault, core.quorum)
    oracle = deploy_oracle(devnet)
    govern(devnet, core, "setOracle", core.vault, oracle.router)
    listings = [
        replace(each, groups=tuple(name for name, venues in sorted(groups.items()) if each.venue in venues))
        for each in deploy_connectors(devnet, core.portfolio)
    ]
    list_and_seal(devnet, core, listings)
    policy_toml = policy_text(devnet, core, listings, oracle, seats)
    if safe:
        policy_toml += "\n" + table("safe", safe_section(devnet))
    policy = parse(tomllib.loads(policy_toml), Policy)
    return Deployment(**vars(core), oracle=oracle.router, policy=policy, policy_toml=policy_toml)


def deploy_core(
    devnet: Devnet,
    params: tuple[int | str, ...] = PARAMS,
    asset: Address | None = None,
    seats: Seats = _SEATS,
) -> Core:
    """Deploys a vault's own contracts; the governor may configure it at once until it is sealed.

    Its asset is USDC unless it is told another.
    """
    deployer = devnet.key("deployer")
    asset = asset or Address(devnet.manifest["tokens"]["USDC"]["address"])
    registry = devnet.deploy(deployer, "Registry")
    names = {name for each in ("Portfolio", "Vault") for name in artifact(each).libraries}
    libraries = {name: devnet.deploy(deployer, name) for name in sorted(names)}
    # Quorum, escrow and portfolio know the vault before it exists: it is the fourth contract from here.
    sender = devnet.address("deployer")
    nonce = int(devnet.rpc("eth_getTransactionCount", sender, "latest"), 16)
    vault = created_address(sender, nonce + 3)
    quorum = devnet.deploy(
        deployer, "KeeperQuorum", [registry, vault, signers(devnet, seats), seats.threshold]
    )
    escrow = devnet.deploy(deployer, "Escrow", [vault, asset])
    portfolio = devnet.deploy(deployer, "Portfolio", [vault, registry, asset, escrow], libraries=libraries)
    roles = [devnet.address("governor"), devnet.address("guardian"), quorum]
    settings = (devnet.address("treasury"), *params)
    arguments = [asset, "Omnikeeper USDC", "okUSDC", registry, portfolio, escrow, *roles, settings]
    devnet.deploy(deployer, "Vault", arguments, libraries=libraries)
    return Core(registry, quorum, escrow, portfolio, vault, asset)


def signers(devnet: Devnet, seats: Seats = _SEATS) -> list[Address]:
    """The quorum's signers in the order the contract wants: ascending."""
    return sorted((devnet.address(role) for role in seats.roles), key=lambda each: int(each, 16))


def govern(devnet: Devnet, core: Core, function: str, *args: Any) -> None:
    """One call of the vault's governor to the registry."""
    data = Contract(core.registry, "Registry").encode(function, *args)
    devnet.send(devnet.key("governor"), core.registry, data)


def list_and_seal(devnet: Devnet, core: Core, listings: Sequence[Listing]) -> None:
    """Allow-lists positions, puts a cap on every risk id, and ends the set-up."""
    for name in _risk_ids(listings):
        govern(devnet, core, "setCap", core.vault, risk_id(name), CAP)
    for each in listings:
        ids = [risk_id(name) for name in each.risk_ids]
        govern(devnet, core, "listPosition", core.vault, each.address, each.key, ids)
        for name in each.functions:
            govern(devnet, core, "setSelector", core.vault, each.address, ACTIONS[name].selector, True)
    govern(devnet, core, "seal", core.vault, TIMELOCK)


def _risk_ids(listings: Sequence[Listing]) -> list[str]:
    return sorted({name for each in listings for name in each.risk_ids})


def deploy_oracle(devnet: Devnet, feeds: Mapping[str, str] = ETHER_FEED) -> OraclePolicy:
    """Tokens, by symbol, in USDC: through their own dollar feeds and that of USDC. The policy's section says
    where all of it is."""
    deployer, manifest = devnet.key("deployer"), devnet.manifest
    pairs = {**feeds, "USDC": "USDC/USD"}
    tokens = {symbol: manifest["tokens"][symbol] for symbol in pairs}
    sources = {}
    for symbol, feed in pairs.items():
        source = _feed(manifest["feeds"][feed], symbol, feed.replace("/", " / "), manifest["sequencer"])
        config = (
            tokens[symbol]["address"],
            DOLLAR,
            *(source[name] for name in _FEED_FIELDS),
            *(NOBODY, 0, 0),
            source["description"],
        )
        sources[feed] = {**source, "address": devnet.deploy(deployer, "ChainlinkSource", [config])}
    routes = [
        (
            tokens[symbol]["address"],
            tokens["USDC"]["address"],
            [(sources[feed]["address"], False), (sources[pairs["USDC"]]["address"], True)],
        )
        for symbol, feed in feeds.items()
    ]
    section = {
        "router": devnet.deploy(deployer, "OracleRouter", [routes]),
        "tokens": {
            "USD": {"address": DOLLAR},
            **{name: {key: each[key] for key in ("address", "decimals")} for name, each in tokens.items()},
        },
        "sources": sources,
        "routes": [
            {
                "base": symbol,
                "quote": "USDC",
                "hops": [{"source": feed}, {"source": pairs["USDC"], "inverse": True}],
            }
            for symbol, feed in feeds.items()
        ],
    }
    return parse(section, OraclePolicy)


def _feed(feed: Mapping[str, Any], base: str, description: str, sequencer: str) -> dict[str, Any]:
    return {
        "kind": "chainlink",
        "base": base,
        "quote": "USD",
        "aggregator": feed["proxy"],
        "decimals": feed["decimals"],
        "heartbeat": feed["heartbeat"],
        "minimum": WAD // 100,
        "maximum": 1_000_000 * WAD,
        "deviation_bps": 50,
        "sequencer": sequencer,
        "grace_period": 3600,
        "description": description,
    }


def deploy_connectors(
    devnet: Devnet, portfolio: Address, rewards: Sequence[Address] = ()
) -> tuple[Listing, ...]:
    """Connectors at Aave, Morpho Blue and MetaMorpho; that at Aave claims `rewards`."""
    deployer, manifest = devnet.key("deployer"), devnet.manifest
    aave, morpho, metamorpho = (manifest[name] for name in ("aave", "morpho", "metamorpho"))
    reserve = aave["reserves"]["USDC"]
    market = morpho["markets"][MORPHO_MARKET]
    keys = {
        "aave_v3": _address_key(reserve["asset"]),
        "morpho_blue": bytes.fromhex(market["id"][2:]),
        "metamorpho": _address_key(metamorpho["vault"]),
    }
    addresses = {
        "aave_v3": devnet.deploy(
            deployer, "AaveV3Connector", [portfolio, aave["pool"], lending_terms([keys["aave_v3"]], rewards)]
        ),
        "morpho_blue": devnet.deploy(
            deployer,
            "MorphoBlueConnector",
            [portfolio, morpho["address"], lending_terms([keys["morpho_blue"]])],
        ),
        "metamorpho": devnet.deploy(deployer, "ERC4626Connector", [portfolio, [keys["metamorpho"]], []]),
    }
    params: dict[str, dict[str, Any]] = {
        "aave_v3": {
            "pool": aave["pool"],
            "asset": reserve["asset"],
            "a_token": reserve["a_token"],
            "variable_debt_token": reserve["variable_debt_token"],
            "rate_strategy": aave["rate_strategy"],
        },
        "morpho_blue": {"morpho": morpho["address"], "market": _market_params(market)},
        "metamorpho": {
            "vault": metamorpho["vault"],
            "morpho": morpho["address"],
            "markets": [_market_params(morpho["markets"][name]) for name in metamorpho["withdraw_queue"]],
        },
    }
    venues = {
        "aave_v3": "aave:USDC",
        "morpho_blue": f"morpho:{MORPHO_MARKET}",
        "metamorpho": "metamorpho:USDC",
    }
    return tuple(
        Listing(venues[name], addresses[name], keys[name], name, params[name]) for name in sorted(venues)
    )


def lending_terms(
    keys: Sequence[bytes], rewards: Sequence[Address] = ()
) -> tuple[Sequence[bytes], list[bytes], Sequence[Address], int]:
    """Terms of a lending connector that supplies to these keys, borrows nothing and claims these rewards."""
    return keys, [], rewards, MIN_HEALTH_WAD


def _market_params(market: Mapping[str, Any]) -> dict[str, Any]:
    return {name: market[name] for name in ("loan_token", "collateral_token", "oracle", "irm", "lltv")}


def _address_key(address: str) -> bytes:
    return bytes(12) + bytes.fromhex(address[2:])


def policy_text(
    devnet: Devnet,
    core: Core,
    listings: Sequence[Listing],
    oracle: OraclePolicy,
    seats: Seats = _SEATS,
    intents: bool = False,
) -> str:
    """The policy file. Comments say what an operator may want to change."""
    people = {"intents": True} if intents else {}
    strategy = {"min_gain_bps": 5, "grid": 64, "quantum": 10**6, "asset": "USDC", "decimals": 6}
    sections = [
        table("", {"name": "devnet USDC"}),
        table("vault", {"chain_id": devnet.chain_id, **vars(core), "decimals": 6, "symbol": "USDC"}),
        table(f"chains.{devnet.chain_id}", {"finality": 0}),
        table("time", {"validity": 900, "max_reference_age": 300, "max_clock_skew": 60}),
        table(
            "limits",
            {
                "max_calls": 8,
                "max_gas": 5_000_000,
                "rounding_loss_per_call": 4,
                "pps_tolerance_bps": 10,
                "min_move": 10**6,
            },
        ),
        table("signers", {"threshold": seats.threshold, "addresses": signers(devnet, seats)}),
        table("proposers", {"keys": _proposers(), "patience": PATIENCE_SECONDS}),
        table("strategy", {"name": "yield_allocation"} | people | {"params": strategy}),
    ]
    sections.append(table("caps", dict.fromkeys(_risk_ids(listings), CAP)))
    for each in listings:
        entry = {
            "venue": each.venue,
            "connector": each.connector,
            "address": each.address,
            "key": "0x" + each.key.hex(),
            "risk_ids": list(each.risk_ids),
            "params": each.params,
        }
        claims = {"functions": each.functions} if CLAIM.name in each.functions else {}
        sections.append(table("[positions]", claims | entry))
    section = oracle.model_dump(mode="json", exclude_defaults=True)
    sections += [
        table("oracle", {"router": section["router"]}),
        table("oracle.tokens", section["tokens"]),
        *(table(f'oracle.sources."{name}"', each) for name, each in sorted(section["sources"].items())),
        *(table("[oracle.routes]", each) for each in section["routes"]),
    ]
    return "\n".join(sections)


def _proposers() -> list[str]:
    return ["0x" + proposer_key(role).public_key().public_bytes_raw().hex() for role in PROPOSERS]


def table(name: str, values: Mapping[str, Any]) -> str:
    head = [f"[{name}]"] if name else []
    return "\n".join([*head, *(f"{_key(key)} = {_toml(value)}" for key, value in values.items())]) + "\n"


def _key(name: str) -> str:
    """A TOML key, quoted where it has to be."""
    return name if name.replace("_", "").isalnum() else json.dumps(name)


def _toml(value: object) -> str:
    """A TOML value: strings and integers are written as in JSON."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_key(key)} = {_toml(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    return json.dumps(value)
