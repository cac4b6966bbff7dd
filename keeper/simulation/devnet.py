"""Local chains with the real protocols: built once per content of their inputs, then loaded."""

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from eth_hash.auto import keccak

from keeper.contracts import artifact, parse_revert
from keeper.errors import EndpointError, KeeperError, RpcError
from keeper.simulation.accounts import address_of
from keeper.simulation.anvil import ROOT, Anvil, binary
from keeper.simulation.build import CHAIN_ARGS, CONTRACTS, MANIFEST, STATE, build
from keeper.simulation.deploy import BLOCK_SECONDS, created_address, explain, signed, view
from keeper.simulation.jsonrpc import JsonRpc
from keeper.simulation.node import Node
from keeper.units import Address

FIRST_CHAIN_ID: Final = 31_337
CACHE: Final = ROOT / ".devnet"
_SOURCES: Final = (
    "aave",
    "accounts",
    "anvil",
    "build",
    "deploy",
    "morpho",
    "oracles",
    "safe",
    "tokens",
    "uniswap",
)


@dataclass(frozen=True)
class BuiltChain:
    """A chain in the cache: its directory and manifest."""

    path: Path
    manifest: dict[str, Any]


def content_key(chain_id: int) -> str:
    """Hash of all inputs of a build: bytecode on the chain, builder sources, chain id, Anvil's version."""
    content = hashlib.sha256(str(chain_id).encode())
    version = json.loads((binary().parents[1] / "package.json").read_text())["version"]
    content.update(version.encode())
    for name in sorted(set(CONTRACTS)):
        content.update(f"{name}:{artifact(name).bytecode}".encode())
    for source in _SOURCES:
        content.update((Path(__file__).parent / f"{source}.py").read_bytes())
    return content.hexdigest()[:16]


def ensure_built(chain_id: int = FIRST_CHAIN_ID, *, cache: Path = CACHE) -> BuiltChain:
    """The chain of that id from the cache, built first when its inputs are new.

    Raises ConfigError when the contracts are not compiled or the packages not installed.
    """
    path = cache / content_key(chain_id)
    if not path.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        with _locked(cache / "lock"):
            if not path.is_dir():
                _build_into(path, chain_id, cache)
    if chain_id == FIRST_CHAIN_ID:
        _point(cache / "current", path)
    return BuiltChain(path, json.loads((path / MANIFEST).read_text()))


def _build_into(path: Path, chain_id: int, cache: Path) -> None:
    # Built beside its place and moved there whole: a half-built chain is never found.
    unfinished = Path(tempfile.mkdtemp(prefix="building-", dir=cache))
    try:
        build(chain_id, unfinished)
        unfinished.chmod(0o755)
        unfinished.replace(path)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _point(link: Path, path: Path) -> None:
    if link.is_symlink() and os.readlink(link) == path.name:
        return
    fresh = link.with_name(f"current-{os.getpid()}")
    fresh.symlink_to(path.name)
    fresh.replace(link)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def load_args(chain: BuiltChain, *, archive: bool = True) -> list[str]:
    """Anvil's arguments to load a built chain. Without the head's time it would go on from genesis time.

    It answers for the state after any of the 500 blocks that were mined last, undone ones among them; an
    `archive` writes 3,600 more to a disk, which takes up to half of its time.
    """
    head = chain.manifest["block"]["timestamp"]
    past = [] if archive else ["--max-persisted-states", "0"]
    return [*CHAIN_ARGS, *past, "--timestamp", str(head), "--load-state", str(chain.path / STATE)]


def check_loaded(rpc: JsonRpc, chain: BuiltChain) -> None:
    """Fixes the block interval and raises EndpointError unless the head is that of the build."""
    rpc("anvil_setBlockTimestampInterval", BLOCK_SECONDS)
    head = rpc("eth_getBlockByNumber", "latest", False)["hash"]
    if head != chain.manifest["block"]["hash"]:
        raise EndpointError(
            "The loaded chain is not the built one", expected=chain.manifest["block"]["hash"], seen=head
        )


