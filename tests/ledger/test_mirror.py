"""The whole ledger's mirror beside the deployed contracts, in random walks."""

import pytest
from ledger_walk.walk import FEES, walk

from keeper.contracts import artifact
from keeper.contracts.abi import type_of
from keeper.contracts.handle import functions
from keeper.ledger import calls
from keeper.simulation.devnet import Devnet

STEPS = 200
TABLES = {
    "Vault": calls.VAULT,
    "Portfolio": calls.PORTFOLIO,
    "Registry": calls.REGISTRY,
    "Escrow": calls.ESCROW,
}
# It opens the section of the vault that calls it: the ledger begins there.
BEFORE_THE_LEDGER = {"register(address,address,address,address)"}


@pytest.mark.parametrize(("fees", "seed"), [("as shipped", 4), ("dear", 1), ("tight", 2), ("dear", 3)])
def test_mirror_and_contracts_are_equal_in_every_public_number_after_every_step(
    fresh_devnet: Devnet, fees: str, seed: int
) -> None:
    stage = walk(fresh_devnet, FEES[fees], seed, STEPS)
    seen = stage.seen
    assert stage.steps >= STEPS
    assert min(seen["settle"], seen["execute"], seen["requestDeposit"]) >= 3, seen
    assert len(stage.refusals) >= 10, stage.refusals


@pytest.mark.parametrize("name", TABLES)
def test_every_function_that_changes_something_is_mirrored(name: str) -> None:
    changing = {
        f"{entry['name']}({','.join(map(type_of, entry['inputs']))})"
        for entry in artifact(name).abi
        if entry["type"] == "function" and entry["stateMutability"] not in ("view", "pure")
    }
    mirrored = {function.signature for function, _ in TABLES[name].values()}
    assert changing == {each.signature for each in functions(name)} & changing
    assert mirrored == changing - BEFORE_THE_LEDGER
