"""Long campaigns: Forge's fuzz and invariant tests with a hundred times the runs, the deep Python tests, and
mutation testing of the contracts: `make deep`.

Resumable: what has passed for a seed and for the very sources that it rests on is not repeated. Without
`--seed` a new one is drawn; give the printed one again to go on, or to see a failure again.
"""

import argparse
import json
import os
import secrets
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
STATE = Path(".deep") / "state.json"
"""In the source tree, and ignored by git."""
FUZZ_FACTOR = 100
INVARIANTS = "contracts/test/invariant/*"
ROUNDS = 10
STEPS = 2_000
SEED_BITS = 64
CONTRACTS = ("contracts", "foundry.toml", "package-lock.json", "tools/deep.py", "tools/solc.js")
CHAIN = (*CONTRACTS, "keeper/simulation")
"""With what builds the chain that some of Forge's tests load."""
INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it."""


@dataclass(frozen=True)
class Campaign:
    """A command that is long because it tries much; exit code 0 means that nothing was found. What has passed
    holds for as long as the files and folders that it `rests_on` are the same."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    rests_on: tuple[str, ...] = (".",)


# Each sample has a seed of its own, so that the explanations of its survivors stay true.
MUTATION = tuple(
    Campaign(
        f"mutation/{name}",
        (sys.executable, "tools/mutate.py", "--sample", name),
        rests_on=(*CHAIN, "tools/mutate.py", "tools/mutation", "docs/security/mutants.toml"),
    )
    for name in ("core", "outside")
)


class Progress:
    """What has passed, by seed and source tree, in a JSON file that survives an interruption."""

    def __init__(self, path: Path, seed: int) -> None:
        """Raises ValueError when the file is there and is not ours."""
        self._path = path
        self._seed = seed
        self._finished: dict[str, list[str]] = {}
        if path.is_file():
            content = json.loads(path.read_text())
            if not isinstance(content, dict):
                raise ValueError(f"{path} is not a record of campaigns")
            self._finished = content

    def finished(self, campaign: Campaign, tree: str) -> bool:
        return campaign.name in self._finished.get(f"{self._seed}/{tree}", [])

    def finish(self, campaign: Campaign, tree: str) -> None:
        """Records that a campaign passed; the file is replaced as a whole."""
        self._finished.setdefault(f"{self._seed}/{tree}", []).append(campaign.name)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self._path.with_suffix(".new")
        fresh.write_text(json.dumps(self._finished, indent=1) + "\n")
        fresh.replace(self._path)


def main(arguments: Sequence[str] | None = None) -> int:
    """0 when every campaign has passed, now or before."""
    parser = argparse.ArgumentParser(prog="tools/deep.py", description=__doc__)
    parser.add_argument("--seed", type=seed_number, help="an earlier run's seed, to go on with it")
    parser.add_argument("--steps", type=int, default=STEPS, help="states of a Python campaign")
    parser.add_argument("--only", default="", metavar="PREFIX", help="campaigns that begin with this")
    options = parser.parse_args(arguments)
    seed = secrets.randbits(SEED_BITS) if options.seed is None else options.seed
    campaigns = [
        each
        for each in (
            *forge_campaigns(seed),
            *invariant_campaigns(seed),
            *pytest_campaigns(seed, options.steps),
            *MUTATION,
        )
        if each.name.startswith(options.only)
    ]
    if not campaigns:
        parser.error(f"no campaign begins with {options.only!r}")
    try:
        return run(campaigns, seed, ROOT)
    except KeyboardInterrupt:
        return INTERRUPTED


def seed_number(text: str) -> int:
    """A seed as printed. Raises ValueError when it is out of range."""
    seed = int(text, 0)
    if not 0 <= seed < 1 << SEED_BITS:
        raise ValueError(f"a seed has {SEED_BITS} bits")
    return seed


def forge_campaigns(seed: int) -> list[Campaign]:
    """One for each test contract's file with fuzz tests."""
    runs = settings()["fuzz"]["runs"]
    environment = {"FOUNDRY_FUZZ_RUNS": str(FUZZ_FACTOR * runs), "FOUNDRY_FUZZ_SEED": hex(seed)}
    # Abstract tests run with every contract that inherits them, so sources say too little: Forge is asked.
    listed = output([forge(), "test", "--list", "--json", "--match-test", "^testFuzz"])
    files = json.loads(listed[listed.index("{") :])
    return [
        Campaign(
            f"forge/{Path(path).name.removesuffix('.t.sol')}",
            (forge(), "test", "--match-path", path, "--match-test", "^testFuzz"),
            environment,
            CHAIN,
        )
        for path in sorted(files)
    ]


