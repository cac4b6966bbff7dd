"""What `keeper policy roles` describes, on the real Roles Modifier over the real Safe of a real vault."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pytest_asyncio
from eth_hash.auto import keccak
from roles_modifier import EXECUTE, apply, deploy_modifier
from safe_world import exec_as_safe
from staged import Staged

from keeper.contracts import encode_call
from keeper.contracts.abi import decode
from keeper.errors import RpcError
from keeper.planning.calls import PlannedCall
from keeper.planning.plan import Kind, Plan
from keeper.planning.roles import role
from keeper.quorum.typed_data import artefact
from keeper.safe.transaction import plan_call
from keeper.units import Address

OWNER, MEMBER = "user3", "user4"
STRANGER = Address("0x00000000000000000000000000000000DeaDBeef")
TARGET, FUNCTION, SEND, DELEGATE = 2, 3, 4, 1
"""`PermissionChecker.Status`."""
VIOLATION = keccak(b"ConditionViolation(uint8,bytes32)")[:4]


@dataclass
class Guarded:
    """A vault kept by a Safe, and a member that may only call it through the modifier."""

    stage: Staged
    modifier: Address
    key: bytes
    settlement: Plan
    batch: Plan

    def execute(self, to: str, data: bytes, value: int = 0, operation: int = 0) -> bytes:
        return EXECUTE.encode(to, value, data, operation, self.key, True)

    def carry_out(self, plan: Plan) -> bytes:
        """What the member sends so that the Safe carries out the plan."""
        call = plan_call(plan, self.stage.deployment.portfolio)
        return self.execute(call.to, call.data)

    def refusal(self, data: bytes, role: str = MEMBER) -> bytes:
        """What the modifier reverts with; empty when it lets the call through."""
        devnet = self.stage.devnet
        request = {"from": devnet.address(role), "to": self.modifier, "data": "0x" + data.hex()}
        try:
            devnet.rpc("eth_call", request, "latest")
        except RpcError as error:
            return bytes.fromhex(str(error.data)[2:])
        return b""

    def status(self, data: bytes) -> int:
        """Why the modifier refuses the call: not the Safe, and not the vault."""
        refused = self.refusal(data)
        assert refused[:4] == VIOLATION, refused.hex()
        found: int = decode(["uint8", "bytes32"], refused[4:])[0]
        return found


@pytest_asyncio.fixture
async def guarded(stage: Staged) -> Guarded:
    """The vault's epoch is settled, and there is a batch to carry out."""
    devnet, safe = stage.devnet, stage.policy.vault.quorum
    modifier = deploy_modifier(devnet, OWNER, safe)
    described = role(stage.policy, "keeper", [devnet.address(MEMBER)])
    apply(devnet, modifier, OWNER, described)
    settlement = await stage.propose(Kind.SETTLEMENT)
    exec_as_safe(stage, encode_call("enableModule(address)", modifier), 0)
    made = Guarded(stage, modifier, bytes.fromhex(described["key"][2:]), settlement, settlement)
    devnet.send(devnet.key(MEMBER), modifier, made.carry_out(settlement))
    assert stage.accounting().settled_epoch == 1
    # Without the module, which the policy does not list, so that there is a book to plan from.
    mark = devnet.rpc("evm_snapshot")
    sentinel = "0x" + "0" * 39 + "1"
    exec_as_safe(stage, encode_call("disableModule(address,address)", sentinel, modifier), 1)
    made.batch = await stage.propose(Kind.BATCH)
    devnet.revert(mark)
    # To the moment from which the plan is valid.
    devnet.rpc("evm_mine")
    return made


def with_terms(plan: Plan, **changes: Any) -> Plan:
    return replace(plan, terms=replace(plan.batch, **changes))


def with_call(plan: Plan, **changes: Any) -> Plan:
    first, *rest = plan.batch.calls
    said = {name: getattr(first, name) for name in ("target", "token", "venue", "key", "assets")}
    return with_terms(plan, calls=(PlannedCall.supply(**(said | changes)), *rest))


async def test_a_batch_of_the_policy_passes_through_the_modifier_and_the_safe(guarded: Guarded) -> None:
    stage, devnet = guarded.stage, guarded.stage.devnet
    before = stage.state()
    assert len(guarded.batch.batch.calls) > 1
    devnet.send(devnet.key(MEMBER), guarded.modifier, guarded.carry_out(guarded.batch))
    after = stage.state()
    assert after.nonce == before.nonce + 1
    assert after.idle < before.idle


async def test_a_call_around_the_vault_is_refused_by_the_modifier(guarded: Guarded) -> None:
    deployment = guarded.stage.deployment
    data = artefact(guarded.batch).execute_data()
    transfer = encode_call("transfer(address,uint256)", STRANGER, 1)
    assert guarded.status(guarded.execute(deployment.asset, transfer)) == TARGET
    assert guarded.status(guarded.execute(deployment.vault, data)) == FUNCTION
    assert guarded.status(guarded.execute(deployment.portfolio, transfer)) == FUNCTION
    assert guarded.status(guarded.execute(deployment.portfolio, data, value=1)) == SEND
    assert guarded.status(guarded.execute(deployment.portfolio, data, operation=1)) == DELEGATE
    assert guarded.refusal(guarded.carry_out(guarded.batch), role="user5")


CHANGES: Mapping[str, Callable[[Plan], Plan]] = {
    "vault": lambda plan: replace(plan, vault=STRANGER),
    "nonce key": lambda plan: with_terms(plan, nonce_key=1),
    "executor": lambda plan: with_terms(plan, executor=STRANGER),
    "loss": lambda plan: with_terms(plan, max_loss=2**64),
    "target": lambda plan: with_call(plan, target=STRANGER),
    "token": lambda plan: with_call(plan, token=STRANGER),
    "end of the key": lambda plan: with_call(plan, key=plan.batch.calls[0].key[:31] + b"\x77"),
    "start of the key": lambda plan: with_call(plan, key=b"\x77" + plan.batch.calls[0].key[1:]),
    "key of another connector": lambda plan: with_call(plan, key=plan.batch.calls[1].key),
}


async def test_an_argument_that_the_policy_does_not_name_is_refused_by_the_modifier(guarded: Guarded) -> None:
    assert guarded.refusal(guarded.carry_out(guarded.batch)) == b"", "but for the change it passes"
    seen = {
        name: guarded.status(guarded.carry_out(change(guarded.batch))) for name, change in CHANGES.items()
    }
    assert not [name for name, status in seen.items() if status in (TARGET, FUNCTION, SEND, DELEGATE)]


async def test_a_call_of_another_function_of_a_connector_is_refused_by_the_modifier(guarded: Guarded) -> None:
    data = artefact(guarded.batch).execute_data()
    inner = guarded.batch.batch.calls[0].data
    assert data.count(inner) == 1
    other = data.replace(inner, keccak(b"rescue(bytes32,uint256)")[:4] + inner[4:])
    portfolio = guarded.stage.deployment.portfolio
    assert guarded.status(guarded.execute(portfolio, other)) not in (TARGET, FUNCTION, SEND, DELEGATE)


async def test_a_settlement_of_another_vault_is_refused_by_the_modifier(guarded: Guarded) -> None:
    data = artefact(replace(guarded.settlement, vault=STRANGER)).execute_data()
    vault = guarded.stage.deployment.vault
    assert guarded.status(guarded.execute(vault, data)) not in (TARGET, FUNCTION, SEND, DELEGATE)
