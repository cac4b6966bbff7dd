"""What is allowed: one TOML file that every signer keeps its own copy of, and whose hash every plan carries.

Default-deny: a plan may do only what an entry here names. Endpoints, keys and paths are no part of it, so
that the same policy has the same hash on every machine.
"""

from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from keeper import canonical
from keeper.config import CheckedAddress, OneEach, StrictModel, load_toml
from keeper.connectors.base import PositionRef
from keeper.errors import KeeperError, PolicyError
from keeper.oracle import directory
from keeper.oracle.routes import OraclePolicy
from keeper.planning.actions import ACTIONS, REDUCING, SUPPLY, SWAP, WITHDRAW
from keeper.planning.bounds import (
    CALLS_OF_A_SALE,
    Bound,
    BudgetPolicy,
    Count,
    FeePolicy,
    GovernorPolicy,
    GuardianPolicy,
    HarvestPolicy,
    HealthPolicy,
    Positive,
    TimePolicy,
)
from keeper.planning.calls import PlannedCall
from keeper.planning.outcome import IDLE
from keeper.planning.plan import BatchTerms, Plan, SettlementTerms
from keeper.planning.sales import check_sales, held_tokens, is_sale
from keeper.quorum.proposers import ProposerPolicy
from keeper.risk import structure
from keeper.risk.slots import HexWord, RiskPolicy
from keeper.safe.account import SafePolicy
from keeper.swap.policy import SwapPolicy
from keeper.units import BPS, Address, mul_div_up

DOMAIN: Final = "omnikeeper/policy"
SCHEMA: Final = 1
ARGUMENTS: Final = ("assets",)
"""Arguments of an action that a policy may bound; its key is the position's own."""
MAX_RISK_IDS: Final = 8
"""`Registry.MAX_RISK_IDS`."""
OPTIONAL: Final = (
    *("oracle", "fees", "budgets", "proposers", "guardian", "governor", "risk", "code", "safe", "swap"),
    *("health", "harvest"),
)
"""Sections that may be left out; one that is has no part in the hash."""


class VaultPolicy(StrictModel):
    """The vault and its parts on the hub chain. `quorum` has the keeper role: a KeeperQuorum, or the Safe of
    the policy's section `safe`."""

    chain_id: Positive
    vault: CheckedAddress
    portfolio: CheckedAddress
    escrow: CheckedAddress
    registry: CheckedAddress
    quorum: CheckedAddress
    asset: CheckedAddress
    decimals: Annotated[int, Field(strict=True, ge=0, le=77)]
    symbol: str

    @property
    def place(self) -> str:
        """Which vault it is, for people."""
        return f"{self.vault} on chain {self.chain_id}"


class ChainPolicy(StrictModel):
    """A chain the snapshot covers; `finality` is how many blocks deep a pinned block must be."""

    finality: Count


class Limits(StrictModel):
    """Bounds of one plan. Amounts in the vault's asset; `max_gas` is all that the signed call may use."""

    max_calls: Annotated[int, Field(strict=True, ge=1, le=64)]
    max_gas: Positive
    rounding_loss_per_call: Count
    pps_tolerance_bps: Annotated[int, Field(strict=True, ge=0, lt=BPS)]
    min_move: Count = 0


class SignerPolicy(StrictModel):
    """Who may sign, and how many must; the contract's set has to be the same."""

    threshold: Positive
    addresses: tuple[CheckedAddress, ...]

    @model_validator(mode="after")
    def _reachable(self) -> "SignerPolicy":
        if len(set(self.addresses)) != len(self.addresses):
            raise ValueError("a signer is named twice")
        if self.threshold > len(self.addresses):
            raise ValueError(f"threshold {self.threshold} exceeds the {len(self.addresses)} signers")
        return self


