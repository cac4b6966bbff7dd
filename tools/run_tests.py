"""All tests, Forge's and pytest's, with coverage, one closing summary and the 20 slowest: `make test`."""

import json
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

ROOT = Path(__file__).parents[1]
SLOWEST = 20
WORKERS = "3"
"""One more than the processors that CI has: tests wait for processes of their own."""


@dataclass(frozen=True)
class Test:
    name: str
    outcome: str
    seconds: float
    reason: str = ""


def main() -> int:
    """Runs both suites and the gate on coverage, whatever the first one says. 0 when every test passed."""
    started = time.monotonic()
    with TemporaryDirectory() as folder, ThreadPoolExecutor() as beside:
        # Most of Forge's time is one thread of the compiler's.
        forge = beside.submit(run_forge)
        tests = run_coverage() + run_pytest(Path(folder) / "pytest.xml")
        tests += forge.result()
    failed = [test for test in tests if test.outcome == "failed"]
    for test in failed:
        say(f"FAILED {test.name}: {test.reason}")
    say(f"\n{SLOWEST} slowest:")
    for test in sorted(tests, key=lambda each: -each.seconds)[:SLOWEST]:
        say(f"{test.seconds:8.2f} s  {test.name}")
    count = {outcome: sum(test.outcome == outcome for test in tests) for outcome in OUTCOMES}
    say(f"\nin {time.monotonic() - started:.0f} s:")
    say(", ".join(f"{count[outcome]} {outcome}" for outcome in OUTCOMES))
    return 1 if failed or not count["passed"] else 0


OUTCOMES = ("passed", "failed", "skipped")


def run_forge() -> list[Test]:
    """Every Forge test. One that cannot even compile is a failed test."""
    forge = next(ROOT.glob("node_modules/@foundry-rs/forge-*-*/bin/forge"))
    say("· Forge tests")
    done = subprocess.run([forge, "test", "--json"], cwd=ROOT, capture_output=True, text=True)
    start = done.stdout.find("{")
    try:
        suites = json.loads(done.stdout[start:]) if start >= 0 else {}
    except ValueError:
        suites = {}
    if not suites:
        return [Test("forge test", "failed", 0.0, (done.stdout + done.stderr)[-4000:])]
    return [
        forge_test(f"{suite.rpartition(':')[2]}.{name.partition('(')[0]}", result)
        for suite, content in suites.items()
        for name, result in content["test_results"].items()
    ]


def forge_test(name: str, result: dict[str, Any]) -> Test:
    outcome = {"Success": "passed", "Failure": "failed"}.get(result["status"], "skipped")
    duration = result.get("duration", {})
    seconds = duration.get("secs", 0) + duration.get("nanos", 0) / 1e9 if isinstance(duration, dict) else 0.0
    reason = f"{result.get('reason')} {json.dumps(result.get('counterexample'))}"
    return Test(name, outcome, seconds, reason if outcome == "failed" else "")


def run_coverage() -> list[Test]:
    """The Forge tests once more, without the optimiser: the contracts' coverage, as one test."""
    say("· Coverage of the contracts")
    started = time.monotonic()
    code = subprocess.run([sys.executable, "tools/coverage.py"], cwd=ROOT).returncode
    outcome, reason = ("failed", "see its report above") if code else ("passed", "")
    return [Test("coverage of the contracts", outcome, time.monotonic() - started, reason)]


def run_pytest(report: Path) -> list[Test]:
    """Every Python test, on some workers; a module's tests stay together because they share a chain."""
    say("· Python tests")
    # In the order of `tests/conftest.py`, not by how many tests a module has.
    spread = ["-n", WORKERS, "--dist", "loadfile", "--no-loadscope-reorder"]
    command = [sys.executable, "-m", "pytest", "-q", *spread, f"--junitxml={report}"]
    code = subprocess.run(command, cwd=ROOT).returncode
    if not report.is_file():
        return [Test("pytest", "failed", 0.0, f"ended with code {code} and no report")]
    # The report is pytest's own, written a moment ago.
    tests = [python_test(case) for case in ElementTree.parse(report).iter("testcase")]
    if code and not any(test.outcome == "failed" for test in tests):
        tests.append(Test("pytest", "failed", 0.0, f"ended with code {code}"))
    return tests


def python_test(case: ElementTree.Element) -> Test:
    name = f"{case.get('classname')}.{case.get('name')}"
    seconds = float(case.get("time", "0"))
    for tag, outcome in (("failure", "failed"), ("error", "failed"), ("skipped", "skipped")):
        found = case.find(tag)
        if found is not None:
            return Test(name, outcome, seconds, found.get("message", "")[:2000])
    return Test(name, "passed", seconds)


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    raise SystemExit(main())
