"""Collecting signatures: signers may be down, slow, strangers or liars, and the keeper still knows why."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web
from vault_world import ChainTime, World

from keeper.chain.rpc import Endpoint
from keeper.errors import QuorumError
from keeper.events import EventStream
from keeper.planning.plan import Kind, Plan
from keeper.quorum.admission import Admission
from keeper.quorum.collect import Approval, TooFewSignaturesError, collect
from keeper.quorum.requests import APPROVE
from keeper.quorum.signer import Signer
from keeper.quorum.signer_service import application
from keeper.quorum.typed_data import Signature
from keeper.simulation.proxy import Fault, Proxy
from keeper.simulation.vault import SIGNERS

Make = Callable[..., Signer]
Serve = Callable[[web.Application], Awaitable[str]]
PATIENCE = 20


@pytest.fixture
async def serve(tmp_path: Path) -> AsyncIterator[Serve]:
    """Serves applications on Unix sockets and gives their URLs."""
    async with AsyncExitStack() as stack:
        count = iter(range(100))

        async def start(app: web.Application) -> str:
            runner = web.AppRunner(app)
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            path = tmp_path / f"{next(count)}.sock"
            await web.UnixSite(runner, path).start()
            return f"unix:{path}"

        yield start


def answering(answer: object) -> web.Application:
    """A server that answers every request so."""

    async def handle(request: web.Request) -> web.Response:
        await request.read()
        if isinstance(answer, bytes):
            return web.Response(body=answer)
        return web.json_response(answer)

    app = web.Application()
    app.router.add_post(APPROVE, handle)
    return app


def signature_answer(signature: Signature) -> dict[str, object]:
    return {"ok": True, "signer": signature.signer, "signature": "0x" + signature.data.hex()}


Honest = Callable[[Signer], web.Application]


@pytest.fixture
def honest(world: World, tmp_path: Path) -> Honest:
    """The HTTP face of a signer that admits the policy's proposers."""
    count = iter(range(100))

    def make(signer: Signer) -> web.Application:
        record = tmp_path / f"requests{next(count)}.sqlite"
        return application(signer, Admission(world.policy, ChainTime(world.devnet), record), EventStream())

    return make


@asynccontextmanager
async def silent(path: Path) -> AsyncIterator[str]:
    """A socket that accepts, reads and never answers."""
    over = asyncio.Event()

    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await over.wait()
        writer.close()

    server = await asyncio.start_unix_server(hold, path)
    try:
        yield f"unix:{path}"
    finally:
        over.set()
        server.close()


async def asked(world: World, plan: Plan, urls: list[str], patience: float = PATIENCE) -> Approval:
    return await collect(plan, world.policy, urls, proposer=world.proposer(), patience=patience, ask_all=True)


async def test_threshold_signatures_come_sorted_and_every_outcome_is_told(
    settled: World, make_signer: Make, honest: Honest, serve: Serve
) -> None:
    plan = await settled.propose(Kind.BATCH)
    urls = [await serve(honest(make_signer(role))) for role in SIGNERS]
    approval = await asked(settled, plan, urls)
    order = [int(each.signer, 16) for each in approval.signatures]
    assert order == sorted(order)
    assert len(order) == settled.policy.signers.threshold
    assert [each.url for each in approval.outcomes] == urls
    assert approval.refusals == ()
    settled.submit(plan, list(approval.signatures))


async def test_one_who_is_down_and_one_who_refuses_leave_too_few(
    settled: World, make_signer: Make, honest: Honest, serve: Serve, tmp_path: Path
) -> None:
    plan = await settled.propose(Kind.BATCH)
    urls = [
        await serve(honest(make_signer("signer1"))),
        f"unix:{tmp_path}/nobody.sock",
        await serve(answering({"ok": False, "code": "stale", "reason": "Reference time is too old"})),
    ]
    with pytest.raises(QuorumError) as caught:
        await asked(settled, plan, urls)
    told = str(caught.value)
    assert "expected 2 of 3, saw 1" in told
    assert "nobody.sock: unreachable" in told
    assert "stale: Reference time is too old" in told


async def test_a_silent_signer_does_not_hold_up_the_others(
    settled: World, make_signer: Make, honest: Honest, serve: Serve, tmp_path: Path
) -> None:
    plan = await settled.propose(Kind.BATCH)
    async with silent(tmp_path / "silent.sock") as url:
        urls = [url, *[await serve(honest(make_signer(role))) for role in SIGNERS[:2]]]
        approval = await collect(plan, settled.policy, urls, proposer=settled.proposer(), patience=600)
        assert [each.code for each in approval.outcomes] == ["not_needed", "", ""]
        with pytest.raises(QuorumError, match="timeout: no answer within"):
            await asked(settled, plan, [url], patience=0.05)


