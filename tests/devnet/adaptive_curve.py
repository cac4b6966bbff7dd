"""The adaptive curve in Python integers, written from the formula and not from the contract.

A number with 18 decimals throughout; `_div` truncates toward zero as the EVM does.
"""

from fractions import Fraction

ONE = 10**18
YEAR = 365 * 86_400
INITIAL = 4 * 10**16 // YEAR
FLOOR = 10**15 // YEAR
CEILING = 2 * 10**18 // YEAR
SPEED = 50 * 10**18 // YEAR
TARGET = 9 * 10**17
STEEPNESS = 4
LN2 = 693147180559945309


def _div(a: int, b: int) -> int:
    quotient = abs(a) // abs(b)
    return quotient if (a < 0) == (b < 0) else -quotient


def exponential(x: int) -> int:
    """e**x as 2**q times a second-order polynomial of the rest."""
    half = LN2 // 2
    q = _div(x + half if x >= 0 else x - half, LN2)
    rest = x - q * LN2
    near_one = ONE + rest + _div(_div(rest * rest, ONE), 2)
    return near_one << q if q >= 0 else near_one >> -q


def distance(supplied: int, borrowed: int) -> int:
    """Utilisation's distance from the target, -1 at nothing borrowed and 1 at everything."""
    utilisation = borrowed * ONE // supplied if supplied else 0
    room = ONE - TARGET if utilisation > TARGET else TARGET
    return _div((utilisation - TARGET) * ONE, room)


def curve(rate_at_target: int, far: int) -> int:
    """From a quarter of the rate at target, through it, to four times it."""
    slope = ONE - ONE // STEEPNESS if far < 0 else (STEEPNESS - 1) * ONE
    return _div((_div(slope * far, ONE) + ONE) * rate_at_target, ONE)


def moved(rate_at_target: int, growth: int) -> int:
    return min(max(_div(rate_at_target * exponential(growth), ONE), FLOOR), CEILING)


def borrow_rate(rate_at_target: int, supplied: int, borrowed: int, seconds: int) -> int:
    """Average rate per second over the time since the last interaction."""
    far = distance(supplied, borrowed)
    if rate_at_target == 0:
        return curve(INITIAL, far)
    growth = _div(SPEED * far, ONE) * seconds
    if growth == 0:
        return curve(rate_at_target, far)
    end, middle = moved(rate_at_target, growth), moved(rate_at_target, _div(growth, 2))
    return curve(_div(rate_at_target + end + 2 * middle, 4), far)


def exact_exponential(x: int) -> Fraction:
    """e**x by its series in exact fractions, to judge the approximation."""
    value, term, total = Fraction(x, ONE), Fraction(1), Fraction(1)
    for count in range(1, 60):
        term = term * value / count
        total += term
    return total
