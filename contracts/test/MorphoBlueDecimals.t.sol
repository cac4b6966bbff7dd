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

/// @dev A market's oracle that says what it is told to, or does something worse.
contract FickleOracle {
    enum Mood {
        HONEST,
        REVERTS,
        SILENT,
        BOMB
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
        if (mood == Mood.BOMB) {
            assembly {
                revert(0, 1000000)
            }
        }
        return answer;
    }
}

/// @title Markets of tokens with 6, 8, 18 and 27 decimals, on the real Morpho Blue
/// @notice The collateral is worth 3,000 dollars, the loan token one.
contract MorphoBlueDecimalsTest is ConnectorFixture {
    using MarketParamsLib for MarketParams;
    using MorphoBalancesLib for IMorpho;

    uint256 private constant FLOOR = 1.05e18;

    IMorpho private morpho;
    MorphoBlueConnector private lender;
    FickleOracle private oracleOf;
    Token private loan;
    Token private collateral;
    MarketParams private params;
    uint256 private price;

    function setUp() public override {
        super.setUp();
        morpho = IMorpho(_address(".morpho.address"));
    }

    function _open(uint8 loanDecimals, uint8 collateralDecimals) private {
        (loan, collateral) = (new Token("LOAN", loanDecimals), new Token("COLL", collateralDecimals));
        oracleOf = new FickleOracle();
        price = 3000 * 10 ** (36 + uint256(loanDecimals) - collateralDecimals);
        oracleOf.set(price, FickleOracle.Mood.HONEST);
        params = MarketParams(
            address(loan), address(collateral), address(oracleOf), _address(".morpho.irm"), 0.86e18
        );
        morpho.createMarket(params);
        key = Id.unwrap(params.id());
        Priced[] memory priced = new Priced[](2);
        (priced[0], priced[1]) = (_feedOf(address(loan), 1e8), _feedOf(address(collateral), 3000e8));
        _price(priced);
        MorphoBlueConnector.Terms memory terms;
        (terms.keys, terms.borrowable, terms.minHealth) = (new bytes32[](0), new bytes32[](1), FLOOR);
        terms.borrowable[0] = key;
        lender = new MorphoBlueConnector(address(this), IMorphoBlue(address(morpho)), terms);
        connector = lender;

        // A market of 27 decimals has room for 340,000 tokens: shares have six decimals more, in 128 bits.
        uint256 liquidity = 100_000 * 10 ** uint256(loanDecimals);
        loan.mint(address(this), liquidity);
        loan.approve(address(morpho), liquidity);
        morpho.supply(params, liquidity, 0, makeAddr("lender"), "");
    }

    function _feedOf(address token, int256 answer) private returns (Priced memory) {
        PriceAggregator feed = new PriceAggregator(8, "PRICE", address(this));
        feed.push(answer);
        return Priced(token, address(feed));
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

    function testFuzz_class_U_V_the_report_is_what_a_full_exit_yields_in_any_decimals(
        uint256 seed,
        uint256 amount,
        uint256 ownSupply,
        uint256 time
    ) public {
        _open(_decimals(seed), _decimals(seed / 4));
        _lever(amount, ownSupply);
        vm.warp(block.timestamp + bound(time, 0, 12 hours));
        (uint256 low, uint256 high, uint256 state) = connector.report(key);
        (uint256 status, uint256 debt,) = ReportLib.unpack(state);
        assertEq(status, uint256(Status.OK));

        uint256 owed = morpho.expectedBorrowAssets(params, address(connector));
        loan.mint(address(connector), owed);
        assertEq(lender.repay(key, owed), owed);
        uint256 supplied = connector.withdraw(key, EVERYTHING);
        uint256 pledged = lender.withdrawCollateral(key, EVERYTHING);
        (uint256 supplyLow, uint256 supplyHigh) = _worthOf(address(loan), supplied);
        (uint256 pledgeLow, uint256 pledgeHigh) = _worthOf(address(collateral), pledged);
        (uint256 owedLow, uint256 owedHigh) = _worthOf(address(loan), owed);
        assertApproxEqAbs(low + owedHigh, supplyLow + pledgeLow, 2);
        assertApproxEqAbs(high + owedLow, supplyHigh + pledgeHigh, 2);
        assertEq(debt, owedLow);
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
        vm.expectRevert();
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
                vm.expectRevert();
                connector.report(key);
                vm.etch(parts[j], code);
            }
        }
        connector.report(key);
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
        vm.expectRevert();
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
