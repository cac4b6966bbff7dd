"""Mutants are what their rules say, and a fault that no test finds fails the run until it is explained."""

import json
import os
import shutil
from pathlib import Path

import mutate
import pytest
from mutation.compiler import Compiler, Configuration
from mutation.forge import Tree
from mutation.operators import Mutant

ROOT = Path(__file__).parents[2]
FORGE = next(ROOT.glob("node_modules/@foundry-rs/forge-*-*/bin/forge"))
TOY = "src/Till.sol"
SOURCE = """// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

/// @dev A comment with a < b, and 1 + 1.
contract Till {
    string public constant NAME = "a < b, or 1 + 1";
    uint256 public total;

    modifier once() {
        require(total == 0, "again");
        _;
    }

    constructor(uint256 amount) {
        require(amount != 7, "seven");
        require(amount < 7, "many");
    }

    function open(uint256 amount) external once {
        total = amount;
    }

    function take(uint256 amount) external returns (uint256) {
        if (amount /* < */ > total) revert("too much");
        total -= amount;
        uint256 zero = 1 * 0;
        return total + zero;
    }
}
"""
TEST = """// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Till} from "../src/Till.sol";

interface Vm {
    function expectRevert(bytes calldata) external;
}

contract TillTest {
    Vm private constant VM = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));
    Till private till;

    function setUp() public {
        till = new Till(0);
        till.open(5);
    }

    function test_refuses_seven() public {
        VM.expectRevert("seven");
        new Till(7);
    }

    function test_takes() public {
        require(till.take(2) == 3);
    }
}
"""
CONFIGURATION = f"""[profile.default]
src = "src"
test = "test"
out = "out"
libs = []
solc = "{os.path.realpath(ROOT / "tools")}/solc-0.8.30"
evm_version = "cancun"
optimizer = true
optimizer_runs = 200
bytecode_hash = "none"
cbor_metadata = false
auto_detect_remappings = false
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A contract whose tests never take more than there is, nor open it twice."""
    root = tmp_path_factory.mktemp("till")
    for name, text in {"foundry.toml": CONFIGURATION, TOY: SOURCE, "test/Till.t.sol": TEST}.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.fixture(scope="module")
def campaign(project: Path) -> mutate.Campaign:
    return mutate.Campaign(str(FORGE), project, workers=1)


@pytest.fixture(scope="module")
def every(campaign: mutate.Campaign) -> list[Mutant]:
    return campaign.mutants([TOY])


def one(every: list[Mutant], original: str, mutated: str) -> Mutant:
    (found,) = [each for each in every if (each.original, each.mutated) == (original, mutated)]
    return found


def test_each_rule_makes_its_mutants_and_comments_and_strings_stay(every: list[Mutant]) -> None:
    seen = {(each.function, each.rule, each.original, each.mutated) for each in every}

    seen = {each for each in seen if each[0] != "Till.constructor"}
    assert seen == {
        ("Till.once", "relational", 'require(total == 0, "again")', 'require(total != 0, "again")'),
        ("Till.once", "constant", 'require(total == 0, "again")', 'require(total == 1, "again")'),
        ("Till.once", "condition", 'require(total == 0, "again")', 'require(!(total == 0), "again")'),
        ("Till.once", "deletion", 'require(total == 0, "again")', "{}"),
        ("Till.open", "modifier", "once", ""),
        ("Till.open", "deletion", "total = amount", "{}"),
        ("Till.take", "relational", "amount /* < */ > total", "amount /* < */ >= total"),
        ("Till.take", "relational", "amount /* < */ > total", "amount /* < */ < total"),
        ("Till.take", "condition", "amount /* < */ > total", "!(amount /* < */ > total)"),
        ("Till.take", "deletion", 'revert("too much")', "{}"),
        ("Till.take", "arithmetic", "total -= amount", "total += amount"),
        ("Till.take", "arithmetic", "total -= amount", "total = amount"),
        ("Till.take", "deletion", "total -= amount", "{}"),
        ("Till.take", "arithmetic", "uint256 zero = 1 * 0", "uint256 zero = 1 / 0"),
        ("Till.take", "constant", "uint256 zero = 1 * 0", "uint256 zero = 1 * 1"),
        ("Till.take", "constant", "uint256 zero = 1 * 0", "uint256 zero = 2 * 0"),
        ("Till.take", "constant", "uint256 zero = 1 * 0", "uint256 zero = 0 * 0"),
        ("Till.take", "arithmetic", "return total + zero", "return total - zero"),
        ("Till.take", "deletion", "return total + zero", "{}"),
    }


