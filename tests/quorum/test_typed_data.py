"""Class G (M-11): what is signed, computed by four implementations that share no code."""

import json
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account
from eth_account.messages import encode_typed_data
from eth_hash.auto import keccak
from hypothesis import given, settings
from hypothesis import strategies as st
from vault_world import World

from keeper.contracts import Contract, Function
from keeper.errors import ConfigError, QuorumError, RevertError, RpcError
from keeper.planning.plan import Kind
from keeper.quorum import eip712
from keeper.quorum.typed_data import (
    BATCH_TYPES,
    REPORT_TYPES,
    SECP256K1_ORDER,
    SETTLEMENT_TYPES,
    Report,
    Signature,
    Struct,
    artefact,
    domain,
    recover,
    report_struct,
    verify,
)
from keeper.simulation.anvil import ROOT
from keeper.simulation.deploy import explain
from keeper.simulation.vault import SIGNERS
from keeper.units import Address

VECTORS = json.loads((Path(__file__).parent / "data" / "eip712_vectors.json").read_text())

ETHERS = """
const { TypedDataEncoder } = require("ethers");
const { domain, types, message } = JSON.parse(require("fs").readFileSync(0, "utf8"));
process.stdout.write(TypedDataEncoder.hash(domain, types, message));
"""


def typed(types: eip712.Types, kind: str, value: Any) -> Any:
    """A JSON value of a vector as our encoder takes it."""
    if kind.endswith("]"):
        return [typed(types, kind.rpartition("[")[0], each) for each in value]
    if kind in types:
        return {name: typed(types, inner, value[name]) for inner, name in types[kind]}
    if kind.startswith("bytes"):
        return bytes.fromhex(value[2:])
    if kind.startswith(("int", "uint")):
        return int(value)
    return value


def as_json(types: eip712.Types) -> dict[str, list[dict[str, str]]]:
    return {name: [{"name": n, "type": t} for t, n in members] for name, members in types.items()}


def jsonable(value: Any) -> Any:
    match value:
        case bytes():
            return "0x" + value.hex()
        case Mapping():
            return {name: jsonable(each) for name, each in value.items()}
        case list():
            return [jsonable(each) for each in value]
        case int():
            return str(value)
    return value


def eth_account_digest(struct: Struct, chain_id: int, quorum: Address) -> bytes:
    signable = encode_typed_data(domain(chain_id, quorum), as_json(struct.types), dict(struct.message))
    return keccak(b"\x19" + signable.version + signable.header + signable.body)


def ethers_digest(struct: Struct, chain_id: int, quorum: Address) -> bytes:
    node = shutil.which("node")
    assert node is not None
    given = {
        "domain": domain(chain_id, quorum),
        "types": as_json(struct.types),
        "message": jsonable(struct.message),
    }
    done = subprocess.run(
        [node, "-e", ETHERS], input=json.dumps(given), capture_output=True, text=True, check=True, cwd=ROOT
    )
    return bytes.fromhex(done.stdout[2:])


@pytest.mark.parametrize("vector", VECTORS, ids=[vector["name"] for vector in VECTORS])
def test_published_vectors(vector: dict[str, Any]) -> None:
    types = {
        name: tuple((member["type"], member["name"]) for member in members)
        for name, members in vector["types"].items()
    }
    given_domain = dict(vector["domain"])
    if "salt" in given_domain:
        given_domain["salt"] = bytes.fromhex(given_domain["salt"][2:])
    message = typed(types, vector["primaryType"], vector["data"])
    seen = eip712.digest(
        eip712.domain_separator(given_domain), eip712.hash_struct(types, vector["primaryType"], message)
    )
    assert seen.hex() == vector["digest"][2:]


@pytest.mark.parametrize("kind", list(Kind))
async def test_class_g_m_11_four_implementations_agree(rewind: World, kind: Kind) -> None:
    plan = await rewind.propose(Kind.SETTLEMENT)
    if kind is Kind.BATCH:
        rewind.submit(plan, rewind.sign(plan, *SIGNERS[:2]))
        rewind.devnet.rpc("evm_mine")
        plan = await rewind.propose(kind)
    struct, quorum = artefact(plan), rewind.policy.vault.quorum
    own = struct.digest(plan.chain_id, quorum)
    asked = Function(struct.execute.signature.replace(struct.execute.name, f"{kind}Digest"), "(bytes32)")
    answer = rewind.devnet.rpc(
        "eth_call", {"to": quorum, "data": "0x" + asked.encode(struct.values()).hex()}, "latest"
    )
    assert bytes.fromhex(answer[2:]) == own
    assert eth_account_digest(struct, plan.chain_id, quorum) == own
    assert ethers_digest(struct, plan.chain_id, quorum) == own


