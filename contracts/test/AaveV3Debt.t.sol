// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {AaveV3Connector} from "../src/connectors/AaveV3Connector.sol";
import {Connector} from "../src/connectors/Connector.sol";
import {IAaveV3Pool} from "../src/connectors/IAaveV3.sol";
import {LendingConnector} from "../src/connectors/LendingConnector.sol";
import {IOracleRouter} from "../src/interfaces/IOracleRouter.sol";
import {Status} from "../src/interfaces/Types.sol";
import {ReportLib} from "../src/libraries/ReportLib.sol";
import {AaveFixture} from "./fixtures/AaveFixture.sol";

interface IScaledToken {
    function scaledBalanceOf(address account) external view returns (uint256);
}

contract AaveV3DebtTest is AaveFixture {
    function setUp() public override {
        super.setUp();
        _deployLeveraged(new address[](0));
        (debtKey, collateralKey, key) = (_keyOf(asset), _keyOf(weth), _keyOf(asset));
    }

    // THE SHARED SUITE

    function _pledge(uint256 amount) internal override {
        _supplyOf("WETH", amount);
    }

    function _unpledge(uint256 amount) internal override returns (uint256) {
        return connector.withdraw(collateralKey, amount);
    }

    function _owed() internal view override returns (uint256) {
        return _balance(_debtToken("USDC"), address(connector));
    }

    function _held() internal view override returns (uint256) {
        return _balance(_aToken("WETH"), address(connector));
    }

    function _protocolHealth() internal view override returns (uint256) {
        return _health();
    }

    function _threshold() internal pure override returns (uint256) {
        return 0.83e18;
    }

    function _borrowLimit() internal pure override returns (uint256) {
        return uint256(300_000e6) * 8050 / 10_000;
    }

    function _spender() internal view override returns (address) {
        return address(pool);
    }

    function _report()
        internal
        view
        override
        returns (uint256 low, uint256 high, uint256 debt, uint256 health)
    {
        for (uint256 i = 0; i < keys.length; i++) {
            (uint256 one, uint256 other, uint256 owed, uint256 factor) = _unpacked(keys[i]);
            (low, high, debt) = (low + one, high + other, debt + owed);
            if (owed != 0) health = factor;
        }
    }

    function _repayFor(address donor, uint256 assets) internal override returns (uint256 taken) {
        deal(asset, donor, assets);
        vm.startPrank(donor);
        assertTrue(IERC20(asset).approve(address(pool), assets));
        if (assets < _least()) vm.expectRevert(bytes4(keccak256("InvalidBurnAmount()")));
        taken = pool.repay(asset, assets, 2, address(connector));
        vm.stopPrank();
        return assets < _least() ? 0 : taken;
    }

    function _repayShareFor(address donor) internal override returns (uint256 taken) {
        IScaledToken debt = IScaledToken(_debtToken("USDC"));
        uint256 scaled = debt.scaledBalanceOf(address(connector));
        taken = _repayFor(donor, 2);
        assertEq(debt.scaledBalanceOf(address(connector)), scaled - 1);
    }

    function _lend(uint256 assets) internal override {
        _supplyOf("USDC", assets);
        lender.setCollateral(key, false);
    }

    function _lent() internal view override returns (uint256) {
        return _balance(_aToken("USDC"), address(connector));
    }

    function _atHand() internal view override returns (uint256 loans, uint256 pledges) {
        return (pool.getVirtualUnderlyingBalance(asset), pool.getVirtualUnderlyingBalance(weth));
    }

    /// @dev Of a unit nothing is left once it is divided by an index.
    function _least() internal pure override returns (uint256) {
        return 2;
    }

    function _most(Deed deed) internal view override returns (uint256) {
        address crowd = _crowd();
        (uint256 loans, uint256 pledges) = _atHand();
        if (deed == Deed.LEND) return 50_000_000e6;
        if (deed == Deed.WITHDRAW) return Math.min(_balance(_aToken("USDC"), crowd), loans);
        if (deed == Deed.BORROW) return loans;
        if (deed == Deed.REPAY) return _balance(_debtToken("USDC"), crowd);
        if (deed == Deed.REPAY_OURS) return _owed();
        if (deed == Deed.BORROW_COLLATERAL) return pledges;
        return _balance(_debtToken("WETH"), crowd);
    }

    function _others(Deed deed, uint256 amount) internal override {
        address crowd = _crowd();
        if (deed == Deed.REPAY_OURS) {
            _repayFor(crowd, amount);
            return;
        }
        (address loan, address wbtc) = (deed > Deed.REPAY_OURS ? weth : asset, _token("WBTC"));
        bool borrows = deed == Deed.BORROW || deed == Deed.BORROW_COLLATERAL;
        deal(borrows ? wbtc : loan, crowd, borrows ? 100_000e8 : amount);
        vm.startPrank(crowd);
        SafeERC20.forceApprove(IERC20(borrows ? wbtc : loan), address(pool), EVERYTHING);
        if (deed == Deed.LEND) {
            pool.supply(loan, amount, crowd, 0);
        } else if (deed == Deed.WITHDRAW) {
            pool.withdraw(loan, amount, crowd);
        } else if (!borrows) {
            pool.repay(loan, amount, 2, crowd);
        } else {
            pool.supply(wbtc, 100_000e8, crowd, 0);
            pool.borrow(loan, amount, 2, 0, crowd);
        }
        vm.stopPrank();
    }

    function _unlisted(bytes32 other) internal pure override returns (bytes memory) {
        return abi.encodeWithSelector(LendingConnector.NotBorrowable.selector, other);
    }

    function _overdrawn() internal pure override returns (bytes memory) {
        return abi.encodeWithSignature("NotEnoughAvailableUserBalance()");
    }

    function _insecure() internal pure override returns (bytes memory) {
        return abi.encodeWithSignature("HealthFactorLowerThanLiquidationThreshold()");
    }

    function _liquidate(address liquidator) internal override {
        deal(asset, liquidator, 1e15);
        vm.startPrank(liquidator);
        assertTrue(IERC20(asset).approve(address(pool), 1e15));
        _liquidation(weth, asset, address(connector), 50_000e6);
        vm.stopPrank();
    }

    // SEVERAL RESERVES

    function testFuzz_class_V_D_17_debts_are_taken_off_the_keys_once_and_in_their_order(
        uint256 ether_,
        uint256 dollars,
        uint256 dai,
        uint256 price
    ) public {
        _supplyOf("WETH", bound(ether_, 1e18, 1_000e18));
        _supplyOf("USDC", bound(dollars, 1e6, 1_000_000e6));
        uint256 capacity = _capacity() * 9 / 10;
        dai = bound(dai, 1e18, capacity * 5e11);
        lender.borrow(_keyOf(_token("DAI")), dai);
        lender.borrow(_keyOf(asset), capacity / 2);
        _push("ETH/USD", int256(bound(price, 50e8, 9000e8)));

        (uint256 supplied, uint256 suppliedHigh) = _supplies();
        (uint256 owed, uint256 owedHigh) = _debts();
        (uint256 low, uint256 high, uint256 debt,) = _report();
        assertEq(low, supplied > owedHigh ? supplied - owedHigh : 0);
        assertEq(high, suppliedHigh > owed ? suppliedHigh - owed : 0);
        assertEq(debt, owed, "with the high value it makes what is owned");
    }

    /// @dev Else a debt that no price can tell the size of would look like none.
    function test_class_S_a_debt_without_a_price_is_still_a_debt() public {
        _pledge(COLLATERAL);
        lender.borrow(_keyOf(_token("DAI")), 1_000e18);
        _push("DAI/USD", 0);
        (uint256 status, uint256 debt,) = ReportLib.unpack(_state(_keyOf(weth)));
        assertEq(status, uint256(Status.UNAVAILABLE));
        assertGt(debt, 1_000e6);
    }

    /// @dev What a key bears rests on the prices of those before it, and on no others.
    function test_class_V_a_key_that_bears_what_others_may_is_in_doubt_with_them() public {
        _supplyOf("WETH", 10e18);
        _supplyOf("USDC", 50_000e6);
        _push("ETH/USD", 0);
        (uint256 low,, uint256 state) = connector.report(key);
        assertEq(state, uint256(Status.OK), "nothing is owed");
        _push("ETH/USD", 3000e8);
        lender.borrow(_keyOf(_token("DAI")), 20_000e18);
        (uint256 owed, uint256 owedHigh) = _debts();
        bytes32 last = _keyOf(_token("WBTC"));

        _push("ETH/USD", 0);
        (low,, state) = connector.report(key);
        (uint256 status, uint256 debt,) = ReportLib.unpack(state);
        assertEq(status, uint256(Status.UNAVAILABLE));
        assertApproxEqAbs(low, 50_000e6 - owedHigh, 1, "worth what it is");
        assertEq(debt, owedHigh, "and owing what it may have to bear");
        (status,,) = ReportLib.unpack(_state(last));
        assertEq(status, uint256(Status.OK), "nothing there");

        _push("ETH/USD", 3000e8);
        _supplyOf("WBTC", 1e8);
        _push("BTC/USD", 0);
        (, debt,) = ReportLib.unpack(_state(collateralKey));
        assertEq(debt, owed);
        (status,,) = ReportLib.unpack(_state(key));
        assertEq(status, uint256(Status.OK));
        (status,,) = ReportLib.unpack(_state(last));
        assertEq(status, uint256(Status.UNAVAILABLE));
    }

    /// @dev Ether of a stranger comes before the dollars: worth nothing to a unit, it bears that unit of the debt.
    function test_class_S_dust_on_an_earlier_key_does_not_hide_the_health() public {
        _supplyOf("USDC", 300_000e6);
        lender.borrow(_keyOf(_token("DAI")), 200_000e18);
        _supplyAsStranger("WETH", 1e6);
        (uint256 low, uint256 high, uint256 debt, uint256 health) = _unpacked(collateralKey);
        assertEq(low, 0);
        assertEq(high, 0);
        assertEq(debt, 1, "at one end");
        assertEq(health, _health());
        (,,, health) = _unpacked(key);
        assertEq(health, _health());
    }

    function _state(bytes32 which) private view returns (uint256 state) {
        (,, state) = connector.report(which);
    }

    /// @dev What has no price of its own asset costs the width of the oracle's range, and no more.
    function testFuzz_class_N_borrowing_another_token_costs_the_oracles_range_at_most(uint256 amount) public {
        _pledge(COLLATERAL);
        (uint256 low, uint256 high,,) = _report();
        address dai = _token("DAI");
        amount = bound(amount, 1e18, 200_000e18);
        lender.borrow(_keyOf(dai), amount);
        assertEq(_balance(dai, address(this)), amount);
        (uint256 daiLow, uint256 daiHigh,) = IOracleRouter(router).value(dai, asset, amount);
        (uint256 lowNow, uint256 highNow,,) = _report();
        assertApproxEqAbs(lowNow + daiHigh, low, 2);
        assertApproxEqAbs(highNow + daiLow, high, 2);
    }

    function testFuzz_class_N_repaying_with_a_supply_changes_nothing(uint256 supplied, uint256 part) public {
        _pledge(COLLATERAL);
        supplied = bound(supplied, 100e6, 100_000e6);
        _supplyOf("USDC", supplied);
        lender.borrow(_keyOf(asset), 50_000e6);
        vm.warp(block.timestamp + 30 days);
        _refresh();
        (uint256 low, uint256 high,,) = _report();
        part = bound(part, 10, 200_000e6);
        uint256 owed = _owed();
        uint256 repaid = lender.repayWithATokens(_keyOf(asset), part < supplied ? part : EVERYTHING);
        assertApproxEqAbs(_owed() + repaid, owed, 1);
        (uint256 lowNow, uint256 highNow,,) = _report();
        assertApproxEqAbs(lowNow, low, 3);
        assertApproxEqAbs(highNow, high, 3);
        assertLe(lowNow, low, "no gain");
    }

    // COLLATERAL AND MODES

    function test_class_S_the_collateral_switch_keeps_to_the_floor() public {
        _pledge(COLLATERAL);
        _supplyOf("USDC", 100_000e6);
        lender.borrow(_keyOf(_token("DAI")), 240_000e18);
        vm.expectPartialRevert(LendingConnector.HealthBelowFloor.selector);
        lender.setCollateral(_keyOf(asset), false);
        _giveBack("DAI", 150_000e18);
        (uint256 low, uint256 high,, uint256 health) = _report();
        lender.setCollateral(_keyOf(asset), false);
        (uint256 lowOff, uint256 highOff,, uint256 healthOff) = _report();
        assertLt(healthOff, health);
        lender.setCollateral(_keyOf(asset), true);
        (uint256 lowOn, uint256 highOn,, uint256 healthOn) = _report();
        assertEq(healthOn, health);
        assertEq(lowOff, low);
        assertEq(highOff, high);
        assertEq(lowOn, low);
        assertEq(highOn, high);
    }

    /// @dev Somebody supplies a unit of a reserve that later loses its loan to value: while it is collateral,
    /// Aave lets no other go.
    function test_M_51_a_unit_of_worthless_collateral_cannot_block_the_exits() public {
        address token = _token("wstETH");
        deal(token, address(this), 1e4);
        assertTrue(IERC20(token).approve(address(pool), 1e4));
        pool.supply(token, 1e4, address(connector), 0);
        _pledge(COLLATERAL);
        lender.borrow(_keyOf(asset), 50_000e6);
        _configure("wstETH", 0, 8100, 10_600);
        vm.expectRevert(bytes4(keccak256("LtvValidationFailed()")));
        connector.withdraw(collateralKey, 1e18);
        lender.setCollateral(_keyOf(token), false);
        connector.withdraw(collateralKey, 1e18);
        vm.expectRevert(abi.encodeWithSelector(Connector.UnknownKey.selector, _keyOf(token)));
        lender.setCollateral(_keyOf(token), true);
    }

    // GIFTS

    function test_class_S_M_51_anyone_drops_a_gift_and_nothing_else() public {
        bytes32 gift = _keyOf(_token("wstETH"));
        _supplyAsStranger("wstETH", 1e18);
        _supplyAsStranger("DAI", 10_000e18);
        _pledge(COLLATERAL);
        lender.borrow(_keyOf(asset), 150_000e6);
        (uint256 low, uint256 high, uint256 debt, uint256 health) = _report();
        vm.startPrank(makeAddr("anyone"));
        lender.dropGift(gift);
        lender.dropGift(_keyOf(_token("DAI")));
        lender.dropGift(gift);
        vm.expectRevert(abi.encodeWithSelector(AaveV3Connector.NotAGift.selector, collateralKey));
        lender.dropGift(collateralKey);
        vm.stopPrank();
        (uint256 lowNow, uint256 highNow, uint256 debtNow, uint256 healthNow) = _report();
        assertEq(lowNow, low);
        assertEq(highNow, high);
        assertEq(debtNow, debt);
        assertLt(healthNow, health, "it was no security of the vault's own");
        assertApproxEqRel(healthNow, 2 * _threshold(), 1e9);
        // Given once more it stays what it is.
        _supplyAsStranger("wstETH", 1e18);
        assertEq(_health(), healthNow);
    }

    function test_class_S_a_gift_that_secures_a_debt_is_not_dropped_where_health_is_low() public {
        bytes32 gift = _keyOf(_token("DAI"));
        _supplyAsStranger("DAI", 100_000e18);
        _pledge(COLLATERAL);
        lender.borrow(_keyOf(asset), 240_000e6);
        assertGt(_health(), FLOOR);
        vm.expectPartialRevert(LendingConnector.HealthBelowFloor.selector);
        lender.dropGift(gift);
        _repay(60_000e6);
        lender.dropGift(gift);
        assertGt(_health(), FLOOR);
    }

    /// @dev Else a few dollars would stop what is most in need of a health that can be read.
    function test_class_S_below_the_floor_what_counts_for_little_is_dropped_all_the_same() public {
        bytes32 gift = _keyOf(_token("DAI"));
        _pledge(COLLATERAL);
        lender.borrow(_keyOf(asset), 150_000e6);
        _supplyAsStranger("DAI", 100e18);
        _fallTo(1.0002e18);
        vm.expectRevert(bytes4(keccak256("HealthFactorLowerThanLiquidationThreshold()")));
        lender.dropGift(gift);
        _fallTo(1.02e18);
        uint256 health = _health();
        assertLt(health, FLOOR);
        lender.dropGift(gift);
        assertLt(_health(), health);
    }

    function test_class_S_a_gift_without_a_price_is_dropped() public {
        _pledge(COLLATERAL);
        lender.borrow(_keyOf(asset), 50_000e6);
        uint256 health = _health();
        _supplyAsStranger("wstETH", 1e18);
        vm.etch(_feed("wstETH/USD", "proxy"), hex"fe");
        (,,, uint256 told) = _report();
        assertEq(told, 0, "Aave misses a price");
        lender.dropGift(_keyOf(_token("wstETH")));
        (,,, told) = _report();
        assertEq(told, health);
    }

    function test_class_N_S_an_efficiency_mode_moves_health_and_no_value() public {
        uint8 mode = _addEMode("WETH", "USDC", 9300, 9500);
        _pledge(COLLATERAL);
        lender.borrow(_keyOf(asset), 200_000e6);
        (uint256 low, uint256 high,, uint256 health) = _report();
        lender.setEMode(mode);
        (uint256 lowIn, uint256 highIn,, uint256 healthIn) = _report();
        assertEq(lowIn, low);
        assertEq(highIn, high);
        assertApproxEqRel(healthIn, health * 95 / 83, 1e12);
        lender.borrow(_keyOf(asset), 60_000e6);
        assertGt(_health(), FLOOR);
        // Without the mode it would be at 0.958: Aave itself says no. A little less, and only the floor does.
        vm.expectRevert(_insecure());
        lender.setEMode(0);
        _repay(20_000e6);
        vm.expectPartialRevert(LendingConnector.HealthBelowFloor.selector);
        lender.setEMode(0);
        vm.expectRevert(abi.encodeWithSelector(bytes4(keccak256("InconsistentEModeCategory()"))));
        lender.setEMode(77);
        _repay(60_000e6);
        lender.setEMode(0);
    }

    /// @dev The pool's own word reaches the caller.
    function test_class_E_isolation_mode_is_respected() public {
        _isolate("WBTC", 1_000_000);
        _supplyOf("WBTC", 10e8);
        bytes32 wbtc = _keyOf(_token("WBTC"));
        vm.expectRevert(bytes4(keccak256("LtvValidationFailed()")));
        lender.borrow(_keyOf(asset), 1_000e6);
        lender.setCollateral(wbtc, true);
        vm.expectRevert(bytes4(keccak256("AssetNotBorrowableInIsolation()")));
        lender.borrow(_keyOf(asset), 1_000e6);
        _borrowableInIsolation("USDC");
        lender.borrow(_keyOf(asset), 1_000e6);
        (,, uint256 debt, uint256 health) = _report();
        assertApproxEqAbs(debt, 1_000e6, 1);
        assertGt(health, FLOOR);
        _pledge(1e18);
        vm.expectRevert(bytes4(keccak256("UserInIsolationModeOrLtvZero()")));
        lender.setCollateral(collateralKey, true);
    }

    // WAYS OUT

    function test_class_E_M_59_an_exit_from_a_lent_out_reserve_takes_what_is_there() public {
        _supplyOf("USDC", 1_000_000e6);
        uint256 left = pool.getVirtualUnderlyingBalance(asset);
        _borrowAsStranger(left - 250_000e6);
        uint256 value = _value();
        assertEq(connector.withdraw(key, EVERYTHING), 250_000e6);
        assertApproxEqAbs(_value(), value - 250_000e6, 2, "the rest stays a position");
        vm.expectRevert(abi.encodeWithSelector(LendingConnector.Illiquid.selector, key));
        connector.withdraw(key, EVERYTHING);
    }

    /// @dev Aave would pay, and so does the connector.
    function test_class_E_what_secures_no_debt_leaves_while_aave_misses_a_price() public {
        _pledge(COLLATERAL);
        lender.borrow(_keyOf(_token("DAI")), 50_000e18);
        _supplyOf("USDC", 100_000e6);
        lender.setCollateral(key, false);
        _push("ETH/USD", 0);
        // Aave asks an oracle to fall back on, and there is none: that has no words.
        vm.expectRevert(bytes(""));
        connector.withdraw(collateralKey, 1);
        vm.expectRevert(bytes(""));
        lender.borrow(key, 1e6);
        vm.expectRevert(bytes(""));
        lender.setCollateral(collateralKey, false);
        assertEq(connector.withdraw(key, 40_000e6), 40_000e6);
        assertApproxEqAbs(connector.withdraw(key, EVERYTHING), 60_000e6, 2);
        _push("ETH/USD", 3000e8);
        vm.expectPartialRevert(LendingConnector.HealthBelowFloor.selector);
        connector.withdraw(collateralKey, 79.2e18);
    }

    function test_class_E_a_paused_reserve_says_so_and_a_frozen_one_lets_go() public {
        _pledge(COLLATERAL);
        (uint256 low, uint256 high,,) = _report();
        _pause("WETH", true);
        vm.expectRevert(bytes4(keccak256("ReservePaused()")));
        connector.withdraw(collateralKey, EVERYTHING);
        (uint256 lowPaused, uint256 highPaused,,) = _report();
        assertEq(lowPaused, low);
        assertEq(highPaused, high);
        _pause("WETH", false);
        _freeze("WETH");
        assertApproxEqAbs(connector.withdraw(collateralKey, EVERYTHING), COLLATERAL, 1);
    }

    // REFUSALS

    function test_class_E_what_is_not_borrowable_or_not_a_key_is_refused() public {
        bytes32 wbtc = _keyOf(_token("WBTC"));
        bytes memory refusal = abi.encodeWithSelector(LendingConnector.NotBorrowable.selector, wbtc);
        vm.expectRevert(refusal);
        lender.borrow(wbtc, 1);
        vm.expectRevert(refusal);
        lender.repay(wbtc, 1);
        bytes32 dai = _keyOf(_token("DAI"));
        vm.expectRevert(abi.encodeWithSelector(Connector.UnknownKey.selector, dai));
        lender.repayWithATokens(dai, 1);
        vm.expectRevert(Connector.ZeroAmount.selector);
        lender.repayWithATokens(_keyOf(asset), 0);
        assertEq(lender.repayWithATokens(_keyOf(asset), 1), 0, "no debt");
        vm.expectRevert(abi.encodeWithSelector(Connector.NotCollectable.selector, _aToken("WETH")));
        lender.collect(_aToken("WETH"));
    }

    function test_class_I_only_the_portfolio_touches_the_account() public {
        address stranger = makeAddr("stranger");
        bytes memory refusal = abi.encodeWithSelector(Connector.NotPortfolio.selector, stranger);
        vm.startPrank(stranger);
        vm.expectRevert(refusal);
        lender.setCollateral(key, false);
        vm.expectRevert(refusal);
        lender.setEMode(1);
        vm.expectRevert(refusal);
        lender.repayWithATokens(key, 1);
        vm.expectRevert(refusal);
        lender.claimRewards(asset);
    }

    function test_class_R_terms_that_cannot_be_kept_are_refused() public {
        AaveV3Connector.Terms memory terms;
        terms.minHealth = FLOOR;
        (terms.keys, terms.borrowable) = (new bytes32[](1), new bytes32[](2));
        terms.keys[0] = terms.borrowable[0] = terms.borrowable[1] = key;
        vm.expectRevert(abi.encodeWithSelector(Connector.DuplicateKey.selector, key));
        new AaveV3Connector(address(this), IAaveV3Pool(address(pool)), terms);
        terms.borrowable[1] = _keyOf(address(this));
        vm.expectRevert(abi.encodeWithSelector(Connector.InvalidKey.selector, terms.borrowable[1]));
        new AaveV3Connector(address(this), IAaveV3Pool(address(pool)), terms);
    }
}