def test_amounts_are_rounded_the_other_way_and_arguments_change_places(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "foundry.toml").write_text(CONFIGURATION)
    (tmp_path / "src/Price.sol").write_text("""pragma solidity ^0.8.28;
library Math {
    enum Rounding { Floor, Ceil }
    function mulDiv(uint256 a, uint256 b, uint256 d) internal pure returns (uint256) { return a * b / d; }
    function mulDiv(uint256 a, uint256 b, uint256 d, Rounding) internal pure returns (uint256) {
        return a * b / d;
    }
}
contract Price {
    function down(uint256 a, uint256 b) external pure returns (uint256) {
        return Math.mulDiv(a, 1e18, b);
    }
    function up(uint256 a, uint256 b, uint256 c) external pure returns (uint256) {
        return Math.mulDiv(a, b, c, Math.Rounding.Ceil);
    }
}
""")
    compiler = Compiler(tmp_path, Configuration.read(str(FORGE), tmp_path))
    source = compiler.text("src/Price.sol").encode()
    found = mutate.mutants("src/Price.sol", source, compiler.trees(["src/Price.sol"])["src/Price.sol"])

    assert [(each.rule, each.mutated) for each in found if each.function == "Price.up"] == [
        ("deletion", "{}"),
        ("arguments", "return Math.mulDiv(a, c, b, Math.Rounding.Ceil)"),
        ("rounding", "return Math.mulDiv(a, b, c, Math.Rounding.Floor)"),
    ]
    down = one(
        [each for each in found if each.function == "Price.down"],
        *[
            "return Math.mulDiv(a, 1e18, b)",
            "return Math.mulDiv(a, 1e18, b, Math.Rounding.Ceil)",
        ],
    )
    assert compiler.codes(["src/Price.sol"], {"src/Price.sol": down.apply(source).decode()})


def test_a_survivor_fails_the_run_until_it_is_explained_and_verdicts_are_kept(
    project: Path, campaign: mutate.Campaign, every: list[Mutant], tmp_path: Path
) -> None:
    killed = one(every, "total -= amount", "total += amount")
    equivalent = one(every, "uint256 zero = 1 * 0", "uint256 zero = 2 * 0")
    invalid = one(every, "uint256 zero = 1 * 0", "uint256 zero = 1 / 0")
    survivor = one(every, "amount /* < */ > total", "amount /* < */ >= total")
    refused = one(every, 'require(amount != 7, "seven")', "{}")
    campaign.prepare([TOY])

    counted = campaign.run([equivalent, invalid, killed, survivor, refused], 3)
    found = campaign.verdicts.found

    assert counted == [killed, survivor, refused]
    assert found[refused.id][:2] == ("killed", "test/Till.t.sol:test_refuses_seven")
    assert [found[each.id][0] for each in (equivalent, invalid)] == ["equivalent", "invalid"]
    assert found[killed.id][0] == "killed"
    assert found[killed.id][1] == "test/Till.t.sol:test_takes"
    assert found[survivor.id][0] == "survived"
    assert json.loads(campaign.verdicts.path.read_text())[survivor.id][0] == "survived"
    again = mutate.Campaign(str(FORGE), project, workers=1)
    assert (
        again.run([killed, survivor, refused], 3) == counted
    )  # no copy was prepared: nothing is judged twice
    assert mutate.report([killed], campaign.verdicts, {}) == 0

    table = tmp_path / "mutants.toml"
    parts = zip(("file", "function", "original", "mutated"), survivor.key, strict=False)
    entry = "".join(f"{name} = '''{value}'''\n" for name, value in parts)
    table.write_text(f"[[survivor]]\n{entry}why = 'nobody takes all'\n")
    many = [killed] * 9
    assert mutate.report([*many, survivor], campaign.verdicts, {}) == 1
    assert mutate.report([*many, survivor], campaign.verdicts, mutate.explanations(table)) == 0
    assert mutate.report([killed, survivor], campaign.verdicts, mutate.explanations(table)) == 1
    table.write_text(f"[[survivor]]\n{entry}why = ''\n")
    with pytest.raises(ValueError, match="no explanation"):
        mutate.explanations(table)


