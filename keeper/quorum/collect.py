"""Collects signatures: every signer is asked at once, and none is believed.

A signature counts when it recovers, over the digest computed here, to a signer of the policy that has not
counted yet; an endpoint that answers for someone else gains nothing.
"""

import asyncio
import re
import ssl
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import aiohttp

from keeper.chain.block import hex_bytes
from keeper.contracts.abi import address
from keeper.errors import ConfigError, DecodeError, QuorumError
from keeper.json_input import parse_json
from keeper.planning.plan import Plan
from keeper.planning.policy import Policy
from keeper.quorum.admission import require_quorum
from keeper.quorum.equivocation import Equivocation, Sightings
from keeper.quorum.requests import APPROVE, UNIX, Proposer
from keeper.quorum.typed_data import Signature, artefact, check, verify
from keeper.units import Address

MAX_ANSWER_BYTES: Final = 64 * 1024
ANSWER_SECONDS: Final = 10.0
"""How long an answer's body may take once its headers are there: the plan has been judged by then."""
NOT_NEEDED: Final = "not_needed"
BEHIND: Final = "not_final"
"""A signer's refusal that its own node ends by following."""
FIRST_PAUSE: Final = 0.1
LONGEST_PAUSE: Final = 2.0
_MAX_REASON: Final = 2_000
_CODE: Final = re.compile("[a-z_]{1,64}")


@dataclass(frozen=True)
class Outcome:
    """What became of one signer: its signature, or the code and reason of its refusal or failure.

    Codes of the collector itself: `unreachable`, `timeout`, `slow_answer`, `bad_answer`, `bad_signature`,
    `stranger`, `duplicate`, `equivocation` for one that has signed another plan for the same slot, and
    `not_needed` for one that had not answered when enough others had.
    """

    url: str
    signature: Signature | None = None
    code: str = ""
    reason: str = ""
    evidence: Equivocation | None = None

    def __str__(self) -> str:
        if self.signature is not None:
            return f"{self.url}: signed as {self.signature.signer}"
        return f"{self.url}: {self.code}: {self.reason}"


@dataclass(frozen=True)
class Approval:
    """Signatures ready for the quorum contract (sorted by signer), and every signer's outcome in the order
    the signers were given."""

    signatures: tuple[Signature, ...]
    outcomes: tuple[Outcome, ...]

    @property
    def refusals(self) -> tuple[Outcome, ...]:
        """Outcomes of those who were asked and did not sign."""
        return tuple(each for each in self.outcomes if each.signature is None and each.code != NOT_NEEDED)


class TooFewSignaturesError(QuorumError):
    """Too few signed; `approval` has those that did, and every signer's outcome."""

    def __init__(self, approval: Approval, policy: Policy) -> None:
        super().__init__(
            "Too few signatures",
            expected=f"{policy.signers.threshold} of {len(policy.signers.addresses)}",
            seen=len(approval.signatures),
            hint="; ".join(str(each) for each in approval.outcomes),
        )
        self.approval = approval


async def collect(
    plan: Plan,
    policy: Policy,
    urls: Sequence[str],
    *,
    proposer: Proposer,
    patience: float,
    ask_all: bool = False,
    sightings: Sightings | None = None,
) -> Approval:
    """Asks the signers at `urls` ("https://HOST:PORT", "http://127.0.0.1:PORT" or "unix:PATH") to approve
    `plan`, in the proposer's name. With `sightings` a signer that has signed another plan for the same slot
    is found out, and does not count.

    Stops at the policy's threshold, or with `ask_all` when everyone has answered; `patience` is seconds per
    signer. Raises TooFewSignaturesError, with what every signer said, and PolicyError when the policy's
    keeper is a Safe.
    """
    require_quorum(policy)
    digest = artefact(plan).digest(plan.chain_id, policy.vault.quorum)
    signers, threshold = frozenset(policy.signers.addresses), policy.signers.threshold
    data = plan.to_bytes()
    tasks = {asyncio.create_task(ask(url, data, patience, proposer)): i for i, url in enumerate(urls)}
    outcomes: dict[int, Outcome] = {}
    signatures: dict[Address, Signature] = {}
    pending = set(tasks)
    try:
        while pending and (ask_all or len(signatures) < threshold):
            done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            for task in sorted(done, key=lambda each: tasks[each]):
                outcome = _judge(task.result(), digest, signers, signatures)
                outcome = _watch(outcome, plan, policy, sightings)
                outcomes[tasks[task]] = outcome
                if outcome.signature is not None:
                    signatures[outcome.signature.signer] = outcome.signature
    finally:
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
    listed = tuple(
        outcomes.get(i, Outcome(url, code=NOT_NEEDED, reason="enough others had signed"))
        for i, url in enumerate(urls)
    )
    chosen = sorted(signatures.values(), key=lambda each: int(each.signer, 16))[:threshold]
    approval = Approval(tuple(chosen), listed)
    if len(chosen) < threshold:
        raise TooFewSignaturesError(approval, policy)
    verify(digest, chosen, signers=signers, threshold=threshold)
    return approval


