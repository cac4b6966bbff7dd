"""Stories in which every transition of the journal's table takes place, each told once from its beginning.

A story may be cut off anywhere: the keeper then goes on from what the journal has, and so does the chain.
"""

from collections.abc import Awaitable, Callable

from counting import FINALITY, GWEI, Counting

from keeper.chain.transaction import sign
from keeper.execution.fees import Fees
from keeper.execution.journal.states import State
from keeper.execution.sending import Order

DEAR = 500 * GWEI
Story = Callable[[Counting, Order], Awaitable[None]]
Step = tuple[State | None, State]


async def ends(world: Counting) -> None:
    await world.mine(FINALITY + 1)
    await world.advance()


async def plain(world: Counting, order: Order) -> None:
    await world.advance(order)
    await world.mine()
    await world.advance()
    await ends(world)


async def reverts(world: Counting, order: Order) -> None:
    await world.advance(order)
    await world.reverting()
    await world.mine()
    await world.advance()
    await world.reorganise(1)
    await world.advance()
    await world.mine()
    await world.advance()
    await world.reverting(False)
    await ends(world)


async def reorganised(world: Counting, order: Order) -> None:
    await world.advance(order)
    await world.mine()
    await world.advance()
    await world.reorganise(1)
    await world.advance()
    await world.mine()
    await ends(world)


async def replaced(world: Counting, order: Order) -> None:
    """The second offer is on its way, and the first is mined."""
    await offered_twice(world, order)
    await first_is_mined(world, order)
    await ends(world)


async def replaced_reverts(world: Counting, order: Order) -> None:
    await offered_twice(world, order)
    await world.reverting()
    await first_is_mined(world, order)
    await world.reverting(False)
    await ends(world)


async def offered_twice(world: Counting, order: Order) -> None:
    await world.advance(order)
    await world.mine(2, price=DEAR)
    await world.advance()
    await world.advance()


async def first_is_mined(world: Counting, order: Order) -> None:
    rows = world.rows(order)
    for row in rows:
        await world.drop(row)
    await world.mine()
    await world.offer(rows[0])
    await world.mine()
    await world.advance()


async def expires(world: Counting, order: Order) -> None:
    await world.advance(order)
    await world.late(1_000)
    await world.mine(price=DEAR)
    await world.advance()
    await world.advance()
    await world.mine(price=DEAR)
    await world.advance()
    await ends(world)


async def expires_as_a_draft(world: Counting, order: Order) -> None:
    world.journal.draft(world.intent(order), nonce=await world.nonce(), fee=Fees(2 * GWEI, GWEI), since=0)
    await world.late(1_000)
    await world.mine()
    await world.advance()
    await world.advance()
    await world.mine()
    await ends(world)


async def expires_unsent(world: Counting, order: Order) -> None:
    world.journal.draft(world.intent(order), nonce=await world.nonce(), fee=Fees(2 * GWEI, GWEI), since=0)
    (row,) = world.rows(order)
    call = order.call
    signed = sign(
        world.sender.account,
        chain_id=row.chain_id,
        nonce=row.nonce,
        to=call.target,
        data=call.data,
        gas=order.gas,
        max_fee=row.max_fee,
        tip=row.tip,
    )
    world.journal.sign(row, signed)
    await world.late(1_000)
    await world.mine()
    await world.advance()
    await world.advance()
    await world.mine()
    await ends(world)


async def strange(world: Counting, order: Order) -> None:
    """Another program spends the nonce."""
    await world.advance(order)
    for row in world.rows(order):
        await world.drop(row)
    await world.chain.send_raw(world.foreign(0).raw)
    await world.mine()
    await ends(world)
    await ends(world)


EXPIRING = (expires, expires_as_a_draft, expires_unsent)
"""In these nothing may have been counted; in all others it must have been, once."""

WHERE: dict[Step, Story] = {
    (None, State.DRAFTED): plain,
    (State.DRAFTED, State.SIGNED): plain,
    (State.DRAFTED, State.REPLACED): expires_as_a_draft,
    (State.SIGNED, State.BROADCAST): plain,
    (State.SIGNED, State.REPLACED): expires_unsent,
    (State.BROADCAST, State.MINED): plain,
    (State.BROADCAST, State.REVERTED): reverts,
    (State.BROADCAST, State.REPLACED): replaced,
    (State.BROADCAST, State.DROPPED): strange,
    (State.REPLACED, State.MINED): replaced,
    (State.REPLACED, State.REVERTED): replaced_reverts,
    (State.REPLACED, State.CANCELLED): expires,
    (State.REPLACED, State.DROPPED): replaced,
    (State.MINED, State.FINAL): plain,
    (State.MINED, State.REORGED): reorganised,
    (State.REVERTED, State.FINAL): reverts,
    (State.REVERTED, State.REORGED): reverts,
    (State.REORGED, State.BROADCAST): reorganised,
}
"""A story for each step that the table allows."""
STORIES: dict[str, Story] = {story.__name__: story for story in WHERE.values()}