class StrategyPolicy(StrictModel):
    """The strategy by entry point name, its parameters, and whether people may decide in its place."""

    name: str
    params: dict[str, Any] = Field(default_factory=dict)
    intents: bool = Field(default=False, strict=True)

    @model_serializer(mode="wrap")
    def _as_ever(self, body: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """A policy that allows no intents has the hash it always had."""
        made: dict[str, Any] = body(self)
        if not self.intents:
            del made["intents"]
        return made


def _own_risk_id(entry: dict[str, Any]) -> tuple[str, ...]:
    return (entry["venue"],)


class PositionPolicy(StrictModel):
    """One allow-listed position: our connector at `address`, the `key` it knows the position by, which of its
    functions may be called and with what `arguments` (by function and name), and the risk ids it counts
    under, by name; under its venue's if left out."""

    venue: str
    connector: str
    address: CheckedAddress
    key: HexWord
    functions: tuple[str, ...] = (SUPPLY.name, WITHDRAW.name)
    arguments: dict[str, dict[str, Bound]] = Field(default_factory=dict)
    risk_ids: tuple[str, ...] = Field(default_factory=_own_risk_id, min_length=1, max_length=MAX_RISK_IDS)
    params: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _known(self) -> "PositionPolicy":
        unknown = [name for name in self.functions if name not in ACTIONS]
        if unknown:
            raise ValueError(f"no such function: {', '.join(unknown)}; there are {', '.join(ACTIONS)}")
        if idle := sorted(set(self.arguments) - set(self.functions)):
            raise ValueError(f"arguments of {', '.join(idle)}, which may not be called")
        for function, bounds in self.arguments.items():
            if strange := sorted(set(bounds) - set(ARGUMENTS)):
                raise ValueError(f"{function} has no {', '.join(strange)}, but {', '.join(ARGUMENTS)}")
        if self.venue in (IDLE, SWAP):
            raise ValueError(f"{self.venue} names the assets at hand or the swap handler, not a venue")
        if len(set(self.risk_ids)) != len(self.risk_ids):
            raise ValueError("a risk id is named twice")
        return self

    def ref(self) -> PositionRef:
        return PositionRef(
            connector=self.connector, address=self.address, key=self.key, venue=self.venue, params=self.params
        )


class Policy(StrictModel):
    """Everything that bounds a plan. `caps` is the most that may count under each risk id, by name, in the
    vault's asset; `code` the keccak256 of the runtime code at an address of the hub chain."""

    name: str
    nonce_key: Count = 0
    executor: CheckedAddress = Address("0x" + "0" * 40)
    vault: VaultPolicy
    chains: Annotated[dict[int, ChainPolicy], OneEach]
    time: TimePolicy
    limits: Limits
    signers: SignerPolicy
    strategy: StrategyPolicy
    caps: dict[str, Count]
    positions: tuple[PositionPolicy, ...]
    oracle: OraclePolicy | None = None
    fees: FeePolicy | None = None
    budgets: BudgetPolicy | None = None
    proposers: ProposerPolicy | None = None
    guardian: GuardianPolicy | None = None
    governor: GovernorPolicy | None = None
    risk: RiskPolicy | None = None
    code: Annotated[dict[CheckedAddress, HexWord], OneEach] | None = None
    safe: SafePolicy | None = None
    swap: SwapPolicy | None = None
    health: HealthPolicy | None = None
    harvest: HarvestPolicy | None = None

    @model_validator(mode="after")
    def _consistent(self) -> "Policy":
        if self.vault.chain_id not in self.chains:
            raise ValueError(f"chains lacks the hub chain {self.vault.chain_id}")
        venues = [position.venue for position in self.positions]
        keys = [(position.address, position.key) for position in self.positions]
        if len(set(venues)) != len(venues) or len(set(keys)) != len(keys):
            raise ValueError("a venue, or a connector's key, is listed twice")
        _one_cap_each({name for position in self.positions for name in position.risk_ids}, set(self.caps))
        self._check_budgets(set(venues))
        if self.harvest is not None and self.swap is None:
            raise ValueError("harvest needs the section swap: what is earned has to be sold")
        if self.health is not None and self.health.nonce_key == self.nonce_key:
            raise ValueError("health.nonce_key is that of every other plan: a defence would wait for them")
        if self.health is not None and self.limits.max_calls < CALLS_OF_A_SALE:
            raise ValueError(
                f"health needs limits.max_calls of at least {CALLS_OF_A_SALE}, which a sale takes"
            )
        if self.health is not None and self.safe is not None:
            raise ValueError("health: a Safe's roles know one nonce key, so nobody could carry a defence out")
        try:
            self._check_structure()
            if self.oracle is not None:
                directory.check(self.oracle, self.vault.chain_id)
            held = held_tokens(self.positions)
            if self.swap is not None:
                self.swap.require_fits(self.vault.chain_id, self.vault.asset, held)
            canonical.encode(self._body(), domain=DOMAIN, version=SCHEMA)
        except KeeperError as error:
            raise ValueError(str(error)) from error
        return self

    def _check_budgets(self, venues: set[str]) -> None:
        if self.budgets is None:
            return
        if strange := sorted(set(self.budgets.venues or {}) - venues):
            raise ValueError(f"budgets.venues: there is no {', '.join(strange)}")
        if self.budgets.gas is None:
            return
        if self.fees is None:
            raise ValueError(
                "budgets.gas needs the fees section: without a price per gas nothing bounds a plan"
            )
        if self.budgets.gas < self.gas_ceiling:
            raise ValueError(
                f"budgets.gas of {self.budgets.gas:,} does not pay for one plan of {self.gas_ceiling:,}"
            )

    def _check_structure(self) -> None:
        """What `[risk]` says about the policy itself. Raises PolicyError."""
        if self.risk is None:
            return
        structure.check_names(
            self.risk, set(self.caps), {each.venue for each in self.positions}, set(self.chains)
        )
        if self.risk.R07 is not None:
            structure.check_markets(self.risk.R07, {each.venue: each.params for each in self.positions})
        if self.oracle is not None:
            structure.check_sources(self.risk, self.oracle)

    @property
    def gas_ceiling(self) -> int:
        """The most that one plan's transaction may cost, in wei; 0 without fee ceilings."""
        return 0 if self.fees is None else self.limits.max_gas * self.fees.max_fee_per_gas

    @property
    def leverage_bps(self) -> int:
        """The most that gross assets may be of equity, in bps."""
        return (self.risk or RiskPolicy()).R01.max_bps

    def _body(self) -> dict[str, Any]:
        body: dict[str, Any] = _text_keys(self.model_dump(mode="python"))
        for name in OPTIONAL:
            # So that a policy without it has the hash it always had.
            if body[name] is None:
                del body[name]
        for position in body["positions"]:
            if not position["arguments"]:
                del position["arguments"]
        return body

    @cached_property
    def hash(self) -> bytes:
        """32 bytes that name the policy: canonical digest of every value, defaults included."""
        return canonical.digest(self._body(), domain=DOMAIN, version=SCHEMA)

    @property
    def finality(self) -> dict[int, int]:
        """Depth that a pinned block needs, by chain id."""
        return {chain: each.finality for chain, each in sorted(self.chains.items())}

    def refs(self) -> tuple[PositionRef, ...]:
        """The allow-listed positions, sorted by venue."""
        return tuple(position.ref() for position in sorted(self.positions, key=lambda each: each.venue))

    def position(self, venue: str) -> PositionPolicy:
        """The entry of a venue. Raises PolicyError when there is none."""
        for position in self.positions:
            if position.venue == venue:
                return position
        raise PolicyError(
            "The policy does not know this venue",
            expected=" or ".join(sorted(each.venue for each in self.positions)),
            seen=venue,
        )

    def members(self, name: str) -> tuple[str, ...]:
        """The venues that count under a risk id, sorted."""
        return tuple(sorted(each.venue for each in self.positions if name in each.risk_ids))

    def check(self, plan: Plan) -> None:
        """Raises PolicyError, naming the field, for anything in the plan that no entry allows."""
        _equal("vault", self.vault.vault, plan.vault)
        _equal("chain_id", self.vault.chain_id, plan.chain_id)
        _equal("blocks", sorted(self.chains), [block.chain_id for block in plan.blocks])
        _equal("valid_after", plan.reference_time, plan.valid_after)
        _equal("valid_until", plan.reference_time + self.time.validity, plan.valid_until)
        if isinstance(plan.terms, BatchTerms):
            self._check_batch(plan.terms)
        else:
            self._check_settlement(plan.terms)

    def _check_batch(self, terms: BatchTerms) -> None:
        if self.health is None or terms.nonce_key != self.health.nonce_key:
            _equal("terms.nonce_key", self.nonce_key, terms.nonce_key)
        elif raising := sorted({call.function for call in terms.calls} - REDUCING):
            raise PolicyError(
                "A defence only lowers risk", expected=" or ".join(sorted(REDUCING)), seen=", ".join(raising)
            )
        _equal("terms.executor", self.executor, terms.executor)
        _at_most("terms.calls", self.limits.max_calls, len(terms.calls))
        lost = check_sales(self.swap, terms.calls, self.vault.asset)
        rounding = self.limits.rounding_loss_per_call * len(terms.calls)
        _at_most("terms.max_loss", rounding + lost, terms.max_loss)
        for i, call in enumerate(terms.calls):
            if not is_sale(call):
                self._check_call(f"terms.calls[{i}]", call)
        grown = {call.venue for call in terms.calls if call.function == SUPPLY.name}
        predicted = dict(terms.predicted)
        for venue in sorted(grown):
            if venue not in predicted:
                raise PolicyError("The plan predicts no value", where=f"terms.predicted.{venue}")
            for name in self.position(venue).risk_ids:
                held = sum(predicted.get(member, 0) for member in self.members(name))
                _at_most(f"terms.predicted.{venue} under caps.{name}", self.caps[name], held)

    def _check_call(self, where: str, call: PlannedCall) -> None:
        allowed = self.position(call.venue)
        _equal(f"{where}.target", allowed.address, call.target)
        if call.action.key is not None:
            _equal(f"{where}.decoded.key", allowed.key, call.key)
        if call.function not in allowed.functions:
            raise PolicyError(
                "The policy does not allow this function",
                expected=" or ".join(allowed.functions) or "none",
                seen=call.function,
                where=where,
            )
        token = held_tokens(self.positions).get(call.venue, self.vault.asset)
        _equal(f"{where}.token", token, call.token)
        _equal(f"{where}.amount", call.pushed, call.amount)
        if call.args.get("assets") == 0:
            raise PolicyError("A call that moves nothing", where=where)
        said = call.args
        for name, bound in sorted(allowed.arguments.get(call.function, {}).items()):
            if not bound.allows(said[name]):
                raise PolicyError(
                    "The policy does not allow this argument",
                    expected=bound,
                    seen=f"{said[name]:,}",
                    where=f"{where}.{call.function}.{name}",
                )

    def _check_settlement(self, terms: SettlementTerms) -> None:
        if not 0 < terms.min_pps <= terms.max_pps:
            raise PolicyError(
                "A settlement needs 0 < min_pps <= max_pps", seen=f"{terms.min_pps} and {terms.max_pps}"
            )
        # Both bounds are the tolerance away from one prediction, which min_pps + 1 bounds from above.
        tolerance = self.limits.pps_tolerance_bps
        widest = mul_div_up(terms.min_pps + 1, BPS + tolerance, BPS - tolerance) + 1
        _at_most("terms.max_pps", widest, terms.max_pps)


def _one_cap_each(named: set[str], capped: set[str]) -> None:
    if missing := sorted(named - capped):
        raise ValueError(f"no cap for {', '.join(missing)}")
    if unused := sorted(capped - named):
        raise ValueError(f"a cap that no position counts under: {', '.join(unused)}")


def _text_keys(value: Any) -> Any:
    """The same with text for keys, as the canonical encoding wants them."""
    if isinstance(value, dict):
        return {str(key): _text_keys(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_text_keys(item) for item in value]
    return value


def _equal(where: str, expected: object, seen: object) -> None:
    if expected != seen:
        raise PolicyError("The policy does not allow this", expected=expected, seen=seen, where=where)


def _at_most(where: str, limit: int, seen: int) -> None:
    if seen > limit:
        raise PolicyError(
            "Above the policy's limit", expected=f"at most {limit:,}", seen=f"{seen:,}", where=where
        )


def load(path: Path) -> Policy:
    """Reads a policy file. Raises ConfigError naming the key that does not fit."""
    return load_toml(path, Policy)
