"""A Safe transaction on its way from owner to owner: a JSON file with the plans, the hash and the signatures.

Nothing in it is believed: plans decode or are refused, the transaction and its hash follow from the plans,
and a signature counts when it recovers to its owner over that hash. Whether the plans are right is for each
owner to derive (`keeper.safe.owner`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

from pydantic import Field

from keeper import files
from keeper.chain.block import hex_bytes
from keeper.config import CheckedAddress, StrictModel, parse
from keeper.errors import ConfigError, DecodeError, PlanError, PolicyError, QuorumError
from keeper.json_input import parse_json
from keeper.planning.plan import Plan
from keeper.planning.policy import Policy
from keeper.quorum.typed_data import Signature, check
from keeper.safe.account import SafePolicy
from keeper.safe.nested import Member
from keeper.safe.transaction import SafeTransaction, combine, plan_call
from keeper.units import Address

FORMAT: Final = "omnikeeper/safe-transaction"
VERSION: Final = 1
MAX_BYTES: Final = 4 * 1024 * 1024


class _SignatureForm(StrictModel):
    owner: CheckedAddress
    signature: str

    def signed(self) -> Signature:
        return Signature(Address(self.owner), hex_bytes(self.signature))


class _MemberForm(_SignatureForm):
    safe: CheckedAddress


class _Form(StrictModel):
    """The file. Integers are decimal, bytes 0x and hex digits."""

    format: Literal["omnikeeper/safe-transaction"]
    version: Literal[1]
    chain_id: int = Field(strict=True, gt=0)
    safe: CheckedAddress
    portfolio: CheckedAddress
    multi_send: CheckedAddress | None
    nonce: int = Field(strict=True, ge=0)
    safe_tx_hash: str
    plans: tuple[str, ...] = Field(min_length=1)
    signatures: tuple[_SignatureForm, ...]
    members: tuple[_MemberForm, ...] = ()


@dataclass(frozen=True)
class Envelope:
    """Plans as one Safe transaction, and who has signed it. Signatures are sorted by owner, each valid, and
    so are those of `members`, in the name of owners that are Safes themselves.

    `portfolio` and `multi_send` are those of the policy it was proposed by. Raises PlanError for plans that
    do not go together, and QuorumError for a signature that is none.
    """

    safe: Address
    portfolio: Address
    multi_send: Address | None
    nonce: int
    plans: tuple[Plan, ...]
    signatures: tuple[Signature, ...] = ()
    members: tuple[Member, ...] = ()

    def __post_init__(self) -> None:
        slots = [(plan.kind, plan.slot) for plan in self.plans]
        if len({(plan.chain_id, plan.vault) for plan in self.plans}) > 1:
            raise PlanError("Plans of several vaults in one transaction")
        if len(set(slots)) < len(slots):
            raise PlanError("Two plans for one slot: only one of them can be executed", seen=slots)
        owners = [int(each.signer, 16) for each in self.signatures]
        if owners != sorted(set(owners)):
            raise QuorumError("Signatures are sorted by owner, one each", seen=owners)
        places = [each.order for each in self.members]
        if places != sorted(set(places)):
            raise QuorumError("Members are sorted by their Safe and owner, one each", seen=places)
        transaction = self.transaction
        for each in self.signatures:
            check(transaction.hash, each)
        for member in self.members:
            member.check(transaction.chain_id, transaction.hash)

    @property
    def transaction(self) -> SafeTransaction:
        """What the owners sign; it follows from the plans."""
        calls = [plan_call(plan, self.portfolio) for plan in self.plans]
        chain_id = self.plans[0].chain_id if self.plans else 0
        return combine(calls, chain_id=chain_id, safe=self.safe, nonce=self.nonce, multi_send=self.multi_send)

    @property
    def hash(self) -> bytes:
        return self.transaction.hash

    def with_signatures(self, signatures: Sequence[Signature]) -> Envelope:
        """The same with these as well; an owner's first one stays. Raises QuorumError for an invalid one."""
        known = {each.signer: each for each in (*reversed(signatures), *self.signatures)}
        ordered = sorted(known.values(), key=lambda each: int(each.signer, 16))
        return replace(self, signatures=tuple(ordered))

    def with_members(self, members: Sequence[Member]) -> Envelope:
        """The same with these as well; a first signature stays. Raises QuorumError for an invalid one."""
        known = {each.order: each for each in (*reversed(members), *self.members)}
        return replace(self, members=tuple(known[order] for order in sorted(known)))

    def merge(self, other: Envelope) -> Envelope:
        """Both files' signatures. Raises QuorumError when the other is of another transaction."""
        if replace(other, signatures=(), members=()) != replace(self, signatures=(), members=()):
            raise QuorumError(
                "Files of different Safe transactions do not merge", expected=self.hash, seen=other.hash
            )
        return self.with_signatures(other.signatures).with_members(other.members)

    def require(self, policy: Policy) -> None:
        """Raises PolicyError unless it is for the policy's vault, through the policy's Safe, with nothing but
        what the policy allows."""
        safe, vault = safe_policy(policy), policy.vault
        for what, expected, seen in (
            ("safe", vault.quorum, self.safe),
            ("portfolio", vault.portfolio, self.portfolio),
            ("multi_send", safe.multi_send, self.multi_send),
        ):
            if expected != seen:
                raise PolicyError("The policy does not allow this", expected=expected, seen=seen, where=what)
        for plan in self.plans:
            if plan.policy_hash != policy.hash:
                raise PolicyError("Another policy", expected=policy.hash, seen=plan.policy_hash)
            policy.check(plan)

    def to_json(self) -> str:
        body = {
            "format": FORMAT,
            "version": VERSION,
            "chain_id": self.transaction.chain_id,
            "safe": self.safe,
            "portfolio": self.portfolio,
            "multi_send": self.multi_send,
            "nonce": self.nonce,
            "safe_tx_hash": "0x" + self.hash.hex(),
            "plans": ["0x" + plan.to_bytes().hex() for plan in self.plans],
            "signatures": [
                {"owner": each.signer, "signature": "0x" + each.data.hex()} for each in self.signatures
            ],
            "members": [
                {
                    "safe": each.safe,
                    "owner": each.signature.signer,
                    "signature": "0x" + each.signature.data.hex(),
                }
                for each in self.members
            ],
        }
        return json.dumps(body, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str, *, where: object = None) -> Envelope:
        """Raises ConfigError for what is no such file, and PlanError, QuorumError or DecodeError for one
        whose parts do not hold."""
        form = _form(text, where)
        made = cls(
            safe=Address(form.safe),
            portfolio=Address(form.portfolio),
            multi_send=None if form.multi_send is None else Address(form.multi_send),
            nonce=form.nonce,
            plans=tuple(Plan.from_bytes(hex_bytes(each)) for each in form.plans),
        )
        stated = (form.chain_id, hex_bytes(form.safe_tx_hash))
        if stated != (made.transaction.chain_id, made.hash):
            raise DecodeError(
                "The file's plans are another Safe transaction than its hash says",
                expected=f"chain {made.transaction.chain_id}, 0x{made.hash.hex()}",
                seen=f"chain {stated[0]}, 0x{stated[1].hex()}",
                where=where,
            )
        return replace(
            made,
            signatures=tuple(each.signed() for each in form.signatures),
            members=tuple(Member(Address(each.safe), each.signed()) for each in form.members),
        )


