"""Mutation testing of the contracts: at least 85 % of each seeded sample of faults must be found by the
Forge tests, and each one that is not has its explanation in docs/security/mutants.toml.

Resumable: verdicts are kept for the very sources and tests they rest on. One that a test has killed stays
killed while that test and what it imports stay as they are, whatever else changes. Faults that do not
compile, or that leave the bytecode as it was, are not counted.
"""

# Why not a published tool: slither-mutate runs here, but it edits the sources in place, recompiles everything
# for each mutant (40 to 70 s with the npm compiler; there are 1,400 mutants), draws no sample, does not go on
# after an interruption and counts mutants of equal bytecode as survivors. vertigo (last release 2021) drives
# Truffle and Hardhat; gambit is in no registry we use and needs a native solc. Here a mutant costs one
# compilation of the contracts it touches, since tests deploy by artifact.

import argparse
import hashlib
import json
import re
import shutil
import sys
import time
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from threading import Lock

from mutation.compiler import Codes, CompilationError, Compiler, Configuration
from mutation.forge import Tree
from mutation.operators import Mutant, mutants

ROOT = Path(__file__).parents[1]
STATE = Path(".deep") / "mutation"
"""In the source tree, and ignored by git."""
EXPLANATIONS = Path("docs") / "security" / "mutants.toml"
COUNT = 200
WORKERS = 2
SCORE_PERCENT = 85


@dataclass(frozen=True)
class Sample:
    """Sources that are broken together, by a fixed seed, so that explanations of survivors stay true."""

    seed: int
    files: tuple[str, ...]


