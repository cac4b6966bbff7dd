"""Integers with their unit in the type, and the roundings of the contracts.

Arguments of pure functions are never negative where the contracts use unsigned words.
"""

from dataclasses import dataclass
from typing import Final, NewType

from keeper.errors import ValuationError

Assets = NewType("Assets", int)
"""Smallest units of the vault's accounting asset."""
Shares = NewType("Shares", int)
"""Smallest units of vault or protocol shares."""
Wad = NewType("Wad", int)
"""Fixed point with 18 decimals."""
Ray = NewType("Ray", int)
"""Fixed point with 27 decimals."""
Bps = NewType("Bps", int)
"""Hundredths of a percent."""
ChainId = NewType("ChainId", int)
Timestamp = NewType("Timestamp", int)
"""Seconds since the epoch, as in block headers."""
BlockNumber = NewType("BlockNumber", int)
Address = NewType("Address", str)
"""EIP-55 checksummed."""

WAD: Final = 10**18
RAY: Final = 10**27
BPS: Final = 10_000
YEAR: Final = 365 * 86_400
MAX_UINT256: Final = 2**256 - 1


def mul_div_down(a: int, b: int, d: int) -> int:
    """floor(a * b / d) without overflow.

    Raises ValuationError when d is zero or an argument is negative.
    """
    if a < 0 or b < 0 or d <= 0:
        raise ValuationError("mul_div needs a, b >= 0 and d > 0", seen=f"a={a}, b={b}, d={d}")
    return a * b // d


def mul_div_up(a: int, b: int, d: int) -> int:
    """ceil(a * b / d) without overflow.

    Raises ValuationError when d is zero or an argument is negative.
    """
    if a < 0 or b < 0 or d <= 0:
        raise ValuationError("mul_div needs a, b >= 0 and d > 0", seen=f"a={a}, b={b}, d={d}")
    return -(-a * b // d)


@dataclass(frozen=True, slots=True)
class Value:
    """What something is worth, as a range: redemptions use `low`, deposits `high`.

    Raises ValuationError unless 0 <= low <= high.
    """

    low: int
    high: int

    def __post_init__(self) -> None:
        if not 0 <= self.low <= self.high:
            raise ValuationError("A value needs 0 <= low <= high", seen=f"low={self.low}, high={self.high}")

    def __add__(self, other: "Value") -> "Value":
        return Value(self.low + other.low, self.high + other.high)
