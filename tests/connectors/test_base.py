"""Finding connectors, and what is said about params that do not fit."""

import asyncio
import sys

import pytest

from keeper.connectors.base import PositionRef, key_of, load, names
from keeper.connectors.morpho_math import (
    INITIAL_RATE_AT_TARGET,
    LN_2,
    MAX_RATE_AT_TARGET,
    MIN_RATE_AT_TARGET,
    WEXP_UPPER_VALUE,
    adaptive_borrow_rate,
    wad_exp,
)
from keeper.contracts import address
from keeper.errors import ConfigError
from keeper.units import WAD

ONE = address("0x" + "11" * 20)


@pytest.mark.parametrize("name", ["aave_v3", "morpho_blue", "metamorpho", "erc4626"])
def test_a_connector_is_found_by_its_entry_point(name: str) -> None:
    assert name in names()
    assert load(name).name == name


def test_an_unknown_connector_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="Did you mean aave_v3"):
        load("aave_v2")


async def test_listing_connectors_imports_none() -> None:
    program = (
        "import sys\n"
        "from keeper.connectors.base import names\n"
        "assert names()\n"
        "print([m for m in sys.modules if m.startswith('keeper.connectors.')])\n"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE
    )
    printed, _ = await process.communicate()
    assert printed.decode().strip() == "['keeper.connectors.base']"


def test_params_that_do_not_fit_name_the_field() -> None:
    ref = PositionRef("aave_v3", ONE, key_of(ONE), "aave:USDC", {"pool": "0x12"})
    with pytest.raises(ConfigError, match="pool: "):
        load("aave_v3").calls(ref)


@pytest.mark.parametrize(
    ("x", "expected"),
    [
        (0, WAD),
        (-42 * WAD, 0),
        (94 * WAD, WEXP_UPPER_VALUE),
        (LN_2, 2 * WAD),
        (-LN_2, WAD // 2),
        # 1 + r + r^2/2 with no power of two: exactly computable by hand.
        (WAD // 10, 1_105_000_000_000_000_000),
        (-WAD // 10, 905_000_000_000_000_000),
    ],
)
def test_exponential_at_points_known_by_hand(x: int, expected: int) -> None:
    assert wad_exp(x) == expected


def test_the_rate_curve_passes_through_its_three_corners() -> None:
    rate = INITIAL_RATE_AT_TARGET
    assert adaptive_borrow_rate(100, 0, rate, 0) == (rate // 4, rate)
    assert adaptive_borrow_rate(100, 90, rate, 0) == (rate, rate)
    assert adaptive_borrow_rate(100, 100, rate, 0) == (4 * rate, rate)
    assert adaptive_borrow_rate(100, 90, 0, 10**6) == (rate, rate)


def test_the_rate_at_target_stays_within_its_bounds() -> None:
    decade = 10 * 365 * 86_400
    assert adaptive_borrow_rate(100, 100, INITIAL_RATE_AT_TARGET, decade)[1] == MAX_RATE_AT_TARGET
    assert adaptive_borrow_rate(100, 0, INITIAL_RATE_AT_TARGET, decade)[1] == MIN_RATE_AT_TARGET