CORE = Sample(
    1,
    (
        "contracts/src/Vault.sol",
        "contracts/src/Requests.sol",
        "contracts/src/Entitlements.sol",
        "contracts/src/Portfolio.sol",
        "contracts/src/PostConditions.sol",
        "contracts/src/Valuation.sol",
        "contracts/src/KeeperQuorum.sol",
        "contracts/src/libraries/SettlementLib.sol",
        "contracts/src/libraries/QueueLib.sol",
        "contracts/src/libraries/BucketLib.sol",
        "contracts/src/libraries/BroughtLib.sol",
        "contracts/src/libraries/ReadingLib.sol",
        "contracts/src/libraries/SplitLib.sol",
        "contracts/src/libraries/PocketLib.sol",
    ),
)
OUTSIDE = Sample(
    4,
    (
        "contracts/src/oracle/ATokenSource.sol",
        "contracts/src/oracle/BoundedRead.sol",
        "contracts/src/oracle/ChainlinkSource.sol",
        "contracts/src/oracle/CheckedSource.sol",
        "contracts/src/oracle/ERC4626Source.sol",
        "contracts/src/oracle/OracleRouter.sol",
        "contracts/src/oracle/PriceMath.sol",
        "contracts/src/oracle/RateSource.sol",
        "contracts/src/oracle/StakedEtherSource.sol",
        "contracts/src/oracle/TickMath.sol",
        "contracts/src/oracle/UniswapV3TwapSource.sol",
        "contracts/src/connectors/AaveV3Connector.sol",
        "contracts/src/connectors/CodeStore.sol",
        "contracts/src/connectors/Connector.sol",
        "contracts/src/connectors/ERC4626Connector.sol",
        "contracts/src/connectors/LendingConnector.sol",
        "contracts/src/connectors/MorphoBlueConnector.sol",
        "contracts/src/connectors/MorphoState.sol",
        "contracts/src/connectors/TokenConnector.sol",
        "contracts/src/connectors/UniswapV3Connector.sol",
        "contracts/src/connectors/UniswapV3Holdings.sol",
        "contracts/src/libraries/LiquidityMath.sol",
        "contracts/src/libraries/ReportLib.sol",
        "contracts/src/swap/SwapHandler.sol",
        "contracts/src/swap/LiFiExecutor.sol",
        "contracts/src/swap/SwapPolicy.sol",
    ),
)
SAMPLES = {"core": CORE, "outside": OUTSIDE}
"""The vault itself, and what touches the outside world."""
FIRST = {
    "Vault": "Vault,ERC7575,ERC7540",
    "Requests": "ERC7540,Cancel,Vault",
    "Entitlements": "ERC7540,Cancel,Vault",
    "Portfolio": "Portfolio,FaultsCustody",
    "PostConditions": "Debt,Portfolio,ImpairedBatches,CosignedExits",
    "Valuation": "Marks,TwoReadings,Portfolio",
    "KeeperQuorum": "KeeperQuorum,SignerSet,SafeKeeper",
    "SettlementLib": "Vault,EmptyVaultGift,Faults",
    "QueueLib": "Queue,QueueUnits,Vault",
    "BucketLib": "Bucket,Portfolio",
    "BroughtLib": "TokensInBatches,SwapInBatches",
    "ReadingLib": "TwoReadings,Marks,SidePocket,Unattended",
    "SplitLib": "SidePocket",
    "PocketLib": "SidePocket",
    "ATokenSource": "RateSource",
    "BoundedRead": "BoundedRead,ChainlinkSource,RateSource,PriceAttacks",
    "ChainlinkSource": "ChainlinkSource,PriceAttacks",
    "CheckedSource": "CheckedSource,PriceAttacks",
    "ERC4626Source": "RateSource",
    "OracleRouter": "OracleRouter,ChainlinkSource,LongestSearch",
    "PriceMath": "OracleRouter,ChainlinkSource,RateSource,TwapSource",
    "RateSource": "RateSource",
    "StakedEtherSource": "RateSource",
    "TickMath": "TwapSource,LiquidityMath",
    "UniswapV3TwapSource": "TwapSource,TwapLimits,LongestSearch",
    "AaveV3Connector": "AaveV3Connector,AaveV3Debt,AaveV3Rewards,AaveV3Gas,AaveV3Hostile",
    "CodeStore": "MorphoBlueConnector,HostileProtocols",
    "Connector": "TokenConnector,HostileProtocols,AaveV3Debt,MorphoBlueDecimals",
    "ERC4626Connector": "ERC4626Connector,WorthlessShares,AsyncVaults,HostileProtocols",
    "LendingConnector": "MorphoBlueDebt,AaveV3Debt",
    "MorphoBlueConnector": "MorphoBlueConnector,MorphoBlueDebt,MorphoBlueDecimals",
    "MorphoState": "MorphoBlueConnector,MorphoBlueDebt,MorphoBlueDecimals",
    "TokenConnector": "TokenConnector,TokensInBatches",
    "UniswapV3Connector": "UniswapV3Connector,UniswapV3Hostile,UniswapV3Value",
    "UniswapV3Holdings": "UniswapV3Connector,UniswapV3Value,UniswapV3Hostile",
    "LiquidityMath": "LiquidityMath,UniswapV3Value",
    "ReportLib": "Debt,AaveV3Debt,MorphoBlueDecimals",
    "SwapHandler": "SwapUniswap,LiFiSwap,SwapPrices,SwapHostile,SwapInBatches",
    "LiFiExecutor": "LiFiSwap,SwapHostile",
    "SwapPolicy": "SwapPolicy,SwapPrices,LiFiSwap",
}
"""Test files most likely to find a fault in a contract; the rest comes after."""
REFUSED_DEPLOYMENT = re.compile(r"\bexpectRevert\([^;]*;\s*(?:\w[\w\s]*=\s*)?new\s")
"""A test that expects a constructor to revert. Deployed by artifact it takes any error for the right one and
ends there (Forge 1.7); so what survives meets the files that have such tests once more, linked as usual."""
INVARIANT = "contracts/test/invariant/*"
NO_GAS_BOUNDS = ("--no-match-test", "within_its_gas")
"""Contracts that are deployed by artifact cost a little more than linked ones."""
Key = tuple[str, str, str, str, int]
Stage = tuple[list[str], Mapping[str, str]]


