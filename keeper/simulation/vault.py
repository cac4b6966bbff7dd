"""A whole vault on a local chain: contracts, roles, allow-lists, and the policy its signers keep."""

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from eth_hash.auto import keccak

from keeper.config import parse
from keeper.contracts import Contract
from keeper.planning.policy import Policy
from keeper.simulation.deploy import created_address
from keeper.simulation.devnet import Devnet
from keeper.units import WAD, Address

DAY: Final = 86_400
TIMELOCK: Final = 3 * DAY
SIGNERS: Final = ("signer1", "signer2", "signer3")
THRESHOLD: Final = 2
EPOCH_SECONDS: Final = 600
CAP: Final = 5_000_000 * 10**6
MORPHO_MARKET: Final = "WETH/USDC"

PARAMS: Final[tuple[int, ...]] = (
    WAD // 100,  # management fee, 1 % a year
    WAD // 10,  # performance fee
    0,  # exit fee
    10**10,  # growth of the redemption price, 1e-8 a second or 32 % a year at most
    WAD // 20,  # fall of the deposit price between settlements, 5 %
    WAD // 200,  # spread, 50 bps
    EPOCH_SECONDS,
    10 * 10**6,  # smallest deposit, 10 USDC
    10**12,  # smallest redemption, 1 share
    50_000_000 * 10**6,  # deposit cap
)


@dataclass(frozen=True)
class Deployment:
    """Addresses of one vault's contracts, and its policy as TOML text."""

    registry: Address
    quorum: Address
    escrow: Address
    portfolio: Address
    vault: Address
    oracle: Address
    asset: Address
    policy: Policy
    policy_toml: str


@dataclass(frozen=True)
class _Listing:
    venue: str
    connector: str
    address: Address
    key: bytes
    params: Mapping[str, Any]


def risk_id(name: str) -> bytes:
    """The cap a position counts against, as the registry names it: keccak256 of its name."""
    return keccak(name.encode())


def deploy_vault(devnet: Devnet, params: tuple[int, ...] = PARAMS) -> Deployment:
    """Deploys, configures and seals a USDC vault over Aave, Morpho Blue and MetaMorpho.

    `params` are `IVault.Params` without the fee recipient, who is the treasury.
    """
    deployer, governor = devnet.key("deployer"), devnet.address("governor")
    asset = Address(devnet.manifest["tokens"]["USDC"]["address"])
    registry = devnet.deploy(deployer, "Registry")
    libraries = {"SettlementLib": devnet.deploy(deployer, "SettlementLib")}
    # Quorum, escrow and portfolio know the vault before it exists: it is the fourth contract from here.
    sender = devnet.address("deployer")
    nonce = int(devnet.rpc("eth_getTransactionCount", sender, "latest"), 16)
    vault = created_address(sender, nonce + 3)
    signers = sorted((devnet.address(role) for role in SIGNERS), key=lambda each: int(each, 16))
    quorum = devnet.deploy(deployer, "KeeperQuorum", [registry, vault, signers, THRESHOLD])
    escrow = devnet.deploy(deployer, "Escrow", [vault, asset])
    portfolio = devnet.deploy(deployer, "Portfolio", [vault, registry, asset, escrow])
    guardian = devnet.address("guardian")
    roles = [governor, guardian, quorum]
    settings = (devnet.address("treasury"), *params)
    name = ["Omnikeeper USDC", "okUSDC"]
    arguments = [asset, *name, registry, portfolio, escrow, *roles, settings]
    devnet.deploy(deployer, "Vault", arguments, libraries=libraries)
    oracle = _deploy_oracle(devnet)
    listings = _deploy_connectors(devnet, portfolio)
    _configure(devnet, Contract(registry, "Registry"), vault, oracle, listings)
    parts = {
        "vault": vault,
        "portfolio": portfolio,
        "escrow": escrow,
        "registry": registry,
        "quorum": quorum,
        "asset": asset,
    }
    policy_toml = _policy(devnet.chain_id, parts, signers, listings)
    return Deployment(
        registry=registry,
        quorum=quorum,
        escrow=escrow,
        portfolio=portfolio,
        vault=vault,
        oracle=oracle,
        asset=asset,
        policy=parse(tomllib.loads(policy_toml), Policy),
        policy_toml=policy_toml,
    )


