"""What positions own, debts not taken off, under the risk ids that the registry caps."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from eth_hash.auto import keccak

from keeper.connectors.base import Position, Report
from keeper.oracle.quote import Status
from keeper.units import Address

_RAW: Final = re.compile(r"0x[0-9a-f]{64}")


def risk_id(name: str) -> bytes:
    """A risk id as the registry knows it: keccak256 of its name, or the 32 bytes that a name in hex gives."""
    return bytes.fromhex(name[2:]) if _RAW.fullmatch(name) else keccak(name.encode())


def gross(report: Report) -> int:
    """What a position owns: its value at the high end, and the debt that was taken off it."""
    return report.high + report.debt


@dataclass(frozen=True)
class Exposure:
    """One risk id at one block. Amounts in the vault's asset.

    `counted` is what the portfolio counts: each of `venues` as last marked. `live` is what they report now,
    `later` what they will when a plan expires: interest until then uses up the cap as well. `allowed` is the
    policy's cap, `granted` the registry's: a plan keeps to the lesser of both.
    """

    name: str
    venues: tuple[str, ...]
    counted: int
    live: int
    later: int
    allowed: int
    granted: int

    @property
    def cap(self) -> int:
        return min(self.allowed, self.granted)


def room(
    exposures: Sequence[Exposure], reports: Mapping[str, Report], later: Mapping[str, Report]
) -> dict[str, int]:
    """The most that each venue may hold now at the low end, were the others under its risk ids empty, so that
    it is within every cap of its own when a plan expires."""
    caps: dict[str, int] = {}
    for exposure in exposures:
        for venue in exposure.venues:
            most = max(0, exposure.cap - (gross(later[venue]) - reports[venue].low))
            caps[venue] = min(most, caps.get(venue, most))
    return caps


def doubtful(positions: Sequence[Position], isolated: Collection[Address], at: int) -> frozenset[str]:
    """Venues that a batch reads together with a position in doubt (`PostConditions._checkImpaired`): it is
    one itself, or its connector is not in `isolated` and has one. Nothing may be pushed there, and what
    leaves has to leave alone."""
    impaired = {each.ref for each in positions if each.report(at).status is not Status.OK}
    shared = {ref.address for ref in impaired} - set(isolated)
    return frozenset(
        each.ref.venue for each in positions if each.ref in impaired or each.ref.address in shared
    )
