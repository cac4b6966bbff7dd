"""What calls may leave behind: positions before and after, judged as `PostConditions` judges them."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass, replace
from typing import Final

from keeper.ledger.checks import excess, refused, require
from keeper.ledger.portfolio import positions_touched
from keeper.ledger.readings import ROUNDING, Seen, count_exposure, move_first, put_mark, see
from keeper.ledger.state import Ledger, Mark, Message, PositionId, World
from keeper.planning.actions import WITHDRAW
from keeper.units import MAX_UINT256, WAD, Address

DEFENDED_HEALTH: Final = 125 * WAD // 100
"""Health up to which collateral may be added to a debt whatever else stands in the way of growth."""


UNSEEN: Final = Seen()
"""Not read yet."""


@dataclass(frozen=True)
class Action:
    """`Types.Call`."""

    target: Address
    token: Address
    amount: int
    data: bytes

    @property
    def selector(self) -> bytes:
        return self.data[:4]

    @property
    def named(self) -> bytes:
        """The first argument: at a connector, the key of a position."""
        return self.data[4:36] if len(self.data) >= 36 else bytes(32)


@dataclass(frozen=True)
class Touched:
    """A position that calls may have touched; `pushed`: something is pushed to its connector. What the calls
    did to it is judged afterwards."""

    position: PositionId
    shared: bool
    pushed: bool
    mark: Mark
    before: Seen
    after: Seen = UNSEEN
    risk_ids: tuple[bytes, ...] = ()
    borrowed: bool = False
    repaid: bool = False
    grown: bool = False
    raised: bool = False
    relieved: bool = False

    @property
    def sound(self) -> bool:
        return self.before.healthy and self.after.healthy


@dataclass(frozen=True)
class Change:
    """What calls did; `untouched` sums the other positions' marks, `fall` is what the touched ones had lost
    since theirs, and the two lows are what a loss is measured by."""

    touched: tuple[Touched, ...]
    untouched: int
    idle_before: int
    low_marked: int
    fall: int
    low_before: int
    low_after: int = 0
    reducing: bool = False

    @property
    def raised(self) -> bool:
        return any(each.raised for each in self.touched)

    @property
    def grown(self) -> bool:
        return any(each.grown for each in self.touched)


@dataclass(frozen=True)
class _Account:
    """What answers for a debt together; without any debt health has no limit."""

    readable: bool
    growth: int
    debt_before: int
    debt_after: int
    health_before: int
    health_after: int

    @property
    def healthier(self) -> bool:
        """Health 0 is one that could not be read, and has not risen where it can be now."""
        return 0 < self.health_before < self.health_after

    @property
    def defended(self) -> bool:
        gain = self.health_after - self.health_before
        return (
            self.healthier
            and self.health_after <= DEFENDED_HEALTH
            and self.growth * (WAD // 2) <= gain * self.debt_after
        )


def opened(
    ledger: Ledger, m: Message, actions: Sequence[tuple[Address, bytes]], pushed: Container[Address] = ()
) -> Change:
    """Before any call. `pushed` are the connectors that get something."""
    portfolio, section = ledger.portfolio, ledger.registry
    isolated = {connector for connector, alone in section.isolated.items() if alone}
    touched = tuple(
        Touched(
            each, each[0] not in isolated, each[0] in pushed, portfolio.mark(each), see(portfolio, m, each)
        )
        for each in positions_touched(actions, section.keys, isolated)
    )
    untouched = portfolio.total_low - sum(each.mark.low for each in touched)
    return Change(
        touched,
        untouched,
        portfolio.idle,
        portfolio.idle + portfolio.total_low,
        sum(excess(each.mark.low, each.before.low) for each in touched),
        portfolio.idle + untouched + sum(each.before.low for each in touched),
    )


def closed(ledger: Ledger, m: Message, change: Change, world: World) -> tuple[Ledger, Change]:
    """After the calls, in the world they left: reads again, marks what was read, and judges it. Raises
    RevertError."""
    portfolio, after = ledger.portfolio, replace(m, world=world)
    touched = []
    for each in change.touched:
        each = replace(each, after=see(portfolio, after, each.position))
        portfolio = move_first(portfolio, each.position, each.before, each.after, m.at)
        mark = each.mark
        high, debt = (each.after.high, each.after.debt) if each.after.healthy else (mark.high, mark.debt)
        if mark.high + mark.debt != high + debt or each.before.gross != each.after.gross:
            each = replace(each, risk_ids=ledger.registry.risk_ids[each.position])
            portfolio = count_exposure(portfolio, each.risk_ids, mark.high + mark.debt, high + debt)
        portfolio = put_mark(portfolio, each.position, Mark(each.after.low, high, debt))
        touched.append(each)
    sum_ = change.untouched + sum(each.after.low for each in touched)
    ledger = replace(ledger, portfolio=replace(portfolio, total_low=sum_))
    judged = tuple(_judged(each, touched) for each in touched)
    idle = portfolio.idle
    change = replace(change, touched=judged, low_after=_low_after(change, judged, idle))
    relieved = any(each.relieved for each in judged)
    change = replace(change, reducing=not change.raised and (idle > change.idle_before or relieved))
    if change.grown:
        _check_exposures(ledger, m, change)
    return ledger, change


def _low_after(change: Change, touched: Sequence[Touched], idle: int) -> int:
    """For a loss counts what can be known: what is impaired now is worth nothing if it was not before, what
    was has gained nothing but by what idle assets repaid, and what was put in without a push does not."""
    low, risen, repaid = change.untouched, 0, 0
    for each in touched:
        before, after = each.before, each.after
        if not before.healthy:
            gain = excess(after.low, before.low)
            low += after.low - gain
            repaid += min(gain, excess(before.debt, after.debt))
        elif after.healthy:
            low += after.low
            risen += 0 if each.pushed else _risen(each, touched)
    return excess(low + idle + min(repaid, excess(change.idle_before, idle)), risen)


def _risen(t: Touched, touched: Sequence[Touched]) -> int:
    """What was put into a sound position without a push: as much has been gained, where nothing is owed."""
    account = _account(_answering(t, touched))
    growth = excess(t.after.gross, t.before.gross)
    owed = account.debt_before + account.debt_after
    return growth if owed else min(growth, excess(t.after.low, t.before.low))


# WHAT CALLS WERE


def _judged(t: Touched, touched: Sequence[Touched]) -> Touched:
    a = _account(_answering(t, touched))
    borrowed = a.readable and a.debt_after > a.debt_before + ROUNDING
    repaid = a.readable and a.debt_after < a.debt_before
    grown = borrowed or (t.pushed and t.sound and t.after.gross > t.before.gross + ROUNDING)
    return replace(
        t,
        borrowed=borrowed,
        repaid=repaid,
        grown=grown,
        raised=grown and (borrowed or not a.defended),
        relieved=repaid or (a.readable and a.healthier),
    )


def _answering(t: Touched, touched: Sequence[Touched]) -> Sequence[Touched]:
    """The positions that answer for a position's debt."""
    return [each for each in touched if each.position[0] == t.position[0]] if t.shared else [t]


