"""A signer's derivation as a process: for each block named on standard input, the hashes of the plans that
follow from it, read through an endpoint of its own, under the caller's locale.

python deriving.py URL CHAIN POLICY
"""

import asyncio
import json
import locale
import sys
from pathlib import Path

from keeper import engine
from keeper.chain.rpc import Endpoint
from keeper.chain.snapshot import Snapshot, take_at
from keeper.errors import PlanError
from keeper.planning import policy
from keeper.planning.plan import Kind, PinnedBlock
from keeper.planning.policy import Policy


def plan(taken: Snapshot, rules: Policy, kind: Kind) -> str:
    """The plan's hash, or why there is none."""
    try:
        return engine.derive(taken, rules, kind).plan_hash.hex()
    except PlanError as error:
        return f"{type(error).__name__}: {error}"


async def answer(url: str, chain_id: int, rules: Policy, block: PinnedBlock) -> dict[str, str]:
    async with Endpoint(url, chain_id) as endpoint:
        calls = engine.calls(rules)
        taken = await take_at({chain_id: endpoint}, calls, [block], block.timestamp)
    plans = {kind.value: plan(taken, rules, kind) for kind in Kind}
    return {"snapshot": taken.hash.hex(), "salted": str(hash("salted")), **plans}


def main(url: str, chain: str, rules: str) -> None:
    try:
        locale.setlocale(locale.LC_ALL, "")
    except locale.Error:
        sys.stderr.write("this machine lacks the locale\n")
    loaded, chain_id = policy.load(Path(rules)), int(chain)
    for line in sys.stdin:
        number, name, timestamp = json.loads(line)
        block = PinnedBlock(chain_id, number, bytes.fromhex(name), timestamp)
        said = asyncio.run(answer(url, chain_id, loaded, block))
        sys.stdout.write(json.dumps(said) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
