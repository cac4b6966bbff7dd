"""Runs every check on one connector, each from the same state of the same chain."""

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from keeper.conformance import exits, limits, value
from keeper.conformance.kit import Kit, load
from keeper.conformance.score import Score
from keeper.conformance.world import World
from keeper.errors import CheckFailedError, ConfigError, EndpointError, KeeperError, RevertError, RpcError
from keeper.simulation.devnet import Devnet

SET_UP: Final = "set-up"
"""The only score of a connector that cannot be deployed, or that the vault cannot read."""

Check = Callable[[World], str]

CHECKS: Final[dict[str, Check]] = {
    "valuation": value.valuation,
    "prediction": value.prediction,
    "neutrality": exits.neutrality,
    "round trip": exits.round_trip,
    "full exit": exits.full_exit,
    "emergency exit": exits.emergency_exit,
    "impairment": limits.impairment,
    "solvency": exits.solvency,
    "decimals": value.decimals,
    "gas": limits.gas,
    "permissions": limits.permissions,
}
"""By name, in the order of the table. Each returns its figure; a KeeperError is a miss and its reason."""


def conform(name: str, devnet: Devnet, *, only: Sequence[str] = (), seed: str = "") -> Iterator[Score]:
    """Tests the installed connector called `name`; see `examine`. Raises ConfigError when it has no kit."""
    yield from examine(load(name), devnet, only=only, seed=seed or name)


def examine(kit: Kit, devnet: Devnet, *, only: Sequence[str] = (), seed: str = "") -> Iterator[Score]:
    """The score of each check, as it is known; `only` names those to make, all where it is empty.

    The chain is afterwards as it was. Raises ConfigError for a check that does not exist.
    """
    unknown = sorted(set(only) - set(CHECKS))
    if unknown:
        raise ConfigError("There is no such check", expected=", ".join(CHECKS), seen=", ".join(unknown))
    with devnet.undone():
        try:
            world = World(devnet, kit, kit.decimals[0], seed)
        except (CheckFailedError, RevertError) as error:
            yield Score(SET_UP, False, reason=str(error))
            return
        for name, check in CHECKS.items():
            if not only or name in only:
                with devnet.undone():
                    yield _score(name, check, world)


def _score(name: str, check: Check, world: World) -> Score:
    if check is exits.solvency and not exits.can_borrow(world):
        return Score(name, True, "it cannot borrow", applies=False)
    try:
        return Score(name, True, check(world))
    except EndpointError as error:
        if isinstance(error, RpcError):
            return Score(name, False, reason=str(error))
        raise
    except KeeperError as error:
        return Score(name, False, reason=str(error))