@asynccontextmanager
async def behind(world: World, times: int | None) -> AsyncIterator[Endpoint]:
    """A node that has not seen the newest block when it is asked for the first `times` times."""
    old = world.devnet.block()
    world.devnet.rpc("evm_mine")
    late = Fault("eth_getBlockByNumber", lambda asked: asked[0] == "latest", times, change=lambda _: old)
    chain_id = world.devnet.chain_id
    with Proxy([world.devnet.url], chain_id, faults=[late]) as proxy:
        async with Endpoint(proxy.url, chain_id) as endpoint:
            yield endpoint


async def test_a_signer_whose_node_is_behind_is_asked_until_it_has_followed(
    rewind: World, make_signer: Make, honest: Honest, serve: Serve
) -> None:
    async with behind(rewind, times=3) as node:
        plan = await rewind.propose(Kind.SETTLEMENT)
        signer = make_signer("signer1", source=node, clock=ChainTime(rewind.devnet))
        urls = [await serve(honest(signer)), await serve(honest(make_signer("signer2")))]
        approval = await asked(rewind, plan, urls)
    assert approval.refusals == ()
    rewind.submit(plan, list(approval.signatures))


async def test_a_signer_whose_node_stays_behind_refuses_in_the_end_and_has_signed_nothing(
    rewind: World, make_signer: Make, honest: Honest, serve: Serve
) -> None:
    async with behind(rewind, times=None) as node:
        plan = await rewind.propose(Kind.SETTLEMENT)
        signer = make_signer("signer1", source=node, clock=ChainTime(rewind.devnet))
        with pytest.raises(TooFewSignaturesError) as caught:
            await asked(rewind, plan, [await serve(honest(signer))], patience=1.0)
    # Not a silence, after which it might have signed: so the next plan may have the slot.
    assert [each.code for each in caught.value.approval.refusals] == ["not_final"]


async def test_the_same_signer_twice_counts_once(
    settled: World, make_signer: Make, honest: Honest, serve: Serve
) -> None:
    plan = await settled.propose(Kind.BATCH)
    urls = [await serve(honest(make_signer("signer1"))) for _ in range(2)]
    with pytest.raises(QuorumError, match=r"duplicate: .* has already signed"):
        await asked(settled, plan, urls)


async def test_a_stranger_does_not_count(
    settled: World, make_signer: Make, honest: Honest, serve: Serve
) -> None:
    plan = await settled.propose(Kind.BATCH)
    (stranger,) = settled.sign(plan, "whale")
    urls = [await serve(honest(make_signer("signer1"))), await serve(answering(signature_answer(stranger)))]
    with pytest.raises(QuorumError, match=r"stranger: .* is not a signer"):
        await asked(settled, plan, urls)


async def test_a_signature_over_another_plan_does_not_count(
    rewind: World, make_signer: Make, honest: Honest, serve: Serve
) -> None:
    plan = await rewind.propose(Kind.SETTLEMENT)
    rewind.devnet.rpc("evm_mine")
    (other,) = rewind.sign(await rewind.propose(Kind.SETTLEMENT), "signer2")
    urls = [await serve(honest(make_signer("signer1"))), await serve(answering(signature_answer(other)))]
    with pytest.raises(QuorumError, match=r"bad_signature: .*another digest"):
        await asked(rewind, plan, urls)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"<html>",
        b"[]",
        {"ok": True},
        {"ok": True, "signer": "0x12", "signature": "0x"},
        {"ok": True, "signer": "0x" + "11" * 20, "signature": "not hex"},
        {"ok": "yes", "signer": 1},
        {"ok": False, "code": "\x1b[2J\x1b]0;x\x07ok", "reason": "x"},
        {"ok": False, "code": "", "reason": "x"},
        {"ok": False, "code": "a" * 65, "reason": "x"},
        b"[" * 50_000,
        b" " * 70_000,
    ],
)
async def test_an_answer_that_is_none_is_a_bad_answer(world: World, serve: Serve, answer: object) -> None:
    plan = await world.propose(Kind.SETTLEMENT)
    with pytest.raises(QuorumError, match="bad_answer"):
        await asked(world, plan, [await serve(answering(answer))])


async def test_an_answer_nested_deep_enough_to_end_a_process_is_a_bad_answer(
    settled: World, make_signer: Make, honest: Honest, serve: Serve
) -> None:
    async def nested(_: web.Request) -> web.Response:
        return web.Response(body=b"[" * 60_000, content_type="application/json")

    plan = await settled.propose(Kind.BATCH)
    deep = web.Application()
    deep.router.add_post(APPROVE, nested)
    urls = [await serve(deep), *[await serve(honest(make_signer(f"signer{i}"))) for i in (1, 2)]]
    approval = await asked(settled, plan, urls)
    assert [(each.code, each.reason) for each in approval.refusals] == [("bad_answer", "not JSON")]
    assert len(approval.signatures) == 2