@dataclass
class Verdicts:
    """What became of each mutant, why, and a digest of the files that say so, by its id, in a JSON file that
    survives an interruption."""

    path: Path
    found: dict[str, tuple[str, str, str]] = field(default_factory=dict)

    def load(self) -> None:
        """Raises ValueError when the file is there and is not ours."""
        if self.path.is_file():
            self.found = {
                key: (verdict, why, files)
                for key, (verdict, why, files) in json.loads(self.path.read_text()).items()
            }

    def record(self, key: str, verdict: str, why: str, files: str) -> None:
        """The file is replaced as a whole."""
        self.found[key] = (verdict, why, files)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self.path.with_suffix(".new")
        fresh.write_text(json.dumps(self.found, indent=1, sort_keys=True) + "\n")
        fresh.replace(self.path)


class Campaign:
    """Judges mutants of a project, several at once, each in a copy of its own."""

    def __init__(self, forge: str, root: Path, workers: int = WORKERS) -> None:
        self._configuration = Configuration.read(forge, root)
        self.compiler = Compiler(root, self._configuration)
        self._forge, self._root, self._workers = forge, root, workers
        folders = (self._configuration.source, self._configuration.test, self._configuration.script)
        self._files = sorted(file for part in dict.fromkeys(folders) for file in (root / part).rglob("*.sol"))
        self._free: SimpleQueue[Tree] = SimpleQueue()
        self._original: dict[str, Codes] = {}
        self._plain = Tree(forge, root, root / STATE / "plain", self._configuration, linked=False)
        self._alone = Lock()
        self.verdicts = Verdicts(root / STATE / f"{self._fingerprint()}.json")
        self.verdicts.load()

    def _fingerprint(self) -> str:
        """Of what every verdict rests on: settings, and this tool."""
        tool = sorted(Path(__file__).parent.glob("mutat*/*.py"))
        settings = (self._root / "foundry.toml", self._root / "package-lock.json")
        return digest(Path(__file__), *tool, *settings)

    def _rests(self, verdict: str, why: str) -> str:
        """Of the files that a verdict rests on: the test that fails and all it imports, otherwise all."""
        file, _, _ = why.partition(":")
        if verdict == "killed" and self._root / file in self._files:
            return digest(*(self._root / each for each in sorted(self.compiler.closure([file]))))
        return digest(*self._files)

    def _stands(self, key: str) -> bool:
        if key not in self.verdicts.found:
            return False
        verdict, why, files = self.verdicts.found[key]
        return files == self._rests(verdict, why)

    def _record(self, key: str, verdict: str, why: str) -> None:
        self.verdicts.record(key, verdict, why, self._rests(verdict, why))

    def mutants(self, files: Sequence[str]) -> list[Mutant]:
        return [
            each
            for file, tree in self.compiler.trees(files).items()
            for each in mutants(file, self.compiler.text(file).encode(), tree)
        ]

    def prepare(self, files: Sequence[str]) -> None:
        """Builds the copies and shows that their tests pass before anything is broken."""
        folder = self._root / STATE
        base = Tree(self._forge, self._root, folder / "base", self._configuration)
        base.build()
        for file in files:
            self._original[file] = self._codes(base, file)
        trees = [
            Tree(self._forge, self._root, folder / f"worker{number}", self._configuration)
            for number in range(self._workers)
        ]
        for tree in trees:
            base.share(tree)
            for codes in self._original.values():
                tree.install(codes)
            self._free.put(tree)
        # A sample's own, because each asks other files' tests of refused deployments.
        whole = f"unbroken {hashlib.sha256(chr(0).join(files).encode()).hexdigest()[:16]}"
        if not self._stands(whole):
            runs = [trees[0].failure(*each) for each in stages(self._configuration, None)]
            for failed in (*runs, *(self._refused(file, self.compiler.text(file)) for file in files)):
                if failed is not None:
                    raise SystemExit(f"{failed} fails without any mutant: nothing can be learned")
            self._record(whole, "survived", "")

    def _codes(self, base: Tree, file: str) -> Codes:
        """Of all that has a source's code in it."""
        dependents = self.compiler.dependents(file)
        codes = self.compiler.codes(dependents, {})
        holders = [each for each in base.holders(codes) if each not in dependents]
        return self.compiler.codes([*dependents, *holders], {}) if holders else codes

    def run(self, candidates: Sequence[Mutant], count: int) -> list[Mutant]:
        """Judges candidates in their order until `count` of them count. Returns those."""
        waiting = list(reversed(candidates))
        counted: list[Mutant] = []
        active: dict[Future[tuple[str, str]], Mutant] = {}
        with ThreadPoolExecutor(self._workers) as pool:
            while active or (waiting and len(counted) < count):
                while waiting and len(counted) + len(active) < count and len(active) < self._workers:
                    mutant = waiting.pop()
                    active[pool.submit(self._judge, mutant)] = mutant
                for done in wait(active, return_when=FIRST_COMPLETED).done:
                    mutant = active.pop(done)
                    verdict, why = done.result()
                    self._record(mutant.id, verdict, why)
                    if verdict in ("killed", "survived"):
                        counted.append(mutant)
                    say(f"[{len(counted)}/{count}] {verdict} {why}\n{mutant}")
        return counted

    def _judge(self, mutant: Mutant) -> tuple[str, str]:
        if self._stands(mutant.id):
            return self.verdicts.found[mutant.id][:2]
        tree = self._free.get()
        try:
            return self._judge_in(tree, mutant)
        finally:
            self._free.put(tree)

    def _judge_in(self, tree: Tree, mutant: Mutant) -> tuple[str, str]:
        """A verdict (`invalid`, `equivalent`, `killed`, `survived`) and what it rests on. The tree is whole
        again afterwards."""
        text = mutant.apply(self.compiler.text(mutant.file).encode()).decode()
        original = self._original[mutant.file]
        try:
            codes = self.compiler.codes(sorted({file for file, _ in original}), {mutant.file: text})
        except CompilationError as error:
            return "invalid", str(error).strip().splitlines()[0]
        changed = {key: code for key, code in codes.items() if code != original[key]}
        if not changed:
            return "equivalent", "the same bytecode"
        try:
            tree.install(changed)
            for tests, environment in stages(self._configuration, Path(mutant.file).stem):
                failed = tree.failure(tests, environment)
                if failed is not None:
                    return "killed", failed
        finally:
            tree.install({key: original[key] for key in changed})
        failed = self._refused(mutant.file, text)
        return ("survived", "") if failed is None else ("killed", failed)

    def _refused(self, file: str, text: str) -> str | None:
        """The first test that fails of those files that expect a constructor to revert."""
        folder = self._root / self._configuration.test
        refusing = [
            path.relative_to(self._root).as_posix()
            for path in sorted(folder.rglob("*.sol"))
            if REFUSED_DEPLOYMENT.search(path.read_text())
        ]
        tests = [each for each in refusing if file in self.compiler.closure([each])]
        if not tests:
            return None
        with self._alone:
            return self._plain.failure_with(
                file, text, ["--match-path", f"{{{','.join(tests)}}}"], {"FOUNDRY_FUZZ_RUNS": "16"}
            )


