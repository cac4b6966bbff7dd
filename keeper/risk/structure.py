"""What the `[risk]` table says about the policy it stands in: checked when the file is read."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

from keeper.connectors.morpho_market import MarketParams
from keeper.errors import PolicyError
from keeper.oracle.chainlink import ChainlinkPolicy
from keeper.oracle.checked import CheckedPolicy
from keeper.oracle.routes import OraclePolicy
from keeper.oracle.source import SourcePolicy
from keeper.oracle.twap import TwapPolicy
from keeper.risk.slots import Markets, RiskPolicy

_MARKET_FIELDS: Final = frozenset(MarketParams.model_fields)


def check_names(
    risk: RiskPolicy, risk_ids: Collection[str], venues: Collection[str], chains: Collection[int]
) -> None:
    """That limits are about risk ids, venues and chains of the policy. Raises PolicyError."""
    if risk.R14 is not None:
        _known("R14.max_bps", risk.R14.max_bps, risk_ids)
    if risk.R26 is not None:
        _known("R26.notice", risk.R26.notice, venues)
    if risk.R23 is not None:
        ages = sorted(risk.R23.max_block_age)
        if ages != sorted(chains):
            raise PolicyError(
                "A chain without an age limit", expected=sorted(chains), seen=ages, where="R23.max_block_age"
            )


def _known(where: str, named: Collection[str], known: Collection[str]) -> None:
    if strange := sorted(set(named) - set(known)):
        raise PolicyError(
            "The limit is about nothing in the policy",
            expected=" or ".join(sorted(known)),
            seen=", ".join(strange),
            where=where,
        )


def check_markets(allowed: Markets, positions: Mapping[str, Mapping[str, Any]]) -> None:
    """R07: that every market which a position reaches is on the list, by id; `positions` has their parameters
    by venue. Raises PolicyError."""
    for venue, params in sorted(positions.items()):
        for market in markets(params):
            if market.id not in allowed.ids:
                raise PolicyError(
                    "R07: the position reaches a market that is not on the list",
                    expected=" or ".join(f"0x{each.hex()}" for each in allowed.ids) or "no market at all",
                    seen=f"0x{market.id.hex()}",
                    where=venue,
                )


def markets(params: Any) -> Iterator[MarketParams]:
    """Every lending market by id that a position's parameters name, at any depth."""
    if isinstance(params, Mapping):
        if set(params) == _MARKET_FIELDS:
            yield MarketParams(**params)
        else:
            for value in params.values():
                yield from markets(value)
    elif isinstance(params, list | tuple):
        for value in params:
            yield from markets(value)


def check_sources(risk: RiskPolicy, oracle: OraclePolicy) -> None:
    """R08 and R09 as far as the oracle section decides them. Raises PolicyError.

    A feed that may stand still for ever unnoticed is no source, a mean price alone is none either, and no
    tolerance may be wider than the limit.
    """
    for name, source in sorted(oracle.sources.items()):
        if risk.R08 is not None and isinstance(source, ChainlinkPolicy) and not source.constant_after:
            raise PolicyError(
                "R08: nobody would notice that this feed is a constant",
                expected="constant_after above 0",
                seen=0,
                where=f"oracle.sources.{name}",
            )
        if risk.R09 is not None:
            _check_tolerance(name, source, risk.R09.max_tolerance_bps)
    if risk.R09 is None:
        return
    for route in oracle.routes:
        for hop in route.hops:
            if isinstance(oracle.sources[hop.source], TwapPolicy):
                raise PolicyError(
                    "R09: a mean price of a pool is never the only source",
                    expected="a feed that is checked against it",
                    seen=hop.source,
                    where=f"oracle.routes.{route.base}/{route.quote}",
                )


def _check_tolerance(name: str, source: SourcePolicy, widest: int) -> None:
    if isinstance(source, CheckedPolicy | ChainlinkPolicy) and source.tolerance_bps > widest:
        raise PolicyError(
            "R09: sources may differ by more than the limit",
            expected=f"at most {widest} bps",
            seen=f"{source.tolerance_bps} bps",
            where=f"oracle.sources.{name}.tolerance_bps",
        )
