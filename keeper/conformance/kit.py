"""What a connector's author tells the conformance suite: where it lives, and how its world moves.

A kit says nothing about values. What a position is worth, what an exit pays and what an action costs, the
suite reads from the chain.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Final

from keeper import plugins
from keeper.connectors.base import PositionRef
from keeper.contracts import Artifact
from keeper.oracle.quote import Prices
from keeper.units import Address

if TYPE_CHECKING:
    from keeper.conformance.world import World

ENTRY_POINTS: Final = "keeper.kits"


@dataclass(frozen=True)
class Venue:
    """A deployed connector and its one position that is tested.

    `artifact` is the on-chain connector's. `rests_on` are the contracts of the protocol that its report
    reads: the suite breaks one after the other. `address` is the connector's own.
    """

    ref: PositionRef
    artifact: Artifact
    rests_on: tuple[Address, ...]

    @property
    def address(self) -> Address:
        return self.ref.address


@dataclass(frozen=True)
class Move:
    """One call of a batch: a function of the connector by name or signature, its arguments, and the amount of
    `token` (the vault's asset unless another is named) that the vault pushes to the connector before it."""

    function: str
    args: tuple[object, ...]
    amount: int = 0
    token: Address | None = None


@dataclass(frozen=True)
class Action:
    """Something the connector offers besides `supply` and `withdraw`.

    `moves` builds the batch's calls from the state it finds. `prepare` is what others do before it. An
    action leaves NAV as it is, but for `rounding` units (the kit's own where it is None); one that `gains`,
    such as a claim of what nobody counted yet or lies loose on the connector, may raise it.
    """

    name: str
    moves: Callable[[World], Sequence[Move]]
    prepare: Callable[[World], None] = field(default=lambda world: None)
    rounding: int | None = None
    gains: bool = False


@dataclass(frozen=True)
class Debts:
    """How a connector borrows. `floor` is the health, in wad, that its actions must leave.

    `secure` makes a position that may borrow; the builders take amounts in the smallest unit, `release` of
    what secures the debt. `weaken` moves the market until health is below the floor, but not below 1.
    """

    floor: int
    secure: Callable[[World], None]
    borrow: Callable[[World, int], Sequence[Move]]
    repay: Callable[[World, int], Sequence[Move]]
    release: Callable[[World, int], Sequence[Move]]
    weaken: Callable[[World], None]


class Kit(ABC):
    """Base of every kit. It has no state: what happens, happens on the chain of the World it is given."""

    decimals: ClassVar[tuple[int, ...]] = (6, 8, 18, 27)
    """Decimals of the vault's asset that the protocol can be tried with, the ordinary ones first."""

    rounding: ClassVar[int] = 2
    """Units of the asset that one supply or withdrawal may lose to rounding."""

    open_functions: ClassVar[frozenset[str]] = frozenset()
    """State-changing functions of the connector that anybody may call, by name: callbacks of the protocol,
    and what can do no harm."""

    untried: ClassVar[Mapping[str, str]] = {}
    """State-changing functions that no action tries, and why not."""

    holds: ClassVar[bool] = False
    """Whether some of the position lies on the connector itself, so that its own balance may change."""

    debts: ClassVar[Debts | None] = None
    """How it borrows. None: it cannot."""

    def asset(self, world: World, decimals: int) -> Address:
        """The vault's asset: a new token, unless the protocol takes only those it lists.

        Its issuer is the account `deployer`, who mints by `mint(address,uint256)`.
        """
        return world.new_token(f"D{decimals}", decimals)

    @abstractmethod
    def deploy(self, world: World) -> Venue:
        """Deploys or finds the protocol's market of `world.asset`, with funds of others in it, and the
        connector for `world.core.portfolio`."""

    @abstractmethod
    def disturb(self, world: World) -> None:
        """One random move of somebody else: deposits, loans, yield, loss, a change of parameters."""

    def drain(self, world: World) -> bool:
        """Others take liquidity until our position can be paid in part only; false where no one ever can."""
        return False

    def restore(self, world: World) -> None:
        """Liquidity for all of our position comes back."""
        return None

    def employ(self, world: World, assets: int) -> Sequence[Move]:
        """What puts assets to work that have just been supplied, where `supply` alone does not."""
        return ()

    def actions(self, world: World) -> Sequence[Action]:
        """What the connector offers besides `supply` and `withdraw`, in an order that makes sense."""
        return ()

    def prices(self, world: World) -> Prices:
        """Prices of the tokens that the mirror names: those of the vault's router, which `deploy` may set."""
        return world.prices()


def names() -> tuple[str, ...]:
    """Connectors that can be tested, by entry point name; imports none of them."""
    return plugins.names(ENTRY_POINTS)


def load(name: str) -> Kit:
    """Imports the kit of the connector called `name`.

    Raises ConfigError, naming the nearest one, if there is none.
    """
    kit: Kit = plugins.load(ENTRY_POINTS, name, "There is no kit to test this connector with")()
    return kit
