import pytest
from local_programs import (
    BURNS,
    CHAIN,
    FLOODS,
    GAS_LEFT,
    NOTHING,
    REVERTS,
    SLOT_ZERO,
    TIMESTAMP,
    VALUE,
    set_slot_zero,
)

from keeper.chain import lens, ways
from keeper.chain.call import CallFailure
from keeper.chain.packing import STIPEND
from keeper.chain.rpc import Endpoint
from keeper.contracts import Function, decode_revert
from keeper.errors import DecodeError, EndpointError, ReorganisedError, StaleHeadError, WrongChainError


async def test_one_request_reads_many_calls(chain: Endpoint) -> None:
    block = await chain.latest()
    before = chain.requests
    calls = [VALUE.at(SLOT_ZERO), VALUE.at(TIMESTAMP), VALUE.at(SLOT_ZERO)]
    assert await lens.read(chain, block, calls) == (1, block.timestamp, 1)
    assert chain.requests - before == 1


async def test_read_is_pinned_to_its_block_whatever_comes_after(chain: Endpoint) -> None:
    block = await chain.latest()
    await set_slot_zero(chain, 2)
    now = await chain.latest()
    assert await lens.read(chain, block, [VALUE.at(SLOT_ZERO)]) == (1,)
    assert await lens.read(chain, now, [VALUE.at(SLOT_ZERO)]) == (2,)


async def test_failed_call_keeps_its_slot_and_its_revert_data(chain: Endpoint) -> None:
    block = await chain.latest()
    calls = [VALUE.at(REVERTS), VALUE.at(BURNS), VALUE.at(FLOODS), VALUE.at(SLOT_ZERO)]
    reverted, burnt, flooded, value = await lens.read(chain, block, calls)
    assert reverted == CallFailure(bytes.fromhex("deadbeef"))
    assert burnt == CallFailure(b"")
    assert decode_revert(flooded.data, "Lens") == "ReturnTooLong(length=70000, limit=65536)"
    assert value == 1


async def test_every_call_gets_the_same_gas_wherever_it_stands(chain: Endpoint) -> None:
    block = await chain.latest()
    probe = VALUE.at(GAS_LEFT)
    first, _, last = await lens.read(chain, block, [probe, VALUE.at(BURNS), probe])
    assert first == last
    assert STIPEND - 10 < first <= STIPEND


async def test_too_little_gas_splits_the_pass_and_never_fails_a_call(chain: Endpoint) -> None:
    block = await chain.latest()
    calls = [VALUE.at(BURNS) if i % 2 else VALUE.at(GAS_LEFT) for i in range(30)]
    before = chain.requests
    values = await lens.read(chain, block, calls)
    assert chain.requests - before > 1
    assert set(values[1::2]) == {CallFailure(b"")}
    assert len(set(values[0::2])) == 1


async def test_gas_cap_below_one_stipend_is_the_endpoints_fault(
    chain: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ways, "PASS_GAS", STIPEND)
    with pytest.raises(EndpointError, match="gas cap is too low"):
        await lens.read(chain, await chain.latest(), [VALUE.at(SLOT_ZERO)])


async def test_value_of_another_type_names_the_call(chain: Endpoint) -> None:
    block = await chain.latest()
    with pytest.raises(DecodeError, match=r"value\(\)"):
        await lens.read(chain, block, [VALUE.at(NOTHING)])
    flag = Function("flag()", "(bool)").at(TIMESTAMP, owner="Clock")
    with pytest.raises(DecodeError, match=r"Clock\.flag\(\)"):
        await lens.read(chain, block, [flag])


async def test_block_reorganised_away_is_named(chain: Endpoint) -> None:
    before = await chain.rpc("evm_snapshot")
    await set_slot_zero(chain, 2)
    orphan = await chain.latest()
    await chain.rpc("evm_revert", [before])
    await set_slot_zero(chain, 3)
    with pytest.raises(
        ReorganisedError, match=f"Block {orphan.number} of chain {CHAIN} was reorganised away"
    ):
        await lens.read(chain, orphan, [VALUE.at(SLOT_ZERO)])


async def test_endpoint_that_has_not_reached_the_block_is_behind(chain: Endpoint) -> None:
    before = await chain.rpc("evm_snapshot")
    await set_slot_zero(chain, 2)
    ahead = await chain.latest()
    await chain.rpc("evm_revert", [before])
    with pytest.raises(StaleHeadError, match=f"expected block {ahead.number}, saw head {ahead.number - 1}"):
        await lens.read(chain, ahead, [VALUE.at(SLOT_ZERO)])


async def test_chain_id_is_checked_in_the_same_call(chain: Endpoint) -> None:
    block = await chain.latest()
    await chain.rpc("anvil_setChainId", [5])
    with pytest.raises(WrongChainError, match=f"expected {CHAIN}, saw 5"):
        await lens.read(chain, block, [VALUE.at(SLOT_ZERO)])
