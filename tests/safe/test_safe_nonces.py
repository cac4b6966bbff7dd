"""Which nonce a Safe transaction may have, by the chain and by a service's queue."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from safe_world import MULTI, PORTFOLIO, SAFE, envelope

from keeper.errors import RefusedError
from keeper.safe.envelope import Envelope
from keeper.safe.nonces import Queued, check_nonce, check_slots, next_nonce, pending
from keeper.safe.transaction import SafeTransaction


def queued(made: Envelope) -> Queued:
    return Queued(made.nonce, made.hash, made.transaction)


@given(st.integers(0, 20), st.sets(st.integers(0, 25)))
def test_complaint_13_the_next_nonce_is_never_below_the_chains_never_taken_and_leaves_no_gap(
    chain: int, taken: set[int]
) -> None:
    queue = [Queued(nonce, b"", None) for nonce in taken]
    nonce = next_nonce(chain, queue)
    assert nonce >= chain
    assert nonce not in taken
    assert set(range(chain, nonce)) <= taken


def test_a_service_that_missed_an_execution_lowers_no_nonce() -> None:
    behind = [queued(envelope(1, nonce=30))]
    assert next_nonce(31, behind) == 31
    assert pending(behind, 31) == ()
    with pytest.raises(RefusedError, match="spent this nonce"):
        check_nonce(envelope(1, nonce=30).transaction, 31, behind)


def test_complaint_13_another_transaction_under_the_same_nonce_is_refused_unless_it_is_replaced() -> None:
    queue = [queued(envelope(1))]
    check_nonce(envelope(1).transaction, 4, queue)
    with pytest.raises(RefusedError, match="Another transaction is queued"):
        check_nonce(envelope(2).transaction, 4, queue)
    check_nonce(envelope(2).transaction, 4, queue, replace=True)


def test_a_gap_is_refused_and_an_unbroken_queue_is_none() -> None:
    late = envelope(3, nonce=6).transaction
    queue = [queued(envelope(1, nonce=4)), queued(envelope(2, nonce=5))]
    check_nonce(late, 4, queue)
    with pytest.raises(RefusedError, match="leaves a gap"):
        check_nonce(late, 4, queue[1:])
    with pytest.raises(RefusedError, match="leaves a gap"):
        check_nonce(late, 4, queue[1:], replace=True)


@pytest.mark.parametrize("epochs", [(1,), (9, 1)])
def test_a_slot_that_is_queued_under_another_nonce_is_refused(epochs: tuple[int, ...]) -> None:
    queue = [queued(envelope(*epochs, nonce=4))]
    free, taken = envelope(2, nonce=5), envelope(1, nonce=5)
    check_slots(free.transaction, free.plans, PORTFOLIO, MULTI, queue)
    with pytest.raises(RefusedError, match="same slot is queued"):
        check_slots(taken.transaction, taken.plans, PORTFOLIO, MULTI, queue)


def test_what_others_queue_is_no_slot_of_ours() -> None:
    made = envelope(1, nonce=5)
    foreign = SafeTransaction(31337, SAFE, made.plans[0].vault, made.transaction.data[:40], 4)
    queue = [Queued(4, foreign.hash, foreign), Queued(3, b"", None)]
    check_slots(made.transaction, made.plans, PORTFOLIO, MULTI, queue)