def digest(*files: Path) -> str:
    """Of the names and texts of those files that are there."""
    found = hashlib.sha256()
    for file in files:
        if file.is_file():
            found.update(f"{file.name}\0".encode() + file.read_bytes() + b"\0")
    return found.hexdigest()[:16]


def sample(candidates: Iterable[Mutant], seed: int) -> list[Mutant]:
    """In the order that a seed gives. A mutant keeps its rank when other code changes."""
    return sorted(candidates, key=lambda mutant: hashlib.sha256(f"{seed}/{mutant.id}".encode()).digest())


def stages(configuration: Configuration, contract: str | None) -> list[Stage]:
    """Forge's filters and settings, quickest first: tests of the contract itself, all but the invariant
    campaign, and that campaign with few runs. Without a contract, all but the first."""
    rest: list[Stage] = [
        (["--no-match-path", INVARIANT, *NO_GAS_BOUNDS], {"FOUNDRY_FUZZ_RUNS": "64"}),
        (["--match-path", INVARIANT], {"FOUNDRY_INVARIANT_RUNS": "16", "FOUNDRY_INVARIANT_DEPTH": "100"}),
    ]
    if configuration.test != "contracts/test":
        return [([], {})]
    if contract not in FIRST:
        return rest
    return [
        (
            ["--match-path", f"contracts/test/{{{FIRST[contract]}}}.t.sol", *NO_GAS_BOUNDS],
            {"FOUNDRY_FUZZ_RUNS": "16"},
        ),
        *rest,
    ]


