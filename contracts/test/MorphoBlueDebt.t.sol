// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {stdError} from "forge-std/StdError.sol";
import {Connector} from "../src/connectors/Connector.sol";
import {IMorphoBlue} from "../src/connectors/IMorphoBlue.sol";
import {LendingConnector} from "../src/connectors/LendingConnector.sol";
import {MorphoBlueConnector} from "../src/connectors/MorphoBlueConnector.sol";
import {DebtTest, IDebtConnector} from "./fixtures/DebtTest.sol";
import {Id, IMorpho, MarketParams} from "@morpho-org/morpho-blue/src/interfaces/IMorpho.sol";
import {IOracle} from "@morpho-org/morpho-blue/src/interfaces/IOracle.sol";
import {MorphoBalancesLib} from "@morpho-org/morpho-blue/src/libraries/periphery/MorphoBalancesLib.sol";
import {MorphoLib} from "@morpho-org/morpho-blue/src/libraries/periphery/MorphoLib.sol";

contract MorphoBlueDebtTest is DebtTest {
    using MorphoBalancesLib for IMorpho;
    using MorphoLib for IMorpho;

    IMorpho private morpho;
    MorphoBlueConnector private lender;
    MarketParams private params;
    bytes32 private lendOnly;

    function setUp() public override {
        super.setUp();
        _priceEther();
        weth = _token("WETH");
        morpho = IMorpho(_address(".morpho.address"));
        debtKey = _market("WETH/USDC");
        (key, collateralKey) = (debtKey, debtKey);
        lendOnly = _market("WBTC/USDC");
        MorphoBlueConnector.Terms memory terms;
        (terms.keys, terms.borrowable, terms.minHealth) = (new bytes32[](1), new bytes32[](1), FLOOR);
        (terms.keys[0], terms.borrowable[0]) = (lendOnly, debtKey);
        terms.rewards = new address[](1);
        terms.rewards[0] = _address(".aave.reward.token");
        lender = new MorphoBlueConnector(address(this), IMorphoBlue(address(morpho)), terms);
        (connector, debtor) = (lender, IDebtConnector(address(lender)));
        params = morpho.idToMarketParams(Id.wrap(debtKey));
    }

    // THE SHARED SUITE

    function _pledge(uint256 amount) internal override {
        _give(weth, amount);
        lender.supplyCollateral(debtKey, amount);
    }

    function _unpledge(uint256 amount) internal override returns (uint256) {
        return lender.withdrawCollateral(debtKey, amount);
    }

    function _owed() internal view override returns (uint256) {
        return morpho.expectedBorrowAssets(params, address(connector));
    }

    function _held() internal view override returns (uint256) {
        return morpho.collateral(Id.wrap(debtKey), address(connector));
    }

    function _protocolHealth() internal view override returns (uint256) {
        return _held() * IOracle(params.oracle).price() / 1e36 * params.lltv / WAD * WAD / _owed();
    }

    function _threshold() internal view override returns (uint256) {
        return params.lltv;
    }

    function _borrowLimit() internal view override returns (uint256) {
        return 300_000e6 * params.lltv / WAD;
    }

    function _spender() internal view override returns (address) {
        return address(morpho);
    }

    function _report() internal view override returns (uint256, uint256, uint256, uint256) {
        return _unpacked(debtKey);
    }

    function _repayFor(address donor, uint256 assets) internal override returns (uint256 taken) {
        morpho.accrueInterest(params);
        return assets < _owed() ? _repayFor(donor, assets, 0) : _repayFor(donor, 0, _shares());
    }

    function _repayShareFor(address donor) internal override returns (uint256 taken) {
        uint256 shares = _shares();
        taken = _repayFor(donor, 0, 1);
        assertEq(_shares(), shares - 1);
    }

    function _repayFor(address donor, uint256 assets, uint256 shares) private returns (uint256 taken) {
        deal(asset, donor, 1e15);
        vm.startPrank(donor);
        assertTrue(IERC20(asset).approve(address(morpho), 1e15));
        (taken,) = morpho.repay(params, assets, shares, address(connector), "");
        vm.stopPrank();
    }

    function _lend(uint256 assets) internal override {
        _supply(assets);
    }

    function _lent() internal view override returns (uint256) {
        return morpho.expectedSupplyAssets(params, address(connector));
    }

    function _isEmpty(bool pledged) internal view override returns (bool) {
        return (pledged ? _held() : morpho.supplyShares(Id.wrap(debtKey), address(connector))) == 0;
    }

    /// @dev Collateral is lent to nobody.
    function _atHand() internal view override returns (uint256 loans, uint256 pledges) {
        return
            (morpho.expectedTotalSupplyAssets(params) - morpho.expectedTotalBorrowAssets(params), EVERYTHING);
    }

    function _least() internal pure override returns (uint256) {
        return 1;
    }

    function _most(Deed deed) internal view override returns (uint256) {
        (uint256 loans,) = _atHand();
        if (deed == Deed.LEND) return 50_000_000e6;
        if (deed == Deed.WITHDRAW) return Math.min(morpho.expectedSupplyAssets(params, _crowd()), loans);
        if (deed == Deed.BORROW) return loans;
        if (deed == Deed.REPAY) return morpho.expectedBorrowAssets(params, _crowd());
        return deed == Deed.REPAY_OURS ? _owed() : 0;
    }

    function _others(Deed deed, uint256 amount) internal override {
        address crowd = _crowd();
        if (deed == Deed.REPAY_OURS) {
            _repayFor(crowd, amount);
            return;
        }
        deal(asset, crowd, amount);
        deal(weth, crowd, 1_000_000e18);
        morpho.accrueInterest(params);
        vm.startPrank(crowd);
        assertTrue(IERC20(asset).approve(address(morpho), EVERYTHING));
        assertTrue(IERC20(weth).approve(address(morpho), EVERYTHING));
        if (deed == Deed.LEND) {
            morpho.supply(params, amount, 0, crowd, "");
        } else if (deed == Deed.WITHDRAW) {
            morpho.withdraw(params, amount, 0, crowd, crowd);
        } else if (deed == Deed.BORROW) {
            morpho.supplyCollateral(params, 1_000_000e18, crowd, "");
            morpho.borrow(params, amount, 0, crowd, crowd);
        } else {
            uint256 shares = morpho.borrowShares(Id.wrap(debtKey), crowd);
            bool all = amount == morpho.expectedBorrowAssets(params, crowd);
            morpho.repay(params, all ? 0 : amount, all ? shares : 0, crowd, "");
        }
        vm.stopPrank();
    }

    function _unlisted(bytes32 other) internal pure override returns (bytes memory) {
        return abi.encodeWithSelector(Connector.UnknownKey.selector, other);
    }

    function _overdrawn() internal pure override returns (bytes memory) {
        return stdError.arithmeticError;
    }

    function _insecure() internal pure override returns (bytes memory) {
        return abi.encodeWithSignature("Error(string)", "insufficient collateral");
    }

    function _liquidate(address liquidator) internal override {
        _liquidate(liquidator, _shares() / 2, 0);
    }

    function _liquidate(address liquidator, uint256 shares, uint256 seized) private {
        deal(asset, liquidator, 1e15);
        vm.startPrank(liquidator);
        assertTrue(IERC20(asset).approve(address(morpho), 1e15));
        morpho.liquidate(params, address(connector), seized, shares, "");
        vm.stopPrank();
    }

    function _shares() private view returns (uint256) {
        return morpho.borrowShares(Id.wrap(debtKey), address(connector));
    }

    // MORPHO'S OWN

    function test_class_V_H_19_supply_collateral_and_debt_count_once_each() public {
        _supply(1_000e6);
        (uint256 low, uint256 high,,) = _report();
        assertEq(low, high);
        assertApproxEqAbs(low, 1_000e6, 1);
        _pledge(10e18);
        (uint256 lowBoth,, uint256 debt,) = _report();
        assertApproxEqAbs(lowBoth, 1_000e6 + uint256(30_000e6) * 9950 / 10_050, 10);
        assertEq(debt, 0);
        debtor.borrow(debtKey, 5_000e6);
        (uint256 lowAfter,,,) = _report();
        assertApproxEqAbs(lowAfter, lowBoth - 5_000e6, 2);
        connector.withdraw(debtKey, EVERYTHING);
        (uint256 lowLeft,,,) = _report();
        assertApproxEqAbs(lowLeft, lowAfter - 1_000e6, 2, "the rest stays counted");
    }

    function test_class_V_bad_debt_is_a_loss_at_once() public {
        _supply(1_000_000e6);
        _pledge(COLLATERAL);
        debtor.borrow(debtKey, 200_000e6);
        _push("ETH/USD", 1000e8);
        uint256 before = morpho.expectedSupplyAssets(params, address(connector));
        _liquidate(makeAddr("liquidator"), 0, COLLATERAL);
        assertEq(_owed(), 0, "the market has written the rest off");
        (uint256 low, uint256 high, uint256 debt,) = _report();
        assertEq(debt, 0);
        assertEq(low, high);
        assertEq(low, morpho.expectedSupplyAssets(params, address(connector)));
        assertLt(low, before - 1_000e6);
        assertEq(connector.withdraw(debtKey, EVERYTHING), low);
    }

    function testFuzz_class_N_repaying_shares_costs_what_they_owe(uint256 shares, uint256 time) public {
        _pledge(COLLATERAL);
        debtor.borrow(debtKey, 100_000e6);
        vm.warp(block.timestamp + bound(time, 0, 300 days));
        shares = bound(shares, 1, 2 * _shares());
        uint256 all = _shares();
        uint256 owed = _owed();
        _give(asset, owed);
        uint256 balance = _balance(asset, address(this));
        uint256 repaid = lender.repayShares(debtKey, shares, owed);
        assertEq(_balance(asset, address(this)), balance + owed - repaid);
        assertEq(_shares(), shares < all ? all - shares : 0);
        assertApproxEqAbs(_owed() + repaid, owed, 2);
    }

    /// @dev The plan counted the shares before somebody repaid one, or a unit's worth, or all.
    function test_M_41_shares_that_others_repay_first_upset_nothing() public {
        _pledge(COLLATERAL);
        debtor.borrow(debtKey, 100_000e6);
        skip(1 days);
        (uint256 planned, uint256 owed) = (_shares(), _owed());
        uint256[4] memory firsts = [1, 1e6, planned - 1, planned];
        uint256 state = vm.snapshotState();
        for (uint256 i = 0; i < firsts.length; i++) {
            uint256 first = _repayFor(makeAddr("donor"), 0, firsts[i]);
            _give(asset, owed);
            uint256 repaid = lender.repayShares(debtKey, planned, owed);
            assertEq(_shares(), 0);
            assertApproxEqAbs(repaid + first, owed, 2);
            assertEq(_balance(asset, address(this)), 100_000e6 + owed - repaid);
            vm.revertToState(state);
        }
    }

    function test_M_45_shares_that_cost_more_than_was_pushed_are_refused() public {
        _pledge(COLLATERAL);
        debtor.borrow(debtKey, 100_000e6);
        _give(asset, 50_000e6);
        uint256 shares = _shares();
        vm.expectRevert(abi.encodeWithSelector(Connector.SlippageExceeded.selector, 50_000e6, 100_000e6 + 1));
        lender.repayShares(debtKey, shares, 50_000e6);
        vm.expectRevert(Connector.ZeroAmount.selector);
        lender.repayShares(debtKey, shares, 0);
        vm.expectRevert(Connector.ZeroAmount.selector);
        lender.repayShares(debtKey, 0, 1);
    }

    /// @dev As after interest on a debt of hardly any shares: one of them is a whole dollar.
    function test_M_45_an_inflated_debt_share_is_refused_both_ways() public {
        _pledge(COLLATERAL);
        debtor.borrow(debtKey, 1_000e6);
        bytes32 slot = bytes32(uint256(keccak256(abi.encode(debtKey, uint256(3)))) + 1);
        uint256 assets = uint128(uint256(vm.load(address(morpho), slot)));
        vm.store(address(morpho), slot, bytes32(assets | (assets / 1e6) << 128));
        bytes32 own = bytes32(
            uint256(keccak256(abi.encode(address(connector), keccak256(abi.encode(debtKey, uint256(2)))))) + 1
        );
        vm.store(address(morpho), own, bytes32(uint256(1_000) | COLLATERAL << 128));
        vm.expectRevert(
            abi.encodeWithSelector(Connector.SlippageExceeded.selector, 1_000.5e6 + 1, 1_001_428_964)
        );
        debtor.borrow(debtKey, 1_000.5e6);
        _give(asset, 1.9e6);
        vm.expectRevert(abi.encodeWithSelector(Connector.SlippageExceeded.selector, 1_899_999, 955_563));
        debtor.repay(debtKey, 1.9e6);
    }

    function test_class_E_a_full_exit_takes_what_the_market_has_at_hand() public {
        _supply(1_000_000e6);
        uint256 left = morpho.totalSupplyAssets(Id.wrap(debtKey)) - morpho.totalBorrowAssets(Id.wrap(debtKey));
        _borrowAsStranger(left - 300_000e6);
        uint256 value = morpho.expectedSupplyAssets(params, address(connector));
        assertEq(connector.withdraw(debtKey, EVERYTHING), 300_000e6);
        assertApproxEqAbs(_value(), value - 300_000e6, 1, "the rest stays a position");
        vm.expectRevert(abi.encodeWithSelector(LendingConnector.Illiquid.selector, debtKey));
        connector.withdraw(debtKey, EVERYTHING);
    }

    /// @dev Else they would stay: no amount takes them out.
    function test_class_E_a_full_exit_burns_shares_that_are_worth_less_than_a_unit() public {
        _supply(1);
        assertFalse(_isEmpty(false));
        assertEq(_lent(), 0);
        assertEq(connector.withdraw(debtKey, EVERYTHING), 0);
        assertTrue(_isEmpty(false));
    }

    function _borrowAsStranger(uint256 assets) private {
        address stranger = makeAddr("stranger");
        deal(weth, stranger, 1_000_000e18);
        vm.startPrank(stranger);
        assertTrue(IERC20(weth).approve(address(morpho), 1_000_000e18));
        morpho.supplyCollateral(params, 1_000_000e18, stranger, "");
        morpho.borrow(params, assets, 0, stranger, stranger);
        vm.stopPrank();
    }

    function test_class_E_collateral_of_a_market_to_lend_to_alone_can_be_taken_but_not_used() public {
        vm.expectRevert(abi.encodeWithSelector(LendingConnector.NotBorrowable.selector, lendOnly));
        lender.supplyCollateral(lendOnly, 1);
        vm.expectRevert(abi.encodeWithSelector(LendingConnector.NotBorrowable.selector, lendOnly));
        lender.borrow(lendOnly, 1);
        vm.expectRevert(abi.encodeWithSelector(LendingConnector.NotBorrowable.selector, lendOnly));
        lender.repay(lendOnly, 1);
        vm.expectRevert(abi.encodeWithSelector(Connector.EmptyPosition.selector, lendOnly));
        lender.withdrawCollateral(lendOnly, EVERYTHING);

        address wbtc = _token("WBTC");
        deal(wbtc, address(this), 1e8);
        assertTrue(IERC20(wbtc).approve(address(morpho), 1e8));
        morpho.supplyCollateral(morpho.idToMarketParams(Id.wrap(lendOnly)), 1e8, address(connector), "");
        assertEq(lender.withdrawCollateral(lendOnly, EVERYTHING), 1e8);
    }

    function test_class_E_M_21_rewards_that_others_claimed_for_it_are_collected() public {
        address reward = _address(".aave.reward.token");
        deal(reward, address(connector), 4e18);
        assertEq(debtor.collect(reward), 4e18);
        assertEq(_balance(reward, address(this)), 4e18);
    }

    function test_class_R_a_market_is_in_one_list_once() public {
        MorphoBlueConnector.Terms memory terms;
        (terms.keys, terms.borrowable, terms.minHealth) = (new bytes32[](1), new bytes32[](1), FLOOR);
        (terms.keys[0], terms.borrowable[0]) = (debtKey, debtKey);
        vm.expectRevert(abi.encodeWithSelector(Connector.DuplicateKey.selector, debtKey));
        new MorphoBlueConnector(address(this), IMorphoBlue(address(morpho)), terms);
        terms.minHealth = 1.009e18;
        vm.expectRevert(
            abi.encodeWithSelector(LendingConnector.InvalidFloor.selector, 1.009e18, uint256(1.01e18))
        );
        new MorphoBlueConnector(address(this), IMorphoBlue(address(morpho)), terms);
    }
}
