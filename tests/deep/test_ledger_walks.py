"""The ledger's walks, as many steps as asked for and a seed of the day."""

import os
import zlib

import pytest
from ledger_walk.walk import FEES, walk

from keeper.simulation.devnet import Devnet

pytestmark = [pytest.mark.deep, pytest.mark.timeout(0)]

STEPS_OF_ONE_WALK = 400


@pytest.mark.parametrize("fees", FEES)
def test_mirror_and_contracts_stay_equal(seed: str, fees: str) -> None:
    first = zlib.crc32(f"{seed}/{fees}".encode()) << 32
    for number in range(-(-int(os.environ.get("OMNIKEEPER_STEPS", "1000")) // STEPS_OF_ONE_WALK)):
        with Devnet() as devnet:
            walk(devnet, FEES[fees], first + number, STEPS_OF_ONE_WALK)
