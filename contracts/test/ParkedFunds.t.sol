// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IConnector} from "../src/interfaces/IConnector.sol";
import {IPortfolio} from "../src/interfaces/IPortfolio.sol";
import {Batch} from "../src/interfaces/Types.sol";
import {IntegrationAaveKeys} from "./fixtures/IntegrationAaveKeys.sol";
import {LiquidityFixture} from "./fixtures/LiquidityFixture.sol";

/// @title What one batch leaves at a connector, and a later one puts in there
/// @dev Nothing is pushed when it is put in, so that neither caps nor exit-only mode see growth. A stolen quorum could
/// move all there is in such steps, if each gain made up for what the same batch leaves at the next connector.
contract ParkedFundsTest is LiquidityFixture {
    uint256 private constant PARKED = 9_000e6;

    function _connect() internal override {
        super._connect();
        _may(address(tokens), tokens.collect.selector);
    }

    function setUp() public override {
        super.setUp();
        // A single unit gives `collect` something to do.
        deal(weth, address(this), 1);
        IERC20(weth).transfer(address(tokens), 1);
        registry.setExitOnly(address(vault), address(liquidity));
        registry.lowerCap(address(vault), RISK, 0);
        _then(address(liquidity), usdc, PARKED, abi.encodeCall(liquidity.collectFees, (_tokenId())));
        _run(PARKED);
    }

    function test_class_S_what_was_left_at_a_connector_hides_no_loss_when_it_is_put_in() public {
        (uint256 before,) = _nav();
        skip(1 days);
        _refresh();
        uint256 snapshot = vm.snapshotState();
        Batch memory refused = _moved(PARKED - 1);
        vm.expectRevert(abi.encodeWithSelector(IPortfolio.LossAboveLimit.selector, PARKED, PARKED - 1));
        portfolio.execute(refused);
        vm.revertToState(snapshot);
        // A loss as any other: a day's budget has room for it once.
        portfolio.execute(_moved(PARKED));
        (uint256 afterwards,) = _nav();
        assertApproxEqAbs(afterwards, before, portfolio.ROUNDING(), "the gain is real all the same");
        (uint256 raising,) = portfolio.lossBudgets();
        assertLt(raising, 0.002e18);
    }

    function test_class_S_a_day_moves_no_more_than_its_budget() public {
        Batch memory refused = _moved(PARKED);
        vm.expectPartialRevert(IPortfolio.LossBudgetExceeded.selector);
        portfolio.execute(refused);
    }

    function test_class_S_nor_is_putting_it_in_a_loss_whatever_it_may_be_worth_at_most() public {
        deal(weth, address(this), 1e18);
        IERC20(weth).transfer(address(liquidity), 1e18);
        (uint256 low, uint256 high) = _nav();
        _then(address(liquidity), abi.encodeCall(liquidity.hold, (key, weth, 1e18)));
        _run(0);
        (uint256 lowAfter, uint256 highAfter) = _nav();
        assertGt(highAfter - high, lowAfter - low, "a price is a range");
    }

    /// @dev Puts in at the one what lies there, and leaves as much at the other.
    function _moved(uint256 maxLoss) private returns (Batch memory) {
        _then(address(liquidity), abi.encodeCall(liquidity.hold, (key, usdc, PARKED)));
        _then(address(tokens), usdc, PARKED, abi.encodeCall(tokens.collect, (weth)));
        return _queued(maxLoss);
    }
}

/// @dev The same where an account's debt is borne key by key: what is put in at the first, and all owed, is worth more
/// at the second, which has not grown.
contract ParkedBesideADebtTest is IntegrationAaveKeys {
    uint256 private constant PARKED = 9_000e6;
    uint256 private constant ETHER = 2.6e18;

    function _connect() internal override {
        super._connect();
        _may(address(tokens), tokens.collect.selector);
    }

    function setUp() public override {
        super.setUp();
        _shortEther();
        registry.setExitOnly(address(vault), address(lender));
        registry.lowerCap(address(vault), RISK, 0);
        registry.pauseRisk(address(vault));
        deal(weth, address(this), ETHER + 1);
        IERC20(weth).transfer(address(lender), ETHER);
        IERC20(weth).transfer(address(tokens), 1);
    }

    function test_class_S_what_another_keys_debt_absorbs_hides_no_loss() public {
        _assertHidesNothing(_thenMove);
    }

    /// @dev Nor does it where what another key has gained leaves in the same batch: then none is worth more.
    function test_class_S_nor_does_what_leaves_while_another_keys_debt_absorbs_it() public {
        _assertHidesNothing(_thenSwapKeys);
    }

    function _assertHidesNothing(function() internal then_) private {
        then_();
        Batch memory refused = _queued(PARKED - 100e6);
        vm.expectPartialRevert(IPortfolio.LossAboveLimit.selector);
        portfolio.execute(refused);
        (uint256 before,) = _nav();
        then_();
        _run(PARKED + 200e6);
        (uint256 afterwards,) = _nav();
        assertApproxEqRel(afterwards, before, 0.001e18, "the gain is real all the same");
    }

    function _thenMove() private {
        _thenPutIn();
        _thenLeave();
    }

    function _thenSwapKeys() private {
        _thenPutIn();
        _then(address(lender), abi.encodeCall(IConnector.withdraw, (dollarKey, PARKED - 200e6)));
        _thenLeave();
    }

    function _thenPutIn() private {
        _then(address(lender), abi.encodeCall(IConnector.supply, (etherKey, ETHER)));
    }

    function _thenLeave() private {
        _then(address(tokens), usdc, PARKED, abi.encodeCall(tokens.collect, (weth)));
    }
}
