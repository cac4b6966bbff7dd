"""`keeper explain`: what a plan moves, why, what it costs and what could go wrong, from the plan and what it
rests on alone; the same words for everyone."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from keeper import engine
from keeper.book import Book, open_book
from keeper.chain.snapshot import Snapshot
from keeper.errors import PlanError
from keeper.ops import plan_files
from keeper.ops.output import JsonOption, amount, show
from keeper.planning import policy as policies
from keeper.planning.actions import SUPPLY, SWAP, WITHDRAW
from keeper.planning.calls import PlannedCall
from keeper.planning.outcome import IDLE, after_calls
from keeper.planning.plan import BatchTerms, Kind, Plan, SettlementTerms
from keeper.planning.policy import Policy
from keeper.units import BPS, WAD

app = typer.Typer(help="What a plan does, why, what it costs and what could go wrong.", no_args_is_help=True)

PlanArgument = Annotated[Path, typer.Argument(metavar="PLAN", help="A saved plan.")]
PolicyOption = Annotated[Path, typer.Option("--policy", help="Its policy.")]
SnapshotOption = Annotated[
    Path | None, typer.Option("--snapshot", help="The saved snapshot it rests on: adds rates and risks.")
]

SUBMIT_GAS: Final = 350_000
"""About what a plan costs before its calls: signatures, conditions, marks."""
CALL_GAS: Final = 450_000
"""About what one call costs, with reading what it touches."""


@app.command()
def explain(
    plan: PlanArgument, policy: PolicyOption, snapshot: SnapshotOption = None, json: JsonOption = False
) -> None:
    """Print what moves, why, what it costs, and what could go wrong. No network is used.

    Ends with 4 when the policy is not the plan's, or forbids it.
    """
    told, rules = plan_files.load(plan), policies.load(policy)
    if told.policy_hash != rules.hash:
        raise PlanError(
            "The policy is not the plan's", expected=told.policy_hash, seen=rules.hash, where="--policy"
        )
    rules.check(told)
    taken = None if snapshot is None else plan_files.load_snapshot(snapshot, told)
    sections = explanation(told, rules, taken)
    data = {"ok": True, "plan_hash": told.plan_hash, **sections}
    show(data, _text(told, sections), json=json)


def explanation(plan: Plan, policy: Policy, snapshot: Snapshot | None) -> dict[str, list[str]]:
    """The sections "moves", "why", "costs", "afterwards" and "risks", as lines for people.

    Deterministic. Without the snapshot there are no rates and fewer risks. Raises as `open_book`.
    """
    book = None
    if snapshot is not None:
        engine.require_call_set(snapshot, policy)
        book = open_book(snapshot, policy)
    if isinstance(plan.terms, SettlementTerms):
        return _settlement(plan, policy, plan.terms)
    terms = plan.terms
    return {
        "moves": [_move(policy, call) for call in terms.calls],
        "why": [terms.reason or "No reason is given.", *_evidence(plan)],
        "costs": list(_costs(plan, policy, terms, snapshot, book)),
        "afterwards": list(_afterwards(policy, terms, book)),
        "risks": [*_batch_risks(policy, terms, book), *_risks(plan)],
    }


def _settlement(plan: Plan, policy: Policy, terms: SettlementTerms) -> dict[str, list[str]]:
    return {
        "moves": [f"settles epoch {terms.epoch}: deposits become shares, redemptions assets"],
        "why": [f"Epoch {terms.epoch} is closed and waits.", *_evidence(plan)],
        "costs": [_ceiling(policy)],
        "afterwards": [],
        "risks": [
            f"It reverts if the price of a share is not {terms.min_pps:,} to {terms.max_pps:,} (of 10^27).",
            *_risks(plan),
        ],
    }


def _evidence(plan: Plan) -> list[str]:
    return [
        f"{each.kind.value} from {each.source}, observed at {each.observed_at}, {len(each.data):,} bytes"
        for each in plan.evidence
    ]


# WHAT MOVES


def _shown(policy: Policy, value: int) -> str:
    return amount(value, policy.vault.decimals, policy.vault.symbol)


def _move(policy: Policy, call: PlannedCall) -> str:
    if call.token != policy.vault.asset or call.function not in (SUPPLY.name, WITHDRAW.name):
        return call.explain()
    if call.function == SUPPLY.name:
        return f"supply {_shown(policy, call.assets)} to {call.venue}"
    said = "everything" if call.full_exit else _shown(policy, call.assets)
    return f"withdraw {said} from {call.venue}"


# WHAT IT COSTS


def gas_estimate(terms: BatchTerms) -> int:
    """About the gas that submitting the batch uses: from receipts on a local chain, for people only."""
    return SUBMIT_GAS + CALL_GAS * len(terms.calls)


def _ceiling(policy: Policy) -> str:
    return f"gas: at most {policy.limits.max_gas:,}, by the policy"


def _costs(
    plan: Plan, policy: Policy, terms: BatchTerms, snapshot: Snapshot | None, book: Book | None
) -> Iterator[str]:
    gas = gas_estimate(terms)
    if snapshot is None:
        yield f"gas: about {gas:,}"
    else:
        fee = snapshot.block(plan.chain_id).base_fee
        yield f"gas: about {gas:,}; at the base fee of the snapshot, {fee:,} wei, {gas * fee:,} wei and tips"
    yield _ceiling(policy)
    yield f"rounding: at most {_shown(policy, terms.max_loss)} for {len(terms.calls)} calls"
    if book is None:
        return
    positions, _ = after_calls(book, terms.calls, book.at)
    for before, after in zip(book.positions, positions, strict=True):
        was, becomes = (each.supply_rate(0, book.at) for each in (before, after))
        if was != becomes:
            yield f"rate of {before.ref.venue}: {_percent(was)} becomes {_percent(becomes)} a year"
    earned, would = (
        sum(each.report(book.at).low * each.supply_rate(0, book.at) for each in held) // WAD
        for held in (book.positions, positions)
    )
    yield f"income: {_shown(policy, earned)} becomes {_shown(policy, would)} a year, at these rates"


def _percent(rate: int) -> str:
    scaled = rate * BPS * 100 // WAD
    return f"{scaled // 10_000}.{scaled % 10_000:04d} %"


# WHAT IS THERE AFTERWARDS


def _afterwards(policy: Policy, terms: BatchTerms, book: Book | None) -> Iterator[str]:
    before: Mapping[str, int] = {} if book is None else book.allocation | {IDLE: book.idle}
    until = dict(terms.predicted_until)
    for venue, value in terms.predicted:
        was = f"{_shown(policy, before[venue])} becomes " if venue in before else ""
        yield (
            f"{venue}: {was}{_shown(policy, value)} if included at once, {_shown(policy, until[venue])} at "
            "the end"
        )


# WHAT COULD GO WRONG


def _batch_risks(policy: Policy, terms: BatchTerms, book: Book | None) -> Iterator[str]:
    yield f"It reverts if the vault would be left with less than {_shown(policy, terms.min_nav_after)}."
    yield f"It reverts once another batch has used nonce {terms.nonce} of key {terms.nonce_key}."
    if int(terms.executor, 16):
        yield f"Only {terms.executor} can submit it."
    else:
        yield "Anyone who has the signatures can submit it, at any time while it is valid."
    if book is None:
        return
    for call in terms.calls:
        yield from _call_risk(policy, terms, call, book)
    for position in book.positions:
        report = position.report(book.at)
        if report.status.value:
            yield f"{position.ref.venue} is {report.status.name}: its value is in doubt."


def _call_risk(policy: Policy, terms: BatchTerms, call: PlannedCall, book: Book) -> Iterator[str]:
    if call.venue == SWAP:
        yield "It reverts if the swap brings less than is signed, or less than the oracle then asks for."
        return
    position = next(each for each in book.positions if each.ref.venue == call.venue)
    if call.function == WITHDRAW.name and call.token == policy.vault.asset:
        most = position.max_withdraw(book.at)
        taken = position.report(book.at).low if call.full_exit else call.assets
        yield (
            f"{call.venue} can pay out {_shown(policy, most)} now, and {_shown(policy, taken)} is asked: "
            "borrowers may take it first."
        )
    elif call.function == SUPPLY.name:
        held = dict(terms.predicted)
        for name in policy.position(call.venue).risk_ids:
            used = sum(held.get(member, 0) for member in policy.members(name))
            yield (
                f"Risk id {name} would count {_shown(policy, used)} of {_shown(policy, policy.caps[name])}: "
                "it reverts if the chain's cap is lowered below."
            )


def _risks(plan: Plan) -> list[str]:
    blocks = ", ".join(f"{each.number} of chain {each.chain_id}" for each in plan.blocks)
    return [
        f"It can be included from {plan.valid_after} to {plan.valid_until}, and not later.",
        f"It rests on block {blocks}: what happened since is not in it.",
    ]


# TEXT

_TITLES: Final = {
    "moves": "What moves",
    "why": "Why",
    "costs": "What it costs",
    "afterwards": "What is there afterwards",
    "risks": "What could go wrong",
}


def _text(plan: Plan, sections: Mapping[str, Any]) -> str:
    lines = [f"plan 0x{plan.plan_hash.hex()}", f"{plan.kind.value} of vault {plan.vault}"]
    if plan.kind is Kind.BATCH:
        lines[-1] += f", nonce {plan.batch.nonce}"
    for name, title in _TITLES.items():
        if sections[name]:
            lines += ["", title, *(f"  {each}" for each in sections[name])]
    return "\n".join(lines)
