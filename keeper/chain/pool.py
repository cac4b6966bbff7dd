"""Several endpoints of one chain that stand in for each other, and the file that names them.

A read goes to the best endpoint and, when that cannot serve it, to the next, in the middle of a pass if
need be: everything is pinned by block hash, so it does not matter who answers. With `agreement` 2 each pass
is read from two endpoints of different operators. Every result moves money, as all of them enter the plan:
so all must be the same.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, TypeVar

from pydantic import Field, model_validator
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from keeper.chain.block import HASHED_OTHERWISE, BlockRef, Pinned
from keeper.chain.rpc import READ_ATTEMPTS, Endpoint, PrivateRelay, agreed, is_read
from keeper.clock import ClockName
from keeper.config import EndpointUrl, OneEach, StrictModel, Url
from keeper.errors import (
    ConfigError,
    DecodeError,
    EndpointDownError,
    EndpointError,
    KeeperError,
    RateLimitedError,
    RpcError,
    WrongChainError,
)
from keeper.events import EndpointFailed, EventStream

T = TypeVar("T")

ROUNDS: Final = 3
"""How often all endpoints are tried when none of them answers."""

_LATENCY_STEP: Final = 0.1
"""Endpoints that differ by less than this many seconds are equally fast: the order of the file decides."""


class EndpointSettings(StrictModel):
    """One endpoint. `operator` says who runs it (its host, unless given): agreement needs two of them.
    `states` is of how many recent blocks it keeps the state; without it, of all. `timeout` in seconds."""

    url: Url
    operator: str = ""
    states: Annotated[int, Field(gt=0)] | None = None
    timeout: Annotated[int, Field(gt=0)] = 10


class Replacement(StrictModel):
    """What becomes of a transaction that is not mined: after so many `blocks` it is offered again at a higher
    price, so many `times` at most."""

    blocks: Annotated[int, Field(gt=0)] = 3
    times: Annotated[int, Field(ge=0)] = 4


class PrivateSettings(StrictModel):
    """A relay to which transactions are offered first (`keeper.chain.rpc.PrivateRelay`). `timeout` in
    seconds."""

    url: Url
    blocks: Annotated[int, Field(gt=0)] = 25
    fallback: Literal["public", "cancel"] = "public"
    timeout: Annotated[int, Field(gt=0)] = 5


class ChainEndpoints(StrictModel):
    """The endpoints of one chain, best first, how a transaction that waits there is replaced, and the relay
    that has it first, if any. `agreement` is how many must say the same; an endpoint more than `max_lag`
    blocks behind the best comes last; one whose head is more than `max_head_age` seconds before the reference
    time is passed over."""

    endpoints: Annotated[tuple[EndpointSettings, ...], Field(min_length=1)]
    agreement: Literal[1, 2] = 1
    max_lag: Annotated[int, Field(ge=0)] = 3
    max_head_age: Annotated[int, Field(gt=0)] | None = None
    replacement: Replacement = Replacement()
    private: PrivateSettings | None = None

    @classmethod
    def of(cls, urls: Iterable[str], **rules: int) -> "ChainEndpoints":
        """Plain URLs, the preferred one first. Raises ConfigError for what is no URL."""
        members = tuple(EndpointSettings(url=EndpointUrl(url)) for url in urls)
        return cls.model_validate({"endpoints": members, **rules})

    @model_validator(mode="after")
    def _enough_operators(self) -> "ChainEndpoints":
        operators = {each.operator or str(each.url) for each in self.endpoints}
        if len(operators) < self.agreement:
            raise ValueError("agreement needs endpoints of two operators")
        return self


class Endpoints(StrictModel):
    """A TOML file of endpoints by chain id. `clock` gives the present: the system's, or on local chains the
    head of the chain itself."""

    clock: ClockName = "system"
    chains: Annotated[dict[int, ChainEndpoints], OneEach]

    def in_public(self) -> "Endpoints":
        """The same without private relays: for what must not wait until one gives up."""
        chains = {chain: each.model_copy(update={"private": None}) for chain, each in self.chains.items()}
        return self.model_copy(update={"chains": chains})


@dataclass
class Member:
    """An endpoint of a pool, and how it has done: `failures` since it last answered."""

    endpoint: Endpoint
    operator: str
    failures: int = 0
    banned: bool = False


@dataclass(frozen=True)
class Health:
    """An endpoint as its pool sees it. `latency` is a moving average in seconds, `lag` in blocks behind the
    best head that the pool has seen, `states` how many it declares to keep, `rests` for how many seconds."""

    endpoint: str
    operator: str
    failures: int
    latency: float | None
    lag: int
    states: int | None
    rests: float


class Pool:
    """Endpoints of one chain, opened by `async with`. Emits EndpointFailed whenever one is passed over."""

    def __init__(self, chain_id: int, settings: ChainEndpoints, events: EventStream | None = None) -> None:
        self.chain_id: Final = chain_id
        self._agreement: Final = settings.agreement
        self._max_lag: Final = settings.max_lag
        self._events: Final = events or EventStream()
        # With others to turn to, nobody waits for one to come back.
        attempts = READ_ATTEMPTS if len(settings.endpoints) == 1 else 1
        self._members: Final = tuple(
            Member(
                Endpoint(
                    each.url.secret(),
                    chain_id,
                    timeout=each.timeout,
                    states=each.states,
                    attempts=attempts,
                    max_head_age=settings.max_head_age,
                ),
                each.operator or str(each.url),
            )
            for each in settings.endpoints
        )
        self.private: Final = None if settings.private is None else _relay(chain_id, settings.private)
        self._stack: AsyncExitStack | None = None

    @property
    def public_url(self) -> str:
        """Scheme and host of every endpoint."""
        return ", ".join(member.endpoint.public_url for member in self._members)

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """Each of them, to be asked by itself, in the file's order."""
        return tuple(member.endpoint for member in self._members)

    def health(self) -> tuple[Health, ...]:
        """Every endpoint, in the order in which they would be asked now."""
        return tuple(
            Health(
                endpoint=member.endpoint.public_url,
                operator=member.operator,
                failures=member.failures,
                latency=member.endpoint.latency,
                lag=self._lag(member),
                states=member.endpoint.states,
                rests=self._rest(member),
            )
            for member in self._order()
        )

    async def rpc(self, method: str, params: Sequence[Any] = ()) -> Any:
        """As `Endpoint.rpc`; a read may be answered by any endpoint, anything else is asked once, of one."""
        if is_read(method):
            return await self._first(lambda endpoint: endpoint.rpc(method, params))
        return await self._order()[0].endpoint.rpc(method, params)

    async def send_raw(self, transaction: bytes) -> bytes:
        """As `Endpoint.send_raw`, through every endpoint, once each: the same bytes are the same transaction.

        Raises what the best endpoint said when none took it.
        """
        answers = await asyncio.gather(*(self._offer(member, transaction) for member in self._order()))
        taken = [answer for answer in answers if isinstance(answer, bytes)]
        refused = [answer for answer in answers if isinstance(answer, KeeperError)]
        if not taken:
            raise refused[0]
        return taken[0]

    async def _offer(self, member: Member, transaction: bytes) -> bytes | KeeperError:
        try:
            return await member.endpoint.send_raw(transaction)
        except KeeperError as error:
            # What it says of the transaction is no fault of the endpoint.
            if not isinstance(error, RpcError):
                self._note(member, error)
            return error

    async def get_block(self, block: int | bytes) -> BlockRef:
        """As `Endpoint.get_block`."""
        return await self._first(lambda endpoint: endpoint.get_block(block))

    async def latest(self, reference_time: int | None = None) -> BlockRef:
        """The newest header that every endpoint that has to agree has reached; a stale one is passed over.

        Raises StaleHeadError, naming each, when all of them are.
        """
        heads = await self.witnessed(lambda endpoint: endpoint.latest(reference_time))
        return min((head for _, head in heads), key=lambda head: head.number)

    async def canonical(self, pinned: Pinned) -> BlockRef:
        """As `Endpoint.canonical`: an error only when no endpoint has the block.

        Raises DisagreementError where a header's hash does not prove it, and two show different ones.
        """
        if self.chain_id not in HASHED_OTHERWISE:
            return await self._first(lambda endpoint: endpoint.canonical(pinned))
        header = f"the header of block {pinned.number}"
        return await agreed(self, lambda endpoint: endpoint.canonical(pinned), header)

    async def witnessed(self, read: Callable[[Endpoint], Awaitable[T]]) -> tuple[tuple[Endpoint, T], ...]:
        """What `agreement` endpoints of different operators say, asked at the same time."""
        claimed: set[str] = set()
        return tuple(await asyncio.gather(*(self._answer(read, claimed) for _ in range(self._agreement))))

    async def _first(self, read: Callable[[Endpoint], Awaitable[T]]) -> T:
        return (await self._answer(read, set()))[1]

    async def _answer(
        self, read: Callable[[Endpoint], Awaitable[T]], claimed: set[str]
    ) -> tuple[Endpoint, T]:
        """The first answer of an operator whom nobody else has claimed; claims that operator."""
        retrying = AsyncRetrying(
            stop=stop_after_attempt(1 if len(self._members) == 1 else ROUNDS),
            wait=wait_random_exponential(multiplier=0.05, max=1),
            retry=retry_if_exception_type(EndpointDownError),
            reraise=True,
        )
        return await retrying(self._round, read, claimed)

    async def _round(self, read: Callable[[Endpoint], Awaitable[T]], claimed: set[str]) -> tuple[Endpoint, T]:
        failures: list[KeeperError] = []
        for member in self._order():
            if member.operator in claimed:
                continue
            claimed.add(member.operator)
            try:
                answer = await read(member.endpoint)
            except KeeperError as error:
                if not _of_the_endpoint(error):
                    raise
                claimed.discard(member.operator)
                self._note(member, error)
                failures.append(error)
                continue
            member.failures = 0
            return member.endpoint, answer
        raise self._all_failed(failures)

    def _all_failed(self, failures: Sequence[KeeperError]) -> KeeperError:
        if len(failures) == 1 and self._agreement == 1:
            return failures[0]
        kinds = {type(error) for error in failures}
        kind = kinds.pop() if len(kinds) == 1 else EndpointError
        if kind in (RpcError, RateLimitedError, DecodeError):
            kind = EndpointDownError if kind is RateLimitedError else EndpointError
        return kind(
            f"No endpoint of chain {self.chain_id} could answer"
            if self._agreement == 1
            else f"Too few endpoints of chain {self.chain_id} answer for agreement",
            expected=f"{self._agreement} of different operators" if self._agreement > 1 else None,
            seen="; ".join(str(error) for error in failures) or "no other operator",
        )

    def _note(self, member: Member, error: KeeperError) -> None:
        member.failures += 1
        member.banned |= isinstance(error, WrongChainError)
        self._events.emit(
            EndpointFailed(chain_id=self.chain_id, endpoint=member.endpoint.public_url, reason=str(error))
        )

    def _order(self) -> list[Member]:
        """Who is asked first: rested, sound, up to date, quick, and then as the file has it."""
        return sorted(
            self._members,
            key=lambda each: (
                each.banned,
                self._rest(each) > 0,
                each.failures,
                self._lag(each) > self._max_lag,
                int((each.endpoint.latency or 0.0) / _LATENCY_STEP),
            ),
        )

    def _lag(self, member: Member) -> int:
        best = max(each.endpoint.head for each in self._members)
        return best - member.endpoint.head if member.endpoint.head else 0

    def _rest(self, member: Member) -> float:
        return max(0.0, member.endpoint.rests_until - asyncio.get_running_loop().time())

    async def __aenter__(self) -> "Pool":
        async with AsyncExitStack() as stack:
            for member in self._members:
                await stack.enter_async_context(member.endpoint)
            if self.private is not None:
                await stack.enter_async_context(self.private.endpoint)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *raised: object) -> None:
        if self._stack is not None:
            await self._stack.aclose()
            self._stack = None


def _relay(chain_id: int, settings: PrivateSettings) -> PrivateRelay:
    endpoint = Endpoint(settings.url.secret(), chain_id, timeout=settings.timeout)
    return PrivateRelay(endpoint, settings.blocks, settings.fallback)


def _of_the_endpoint(error: KeeperError) -> bool:
    """Whether another endpoint may do better: not so where the chain itself has spoken."""
    if isinstance(error, RpcError):
        return not error.reverted
    return isinstance(error, EndpointError | DecodeError)


@asynccontextmanager
async def open_pools(
    settings: Endpoints, chains: Iterable[int], events: EventStream | None = None
) -> AsyncIterator[Mapping[int, Pool]]:
    """A pool for each of these chains, by chain id. Raises ConfigError when the file lacks one."""
    wanted = sorted(chains)
    if missing := [chain for chain in wanted if chain not in settings.chains]:
        raise ConfigError("Chains without endpoints", expected=wanted, seen=f"none for {missing}")
    async with AsyncExitStack() as stack:
        yield {
            chain: await stack.enter_async_context(Pool(chain, settings.chains[chain], events))
            for chain in wanted
        }
