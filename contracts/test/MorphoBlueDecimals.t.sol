// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Connector} from "../src/connectors/Connector.sol";
import {LendingConnector} from "../src/connectors/LendingConnector.sol";
import {IMorphoBlue} from "../src/connectors/IMorphoBlue.sol";
import {MorphoBlueConnector} from "../src/connectors/MorphoBlueConnector.sol";
import {IOracleRouter} from "../src/interfaces/IOracleRouter.sol";
import {Status} from "../src/interfaces/Types.sol";
import {ReportLib} from "../src/libraries/ReportLib.sol";
import {PriceAggregator} from "../devnet/PriceAggregator.sol";
import {ConnectorFixture} from "./fixtures/ConnectorFixture.sol";
import {HookedToken, Token} from "./fixtures/Tokens.sol";
import {Id, IMorpho, MarketParams} from "@morpho-org/morpho-blue/src/interfaces/IMorpho.sol";
import {MarketParamsLib} from "@morpho-org/morpho-blue/src/libraries/MarketParamsLib.sol";
import {MorphoBalancesLib} from "@morpho-org/morpho-blue/src/libraries/periphery/MorphoBalancesLib.sol";
import {MorphoLib} from "@morpho-org/morpho-blue/src/libraries/periphery/MorphoLib.sol";

/// @dev A market's oracle that says what it is told to, or does something worse.
contract FickleOracle {
    enum Mood {
        HONEST,
        REVERTS,
        SILENT,
        BOMB,
        BURNS
    }

    uint256 private answer;
    Mood private mood;

    function set(uint256 answer_, Mood mood_) external {
        (answer, mood) = (answer_, mood_);
    }

    function price() external view returns (uint256) {
        require(mood != Mood.REVERTS, "no price");
        if (mood == Mood.SILENT) {
            assembly ("memory-safe") {
                return(0, 0)
            }
        }
        while (mood == Mood.BURNS) {}
        if (mood == Mood.BOMB) {
            assembly {
                revert(0, 1000000)
            }
        }
        return answer;
    }
}

