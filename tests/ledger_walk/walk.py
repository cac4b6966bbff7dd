"""A random walk: which acts follow each other is drawn from a seed alone, so that it can be walked again."""

from __future__ import annotations

from keeper.ledger.token import ZERO
from keeper.simulation.devnet import Devnet
from keeper.simulation.market import Draws, MarketAgent
from keeper.simulation.vault import PARAMS
from keeper.units import WAD
from ledger_walk.governors import Around, Governors
from ledger_walk.keepers import Keepers
from ledger_walk.people import People
from ledger_walk.stage import Stage
from ledger_walk.stories import Stories

_LIMITS = (600, ZERO, 10 * 10**6, 50_000_000 * 10**6, 10**12, 2 * 86_400)
FEES: dict[str, tuple[int | str, ...]] = {
    "as shipped": PARAMS,
    # High fees that do not divide, the last two at their bounds; prices move freely.
    "dear": (WAD * 14 // 1_000 + 7, WAD * 3 // 10, WAD // 100, 10**12, WAD, WAD // 10, *_LIMITS),
    # Redemptions grow by 10.1 % a year at most, the deposit price never falls.
    "tight": (0, WAD * 2 // 10 + 7, 3_333_333_333_333_333, 3_200_000_000, 0, WAD // 20, *_LIMITS),
}
"""`IVault.Params` but for the fee recipient, by name."""


def walk(devnet: Devnet, params: tuple[int | str, ...], seed: int, steps: int) -> Stage:
    """At least so many steps on a new vault, each compared. Raises AssertionError naming the seed, the step
    and the number that differs."""
    stage, draws = Stage(devnet, params, seed), Draws(seed)
    people, keepers = People(stage, draws), Keepers(stage, draws)
    governors = Governors(stage, draws)
    governors.list_stated()
    people.begin()
    keepers.begin()
    set_up = stage.steps
    around = Around(stage, draws, MarketAgent(devnet, seed))
    stories = Stories(stage, draws, people, keepers, governors)
    acts = [act for each in (people, keepers, governors, around, stories) for act in each.acts()]
    lots = [act for weight, act in acts for _ in range(weight)]
    while stage.steps < set_up + steps:
        draws.pick(lots)()
    if draws.coin():
        governors.terminate()
        for _ in range(5):
            keepers.settle()
            people.claim_assets()
    return stage