class Devnet(Node):
    """A running local chain. Each transaction sent is mined at once, in a block 12 seconds after the last.

    How far back it knows its state, `archive` says (see `load_args`).
    """

    def __init__(
        self,
        chain_id: int = FIRST_CHAIN_ID,
        *,
        port: int = 0,
        cache: Path = CACHE,
        archive: bool = True,
    ) -> None:
        self._built = ensure_built(chain_id, cache=cache)
        self.manifest = self._built.manifest
        super().__init__(Anvil(chain_id, load_args(self._built, archive=archive), port=port))

    @property
    def path(self) -> Path:
        """Directory of the built chain: manifest.json, state.json and allocs.json."""
        return self._built.path

    def prepare(self, rpc: JsonRpc) -> None:
        """Checks that the head is that of the build."""
        check_loaded(rpc, self._built)

    def address(self, role: str) -> Address:
        """Address of an account by role."""
        return Address(self.manifest["accounts"][role]["address"])

    def key(self, role: str) -> str:
        """Private key of an account by role, as 0x-hex."""
        return str(self.manifest["accounts"][role]["key"])

    def send(
        self, account_key: str, to: str | None, data: bytes, value: int = 0, *, errors: Sequence[str] = ()
    ) -> dict[str, Any]:
        """Signs, sends and mines a transaction; returns its receipt. `to` None creates a contract.

        Raises RevertError when it would revert or did, in the words of the contracts named in `errors`.
        """
        sender = address_of(account_key)
        gas = int(self.block()["gasLimit"], 16)
        request = {"from": sender, "data": "0x" + data.hex(), "value": hex(value), "gas": hex(gas)}
        if to is not None:
            request["to"] = to
        try:
            # An estimate of its gas would execute it some twenty times.
            self.rpc("eth_call", request, "pending")
        except RpcError as error:
            raise explain(error, *errors) from error
        nonce = int(self.rpc("eth_getTransactionCount", sender, "pending"), 16)
        raw = signed(account_key, chain_id=self.chain_id, nonce=nonce, to=to, data=data, value=value, gas=gas)
        return self.send_raw(raw, errors=errors)

    def send_raw(self, raw: str, *, errors: Sequence[str] = ()) -> dict[str, Any]:
        """Sends a signed transaction (0x-hex) and returns its receipt.

        Raises RevertError when it reverted, RpcError when it is not accepted or not mined.
        """
        try:
            receipt = self._mined(raw)
        except RpcError as error:
            raise explain(error) from error
        if receipt["status"] != "0x1":
            raise self._revert(receipt["transactionHash"], errors)
        return receipt

    def deploy(
        self,
        account_key: str,
        artifact_name: str,
        ctor_args: Sequence[Any] = (),
        *,
        libraries: Mapping[str, Address] | None = None,
    ) -> Address:
        """Creates a contract from our build (or the protocols') and returns its address."""
        sender = address_of(account_key)
        nonce = int(self.rpc("eth_getTransactionCount", sender, "pending"), 16)
        self.send(account_key, None, artifact(artifact_name).creation_code(*ctor_args, libraries=libraries))
        return created_address(sender, nonce)

    def call(self, to: str, signature: str, args: Sequence[Any] = (), outputs: str = "()") -> Any:
        """Decoded answer at the head: `call(token, "balanceOf(address)", [who], "(uint256)")`.

        One output comes as such, several as a tuple. Raises RevertError.
        """
        return view(self.connection, to, signature, tuple(args), outputs)

    def reorganise(self, depth: int, *, drop: Sequence[str] = ()) -> None:
        """Replaces the last blocks and offers their transactions again, as a network does.

        `drop` holds hashes of transactions that are lost. Others may revert on the new chain: that is for
        the caller to see. Anvil alone forgets all of them.
        """
        head = int(self.block()["number"], 16)
        lost = set(drop)
        orphaned = [
            self.rpc("eth_getRawTransactionByHash", hash_)
            for number in range(head - depth + 1, head + 1)
            for hash_ in self.block(number)["transactions"]
            if hash_ not in lost
        ]
        self.rpc("anvil_reorg", depth, [])
        for raw in orphaned:
            self._mined(raw)

    def _mined(self, raw: str) -> dict[str, Any]:
        # The plain method answers before the block is mined; this one (EIP-7966) waits for the receipt.
        try:
            receipt = self.rpc("eth_sendRawTransactionSync", raw)
        except RpcError as error:
            if "confirmation timeout" not in error.said:
                raise
            # Seen once, in a long run of tests: Anvil did not mine it by itself, for a reason unknown.
            self.rpc("evm_mine")
            receipt = self.rpc("eth_getTransactionReceipt", "0x" + keccak(bytes.fromhex(raw[2:])).hex())
            if receipt is None:
                raise
        return dict(receipt)

    def _revert(self, hash_: str, errors: Sequence[str]) -> KeeperError:
        trace = self.rpc("debug_traceTransaction", hash_, {"tracer": "callTracer"})
        data = bytes.fromhex(trace.get("output", "0x")[2:])
        return parse_revert(data, *errors).as_error(where=hash_)
