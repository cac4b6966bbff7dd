"""Journal writes per second on both databases: each moves a transaction one step, durably, under the lease.

PostgreSQL is the tests' own server, on this machine.
"""

import asyncio
from tempfile import TemporaryDirectory
from time import perf_counter

from bench.registry import Group, Metric, Number
from keeper.execution.fees import Fees
from keeper.execution.journal.journal import Journal
from keeper.execution.journal.tables import Intent
from tools.postgresql_server import database, postgresql

WRITES = 300


def measure() -> dict[str, Number]:
    """Writes per second."""
    with TemporaryDirectory(prefix="omnikeeper-") as folder:
        sqlite = asyncio.run(_rate(folder))
    with postgresql() as server, database(server) as url:
        return {"journal.sqlite": sqlite, "journal.postgresql": asyncio.run(_rate(url))}


async def _rate(place: str) -> int:
    async with Journal(place) as journal:
        started = perf_counter()
        for number in range(WRITES):
            intent = Intent(
                key=str(number), chain_id=1, account="a", purpose="bench", target="b", data=bytes(500), gas=1
            )
            journal.draft(intent, nonce=0, fee=Fees(2, 1), since=number)
        return int(WRITES / (perf_counter() - started))


GROUP = Group(
    metrics=(
        Metric("journal.sqlite", "writes/s", better="higher"),
        Metric("journal.postgresql", "writes/s", better="higher"),
    ),
    measure=measure,
)
