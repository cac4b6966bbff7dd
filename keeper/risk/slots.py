"""The policy's `[risk]` table: one slot per requirement, R01 to R29.

A slot that nothing enforces yet is refused where it is configured, so that nobody relies on it.
"""

from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from keeper.config import CheckedAddress, OneEach, StrictModel, exact_bytes
from keeper.units import BPS

MAX_LEVERAGE_BPS: Final = 40_000
"""Gross assets over equity that no configuration may exceed: 4.0."""
DEFAULT_LEVERAGE_BPS: Final = 20_000
FULL_WEIGHT: Final = 100

REQUIREMENTS: Final[Mapping[str, str]] = {
    "R01": "leverage",
    "R02": "deleveraging plan",
    "R03": "loops",
    "R04": "net beside gross",
    "R05": "acyclic backing",
    "R06": "issuer as borrower",
    "R07": "allow-listed markets",
    "R08": "constant oracles",
    "R09": "diverging sources",
    "R10": "redemption never stops",
    "R11": "losses first",
    "R12": "exit drill",
    "R13": "exit depth",
    "R14": "concentration",
    "R15": "contagion",
    "R16": "yield above peers",
    "R17": "flat yield",
    "R18": "off-chain managers",
    "R19": "disclosure",
    "R20": "standing stress set",
    "R21": "emergency powers",
    "R22": "announcements",
    "R23": "stale inputs",
    "R24": "value in flight",
    "R25": "upstream exploits",
    "R26": "liquidity ladder",
    "R27": "incentives",
    "R28": "restricted assets",
    "R29": "regimes",
}

Share = Annotated[int, Field(strict=True, gt=0, le=BPS)]
Seconds = Annotated[int, Field(strict=True, ge=0)]
Weight = Annotated[int, Field(strict=True, ge=0)]


def _word(value: object) -> bytes:
    if (word := exact_bytes(value, 32)) is None:
        raise ValueError("expected 32 bytes as 0x and 64 hex digits")
    return word


HexWord = Annotated[bytes, BeforeValidator(_word)]


class Leverage(StrictModel):
    """R01: gross assets over equity, in bps; 20,000 is 2.0. It holds without a `[risk]` table, too."""

    max_bps: Annotated[int, Field(strict=True, ge=BPS, le=MAX_LEVERAGE_BPS)] = DEFAULT_LEVERAGE_BPS


class Claims(StrictModel):
    """R04: how far what the vault tells its holders may be above what it has, net, in bps of the latter."""

    tolerance_bps: Annotated[int, Field(strict=True, ge=0, lt=BPS)]


class Markets(StrictModel):
    """R07: the only markets, by id, that a position may reach, directly or through a vault."""

    ids: tuple[HexWord, ...]


class Constants(StrictModel):
    """R08: oracles found to be constant or hard-coded, by address. What rests on one may not grow."""

    quarantined: tuple[CheckedAddress, ...] = ()


class Divergence(StrictModel):
    """R09: widest tolerance, in bps, that a source of the oracle section may have against another."""

    max_tolerance_bps: Share


class Concentration(StrictModel):
    """R14: the most under each risk id, by name, in bps of equity."""

    max_bps: Annotated[dict[str, Share], Field(min_length=1)]


class Staleness(StrictModel):
    """R23: age in seconds, at the reference time, above which a pinned block allows no new risk; by chain."""

    max_block_age: Annotated[dict[int, Seconds], Field(min_length=1), OneEach]


class Ladder(StrictModel):
    """R26: what must come free within a day, in bps of equity, besides what the queue asks for already.

    `notice` is how many seconds a venue asks for before it pays, where that is not at once.
    """

    daily_bps: Share
    notice: dict[str, Seconds] = Field(default_factory=dict)


class Range(StrictModel):
    """Values of a regime input from `low` on, below `high`."""

    low: Annotated[int, Field(strict=True)]
    high: Annotated[int, Field(strict=True)]
    regime: str


class Regimes(StrictModel):
    """R29: a row of weights for each regime, and which values of the input mean it."""

    weights: Annotated[dict[str, dict[str, Weight]], Field(min_length=1)]
    ranges: Annotated[tuple[Range, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _sound(self) -> "Regimes":
        for regime, row in self.weights.items():
            if (total := sum(row.values())) != FULL_WEIGHT:
                raise ValueError(f"R29: the weights of {regime} sum to {total}, not to {FULL_WEIGHT}")
        for each in self.ranges:
            if each.low >= each.high:
                raise ValueError(f"R29: the range {each.low} to {each.high} is empty")
            if each.regime not in self.weights:
                raise ValueError(f"R29: no weights for {each.regime}")
        ordered = sorted(self.ranges, key=lambda each: each.low)
        for before, after in pairwise(ordered):
            if after.low < before.high:
                raise ValueError(f"R29: ranges overlap from {after.low} to {before.high}")
            if after.low > before.high:
                raise ValueError(f"R29: no range covers {before.high} to {after.low}")
        if unused := sorted(set(self.weights) - {each.regime for each in self.ranges}):
            raise ValueError(f"R29: no range means {', '.join(unused)}")
        return self


class RiskPolicy(StrictModel):
    """The slots. One that is left out is not enforced, except leverage."""

    R01: Leverage = Leverage()
    R04: Claims | None = None
    R07: Markets | None = None
    R08: Constants | None = None
    R09: Divergence | None = None
    R14: Concentration | None = None
    R23: Staleness | None = None
    R26: Ladder | None = None
    R29: Regimes | None = None

    @model_validator(mode="before")
    @classmethod
    def _enforced_only(cls, data: Any) -> Any:
        if isinstance(data, Mapping):
            for key in data:
                if key in REQUIREMENTS and key not in cls.model_fields:
                    raise PydanticCustomError(
                        "not_enforced",
                        "{key} ({name}) is not yet enforced: take it out, and do not rely on it",
                        {"key": key, "name": REQUIREMENTS[key]},
                    )
        return data
