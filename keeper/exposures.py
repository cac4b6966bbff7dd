"""What positions own, debts not taken off, under the risk ids that the registry caps."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from eth_hash.auto import keccak

from keeper.connectors.base import Report

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

    `counted` is what the portfolio counts: each of `venues` as last marked. `live` is what they report now.
    `allowed` is the policy's cap, `granted` the registry's: a plan keeps to the lesser of both.
    """

    name: str
    venues: tuple[str, ...]
    counted: int
    live: int
    allowed: int
    granted: int

    @property
    def cap(self) -> int:
        return min(self.allowed, self.granted)


def room(exposures: Sequence[Exposure], reports: Mapping[str, Report]) -> dict[str, int]:
    """The most that each venue may hold at the low end, were the others under its risk ids empty."""
    caps: dict[str, int] = {}
    for exposure in exposures:
        for venue in exposure.venues:
            report = reports[venue]
            most = max(0, exposure.cap - (gross(report) - report.low))
            caps[venue] = min(most, caps.get(venue, most))
    return caps
