"""Three ways to simulate the same bytes say the same."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from eth_account import Account
from local_programs import BURNS, CHAIN, REVERTS, SLOT_ZERO, VALUE, set_slot_zero
from staged import USDC, Staged

from keeper import engine
from keeper.chain import lens
from keeper.chain.call import Call
from keeper.chain.pool import ChainEndpoints, Pool
from keeper.chain.rpc import Endpoint
from keeper.chain.simulate import Scene, by_eth_call, by_simulate_v1, first_revert, simulate
from keeper.chain.snapshot import take
from keeper.chain.transaction import sign
from keeper.contracts import Contract, artifact, parse_revert
from keeper.errors import DisagreementError, EndpointError, KeeperError, ReorganisedError
from keeper.planning.plan import Kind
from keeper.quorum.typed_data import artefact
from keeper.simulation.anvil import Anvil
from keeper.simulation.devnet import Devnet
from keeper.simulation.proxy import Fault, Proxy
from keeper.simulation.rehearsal import on_fork
from keeper.simulation.vault import deploy_vault
from keeper.units import Address

NO_SIMULATE = Fault("eth_simulateV1", error=(-32601, "the method eth_simulateV1 does not exist"))
ANYONE = Address("0x" + "a1" * 20)


@pytest.fixture(scope="module")
def stage(devnet: Devnet) -> Staged:
    """A vault with funds to allocate."""
    stage = Staged(devnet, deploy_vault(devnet))
    stage.request_deposit("user1", 1_000_000 * USDC)
    asyncio.run(stage.settle())
    stage.claim("user1")
    return stage


@pytest.fixture(scope="module")
def scene(stage: Staged) -> Scene:
    """The batch that the keeper would sign now, from the quorum, and the vault's book after it."""
    return asyncio.run(_scene(stage))


async def _scene(stage: Staged) -> Scene:
    policy, chain = stage.policy, stage.devnet.chain_id
    async with stage.endpoint() as endpoint:
        now = (await endpoint.latest()).timestamp
        taken = await take({chain: endpoint}, engine.calls(policy), now, policy.finality)
        plan = engine.derive(taken, policy, Kind.BATCH)
        execute = Call(policy.vault.portfolio, artefact(plan).execute_data(), bytes, "execute")
        post = tuple(engine.calls(policy)[chain])
        return Scene(await endpoint.latest(), now + 12, policy.vault.quorum, (execute,), post)


async def test_all_three_ways_see_the_same_batch(stage: Staged, scene: Scene) -> None:
    async with stage.endpoint() as endpoint:
        simulated = await by_simulate_v1(endpoint, scene)
        called = await by_eth_call(endpoint, scene)
        before = await lens.read_raw(endpoint, scene.block, scene.post)
    forked = await asyncio.to_thread(on_fork, [stage.devnet.url], scene)
    assert simulated == forked
    assert simulated.digest() == forked.digest()
    assert called == simulated.without_logs()
    assert simulated.calls[0].success
    assert len(simulated.calls[0].logs or ()) > 3
    # The state after is another one than before.
    assert [outcome for _, outcome in simulated.post] != [result.returned for result in before]


async def test_a_batch_that_reverts_does_so_in_the_same_words(stage: Staged, scene: Scene) -> None:
    bad = replace(scene, sender=ANYONE)
    async with stage.endpoint() as endpoint:
        simulated = await by_simulate_v1(endpoint, bad)
        called = await by_eth_call(endpoint, bad)
    forked = await asyncio.to_thread(on_fork, [stage.devnet.url], bad)
    assert simulated == forked
    assert called == simulated.without_logs()
    (performed,) = simulated.calls
    assert not performed.success
    assert parse_revert(performed.returned, "Portfolio").name != "UnknownError"


async def test_calls_in_a_row_see_what_those_before_them_did(anvil: Anvil, chain: Endpoint) -> None:
    head = await chain.latest()
    store = [Call(SLOT_ZERO, word.to_bytes(32, "big"), bytes, "store") for word in (5, 6)]
    calls = (store[0], Call(REVERTS, b"", bytes, "revert"), store[1])
    scene = Scene(head, head.timestamp + 100, ANYONE, calls, (VALUE.at(SLOT_ZERO),))
    simulated = await by_simulate_v1(chain, scene)
    assert [call.success for call in simulated.calls] == [True, False, True]
    assert simulated.calls[1].returned == bytes.fromhex("deadbeef")
    assert simulated.post == ((True, (6).to_bytes(32, "big")),)
    assert await by_eth_call(chain, scene) == simulated.without_logs()
    assert await asyncio.to_thread(on_fork, [anvil.url], scene) == simulated
    # Nothing of it happened.
    assert await lens.read(chain, head, [VALUE.at(SLOT_ZERO)]) == (1,)


