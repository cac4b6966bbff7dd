"""Answers over HTTP that are almost right: of nodes, and of signers."""

import json
from collections import Counter
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

import aiohttp
from aiohttp import web
from eth_account import Account
from local_http import serving
from local_programs import CALLS, CHAIN, SLOT_ZERO, VALUE
from mutations import of_json

from keeper.chain.history import LogQuery, SeriesQuery, read_history
from keeper.chain.lens import read_pinned
from keeper.chain.rpc import Endpoint
from keeper.chain.simulate import Scene, simulate
from keeper.clock import FixedClock
from keeper.errors import KeeperError
from keeper.execution.look import look
from keeper.quorum.collect import ask
from keeper.quorum.requests import Proposer
from keeper.simulation.proposers import PROPOSERS, proposer_key
from keeper.units import Address

PATIENCE = 20
_SENDER = Account.from_key(b"\x01" * 32)
_QUERIES = (LogQuery(SLOT_ZERO, (), 2), SeriesQuery.of(VALUE.at(SLOT_ZERO), 1, 2))
Work = Callable[[Endpoint], Awaitable[object]]


async def node_outcomes(node: str, cases: int, seed: str) -> Counter[str]:
    """Reads through a node of which half the answers are changed: how many were refused, and how many not."""
    random, known, found = Random(f"{seed}/nodes"), dict[str, dict[str, Any]](), Counter[str]()
    async with Endpoint(node, CHAIN) as honest, aiohttp.ClientSession() as session:
        block = await honest.latest()
        scene = Scene(block, block.timestamp + 1, Address(_SENDER.address), (VALUE.at(SLOT_ZERO),))
        works: tuple[Work, ...] = (
            lambda endpoint: endpoint.latest(),
            lambda endpoint: endpoint.get_block(block.hash),
            lambda endpoint: endpoint.rpc("eth_gasPrice"),
            lambda endpoint: read_pinned(endpoint, block, CALLS[CHAIN]),
            lambda endpoint: simulate(endpoint, scene),
            lambda endpoint: read_history(endpoint, block, _QUERIES),
            lambda endpoint: look(endpoint, Address(_SENDER.address), [block.hash], 0),
        )

        async def answer(request: web.Request) -> web.Response:
            asked = await request.json()
            key = json.dumps([asked["method"], asked["params"]])
            if key not in known:
                async with session.post(node, json=asked) as response:
                    known[key] = await response.json()
            data = json.dumps(known[key] | {"id": asked["id"]}).encode()
            return web.Response(body=of_json(random, data, ()) if random.randrange(2) else data)

        async with serving(answer) as url:
            for _ in range(cases):
                async with Endpoint(url, CHAIN, attempts=1) as endpoint:
                    found[await _outcome(random.choice(works), endpoint)] += 1
    return found


async def _outcome(work: Work, endpoint: Endpoint) -> str:
    try:
        await work(endpoint)
    except KeeperError as error:
        str(error).encode()
        return "refused"
    return "parsed"


async def signer_outcomes(cases: int, seed: str) -> Counter[str]:
    """What becomes of answers that are almost a signer's, by outcome code; "" for a signature."""
    random, found = Random(f"{seed}/signers"), Counter[str]()
    said = (
        {"ok": True, "signer": _SENDER.address, "signature": "0x" + "11" * 65},
        {"ok": False, "code": "nothing_to_do", "reason": "The vault is already there"},
    )
    seeds = tuple(json.dumps(each).encode() for each in said)

    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=of_json(random, random.choice(seeds), seeds))

    proposer = Proposer(proposer_key(PROPOSERS[0]), FixedClock(7))
    async with serving(answer) as url:
        for _ in range(cases):
            outcome = await ask(url, b"a plan", PATIENCE, proposer)
            str(outcome).encode()
            found[outcome.code if outcome.code in ("", "bad_answer") else "refusal"] += 1
    return found
