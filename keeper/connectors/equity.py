"""Assets less debts, packed as the connectors' contracts report them (`Connector._net`, `ReportLib`)."""

from collections.abc import Iterable
from typing import Final

from keeper.connectors.base import Report
from keeper.oracle.quote import Quote, Status
from keeper.units import MAX_UINT256

MAX_DEBT: Final = 2**112 - 1
MAX_HEALTH: Final = 2**128 - 1


def net(assets: Iterable[Quote], debts: Iterable[Quote], health: int) -> Report:
    """What is owned less what is owed, floored at nothing, under the worst status of its prices.

    `health` in wad counts only with debt. Sums, debt and health saturate where their words on chain do.
    """
    status, owned_low, owned_high, owed_low, owed_high = Status.OK, 0, 0, 0, 0
    for quote in assets:
        owned_low, owned_high = owned_low + quote.low, owned_high + quote.high
        status = max(status, quote.status)
    for quote in debts:
        owed_low, owed_high = owed_low + quote.low, owed_high + quote.high
        status = max(status, quote.status)
    owned_low, owned_high = min(owned_low, MAX_UINT256), min(owned_high, MAX_UINT256)
    owed_low, owed_high = min(owed_low, MAX_UINT256), min(owed_high, MAX_UINT256)
    # Without a price the low end is nothing, which would make a debt look like none.
    debt = owed_high if status is Status.UNAVAILABLE else owed_low
    return Report(
        max(0, owned_low - owed_high),
        max(0, owned_high - owed_low),
        status,
        min(debt, MAX_DEBT),
        min(health, MAX_HEALTH) if debt else 0,
    )
