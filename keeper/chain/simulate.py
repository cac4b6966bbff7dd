"""What exact bytes would do: calls in a row in the block after a pinned one, and the state after them.

Number, time, base fee, fee recipient, prevRandao and gas limit of that block are always set: left alone, a
node takes the parent's. Three ways agree: `eth_simulateV1`, one `eth_call` with overrides, and a fork
(`keeper.simulation.rehearsal`). The second sees no logs, so it is for where the first is refused.

An outcome is an attestation: it never enters a plan.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from eth_hash.auto import keccak

from keeper import canonical
from keeper.chain.block import BlockRef, hex_bytes, quantity
from keeper.chain.call import Call
from keeper.chain.lens import NUMBER_IS_L1
from keeper.chain.packing import Head, Outcome, pack, unpack, unpack_outcomes
from keeper.chain.rpc import Endpoint, Source
from keeper.chain.ways import ANSWER_BYTES, LENS_ADDRESS, lens_override, lens_request, pinned
from keeper.contracts.artifact import artifact
from keeper.contracts.revert import Revert, parse_revert
from keeper.errors import DecodeError, DisagreementError, EndpointError, KeeperError, RpcError
from keeper.units import Address

DOMAIN: Final = "omnikeeper/simulation"
VERSION: Final = 1

GAS_LIMIT: Final = 60_000_000
"""Of the simulated block."""

POST_GAS: Final = 15_000_000
"""For reading the state after the calls."""

AMPLE_GAS: Final = 30_000_000
"""With which a call that fails is tried once more, to tell whether it was gas that it lacked."""

OUT_OF_GAS: Final = "OutOfGas"

ZERO: Final = "0x" + "0" * 40
_REHEARSE: Final = keccak(b"omnikeeper/rehearsal")
_ORIGINAL: Final = "0x" + keccak(b"omnikeeper/original")[12:].hex()


@dataclass(frozen=True)
class Scene:
    """What is simulated: `calls` from `sender` on the state of `block`, in the next block at `time`
    (seconds), each a transaction with `gas`; then the reads `post`."""

    block: BlockRef
    time: int
    sender: Address
    calls: tuple[Call[Any], ...]
    post: tuple[Call[Any], ...] = ()
    gas: int = 10_000_000


@dataclass(frozen=True)
class Emitted:
    """A log as it counts for the digest: without its place and its transaction."""

    address: str
    topics: tuple[bytes, ...]
    data: bytes


@dataclass(frozen=True)
class Performed:
    """One call: `returned` is its return or revert data; `logs` is None where the way does not see them."""

    success: bool
    returned: bytes
    logs: tuple[Emitted, ...] | None


@dataclass(frozen=True)
class Performance:
    """What happened. Equal outcomes have equal digests, whichever way they were found."""

    calls: tuple[Performed, ...]
    post: tuple[Outcome, ...]

    def digest(self) -> bytes:
        """keccak256 over status, return data and logs of each call, and the state after.

        Raises KeeperError when the logs were not seen.
        """
        if not self.has_logs:
            raise KeeperError(
                "A simulation without logs has no digest", hint="Ask an endpoint with eth_simulateV1, or fork"
            )
        calls = [
            [c.success, c.returned, [[e.address, e.topics, e.data] for e in c.logs or ()]] for c in self.calls
        ]
        return canonical.digest([calls, self.post], domain=DOMAIN, version=VERSION)

    @property
    def has_logs(self) -> bool:
        """Whether the way saw the logs of every call."""
        return all(call.logs is not None for call in self.calls)

    def without_logs(self) -> "Performance":
        """What every way sees."""
        return Performance(tuple(Performed(c.success, c.returned, None) for c in self.calls), self.post)


def emitted(raw: Sequence[Any]) -> tuple[Emitted, ...]:
    """Logs of JSON-RPC. Raises DecodeError when they are none."""
    try:
        return tuple(
            Emitted(
                each["address"].lower(),
                tuple(hex_bytes(topic) for topic in each["topics"]),
                hex_bytes(each["data"]),
            )
            for each in raw
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise DecodeError("Not a list of logs", seen=repr(error)) from error


async def simulate(source: Source, scene: Scene) -> Performance:
    """By `eth_simulateV1`, or by `eth_call` where an endpoint refuses that.

    With agreement, two endpoints must see the same: DisagreementError. Raises EndpointError when the endpoint
    ignores an override or refuses both, and ReorganisedError or StaleHeadError when it has not the block.
    """

    async def ask(endpoint: Endpoint) -> Performance:
        return await _by_either(endpoint, scene)

    (first, seen), *others = await source.witnessed(ask)
    for other, theirs in others:
        same = seen == theirs
        if not (seen.has_logs and theirs.has_logs):
            same = seen.without_logs() == theirs.without_logs()
        if not same:
            raise DisagreementError(
                f"Endpoints simulate differently on block {scene.block.number} of chain {source.chain_id}",
                expected=f"{first.public_url}: {_said(seen)}",
                seen=f"{other.public_url}: {_said(theirs)}",
            )
    return seen


async def _by_either(endpoint: Endpoint, scene: Scene) -> Performance:
    refusals = []
    for way in (by_simulate_v1, by_eth_call):
        try:
            return await way(endpoint, scene)
        except RpcError as error:
            refusals.append(error.message)
    await endpoint.canonical(scene.block)
    raise EndpointError(
        "Endpoint cannot simulate",
        seen="; ".join(refusals),
        where=endpoint.public_url,
        hint="Add one that has eth_simulateV1",
    )


async def first_revert(source: Source, scene: Scene, *contracts: str) -> Revert | None:
    """What the first call that fails reverts with, in the words of `contracts`; None when all succeed.

    It is `OutOfGas(allowed)` when with ample gas all succeed. Raises as `simulate`.
    """
    performed = await simulate(source, scene)
    failed = [call for call in performed.calls if not call.success]
    if not failed:
        return None
    if scene.gas < AMPLE_GAS:
        ample = await simulate(source, replace(scene, gas=AMPLE_GAS))
        if all(call.success for call in ample.calls):
            return Revert(OUT_OF_GAS, ("allowed",), (scene.gas,))
    return parse_revert(failed[0].returned, *contracts)


async def by_simulate_v1(endpoint: Endpoint, scene: Scene) -> Performance:
    """One `eth_simulateV1` with the reads as its last call. Raises as `simulate`."""
    calls = [call.request(sender=scene.sender, gas=scene.gas) for call in scene.calls]
    asked = {
        "blockStateCalls": [
            {
                "blockOverrides": _block_overrides(scene),
                "stateOverrides": lens_override(),
                "calls": [*calls, lens_request(scene.post, POST_GAS)],
            }
        ],
        "validation": False,
        "traceTransfers": False,
    }
    answer = await endpoint.ask("eth_simulateV1", [asked, {"blockHash": "0x" + scene.block.hash.hex()}])
    try:
        *done, state = answer[0]["calls"]
        performed = tuple(_performed(each) for each in done)
        if len(performed) != len(scene.calls):
            raise DecodeError("Another number of calls", expected=len(scene.calls), seen=len(performed))
        head, post = unpack(_performed(state).returned, len(scene.post))
    except (KeyError, TypeError, AttributeError, IndexError, ValueError) as error:
        raise DecodeError("Not an answer of eth_simulateV1", where=endpoint.public_url) from error
    _require_scene(endpoint, scene, head)
    return Performance(performed, post)


async def by_eth_call(endpoint: Endpoint, scene: Scene) -> Performance:
    """One `eth_call` that runs Rehearsal (contracts/src/lens) in the sender's place, after one for the code
    that is there. Raises as `simulate`."""
    parts = [_REHEARSE, bytes.fromhex(LENS_ADDRESS[2:]), len(scene.calls).to_bytes(2, "big")]
    for call in scene.calls:
        gas = max(0, scene.gas - call.intrinsic_gas)
        parts += [bytes.fromhex(call.target[2:]), gas.to_bytes(4, "big"), len(call.data).to_bytes(4, "big")]
        parts.append(call.data)
    request = b"".join([*parts, pack(scene.post, ANSWER_BYTES)])
    overrides = lens_override() | {
        scene.sender: {"code": "0x" + artifact("Rehearsal").runtime().hex()},
        _ORIGINAL: {"code": await endpoint.ask("eth_getCode", [scene.sender, pinned(scene.block)])},
    }
    asked = Call(scene.sender, request, bytes, "Rehearsal").request(sender=scene.sender, gas=GAS_LIMIT)
    params = [asked, pinned(scene.block), overrides, _block_overrides(scene)]
    answer = hex_bytes(await endpoint.ask("eth_call", params))
    done, rest = unpack_outcomes(answer, len(scene.calls))
    head, post = unpack(rest, len(scene.post))
    _require_scene(endpoint, scene, head)
    return Performance(tuple(Performed(success, returned, None) for success, returned in done), post)


def _block_overrides(scene: Scene) -> dict[str, str]:
    """The block that the calls run in, as JSON-RPC has it."""
    return {
        "number": hex(scene.block.number + 1),
        "time": hex(scene.time),
        "baseFeePerGas": "0x0",
        "feeRecipient": ZERO,
        "prevRandao": "0x" + "0" * 64,
        "gasLimit": hex(GAS_LIMIT),
    }


def _performed(raw: Any) -> Performed:
    returned = raw.get("returnData") or "0x"
    error = raw.get("error")
    if returned == "0x" and isinstance(error, dict) and isinstance(error.get("data"), str):
        returned = error["data"]
    success = quantity(raw["status"]) == 1
    # What a call that failed emitted never happened.
    return Performed(success, hex_bytes(returned), emitted(raw["logs"]) if success else ())


def _require_scene(endpoint: Endpoint, scene: Scene, head: Head) -> None:
    endpoint.introduce(head.chain_id)
    expected, seen = [scene.time], [head.timestamp]
    if head.chain_id not in NUMBER_IS_L1:
        expected.append(scene.block.number + 1)
        seen.append(head.number)
    if seen != expected:
        raise EndpointError(
            "Endpoint ignores block overrides", expected=expected, seen=seen, where=endpoint.public_url
        )


def _said(performance: Performance) -> str:
    return ", ".join(
        f"{'success' if call.success else 'failure'} 0x{call.returned[:36].hex()}"
        + ("" if call.logs is None else f" (logs: {len(call.logs)})")
        for call in performance.calls
    )