def explanations(path: Path) -> dict[Key, str]:
    """Why a mutant may survive, by its key. Raises ValueError for an entry that says nothing."""
    if not path.is_file():
        return {}
    found: dict[Key, str] = {}
    for each in tomllib.loads(path.read_text()).get("survivor", []):
        key = (each["file"], each["function"], each["original"], each["mutated"], each.get("occurrence", 1))
        if not each["why"].strip():
            raise ValueError(f"{path}: no explanation for {key}")
        found[key] = each["why"]
    return found


def report(counted: Sequence[Mutant], verdicts: Verdicts, known: Mapping[Key, str]) -> int:
    """Lists the survivors. 1 when the score is too low or one of them is not explained."""
    survivors = [mutant for mutant in counted if verdicts.found[mutant.id][0] == "survived"]
    unexplained = [mutant for mutant in survivors if mutant.key not in known]
    for mutant in survivors:
        say(f"survived: {mutant}\n  {known.get(mutant.key, 'NOT EXPLAINED')}")
    killed = len(counted) - len(survivors)
    say(f"{killed} of {len(counted)} mutants killed, {len(unexplained)} survivors not explained")
    if not counted or 100 * killed < SCORE_PERCENT * len(counted):
        say(f"the score is below {SCORE_PERCENT} %")
        return 1
    return 1 if unexplained else 0


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main(arguments: Sequence[str] | None = None) -> int:
    """0 when the tests are good enough, 1 when they are not."""
    parser = argparse.ArgumentParser(prog="tools/mutate.py", description=__doc__)
    parser.add_argument("--sample", choices=SAMPLES, default="core", help="which sources, by their own seed")
    parser.add_argument("--seed", type=int, help="another draw from the same sources")
    parser.add_argument("--count", type=int, default=COUNT, help="mutants that count")
    parser.add_argument("--files", nargs="+", metavar="FILE", help="other sources to break")
    parser.add_argument("--fresh", action="store_true", help="forget what earlier runs found")
    options = parser.parse_args(arguments)
    chosen = SAMPLES[options.sample]
    files = options.files or chosen.files
    seed = chosen.seed if options.seed is None else options.seed
    if options.fresh:
        shutil.rmtree(ROOT / STATE, ignore_errors=True)
    started = time.monotonic()
    campaign = Campaign(str(next(ROOT.glob("node_modules/@foundry-rs/forge-*-*/bin/forge"))), ROOT)
    candidates = sample(campaign.mutants(files), seed)
    say(f"seed {seed}: {options.count} of {len(candidates)} mutants")
    campaign.prepare(files)
    say(f"ready after {time.monotonic() - started:.0f} s")
    counted = campaign.run(candidates, options.count)
    code = report(counted, campaign.verdicts, explanations(ROOT / EXPLANATIONS))
    say(f"{time.monotonic() - started:.0f} s")
    return code


if __name__ == "__main__":
    raise SystemExit(main())
