// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {SequencerUptimeFeed} from "../devnet/SequencerUptimeFeed.sol";
import {IConnector} from "../src/interfaces/IConnector.sol";
import {IPortfolio} from "../src/interfaces/IPortfolio.sol";
import {Batch, Value} from "../src/interfaces/Types.sol";
import {IntegrationAaveKeys} from "./IntegrationAave.t.sol";

/// @title A debt of an account whose first key bears all it has, while every price is in doubt
/// @dev Debts reduce an account's keys one after the other. A key that bears all it has is worth nothing at the low
/// end, and readable nonetheless: a repayment of the account's debt must pass, or it is liquidated while the money
/// lies idle.
contract RepaidInDoubtTest is IntegrationAaveKeys {
    function test_M_52_a_debt_is_repaid_in_doubt_where_a_key_bears_all_it_has() public {
        _lever();
        _doubt(2_330e8);
        assertEq(_low(etherKey), 0, "bears all it has");
        (uint256 before, uint256 idle) = (_health(), portfolio.idle());
        _repay(30_000e6, 30_000e6);
        assertGt(_health(), before);
        assertEq(portfolio.idle(), idle - 30_000e6);
        assertGt(_low(etherKey), 0, "bears less than it has");
    }

    /// @dev Ether costs next to nothing: as far as is known the account owes more than it owns, and what is repaid
    /// counts as lost. The guardian answers for that.
    function test_M_52_a_debt_above_all_it_is_secured_by_is_repaid_with_the_guardians_word() public {
        _lever();
        _doubt(700e8);
        assertEq(_low(etherKey) + _low(dollarKey), 0);
        _then(address(lender), usdc, 30_000e6, abi.encodeCall(lender.repay, (dollarKey, 30_000e6)));
        Batch memory b = _queued(30_000e6);
        vm.expectPartialRevert(IPortfolio.LossBudgetExceeded.selector);
        portfolio.execute(b);
        portfolio.cosign(keccak256(abi.encode(b)));
        uint256 before = _health();
        portfolio.execute(b);
        assertGt(_health(), before);
    }

    function test_class_V_nothing_else_leaves_what_is_worth_nothing_in_doubt() public {
        _lever();
        _doubt(2_390e8);
        // Ether that came out would be counted nowhere.
        _then(address(lender), abi.encodeCall(IConnector.withdraw, (etherKey, 0.05e18)));
        _refuse(0);
        _then(address(lender), abi.encodeCall(lender.borrow, (dollarKey, 1e6)));
        _refuse(1e6);
        // Nor does a repayment open the door to it.
        _then(address(lender), usdc, 1e6, abi.encodeCall(lender.repay, (dollarKey, 1e6)));
        _then(address(lender), abi.encodeCall(IConnector.withdraw, (etherKey, 0.05e18)));
        Batch memory b = _queued(1e6);
        vm.expectPartialRevert(IPortfolio.ImpairedNotAlone.selector);
        portfolio.execute(b);
    }

    // STEPS

    function _lever() private {
        _thenBuy(90_000e6, 29.5e18);
        _then(address(lender), weth, 29.5e18, abi.encodeCall(IConnector.supply, (etherKey, 29.5e18)));
        _thenKeep(weth);
        _thenSupplyDollars(20_000e6);
        _then(address(lender), abi.encodeCall(lender.borrow, (dollarKey, 70_000e6)));
        _run(2_000e6);
    }

    /// @dev The sequencer is back, and its hour of grace runs; feeds go on.
    function _doubt(int256 ether_) private {
        SequencerUptimeFeed sequencer = SequencerUptimeFeed(_address(".sequencer"));
        vm.startPrank(sequencer.reporter());
        sequencer.report(true);
        skip(10 minutes);
        sequencer.report(false);
        vm.stopPrank();
        skip(5 minutes);
        _push("USDC/USD", 1e8);
        _push("ETH/USD", ether_);
    }

    function _repay(uint256 assets, uint256 maxLoss) private {
        _then(address(lender), usdc, assets, abi.encodeCall(lender.repay, (dollarKey, assets)));
        _run(maxLoss);
    }

    function _refuse(uint256 maxLoss) private {
        Batch memory b = _queued(maxLoss);
        vm.expectRevert(
            abi.encodeWithSelector(IPortfolio.PositionIsImpaired.selector, address(lender), etherKey)
        );
        portfolio.execute(b);
    }

    function _low(bytes32 key) private view returns (uint256) {
        (Value memory value, bool healthy) = portfolio.positionValue(address(lender), key);
        assertFalse(healthy);
        return value.low;
    }
}
