"""What reads bytes that others wrote, each with valid ones to begin from."""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ec import SECP256K1, derive_private_key
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from eth_account import Account
from eth_hash.auto import keccak
from eth_typing import Hash32
from examples import AT, UNIT, account, example_basis, example_policy, holding
from mutations import Mutate, garbled, of_cbor, of_json, of_toml
from quote_mutations import local
from safe_world import CHAIN, KEYS, SAFE, envelope, signed

from keeper.chain.block import BlockRef, header, header_hash
from keeper.chain.history import History, Log, LogQuery, Logs, Point, Series, SeriesQuery
from keeper.chain.lens import Result
from keeper.chain.snapshot import Snapshot
from keeper.config import EndpointUrl
from keeper.errors import KeeperError, PlanError
from keeper.json_input import parse_json
from keeper.planning import intent_file, intents, policy
from keeper.planning.attestation import Attestation
from keeper.planning.build import build_batch, build_settlement
from keeper.planning.evidence import Evidence, EvidenceKind
from keeper.planning.intents import Intents, Move, Target, Unwind
from keeper.planning.plan import PinnedBlock, Plan
from keeper.planning.strategy import Allocation
from keeper.quorum.key import KeySource, load_key
from keeper.quorum.kms import ethereum_address, ethereum_signature
from keeper.quorum.requests import NONCE, PROPOSER, SIGNATURE, TIMESTAMP, Claim
from keeper.safe import envelope as envelopes
from keeper.safe.service import TransactionService, confirmation
from keeper.simulation.bundle import Bundle
from keeper.swap.check import check
from keeper.units import Address

DATA = Path(__file__).parent / "data"
PASSWORD = "a planted password"
OWN = KEYS[0]


@dataclass(frozen=True)
class Parser:
    """`parse` returns for what is valid and raises `refusal` for everything else. `share` is how many of its
    cases there are in a step."""

    name: str
    seeds: tuple[bytes, ...]
    parse: Callable[[bytes], object]
    mutate: Mutate
    share: int = 6
    refusal: type[KeeperError] = KeeperError


def parsers(folder: Path) -> list[Parser]:
    """All that need no network; `folder` is for what is read from files."""

    quote, expected = local()
    return [
        Parser("plan", plans(), plan, of_cbor, share=12, refusal=PlanError),
        Parser("snapshot", snapshots(), snapshot, of_cbor),
        Parser("attestation", (attestation().to_bytes(),), Attestation.from_bytes, of_cbor),
        Parser("intents", (asked().to_bytes(),), intents.parse, of_cbor),
        Parser("fork bundle", (bundle(),), answering, of_cbor),
        Parser("policy", ((DATA / "policy.toml").read_bytes(),), in_file(folder, policy.load), of_toml, 2),
        Parser("intent file", (TOML,), in_file(folder, wishes), of_toml),
        Parser("intent file in JSON", (JSON,), in_file(folder, wishes, "intents.json"), of_json),
        Parser("keystore", (keystore(),), in_file(folder, unlocked), of_json, 2),
        Parser("request", (request(),), claim, of_json),
        Parser("Safe file", safe_files(), in_file(folder, envelopes.load), of_json, 2),
        Parser("Safe queue", (queue_entry(),), queued, of_json),
        Parser("LiFi quote", (quote,), lambda data: check(data, expected), of_json, 2),
        Parser("KMS signature", signatures(), kms_signature, garbled),
        Parser("KMS public key", public_keys(), kms_address, garbled),
    ]


def in_file(
    folder: Path, read: Callable[[Path], object], name: str = "file.toml"
) -> Callable[[bytes], object]:
    """What reads a file, as what reads bytes."""

    def parse(data: bytes) -> object:
        path = folder / name
        path.write_bytes(data)
        path.chmod(0o600)
        return read(path)

    return parse


# PLANS AND SNAPSHOTS


