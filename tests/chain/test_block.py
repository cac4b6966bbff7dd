"""Headers are believed when they hash to their hash; packed passes survive the way."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keeper.chain.block import header, header_hash
from keeper.chain.call import Call
from keeper.chain.packing import HEAD_BYTES, pack, packed_size, unpack, unpack_outcomes
from keeper.contracts import address
from keeper.errors import DecodeError, HeaderError
from keeper.simulation.anvil import Anvil
from keeper.simulation.jsonrpc import JsonRpc

ZERO = "0x" + "00" * 32
EMPTY = "0x56e81f171bcc55a6ff8345e692c0f86e5b48e01b996cadc001622fb5e363b421"
GENESIS: dict[str, Any] = {
    "parentHash": ZERO,
    "sha3Uncles": "0x1dcc4de8dec75d7aab85b567b6ccd41ad312451b948a7413f0a142fd40d49347",
    "miner": "0x" + "00" * 20,
    "stateRoot": "0xd7f8974fb5ac78d9ac099b9ad5018bedc2ce0a72dad1827a1709da30580f0544",
    "transactionsRoot": EMPTY,
    "receiptsRoot": EMPTY,
    "logsBloom": "0x" + "00" * 256,
    "difficulty": "0x400000000",
    "number": "0x0",
    "gasLimit": "0x1388",
    "gasUsed": "0x0",
    "timestamp": "0x0",
    "extraData": "0x11bbe8db4e347b4e8c937c1c8370e4b5ed33adb3db69cbdb7a38e1e50b1b82fa",
    "mixHash": ZERO,
    "nonce": "0x0000000000000042",
    "hash": "0xd4e56740f876aef8c010b86a40d5f56745a118d0906a34e69aec8c0db1cb8fa3",
}
"""Block 0 of Ethereum mainnet."""

HEAD = b"".join(word.to_bytes(32, "big") for word in (1, 2, 3, 4))


def test_the_first_block_of_mainnet_has_its_hash() -> None:
    assert "0x" + header_hash(GENESIS).hex() == GENESIS["hash"]
    assert header(GENESIS, 1, "mainnet").base_fee == 0


@pytest.mark.parametrize("fork", ["berlin", "london", "paris", "shanghai", "cancun", "prague"])
def test_every_generation_of_headers_is_understood(fork: str) -> None:
    with Anvil(31_337, ["--hardfork", fork]) as node:
        rpc = JsonRpc(node.url)
        rpc("evm_mine")
        raw = rpc("eth_getBlockByNumber", "latest", False)
        rpc.close()
    assert header(raw, 31_337, fork).number == 1


@pytest.mark.parametrize("name", sorted(set(GENESIS) - {"hash"}))
def test_a_change_of_any_field_is_noticed(name: str) -> None:
    digits = GENESIS[name]
    changed = digits[:-1] + ("1" if digits[-1] != "1" else "2")
    with pytest.raises(HeaderError, match="does not hash to its hash"):
        header(GENESIS | {name: changed}, 1, "mainnet")


def test_a_chain_with_a_header_of_its_own_is_not_held_to_ethereums() -> None:
    assert header(GENESIS | {"gasUsed": "0x1"}, 324, "zkSync").number == 0


@pytest.mark.parametrize("name", ["hash", "timestamp", "stateRoot"])
def test_what_is_no_header_is_no_header(name: str) -> None:
    with pytest.raises(DecodeError):
        header({key: value for key, value in GENESIS.items() if key != name}, 1, "mainnet")


calls = st.builds(
    lambda who, data: Call(address("0x" + who.hex()), data, bytes, "call"),
    st.binary(min_size=20, max_size=20),
    st.binary(max_size=80),
)
outcomes = st.lists(st.tuples(st.booleans(), st.binary(max_size=80)), max_size=6)


@given(st.lists(calls, max_size=6))
def test_a_request_is_as_long_as_was_reckoned(wanted: list[Call[bytes]]) -> None:
    assert len(pack(wanted, 7)) == 8 + sum(packed_size(call) for call in wanted)


@given(outcomes, st.binary(max_size=9))
def test_outcomes_come_out_as_they_went_in(done: list[tuple[bool, bytes]], rest: bytes) -> None:
    packed = b"".join(bytes([ok]) + len(data).to_bytes(4, "big") + data for ok, data in done)
    assert unpack(HEAD + packed, len(done))[1] == tuple(done)
    assert unpack_outcomes(packed + rest, len(done)) == (tuple(done), rest)


@given(outcomes.filter(bool), st.data())
def test_an_answer_cut_short_anywhere_is_refused(done: list[tuple[bool, bytes]], data: st.DataObject) -> None:
    packed = b"".join(bytes([ok]) + len(each).to_bytes(4, "big") + each for ok, each in done)
    whole = HEAD + packed
    cut = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(DecodeError, match="cut short"):
        unpack(whole[:cut], len(done))


def test_an_answer_with_more_than_was_asked_is_refused() -> None:
    with pytest.raises(DecodeError, match="more calls than were asked"):
        unpack(HEAD + b"\x01\x00\x00\x00\x00", 0)
    assert unpack(HEAD, 0)[0].parent_hash == HEAD[HEAD_BYTES - 32 :]
