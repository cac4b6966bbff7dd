"""The third way to simulate (`keeper.chain.simulate`): the calls as transactions on a fork.

It needs nothing of the endpoint but state, and leaves receipts and traces to look at. Anvil cannot be told
prevRandao, so a target that draws from it sees another one than in the other two ways.
"""

from collections.abc import Sequence
from typing import Any

from keeper.chain.block import hex_bytes, quantity
from keeper.chain.packing import unpack
from keeper.chain.simulate import GAS_LIMIT, POST_GAS, ZERO, Performance, Performed, Scene, emitted
from keeper.chain.ways import lens_override, lens_request
from keeper.errors import EndpointError, ReorganisedError
from keeper.simulation.fork import Fork


def on_fork(urls: Sequence[str], scene: Scene) -> Performance:
    """Performs the scene on a fork of its block, which ends afterwards.

    Raises ReorganisedError when another block is at its number by now, EndpointError when a transaction was
    not mined.
    """
    with Fork(scene.block.chain_id, urls, block=scene.block.number) as fork:
        if fork.origin.hash != scene.block.hash:
            raise ReorganisedError(
                "The block was reorganised away", expected=scene.block.hash, seen=fork.origin.hash
            )
        return _perform(fork, scene)


def _perform(fork: Fork, scene: Scene) -> Performance:
    _set_block(fork, scene)
    fork.rpc("anvil_impersonateAccount", scene.sender)
    first = quantity(fork.rpc("eth_getTransactionCount", scene.sender, "latest"))
    free = {"maxFeePerGas": "0x0", "maxPriorityFeePerGas": "0x0"}
    requests = [call.request(sender=scene.sender, gas=scene.gas) for call in scene.calls]
    names = [
        fork.rpc("eth_sendTransaction", request | free | {"nonce": hex(first + index)})
        for index, request in enumerate(requests)
    ]
    fork.rpc("evm_mine")
    fork.rpc("anvil_stopImpersonatingAccount", scene.sender)
    calls = tuple(_performed(fork, name) for name in names)
    read = fork.rpc("eth_call", lens_request(scene.post, POST_GAS), "latest", lens_override())
    head, post = unpack(hex_bytes(read), len(scene.post))
    if (head.number, head.timestamp) != (scene.block.number + 1, scene.time):
        raise EndpointError(
            "The fork's block is another one",
            expected=(scene.block.number + 1, scene.time),
            seen=(head.number, head.timestamp),
        )
    return Performance(calls, post)


def _set_block(fork: Fork, scene: Scene) -> None:
    fork.rpc("evm_setAutomine", False)
    fork.rpc("evm_setBlockGasLimit", hex(GAS_LIMIT))
    fork.rpc("anvil_setNextBlockBaseFeePerGas", "0x0")
    fork.rpc("anvil_setCoinbase", ZERO)
    fork.rpc("evm_setNextBlockTimestamp", scene.time)


def _performed(fork: Fork, name: str) -> Performed:
    receipt: dict[str, Any] | None = fork.rpc("eth_getTransactionReceipt", name)
    if receipt is None:
        raise EndpointError("The fork did not mine a transaction", where=name)
    trace = fork.rpc("debug_traceTransaction", name, {"tracer": "callTracer"})
    success = quantity(receipt["status"]) == 1
    return Performed(success, hex_bytes(trace.get("output") or "0x"), emitted(receipt["logs"]))