def plans() -> tuple[bytes, ...]:
    rules = example_policy()
    book = holding(rules, {"morpho:A": 0, "morpho:B": 5_000 * UNIT}, idle=1_000 * UNIT)
    wanted = Allocation.of({"morpho:A": 3_000 * UNIT, "morpho:B": 1_000 * UNIT}, "because")
    evidence = (Evidence(EvidenceKind.INTENT, "desk", AT, asked().to_bytes()),)
    basis = example_basis()
    leg = replace(basis, evidence=evidence, parent=b"\x01" * 32)
    made = build_batch(rules, book, wanted, basis), build_settlement(rules, 3, 10**27, leg)
    return tuple(each.to_bytes() for each in made)


def plan(data: bytes) -> None:
    """Whatever parses is the plan that exactly these bytes say."""
    parsed = Plan.from_bytes(data)
    assert parsed.to_bytes() == data
    assert parsed.plan_hash == keccak(data)


def snapshots() -> tuple[bytes, ...]:
    """Two chains, one of them without reads; and one chain with a history."""
    hub = BlockRef(1, 7, b"\x0b" * 32, b"\x0c" * 32, AT - 3, 9)
    spoke = BlockRef(10, 8, b"\x0d" * 32, b"\x0e" * 32, AT, 0)
    read = (Result(account(1), b"\x01" * 36, True, b"\x02" * 64), Result(account(2), b"", False, b""))
    log = Log(6, 0, b"\x0f" * 32, b"\x10" * 32, (b"\x07" * 32,), b"data")
    point = Point(7, b"\x0b" * 32, AT - 3, True, b"\x02" * 32)
    past = History(
        1,
        (Logs(LogQuery(account(3), (b"\x07" * 32, b""), 5), 3, 7, (log,)),),
        (Series(SeriesQuery(account(1), b"\x01" * 36, 2, 3), (point,)),),
    )
    made = Snapshot(AT, (hub, spoke), (read, ())), Snapshot(AT, (hub,), (read,), (past,))
    return tuple(each.to_bytes() for each in made)


def snapshot(data: bytes) -> None:
    parsed = Snapshot.from_bytes(data)
    assert parsed.to_bytes() == data
    assert parsed.hash == keccak(data)


def attestation() -> Attestation:
    head = PinnedBlock(1, 7, b"\x0b" * 32, AT)
    return Attestation(b"\x01" * 32, head, AT + 1, True, b"\x02" * 32, "desk")


def bundle() -> bytes:
    """A block, an account with code, a slot, and an answer about the past."""
    names = ("parentHash", "sha3Uncles", "stateRoot", "transactionsRoot", "receiptsRoot", "mixHash")
    numbers = ("difficulty", "number", "gasLimit", "gasUsed", "timestamp", "baseFeePerGas")
    raw: dict[str, Any] = {name: "0x" + "0a" * 32 for name in names} | dict.fromkeys(numbers, "0x7")
    raw |= {"miner": account(1), "logsBloom": "0x" + "00" * 256, "extraData": "0x", "nonce": "0x" + "00" * 8}
    raw |= {"hash": "0x" + header_hash(raw).hex(), "transactions": [{"hash": "0x01"}]}
    made = Bundle(header(raw, 1, "here"))
    made.record("eth_getBlockByNumber", ["0x7", True], raw)
    made.record("eth_getCode", [account(1), "latest"], "0x6001")
    made.record("eth_getBalance", [account(1), "latest"], "0x1")
    made.record("eth_getStorageAt", [account(1), "0x0", "latest"], "0x1234")
    made.record("eth_getLogs", [{"fromBlock": "0x1"}], [{"data": "0x"}])
    return made.to_bytes()


def answering(data: bytes) -> None:
    """A bundle that parses also answers, or says what it lacks."""
    parsed = Bundle.from_bytes(data)
    requests: tuple[tuple[str, list[Any]], ...] = (
        ("eth_getBlockByNumber", ["latest", False]),
        ("eth_getCode", [account(1), "latest"]),
        ("eth_getBalance", [account(1), "latest"]),
        ("eth_getStorageAt", [account(1), "0x0", "latest"]),
        ("eth_getLogs", [{"fromBlock": "0x1"}]),
    )
    for method, params in requests:
        json.dumps(parsed.answer(method, params))


# WHAT PEOPLE WRITE


def asked() -> Intents:
    wishes = (Move(source="a", destination="b", assets=7), Target(venue="c", share_bps=5), Unwind(venue="d"))
    return Intents(intents=wishes, reason="The market moved.", author="desk", issued_at=AT)


