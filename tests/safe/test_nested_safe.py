"""A Safe among the owners of the Safe that keeps a vault, by the real contracts."""

import json
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from eth_account import Account
from safe_world import MakeOwner, command, exec_as_safe, own_folder, signed
from staged import Staged

from keeper.chain.rpc import Endpoint
from keeper.config import parse
from keeper.contracts import encode_call
from keeper.errors import ConfigError, QuorumError
from keeper.execution.journal.journal import Journal
from keeper.execution.relay import Relayer
from keeper.planning.plan import Kind
from keeper.planning.policy import Policy
from keeper.quorum.signer import PlanRefusedError
from keeper.safe import envelope as envelopes
from keeper.safe import execution
from keeper.safe.envelope import Envelope
from keeper.safe.nested import Member, message_hash
from keeper.simulation.keeper_safe import create_safe
from keeper.simulation.vault import SIGNERS
from keeper.units import Address

MEMBERS = ("user3", "user4", "user5")
SENTINEL = Address("0x" + "0" * 39 + "1")
pytestmark = pytest.mark.asyncio


@dataclass
class Nested:
    """A vault kept by a 2-of-3 Safe, one of whose owners is the Safe `inner`."""

    stage: Staged
    inner: Address

    async def envelope(self, hub: Endpoint) -> Envelope:
        return await execution.propose([await self.stage.propose(Kind.SETTLEMENT)], self.stage.policy, hub)


def with_inner(stage: Staged, gone: str, members: Sequence[str], threshold: int) -> Nested:
    """The vault with a Safe of those roles in the place of the role `gone` among the owners."""
    owners = [stage.devnet.address(role) for role in members]
    return with_owner(stage, gone, create_safe(stage.devnet, owners, threshold))


def with_owner(stage: Staged, gone: str, inner: Address) -> Nested:
    devnet, safe, old = stage.devnet, stage.policy.vault.quorum, stage.devnet.address(gone)
    owners: list[Address] = list(devnet.call(safe, "getOwners()", outputs="(address[])"))
    nonce: int = devnet.call(safe, "nonce()", outputs="(uint256)")
    before = [SENTINEL, *owners][owners.index(old)]
    exec_as_safe(stage, encode_call("swapOwner(address,address,address)", before, old, inner), nonce)
    text = stage.deployment.policy_toml.replace(old, inner)
    deployment = replace(stage.deployment, policy=parse(tomllib.loads(text), Policy), policy_toml=text)
    return Nested(Staged(devnet, deployment), inner)


@pytest.fixture
def nested(stage: Staged) -> Nested:
    return with_inner(stage, SIGNERS[2], MEMBERS, 2)


async def test_a_safe_signs_through_two_of_its_owners_from_file_to_file(
    nested: Nested, hub: Endpoint, relayer: Relayer, tmp_path: Path
) -> None:
    stage, proposal = nested.stage, tmp_path / "proposal.json"
    envelopes.save(await nested.envelope(hub), proposal)
    files = []
    for role, within in ((SIGNERS[0], []), *((member, ["--within", nested.inner]) for member in MEMBERS[:2])):
        own, files = own_folder(tmp_path / role, stage), [*files, tmp_path / f"{role}.json"]
        words = ["sign", proposal, "--config", own / "own.toml", "--out", files[-1], *within]
        code, said = await command({"OWN_KEY": stage.devnet.key(role)}, *words)
        assert code == 0, said
    full = tmp_path / "full.json"
    code, said = await command({}, "merge", *files, "--out", full)
    assert code == 0, said
    shown = json.loads(said)
    assert shown["signed_by"] == [stage.devnet.address(SIGNERS[0])]
    assert shown["signed_within"] == sorted(
        ([nested.inner, stage.devnet.address(member)] for member in MEMBERS[:2]),
        key=lambda each: int(each[1], 16),
    )
    await execution.send(envelopes.load(full), stage.policy, relayer)
    assert stage.accounting().settled_epoch == 1


async def test_the_message_is_the_one_that_the_contract_hashes(nested: Nested) -> None:
    digest = bytes(range(32))
    said = nested.stage.devnet.call(nested.inner, "getMessageHash(bytes)", [digest], "(bytes32)")
    assert message_hash(nested.stage.devnet.chain_id, nested.inner, digest) == bytes(said)


