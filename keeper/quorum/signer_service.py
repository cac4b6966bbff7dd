"""The signer as a process: one HTTP server, on a Unix socket or on the loopback interface only.

* `POST /v1/approve` with a plan's canonical bytes as body answers `{"ok": true, "signer", "signature"}`, or
  `{"ok": false, "code", "reason"}` with status 422 for a refusal, 400 or 413 for what is no request.
* `GET /v1/identity` answers who this is, by which policy and code.

Codes: `malformed_plan`, `unknown_vault`, `policy_mismatch`, `different_code`, `policy_violation`, `endpoint`
(down, wrong chain, behind, block reorganised away), `not_final`, `wrong_block`, `expired`, `stale`, `future`,
`no_plan`, `nonce`, `different_plan`, `simulation`, `slot_taken`, `too_large`, `bad_request`.
"""

import asyncio
import ipaddress
import os
import stat
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

from aiohttp import web
from aiohttp.typedefs import Handler
from eth_hash.auto import keccak
from pydantic import Field, field_validator

from keeper import clock
from keeper.chain.pool import Endpoints, open_pools
from keeper.chain.rpc import Endpoint
from keeper.config import StrictModel, load_toml
from keeper.errors import ConfigError
from keeper.events import EventStream, PlanRefused, PlanSigned
from keeper.planning import policy as policies
from keeper.planning.plan import MAX_PLAN_BYTES
from keeper.quorum.key import KeySource, load_key
from keeper.quorum.record import Promises
from keeper.quorum.signer import Engine, PlanRefusedError, Signer
from keeper.units import Address

UNIX: Final = "unix:"
APPROVE: Final = "/v1/approve"
IDENTITY: Final = "/v1/identity"


class SignerConfig(StrictModel):
    """A signer's own TOML. Relative paths are relative to that file.

    `listen` is "unix:PATH" or "127.0.0.1:PORT" (port 0: any free one); `endpoints` is a file of endpoints by
    chain (`keeper.chain.pool.Endpoints`).
    """

    listen: str
    policy: Path
    record: Path
    endpoints: Path
    key: KeySource
    max_request_bytes: Annotated[int, Field(gt=0)] = MAX_PLAN_BYTES

    @field_validator("listen")
    @classmethod
    def _local_only(cls, value: str) -> str:
        if value.startswith(UNIX):
            if not value.removeprefix(UNIX):
                raise ValueError("expected unix:PATH")
            return value
        host, _, port = value.rpartition(":")
        try:
            local = ipaddress.ip_address(host).is_loopback
        except ValueError:
            local = False
        if not local or not port.isdecimal() or int(port) > 65_535:
            raise ValueError("expected unix:PATH or 127.0.0.1:PORT; requests are not authenticated")
        return value

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
    signer: Signer, events: EventStream, max_request_bytes: int = MAX_PLAN_BYTES
) -> web.Application:
    """The HTTP face of a signer; it emits PlanSigned and PlanRefused."""

    async def approve(request: web.Request) -> web.Response:
        try:
            data = await request.read()
        except web.HTTPRequestEntityTooLarge:
            return _refused(
                "too_large", f"Request too large: expected at most {max_request_bytes} bytes", 413
            )
        if not data:
            return _refused("bad_request", "Empty request: expected a plan's bytes", 400)
        try:
            signature = await signer.approve(data)
        except PlanRefusedError as refusal:
            reason = f"{refusal.code}: {refusal}"
            events.emit(PlanRefused(plan=keccak(data), signer=signer.address, reason=reason))
            return _refused(refusal.code, str(refusal), 422)
        # A plan's hash is that of its bytes, which are canonical once it is signed.
        events.emit(PlanSigned(plan=keccak(data), signer=signer.address))
        return web.json_response(
            {"ok": True, "signer": signature.signer, "signature": "0x" + signature.data.hex()}
        )

    async def identity(request: web.Request) -> web.Response:
        return web.json_response(signer.identity())

    app = web.Application(client_max_size=max_request_bytes, middlewares=[_json_errors])
    app.router.add_post(APPROVE, approve)
    app.router.add_get(IDENTITY, identity)
    return app


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
    endpoint, and EndpointError when too few endpoints of a chain are up and on it.
    """
    policy = policies.load(config.policy)
    account = load_key(config.key, os.environ)
    settings = load_toml(config.endpoints, Endpoints)
    if Address(account.address) not in policy.signers.addresses:
        raise ConfigError(
            "The key is none of the policy's signers",
            expected=" or ".join(policy.signers.addresses),
            seen=account.address,
        )
    async with AsyncExitStack() as stack:
        pools = await stack.enter_async_context(open_pools(settings, policy.chains, events))
        await asyncio.gather(*(pool.witnessed(Endpoint.check) for pool in pools.values()))
        signer = Signer(
            policy=policy,
            engine=engine,
            endpoints=pools,
            clock=clock.named(settings.clock, pools[policy.vault.chain_id]),
            promises=Promises(config.record),
            account=account,
        )
        runner = web.AppRunner(application(signer, events, config.max_request_bytes), access_log=None)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        url = await _listen(runner, config.listen)
        yield Running(url=url, address=signer.address, policy_hash=policy.hash)


async def _listen(runner: web.AppRunner, listen: str) -> str:
    try:
        if listen.startswith(UNIX):
            return await _listen_unix(runner, Path(listen.removeprefix(UNIX)))
        host, _, port = listen.rpartition(":")
        await web.TCPSite(runner, host.strip("[]"), int(port)).start()
    except OSError as error:
        raise ConfigError("Cannot listen", where=listen, seen=error.strerror) from error
    bound = runner.addresses[0][1]
    return f"http://{host}:{bound}"


async def _listen_unix(runner: web.AppRunner, path: Path) -> str:
    # asyncio replaces a stale socket file; the umask keeps other users from connecting.
    before = os.umask(stat.S_IRWXG | stat.S_IRWXO)
    try:
        await web.UnixSite(runner, path).start()
    finally:
        os.umask(before)
    return f"{UNIX}{path}"