def safe_policy(policy: Policy) -> SafePolicy:
    """The policy's Safe. Raises PolicyError when the keeper role is a KeeperQuorum's."""
    if policy.safe is None:
        raise PolicyError(
            "The policy's keeper is no Safe",
            expected="a section safe",
            hint="A KeeperQuorum's signatures are collected by its signers' services.",
        )
    return policy.safe


def load(path: Path) -> Envelope:
    """Reads a file. Raises ConfigError when it cannot be read, and as `Envelope.from_json`."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise ConfigError("File too large", expected=f"at most {MAX_BYTES} bytes", where=path)
        return Envelope.from_json(data.decode(), where=path)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError("Cannot read the Safe transaction", where=path, seen=error) from error


def save(envelope: Envelope, path: Path, *, new: bool = False) -> None:
    """Writes the file whole or not at all; a `new` one never over another. Raises ConfigError."""
    if not new:
        files.write(path, envelope.to_json().encode(), "Safe transaction")
        return
    try:
        with path.open("x") as file:
            file.write(envelope.to_json())
    except OSError as error:
        raise ConfigError("Cannot write the Safe transaction", where=path, seen=error.strerror) from error


def _form(text: str, where: object) -> _Form:
    data = parse_json(text, where=where)
    if not isinstance(data, Mapping) or not all(isinstance(key, str) for key in data):
        raise ConfigError("Not a Safe transaction's file", expected="a JSON object", where=where)
    return parse(data, _Form, where=where)
