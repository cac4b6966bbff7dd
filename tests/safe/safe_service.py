"""A Safe transaction service over HTTP that keeps to the documented rules, and one that lies.

Rules: docs.safe.global and the API's schema. A proposal needs the transaction's own hash, a nonce that is not
executed, an owner's signature over the hash and an origin of at most 200 characters, else 422; more than 5
requests within a second are answered with 429, and a wrong API key with 401.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from keeper.contracts.abi import address
from keeper.errors import QuorumError
from keeper.quorum.typed_data import recover
from keeper.safe.transaction import transaction_hash
from keeper.units import Address

KEY = "the key of a test"
FIELDS = ("safeTxGas", "baseGas", "gasPrice", "gasToken", "refundReceiver", "nonce")
Lie = Callable[[dict[str, Any]], dict[str, Any]]


def honest(entry: dict[str, Any]) -> dict[str, Any]:
    return entry


@dataclass
class Service:
    """Its state; `nonce` is the Safe's as the service has indexed it, `lie` what it does to each entry,
    `first_seconds` how long the first request is on its way."""

    chain_id: int
    safe: Address
    owners: tuple[Address, ...]
    nonce: int = 0
    lie: Lie = honest
    failures: int = 0
    first_seconds: float = 0.0
    requests: list[str] = field(default_factory=list)
    entries: dict[str, dict[str, Any]] = field(default_factory=dict)
    _recent: deque[float] = field(default_factory=deque)

    def application(self) -> web.Application:
        app = web.Application(middlewares=[self._admit])
        multisig = "/api/v2/safes/{safe}/multisig-transactions/"
        app.router.add_post(multisig, self._propose)
        app.router.add_get(multisig, self._list)
        app.router.add_get("/api/v2/multisig-transactions/{hash}/", self._one)
        app.router.add_post("/api/v1/multisig-transactions/{hash}/confirmations/", self._confirm)
        return app

    @web.middleware
    async def _admit(self, request: web.Request, handler: Any) -> web.StreamResponse:
        self.requests.append(f"{request.method} {request.path}")
        if len(self.requests) == 1:
            await asyncio.sleep(self.first_seconds)
        if request.headers.get("Authorization") != f"Bearer {KEY}":
            return web.json_response({"detail": "Unauthorized"}, status=401)
        now = asyncio.get_running_loop().time()
        while self._recent and self._recent[0] <= now - 1:
            self._recent.popleft()
        self._recent.append(now)
        if len(self._recent) > 5:
            return web.json_response({"detail": "Request was throttled."}, status=429)
        if self.failures:
            self.failures -= 1
            return web.json_response({"detail": "down"}, status=503)
        answer: web.StreamResponse = await handler(request)
        return answer

    async def _propose(self, request: web.Request) -> web.Response:
        body = await request.json()
        message = {name: body[name] for name in ("to", "value", "operation", *FIELDS)}
        message["data"] = bytes.fromhex((body["data"] or "0x")[2:])
        digest = transaction_hash(self.chain_id, self.safe, message)
        name = "0x" + digest.hex()
        problems = {
            "Not the Safe": address(request.match_info["safe"]) != self.safe,
            f"Contract-transaction-hash={name} does not match": name != body["contractTransactionHash"],
            "Ensure this field has no more than 200 characters.": len(body.get("origin") or "") > 200,
            f"Tx with nonce={body['nonce']} already executed": body["nonce"] < self.nonce,
            f"Sender={body['sender']} is not an owner": body["sender"] not in self.owners,
        }
        if said := [words for words, wrong in problems.items() if wrong]:
            return web.json_response({"nonFieldErrors": said}, status=422)
        if not self._signed(name, body["sender"], body["signature"]):
            return web.json_response({"nonFieldErrors": ["Signature does not match sender"]}, status=422)
        # As the real one answers: amounts as decimal text, no data as null.
        entry = {
            **{key: str(body[key]) for key in ("value", "safeTxGas", "baseGas", "gasPrice", "nonce")},
            **{key: body[key] for key in ("to", "operation", "gasToken", "refundReceiver", "origin")},
            "data": body["data"] if body["data"] != "0x" else None,
            "safe": self.safe,
            "safeTxHash": name,
            "isExecuted": False,
            "confirmations": [],
        }
        self.entries.setdefault(name, entry)
        self._add(name, body["sender"], body["signature"])
        return web.json_response(None, status=201)

    async def _confirm(self, request: web.Request) -> web.Response:
        name = request.match_info["hash"]
        if name not in self.entries:
            return web.json_response({"detail": "Not found."}, status=404)
        text = (await request.json())["signature"]
        signer = recover(bytes.fromhex(name[2:]), bytes.fromhex(text[2:]))
        if not self._signed(name, signer, text) or signer not in self.owners:
            return web.json_response({"signature": ["Signer is not an owner"]}, status=400)
        self._add(name, signer, text)
        return web.json_response(None, status=201)

    async def _list(self, request: web.Request) -> web.Response:
        query = request.query
        least, limit, offset = (int(query[key]) for key in ("nonce__gte", "limit", "offset"))
        found = [
            self.lie(each)
            for each in sorted(self.entries.values(), key=lambda each: int(each["nonce"]))
            if int(each["nonce"]) >= least and not each["isExecuted"]
        ]
        following = f"{request.url}&more" if offset + limit < len(found) else None
        page = found[offset : offset + limit]
        return web.json_response({"count": len(found), "next": following, "previous": None, "results": page})

    async def _one(self, request: web.Request) -> web.Response:
        entry = self.entries.get(request.match_info["hash"])
        if entry is None:
            return web.json_response({"detail": "Not found."}, status=404)
        return web.json_response(self.lie(entry))

    def _signed(self, name: str, signer: str, text: str) -> bool:
        try:
            return recover(bytes.fromhex(name[2:]), bytes.fromhex(text[2:])) == signer
        except QuorumError:
            return False

    def _add(self, name: str, signer: str, text: str) -> None:
        others = [each for each in self.entries[name]["confirmations"] if each["owner"] != signer]
        confirmation = {"owner": signer, "signature": text, "signatureType": "EOA"}
        self.entries[name]["confirmations"] = [*others, confirmation]


@asynccontextmanager
async def running(service: Service) -> AsyncIterator[str]:
    """Its URL, on a port of its own."""
    runner = web.AppRunner(service.application())
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()
