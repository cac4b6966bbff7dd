"""Building is deterministic, loading is quick, and the cache is found by content."""

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from keeper.simulation import devnet as module
from keeper.simulation.devnet import BuiltChain, Devnet, content_key, ensure_built


@pytest.fixture(scope="module")
def second_build(tmp_path_factory: pytest.TempPathFactory) -> BuiltChain:
    return ensure_built(cache=tmp_path_factory.mktemp("cache"))


def test_two_builds_give_the_same_addresses_block_hash_and_state_root(
    built_chain: BuiltChain, second_build: BuiltChain
) -> None:
    assert second_build.path != built_chain.path
    assert second_build.manifest == built_chain.manifest
    assert (second_build.path / "allocs.json").read_bytes() == (built_chain.path / "allocs.json").read_bytes()


def test_a_chain_is_built_once(second_build: BuiltChain) -> None:
    written = (second_build.path / "state.json").stat().st_mtime_ns
    again = ensure_built(cache=second_build.path.parent)
    assert again.path == second_build.path
    assert (again.path / "state.json").stat().st_mtime_ns == written


def test_nothing_unfinished_stays_in_the_cache(second_build: BuiltChain) -> None:
    names = {path.name for path in second_build.path.parent.iterdir()}
    assert names == {second_build.path.name, "current", "lock"}


def test_a_failed_build_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(chain_id: int, target: Path) -> None:
        (target / "state.json").write_text("half")
        raise RuntimeError("stopped half way")

    monkeypatch.setattr(module, "build", fail)
    with pytest.raises(RuntimeError, match="half way"):
        ensure_built(cache=tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"lock"}


def test_another_chain_id_is_another_chain() -> None:
    assert content_key(31_337) != content_key(31_338)


def test_current_points_to_the_chain_in_use(built_chain: BuiltChain) -> None:
    assert (built_chain.path.parent / "current").resolve() == built_chain.path.resolve()


def test_allocs_hold_code_and_storage_as_the_chain_does(built_chain: BuiltChain, devnet: Devnet) -> None:
    allocs = json.loads((built_chain.path / "allocs.json").read_text())
    pool = allocs[devnet.manifest["aave"]["pool"].lower()]
    assert pool["code"] == devnet.rpc("eth_getCode", devnet.manifest["aave"]["pool"], "latest")
    assert set(pool) == {"balance", "nonce", "code", "storage"}
    slot, word = next(iter(pool["storage"].items()))
    stored = devnet.rpc("eth_getStorageAt", devnet.manifest["aave"]["pool"], slot, "latest")
    assert int(stored, 16) == int(word, 16) != 0


def test_loading_takes_moments(
    built_chain: BuiltChain, record_property: Callable[[str, object], None]
) -> None:
    started = time.monotonic()
    with Devnet() as chain:
        chain.block()
        seconds = time.monotonic() - started
    record_property("load_seconds", seconds)
    assert seconds < 10
