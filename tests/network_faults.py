"""What networks and endpoints do to a keeper, and how it survives each: docs/operators.md shows this table.

Every row is run through a whole order, from its drafting to finality (tests/execution/test_send_faults.py and
test_transactions.py); the weightiest through a pass of `keeper run` as well (tests/run/test_run_faults.py).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Any, Final

from keeper.simulation.proxy import Fault

TIMEOUT: Final = 1
"""Seconds that the keeper of these tests waits for an answer."""

Raw = Mapping[str, Any]
Where = Callable[[Sequence[Any]], bool]
_SEND, _RECEIPT, _COUNT, _HEAD = (
    "eth_sendRawTransaction",
    "eth_getTransactionReceipt",
    "eth_getTransactionCount",
    "eth_getBlockByNumber",
)
_ERROR: Final = -32000


@dataclass(frozen=True)
class Row:
    """A fault, made from the block that is the chain's head before it, and `how` it is survived. It is the
    only endpoint's, or where another stands `beside` that one the first one's; `agreement` as in the file of
    endpoints. `nonces` is how many the order takes; `passes` whether a pass is run through it as well."""

    how: str
    fault: Callable[[Raw], Fault]
    beside: bool = False
    agreement: int = 1
    nonces: int = 1
    passes: bool = False


def _third() -> Where:
    """Every third request or so; in no step with what the keeper asks for in turn."""
    marks = cycle("..x...x.x..x.x...x..x.xx...x.x.")
    return lambda _: next(marks) == "x"


def _latest(params: Sequence[Any]) -> bool:
    return params[0] == "latest"


def _pending(params: Sequence[Any]) -> bool:
    return params[1] == "pending"


def _mined(head: Raw) -> Callable[[Any], Any]:
    """A receipt for whatever it is asked about, in a block of the chain."""
    place = {"blockNumber": head["number"], "blockHash": head["hash"], "transactionIndex": "0x0"}
    return lambda _: {**place, "gasUsed": "0x5208", "status": "0x1", "logs": []}


AGAIN: Final = (
    "a read is repeated, at the next endpoint first; what was sent is looked for, and offered again"
)
LOOKED: Final = "the answer decides nothing: receipts are looked up, under every hash that the nonce has had"

ROWS: Final[dict[str, Row]] = {
    "answers come late": Row(
        "they are waited for, up to `timeout` of the endpoint",
        lambda _: Fault(where=_third(), delay=0.2),
    ),
    "no answer within `timeout`": Row(AGAIN, lambda _: Fault(times=2, delay=TIMEOUT + 0.2)),
    "a third of requests is dropped": Row(AGAIN, lambda _: Fault(where=_third(), drop=True), passes=True),
    "a third of answers is reset in its middle": Row(AGAIN, lambda _: Fault(where=_third(), cut=True)),
    "a third of answers is truncated JSON": Row(
        AGAIN, lambda _: Fault(where=_third(), garble=True), passes=True
    ),
    "a third of answers is HTTP 503": Row(AGAIN, lambda _: Fault(where=_third(), status=503)),
    "429 with `Retry-After`": Row(
        "the endpoint is left alone for as long, an hour at the most; a short pause is waited out where"
        " there is no other",
        lambda _: Fault(times=1, status=429, headers={"Retry-After": "1"}),
        passes=True,
    ),
    "429 without end at one endpoint": Row(
        "the next endpoint is asked", lambda _: Fault(status=429), beside=True, passes=True
    ),
    "one endpoint serves another chain": Row(
        "the chain id is asked for first; the endpoint is not asked again",
        lambda _: Fault("eth_chainId", change=lambda _: "0x1"),
        beside=True,
        passes=True,
    ),
    "the head stands still for a while": Row(
        "nothing is found there, so the same bytes are offered again; `max_head_age` passes over it",
        lambda head: Fault(_HEAD, where=_latest, times=6, change=lambda _: head),
    ),
    "one endpoint forges headers": Row(
        "a header must hash to its hash; the next endpoint is asked",
        lambda _: Fault(_HEAD, change=lambda raw: {**raw, "timestamp": "0x7fffffff"}),
        beside=True,
        passes=True,
    ),
    "one of two forges receipts": Row(
        "with `agreement = 2` nothing is mined before both say so",
        lambda head: Fault(_RECEIPT, times=8, change=_mined(head)),
        beside=True,
        agreement=2,
    ),
    "receipts of blocks that are not on the chain": Row(
        "a receipt counts only where its block's hash is the chain's",
        lambda head: Fault(_RECEIPT, times=4, change=_mined({**head, "hash": "0x" + "77" * 32})),
    ),
    "receipts fail": Row(AGAIN, lambda _: Fault(_RECEIPT, times=6, status=503)),
    "receipts are denied": Row(
        "a nonce is given up only when another transaction is seen to have spent it",
        lambda _: Fault(_RECEIPT, times=3, change=lambda _: None),
    ),
    "receipts cannot be read": Row(
        "looked for again at the next moment", lambda _: Fault(_RECEIPT, times=3, change=lambda _: {})
    ),
    "counts fail": Row(AGAIN, lambda _: Fault(_COUNT, times=3, cut=True)),
    "a nonce that is too high": Row(
        "the hole below it is filled with empty transfers, and nothing new is sent before",
        lambda _: Fault(_COUNT, where=_pending, times=1, change=lambda _: "0x2"),
        nonces=3,
    ),
    "a send is dropped on the way": Row(
        "the same bytes are offered again at the next block",
        lambda _: Fault(_SEND, times=3, drop=True),
    ),
    "a send arrives, and its answer is reset": Row(
        LOOKED, lambda _: Fault(_SEND, times=3, cut=True), passes=True
    ),
    "a send arrives, and half an answer comes back": Row(
        LOOKED, lambda _: Fault(_SEND, times=3, garble=True)
    ),
    "a send gets 429 with a pause": Row(
        "the same bytes are offered again at the next block",
        lambda _: Fault(_SEND, times=1, status=429, headers={"Retry-After": "1"}),
    ),
    "a send gets `nonce too low`": Row(
        LOOKED, lambda _: Fault(_SEND, times=3, error=(_ERROR, "nonce too low")), passes=True
    ),
    "a send gets `already known`": Row(
        LOOKED, lambda _: Fault(_SEND, times=3, error=(_ERROR, "already known"))
    ),
    "a send gets `underpriced`": Row(
        LOOKED, lambda _: Fault(_SEND, times=3, error=(_ERROR, "replacement transaction underpriced"))
    ),
    "a send gets another hash": Row(LOOKED, lambda _: Fault(_SEND, change=lambda _: "0x" + "77" * 32)),
    "a send gets no hash": Row(LOOKED, lambda _: Fault(_SEND, change=lambda _: None), passes=True),
    "every send arrives twice": Row(
        "the same bytes are the same transaction", lambda _: Fault(_SEND, twice=True)
    ),
}

LOST: Final = "a reorganisation of 1 to 12 blocks loses them"
OFFERED: Final = "a reorganisation of 1 to 12 blocks, and the network offers them again"
REORGANISED: Final[dict[str, str]] = {
    LOST: "the same bytes are offered until they are in a block again, and as deep as `finality` asks for",
    OFFERED: "as before, and it is mined once: it is the same transaction",
}
"""What happens to transactions that were mined already."""

REFUSED: Final[dict[str, str]] = {
    "one of two forges what a contract says": (
        "with `agreement = 2` nothing is planned or sent, and the breaker `disagreement` trips"
    ),
}
"""What is not survived but refused."""
