"""The signer as a process: one HTTP server, on a Unix socket or the loopback interface, or anywhere with TLS.

* `POST /v1/approve` with a plan's canonical bytes as body, in the name of a proposer of the policy
  (`keeper.quorum.requests`), answers `{"ok": true, "signer", "signature"}`, or `{"ok": false, "code",
  "reason"}` with status 422 for a refusal, 401 when no listed proposer asks now and for the first time, 400,
  408 or 413 for what is no request.
* `GET /v1/identity` answers who this is, by which policy and code.

Codes: `malformed_plan`, `unknown_vault`, `policy_mismatch`, `different_code`, `policy_violation`, `endpoint`
(down, wrong chain, stale, block reorganised away), `not_final`, `wrong_block`, `expired`, `stale`, `future`,
`no_plan`, `nonce`, `different_plan`, `simulation`, `slot_taken`, `over_budget`, `not_your_turn`,
`key_unavailable`, `unauthenticated`, `unknown_proposer`, `bad_request_signature`, `request_time`, `replayed`,
`too_large`, `too_slow`, `bad_request`.
"""

import asyncio
import errno
import ipaddress
import os
import socket
import ssl
import stat
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

from aiohttp import web
from aiohttp.typedefs import Handler
from eth_hash.auto import keccak
from pydantic import Field, model_validator

from keeper import clock
from keeper.chain.pool import Endpoints, open_pools
from keeper.chain.rpc import Endpoint
from keeper.config import StrictModel, load_toml
from keeper.errors import ConfigError
from keeper.events import EventStream, PlanRefused, PlanSigned, RequestRefused
from keeper.planning import policy as policies
from keeper.planning.plan import MAX_PLAN_BYTES
from keeper.quorum.admission import Admission, claimed, require_quorum
from keeper.quorum.key import KeySource, load_signing_key
from keeper.quorum.record import Promises
from keeper.quorum.requests import APPROVE, IDENTITY, UNIX
from keeper.quorum.signer import Engine, PlanRefusedError, Signer
from keeper.quorum.tls import TlsSettings

BODY_SECONDS: Final = 10.0
"""How long a listed proposer may take to send its plan."""


class SignerConfig(StrictModel):
    """A signer's own TOML. Relative paths are relative to that file.

    `listen` is "unix:PATH" or "ADDRESS:PORT" (port 0: any free one), with `tls` unless the address is this
    machine's own; `endpoints` is a file of endpoints by
    chain (`keeper.chain.pool.Endpoints`).
    """

    listen: str
    policy: Path
    record: Path
    endpoints: Path
    key: KeySource
    tls: TlsSettings | None = None
    max_request_bytes: Annotated[int, Field(gt=0)] = MAX_PLAN_BYTES

    @model_validator(mode="after")
    def _private(self) -> "SignerConfig":
        if self.listen.startswith(UNIX):
            if not self.listen.removeprefix(UNIX):
                raise ValueError("listen: expected unix:PATH")
            if self.tls is not None:
                raise ValueError("tls: not for a Unix socket")
            return self
        host, _, port = self.listen.rpartition(":")
        try:
            local = ipaddress.ip_address(host.strip("[]")).is_loopback
        except ValueError:
            raise ValueError("listen: expected unix:PATH or ADDRESS:PORT") from None
        if not port.isdecimal() or int(port) > 65_535:
            raise ValueError("listen: expected unix:PATH or ADDRESS:PORT")
        if not local and self.tls is None:
            raise ValueError("listen: beyond this machine only with [tls]")
        return self

    def beside(self, folder: Path) -> "SignerConfig":
        """The same with paths taken relative to `folder`."""
        listen = self.listen
        if listen.startswith(UNIX):
            listen = UNIX + str(folder / listen.removeprefix(UNIX))
        key = self.key
        if key.keystore is not None:
            key = key.model_copy(update={"keystore": folder / key.keystore})
        return self.model_copy(
            update={
                "listen": listen,
                "key": key,
                "tls": None if self.tls is None else self.tls.beside(folder),
                "policy": folder / self.policy,
                "record": folder / self.record,
                "endpoints": folder / self.endpoints,
            }
        )


@dataclass(frozen=True)
class Running:
    """A signer that serves: where, as whom, by which policy."""

    url: str
    address: str
    policy_hash: bytes


def application(
    signer: Signer, admission: Admission, events: EventStream, max_request_bytes: int = MAX_PLAN_BYTES
) -> web.Application:
    """The HTTP face of a signer; it emits PlanSigned, PlanRefused and RequestRefused."""
    desk = _Desk(signer, admission, events, max_request_bytes)
    app = web.Application(client_max_size=max_request_bytes, middlewares=[_json_errors])
    app.router.add_post(APPROVE, desk.approve)
    app.router.add_get(IDENTITY, desk.identity)
    return app