def _account(own: Sequence[Touched]) -> _Account:
    return _Account(
        readable=all(each.before.readable and each.after.readable for each in own),
        growth=sum(excess(each.after.gross, each.before.gross) for each in own),
        debt_before=sum(each.before.debt for each in own),
        debt_after=sum(each.after.debt for each in own),
        health_before=min((each.before.health for each in own if each.before.debt), default=MAX_UINT256),
        health_after=min((each.after.health for each in own if each.after.debt), default=MAX_UINT256),
    )


# LIMITS


def check_impaired(ledger: Ledger, change: Change, actions: Sequence[Action], *, cosigned: bool) -> None:
    """Raises RevertError where calls did with an impaired position what only a sound one allows, or the
    guardian, whom they were `cosigned` by."""
    for each in change.touched:
        if not each.sound:
            alone = each.before.healthy or len(actions) == 1
            answered = cosigned and _is_answered_for(ledger, change, each, actions)
            require(alone or answered, "ImpairedNotAlone", *each.position)
            require(_is_allowed(ledger, change, each, actions), "PositionIsImpaired", *each.position)


def _is_answered_for(ledger: Ledger, change: Change, t: Touched, actions: Sequence[Action]) -> bool:
    """Whether a guardian's word is enough: something comes home, nothing of the asset goes elsewhere, and no
    second position is worth less."""
    asset = ledger.parts.asset
    spends = any(each.amount and each.token == asset and each.target != t.position[0] for each in actions)
    fallen = sum(each.before.low > each.after.low + ROUNDING for each in change.touched)
    return t.before.low != 0 and change.reducing and not spends and fallen < 2


def _is_allowed(ledger: Ledger, change: Change, t: Touched, actions: Sequence[Action]) -> bool:
    worthless = t.before.worthless
    if not t.after.readable or (worthless and not _only_repaid(t)):
        own = (each for each in actions if each.target == t.position[0])
        if any(each.selector != WITHDRAW.selector for each in own):
            return False
        if worthless and ledger.portfolio.idle <= change.idle_before:
            return False
    if not t.pushed:
        return not t.borrowed
    return t.repaid and not change.grown and t.after.gross <= t.before.gross + ROUNDING


def _only_repaid(t: Touched) -> bool:
    """What is owned has fallen by no more than what is owed."""
    taken = excess(t.before.gross, t.after.gross)
    return t.repaid and taken <= excess(t.before.debt, t.after.debt) + ROUNDING


def check_forced(change: Change, connector: Address, key: bytes) -> int:
    """What the position that anyone wants to take from is worth. Raises RevertError."""
    found = next((each for each in change.touched if each.position[1] == key), None)
    if found is None:
        raise refused("PositionNotListed", connector, key)
    require(found.before.healthy, "PositionIsImpaired", connector, key)
    return found.before.low


def _check_exposures(ledger: Ledger, m: Message, change: Change) -> None:
    section = ledger.registry
    if change.raised:
        require(m.at >= section.risk_paused_until, "RiskIsPaused", section.risk_paused_until)
    for each in change.touched:
        if not each.grown:
            continue
        connector = each.position[0]
        free = not each.raised or connector not in section.exit_only
        require(free, "ConnectorIsExitOnly", connector)
        for risk_id in each.risk_ids:
            _check_cap(ledger, risk_id, change.touched)


def _check_cap(ledger: Ledger, risk_id: bytes, touched: Sequence[Touched]) -> None:
    exposure = ledger.portfolio.exposures.get(risk_id, 0)
    cap = ledger.registry.caps.get(risk_id, 0)
    if exposure <= cap:
        return
    counted = [each for each in touched if each.sound for own in each.risk_ids if own == risk_id]
    grown = sum(excess(each.after.gross, each.before.gross) for each in counted)
    shrunk = sum(excess(each.before.gross, each.after.gross) for each in counted)
    require(grown <= shrunk, "CapExceeded", risk_id, exposure, cap)
