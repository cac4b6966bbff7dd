// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {IConnector} from "./interfaces/IConnector.sol";
import {IPortfolio} from "./interfaces/IPortfolio.sol";
import {IRegistry} from "./interfaces/IRegistry.sol";
import {Batch, Call} from "./interfaces/Types.sol";
import {Mark, PortfolioState, PositionReport} from "./libraries/PortfolioState.sol";
import {ReadingLib} from "./libraries/ReadingLib.sol";
import {Valuation} from "./Valuation.sol";

/// @title What calls may leave behind
/// @dev Judged by positions before and after: whether they raise risk, reduce it, or neither, and what they lose.
abstract contract PostConditions is Valuation {
    using SafeCast for uint256;
    using ReadingLib for PortfolioState;

    uint256 internal constant WAD = 1e18;

    /// @dev Units by which a position or a debt may grow without having been added to: leaving one position can
    /// round a neighbour in the same market up, and that must never stop an exit.
    uint256 public constant ROUNDING = ReadingLib.ROUNDING;

    /// @dev Health up to which collateral may be added to a debt whatever else stands in the way of growth: what is
    /// close to liquidation costs less to defend than to lose, also those who wait for their exit. Above it adding
    /// to a position is what it is anywhere.
    uint256 public constant DEFENDED_HEALTH = 1.25e18;

    /// @dev A position that calls may have touched, before and after. `shared`: its debts and their health are
    /// those of the connector's whole account. `pushed`: a call pushed something to its connector. `grown`: its
    /// caps have a say, also while it is being defended; `raised`: risk is higher for it.
    struct Touched {
        address connector;
        bytes32 key;
        bytes32[] riskIds;
        bool shared;
        bool pushed;
        bool borrowed;
        bool repaid;
        bool grown;
        bool raised;
        Mark mark;
        uint256 markedDebt;
        PositionReport before;
        PositionReport afterwards;
    }

    /// @dev What calls did. `untouched` is the sum of the other positions' marks, `lowMarked` that of all of them
    /// and idle assets, `fall` what the touched ones had lost since their marks; the two lows are what a loss is
    /// measured by.
    struct Change {
        Touched[] touched;
        uint256 untouched;
        uint256 idleBefore;
        uint256 escrowBefore;
        uint256 lowMarked;
        uint256 fall;
        uint256 lowBefore;
        uint256 lowAfter;
        bool raised;
        bool grown;
        bool relieved;
        bool reducing;
        bool pocketed;
    }

    /// @dev What answers for a debt together, before and after. Without any debt health has no limit. `growth` is
    /// that of its positions, of which none makes up for another.
    struct Account {
        bool readable;
        uint256 growth;
        uint256 debtBefore;
        uint256 debtAfter;
        uint256 healthBefore;
        uint256 healthAfter;
    }

    constructor(address vault_, IRegistry registry_, IERC20 asset_, address escrow_)
        Valuation(vault_, registry_, asset_, escrow_)
    {}

    // BEFORE AND AFTER

    /// @param named first argument of the call of each target
    function _open(address[] memory targets, bytes32[] memory named)
        internal
        view
        returns (Change memory change)
    {
        (address[] memory connectors, bytes32[] memory keys, bool[] memory isolated) =
            registry.positionsTouched(vault, targets, named);
        change.touched = new Touched[](keys.length);
        (change.idleBefore, change.untouched, change.pocketed) =
        (state.ledger.idle, state.ledger.totalLow, state.ledger.pocketed);
        change.lowMarked = change.idleBefore + change.untouched;
        change.escrowBefore = asset.balanceOf(escrow);
        uint256 low;
        for (uint256 i; i < keys.length; ++i) {
            Touched memory t = change.touched[i];
            (t.connector, t.key, t.shared) = (connectors[i], keys[i], !isolated[i]);
            (t.mark, t.markedDebt) = state.markOf(t.connector, t.key);
            t.before = state.report(t.connector, t.key, change.pocketed);
            change.untouched -= t.mark.low;
            low += t.before.low;
            change.fall += ReadingLib.excess(t.mark.low, t.before.low);
        }
        change.lowBefore = change.idleBefore + change.untouched + low;
    }

    function _recordPushes(Change memory change, Call[] calldata calls) internal pure {
        for (uint256 i; i < calls.length; ++i) {
            if (calls[i].amount == 0) continue;
            for (uint256 j; j < change.touched.length; ++j) {
                Touched memory t = change.touched[j];
                if (t.connector == calls[i].target) t.pushed = true;
            }
        }
    }

    /// @dev Reads again, marks what was read, and judges. For a loss counts what can be known: a position that is
    /// impaired now is worth nothing if it was not before, and one that was has gained nothing, so that its
    /// recovery hides no loss; but what it owes less counts as far as idle assets paid for it. What was put in
    /// without a push hides none either.
    function _close(Change memory change) internal {
        Touched[] memory touched = change.touched;
        uint256 sum = change.untouched;
        uint256 low = change.untouched;
        uint256 risen;
        uint256 repaid;
        bool announced = state.isAnnounced();
        for (uint256 i; i < touched.length; ++i) {
            Touched memory t = touched[i];
            t.afterwards = state.report(t.connector, t.key, change.pocketed);
        }
        for (uint256 i; i < touched.length; ++i) {
            Touched memory t = touched[i];
            (PositionReport memory before, PositionReport memory afterwards) = (t.before, t.afterwards);
            sum += afterwards.low;
            if (!before.healthy) {
                uint256 gain = ReadingLib.excess(afterwards.low, before.low);
                low += afterwards.low - gain;
                repaid += Math.min(gain, ReadingLib.excess(before.debt, afterwards.debt));
            } else if (afterwards.healthy) {
                low += afterwards.low;
                risen += _risen(touched, t);
            }
            if (announced) state.moveFirst(t.connector, t.key, before, afterwards);
            _mark(t);
        }
        uint256 idleAfter = state.ledger.idle;
        state.ledger.totalLow = sum.toUint120();
        low += idleAfter + Math.min(repaid, ReadingLib.excess(change.idleBefore, idleAfter));
        change.lowAfter = ReadingLib.excess(low, risen);
        _judge(change);
        change.reducing = !change.raised && (idleAfter > change.idleBefore || change.relieved);
        if (change.grown) _checkExposures(change);
        // A change, not a balance: what lies there above what is owed is nobody's condition.
        uint256 escrowAfter = asset.balanceOf(escrow);
        require(escrowAfter >= change.escrowBefore, EscrowTouched(change.escrowBefore, escrowAfter));
    }

    /// @dev What was put into a sound position that nothing was pushed to. No limit on growth sees it (`_judge`), and it
    /// may be the vault's own: left at the connector by an earlier batch, or sent there by a swap of this one. Where
    /// nothing is owed it has gained as much; a debt can turn the gain into another position's, or into what leaves.
    function _risen(Touched[] memory touched, Touched memory t) private pure returns (uint256 growth) {
        if (t.pushed) return 0;
        growth = ReadingLib.excess(_gross(t.afterwards), _gross(t.before));
        if (growth == 0) return 0;
        Account memory a = _accountOf(touched, t);
        if (a.debtBefore + a.debtAfter != 0) return growth;
        return Math.min(growth, ReadingLib.excess(t.afterwards.low, t.before.low));
    }

    /// @dev An impaired position keeps the exposure it had. Risk ids are asked for where something has changed.
    function _mark(Touched memory t) private {
        (uint256 high, uint256 debt) = (t.afterwards.high, t.afterwards.debt);
        if (!t.afterwards.healthy) (high, debt) = (t.mark.high, t.markedDebt);
        (uint256 from, uint256 to) = (t.mark.high + t.markedDebt, high + debt);
        if (from != to || _gross(t.before) != _gross(t.afterwards)) {
            t.riskIds = registry.riskIdsOf(vault, t.connector, t.key);
            state.countExposure(t.riskIds, from, to);
        }
        state.setMark(t.connector, t.key, t.afterwards.low, high, debt);
    }

    // WHAT A BATCH IS

    /// @dev Risk is raised where a debt has grown, or a position that nobody had to defend. A position grows by what
    /// is pushed to its connector; what is worth more without that has risen by itself (fees, or liquidity that is
    /// worth more taken out than left in), and must not stop an exit.
    function _judge(Change memory change) private pure {
        Touched[] memory touched = change.touched;
        for (uint256 i; i < touched.length; ++i) {
            Touched memory t = touched[i];
            Account memory a = _accountOf(touched, t);
            t.borrowed = a.readable && a.debtAfter > a.debtBefore + ROUNDING;
            t.repaid = a.readable && a.debtAfter < a.debtBefore;
            bool gained = t.pushed && _gross(t.afterwards) > _gross(t.before) + ROUNDING;
            t.grown = t.borrowed || (gained && _sound(t));
            t.raised = t.grown && (t.borrowed || !_isDefended(a));
            change.raised = change.raised || t.raised;
            change.grown = change.grown || t.grown;
            change.relieved = change.relieved || t.repaid || (a.readable && _isHealthier(a));
        }
    }

    /// @dev More collateral than health needs would be an ordinary investment, and so would be what adds nothing to
    /// health: a unit that is owned has to count half a unit at least.
    function _isDefended(Account memory a) private pure returns (bool) {
        return _isHealthier(a) && a.healthAfter <= DEFENDED_HEALTH
            && a.growth * (WAD / 2) <= (a.healthAfter - a.healthBefore) * a.debtAfter;
    }

    /// @dev Health 0 is one that could not be read, and has not risen where it can be now.
    function _isHealthier(Account memory a) private pure returns (bool) {
        return a.healthBefore != 0 && a.healthAfter > a.healthBefore;
    }

    /// @dev Debts of a shared account move from key to key with what is supplied: only their sum says something,
    /// and their least health.
    function _accountOf(Touched[] memory touched, Touched memory t) private pure returns (Account memory a) {
        (a.readable, a.healthBefore, a.healthAfter) = (true, type(uint256).max, type(uint256).max);
        if (!t.shared) {
            _add(a, t);
            return a;
        }
        for (uint256 i; i < touched.length; ++i) {
            if (touched[i].connector == t.connector) _add(a, touched[i]);
        }
    }

    function _add(Account memory a, Touched memory t) private pure {
        a.readable = a.readable && t.before.readable && t.afterwards.readable;
        a.growth += ReadingLib.excess(_gross(t.afterwards), _gross(t.before));
        a.debtBefore += t.before.debt;
        a.debtAfter += t.afterwards.debt;
        if (t.before.debt != 0) a.healthBefore = Math.min(a.healthBefore, t.before.health);
        if (t.afterwards.debt != 0) a.healthAfter = Math.min(a.healthAfter, t.afterwards.health);
    }

    /// @dev Of a position that is impaired before or after, growth cannot be told from recovery: nothing may be
    /// pushed to its connector instead, but to repay.
    function _sound(Touched memory t) private pure returns (bool) {
        return t.before.healthy && t.afterwards.healthy;
    }

    /// @dev What is owned, debts not taken off.
    function _gross(PositionReport memory report) private pure returns (uint256) {
        return report.high + report.debt;
    }

    // LIMITS

    function _checkValue(Batch calldata batch, Change memory change) internal pure {
        require(change.lowAfter >= batch.minNavAfter, NavBelowFloor(change.lowAfter, batch.minNavAfter));
        uint256 loss = ReadingLib.excess(change.lowBefore, change.lowAfter);
        require(loss <= batch.maxLoss, LossAboveLimit(loss, batch.maxLoss));
    }

    /// @dev A connector that has an impaired position is called once and alone, because what comes out of a
    /// position without a value would make up for any loss elsewhere, unless the guardian answers for the batch.
    /// Nothing is pushed to it, unless to repay; nothing is borrowed there; and without a value, before or after,
    /// only a repayment and the plain way out are open, which the connector itself checks.
    function _checkImpaired(Change memory change, Call[] calldata calls) internal view {
        Touched[] memory touched = change.touched;
        for (uint256 i; i < touched.length; ++i) {
            Touched memory t = touched[i];
            if (_sound(t)) continue;
            require(
                t.before.healthy || calls.length == 1 || _isAnsweredFor(change, t, calls),
                ImpairedNotAlone(t.connector, t.key)
            );
            require(_isAllowed(change, t, calls), PositionIsImpaired(t.connector, t.key));
        }
    }

    /// @dev What comes out of a position in doubt as another token than the asset has to be sold beside it, or it
    /// would stay for as long as the doubt does. What the position is worth above its low value could then hide a
    /// loss: so the guardian has cosigned this very batch, and it brings something home, spends none of the vault's
    /// assets elsewhere, and leaves no second position worth less. Without a low value nothing could be measured;
    /// what is split off has none.
    function _isAnsweredFor(Change memory change, Touched memory t, Call[] calldata calls)
        private
        view
        returns (bool)
    {
        if (t.before.low == 0 || !change.reducing || !_isCosigned()) return false;
        for (uint256 i; i < calls.length; ++i) {
            bool spends = calls[i].amount != 0 && calls[i].token == address(asset);
            if (spends && calls[i].target != t.connector) return false;
        }
        uint256 fallen;
        for (uint256 i; i < change.touched.length; ++i) {
            Touched memory each = change.touched[i];
            if (each.before.low > each.afterwards.low + ROUNDING) ++fallen;
        }
        return fallen < 2;
    }

    /// @dev Whether the guardian has cosigned what is being executed.
    function _isCosigned() internal view virtual returns (bool);

    function _isAllowed(Change memory change, Touched memory t, Call[] calldata calls)
        private
        view
        returns (bool)
    {
        bool worthless = !t.before.healthy && t.before.low == 0;
        if (!t.afterwards.readable || (worthless && !_onlyRepaid(t))) {
            for (uint256 i; i < calls.length; ++i) {
                if (calls[i].target != t.connector) continue;
                if (bytes4(calls[i].data[:4]) != IConnector.withdraw.selector) return false;
            }
            // A worthless position of which something else than the asset came would leave NAV unseen.
            if (worthless && state.ledger.idle <= change.idleBefore) return false;
        }
        if (!t.pushed) return !t.borrowed;
        return t.repaid && !change.grown && _gross(t.afterwards) <= _gross(t.before) + ROUNDING;
    }

    /// @dev Whether what is owned has fallen by no more than what is owed: also of a position that is worth nothing
    /// at the low end, as those of an account are that bear its debts first, nothing has then left unseen.
    function _onlyRepaid(Touched memory t) private pure returns (bool) {
        uint256 taken = ReadingLib.excess(_gross(t.before), _gross(t.afterwards));
        return t.repaid && taken <= ReadingLib.excess(t.before.debt, t.afterwards.debt) + ROUNDING;
    }

    /// @dev What anyone may take out is a listed position whose value is known.
    /// @return held what it is worth
    function _checkForced(Touched[] memory touched, address connector, bytes32 key)
        internal
        pure
        returns (uint256 held)
    {
        uint256 i;
        while (i < touched.length && touched[i].key != key) ++i;
        require(i < touched.length, PositionNotListed(connector, key));
        require(touched[i].before.healthy, PositionIsImpaired(connector, key));
        return touched[i].before.low;
    }

    /// @dev Exposure under a risk id, debts not taken off, may rise only within its cap; risk not at all while it
    /// is paused, and not through a connector that is in exit-only mode. Whatever shrinks always passes.
    function _checkExposures(Change memory change) private view {
        Touched[] memory touched = change.touched;
        if (change.raised) {
            uint256 pausedUntil = registry.riskPausedUntil(vault);
            require(block.timestamp >= pausedUntil, RiskIsPaused(pausedUntil));
        }
        for (uint256 i; i < touched.length; ++i) {
            Touched memory t = touched[i];
            if (!t.grown) continue;
            require(!t.raised || !registry.isExitOnly(vault, t.connector), ConnectorIsExitOnly(t.connector));
            for (uint256 j; j < t.riskIds.length; ++j) {
                _checkCap(t.riskIds[j], touched);
            }
        }
    }

    function _checkCap(bytes32 riskId, Touched[] memory touched) private view {
        uint256 exposure = state.exposures[riskId];
        uint256 cap = registry.cap(vault, riskId);
        if (exposure <= cap) return;
        uint256 grown;
        uint256 shrunk;
        for (uint256 i; i < touched.length; ++i) {
            Touched memory t = touched[i];
            if (!_sound(t)) continue;
            for (uint256 j; j < t.riskIds.length; ++j) {
                if (t.riskIds[j] != riskId) continue;
                grown += ReadingLib.excess(_gross(t.afterwards), _gross(t.before));
                shrunk += ReadingLib.excess(_gross(t.before), _gross(t.afterwards));
            }
        }
        require(grown <= shrunk, CapExceeded(riskId, exposure, cap));
    }
}
