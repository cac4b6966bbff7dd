"""The life of a signed transaction, as a table of what may follow what.

A state is written before the act it announces: BROADCAST means that the bytes may be out, SIGNED that they
are not. FINAL, CANCELLED and DROPPED are entered only once the nonce is spent as deep as finality asks for,
so nothing ever comes back from them.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from keeper.errors import KeeperError


class State(StrEnum):
    """Where one transaction is."""

    DRAFTED = "drafted"
    """It has a nonce, and no bytes yet."""
    SIGNED = "signed"
    BROADCAST = "broadcast"
    REPLACED = "replaced"
    """Another transaction of ours stands for its nonce; it may still be the one that is mined."""
    MINED = "mined"
    REVERTED = "reverted"
    """Mined, without effect."""
    REORGED = "reorged"
    """It was mined, and is not any more: the same bytes are offered again."""
    FINAL = "final"
    CANCELLED = "cancelled"
    """An empty transfer has spent its nonce."""
    DROPPED = "dropped"
    """Another transaction has spent its nonce."""


ALLOWED: Final[Mapping[State | None, frozenset[State]]] = {
    None: frozenset({State.DRAFTED}),
    State.DRAFTED: frozenset({State.SIGNED, State.REPLACED}),
    State.SIGNED: frozenset({State.BROADCAST, State.REPLACED}),
    State.BROADCAST: frozenset({State.MINED, State.REVERTED, State.REPLACED, State.DROPPED}),
    State.REPLACED: frozenset({State.MINED, State.REVERTED, State.CANCELLED, State.DROPPED}),
    State.MINED: frozenset({State.FINAL, State.REORGED}),
    State.REVERTED: frozenset({State.FINAL, State.REORGED}),
    State.REORGED: frozenset({State.BROADCAST}),
}
"""What may follow each state; None is before the first. A state that is no key is the end."""

EXECUTED: Final = "executed"
EXPIRED: Final = "expired"
REFUSED: Final = "refused"
DIVERGED: Final = "diverged"
OVERTAKEN: Final = "overtaken"
"""How plans end."""

ENDED: Final = frozenset(State) - {state for state in ALLOWED if state is not None}
INCLUDED: Final = frozenset({State.MINED, State.REVERTED})


def check(before: State | None, after: State) -> None:
    """Raises KeeperError, a defect of ours, for a transition that the table lacks."""
    if after not in ALLOWED.get(before, frozenset()):
        raise KeeperError(
            "The journal knows no such transition",
            expected=" or ".join(sorted(ALLOWED.get(before, frozenset()))) or "none",
            seen=f"{before} to {after}",
        )