@dataclass(frozen=True)
class _Desk:
    signer: Signer
    admission: Admission
    events: EventStream
    max_request_bytes: int

    async def approve(self, request: web.Request) -> web.Response:
        try:
            claim = claimed(request.headers)
            # Before the body: a stranger's is not waited for.
            self.admission.rank(claim)
            async with asyncio.timeout(BODY_SECONDS):
                data = await request.read()
            rank = await self.admission.admit(claim, data)
        except PlanRefusedError as refusal:
            reason = f"{refusal.code}: {refusal}"
            self.events.emit(RequestRefused(signer=self.signer.address, reason=reason))
            return _refused(refusal.code, str(refusal), 401)
        except TimeoutError:
            return _refused("too_slow", f"Request too slow: expected within {BODY_SECONDS} s", 408)
        except web.HTTPRequestEntityTooLarge:
            return _refused(
                "too_large", f"Request too large: expected at most {self.max_request_bytes} bytes", 413
            )
        if not data:
            return _refused("bad_request", "Empty request: expected a plan's bytes", 400)
        return await self._judge(data, rank)

    async def _judge(self, data: bytes, rank: int) -> web.Response:
        name, who = self.signer.policy.vault, self.signer.address
        # A plan's hash is that of its bytes, which are canonical once it is signed.
        plan = keccak(data)
        try:
            signature = await self.signer.approve(data, rank)
        except PlanRefusedError as refusal:
            self.events.emit(
                PlanRefused(
                    chain_id=name.chain_id,
                    vault=name.vault,
                    plan=plan,
                    signer=who,
                    code=refusal.code,
                    reason=str(refusal),
                )
            )
            return _refused(refusal.code, str(refusal), 422)
        self.events.emit(PlanSigned(chain_id=name.chain_id, vault=name.vault, plan=plan, signer=who))
        return web.json_response(
            {"ok": True, "signer": signature.signer, "signature": "0x" + signature.data.hex()}
        )

    async def identity(self, _: web.Request) -> web.Response:
        return web.json_response(self.signer.identity())


@web.middleware
async def _json_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except web.HTTPException as error:
        return _refused("bad_request", error.reason, error.status)


def _refused(code: str, reason: str, status: int) -> web.Response:
    return web.json_response({"ok": False, "code": code, "reason": reason}, status=status)


@asynccontextmanager
async def serving(config: SignerConfig, engine: Engine, events: EventStream) -> AsyncIterator[Running]:
    """Opens everything a signer has and serves until the block ends.

    Raises ConfigError when a part of the configuration does not hold, such as a policy for a chain without
    endpoint, PolicyError when the policy's keeper is a Safe, and EndpointError when too few endpoints of a
    chain are up and on it.
    """
    policy = policies.load(config.policy)
    require_quorum(policy)
    key = load_signing_key(config.key, os.environ)
    context = None if config.tls is None else config.tls.context()
    settings = load_toml(config.endpoints, Endpoints)
    if key.address not in policy.signers.addresses:
        raise ConfigError(
            "The key is none of the policy's signers",
            expected=" or ".join(policy.signers.addresses),
            seen=key.address,
        )
    async with AsyncExitStack() as stack:
        pools = await stack.enter_async_context(open_pools(settings, policy.chains, events))
        await asyncio.gather(*(pool.witnessed(Endpoint.check) for pool in pools.values()))
        time = clock.named(settings.clock, pools[policy.vault.chain_id])
        signer = Signer(
            policy=policy,
            engine=engine,
            endpoints=pools,
            clock=time,
            promises=Promises(config.record),
            account=key,
        )
        admission = Admission(policy, time, config.record)
        app = application(signer, admission, events, config.max_request_bytes)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        url = await _listen(runner, config.listen, context)
        yield Running(url=url, address=signer.address, policy_hash=policy.hash)


async def _listen(runner: web.AppRunner, listen: str, tls: ssl.SSLContext | None) -> str:
    try:
        if listen.startswith(UNIX):
            return await _listen_unix(runner, Path(listen.removeprefix(UNIX)))
        host, _, port = listen.rpartition(":")
        await web.TCPSite(runner, host.strip("[]"), int(port), ssl_context=tls).start()
    except OSError as error:
        raise ConfigError("Cannot listen", where=listen, seen=error.strerror or error) from error
    bound = runner.addresses[0][1]
    return f"{'http' if tls is None else 'https'}://{host}:{bound}"


async def _listen_unix(runner: web.AppRunner, path: Path) -> str:
    with socket.socket(socket.AF_UNIX) as probe:
        if probe.connect_ex(str(path)) == 0:
            raise OSError(errno.EADDRINUSE, "another process serves there")
    # asyncio replaces a stale socket file; the umask keeps other users from connecting.
    before = os.umask(stat.S_IRWXG | stat.S_IRWXO)
    try:
        await web.UnixSite(runner, path).start()
    finally:
        os.umask(before)
    return f"{UNIX}{path}"