def _deploy_oracle(devnet: Devnet) -> Address:
    """ETH in USDC through both dollar feeds."""
    deployer, manifest = devnet.key("deployer"), devnet.manifest
    weth, usdc = (manifest["tokens"][symbol]["address"] for symbol in ("WETH", "USDC"))
    # The feeds quote in dollars, which is no token; this address stands for them, as in ISO 4217.
    dollar = Address("0x0000000000000000000000000000000000000348")
    nobody = Address("0x" + "0" * 40)
    sources = []
    for token, feed in ((weth, "ETH/USD"), (usdc, "USDC/USD")):
        proxy, heartbeat = (manifest["feeds"][feed][field] for field in ("proxy", "heartbeat"))
        bounds = (WAD // 100, 1_000_000 * WAD)
        config = (token, dollar, proxy, heartbeat, *bounds, 50, manifest["sequencer"], 3600, nobody, 0)
        sources.append(devnet.deploy(deployer, "ChainlinkSource", [config]))
    routes = [(weth, usdc, [(sources[0], False), (sources[1], True)])]
    return devnet.deploy(deployer, "OracleRouter", [routes])


def _deploy_connectors(devnet: Devnet, portfolio: Address) -> tuple[_Listing, ...]:
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
        "aave_v3": devnet.deploy(deployer, "AaveV3Connector", [portfolio, aave["pool"], [keys["aave_v3"]]]),
        "morpho_blue": devnet.deploy(
            deployer, "MorphoBlueConnector", [portfolio, morpho["address"], [keys["morpho_blue"]]]
        ),
        "metamorpho": devnet.deploy(deployer, "ERC4626Connector", [portfolio, [keys["metamorpho"]]]),
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
        _Listing(venues[name], name, addresses[name], keys[name], params[name]) for name in sorted(venues)
    )


def _configure(
    devnet: Devnet, registry: Contract, vault: Address, oracle: Address, listings: Sequence[_Listing]
) -> None:
    governor = devnet.key("governor")

    def govern(function: str, *args: Any) -> None:
        devnet.send(governor, registry.address, registry.encode(function, *args))

    govern("setOracle", vault, oracle)
    for each in listings:
        govern("listPosition", vault, each.address, each.key, [risk_id(each.venue)])
        govern("setCap", vault, risk_id(each.venue), CAP)
        for signature in ("supply(bytes32,uint256)", "withdraw(bytes32,uint256)"):
            govern("setSelector", vault, each.address, keccak(signature.encode())[:4], True)
    govern("seal", vault, TIMELOCK)


def _market_params(market: Mapping[str, Any]) -> dict[str, Any]:
    return {name: market[name] for name in ("loan_token", "collateral_token", "oracle", "irm", "lltv")}


def _address_key(address: str) -> bytes:
    return bytes(12) + bytes.fromhex(address[2:])


def _policy(
    chain_id: int, parts: Mapping[str, Address], signers: Sequence[Address], listings: Sequence[_Listing]
) -> str:
    """The policy file. Comments say what an operator may want to change."""
    strategy = {"min_gain_bps": 5, "grid": 64, "quantum": 10**6, "asset": "USDC", "decimals": 6}
    sections = [
        _table("", {"name": "devnet USDC"}),
        _table("vault", {"chain_id": chain_id, **parts, "decimals": 6, "symbol": "USDC"}),
        _table(f"chains.{chain_id}", {"finality": 0}),
        _table("time", {"validity": 900, "max_reference_age": 300, "max_clock_skew": 60}),
        _table(
            "limits",
            {
                "max_calls": 8,
                "max_gas": 5_000_000,
                "rounding_loss_per_call": 4,
                "pps_tolerance_bps": 10,
                "min_move": 10**6,
            },
        ),
        _table("signers", {"threshold": THRESHOLD, "addresses": list(signers)}),
        _table("strategy", {"name": "yield_allocation", "params": strategy}),
    ]
    for each in listings:
        entry = {
            "venue": each.venue,
            "connector": each.connector,
            "address": each.address,
            "key": "0x" + each.key.hex(),
            "cap": CAP,
            "params": each.params,
        }
        sections.append(_table("[positions]", entry))
    return "\n".join(sections)


def _table(name: str, values: Mapping[str, Any]) -> str:
    head = [f"[{name}]"] if name else []
    return "\n".join([*head, *(f"{key} = {_toml(value)}" for key, value in values.items())]) + "\n"


def _toml(value: object) -> str:
    """A TOML value: strings and integers are written as in JSON."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {_toml(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    return json.dumps(value)
