"""Safe transactions: their hash as owners sign it, several calls as one, and the call that executes them.

Facts from `Safe.sol`, `MultiSendCallOnly.sol` (safe-smart-account 1.3 and later) and EIP-712.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

from keeper.contracts import Function
from keeper.contracts.abi import address
from keeper.errors import DecodeError, PlanError, QuorumError
from keeper.planning.plan import Kind, Plan
from keeper.quorum import eip712
from keeper.quorum.typed_data import Signature, artefact, check
from keeper.safe.account import NOBODY
from keeper.units import Address

_MEMBERS: Final = (
    ("address", "to"),
    ("uint256", "value"),
    ("bytes", "data"),
    ("uint8", "operation"),
    ("uint256", "safeTxGas"),
    ("uint256", "baseGas"),
    ("uint256", "gasPrice"),
    ("address", "gasToken"),
    ("address", "refundReceiver"),
    ("uint256", "nonce"),
)
TYPES: Final[eip712.Types] = {"SafeTx": _MEMBERS}

EXECUTE: Final = Function(
    "execTransaction(address,uint256,bytes,uint8,uint256,uint256,uint256,address,address,bytes)", "(bool)"
)
MULTI_SEND: Final = Function("multiSend(bytes)")


class Operation(IntEnum):
    """How the Safe performs a transaction; DELEGATECALL runs the target's code as the Safe."""

    CALL = 0
    DELEGATECALL = 1


@dataclass(frozen=True)
class InnerCall:
    """A call that the Safe makes, without value."""

    to: Address
    data: bytes


@dataclass(frozen=True)
class SafeTransaction:
    """One transaction of a Safe. Ours carry no value and refund nobody: the relayer pays the gas."""

    chain_id: int
    safe: Address
    to: Address
    data: bytes
    nonce: int
    operation: Operation = Operation.CALL

    @property
    def message(self) -> dict[str, Any]:
        """The members of the EIP-712 struct `SafeTx`."""
        return {
            "to": self.to,
            "value": 0,
            "data": self.data,
            "operation": int(self.operation),
            "safeTxGas": 0,
            "baseGas": 0,
            "gasPrice": 0,
            "gasToken": NOBODY,
            "refundReceiver": NOBODY,
            "nonce": self.nonce,
        }

    @property
    def hash(self) -> bytes:
        """`Safe.getTransactionHash`: the 32 bytes that owners sign."""
        return transaction_hash(self.chain_id, self.safe, self.message)

    def execute_data(
        self, signatures: Sequence[Signature], threshold: int, contracts: Sequence[Signature] = ()
    ) -> bytes:
        """Calldata of `execTransaction`, for anyone to send. `contracts` are signatures of owners that are
        contracts, which only the chain can check.

        Raises QuorumError unless the others are over this hash, each by another signer, and all together
        at least `threshold`.
        """
        for each in signatures:
            check(self.hash, each)
        ordered = sorted({each.signer: each for each in (*signatures, *contracts)}.values(), key=_number)
        if len(ordered) < threshold:
            raise QuorumError("Signed by too few", expected=f"{threshold} owners", seen=len(ordered))
        m = self.message
        names = [name for _, name in _MEMBERS if name != "nonce"]
        packed = _packed_signatures(ordered[:threshold], {each.signer for each in contracts})
        return EXECUTE.encode(*(m[name] for name in names), packed)


def transaction_hash(chain_id: int | None, safe: Address, message: dict[str, Any]) -> bytes:
    """Hash of any Safe transaction. `chain_id` is None for a Safe before 1.3, whose domain has none."""
    domain: dict[str, Any] = {"verifyingContract": safe}
    if chain_id is not None:
        domain["chainId"] = chain_id
    return eip712.digest(eip712.domain_separator(domain), eip712.hash_struct(TYPES, "SafeTx", message))


def plan_call(plan: Plan, portfolio: Address) -> InnerCall:
    """What the Safe calls to carry out a plan: the portfolio for a batch, the vault for a settlement."""
    target = portfolio if plan.kind is Kind.BATCH else plan.vault
    return InnerCall(target, artefact(plan).execute_data())


def combine(
    calls: Sequence[InnerCall], *, chain_id: int, safe: Address, nonce: int, multi_send: Address | None
) -> SafeTransaction:
    """The transaction that makes all the calls, in order, or none: a plain call where there is one, else a
    delegate call of `multi_send`, a MultiSendCallOnly. Raises PlanError for no calls, and for several where
    there is no `multi_send`."""
    if not calls:
        raise PlanError("A Safe transaction needs a call", expected="one or more", seen=0)
    if len(calls) == 1:
        return SafeTransaction(chain_id, safe, calls[0].to, calls[0].data, nonce)
    if multi_send is None:
        raise PlanError(
            "Several calls in one transaction need a MultiSendCallOnly",
            expected="multi_send in the policy's section safe",
            seen=f"{len(calls)} calls",
        )
    packed = b"".join(_packed(each) for each in calls)
    data = MULTI_SEND.encode(packed)
    return SafeTransaction(chain_id, safe, multi_send, data, nonce, Operation.DELEGATECALL)


def calls_of(transaction: SafeTransaction, multi_send: Address | None) -> tuple[InnerCall, ...]:
    """What a transaction does, call by call: the inverse of `combine`.

    Raises DecodeError for a delegate call of anything but `multi_send`, and for inner calls with value or
    that are delegate calls themselves.
    """
    if transaction.operation is Operation.CALL:
        return (InnerCall(transaction.to, transaction.data),)
    if transaction.to != multi_send:
        raise DecodeError(
            "Delegate call of an unknown contract: it could do anything as the Safe",
            expected=multi_send,
            seen=transaction.to,
        )
    (packed,) = MULTI_SEND.decode_input(transaction.data)
    found, at = [], 0
    while at < len(packed):
        head = packed[at : at + _HEAD]
        length = int.from_bytes(head[53:85], "big")
        data = packed[at + _HEAD : at + _HEAD + length]
        if len(head) < _HEAD or len(data) < length or any(head[:1]) or any(head[21:53]):
            raise DecodeError("Not a list of plain calls without value", seen=head, where=f"byte {at}")
        found.append(InnerCall(address("0x" + head[1:21].hex()), data))
        at += _HEAD + length
    return tuple(found)


_HEAD: Final = 1 + 20 + 32 + 32
"""Operation, target, value and length before each inner call's data."""


def _packed(call: InnerCall) -> bytes:
    target = bytes.fromhex(call.to[2:])
    return bytes(1) + target + bytes(32) + len(call.data).to_bytes(32, "big") + call.data


def _packed_signatures(ordered: Sequence[Signature], contracts: Collection[Address]) -> bytes:
    """As `Safe.checkNSignatures` reads them: 65 bytes each, where a contract's are its address, the place of
    its own signature behind all of them, and 0 for v."""
    heads, tail = b"", b""
    for each in ordered:
        if each.signer not in contracts:
            heads += each.data
            continue
        place = len(ordered) * _SIGNATURE + len(tail)
        heads += bytes(12) + bytes.fromhex(each.signer[2:]) + place.to_bytes(32, "big") + bytes(1)
        tail += len(each.data).to_bytes(32, "big") + each.data
    return heads + tail


_SIGNATURE: Final = 65
"""Bytes of r, s and v."""


def _number(signature: Signature) -> int:
    return int(signature.signer, 16)
