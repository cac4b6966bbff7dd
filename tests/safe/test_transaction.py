"""Safe transactions by the published hashes, and lists of calls there and back."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keeper.contracts.abi import address
from keeper.errors import DecodeError, PlanError
from keeper.safe.transaction import (
    MULTI_SEND,
    InnerCall,
    Operation,
    SafeTransaction,
    calls_of,
    combine,
    transaction_hash,
)
from keeper.units import Address

VECTORS = json.loads((Path(__file__).parents[3] / "shared/data/vectors/safe_tx_hashes.json").read_text())
SAFE, MULTI = (Address(address("0x" + byte * 20)) for byte in ("5a", "3d"))
CALLS = st.lists(
    st.builds(
        InnerCall,
        st.binary(min_size=20, max_size=20).map(lambda raw: address("0x" + raw.hex())),
        st.binary(max_size=200),
    ),
    min_size=1,
    max_size=6,
)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: f"{vector['safe'][:8]} {vector['nonce']}")
def test_the_hash_is_the_published_one(vector: dict[str, object]) -> None:
    names = ("to", "operation", "safeTxGas", "baseGas", "gasPrice", "gasToken", "refundReceiver", "nonce")
    message = {name: vector[name] for name in names}
    message |= {"value": int(str(vector["value"])), "data": bytes.fromhex(str(vector["data"])[2:])}
    chain = vector["chainId"]
    assert chain is None or isinstance(chain, int)
    seen = transaction_hash(chain, Address(str(vector["safe"])), message)
    assert "0x" + seen.hex() == vector["safeTxHash"]


@given(CALLS)
def test_calls_come_back_as_they_went_in(calls: list[InnerCall]) -> None:
    made = combine(calls, chain_id=1, safe=SAFE, nonce=3, multi_send=MULTI)
    assert (made.operation is Operation.DELEGATECALL) == (len(calls) > 1)
    assert calls_of(made, MULTI) == tuple(calls)


def test_nothing_to_do_is_no_transaction() -> None:
    with pytest.raises(PlanError, match="needs a call"):
        combine([], chain_id=1, safe=SAFE, nonce=0, multi_send=MULTI)


def test_a_delegate_call_of_a_stranger_is_refused() -> None:
    foreign = SafeTransaction(1, SAFE, SAFE, MULTI_SEND.encode(b""), 0, Operation.DELEGATECALL)
    with pytest.raises(DecodeError, match="unknown contract"):
        calls_of(foreign, MULTI)


@pytest.mark.parametrize(("at", "byte"), [(0, 1), (52, 1), (84, 255)])
def test_an_inner_call_with_value_or_rights_or_a_false_length_is_refused(at: int, byte: int) -> None:
    packed = bytearray(bytes(1) + bytes.fromhex(SAFE[2:]) + bytes(64))
    packed[at] = byte
    made = SafeTransaction(1, SAFE, MULTI, MULTI_SEND.encode(bytes(packed)), 0, Operation.DELEGATECALL)
    with pytest.raises(DecodeError, match="Not a list of plain calls"):
        calls_of(made, MULTI)
