"""What users of comparable keepers complain of is numbered; each complaint that concerns nonces, restarts,
databases, secrets or forks has a test that bears its number, where the behaviour is tested."""

import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
COMPLAINTS = {
    1: "A hole in the nonces jams the account for ever",
    2: "`nonce too low` pauses endpoints, and what had landed is sent again",
    3: "A transaction that is stuck after a restart cannot be replaced",
    4: "One order that fails freezes all others, and its repair fails too",
    5: "A lock of the database loses a position",
    6: "Reading a fork takes minutes",
    7: "A fork dies on the rate limit of its one upstream",
    8: "The chain id is asked for before every read",
    9: "Help takes seconds",
    11: "No dry run, and no cap of gas",
    12: "A nonce is used for two orders",
    13: "Wrong or duplicate nonces of a Safe",
    15: "Secrets in logs; SQLite's integers cannot hold a uint256",
}


def test_every_complaint_has_its_test() -> None:
    sources = "".join(path.read_text() for path in TESTS.rglob("test_*.py"))
    found = re.findall(r"^(?:async )?def test_complaint_(\d\d)_", sources, re.MULTILINE)
    assert {int(number) for number in found} == set(COMPLAINTS)
