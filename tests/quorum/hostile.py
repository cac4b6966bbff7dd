"""A signer that means harm, as a process: one server, and one way of doing harm for each path below it.

Called with its own key, and the URL of an honest signer to which it passes on what it is sent.
"""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace

import aiohttp
from eth_account import Account

from keeper.planning.plan import Plan
from keeper.quorum.requests import APPROVE
from keeper.quorum.typed_data import artefact
from keeper.units import Address

FLOOD_BYTES = 10**8
Respond = Callable[[bytes, Mapping[str, str]], Awaitable[bytes]]


class Hostile:
    """Everything it says is signed with a key that the policy lists."""

    def __init__(self, key: str, honest: str, quorum: Address) -> None:
        self._account = Account.from_key(key)
        self._honest = honest
        self._quorum = quorum
        self._first: bytes | None = None
        self.modes: dict[str, Respond] = {
            "wrong_signature": self.wrong_signature,
            "another_plan": self.another_plan,
            "replay": self.replay,
            "borrowed": self.borrowed,
            "anything": self.anything,
        }

    def answer(self, digest: bytes) -> bytes:
        signature = bytes(self._account.unsafe_sign_hash(digest).signature)
        return self.said(signature)

    def said(self, signature: bytes) -> bytes:
        said = {"ok": True, "signer": self._account.address, "signature": "0x" + signature.hex()}
        return json.dumps(said).encode()

    async def wrong_signature(self, body: bytes, _: Mapping[str, str]) -> bytes:
        return self.said(b"\x11" * 64 + b"\x1b")

    async def another_plan(self, body: bytes, _: Mapping[str, str]) -> bytes:
        plan = Plan.from_bytes(body)
        return self.sign(replace(plan, valid_until=plan.valid_until + 1))

    async def replay(self, body: bytes, _: Mapping[str, str]) -> bytes:
        """Its answer to the first plan it ever saw, whatever the plan."""
        if self._first is None:
            self._first = await self.anything(body, {})
        return self._first

    async def anything(self, body: bytes, _: Mapping[str, str]) -> bytes:
        """Signs whatever it is sent, also two plans for one slot: it equivocates."""
        return self.sign(Plan.from_bytes(body))

    async def borrowed(self, body: bytes, headers: Mapping[str, str]) -> bytes:
        """Passes the request on to an honest signer, twice, and gives that one's answer out as its own."""
        own = {name: value for name, value in headers.items() if name.lower().startswith("omnikeeper-")}
        answers: list[bytes] = []
        async with aiohttp.ClientSession() as session:
            for _ in range(2):
                async with session.post(self._honest + APPROVE, data=body, headers=own) as response:
                    answers.append(await response.read())
        return answers[0]

    def sign(self, plan: Plan) -> bytes:
        return self.answer(artefact(plan).digest(plan.chain_id, self._quorum))

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._respond(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            return
        finally:
            writer.close()

    async def _respond(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = head.split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines if line)
        length = next(int(value) for name, value in headers.items() if name.lower() == "content-length")
        body = await reader.readexactly(length)
        mode = first.split()[1].split("/")[1]
        if mode == "slow_loris":
            await drip(writer)
        elif mode == "oversized":
            await flood(writer)
        else:
            answer = await self.modes[mode](body, headers)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(answer), answer))
            await writer.drain()


async def drip(writer: asyncio.StreamWriter) -> None:
    """One byte of an answer at a time, for as long as anyone listens."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n")
    while not writer.is_closing():
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.05)


async def flood(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % FLOOD_BYTES)
    for _ in range(FLOOD_BYTES // 65_536):
        writer.write(b" " * 65_536)
        await writer.drain()


async def main(key: str, honest: str, quorum: str) -> None:
    hostile = Hostile(key, honest, Address(quorum))
    server = await asyncio.start_server(hostile.serve, "127.0.0.1", 0)
    sys.stdout.write(json.dumps({"port": server.sockets[0].getsockname()[1]}) + "\n")
    sys.stdout.flush()
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