async def test_without_simulate_it_is_one_call_and_has_no_digest(anvil: Anvil, chain: Endpoint) -> None:
    head = await chain.latest()
    scene = Scene(head, head.timestamp + 1, ANYONE, (Call(SLOT_ZERO, b"", bytes, "value"),))
    with Proxy([anvil.url], CHAIN, faults=[NO_SIMULATE]) as proxy:
        async with Endpoint(proxy.url, CHAIN) as through:
            seen = await simulate(through, scene)
    assert seen == (await simulate(chain, scene)).without_logs()
    with pytest.raises(KeeperError, match="without logs has no digest"):
        seen.digest()


async def test_an_endpoint_that_can_simulate_in_no_way_says_why(anvil: Anvil, chain: Endpoint) -> None:
    head = await chain.latest()
    scene = Scene(head, head.timestamp + 1, ANYONE, (Call(SLOT_ZERO, b"", bytes, "value"),))
    no_override = Fault("eth_call", error=(-32602, "too many arguments, want at most 2"))
    with Proxy([anvil.url], CHAIN, faults=[NO_SIMULATE, no_override]) as proxy:
        async with Endpoint(proxy.url, CHAIN) as through:
            with pytest.raises(EndpointError, match=r"does not exist; .*want at most 2") as caught:
                await simulate(through, scene)
    assert (caught.value.message, caught.value.where) == ("Endpoint cannot simulate", proxy.url)


async def test_a_block_that_was_reorganised_away_is_not_simulated_on(chain: Endpoint) -> None:
    mark = await chain.rpc("evm_snapshot")
    await set_slot_zero(chain, 2)
    gone = await chain.latest()
    await chain.rpc("evm_revert", [mark])
    await set_slot_zero(chain, 3)
    scene = Scene(gone, gone.timestamp + 1, ANYONE, (Call(SLOT_ZERO, b"", bytes, "value"),))
    with pytest.raises(ReorganisedError, match="reorganised away"):
        await simulate(chain, scene)


async def test_an_endpoint_that_ignores_the_block_overrides_is_caught(anvil: Anvil, chain: Endpoint) -> None:
    head = await chain.latest()
    answers: list[Any] = []
    repeats = Fault("eth_simulateV1", change=lambda result: answers.append(result) or answers[0])
    scene = Scene(head, head.timestamp + 1, ANYONE, (Call(SLOT_ZERO, b"", bytes, "value"),))
    with Proxy([anvil.url], CHAIN, faults=[repeats]) as proxy:
        async with Endpoint(proxy.url, CHAIN) as through:
            await simulate(through, scene)
            with pytest.raises(EndpointError, match="ignores block overrides"):
                await simulate(through, replace(scene, time=head.timestamp + 2))


@pytest.mark.parametrize("faults", [(), (NO_SIMULATE,)])
async def test_a_call_that_lacks_nothing_but_gas_says_so(
    anvil: Anvil, chain: Endpoint, faults: tuple[Fault, ...]
) -> None:
    head = await chain.latest()
    store = Call(SLOT_ZERO, (5).to_bytes(32, "big"), bytes, "store")
    scene = Scene(head, head.timestamp + 1, ANYONE, (store,))
    with Proxy([anvil.url], CHAIN, faults=faults) as proxy:
        async with Endpoint(proxy.url, CHAIN) as through:
            assert await first_revert(through, scene) is None
            scant = await first_revert(through, replace(scene, gas=25_000))
            assert str(scant) == "OutOfGas(allowed=25000)"
            endless = replace(scene, calls=(replace(store, target=BURNS),), gas=25_000)
            assert str(await first_revert(through, endless)) == "EmptyRevert()"
            refused = replace(scene, calls=(store, replace(store, target=REVERTS)))
            assert str(await first_revert(through, refused)) == "UnknownError(0xdeadbeef)"


