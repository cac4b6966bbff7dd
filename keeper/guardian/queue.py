"""Submitted changes of a vault at one block: which the events announced, and which the chain still holds.

An event says what a change is, the registry's state whether it is still there: so nothing has to be
remembered, and neither a restart nor a reorganisation can lose a change or keep one that is gone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cache
from typing import Any, Final

from eth_hash.auto import keccak

from keeper.chain.block import BlockRef
from keeper.chain.history import Log, LogQuery, read_history
from keeper.chain.lens import read
from keeper.chain.rpc import Endpoint, Source
from keeper.contracts import Function, abi, artifact
from keeper.errors import ConfigError, DecodeError, EndpointError
from keeper.guardian.section import Section, registry
from keeper.planning.policy import VaultPolicy
from keeper.units import Address

SUBMITTED: Final = keccak(b"ChangeSubmitted(address,bytes32,address,bytes,uint256,bool)")
REGISTERED: Final = keccak(b"Registered(address,address,address,address,address)")
REORGANISED: Final = 64
"""Blocks below the head whose logs are asked for again at each look."""


class Stage(Enum):
    """Where a change is in its life."""

    WAITING = "waiting"
    READY = "ready"
    EXPIRED = "expired"


@dataclass(frozen=True)
class Queued:
    """A submitted change. It may be made from `executable_at` to `expires_at`, both included; `arguments` are
    by name, and `function` is None where the call is not one of ours."""

    id: bytes
    target: Address
    data: bytes
    executable_at: int
    expires_at: int
    vetoable: bool
    contract: str | None
    function: str | None
    arguments: tuple[tuple[str, Any], ...]

    def stage(self, at: int) -> Stage:
        """Its stage for a transaction at `at` (seconds)."""
        if at < self.executable_at:
            return Stage.WAITING
        return Stage.READY if at <= self.expires_at else Stage.EXPIRED

    def argument(self, name: str) -> Any:
        return dict(self.arguments)[name]

    def __str__(self) -> str:
        """The call for people."""
        if self.function is None:
            return f"call 0x{self.data.hex()} of {self.target}"
        shown = ", ".join(f"{name}={show_argument(value)}" for name, value in self.arguments)
        return f"{self.contract}.{self.function}({shown})"


def show_argument(value: Any) -> str:
    if isinstance(value, bytes):
        return "0x" + value.hex()
    if isinstance(value, tuple | list):
        return "[" + ", ".join(map(show_argument, value)) + "]"
    return str(value)


class Submissions:
    """Finds a vault's submitted changes, look after look; `since` is the first block that is searched.

    Events from deeper than a reorganisation reaches are kept between looks; they are searched again when the
    block that they were found up to is not canonical any more.
    """

    def __init__(self, source: Source, vault: VaultPolicy, since: int = 0) -> None:
        self._source: Final = source
        self._vault: Final = vault
        self._since: Final = since
        self._anchor: BlockRef | None = None
        self._kept: tuple[Log, ...] = ()

    async def queued(self, section: Section) -> tuple[Queued, ...]:
        """The changes that the registry holds at the section's block, by when they may be made.

        Raises ConfigError when one from before `since` may still be there, ReorganisedError when the block
        is not canonical any more, and the errors of reading.
        """
        logs = await self._logs(section.block)
        if not any(log.topics[0] == REGISTERED for log in logs):
            await self._require_old(section)
        submitted = [log for log in logs if log.topics[0] == SUBMITTED]
        if any(len(log.topics) != 3 for log in submitted):
            raise EndpointError("An event of a change names none", where=self._source.public_url)
        found = {log.topics[2]: log for log in submitted}
        calls = [registry(self._vault).call("executableAt", self._vault.vault, id_) for id_ in found]
        times = await read(self._source, section.block, calls)
        queued = [
            self._queued(log, at, section.change_window)
            for log, at in zip(found.values(), times, strict=True)
            if at != 0
        ]
        return tuple(sorted(queued, key=lambda each: (each.executable_at, each.id)))

    async def _logs(self, head: BlockRef) -> tuple[Log, ...]:
        """Every event of the vault up to the head, oldest first."""
        if self._anchor is not None and not await self._is_canonical(self._anchor):
            self._anchor, self._kept = None, ()
        first = self._since if self._anchor is None else self._anchor.number + 1
        logs = self._kept + await self._search(head, first)
        below = head.number - REORGANISED
        if below >= first:
            (_, anchor), *_ = await self._source.witnessed(lambda endpoint: _ancestor(endpoint, head, below))
            self._anchor, self._kept = anchor, tuple(log for log in logs if log.block <= below)
        return logs

    async def _search(self, head: BlockRef, first: int) -> tuple[Log, ...]:
        if first > head.number:
            return ()
        topics = (b"", bytes(12) + bytes.fromhex(self._vault.vault[2:]))
        query = LogQuery(self._vault.registry, topics, head.number - first + 1)
        history = await read_history(self._source, head, [query])
        return () if history is None else history.logs[0].found

    async def _is_canonical(self, block: BlockRef) -> bool:
        return (await self._source.get_block(block.number)).hash == block.hash

    async def _require_old(self, section: Section) -> None:
        """That no change from before the first block can still be made."""
        first = await self._source.get_block(min(self._since, section.block.number))
        longest = section.max_delay + section.change_window
        if section.block.timestamp - first.timestamp <= longest:
            raise ConfigError(
                "A change that was submitted before the first block may still be queued",
                expected=f"the block of the vault's registration, or one more than {longest:,} s old",
                seen=f"block {first.number}",
                where="--since",
            )

    def _queued(self, log: Log, at: int, window: int) -> Queued:
        target, data, _, vetoable = abi.decode(("address", "bytes", "uint256", "bool"), log.data)
        id_ = keccak(abi.encode(("address", "bytes"), (target, data)))
        if id_ != log.topics[2]:
            raise EndpointError(
                "An event names another change than the one it holds", expected=log.topics[2], seen=id_
            )
        contract, function, arguments = decode_call(self._contracts(), target, data)
        return Queued(id_, target, data, at, at + window, vetoable, contract, function, arguments)

    def _contracts(self) -> dict[str, str]:
        names = {"registry": "Registry", "vault": "Vault", "portfolio": "Portfolio", "quorum": "KeeperQuorum"}
        return {getattr(self._vault, part): name for part, name in names.items()}


def decode_call(
    contracts: dict[str, str], target: Address, data: bytes
) -> tuple[str | None, str | None, tuple[tuple[str, Any], ...]]:
    """Contract, function and arguments by name. A target that is none of `contracts` may be a swap handler:
    its settings are the only other ones that the timelock holds. None for what is not a function there."""
    contract = contracts.get(target, "SwapPolicy")
    for function, names in _functions(contract):
        if data[:4] != function.selector:
            continue
        try:
            return contract, function.name, tuple(zip(names, function.decode_input(data), strict=True))
        except DecodeError:
            break
    return None, None, ()


@cache
def _functions(contract: str) -> Sequence[tuple[Function, tuple[str, ...]]]:
    """Functions with the names of their arguments, without the underscores that Solidity wants."""
    return tuple(
        (
            Function(f"{entry['name']}({','.join(abi.type_of(each) for each in entry['inputs'])})"),
            tuple(each["name"].strip("_") for each in entry["inputs"]),
        )
        for entry in artifact(contract).abi
        if entry["type"] == "function" and entry["stateMutability"] not in ("view", "pure")
    )


async def _ancestor(endpoint: Endpoint, head: BlockRef, number: int) -> BlockRef:
    """The block of that number below the head: asked for by number, of one for whom the head is canonical."""
    found = await endpoint.get_block(number)
    await endpoint.canonical(head)
    return found
