"""Compiling what a connector's package brings."""

import subprocess
from pathlib import Path

import pytest

from keeper.conformance.skeleton import TEMPLATE
from keeper.conformance.solidity import VERSION, compiled, compiler
from keeper.contracts.export import SOLIDITY, export_sources
from keeper.errors import ConfigError

ROOT = Path(__file__).parents[2]
HEAD = "// SPDX-License-Identifier: MIT\npragma solidity ^0.8.28;\n"


def test_the_compiler_is_of_the_version_our_contracts_are_built_with() -> None:
    said = subprocess.run([compiler(), "--version"], capture_output=True, text=True, check=True).stdout
    assert f"Version: {VERSION}+" in said
    assert f'solc = "tools/solc-{VERSION}"' in (ROOT / "foundry.toml").read_text()


def test_what_does_not_compile_is_shown_in_the_compilers_words(tmp_path: Path) -> None:
    (tmp_path / "A.sol").write_text(HEAD + "contract A { uint256 a = nothing; }\n")
    with pytest.raises(ConfigError, match=r"do not compile: .*Undeclared identifier"):
        compiled(tmp_path, "A")


def test_an_import_that_leads_nowhere_is_named(tmp_path: Path) -> None:
    (tmp_path / "A.sol").write_text(HEAD + 'import {B} from "omnikeeper/connectors/B.sol";\n')
    with pytest.raises(ConfigError, match=r"leads nowhere.*saw omnikeeper/connectors/B\.sol"):
        compiled(tmp_path, "A")


def test_a_contract_that_no_source_has_is_named() -> None:
    with pytest.raises(ConfigError, match=r"No such contract in these sources.*expected Nothing"):
        compiled(TEMPLATE / "savings" / "solidity", "Nothing")
    with pytest.raises(ConfigError, match="No Solidity sources"):
        compiled(TEMPLATE / "tests", "Nothing")


def test_what_is_shipped_is_what_the_repository_has(tmp_path: Path) -> None:
    export_sources(ROOT, tmp_path)
    made = {path.relative_to(tmp_path): path.read_text() for path in tmp_path.rglob("*.sol")}
    assert made == {path.relative_to(SOLIDITY): path.read_text() for path in SOLIDITY.rglob("*.sol")}
    stale = tmp_path / "omnikeeper" / "Stale.sol"
    stale.write_text(HEAD)
    export_sources(ROOT, tmp_path)
    assert not stale.exists()