def test_what_a_test_has_killed_stays_killed_while_that_test_is_as_it_was(
    project: Path, every: list[Mutant], tmp_path: Path
) -> None:
    killed = one(every, "total -= amount", "total += amount")
    survivor = one(every, "amount /* < */ > total", "amount /* < */ >= total")
    root = tmp_path / "till"
    shutil.copytree(project, root, ignore=shutil.ignore_patterns(".deep"))

    def judged(mutants: list[Mutant], prepared: bool = True) -> list[str]:
        campaign = mutate.Campaign(str(FORGE), root, workers=1)
        if prepared:
            campaign.prepare([TOY])
        campaign.run(mutants, len(mutants))
        return [" ".join(campaign.verdicts.found[each.id][:2]) for each in mutants]

    assert judged([killed, survivor]) == ["killed test/Till.t.sol:test_takes", "survived "]
    all_of_it = TEST.replace("TillTest", "AllTest").replace("take(2) == 3", "take(5) == 0")
    (root / "test/All.t.sol").write_text(all_of_it)
    # No copy is prepared: it is not judged again.
    assert judged([killed], prepared=False) == ["killed test/Till.t.sol:test_takes"]
    assert judged([killed, survivor]) == [
        "killed test/Till.t.sol:test_takes",
        "killed test/All.t.sol:test_takes",
    ]
    (root / "test/Till.t.sol").write_text(TEST.replace("till.take(2) == 3", "true"))
    assert judged([killed]) == ["killed test/All.t.sol:test_takes"]


def test_test_files_that_hold_the_code_they_deploy_are_found(project: Path, tmp_path: Path) -> None:
    configuration = Configuration.read(str(FORGE), project)
    codes = Compiler(project, configuration).codes([TOY], {})
    found = []
    for linked in (False, True):
        tree = Tree(str(FORGE), project, tmp_path / str(linked), configuration, linked)
        tree.build()
        found.append(tree.holders(codes))
    assert found == [["test/Till.t.sol"], []]


def test_each_source_is_in_one_sample_and_has_tests_of_its_own() -> None:
    files = [file for each in mutate.SAMPLES.values() for file in each.files]
    assert len(files) == len(set(files))
    assert {Path(file).stem for file in files} == set(mutate.FIRST)
    assert all((ROOT / file).is_file() for file in files)
    tests = {name for names in mutate.FIRST.values() for name in names.split(",")}
    assert all((ROOT / "contracts" / "test" / f"{name}.t.sol").is_file() for name in tests)
    seeds = [each.seed for each in mutate.SAMPLES.values()]
    assert len(seeds) == len(set(seeds))


def test_no_source_of_prices_connectors_or_swaps_is_left_out() -> None:
    folders = ("oracle", "connectors", "swap")
    present = {
        file.relative_to(ROOT).as_posix()
        for folder in folders
        for file in (ROOT / "contracts" / "src" / folder).glob("*.sol")
    }
    interfaces = {
        file for file in present if Path(file).stem.startswith("I") and Path(file).stem[1].isupper()
    }
    assert present - interfaces <= set(mutate.SAMPLES["outside"].files)