def report_of(world: World, **changes: Any) -> Report:
    """A report of a second chain, good for a quarter of an hour from the head's time."""
    now = world.now()
    report = Report(
        vault=world.policy.vault.vault,
        spoke=world.devnet.chain_id + 1,
        sequence=1,
        signer_set_version=1,
        unit=world.policy.vault.asset,
        low=999_000 * 10**6,
        high=10**12,
        taken_at=now,
        valid_until=now + 900,
        snapshot_hash=keccak(b"snapshot"),
    )
    return replace(report, **changes)


def test_class_g_m_11_four_implementations_agree_on_a_report(world: World) -> None:
    struct, quorum = report_struct(report_of(world)), world.policy.vault.quorum
    own = struct.digest(world.devnet.chain_id, quorum)
    asked = Contract(quorum, "KeeperQuorum").call("reportDigest", struct.values())
    answer = world.devnet.rpc("eth_call", {"to": quorum, "data": "0x" + asked.data.hex()}, "latest")
    assert asked.decode(bytes.fromhex(answer[2:])) == own
    assert eth_account_digest(struct, world.devnet.chain_id, quorum) == own
    assert ethers_digest(struct, world.devnet.chain_id, quorum) == own


def check_on_chain(world: World, report: Report, *roles: str) -> None:
    """Raises KeeperError unless the quorum contract takes the report with signatures of `roles`."""
    struct, quorum = report_struct(report), world.policy.vault.quorum
    signatures = world.sign_digest(struct.digest(world.devnet.chain_id, quorum), *roles)
    signed_pairs = [(each.signer, each.data) for each in signatures]
    data = Contract(quorum, "KeeperQuorum").encode("checkReport", struct.values(), signed_pairs)
    try:
        world.devnet.rpc("eth_call", {"to": quorum, "data": "0x" + data.hex()}, "latest")
    except RpcError as error:
        raise explain(error, "KeeperQuorum") from error


def test_the_contract_takes_a_report_signed_here_and_refuses_what_it_should(world: World) -> None:
    check_on_chain(world, report_of(world), *SIGNERS[:2])
    refused = {
        "ReportExpired": {"valid_until": world.now() - 1},
        "NotYetTaken": {"taken_at": world.now() + 1},
        "WrongVault": {"vault": world.policy.vault.portfolio},
        "WrongUnit": {"unit": world.policy.vault.vault},
        "WrongSignerSet": {"signer_set_version": 2},
        "LowAboveHigh": {"low": 10**12 + 1},
    }
    for error, changes in refused.items():
        with pytest.raises(RevertError, match=error):
            check_on_chain(world, report_of(world, **changes), *SIGNERS[:2])
    with pytest.raises(RevertError, match="TooFewSignatures"):
        check_on_chain(world, report_of(world), SIGNERS[0])


def test_type_strings_are_those_of_the_contract() -> None:
    source = (ROOT / "contracts/src/KeeperQuorum.sol").read_text()
    flat = "".join(piece.strip() for piece in source.replace('"\n', "").split('"')).replace(" " * 8, "")
    named = {"Batch": BATCH_TYPES, "Settlement": SETTLEMENT_TYPES, "Report": REPORT_TYPES}
    for name, types in named.items():
        assert eip712.encode_type(types, name) in flat


words = st.integers(0, 2**256 - 1)
addresses = st.binary(min_size=20, max_size=20).map(lambda raw: Address("0x" + raw.hex()))


batches = st.fixed_dictionaries(
    {
        name: {"address": addresses, "uint256": words, "bytes32": st.binary(min_size=32, max_size=32)}[kind]
        for kind, name in BATCH_TYPES["Batch"]
        if kind != "Call[]"
    }
    | {
        "calls": st.lists(
            st.fixed_dictionaries(
                {"target": addresses, "token": addresses, "amount": words, "data": st.binary(max_size=200)}
            ),
            max_size=4,
        )
    }
)
settlements, reports = (
    st.fixed_dictionaries(
        {
            name: {"address": addresses, "uint256": words, "bytes32": st.binary(min_size=32, max_size=32)}[
                kind
            ]
            for kind, name in members
        }
    )
    for members in (SETTLEMENT_TYPES["Settlement"], REPORT_TYPES["Report"])
)


@settings(max_examples=100, deadline=None)
@given(message=batches)
def test_any_batch_has_one_digest_here_in_eth_account_and_in_the_contract(
    world: World, message: dict[str, Any]
) -> None:
    agree(world, Struct("Batch", BATCH_TYPES, message), "batchDigest", _BATCH_WORDS)


