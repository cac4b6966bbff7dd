// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IMorpho, Id, MarketParams, Position} from "@morpho-org/morpho-blue/src/interfaces/IMorpho.sol";
import {IMorphoBlue, MorphoBlueConnector} from "../src/connectors/MorphoBlueConnector.sol";
import {LendingConnector} from "../src/connectors/LendingConnector.sol";
import {IPriceSource} from "../src/interfaces/IOracleRouter.sol";
import {Batch} from "../src/interfaces/Types.sol";
import {DoubtedEther} from "./fixtures/DoubtedEther.sol";
import {IntegrationFixture} from "./fixtures/IntegrationFixture.sol";

/// @title A market of Morpho Blue where Ether secures debts in dollars
abstract contract IntegrationMorphoEther is IntegrationFixture {
    uint256 internal constant BORROWED = 40_000e6;
    uint256 internal constant PLEDGED = 29.8e18;

    IMorpho internal morpho;
    MorphoBlueConnector internal lender;
    bytes32 internal market;

    function _connect() internal override {
        morpho = IMorpho(_address(".morpho.address"));
        market = _market("WETH/USDC");
        MorphoBlueConnector.Terms memory terms;
        (terms.borrowable, terms.minHealth) = (new bytes32[](1), 1.05e18);
        terms.borrowable[0] = market;
        lender = new MorphoBlueConnector(address(portfolio), IMorphoBlue(address(morpho)), terms);
        _list(address(lender), market);
        _may(address(lender), lender.supplyCollateral.selector);
        _may(address(lender), lender.withdrawCollateral.selector);
        _may(address(lender), lender.borrow.selector);
        _may(address(lender), lender.repay.selector);
        _may(address(lender), lender.repayShares.selector);
    }

    function _thenPledge() internal {
        _thenBuy(90_000e6, PLEDGED);
        bytes memory data = abi.encodeCall(lender.supplyCollateral, (market, PLEDGED));
        _then(address(lender), weth, PLEDGED, data);
        _thenKeep(weth);
    }

    function _thenBorrow(uint256 assets) internal {
        _then(address(lender), abi.encodeCall(lender.borrow, (market, assets)));
    }
}

/// @title Collateral and debt at Morpho Blue inside the batches of a real vault
contract IntegrationMorphoTest is IntegrationMorphoEther {
    function test_class_N_H_19_collateral_and_a_debt_are_what_they_are_worth() public {
        _thenPledge();
        _thenBorrow(BORROWED);
        _run(1_500e6);
        (uint256 low, uint256 high) = _nav();
        (uint256 worthLow, uint256 worthHigh) = _worth(weth, PLEDGED + tokens.amountOf(_keyOf(weth)));
        assertEq(portfolio.idle(), DEPOSIT - 90_000e6 + BORROWED);
        assertApproxEqAbs(low, portfolio.idle() + worthLow - BORROWED, 4);
        assertApproxEqAbs(high, portfolio.idle() + worthHigh - BORROWED, 4);
        _assertNothingLoose();
    }

    /// @dev The plan was made before somebody repaid a part: it closes the debt all the same.
    function test_M_41_a_debt_is_closed_by_its_shares_whatever_others_repay() public {
        _thenPledge();
        _thenBorrow(BORROWED);
        _run(1_500e6);
        skip(12 hours);
        _refresh();
        (uint256 before,) = _nav();
        _then(
            address(lender),
            usdc,
            BORROWED + 200e6,
            abi.encodeCall(lender.repayShares, (market, EVERYTHING, BORROWED + 200e6))
        );
        _then(address(lender), abi.encodeCall(lender.withdrawCollateral, (market, EVERYTHING)));
        _thenSell(88_000e6);
        Batch memory b = _queued(500e6);
        _repayAsStranger(10_000e6);
        portfolio.execute(b);

        Position memory left = morpho.position(Id.wrap(market), address(lender));
        assertEq(left.borrowShares, 0);
        assertEq(left.collateral, 0);
        (uint256 debt,) = portfolio.positionDebt(address(lender), market);
        assertEq(debt, 0);
        (uint256 low,) = _nav();
        assertGt(low, before + 10_000e6 - 500e6, "what a stranger repays is a gain");
        _assertNothingLoose();
    }

    function test_class_S_H_16_a_debt_below_the_floor_is_refused_whole() public {
        _thenPledge();
        // Morpho itself would lend 86 %.
        _thenBorrow(75_000e6);
        Batch memory b = _queued(2_000e6);
        vm.expectPartialRevert(LendingConnector.HealthBelowFloor.selector);
        portfolio.execute(b);
        _assertNothingLoose();
    }

    function _repayAsStranger(uint256 assets) private {
        address stranger = makeAddr("stranger");
        MarketParams memory params = morpho.idToMarketParams(Id.wrap(market));
        deal(usdc, stranger, assets);
        vm.startPrank(stranger);
        IERC20(usdc).approve(address(morpho), assets);
        morpho.repay(params, assets, 0, address(lender), "");
        vm.stopPrank();
    }
}

contract IntegrationMorphoDoubtTest is IntegrationMorphoEther, DoubtedEther {
    function _lever() internal override {
        _thenPledge();
        _thenBorrow(BORROWED);
        _run(1_500e6);
    }

    function _indebted() internal view override returns (LendingConnector, bytes32) {
        return (lender, market);
    }

    function _borrowing(uint256 assets) internal view override returns (bytes memory) {
        return abi.encodeCall(lender.borrow, (market, assets));
    }

    function _repaying(uint256 assets) internal view override returns (bytes memory) {
        return abi.encodeCall(lender.repay, (market, assets));
    }

    function _secondOpinion() internal override(IntegrationFixture, DoubtedEther) returns (IPriceSource) {
        return super._secondOpinion();
    }

    function _refresh() internal override(IntegrationFixture, DoubtedEther) {
        super._refresh();
    }
}
