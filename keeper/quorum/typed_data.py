"""What the quorum signs: the on-chain structs of a plan, their EIP-712 digests, and signature checks.

Domain and types are those of `contracts/src/KeeperQuorum.sol`; the structs are those of
`contracts/src/interfaces/Types.sol`, members in their order.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from eth_keys.datatypes import Signature as EcdsaSignature
from eth_keys.exceptions import BadSignature
from eth_utils.exceptions import ValidationError

from keeper.contracts import Function
from keeper.errors import QuorumError
from keeper.planning.calls import PlannedCall
from keeper.planning.plan import BatchTerms, Plan
from keeper.quorum import eip712
from keeper.units import Address

DOMAIN_NAME: Final = "OmniKeeper"
DOMAIN_VERSION: Final = "1"
SECP256K1_ORDER: Final = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141

_CALL: Final = (("address", "target"), ("address", "token"), ("uint256", "amount"), ("bytes", "data"))
_BATCH: Final = (
    ("address", "vault"),
    ("uint256", "nonceKey"),
    ("uint256", "nonce"),
    ("uint256", "signerSetVersion"),
    ("address", "executor"),
    ("uint256", "validAfter"),
    ("uint256", "validUntil"),
    ("bytes32", "planHash"),
    ("Call[]", "calls"),
    ("uint256", "minNavAfter"),
    ("uint256", "maxLoss"),
)
_SETTLEMENT: Final = (
    ("address", "vault"),
    ("uint256", "epoch"),
    ("uint256", "minPps"),
    ("uint256", "maxPps"),
    ("uint256", "validAfter"),
    ("uint256", "validUntil"),
    ("bytes32", "planHash"),
)
_REPORT: Final = (
    ("address", "vault"),
    ("uint256", "chainId"),
    ("uint256", "sequence"),
    ("uint256", "signerSetVersion"),
    ("address", "unit"),
    ("uint256", "low"),
    ("uint256", "high"),
    ("uint256", "takenAt"),
    ("uint256", "validUntil"),
    ("bytes32", "snapshotHash"),
)
BATCH_TYPES: Final[eip712.Types] = {"Batch": _BATCH, "Call": _CALL}
SETTLEMENT_TYPES: Final[eip712.Types] = {"Settlement": _SETTLEMENT}
REPORT_TYPES: Final[eip712.Types] = {"Report": _REPORT}

_BATCH_ABI: Final = (
    "(address,uint256,uint256,uint256,address,uint256,uint256,bytes32,"
    "(address,address,uint256,bytes)[],uint256,uint256)"
)
_SETTLEMENT_ABI: Final = "(address,uint256,uint256,uint256,uint256,uint256,bytes32)"
_SIGNATURES_ABI: Final = "(address,bytes)[]"

EXECUTE_BATCH: Final = Function(f"execute({_BATCH_ABI})")
SETTLE: Final = Function(f"settle({_SETTLEMENT_ABI})")
"""What has to be called as the keeper."""


@dataclass(frozen=True)
class Signature:
    """65 bytes r ‖ s ‖ v over a digest, and who made them."""

    signer: Address
    data: bytes


@dataclass(frozen=True)
class Struct:
    """A struct of the contracts with its EIP-712 types."""

    primary: str
    types: eip712.Types
    message: Mapping[str, Any]

    def values(self) -> tuple[Any, ...]:
        """The struct as an ABI tuple."""
        return tuple(
            [tuple(item[member] for _, member in _CALL) for item in self.message[name]]
            if kind == "Call[]"
            else self.message[name]
            for kind, name in self.types[self.primary]
        )

    def digest(self, chain_id: int, quorum: Address) -> bytes:
        """The 32 bytes to sign for the quorum contract at `quorum`, which is on the chain `chain_id`."""
        separator = eip712.domain_separator(domain(chain_id, quorum))
        return eip712.digest(separator, eip712.hash_struct(self.types, self.primary, self.message))


@dataclass(frozen=True)
class Artefact(Struct):
    """The one thing that is simulated, signed and sent: a struct, its types, and the functions it goes to.

    `execute` is what the quorum calls (`Portfolio.execute` or `Vault.settle`), `submit` is the function of
    the quorum that anyone calls with the signatures.
    """

    execute: Function
    submit: Function

    def execute_data(self) -> bytes:
        """Calldata of the unsigned call that the quorum makes: what signers simulate."""
        return self.execute.encode(self.values())

    def submit_data(self, signatures: Sequence[Signature]) -> bytes:
        """Calldata for the quorum with its signatures."""
        return self.submit.encode(self.values(), [(each.signer, each.data) for each in signatures])


@dataclass(frozen=True)
class Report:
    """What the quorum says a spoke chain held at one moment.

    `low` and `high` are in the smallest unit of `unit`, the vault's asset on its own chain. `sequence` grows
    with every report of a spoke. Times are UNIX seconds.
    """

    vault: Address
    spoke: int
    sequence: int
    signer_set_version: int
    unit: Address
    low: int
    high: int
    taken_at: int
    valid_until: int
    snapshot_hash: bytes


def domain(chain_id: int, quorum: Address) -> dict[str, Any]:
    """EIP-712 domain of a `KeeperQuorum`."""
    return {
        "name": DOMAIN_NAME,
        "version": DOMAIN_VERSION,
        "chainId": chain_id,
        "verifyingContract": quorum,
    }


def _call(call: PlannedCall) -> dict[str, Any]:
    return {"target": call.target, "token": call.token, "amount": call.amount, "data": call.data}


def _batch(plan: Plan, terms: BatchTerms) -> Artefact:
    message = {
        "vault": plan.vault,
        "nonceKey": terms.nonce_key,
        "nonce": terms.nonce,
        "signerSetVersion": plan.signer_set_version,
        "executor": terms.executor,
        "validAfter": plan.valid_after,
        "validUntil": plan.valid_until,
        "planHash": plan.plan_hash,
        "calls": [_call(call) for call in terms.calls],
        "minNavAfter": terms.min_nav_after,
        "maxLoss": terms.max_loss,
    }
    return Artefact(
        primary="Batch",
        types=BATCH_TYPES,
        message=message,
        execute=EXECUTE_BATCH,
        submit=Function(f"execute({_BATCH_ABI},{_SIGNATURES_ABI})"),
    )


def artefact(plan: Plan) -> Artefact:
    """The struct that stands for `plan` on chain."""
    if isinstance(plan.terms, BatchTerms):
        return _batch(plan, plan.terms)
    message = {
        "vault": plan.vault,
        "epoch": plan.terms.epoch,
        "minPps": plan.terms.min_pps,
        "maxPps": plan.terms.max_pps,
        "validAfter": plan.valid_after,
        "validUntil": plan.valid_until,
        "planHash": plan.plan_hash,
    }
    return Artefact(
        primary="Settlement",
        types=SETTLEMENT_TYPES,
        message=message,
        execute=SETTLE,
        submit=Function(f"settle({_SETTLEMENT_ABI},{_SIGNATURES_ABI})"),
    )


def report_struct(report: Report) -> Struct:
    """A report as signers sign it and `KeeperQuorum.checkReport` takes it."""
    message = {
        "vault": report.vault,
        "chainId": report.spoke,
        "sequence": report.sequence,
        "signerSetVersion": report.signer_set_version,
        "unit": report.unit,
        "low": report.low,
        "high": report.high,
        "takenAt": report.taken_at,
        "validUntil": report.valid_until,
        "snapshotHash": report.snapshot_hash,
    }
    return Struct("Report", REPORT_TYPES, message)


def recover(digest: bytes, data: bytes) -> Address:
    """Who signed. Raises QuorumError for bytes the contract would reject: wrong length, high s, bad v."""
    if len(data) != 65 or data[64] not in (27, 28):
        raise QuorumError("Not a signature", expected="65 bytes ending in 27 or 28", seen=data[:80])
    r, s = int.from_bytes(data[:32], "big"), int.from_bytes(data[32:64], "big")
    if s > SECP256K1_ORDER // 2:
        raise QuorumError(
            "Malleable signature", expected="s in the lower half of the curve's order", seen=data
        )
    try:
        signature = EcdsaSignature(vrs=(data[64] - 27, r, s))
        return Address(signature.recover_public_key_from_msg_hash(digest).to_checksum_address())
    except (BadSignature, ValidationError) as error:
        raise QuorumError("Signature recovers to nobody", seen=data) from error


def verify(
    digest: bytes, signatures: Sequence[Signature], *, signers: Collection[Address], threshold: int
) -> None:
    """Raises QuorumError unless `signatures` are what the quorum contract accepts for `digest`: sorted by
    signer, each once, each by one of `signers`, each valid, at least `threshold` of them."""
    previous = 0
    for each in signatures:
        number = int(each.signer, 16)
        if number == previous:
            raise QuorumError("Signed twice by the same signer", seen=each.signer)
        if number < previous:
            raise QuorumError("Signatures are not sorted by signer", seen=each.signer)
        if each.signer not in signers:
            raise QuorumError("Signed by a stranger", expected=", ".join(sorted(signers)), seen=each.signer)
        check(digest, each)
        previous = number
    if len(signatures) < threshold:
        raise QuorumError(
            "Signed by too few", expected=f"{threshold} of {len(signers)}", seen=f"{len(signatures)}"
        )


def check(digest: bytes, signature: Signature) -> None:
    """Raises QuorumError unless the signer it names made it for this digest."""
    author = recover(digest, signature.data)
    if author != signature.signer:
        raise QuorumError(
            "Signature of someone else, or of another digest", expected=signature.signer, seen=author
        )