@settings(max_examples=50, deadline=None)
@given(message=settlements)
def test_any_settlement_has_one_digest_here_in_eth_account_and_in_the_contract(
    world: World, message: dict[str, Any]
) -> None:
    agree(world, Struct("Settlement", SETTLEMENT_TYPES, message), "settlementDigest", _SETTLEMENT_WORDS)


@settings(max_examples=50, deadline=None)
@given(message=reports)
def test_any_report_has_one_digest_here_in_eth_account_and_in_the_contract(
    world: World, message: dict[str, Any]
) -> None:
    agree(world, Struct("Report", REPORT_TYPES, message), "reportDigest", _REPORT_WORDS)


_BATCH_WORDS = (
    "(address,uint256,uint256,uint256,address,uint256,uint256,bytes32,"
    "(address,address,uint256,bytes)[],uint256,uint256)"
)
_REPORT_WORDS = f"({','.join(kind for kind, _ in REPORT_TYPES['Report'])})"
_SETTLEMENT_WORDS = "(address,uint256,uint256,uint256,uint256,uint256,bytes32)"


def agree(world: World, struct: Struct, function: str, words: str) -> None:
    quorum, chain_id = world.policy.vault.quorum, world.devnet.chain_id
    own = struct.digest(chain_id, quorum)
    data = Function(f"{function}({words})", "(bytes32)").encode(struct.values())
    answer = world.devnet.rpc("eth_call", {"to": quorum, "data": "0x" + data.hex()}, "latest")
    assert bytes.fromhex(answer[2:]) == own
    assert eth_account_digest(struct, chain_id, quorum) == own


def test_members_that_the_type_lacks_are_refused() -> None:
    with pytest.raises(ConfigError, match="Members differ"):
        eip712.hash_struct({"A": (("bool", "x"),)}, "A", {"x": True, "y": True})


DIGEST = keccak(b"a digest")
KEYS = [Account.from_key(bytes([n]) * 32) for n in (1, 2, 3)]
SIGNERS_OF_KEYS = frozenset(Address(each.address) for each in KEYS)


def signed(*indices: int, digest: bytes = DIGEST) -> list[Signature]:
    made = [
        Signature(Address(KEYS[i].address), bytes(KEYS[i].unsafe_sign_hash(digest).signature))
        for i in indices
    ]
    return sorted(made, key=lambda each: int(each.signer, 16))


def judge(signatures: list[Signature], signers: frozenset[Address] = SIGNERS_OF_KEYS) -> None:
    verify(DIGEST, signatures, signers=signers, threshold=2)


def test_enough_signatures_of_signers_pass() -> None:
    judge(signed(0, 1))
    judge(signed(0, 1, 2))


def test_too_few_signatures_are_refused() -> None:
    with pytest.raises(QuorumError, match="too few"):
        judge(signed(0))


def test_the_same_signer_twice_is_refused() -> None:
    with pytest.raises(QuorumError, match="twice by the same signer"):
        judge(signed(0, 0))


def test_a_stranger_is_refused() -> None:
    with pytest.raises(QuorumError, match="stranger"):
        judge(signed(0, 1), SIGNERS_OF_KEYS - {Address(KEYS[0].address)})


def test_unsorted_signatures_are_refused() -> None:
    with pytest.raises(QuorumError, match="not sorted"):
        judge(signed(0, 1)[::-1])


def test_a_signature_over_another_digest_is_refused() -> None:
    with pytest.raises(QuorumError, match="another digest"):
        judge(signed(0, 1, digest=keccak(b"another")))


def test_a_signature_under_another_signers_name_is_refused() -> None:
    one, two = signed(0, 1)
    with pytest.raises(QuorumError, match="someone else"):
        judge([Signature(one.signer, two.data), two])


def test_the_malleable_twin_of_a_signature_is_refused() -> None:
    data = signed(0)[0].data
    high = SECP256K1_ORDER - int.from_bytes(data[32:64], "big")
    twin = data[:32] + high.to_bytes(32, "big") + bytes([55 - data[64]])
    with pytest.raises(QuorumError, match="Malleable"):
        recover(DIGEST, twin)


@pytest.mark.parametrize("data", [b"", bytes(64), bytes(65), bytes(64) + b"\x1b", b"\xff" * 65])
def test_bytes_that_are_no_signature_are_refused(data: bytes) -> None:
    with pytest.raises(QuorumError):
        recover(DIGEST, data)
