// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IPortfolio} from "../../src/interfaces/IPortfolio.sol";
import {Params} from "../../src/interfaces/IVault.sol";
import {Batch, Call} from "../../src/interfaces/Types.sol";
import {Market} from "./Market.sol";
import {Settling} from "./Settling.sol";

/// @dev What keeper, guardian and governor do: batches, settlements, caps, pauses, parameters.
abstract contract KeeperActions is Settling {
    uint256 private dayStarted;
    uint256 private lostThisDay;

    function settleIfClosed() external {
        if (_closed()) {
            skip(1);
            _settle();
        }
    }

    function closeAndSettle() external {
        skip(1 hours);
        _closeAndSettle();
    }

    /// @dev The keeper is gone: anyone announces and settles, in time or not.
    function unattended(uint256 who, uint256 time) external {
        if (!_closed()) {
            skip(1 hours);
            _tryToClose(_actor(who));
        }
        if (time % 4 == 0) skip(3 days);
        vm.prank(_actor(who >> 8));
        try portfolio.announce() {
            _announced();
        } catch (bytes memory reason) {
            assertEq(bytes4(reason), IPortfolio.AnnouncementStands.selector, "7: nobody could announce");
        }
        skip(time % 8 == 1 ? bound(time, 0, 25 hours) : bound(time, 30 minutes, 24 hours));
        _settleUnattended(_actor(who >> 16));
    }

    function markDown(uint256 who, uint256 place, uint256 part) external {
        if (who % 2 == 0) this.lose(place, part);
        try portfolio.announce() {
            _announced();
        } catch {}
        skip(30 minutes);
        Seen memory before = _see();
        vm.prank(_actor(who));
        try vault.markDown() {
            Seen memory afterwards = _see();
            assertLt(afterwards.storedNav, before.storedNav, "2: marked up");
            before.storedNav = afterwards.storedNav;
            assertEq(
                keccak256(abi.encode(afterwards)), keccak256(abi.encode(before)), "3: a mark-down moved more"
            );
            ++times["marked down"];
        } catch {}
    }

    /// @dev Anyone brings home what overdue exits lack, whatever is paused.
    function forceDeallocate(uint256 who, uint256 place, uint256 assets) external {
        Place memory p = places[place % 3];
        if (who % 2 == 0) {
            this.supplyTo(place, who);
            if (!_closed()) {
                skip(1 hours);
                _tryToClose(_actor(who));
            }
            skip(2 days + 1);
        }
        uint256 held = p.market.held(p.key);
        if (held == 0) return;
        assets = bound(assets, 1, held);
        uint256 owed = vault.overdueExits();
        Seen memory before = _see();
        bool due = _sound() && owed > before.idle;
        vm.prank(_actor(who));
        try portfolio.forceDeallocate(address(p.market), p.key, assets) {
            Seen memory afterwards = _see();
            assertLe(afterwards.idle, owed, "7: more was freed than exits lack");
            assertGt(afterwards.idle, before.idle, "7: nothing was freed");
            if (_sound()) assertEq(afterwards.low, before.low, "4: a forced withdrawal moved NAV");
            ++times["freed"];
        } catch {
            assertFalse(due, "7: overdue exits could not be served");
        }
    }

    function supplyTo(uint256 place, uint256 assets) external {
        Place memory p = places[place % 3];
        assets = bound(assets, 0, portfolio.idle());
        _run(p.market, assets, abi.encodeCall(Market.supply, (p.key, assets)), 0, 0);
    }

    function withdrawFrom(uint256 place, uint256 assets) external {
        Place memory p = places[place % 3];
        uint256 held = p.market.held(p.key);
        assets = assets % 3 == 0 ? type(uint256).max : bound(assets, 0, held);
        _run(p.market, 0, abi.encodeCall(Market.withdraw, (p.key, assets)), 0, 0);
    }

    function supplyAtALoss(uint256 place, uint256 assets, uint256 loss, uint256 maxLoss) external {
        Place memory p = places[place % 3];
        assets = bound(assets, 0, portfolio.idle());
        loss = bound(loss, 0, loss % 4 == 0 ? assets / 10 : assets / 50);
        bytes memory data = abi.encodeCall(Market.supplyAtLoss, (p.key, assets, loss));
        _run(p.market, assets, data, loss, maxLoss % 4 == 0 ? bound(maxLoss, 0, loss) : 2 * loss);
    }

    function withdrawAtALoss(uint256 place, uint256 assets, uint256 loss, uint256 maxLoss) external {
        Place memory p = places[place % 3];
        assets = bound(assets, 0, p.market.held(p.key));
        loss = bound(loss, 0, loss % 4 == 0 ? assets / 10 : assets / 50);
        bytes memory data = abi.encodeCall(Market.withdrawAtLoss, (p.key, assets, loss));
        _run(p.market, 0, data, loss, maxLoss % 4 == 0 ? bound(maxLoss, 0, loss) : 2 * loss);
    }

    /// @dev Two plans under two keys in either order, a replay of each, and a cancelled one.
    function reorder(uint256 order, uint256 cancelled) external {
        if (vault.overdueExits() != 0) return; // an empty plan frees nothing
        Seen memory before = _see();
        Batch[2] memory plans;
        for (uint256 i; i < 2; ++i) {
            plans[i] = batch(new Call[](0));
            plans[i].nonceKey = i + 1;
            plans[i].nonce = portfolio.nextNonce(i + 1);
        }
        uint256 first = order % 2;
        if (cancelled % 4 == 0) portfolio.cancelNonce(first + 1);
        else portfolio.execute(plans[first]);
        portfolio.execute(plans[1 - first]);
        for (uint256 i; i < 2; ++i) {
            (bool again,) = address(portfolio).call(abi.encodeCall(portfolio.execute, (plans[i])));
            assertFalse(again, "a plan was executed twice");
        }
        assertEq(
            keccak256(abi.encode(_see())), keccak256(abi.encode(before)), "4: an empty plan moved something"
        );
        ++times["reordered"];
    }

    function pause() external neutral("pause") {
        if (block.timestamp < registry.riskPausedUntil(address(vault)) + 7 days) return;
        registry.pauseRisk(address(vault));
    }

    function exitOnly(uint256 which, uint256 on) external neutral("exitOnly") {
        address market = address(markets[which % 2]);
        if (on % 4 == 0) registry.setExitOnly(address(vault), market);
        else _afterDelay(abi.encodeCall(registry.clearExitOnly, (address(vault), market)));
    }

    function changeCap(uint256 which, uint256 cap) external neutral("cap") {
        bytes32 risk = which % 2 == 0 ? RISK : OTHER_RISK;
        cap = bound(cap, 0, 2_000_000 * UNIT);
        if (cap < registry.cap(address(vault), risk)) registry.lowerCap(address(vault), risk, cap);
        else _afterDelay(abi.encodeCall(registry.setCap, (address(vault), risk, cap)));
    }

    /// @dev Charges the management fee up to now: supply may rise by it, assets may not move.
    function changeParams(uint256 fee, uint256 rate, uint256 step) external {
        Seen memory before = _see();
        Params memory p = defaultParams();
        p.managementFee = uint64(bound(fee, 0, 0.05e18));
        p.performanceFee = uint64(bound(fee >> 64, 0, 0.3e18));
        p.exitFee = uint64(bound(fee >> 128, 0, 0.01e18));
        p.maxRate = rate % 4 == 0 ? uint64(WAD) : uint64(bound(rate, 4e9, 1e12));
        p.maxStep = uint64(bound(step, 0, WAD));
        bytes memory data = abi.encodeCall(vault.setParams, (p));
        registry.submit(address(vault), address(vault), data);
        skip(3 days);
        uint256 fees = _managementFee();
        vault.setParams(p);
        Seen memory afterwards = _see();
        _assertFundsStay(before, afterwards);
        assertEq(afterwards.low, before.low, "3: parameters moved NAV");
        assertEq(afterwards.supply, before.supply + fees, "3: parameters minted more than the fee");
        ++times["params"];
    }

    /// @dev Signs and executes one action. With every market sound its NAV moves by its stated loss alone;
    /// with a broken one, by no more than the loss that was signed.
    function _run(Market market, uint256 push, bytes memory data, uint256 loss, uint256 maxLoss) private {
        Call[] memory calls = new Call[](1);
        calls[0] = Call({target: address(market), token: address(token), amount: push, data: data});
        Batch memory b = batch(calls);
        b.maxLoss = maxLoss;
        bool sound = _sound();
        uint256 exposure = _exposure(RISK, market);
        uint256 otherExposure = _exposure(OTHER_RISK, market);
        Seen memory before = _see();
        try portfolio.execute(b) {
            Seen memory afterwards = _see();
            if (sound) {
                assertEq(afterwards.low + loss, before.low, "4: a batch moved NAV by more than its loss");
            }
            assertGe(afterwards.low + maxLoss, before.low, "4: a batch lost more than was signed");
            assertEq(afterwards.supply, before.supply, "3: a batch moved supply");
            _assertCap(RISK, market, exposure);
            _assertCap(OTHER_RISK, market, otherExposure);
            if (sound && push > loss + portfolio.ROUNDING()) _assertRiskAllowed(market);
            _assertBudget(before.low, afterwards.low);
            ++times[loss > 0 ? bytes32("lossy batch") : push > 0 ? bytes32("supplied") : bytes32("withdrawn")];
        } catch (bytes memory reason) {
            assertEq(
                keccak256(abi.encode(_see())),
                keccak256(abi.encode(before)),
                "4: a refused batch left a trace"
            );
            if (sound) _assertReason(bytes4(reason), push, loss, maxLoss);
            ++times["refused batch"];
        }
    }

    /// @dev Of a sound market: what shrinks exposure within its signed loss always passes.
    function _assertReason(bytes4 reason, uint256 push, uint256 loss, uint256 maxLoss) private {
        if (reason == IPortfolio.LossAboveLimit.selector) {
            assertGt(loss, maxLoss, "a loss within the signed one was refused");
            ++times["loss refused"];
            return;
        }
        if (reason == IPortfolio.ExitsOverdue.selector) {
            assertGt(vault.overdueExits(), 0, "7: refused for exits that are not overdue");
            ++times["exits first"];
            return;
        }
        if (reason == IPortfolio.LossBudgetExceeded.selector) {
            assertGt(loss, 0, "7: a batch without a loss was refused for the losses of others");
            ++times["budget refused"];
            return;
        }
        assertTrue(
            reason == IPortfolio.CapExceeded.selector || reason == IPortfolio.RiskIsPaused.selector
                || reason == IPortfolio.ConnectorIsExitOnly.selector,
            "7: a batch was refused for no reason of its own"
        );
        assertGt(push, 0, "7: a withdrawal was refused as a risk");
        ++times["risk refused"];
    }

    /// @dev Invariants 3 and 9: what batches lose in a day. A full bucket, and a day's refill of it, of each kind.
    function _assertBudget(uint256 lowBefore, uint256 lowAfter) private {
        if (block.timestamp >= dayStarted + 1 days) (dayStarted, lostThisDay) = (block.timestamp, 0);
        if (lowAfter < lowBefore) lostThisDay += (lowBefore - lowAfter) * WAD / (lowBefore + 1);
        uint256 budget = portfolio.RAISING_BUDGET() + portfolio.REDUCING_BUDGET();
        // A fall of the price is measured to one part of the price.
        assertLe(lostThisDay, 2 * budget + 1e9, "3: batches lost more in a day than the budget");
    }

    function _assertCap(bytes32 risk, Market market, uint256 before) private view {
        uint256 exposure = _exposure(risk, market);
        if (exposure > before + 3 * portfolio.ROUNDING() && _sound()) {
            assertLe(exposure, registry.cap(address(vault), risk), "cap");
        }
    }

    function _assertRiskAllowed(Market market) private view {
        assertFalse(registry.isExitOnly(address(vault), address(market)), "supplied to an exit-only market");
        assertGe(block.timestamp, registry.riskPausedUntil(address(vault)), "supplied under pause");
    }

    /// @dev A batch counts what its market holds, and positions it does not touch at their marks: what those have
    /// gained since a batch last called them is not seen.
    function _exposure(bytes32 risk, Market called) private view returns (uint256 exposure) {
        for (uint256 i = risk == RISK ? 0 : 2; i < 3; ++i) {
            (Market market, bytes32 key) = (places[i].market, places[i].key);
            (, uint256 marked) = portfolio.marks(address(market), key);
            exposure += market == called ? market.held(key) : marked;
        }
    }

    /// @dev Every market can be read, and every position counts.
    function _sound() internal view returns (bool) {
        return _faultless() && !_pocketed();
    }

    function _afterDelay(bytes memory data) private {
        registry.submit(address(vault), address(registry), data);
        skip(3 days);
        (bool success,) = address(registry).call(data);
        assertTrue(success, "a change after its delay");
    }
}
