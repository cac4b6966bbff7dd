"""Prints the hash of the plan that follows from a snapshot file and a policy file, under the caller's locale.

python plan_hash.py SNAPSHOT POLICY KIND
"""

import locale
import sys
from pathlib import Path

from keeper import engine
from keeper.chain.snapshot import Snapshot
from keeper.planning import policy
from keeper.planning.plan import Kind


def main(snapshot: str, rules: str, kind: str) -> None:
    try:
        locale.setlocale(locale.LC_ALL, "")
    except locale.Error:
        sys.stderr.write("this machine lacks the locale\n")
    taken = Snapshot.from_bytes(Path(snapshot).read_bytes())
    plan = engine.derive(taken, policy.load(Path(rules)), Kind(kind))
    sys.stdout.write(f"{plan.plan_hash.hex()} {taken.hash.hex()} {hash('salted')}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
