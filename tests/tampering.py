"""Snapshots that say something else than the chain did."""

from dataclasses import replace
from typing import Any

from keeper.chain.call import Call
from keeper.chain.snapshot import Snapshot

VALUE = ["(uint256,uint256)", "bool"]
"""ABI types of a value as the portfolio returns it."""


def tampered(taken: Snapshot, call: Call[Any], returned: bytes, *, success: bool = True) -> Snapshot:
    """The snapshot with another answer to one call, through its bytes."""
    results = tuple(
        replace(each, returned=returned, success=success)
        if (each.target, each.data) == (call.target, call.data)
        else each
        for each in taken.results[0]
    )
    assert results != taken.results[0]
    return Snapshot.from_bytes(replace(taken, results=(results,)).to_bytes())
