// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IPortfolio} from "../src/interfaces/IPortfolio.sol";
import {IRegistry} from "../src/interfaces/IRegistry.sol";
import {Batch, Call} from "../src/interfaces/Types.sol";
import {Params} from "../src/interfaces/IVault.sol";
import {Holdings} from "./fixtures/Holdings.sol";
import {Theft} from "./fixtures/Theft.sol";

/// @title What a stolen quorum takes from users in 24 hours
/// @dev Every strategy logs what it took; none takes more than 2(B + U) of NAV while no market moves and nothing
/// is lost on the way out of a position that cannot be read. What is beyond this: docs/security/model.md.
contract StolenQuorumTest is Theft {
    // BATCHES

    /// @dev Full buckets, a day of waiting, full buckets again: few and large losses compound least.
    function test_both_buckets_at_both_ends_of_a_day() public {
        drain(connector, A);
        skip(1 days);
        drain(connector, A);
        assertBound("both ends");
        assertGe(lost(), 0.0587e18, "0.99^2 0.98^2 is not reached");
        assertNothingLeft();
    }

    function test_both_buckets_as_they_refill() public {
        drain(connector, A);
        for (uint256 i; i < 96; ++i) {
            skip(15 minutes);
            drain(connector, A);
        }
        assertBound("every quarter of an hour");
    }

    /// @dev A loss of one unit is charged a unit at least, so that rounding lets nothing through.
    function test_a_unit_at_a_time() public {
        (uint256 raising, uint256 reducing) = portfolio.lossBudgets();
        for (uint256 i; i < 100; ++i) {
            loseByRaising(connector, A, 1);
            loseByReducing(connector, B, 1);
        }
        (uint256 raisingLeft, uint256 reducingLeft) = portfolio.lossBudgets();
        uint256 unit = uint256(100e18) / (10_000 * UNIT + 1);
        assertGe(raising - raisingLeft, unit, "new risk");
        assertGe(reducing - reducingLeft, unit, "reductions");
        drain(connector, A);
        skip(1 days);
        drain(connector, A);
        assertBound("a unit at a time");
    }

    /// @dev Growth of ten units a position goes unseen, and lets a batch that supplies pass as a reduction. Its
    /// loss is charged all the same.
    function test_growth_within_rounding() public {
        uint256 rounding = portfolio.ROUNDING();
        (, uint256 before) = portfolio.lossBudgets();
        for (uint256 i; i < 50; ++i) {
            executeAsThief(
                both(
                    callTo(other, 0, abi.encodeCall(Holdings.withdraw, (A, 2 * rounding))),
                    callTo(connector, 2 * rounding - 1, _supplyAtLoss(A, 2 * rounding - 1, rounding - 1))
                )
            );
        }
        (, uint256 left) = portfolio.lossBudgets();
        assertGe(before - left, 50 * (rounding - 1) * 1e18 / (10_000 * UNIT + 1), "hidden by rounding");
        drain(connector, A);
        skip(1 days);
        drain(connector, A);
        assertBound("growth within rounding");
    }

    /// @dev The connector that loses is by turns the only one that is read; and what one loses another is given.
    function test_losses_that_wander_between_what_is_read_and_what_is_not() public {
        for (uint256 i; i <= 24; ++i) {
            (uint256 raising,) = portfolio.lossBudgets();
            uint256 loss = most(raising);
            if (loss != 0) {
                (Holdings from, Holdings to) = i % 2 == 0 ? (connector, other) : (other, connector);
                executeAsThief(
                    both(
                        callTo(from, 0, abi.encodeCall(Holdings.withdrawAtLoss, (A, 2 * loss, loss / 2))),
                        callTo(to, loss, _supplyAtLoss(B, loss, loss - loss / 2))
                    )
                );
            }
            drain(i % 2 == 0 ? other : connector, A);
            skip(1 hours);
        }
        assertBound("wandering losses");
    }

    // IMPAIRMENT

    /// @dev Positions that cannot be read while others lose: they count as marked, or as nothing.
    function test_losses_beside_impaired_positions() public {
        for (uint256 i; i <= 1; ++i) {
            other.setMode(Holdings.Mode.REVERT);
            drain(connector, A);
            executeAsThief(one(callTo(other, 0, abi.encodeCall(Holdings.withdraw, (A, 10 * UNIT)))));
            other.setMode(Holdings.Mode.HONEST);
            connector.setMode(B, Holdings.Mode.REVERT);
            drain(other, A);
            connector.setMode(B, Holdings.Mode.DEGRADED);
            drain(connector, A);
            connector.setMode(B, Holdings.Mode.HONEST);
            if (i == 0) skip(1 days);
        }
        assertBound("beside impaired positions");
    }

    /// @dev A plain withdrawal brings home what leaves the position, whether that can be read or not.
    function test_a_plain_withdrawal_from_an_impaired_position_costs_nothing() public {
        connector.setMode(Holdings.Mode.REVERT);
        executeAsThief(one(callTo(connector, 0, abi.encodeCall(Holdings.withdraw, (A, 3000 * UNIT)))));
        connector.setMode(Holdings.Mode.HONEST);
        assertEq(lost(), 0);
    }

    /// @dev Settling while most of NAV cannot be read marks it with nothing: what batches may lose shrinks.
    function test_settling_while_impaired_leaves_less_to_lose() public {
        drain(connector, A);
        closeEpoch();
        connector.setMode(Holdings.Mode.REVERT);
        settleAsThief();
        connector.setMode(Holdings.Mode.HONEST);
        assertLt(vault.totalAssets(), 4001 * UNIT);
        skip(1 days - 1 hours - 1);
        drain(connector, A);
        assertBound("settled while impaired");
        assertLt(lost(), 0.043e18, "the base of losses did not shrink");
    }

    /// @dev The first settlement at a price that could not be read gives everyone in the queue a day to leave it.
    function test_a_settlement_while_impaired_takes_nothing_from_who_leaves_the_queue() public {
        _thiefDeposits(10_000 * UNIT);
        uint256 idle = portfolio.idle();
        executeAsThief(one(callTo(connector, idle, abi.encodeCall(Holdings.supply, (A, idle)))));
        requestRedeem(alice, vault.balanceOf(alice));
        _settleHourly();
        assertGt(vault.pendingRedeemRequest(0, alice), 0, "paid at once");
        worthBefore = worthOf(alice);
        closeEpoch();
        connector.setMode(Holdings.Mode.REVERT);
        settleAsThief();
        vm.startPrank(alice);
        vault.cancelRedeemRequest(0, alice);
        vault.claimCancelRedeemRequest(0, alice, alice);
        vm.stopPrank();
        skip(1 days);
        settleAsThief();
        connector.setMode(Holdings.Mode.HONEST);
        assertLe(lost(), 1e12);
    }

    // SETTLEMENTS AND SHARES

    function test_settlements_in_between_give_no_new_budget() public {
        drain(connector, A);
        for (uint256 i; i < 23; ++i) {
            _settleHourly();
            drain(connector, i % 2 == 0 ? A : B);
        }
        skip(1 days - 23 * (1 hours + 1));
        drain(connector, A);
        assertBound("settling every hour");
    }

    /// @dev A great holder makes NAV great and what may be lost with it, and bears its part of that.
    function test_a_great_deposit_before_the_losses() public {
        _thiefDeposits(90_000 * UNIT);
        drain(connector, A);
        skip(1 days);
        drain(connector, B);
        assertBound("with nine tenths of the shares");
        assertGt(90_000 * UNIT - worthOf(thief), 5000 * UNIT, "the thief lost nothing as a holder");
    }

    /// @dev In before the losses and out right after them, out before them and in after them: at true prices each.
    function test_buying_and_selling_around_the_losses() public {
        _thiefDeposits(5000 * UNIT);
        uint256 start = worthOf(thief);
        drain(connector, A);
        vm.startPrank(thief);
        vault.requestRedeem(vault.balanceOf(thief) / 2, thief, thief);
        vm.stopPrank();
        _settleHourly();
        requestDepositAsThief(3000 * UNIT);
        drain(connector, A);
        _settleHourly();
        skip(22 hours - 2);
        drain(connector, A);
        assertBound("buying and selling");
        assertLe(worthOf(thief), start + 3000 * UNIT, "shares gained");
        assertNothingLeft();
    }

    /// @dev Fees on top go to the governor's recipient: a day of them at most, and none on what was lost before.
    function test_fees_add_no_more_than_a_day_of_them() public {
        Params memory p = defaultParams();
        (p.managementFee, p.performanceFee) = (0.05e18, 0.3e18);
        bytes memory data = abi.encodeCall(vault.setParams, (p));
        registry.submit(address(vault), address(vault), data);
        skip(3 days);
        vault.setParams(p);
        _settleHourly();
        worthBefore = worthOf(alice);
        drain(connector, A);
        for (uint256 i; i < 23; ++i) {
            _settleHourly();
        }
        skip(1 days - 23 * (1 hours + 1));
        drain(connector, A);
        emit log_named_decimal_uint("lost, fees of 5 % and 30 %", lost(), 18);
        assertLe(lost(), BOUND + uint256(0.05e18) / 365);
    }

    // WHAT IT CANNOT DO

    function test_without_the_guardian_reductions_lose_no_more_than_their_budget() public {
        (, uint256 reducing) = portfolio.lossBudgets();
        loseByReducing(connector, A, most(reducing));
        Batch memory b = batch(one(callTo(connector, 0, _withdrawAtLoss(A, 101, 100))));
        b.maxLoss = 100;
        vm.startPrank(thief);
        vm.expectRevert(abi.encodeWithSelector(IPortfolio.NotGuardian.selector, thief));
        portfolio.cosign(keccak256(abi.encode(b)));
        vm.expectPartialRevert(IPortfolio.LossBudgetExceeded.selector);
        portfolio.execute(b);
        vm.expectPartialRevert(IRegistry.NotGovernor.selector);
        registry.submit(
            address(vault), address(registry), abi.encodeCall(registry.setGuardian, (address(vault), thief))
        );
        vm.stopPrank();
        portfolio.cosign(keccak256(abi.encode(b)));
        vm.prank(thief);
        portfolio.execute(b);
    }

    function test_assets_go_to_no_third_address() public {
        bytes memory pay = abi.encodeWithSignature("pay(address,uint256)", thief, 1);
        bytes memory transfer = abi.encodeCall(token.transfer, (thief, 1));
        bytes memory approve = abi.encodeCall(token.approve, (thief, 1));
        bytes memory redeem = abi.encodeWithSignature("redeem(uint256,address,address)", 1, thief, alice);
        _refused(address(escrow), pay);
        _refused(address(token), transfer);
        _refused(address(token), approve);
        _refused(address(vault), redeem);
        _refused(address(connector), abi.encodeCall(Holdings.setHeld, (A, 0)));
        vm.prank(thief);
        vm.expectRevert(abi.encodeWithSelector(IPortfolio.NotVault.selector, thief));
        portfolio.release(1);
    }

    // AT RANDOM

    /// @dev A day of random steps, greedy ones among them, in any order and at any time. Settlements read true
    /// values here, and nothing is lost on the way out of a position that cannot be read.
    function testFuzz_no_strategy_takes_more(uint256[24] calldata steps) public {
        _thiefDeposits(2000 * UNIT);
        skip(1 days);
        uint256 paidIn = worthOf(thief);
        uint256 end = block.timestamp + 1 days;
        for (uint256 i; i < steps.length; ++i) {
            uint256 step = steps[i];
            paidIn += _step(step % 9, step >> 8);
            uint256 wait = (step >> 32) % 2 hours;
            if (block.timestamp + wait > end) break;
            skip(wait);
        }
        if (block.timestamp < end) vm.warp(end);
        drain(connector, A);
        emit log_named_decimal_uint("lost, at random", lost(), 18);
        assertLe(lost(), BOUND, "beyond 2(B + U)");
        assertLe(worthOf(thief), paidIn + 100, "shares gained");
        assertNothingLeft();
    }

    function _step(uint256 kind, uint256 entropy) private returns (uint256 paidIn) {
        Holdings target = entropy % 3 == 0 ? other : connector;
        bytes32 key = target == connector && entropy % 2 == 0 ? B : A;
        (uint256 raising, uint256 reducing) = portfolio.lossBudgets();
        if (kind == 0) {
            uint256 loss = most(raising) * (entropy % 101) / 100;
            if (portfolio.idle() > loss) loseByRaising(target, key, loss);
        } else if (kind == 1) {
            uint256 loss = most(reducing) * (entropy % 101) / 100;
            if (target.held(key) > loss) loseByReducing(target, key, loss);
        } else if (kind == 2) {
            drain(target, key);
        } else if (kind == 3) {
            _drainBesideImpaired(target, entropy);
        } else if (kind == 4) {
            uint256 moved = portfolio.idle() / 2;
            if (moved != 0) {
                executeAsThief(one(callTo(target, moved, abi.encodeCall(Holdings.supply, (key, moved)))));
            }
        } else if (kind == 5) {
            uint256 moved = target.held(key) / 3;
            if (moved != 0) {
                executeAsThief(one(callTo(target, 0, abi.encodeCall(Holdings.withdraw, (key, moved)))));
            }
        } else if (kind == 6) {
            paidIn = UNIT + entropy % (5000 * UNIT);
            requestDepositAsThief(paidIn);
        } else if (kind == 7) {
            address user = entropy % 2 == 0 ? thief : alice;
            uint256 shares = vault.balanceOf(user) / 3;
            if (shares > 1e12) requestRedeem(user, shares);
        } else {
            _settleIfDue();
        }
    }

    /// @dev In one transaction: the connector that is not called cannot be read.
    function _drainBesideImpaired(Holdings target, uint256 entropy) private {
        Holdings impaired = target == connector ? other : connector;
        impaired.setMode(entropy % 5 == 0 ? Holdings.Mode.DEGRADED : Holdings.Mode.REVERT);
        drain(target, A);
        impaired.setMode(Holdings.Mode.HONEST);
    }

    function _settleIfDue() private {
        if (block.timestamp < vault.accounting().settledAt + 1 hours) return;
        if (vault.accounting().windowEndsAt > block.timestamp) return;
        closeAndSettle();
        if (vault.maxDeposit(thief) != 0) {
            uint256 claimable = vault.maxDeposit(thief);
            vm.prank(thief);
            vault.deposit(claimable, thief);
        }
    }

    // PARTS

    function requestDepositAsThief(uint256 assets) private {
        requestDeposit(thief, assets);
    }

    function _thiefDeposits(uint256 assets) private {
        requestDeposit(thief, assets);
        _settleHourly();
        vm.prank(thief);
        vault.deposit(assets, thief);
    }

    function _settleHourly() private {
        skip(1 hours);
        closeAndSettle();
    }

    function _supplyAtLoss(bytes32 key, uint256 assets, uint256 loss) private pure returns (bytes memory) {
        return abi.encodeCall(Holdings.supplyAtLoss, (key, assets, loss));
    }

    function _withdrawAtLoss(bytes32 key, uint256 assets, uint256 loss) private pure returns (bytes memory) {
        return abi.encodeCall(Holdings.withdrawAtLoss, (key, assets, loss));
    }

    function _refused(address target, bytes memory data) private {
        Call[] memory calls = new Call[](1);
        calls[0] = Call({target: target, token: address(token), amount: 0, data: data});
        Batch memory b = batch(calls);
        vm.prank(thief);
        vm.expectRevert(abi.encodeWithSelector(IPortfolio.CallNotAllowed.selector, target, bytes4(data)));
        portfolio.execute(b);
    }

    function assertBound(string memory strategy) private {
        emit log_named_decimal_uint(string.concat("lost, ", strategy), lost(), 18);
        assertGt(lost(), 0.02e18, "no attack");
        assertLe(lost(), BOUND, "beyond 2(B + U)");
    }
}