TOML = b"""author = "desk"
reason = "why"
issued_at = 8
[[intents]]
kind = "move"
source = "a"
destination = "b"
amount = "1250.5"
[[intents]]
kind = "hold"
until = 1970-01-01T01:00:09+01:00
"""
JSON = json.dumps(
    {
        "author": "desk",
        "reason": "why",
        "intents": [
            {"kind": "target", "venue": "a", "share_bps": 5},
            {"kind": "hold", "until": "1970-01-01T00:00:09Z"},
        ],
    }
).encode()


def wishes(path: Path) -> Intents:
    return intent_file.read(path, decimals=6, issued_at=7)


# WHAT SIGNERS AND SERVICES SEND


def keystore() -> bytes:
    return json.dumps(Account.encrypt(OWN.key, PASSWORD, kdf="pbkdf2", iterations=2)).encode()


def unlocked(path: Path) -> None:
    load_key(KeySource(keystore=path, password_env="PASSWORD"), {"PASSWORD": PASSWORD})


def request() -> bytes:
    headers = {PROPOSER: "aa" * 32, TIMESTAMP: str(AT), NONCE: "bb" * 16, SIGNATURE: "cc" * 64}
    return json.dumps(headers).encode()


def claim(data: bytes) -> None:
    """The headers that JSON stands for here: text by name, as HTTP has it."""
    try:
        body = json.loads(data)
    except (ValueError, RecursionError):
        body = {SIGNATURE: data.decode("latin-1")}
    headers = {str(name): str(each) for name, each in body.items()} if isinstance(body, dict) else {}
    assert not Claim.from_headers(headers).authentic("/", data)


def safe_files() -> tuple[bytes, ...]:
    made = envelope(1, 2)
    whole = made.with_signatures([signed(made.hash, key) for key in KEYS])
    return whole.to_json().encode(), envelope(3).to_json().encode()


def queue_entry() -> bytes:
    """As the API's documentation has it: amounts as text or numbers, and who has confirmed."""
    made = envelope(1, 2).transaction
    return json.dumps(
        {
            **made.message,
            "value": "0",
            "data": f"0x{made.data.hex()}",
            "safe": SAFE,
            "safeTxHash": f"0x{made.hash.hex()}",
            "confirmations": [
                {"owner": key.address, "signature": f"0x{signed(made.hash, key).data.hex()}"} for key in KEYS
            ],
        }
    ).encode()


def queued(data: bytes) -> None:
    entry = parse_json(data)
    TransactionService(EndpointUrl("http://localhost"), CHAIN).queued(entry, SAFE)
    listed = entry.get("confirmations")
    for each in listed if isinstance(listed, list) else ():
        confirmation(each)


DIGEST = keccak(b"a digest")


def signatures() -> tuple[bytes, ...]:
    made = OWN.unsafe_sign_hash(Hash32(DIGEST))
    return (encode_dss_signature(made.r, made.s),)


def kms_signature(data: bytes) -> None:
    ethereum_signature(DIGEST, data, Address(OWN.address))


def public_keys() -> tuple[bytes, ...]:
    numbers = derive_private_key(int.from_bytes(OWN.key, "big"), SECP256K1()).public_key()
    return (numbers.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),)


def kms_address(data: bytes) -> None:
    answer = {"PublicKey": data, "KeySpec": "ECC_SECG_P256K1", "SigningAlgorithms": ["ECDSA_SHA_256"]}
    ethereum_address("a key", answer)


# RUNNING


def outcomes(parser: Parser, cases: int, seed: str) -> Counter[str]:
    """How many of so many mutations were refused by an error of ours, and how many not. Whatever else a
    parser raises comes with what it had read."""
    random, found = Random(f"{seed}/{parser.name}"), Counter[str]()
    for _ in range(cases):
        data = parser.mutate(random, random.choice(parser.seeds), parser.seeds)
        try:
            parser.parse(data)
        except parser.refusal as error:
            str(error).encode()
            found["refused"] += 1
        except BaseException as error:
            error.add_note(f"{parser.name} read {data!r}")
            raise
        else:
            found["parsed"] += 1
    return found
