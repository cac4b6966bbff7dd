"""What the mutations found, one by one."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import cbor2
import pytest
from aiohttp import web
from local_http import Answer, serving
from mutations import of_cbor
from parsers import bundle, in_file, keystore, parsers, public_keys, unlocked

from keeper import canonical
from keeper.chain.block import BlockRef, quantity
from keeper.chain.history import LogQuery, read_history
from keeper.chain.rpc import Endpoint
from keeper.chain.simulate import Scene, simulate
from keeper.errors import ConfigError, DecodeError, EndpointError, RpcError
from keeper.execution.look import find
from keeper.json_input import parse_json
from keeper.planning import policy
from keeper.quorum.kms import ethereum_address
from keeper.simulation import bundle as bundles
from keeper.simulation.bundle import Bundle
from keeper.units import Address


@pytest.mark.parametrize("text", ["-0x1", "0x-1", "0x_1", "1", " 0x1", "0x", "0x" + "f" * 65, "0x٣", None, 1])
def test_a_quantity_is_hex_of_a_word_and_nothing_else(text: Any) -> None:
    with pytest.raises(DecodeError, match="quantity"):
        quantity(text)


def test_what_a_node_says_in_floats_can_be_passed_on_and_kept() -> None:
    said = parse_json('{"gasUsedRatio": [0.5]}')
    kept = Bundle.from_bytes(bundle())
    kept.record("eth_feeHistory", ["0x1", "latest", []], said)
    assert Bundle.from_bytes(kept.to_bytes()).answer("eth_feeHistory", ["0x1", "latest", []]) == said
    assert parse_json("0.1", exact=True) == Decimal("0.1")


@pytest.mark.parametrize("data", ['"\\ud800"', '{"\\udfff": 1}', "NaN", "[-Infinity]"])
def test_json_that_could_not_be_written_again_is_refused(data: str) -> None:
    with pytest.raises(DecodeError):
        parse_json(data)


def test_json_has_both_halves_of_a_character() -> None:
    assert parse_json('"\\ud83d\\ude00"') == "\U0001f600"


@pytest.mark.parametrize("code", ["abc", [], {"a": 1}, 1.5, None])
async def test_an_error_with_a_code_that_is_no_number_is_still_the_nodes_error(code: object) -> None:
    async def refuse(request: web.Request) -> web.Response:
        asked = await request.json()
        return web.json_response({"id": asked["id"], "error": {"code": code, "message": "no"}})

    async with serving(refuse) as url, Endpoint(url, 1) as endpoint:
        with pytest.raises(RpcError, match="no"):
            await endpoint.ask("eth_blockNumber")


def answering(result: object) -> Answer:
    async def answer(request: web.Request) -> web.Response:
        return web.json_response({"id": (await request.json())["id"], "result": result})

    return answer


BLOCK = BlockRef(1, 7, b"\x0b" * 32, b"\x0c" * 32, 9, 0)
ANYBODY = Address("0x" + "12" * 20)


@pytest.mark.parametrize("result", [[{"calls": ["text"]}], [{"calls": [None]}], [[]], {}, "0x"])
async def test_an_answer_that_is_no_simulation_is_refused(result: object) -> None:
    async with serving(answering(result)) as url, Endpoint(url, 1) as endpoint:
        with pytest.raises(DecodeError, match="eth_simulateV1"):
            await simulate(endpoint, Scene(BLOCK, 10, ANYBODY, ()))


@pytest.mark.parametrize("where", [{}, {"address": None}, {"address": 1}])
async def test_a_log_of_nobody_is_not_one_that_was_asked_for(where: dict[str, Any]) -> None:
    log: dict[str, Any] = {name: "0x7" for name in ("blockNumber", "logIndex")}
    log |= {name: "0x" + "0b" * 32 for name in ("blockHash", "transactionHash", "data")} | {"topics": []}
    async with serving(answering([log | where])) as url, Endpoint(url, 1) as endpoint:
        with pytest.raises(EndpointError, match="not asked for"):
            await read_history(endpoint, BLOCK, [LogQuery(ANYBODY, (), 1)])


@pytest.mark.parametrize("raw", [{}, [], {"blockHash": None}, {"blockHash": "0x", "logs": None}])
async def test_what_is_no_receipt_is_refused(raw: object) -> None:
    async def answer(request: web.Request) -> web.Response:
        asked = await request.json()
        results = {"eth_chainId": "0x1", "eth_getTransactionReceipt": raw}
        return web.json_response({"id": asked["id"], "result": results[asked["method"]]})

    async with serving(answer) as url, Endpoint(url, 1) as endpoint:
        with pytest.raises(DecodeError):
            await find(endpoint, b"\x01" * 32)


@pytest.mark.parametrize("value", ["9" * 5_000, "[" * 50_000, "a." * 50 + "b = 1\nc"])
def test_toml_without_end_is_refused(tmp_path: Path, value: str) -> None:
    with pytest.raises(ConfigError, match=r"Not TOML|Invalid"):
        in_file(tmp_path, policy.load)(f"name = {value}\n".encode())


COSTLY: dict[str, Any] = {
    "pbkdf2": {"dklen": 32, "c": 10**9, "prf": "hmac-sha256", "salt": "aa"},
    "scrypt": {"dklen": 32, "n": 2**30, "r": 8, "p": 1, "salt": "aa"},
}


@pytest.mark.parametrize("kdf", COSTLY)
def test_a_keystore_that_would_take_years_to_open_is_refused(tmp_path: Path, kdf: str) -> None:
    body = json.loads(keystore())
    body["crypto"] |= {"kdf": kdf, "kdfparams": COSTLY[kdf]}
    with pytest.raises(ConfigError, match=f"crypto.{kdf}.kdfparams"):
        in_file(tmp_path, unlocked)(json.dumps(body).encode())


@pytest.mark.parametrize(
    "change",
    [
        {"version": 1},
        {"crypto": None},
        {"crypto": []},
        {"crypto": {"kdf": "scrypt"}},
        {"crypto": {"kdf": []}},
    ],
)
def test_what_is_no_keystore_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="not an encrypted keystore"):
        in_file(tmp_path, unlocked)(json.dumps(json.loads(keystore()) | change).encode())


def test_a_keystore_nested_without_end_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not an encrypted keystore"):
        in_file(tmp_path, unlocked)(b"[" * 100_000)


@pytest.mark.parametrize("key", [b"", b"\x30", public_keys()[0][:-1]])
def test_a_service_that_answers_with_no_key_is_refused(key: bytes) -> None:
    with pytest.raises(ConfigError, match="Not a public key"):
        ethereum_address("a key", {"PublicKey": key})


def test_a_bundle_that_could_not_answer_is_refused() -> None:
    body = cbor2.loads(bundle())[2]
    who = next(iter(body["accounts"]))
    block = next(iter(body["blocks"]))
    changes: list[dict[str, Any]] = [
        {"block": [1, [], *body["block"][2:]]},
        {"codes": []},
        {"slots": [[who, 0, "text"]]},
        {"slots": [[who, 0, b"\x01"]]},
        {"accounts": {who: {"balance": "much"}}},
        {"accounts": {who: {"wealth": "0x1"}}},
        {"blocks": {block: body["blocks"][block] | {"transactions": [{}]}}},
        {"blocks": {block: body["blocks"][block] | {"transactions": [{"hash": b"no text"}]}}},
        {"answers": {"[]": "[" * 60_000}},
    ]
    for change in changes:
        with pytest.raises(DecodeError):
            Bundle.from_bytes(canonical.encode(body | change, domain=bundles.DOMAIN, version=bundles.VERSION))


@pytest.mark.parametrize("levels", [10, 200])
def test_a_graph_that_is_endless_as_a_tree_is_refused_by_whoever_reads_canonical_bytes(
    tmp_path: Path, levels: int
) -> None:
    doubled = b"\xd8\x1c\x81\x00"
    for i in range(levels):
        doubled += b"\xd8\x1c\x82" + 2 * (b"\xd8\x1d" + cbor2.dumps(i))
    readers = [each for each in parsers(tmp_path) if each.mutate is of_cbor]
    assert len(readers) == 5
    for reader in readers:
        domain, version, _ = cbor2.loads(reader.seeds[0])
        data = b"\x83" + cbor2.dumps(domain) + cbor2.dumps(version) + b"\x99"
        with pytest.raises(reader.refusal, match="saw tag 28,"):
            reader.parse(data + (levels + 1).to_bytes(2) + doubled)
