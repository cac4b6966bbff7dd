from pathlib import Path

import pytest

from keeper.config import CheckedAddress, EndpointUrl, StrictModel, StrictSettings, Url, api_key, load_toml
from keeper.errors import ConfigError


class Chain(StrictModel):
    chain_id: int
    endpoint: Url
    vault: CheckedAddress = "0x" + "00" * 20


class Keeper(StrictSettings):
    chains: dict[str, Chain]
    interval: int = 60


GOOD = """
interval = 30
[chains.hub]
chain_id = 1
endpoint = "https://user:word@rpc.example:8443/v2/topsecret"
vault = "0xabababababababababababababababababababab"
"""


def write(folder: Path, text: str) -> Path:
    file = folder / "keeper.toml"
    file.write_text(text)
    return file


def test_toml_becomes_typed_values(tmp_path: Path) -> None:
    config = load_toml(write(tmp_path, GOOD), Keeper)
    hub = config.chains["hub"]
    assert (config.interval, hub.chain_id) == (30, 1)
    assert hub.endpoint.secret() == "https://user:word@rpc.example:8443/v2/topsecret"
    assert hub.vault == "0xABaBaBaBABabABabAbAbABAbABabababaBaBABaB"


def test_environment_overrides_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEEPER_INTERVAL", "5")
    assert load_toml(write(tmp_path, GOOD), Keeper).interval == 5


def test_secrets_of_a_url_are_not_shown(tmp_path: Path) -> None:
    config = load_toml(write(tmp_path, GOOD), Keeper)
    shown = f"{config} {config!r} {config.chains['hub'].endpoint}"
    assert "https://rpc.example:8443" in shown
    assert not any(secret in shown for secret in ("topsecret", "word"))
    assert EndpointUrl("https://a.example/1") != EndpointUrl("https://a.example/2")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("interval", "intervall", "unknown key 'intervall': did you mean 'interval'?"),
        ("endpoint", "endpont", "chains.hub: unknown key 'endpont': did you mean 'endpoint'?"),
        ("interval", "zzz", "valid keys: chains, interval"),
        ("chain_id = 1", "", "chains.hub.chain_id: Field required"),
        ("chain_id = 1", "chain_id = 'x'", "chains.hub.chain_id"),
        ("https:", "ftp:", "chains.hub.endpoint: expected http(s)://host"),
        ("0xabab", "0xab", "chains.hub.vault: expected an address"),
    ],
)
def test_mistake_is_named_with_its_place_and_without_its_value(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    file = write(tmp_path, GOOD.replace(old, new, 1))
    with pytest.raises(ConfigError) as caught:
        load_toml(file, Keeper)
    assert message in str(caught.value)
    assert str(file) in str(caught.value)
    assert "topsecret" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_a_mark_that_an_editor_puts_before_a_file_is_no_part_of_it(tmp_path: Path) -> None:
    file = tmp_path / "marked.toml"
    file.write_bytes(b"\xef\xbb\xbf" + GOOD.encode())
    assert load_toml(file, Keeper) == load_toml(write(tmp_path, GOOD), Keeper)


@pytest.mark.parametrize(
    ("held", "key"), [("s3cr3t", "s3cr3t"), ("s3cr3t\n", "s3cr3t"), (" s3cr3t\r\n", "s3cr3t")]
)
def test_a_key_has_no_line_end(monkeypatch: pytest.MonkeyPatch, held: str, key: str) -> None:
    monkeypatch.setenv("A_KEY", held)
    assert api_key("A_KEY", "a key") == key
    assert api_key(None, "a key") == api_key("", "a key") == ""


@pytest.mark.parametrize("held", ["", "\n", "s3cr3t\nmore", "s3cr\x00et", "s3crét"])
def test_what_cannot_be_a_key_is_refused_and_not_shown(monkeypatch: pytest.MonkeyPatch, held: str) -> None:
    if "\x00" in held:
        monkeypatch.setattr("os.environ", {"A_KEY": held})
    else:
        monkeypatch.setenv("A_KEY", held)
    with pytest.raises(ConfigError, match="A_KEY") as caught:
        api_key("A_KEY", "a key")
    assert "s3cr" not in str(caught.value)


def test_file_that_is_missing_or_not_toml_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Cannot read the configuration"):
        load_toml(tmp_path / "none.toml", Keeper)
    with pytest.raises(ConfigError, match="Not TOML"):
        load_toml(write(tmp_path, "= 1"), Keeper)