def invariant_campaigns(seed: int) -> list[Campaign]:
    """The campaign over all invariants at its ordinary depth, in rounds of their own seeds."""
    runs = FUZZ_FACTOR * settings()["invariant"]["runs"] // ROUNDS
    return [
        Campaign(
            f"invariants/{number}",
            (forge(), "test", "--match-path", INVARIANTS),
            {"FOUNDRY_INVARIANT_RUNS": str(runs), "FOUNDRY_FUZZ_SEED": hex(seed ^ number)},
            CONTRACTS,
        )
        for number in range(1, ROUNDS + 1)
    ]


def forge() -> str:
    return str(next(ROOT.glob("node_modules/@foundry-rs/forge-*-*/bin/forge")))


def settings() -> Any:
    """Foundry's, of the profile that the tests run under."""
    return tomllib.loads((ROOT / "foundry.toml").read_text())["profile"]["default"]


def pytest_campaigns(seed: int, steps: int) -> list[Campaign]:
    """Every deep test, in rounds with seeds of their own, so that an interruption costs one round of one
    test."""
    pytest = (sys.executable, "-m", "pytest", "-q", "-m", "deep")
    listed = output([*pytest, "--collect-only", "tests/deep"])
    tests = [line for line in listed.splitlines() if line.startswith("tests/deep/") and "::" in line]
    return [
        Campaign(
            f"pytest/{number}/{test.partition('::')[2]}/{steps}",
            (*pytest, "-x", test),
            {"OMNIKEEPER_SEED": f"{seed}/{number}", "OMNIKEEPER_STEPS": str(steps)},
        )
        for number in range(1, ROUNDS + 1)
        for test in tests
    ]


def output(command: Sequence[str], root: Path = ROOT, environment: Mapping[str, str] = os.environ) -> str:
    """What a command prints. Ends the program, with what it said, when it fails."""
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} ended with code {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def tree_hash(root: Path, paths: Sequence[str] = (".",)) -> str:
    """Git's hash of those paths as they lie there, with what is not committed; ignored files do not count.

    Nothing is written into the repository: index and objects go to a folder of their own.
    """
    objects = output(["git", "rev-parse", "--path-format=absolute", "--git-path", "objects"], root).strip()
    with tempfile.TemporaryDirectory() as folder:
        environment = {
            **os.environ,
            "GIT_INDEX_FILE": str(Path(folder) / "index"),
            "GIT_OBJECT_DIRECTORY": folder,
            "GIT_ALTERNATE_OBJECT_DIRECTORIES": objects,
        }
        output(["git", "add", "--all", *paths], root, environment)
        return output(["git", "write-tree"], root, environment).strip()


def run(campaigns: Sequence[Campaign], seed: int, root: Path) -> int:
    """Runs, in `root`, what has not passed yet for its sources, whatever fails. 1 if anything failed."""
    say(f"seed {seed}")
    trees = {paths: tree_hash(root, paths) for paths in {each.rests_on for each in campaigns}}
    progress = Progress(root / STATE, seed)
    failed = []
    try:
        for number, campaign in enumerate(campaigns, 1):
            label = f"[{number}/{len(campaigns)}] {campaign.name}"
            tree = trees[campaign.rests_on]
            if progress.finished(campaign, tree):
                say(f"{label}: passed before")
                continue
            say(label)
            started = time.monotonic()
            done = subprocess.run(campaign.command, cwd=root, env={**os.environ, **campaign.environment})
            verdict = "passed" if done.returncode == 0 else f"FAILED with code {done.returncode}"
            say(f"{label}: {verdict} after {time.monotonic() - started:.0f} s")
            if done.returncode:
                failed.append(campaign.name)
            elif tree_hash(root, campaign.rests_on) == tree:
                progress.finish(campaign, tree)
            else:
                say(f"{label}: not recorded, the sources have changed since the start")
        if failed:
            say(f"failed: {', '.join(failed)}")
    finally:
        say(f"seed {seed}: `make deep SEED={seed}` goes on from here")
    return 1 if failed else 0


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    raise SystemExit(main())