def _judge(
    outcome: Outcome, digest: bytes, signers: Collection[Address], counted: Mapping[Address, Signature]
) -> Outcome:
    """The outcome, with its signature only where that counts."""
    signature = outcome.signature
    if signature is None:
        return outcome
    try:
        check(digest, signature)
    except QuorumError as error:
        return Outcome(outcome.url, code="bad_signature", reason=str(error))
    if signature.signer not in signers:
        return Outcome(outcome.url, code="stranger", reason=f"{signature.signer} is not a signer")
    if signature.signer in counted:
        return Outcome(outcome.url, code="duplicate", reason=f"{signature.signer} has already signed")
    return outcome


def _watch(outcome: Outcome, plan: Plan, policy: Policy, sightings: Sightings | None) -> Outcome:
    """The outcome, without its signature if that proves the signer to be dishonest."""
    if outcome.signature is None or sightings is None:
        return outcome
    found = sightings.see(plan, outcome.signature, policy.vault.quorum)
    if found is None:
        return outcome
    return Outcome(outcome.url, code="equivocation", reason=str(found), evidence=found)


async def ask(url: str, data: bytes, patience: float, proposer: Proposer) -> Outcome:
    """One signer's answer to plan bytes, within `patience` seconds; who says that its node is behind is asked
    again. Never raises for what it says, but what the proposer's clock raises."""
    headers = await proposer.headers(data)
    behind: Outcome | None = None
    pause = FIRST_PAUSE
    try:
        async with asyncio.timeout(patience):
            while (outcome := await _post(url, data, headers, proposer.trust)).code == BEHIND:
                behind = outcome
                await asyncio.sleep(pause)
                # From here on it may have signed, though no answer comes.
                behind, pause = None, min(2 * pause, LONGEST_PAUSE)
                headers = await proposer.headers(data)
            return outcome
    except TimeoutError:
        return behind or Outcome(url, code="timeout", reason=f"no answer within {patience} s")
    except (aiohttp.ClientError, OSError) as error:
        return Outcome(url, code="unreachable", reason=str(error) or type(error).__name__)


async def _post(url: str, data: bytes, headers: Mapping[str, str], trust: ssl.SSLContext | None) -> Outcome:
    unix = url.startswith(UNIX)
    connector = (
        aiohttp.UnixConnector(url.removeprefix(UNIX))
        if unix
        else aiohttp.TCPConnector(ssl=True if trust is None else trust)
    )
    base = "http://signer" if unix else url
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        session.post(base + APPROVE, data=data, headers=headers, allow_redirects=False) as response,
    ):
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                body = await _body(response)
        except TimeoutError:
            return Outcome(url, code="slow_answer", reason=f"no whole answer within {ANSWER_SECONDS} s")
    if body is None:
        return Outcome(url, code="bad_answer", reason=f"more than {MAX_ANSWER_BYTES} bytes")
    return _parse(url, body)


async def _body(response: aiohttp.ClientResponse) -> bytes | None:
    """None for one that is too long, of which no more is read."""
    body = b""
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > MAX_ANSWER_BYTES:
            return None
    return body


def _parse(url: str, body: bytes) -> Outcome:
    try:
        answer = parse_json(body, where=url)
    except DecodeError:
        return Outcome(url, code="bad_answer", reason="not JSON")
    match answer:
        case {"ok": True, "signer": str(signer), "signature": str(text)}:
            try:
                return Outcome(url, signature=Signature(address(signer), hex_bytes(text)))
            except (ConfigError, DecodeError) as error:
                return Outcome(url, code="bad_answer", reason=str(error))
        case {"ok": False, "code": str(code), "reason": str(reason)}:
            if not _CODE.fullmatch(code):
                return Outcome(url, code="bad_answer", reason="a refusal without a code")
            return Outcome(url, code=code, reason=reason[:_MAX_REASON])
    return Outcome(url, code="bad_answer", reason="neither a signature nor a refusal")