async def test_every_pair_of_owners_with_the_safe_among_them_is_enough(
    nested: Nested, hub: Endpoint, relayer: Relayer, make_owner: MakeOwner, tmp_path: Path
) -> None:
    stage, bare = nested.stage, await nested.envelope(hub)
    for role, members in zip(SIGNERS[:2], (MEMBERS[1:], MEMBERS[::2]), strict=True):
        mark = stage.devnet.rpc("evm_snapshot")
        both = [await by(make_owner, nested, member, bare) for member in members]
        full = bare.with_members(both)
        full = full.with_signatures([await make_owner(role, stage.policy).sign(bare)])
        # A journal belongs to one history of its chain.
        async with Journal(str(tmp_path / role)) as journal:
            sending = replace(relayer, journal=journal)
            assert (await execution.send(full, stage.policy, sending)).gas_used
        stage.devnet.revert(mark)


async def test_two_safes_among_the_owners_are_enough_by_themselves(
    nested: Nested, hub: Endpoint, relayer: Relayer, make_owner: MakeOwner
) -> None:
    both = with_inner(nested.stage, SIGNERS[1], ["user6"], 1)
    bare = await both.envelope(hub)
    owner = make_owner("user6", both.stage.policy)
    full = bare.with_members([Member(both.inner, await owner.sign(bare, within=both.inner))])
    first = Nested(both.stage, nested.inner)
    full = full.with_members([await by(make_owner, first, member, bare) for member in MEMBERS[:2]])
    assert (await execution.send(full, both.stage.policy, relayer)).gas_used


async def test_a_member_of_what_is_no_safe_stops_nobody(
    stage: Staged, hub: Endpoint, relayer: Relayer, make_owner: MakeOwner
) -> None:
    odd = with_owner(stage, SIGNERS[2], stage.deployment.vault)
    bare = await odd.envelope(hub)
    account = Account.from_key(stage.devnet.key("user6"))
    message = message_hash(stage.devnet.chain_id, odd.inner, bare.hash)
    full = bare.with_members([Member(odd.inner, signed(message, account))])
    one, two = [await make_owner(role, odd.stage.policy).sign(bare) for role in SIGNERS[:2]]
    with pytest.raises(QuorumError, match="Too few of the Safe's owners"):
        await execution.send(full.with_signatures([one]), odd.stage.policy, relayer)
    assert (await execution.send(full.with_signatures([one, two]), odd.stage.policy, relayer)).gas_used


async def by(make_owner: MakeOwner, nested: Nested, role: str, envelope: Envelope) -> Member:
    owner = make_owner(role, nested.stage.policy)
    return Member(nested.inner, await owner.sign(envelope, within=nested.inner))


async def test_too_few_members_are_no_owner_and_a_stranger_is_no_member(
    nested: Nested, hub: Endpoint, relayer: Relayer, make_owner: MakeOwner
) -> None:
    stage, bare = nested.stage, await nested.envelope(hub)
    half = bare.with_signatures([await make_owner(SIGNERS[0], stage.policy).sign(bare)])
    half = half.with_members([await by(make_owner, nested, MEMBERS[0], bare)])
    stranger = Account.from_key(stage.devnet.key("user6"))
    message = message_hash(stage.devnet.chain_id, nested.inner, bare.hash)
    half = half.with_members([Member(nested.inner, signed(message, stranger))])
    with pytest.raises(QuorumError, match=nested.inner) as caught:
        await execution.send(half, stage.policy, relayer)
    assert (caught.value.expected, caught.value.seen) == (2, 1)
    for role, within in (("user6", nested.inner), (MEMBERS[0], stage.devnet.address("user1"))):
        with pytest.raises(PlanRefusedError) as refused:
            await make_owner(role, stage.policy).sign(bare, within=within)
        assert refused.value.code == "stranger"
    with pytest.raises(PlanRefusedError, match="no owner's"):
        await make_owner(MEMBERS[0], stage.policy).sign(bare)


async def test_a_members_signature_is_for_one_transaction_and_in_one_name(
    nested: Nested, hub: Endpoint, make_owner: MakeOwner, tmp_path: Path
) -> None:
    bare = await nested.envelope(hub)
    member = await by(make_owner, nested, MEMBERS[0], bare)
    with pytest.raises(QuorumError, match="someone else"):
        replace(bare, nonce=bare.nonce + 1).with_members([member])
    with pytest.raises(QuorumError, match="someone else"):
        bare.with_members([replace(member, safe=bare.safe)])
    with pytest.raises(QuorumError, match="someone else"):
        bare.with_signatures([member.signature])
    path = tmp_path / "made.json"
    envelopes.save(bare.with_members([member]), path)
    assert envelopes.load(path) == bare.with_members([member])
    body = json.loads(path.read_text())
    for change in ({"safe": bare.safe}, {"signature": "0x" + "11" * 65}, {"by": "me"}):
        path.write_text(json.dumps(body | {"members": [body["members"][0] | change]}))
        with pytest.raises((QuorumError, ConfigError)):
            envelopes.load(path)
