// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IConnector} from "../src/interfaces/IConnector.sol";
import {IPortfolio} from "../src/interfaces/IPortfolio.sol";
import {Batch} from "../src/interfaces/Types.sol";
import {LiquidityFixture} from "./fixtures/LiquidityFixture.sol";

/// @title Liquidity that is worth more taken out than left in
/// @dev A report is the least that liquidity is worth within the range of prices, so that taking it out, and fees,
/// let a position's value rise. Nothing is added to it by that: neither a pause nor exit-only mode stops it.
contract UnwindingWhilePausedTest is LiquidityFixture {
    uint128 private constant ALL = type(uint128).max;

    function _connect() internal override {
        super._connect();
        _may(address(liquidity), liquidity.decrease.selector);
    }

    function test_R_10_liquidity_is_taken_out_in_exit_only_mode() public {
        registry.setExitOnly(address(vault), address(liquidity));
        _takeOutInSteps();
    }

    function test_R_10_liquidity_is_taken_out_while_risk_is_paused() public {
        registry.pauseRisk(address(vault));
        _takeOutInSteps();
    }

    function test_R_10_no_stranger_stops_a_full_exit_by_moving_the_pool() public {
        registry.setExitOnly(address(vault), address(liquidity));
        // Below the range: all of it is Ether, which rises against the least that the liquidity may be worth.
        _trade(weth, 30_000e18);
        (, uint256 before,) = liquidity.report(key);
        _then(address(liquidity), abi.encodeCall(IConnector.withdraw, (key, EVERYTHING)));
        _run(type(uint120).max);
        (, uint256 afterwards,) = liquidity.report(key);
        assertGt(afterwards, before + portfolio.ROUNDING(), "a rise that is no growth");
    }

    function test_class_S_what_is_pushed_is_still_growth() public {
        registry.setExitOnly(address(vault), address(liquidity));
        _then(address(liquidity), usdc, 1_000e6, abi.encodeCall(liquidity.hold, (key, usdc, 1_000e6)));
        Batch memory refused = _queued(1_000e6);
        vm.expectRevert(abi.encodeWithSelector(IPortfolio.ConnectorIsExitOnly.selector, address(liquidity)));
        portfolio.execute(refused);
    }

    function _takeOutInSteps() private {
        (, uint256 before,) = liquidity.report(key);
        _then(address(liquidity), abi.encodeCall(liquidity.decrease, (_tokenId(), ALL, 1, 1)));
        _run(1_000e6);
        (, uint256 afterwards,) = liquidity.report(key);
        assertGt(afterwards, before + portfolio.ROUNDING(), "a rise that is no growth");
        _thenLeave();
        _run(1_000e6);
        (, uint256 left,) = liquidity.report(key);
        assertEq(left, 0);
    }
}