/// @title Markets of tokens with 6, 8, 18 and 27 decimals, on the real Morpho Blue
/// @notice The collateral is worth 3,000 dollars and the loan token one, where a test does not say otherwise.
contract MorphoBlueDecimalsTest is ConnectorFixture {
    using MarketParamsLib for MarketParams;
    using MorphoBalancesLib for IMorpho;
    using MorphoLib for IMorpho;

    uint256 private constant FLOOR = 1.05e18;

    IMorpho private morpho;
    MorphoBlueConnector private lender;
    FickleOracle private oracleOf;
    Token private loan;
    Token private collateral;
    MarketParams private params;
    uint256 private price;
    PriceAggregator private loanFeed;
    PriceAggregator private collateralFeed;
    address private others = makeAddr("lender");
    address private whale = makeAddr("whale");

    /// @dev A market and what happens in it, before it is brought into what its tokens can hold.
    struct Story {
        uint256 decimals;
        uint256 loanPrice;
        uint256 collateralPrice;
        uint256 fee;
        uint256 lent;
        uint256 supplied;
        uint256 borrowed;
        uint256 pledged;
        uint256[4] moves;
        uint256[4] waits;
    }

    function setUp() public override {
        super.setUp();
        morpho = IMorpho(_address(".morpho.address"));
    }

    function _open(uint8 loanDecimals, uint8 collateralDecimals) private {
        _open(loanDecimals, collateralDecimals, 1e8, 3000e8);
        // A market of 27 decimals has room for 340,000 tokens: shares have six decimals more, in 128 bits.
        _lend(100_000 * 10 ** uint256(loanDecimals));
    }

    /// @dev Prices in dollars, with eight decimals.
    function _open(uint8 loanDecimals, uint8 collateralDecimals, uint256 loanPrice, uint256 collateralPrice)
        private
    {
        (loan, collateral) = (new Token("LOAN", loanDecimals), new Token("COLL", collateralDecimals));
        oracleOf = new FickleOracle();
        loanFeed = new PriceAggregator(8, "LOAN", address(this));
        collateralFeed = new PriceAggregator(8, "COLL", address(this));
        _setPrices(loanPrice, collateralPrice);
        params = MarketParams(
            address(loan), address(collateral), address(oracleOf), _address(".morpho.irm"), 0.86e18
        );
        morpho.createMarket(params);
        key = Id.unwrap(params.id());
        Priced[] memory priced = new Priced[](2);
        priced[0] = Priced(address(loan), address(loanFeed));
        priced[1] = Priced(address(collateral), address(collateralFeed));
        _price(priced);
        MorphoBlueConnector.Terms memory terms;
        (terms.keys, terms.borrowable, terms.minHealth) = (new bytes32[](0), new bytes32[](1), FLOOR);
        terms.borrowable[0] = key;
        lender = new MorphoBlueConnector(address(this), IMorphoBlue(address(morpho)), terms);
        connector = lender;
    }

    /// @dev The market's oracle and ours agree.
    function _setPrices(uint256 loanPrice, uint256 collateralPrice) private {
        price = collateralPrice * 10 ** (36 + uint256(loan.decimals()) - collateral.decimals()) / loanPrice;
        oracleOf.set(price, FickleOracle.Mood.HONEST);
        loanFeed.push(int256(loanPrice));
        collateralFeed.push(int256(collateralPrice));
        _push("USDC/USD", 1e8);
    }

    function _lend(uint256 assets) private {
        loan.mint(others, assets);
        vm.startPrank(others);
        loan.approve(address(morpho), assets);
        morpho.supply(params, assets, 0, others, "");
        vm.stopPrank();
    }

    function _decimals(uint256 seed) private pure returns (uint8) {
        uint8[4] memory decimals = [6, 8, 18, 27];
        return decimals[seed % 4];
    }

    /// @dev Ten of collateral and a thousandth to twenty thousand of loan.
    function _lever(uint256 amount, uint256 ownSupply) private {
        uint256 one = 10 ** uint256(loan.decimals());
        collateral.mint(address(connector), 10 * 10 ** uint256(collateral.decimals()));
        lender.supplyCollateral(key, 10 * 10 ** uint256(collateral.decimals()));
        lender.borrow(key, bound(amount, one / 1000, 20_000 * one));
        uint256 supplied = bound(ownSupply, one / 1000, 20_000 * one);
        loan.mint(address(connector), supplied);
        connector.supply(key, supplied);
    }

    /// @dev In any decimals, at prices from a cent to a hundred thousand dollars that move, whatever share of the
    /// market is ours, while others lend, borrow all there is, repay and leave, over up to 240 days.
    function testFuzz_class_U_V_the_report_is_what_a_full_exit_yields_in_any_market(Story memory story)
        public
    {
        _play(story);
        (uint256 low, uint256 high, uint256 state) = connector.report(key);
        (uint256 status, uint256 debt,) = ReportLib.unpack(state);
        assertEq(status, uint256(Status.OK));

        uint256 owed = morpho.expectedBorrowAssets(params, address(connector));
        if (owed != 0) {
            loan.mint(address(connector), owed);
            assertEq(lender.repay(key, EVERYTHING), owed);
        }
        uint256 supplied = _leaveMarket();
        uint256 pledged = lender.withdrawCollateral(key, EVERYTHING);
        assertEq(collateral.balanceOf(address(this)), pledged);
        (uint256 supplyLow, uint256 supplyHigh) = _worthOf(address(loan), supplied);
        (uint256 pledgeLow, uint256 pledgeHigh) = _worthOf(address(collateral), pledged);
        (uint256 owedLow, uint256 owedHigh) = _worthOf(address(loan), owed);
        assertEq(low, _lessOrNothing(supplyLow + pledgeLow, owedHigh));
        assertEq(high, _lessOrNothing(supplyHigh + pledgeHigh, owedLow));
        assertEq(debt, owedLow);
        (low, high,) = connector.report(key);
        assertEq(low + high, 0, "nothing is left");
    }

    /// @dev Where the market cannot pay, it pays what it has to the last unit, and the rest stays a position until
    /// somebody repays.
    /// @return supplied what the position was before
    function _leaveMarket() private returns (uint256 supplied) {
        supplied = morpho.expectedSupplyAssets(params, address(connector));
        uint256 before = loan.balanceOf(address(this));
        uint256 free = _free();
        if (supplied <= free) {
            assertEq(connector.withdraw(key, EVERYTHING), supplied);
            assertEq(loan.balanceOf(address(this)) - before, supplied);
            return supplied;
        }
        if (free == 0) {
            vm.expectRevert(abi.encodeWithSelector(LendingConnector.Illiquid.selector, key));
            connector.withdraw(key, EVERYTHING);
        } else {
            assertEq(connector.withdraw(key, EVERYTHING), free);
        }
        assertEq(loan.balanceOf(address(this)) - before, free);
        _repayAll(whale);
        uint256 rest = connector.withdraw(key, EVERYTHING);
        assertLe(free + rest, supplied, "no gain by leaving in two steps");
        assertApproxEqAbs(free + rest, supplied, 1);
    }

    /// @dev Morpho itself says where that is: it refuses to liquidate above.
    function testFuzz_class_U_H_17_health_is_one_where_liquidation_begins_in_any_market(Story memory story)
        public
    {
        _play(story);
        (,, uint256 state) = connector.report(key);
        (, uint256 debt, uint256 health) = ReportLib.unpack(state);
        // Less than a unit of the asset is no debt, and has no health.
        if (debt == 0) return assertEq(health, 0);
        loan.mint(address(this), 1e33);
        loan.approve(address(morpho), EVERYTHING);
        if (health >= 1e18) vm.expectRevert("position is healthy");
        morpho.liquidate(params, address(connector), 0, 1, "");
    }

    // A MARKET THAT LIVES

    function _play(Story memory story) private {
        uint256 loanPrice = bound(story.loanPrice, 1e6, 1e13);
        uint256 collateralPrice = bound(story.collateralPrice, 1e6, 1e13);
        _open(_decimals(story.decimals), _decimals(story.decimals / 4), loanPrice, collateralPrice);
        uint256 fee = bound(story.fee, 0, 0.25e18);
        vm.prank(morpho.owner());
        if (fee != 0) morpho.setFee(params, fee);
        uint256 most = _most(loanPrice, collateralPrice);
        _lend(bound(story.lent, 1, most));
        uint256 supplied = bound(story.supplied, 1, most);
        loan.mint(address(connector), supplied);
        connector.supply(key, supplied);
        uint256 borrowed = bound(story.borrowed, 1, _free());
        uint256 pledged = _pledge(borrowed + bound(story.pledged, 0, most));
        collateral.mint(address(connector), pledged);
        lender.supplyCollateral(key, pledged);
        lender.borrow(key, borrowed);
        assertEq(loan.balanceOf(address(this)), borrowed);
        for (uint256 i; i < 4; ++i) {
            _move(story.moves[i], most / 10 + 1);
            vm.warp(block.timestamp + bound(story.waits[i], 0, 60 days));
            loanPrice = loanPrice * bound(story.moves[i] >> 8, 50, 200) / 100;
            loanPrice = loanPrice < 1e6 ? 1e6 : loanPrice > 1e13 ? 1e13 : loanPrice;
            _setPrices(loanPrice, collateralPrice);
        }
    }

    /// @dev As many loan tokens as fit into 128 bits, in shares or as the collateral that a loan of them needs.
    function _most(uint256 loanPrice, uint256 collateralPrice) private view returns (uint256) {
        uint256 one = 10 ** uint256(loan.decimals());
        uint256 byCollateral = 1e7 * one * collateralPrice / loanPrice;
        return byCollateral < 30_000 * one ? byCollateral : 30_000 * one;
    }

    /// @dev Collateral for a debt, a third more than Morpho wants.
    function _pledge(uint256 assets) private view returns (uint256) {
        return (assets + 10) * 1.55e36 / price + 1;
    }

    /// @dev What somebody else does in the market.
    function _move(uint256 seed, uint256 most) private {
        morpho.accrueInterest(params);
        uint256 kind = seed % 6;
        uint256 amount = seed >> 16;
        uint256 free = _free();
        if (kind == 0) _lend(bound(amount, 1, most));
        if (kind == 1) _borrow(bound(amount, 0, free));
        if (kind == 2) _borrow(free);
        if (kind == 3) _repay(whale, amount);
        if (kind == 4) _repay(address(connector), amount);
        if (kind == 5) {
            uint256 lent = morpho.expectedSupplyAssets(params, others);
            amount = bound(amount, 0, lent < free ? lent : free);
            vm.prank(others);
            if (amount != 0) morpho.withdraw(params, amount, 0, others, others);
        }
    }

    function _borrow(uint256 assets) private {
        if (assets == 0) return;
        uint256 pledged = _pledge(assets);
        // What is owed already may have outgrown its collateral.
        pledged += _pledge(morpho.expectedBorrowAssets(params, whale));
        collateral.mint(whale, pledged);
        vm.startPrank(whale);
        collateral.approve(address(morpho), pledged);
        morpho.supplyCollateral(params, pledged, whale, "");
        morpho.borrow(params, assets, 0, whale, whale);
        vm.stopPrank();
    }

    /// @dev Up to nearly all: rounding could make the whole more than there is.
    function _repay(address borrower, uint256 amount) private {
        uint256 owed = morpho.expectedBorrowAssets(params, borrower);
        amount = bound(amount, 0, owed < 2 ? 0 : owed - 2);
        if (amount == 0) return;
        loan.mint(address(this), amount);
        loan.approve(address(morpho), amount);
        morpho.repay(params, amount, 0, borrower, "");
    }

    function _repayAll(address borrower) private {
        uint256 owed = morpho.expectedBorrowAssets(params, borrower);
        loan.mint(address(this), owed);
        loan.approve(address(morpho), owed);
        morpho.repay(params, 0, morpho.borrowShares(params.id(), borrower), borrower, "");
    }

    /// @dev What is not lent out.
    function _free() private view returns (uint256) {
        (uint256 supplied,, uint256 borrowed,) = morpho.expectedMarketBalances(params);
        return supplied - borrowed;
    }

    function _lessOrNothing(uint256 one, uint256 other) private pure returns (uint256) {
        return one > other ? one - other : 0;
    }

    function testFuzz_class_U_H_17_M_17_health_does_not_depend_on_decimals(uint256 seed) public {
        _open(_decimals(seed), _decimals(seed / 4));
        uint256 one = 10 ** uint256(loan.decimals());
        _lever(10_000 * one, one);
        (,, uint256 state) = connector.report(key);
        (,, uint256 health) = ReportLib.unpack(state);
        // 30,000 dollars at 86 % against 10,000.
        assertApproxEqRel(health, 2.58e18, 1e12);
    }

    // A TOKEN THAT CALLS BACK

    /// @dev Whatever is called in the middle of a transfer comes from a stranger.
    function test_class_N_class_I_a_token_that_calls_back_moves_nothing() public {
        _open(6, 18);
        HookedToken hooked = new HookedToken();
        // It has no price: a portfolio that gives more than any takes.
        REPORT_GAS = 1_000_000;
        params.collateralToken = address(hooked);
        morpho.createMarket(params);
        key = Id.unwrap(params.id());
        MorphoBlueConnector.Terms memory terms;
        (terms.keys, terms.borrowable, terms.minHealth) = (new bytes32[](0), new bytes32[](1), FLOOR);
        terms.borrowable[0] = key;
        lender = new MorphoBlueConnector(address(this), IMorphoBlue(address(morpho)), terms);
        hooked.mint(address(lender), 3e18);
        bytes[4] memory calls = [
            abi.encodeCall(lender.withdrawCollateral, (key, EVERYTHING)),
            abi.encodeCall(lender.borrow, (key, 1)),
            abi.encodeCall(lender.collect, (address(hooked))),
            abi.encodeCall(lender.supplyCollateral, (key, 1))
        ];
        for (uint256 i = 0; i < calls.length; i++) {
            hooked.hook(address(lender), calls[i]);
            lender.supplyCollateral(key, 5e17);
            assertFalse(hooked.succeeded());
            assertEq(
                hooked.answer(), abi.encodeWithSelector(Connector.NotPortfolio.selector, address(hooked))
            );
        }
        hooked.hook(address(0), "");
        assertEq(lender.withdrawCollateral(key, EVERYTHING), 2e18);
        assertEq(lender.collect(address(hooked)), 1e18);
    }

    function _worthOf(address token, uint256 amount) private view returns (uint256 low, uint256 high) {
        (low, high,) = IOracleRouter(router).value(token, asset, amount);
    }

    // AN ORACLE THAT MISBEHAVES

    function test_class_V_M_15_a_market_whose_oracle_fails_still_has_a_value() public {
        _open(6, 18);
        _lever(10_000e6, 1e6);
        _expectValueWithoutHealth(FickleOracle.Mood.REVERTS, type(uint256).max);
        // Paying and what needs no price go on; what needs one says so.
        loan.mint(address(connector), 5_000e6);
        assertEq(lender.repay(key, 5_000e6), 5_000e6);
        assertGt(connector.withdraw(key, EVERYTHING), 0);
        vm.expectRevert("no price");
        lender.withdrawCollateral(key, 1);
        oracleOf.set(price, FickleOracle.Mood.HONEST);
        lender.withdrawCollateral(key, 1);
    }

    function test_class_V_M_15_a_market_whose_oracle_bombs_has_a_value_within_its_gas() public {
        _open(6, 18);
        _lever(10_000e6, 1e6);
        _expectValueWithoutHealth(FickleOracle.Mood.REVERTS, REPORT_GAS);
        _expectValueWithoutHealth(FickleOracle.Mood.BOMB, REPORT_GAS);
    }

    function test_class_V_M_15_a_market_whose_oracle_burns_its_gas_has_a_value_within_its_gas() public {
        _open(6, 18);
        _lever(10_000e6, 1e6);
        skip(1 hours);
        _expectValueWithoutHealth(FickleOracle.Mood.BURNS, REPORT_GAS);
    }

    /// @dev Whatever is left when the oracle is asked, also by a transaction that has not met it before: each call is
    /// one here.
    /// forge-config: default.isolate = true
    function test_class_V_M_15_what_an_oracle_burns_is_not_missing_within_its_gas() public {
        _open(6, 18);
        _lever(10_000e6, 1e6);
        loan.mint(address(connector), 1e6);
        connector.supply(key, 1e6);
        skip(1 hours);
        uint256 used = gasleft();
        connector.report(key);
        used -= gasleft();
        for (uint256 more = 5_000; more < 160_000; more += 5_000) {
            _expectValueWithoutHealth(FickleOracle.Mood.BURNS, used + more);
        }
    }

    // WHAT A REPORT MAY TAKE

    function test_class_V_a_market_whose_oracle_takes_too_much_is_refused() public {
        _open(6, 18);
        MorphoBlueConnector.Terms memory terms;
        (terms.borrowable, terms.minHealth) = (new bytes32[](1), FLOOR);
        terms.borrowable[0] = key;
        oracleOf.set(price, FickleOracle.Mood.BURNS);
        vm.expectPartialRevert(Connector.ReportTooDear.selector);
        new MorphoBlueConnector(address(this), IMorphoBlue(address(morpho)), terms);
        // What is only supplied never asks it.
        (terms.keys, terms.borrowable) = (terms.borrowable, new bytes32[](0));
        new MorphoBlueConnector(address(this), IMorphoBlue(address(morpho)), terms);
    }

    function test_class_V_a_market_is_accepted_whose_report_stays_within_its_gas_to_the_unit() public {
        _open(6, 18);
        MorphoBlueConnector.Terms memory terms;
        (terms.borrowable, terms.minHealth) = (new bytes32[](1), FLOOR);
        terms.borrowable[0] = key;
        uint256 needed = 42_000 + 300 + 75_000 + 60_000 + 50_000;
        REPORT_GAS = needed - 1;
        vm.expectRevert(abi.encodeWithSelector(Connector.ReportTooDear.selector, needed, REPORT_GAS));
        new MorphoBlueConnector(address(this), IMorphoBlue(address(morpho)), terms);
        REPORT_GAS = needed;
        new MorphoBlueConnector(address(this), IMorphoBlue(address(morpho)), terms);
        (terms.keys, terms.borrowable) = (terms.borrowable, new bytes32[](0));
        REPORT_GAS = 42_000 + 300 + 75_000;
        new MorphoBlueConnector(address(this), IMorphoBlue(address(morpho)), terms);
        --REPORT_GAS;
        vm.expectPartialRevert(Connector.ReportTooDear.selector);
        new MorphoBlueConnector(address(this), IMorphoBlue(address(morpho)), terms);
    }

    function _expectValueWithoutHealth(FickleOracle.Mood mood, uint256 gas) private {
        oracleOf.set(price, FickleOracle.Mood.HONEST);
        (uint256 low, uint256 high, uint256 state) = connector.report(key);
        oracleOf.set(price, mood);
        (uint256 lowNow, uint256 highNow, uint256 stateNow) = connector.report{gas: gas}(key);
        assertEq(lowNow, low);
        assertEq(highNow, high);
        (, uint256 debt,) = ReportLib.unpack(state);
        (uint256 status, uint256 debtNow, uint256 health) = ReportLib.unpack(stateNow);
        assertEq(status, uint256(Status.OK));
        assertEq(debtNow, debt);
        assertEq(health, 0, "the worst there is");
    }

    // A PROTOCOL THAT MISBEHAVES

    /// @dev It is no value at all, so that the portfolio counts the position as impaired.
    function test_class_V_a_rate_model_or_a_morpho_that_fails_or_says_nothing_has_no_value() public {
        _open(6, 18);
        _lever(10_000e6, 1e6);
        skip(1 hours);
        bytes[2] memory broken = [bytes(hex"60006000fd"), bytes(hex"00")];
        for (uint256 i = 0; i < broken.length; i++) {
            address[2] memory parts = [params.irm, address(morpho)];
            for (uint256 j = 0; j < parts.length; j++) {
                bytes memory code = parts[j].code;
                vm.etch(parts[j], broken[i]);
                (bool success, bytes memory reason) =
                    address(connector).staticcall(abi.encodeCall(connector.report, (key)));
                assertFalse(success, "a value of nothing that was said");
                assertEq(reason, "");
                vm.etch(parts[j], code);
            }
        }
        connector.report(key);
    }

    function test_class_N_a_morpho_that_does_not_take_what_it_is_given_is_refused() public {
        _open(6, 18);
        _lever(10_000e6, 1e6);
        loan.mint(address(connector), 1_000e6);
        collateral.mint(address(connector), 1e18);
        bytes memory said = abi.encode(1_000e6, 1_000e12);
        vm.mockCall(address(morpho), abi.encodeWithSelector(IMorphoBlue.supply.selector), said);
        vm.expectRevert(abi.encodeWithSelector(Connector.SlippageExceeded.selector, 1_000e6, 0));
        connector.supply(key, 1_000e6);
        vm.mockCall(address(morpho), abi.encodeWithSelector(IMorphoBlue.repay.selector), said);
        vm.expectRevert(abi.encodeWithSelector(Connector.SlippageExceeded.selector, 1_000e6, 0));
        lender.repay(key, 1_000e6);
        vm.mockCall(address(morpho), abi.encodeWithSelector(IMorphoBlue.supplyCollateral.selector), "");
        vm.expectRevert(abi.encodeWithSelector(Connector.SlippageExceeded.selector, 1e18, 0));
        lender.supplyCollateral(key, 1e18);
    }

    function test_nothing_is_no_collateral() public {
        _open(6, 18);
        vm.expectRevert(Connector.ZeroAmount.selector);
        lender.supplyCollateral(key, 0);
        vm.expectRevert(Connector.ZeroAmount.selector);
        lender.withdrawCollateral(key, 0);
    }

    function test_class_S_an_oracle_that_soars_or_falls_saturates() public {
        _open(6, 18);
        _lever(10_000e6, 1e6);
        oracleOf.set(type(uint256).max, FickleOracle.Mood.HONEST);
        (,, uint256 state) = connector.report(key);
        (,, uint256 health) = ReportLib.unpack(state);
        assertEq(health, type(uint128).max);
        oracleOf.set(0, FickleOracle.Mood.HONEST);
        (,, state) = connector.report(key);
        (,, health) = ReportLib.unpack(state);
        assertEq(health, 0);
        vm.expectRevert("insufficient collateral");
        lender.withdrawCollateral(key, 1);
    }

    /// @dev Just above the floor by the market's oracle, whatever ours says.
    function test_class_S_the_floor_is_kept_by_the_price_that_liquidates() public {
        _open(18, 8);
        _lever(20_000e18, 1e18);
        oracleOf.set(price * 813 / 1000, FickleOracle.Mood.HONEST);
        vm.expectPartialRevert(LendingConnector.HealthBelowFloor.selector);
        lender.borrow(key, 1e15);
        oracleOf.set(price * 815 / 1000, FickleOracle.Mood.HONEST);
        lender.borrow(key, 1e15);
    }
}