async def test_both_ways_give_a_call_the_same_gas(chain: Endpoint) -> None:
    head = await chain.latest()
    store = Call(SLOT_ZERO, (5).to_bytes(32, "big"), bytes, "store")
    enough: dict[str, list[bool]] = {}
    for gas in range(24_000, 32_000, 100):
        scene = Scene(head, head.timestamp + 1, ANYONE, (store,), gas=gas)
        for way in (by_simulate_v1, by_eth_call):
            (performed,) = (await way(chain, scene)).calls
            enough.setdefault(way.__name__, []).append(performed.success)
    assert enough["by_simulate_v1"] == enough["by_eth_call"]
    assert set(enough["by_eth_call"]) == {False, True}


LOG = {"address": ANYONE, "topics": [], "data": "0x"}


@pytest.mark.parametrize(
    ("claim", "says"),
    [({"returnData": "0x07"}, "0x07 (logs: 0)"), ({"logs": [LOG]}, f"0x{1:064x} (logs: 1)")],
)
async def test_two_who_simulate_differently_are_named(
    anvil: Anvil, chain: Endpoint, claim: dict[str, Any], says: str
) -> None:
    def lie(result: Any) -> Any:
        (block,) = result
        first, state = block["calls"]
        return [block | {"calls": [first | claim, state]}]

    head = await chain.latest()
    scene = Scene(head, head.timestamp + 1, ANYONE, (Call(SLOT_ZERO, b"", bytes, "value"),))
    with Proxy([anvil.url], CHAIN, faults=[Fault("eth_simulateV1", change=lie)]) as liar:
        both = ChainEndpoints.of([anvil.url, liar.url], agreement=2)
        async with Pool(CHAIN, both) as pool:
            with pytest.raises(DisagreementError) as caught:
                await simulate(pool, scene)
    assert f"{anvil.url}: success 0x{1:064x} (logs: 0)" in str(caught.value)
    assert f"{liar.url}: success {says}" in str(caught.value)


async def test_one_who_sees_no_logs_agrees_with_one_who_does(anvil: Anvil, chain: Endpoint) -> None:
    head = await chain.latest()
    scene = Scene(head, head.timestamp + 1, ANYONE, (Call(SLOT_ZERO, b"", bytes, "value"),))
    with Proxy([anvil.url], CHAIN, faults=[NO_SIMULATE]) as plain:
        async with Pool(CHAIN, ChainEndpoints.of([anvil.url, plain.url], agreement=2)) as pool:
            assert (await simulate(pool, scene)).calls[0].success
        assert plain.seen["eth_call"] == 1


async def test_a_digest_covers_status_return_data_logs_and_the_state_after(
    stage: Staged, scene: Scene
) -> None:
    async with stage.endpoint() as endpoint:
        seen = await simulate(endpoint, scene)
    (call,) = seen.calls
    changes = [
        replace(seen, post=seen.post[:-1]),
        replace(seen, calls=(replace(call, success=False),)),
        replace(seen, calls=(replace(call, returned=b"\x01"),)),
        replace(seen, calls=(replace(call, logs=(call.logs or ())[1:]),)),
    ]
    assert len({each.digest() for each in (seen, *changes)}) == 5


async def test_one_call_is_encoded_simulated_sent_and_read(endpoint: Endpoint) -> None:
    account = Account.create()
    await endpoint.rpc("anvil_setBalance", [account.address, hex(10**18)])
    place = Address("0x" + "ee" * 20)
    weth = Contract(place, "WETH9")
    await endpoint.rpc("anvil_setCode", [place, "0x" + artifact("WETH9").runtime().hex()])
    await endpoint.rpc("evm_mine")
    call = weth.call("approve", ANYONE, 77)
    assert call.request(sender=account.address, gas=9) == {
        "from": account.address,
        "to": place,
        "data": "0x" + weth.encode("approve", ANYONE, 77).hex(),
        "gas": "0x9",
    }
    head = await endpoint.latest()
    scene = Scene(head, head.timestamp + 1, Address(account.address), (call,))
    (performed,) = (await simulate(endpoint, scene)).calls
    assert call.decode(performed.returned) is True
    signed = sign(
        account,
        chain_id=endpoint.chain_id,
        nonce=0,
        to=call.target,
        data=call.data,
        gas=100_000,
        max_fee=2 * head.base_fee + 1,
        tip=1,
    )
    assert await endpoint.send_raw(signed.raw) == signed.hash
    await endpoint.rpc("evm_mine")
    receipt = await endpoint.rpc("eth_getTransactionReceipt", ["0x" + signed.hash.hex()])
    assert receipt["status"] == "0x1"
    mined = await endpoint.latest()
    assert await lens.read(endpoint, mined, [weth.call("allowance", account.address, ANYONE)]) == (77,)
