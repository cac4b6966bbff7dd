import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keeper.contracts import Contract, Function, address, artifact, decode_revert, encode_call
from keeper.contracts.export import export
from keeper.errors import ConfigError, DecodeError

USER = address("0x" + "ab" * 20)
uint = st.integers(0, 2**256 - 1)


@given(uint)
def test_calldata_has_the_published_selector_and_padded_arguments(amount: int) -> None:
    data = encode_call("transfer(address,uint256)", USER, amount)
    assert data.hex() == "a9059cbb" + "00" * 12 + "ab" * 20 + f"{amount:064x}"
    assert Function("transfer(address,uint256)").decode_input(data) == (USER, amount)


def test_call_is_equal_and_sorted_by_target_and_data() -> None:
    balance = Function("balanceOf(address)", "(uint256)")
    named, plain = balance.at(USER, USER, owner="Token"), balance.at(USER, USER)
    assert named == plain
    assert named.label == f"Token.balanceOf({USER})"
    assert sorted([balance.at(USER, USER), balance.at(address("0x" + "01" * 20), USER)])[1] == plain


def test_outputs_are_unwrapped_and_addresses_checksummed() -> None:
    word = bytes(12) + b"\xab" * 20
    assert Function("owner()", "(address)").decode(word) == USER
    assert Function("pair()", "(address,uint256)").decode(word + bytes(32)) == (USER, 0)
    assert Function("nested()", "((address,uint256))").decode(word + bytes(32)) == (USER, 0)
    assert Function("nothing()").decode(b"") is None


@pytest.mark.parametrize("data", [b"", bytes(31), b"\x01" + bytes(31)])
def test_bytes_that_are_not_of_the_type_are_refused(data: bytes) -> None:
    with pytest.raises(DecodeError):
        Function("owner()", "(address)").decode(data)


def test_a_string_that_is_not_utf_8_is_refused() -> None:
    function = Function("description()", "(string)")
    data = encode_call("f(string)", "ETH / USD")[4:]
    assert function.decode(data) == "ETH / USD"
    with pytest.raises(DecodeError, match="utf-8"):
        function.decode(data.replace(b"ETH /", b"ETH\xa0/"))


@pytest.mark.parametrize(
    "signature", ["transfer", "transfer(uint)", "transfer(uint7)", "(uint256)", "f(uint256"]
)
def test_malformed_signature_is_refused(signature: str) -> None:
    with pytest.raises(ConfigError):
        Function(signature)


def test_argument_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ConfigError, match="Arguments do not fit"):
        encode_call("f(uint8)", 256)
    with pytest.raises(ConfigError, match="Wrong number of arguments"):
        encode_call("f(uint8)")
    with pytest.raises(ConfigError, match="Not an address"):
        address("0x12")


def test_handle_encodes_from_the_built_abi() -> None:
    weth = Contract(USER, "WETH9")
    assert weth.call("balanceOf", USER).data == encode_call("balanceOf(address)", USER)
    assert weth.encode("withdraw(uint256)", 7) == encode_call("withdraw(uint256)", 7)
    assert weth.call("symbol").label == "WETH9.symbol()"
    with pytest.raises(
        ConfigError, match=r"WETH9\.withdraw with 0 arguments is unknown: expected withdraw\(uint256\)"
    ):
        weth.call("withdraw")


def test_missing_artifact_says_what_to_run() -> None:
    with pytest.raises(ConfigError, match="make build"):
        artifact("Nonexistent")


def test_library_is_linked_where_the_compiler_left_its_place() -> None:
    pool = artifact("PoolInstance")
    libraries = {name: USER for name in pool.libraries}
    code = pool.creation_code(USER, USER, libraries=libraries)
    places = [place for names in pool.link_references.values() for found in names.values() for place in found]
    assert len(places) > 0
    assert all(code[place["start"] : place["start"] + 20] == b"\xab" * 20 for place in places)
    with pytest.raises(ConfigError, match="is not linked"):
        pool.creation_code(USER, USER)


def test_interface_has_no_code() -> None:
    with pytest.raises(ConfigError, match="interface or abstract"):
        artifact("IConnector").creation_code()


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        (b"", "EmptyRevert()"),
        (encode_call("Error(string)", "no"), "Error(no)"),
        (encode_call("Panic(uint256)", 0x12), "Panic(division by zero)"),
        (encode_call("Panic(uint256)", 0x99), "Panic(153)"),
        (encode_call("NavBelowFloor(uint256,uint256)", 99, 100), "NavBelowFloor(navLow=99, floor=100)"),
        (bytes.fromhex("12345678"), "UnknownError(0x12345678)"),
        (
            encode_call("Error(string)", "no").replace(b"no", b"\xa0\xa0"),
            "UnknownError(0x" + encode_call("Error(string)", "no").replace(b"no", b"\xa0\xa0").hex() + ")",
        ),
        (encode_call("Error(string)", "no")[:20], "UnknownError(0x08c379a0" + "00" * 16 + ")"),
    ],
)
def test_revert_reads_in_the_contracts_own_words(data: bytes, shown: str) -> None:
    assert decode_revert(data, "IPortfolio") == shown


def _build(root: Path, source: str, name: str, code: str) -> None:
    folder = root / "out" / "omnikeeper" / f"{name}.sol"
    folder.mkdir(parents=True, exist_ok=True)
    built = {"object": code, "linkReferences": {}}
    metadata = {"settings": {"compilationTarget": {source: name}}}
    (folder / f"{name}.json").write_text(
        json.dumps({"abi": [], "bytecode": built, "deployedBytecode": built, "metadata": metadata})
    )


def test_export_takes_our_contracts_and_drops_what_is_no_longer_built(tmp_path: Path) -> None:
    _build(tmp_path, "contracts/src/Vault.sol", "Vault", "0x01")
    _build(tmp_path, "contracts/test/Vault.t.sol", "VaultTest", "0x02")
    _build(tmp_path, "node_modules/x/ERC20.sol", "ERC20", "0x03")
    target = tmp_path / "artifacts"
    target.mkdir()
    (target / "Gone.json").write_text("{}")
    assert export(tmp_path, target) == ("Vault",)
    assert [file.name for file in target.iterdir()] == ["Vault.json"]


def test_export_without_a_build_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="make build"):
        export(tmp_path, tmp_path / "artifacts")
