// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {Connector} from "../src/connectors/Connector.sol";
import {UniswapV3Connector} from "../src/connectors/UniswapV3Connector.sol";
import {INonfungiblePositionManager} from "../src/interfaces/IUniswapV3Liquidity.sol";
import {Status} from "../src/interfaces/Types.sol";
import {LiquidityMath} from "../src/libraries/LiquidityMath.sol";
import {TickMath} from "../src/oracle/TickMath.sol";
import {SetPrices, UniswapV3Test} from "./UniswapV3Test.sol";

/// @notice What liquidity is worth, for tokens of 6, 8, 18 and 27 decimals in either order, below, inside and above
/// the pool's price and over all prices, after real swaps.
contract UniswapV3ValueTest is UniswapV3Test {
    // THE REPORT IS THE EXIT

    /// @dev Three NFTs round down twice each: what they hold and what they are owed.
    function testFuzz_class_V_the_report_is_what_a_full_exit_yields(uint256 seed) public {
        uint128 unit = _openAny(seed);
        _enterAnywhere(seed, unit);
        _trade(seed);
        uint256 spot = _spot();
        _priceAt(spot, spot);
        (uint256 low, uint256 high) = _report();
        uint256 worth = _exit(spot);
        uint256 rounding = 10 * _units(spot) + worth / 1e18;
        assertGe(worth + rounding, low);
        assertLe(worth, low + rounding);
        assertLe(worth, high + rounding);
        assertLe(high, low + rounding, "one price is no range");
        (low, high) = _report();
        assertEq(high, 0, "nothing is left");
    }

    function testFuzz_class_V_an_exit_at_any_price_of_the_range_lies_between_low_and_high(
        uint256 seed,
        uint256 below,
        uint256 above
    ) public {
        uint128 unit = _openAny(seed);
        _enterAnywhere(seed, unit);
        _trade(seed);
        uint256 spot = _spot();
        // Up to a fifth either way, and now and then nothing: the pool then stands at the end of the range.
        uint256 lowest = spot - spot * (bound(below, 0, 25) * 4 / 5) / 100;
        uint256 highest = spot + spot * (bound(above, 0, 25) * 4 / 5) / 100;
        _priceAt(lowest, highest);
        (uint256 low, uint256 high) = _report();
        uint256 worth = _exit(spot);
        uint256 rounding = 10 * _units(spot) + worth / 1e18;
        assertLe(low, worth + rounding);
        assertLe(worth, high + rounding);
    }

    /// @dev What others value the NFTs from is what the protocol has stored of them.
    function testFuzz_class_V_the_stored_state_is_the_protocols_own(uint256 seed) public {
        uint128 unit = _openAny(seed);
        _enterAnywhere(seed, unit);
        _trade(seed);
        UniswapV3Connector.Stored[] memory nfts = connector.stored(key);
        assertEq(nfts.length, 3);
        connector.decrease(nfts[2].tokenId, ALL, 1, 1);
        nfts = connector.stored(key);
        for (uint256 i = 0; i < 3; i++) {
            _checkStored(nfts[i], i == 2);
        }
        connector.withdraw(key, EVERYTHING);
        assertEq(connector.stored(key).length, 0);
        vm.expectRevert(abi.encodeWithSelector(Connector.UnknownKey.selector, bytes32(uint256(1))));
        connector.stored(bytes32(uint256(1)));
    }

    function _checkStored(UniswapV3Connector.Stored memory nft, bool emptied) private view {
        INonfungiblePositionManager.Minted memory minted = positionManager.positions(nft.tokenId);
        assertEq(nft.liquidity == 0, emptied);
        assertEq(nft.liquidity, minted.liquidity);
        assertEq(nft.tickLower, minted.tickLower);
        assertEq(nft.tickUpper, minted.tickUpper);
        assertEq(nft.insideLast[0], minted.feeGrowthInside0LastX128);
        assertEq(nft.insideLast[1], minted.feeGrowthInside1LastX128);
        assertEq(nft.owed[0], minted.tokensOwed0);
        assertEq(nft.owed[1], minted.tokensOwed1);
        uint256[8] memory words = _tickWords(nft.tickLower);
        assertEq(nft.outsideLower[0], emptied ? 0 : words[2]);
        assertEq(nft.outsideLower[1], emptied ? 0 : words[3]);
        words = _tickWords(nft.tickUpper);
        assertEq(nft.outsideUpper[0], emptied ? 0 : words[2]);
        assertEq(nft.outsideUpper[1], emptied ? 0 : words[3]);
        bytes32 range = keccak256(abi.encodePacked(address(positionManager), nft.tickLower, nft.tickUpper));
        (uint128 liquidity, uint256 last0, uint256 last1, uint128 owed0, uint128 owed1) =
            pool.positions(range);
        assertEq(nft.rangeLiquidity, liquidity);
        assertEq(nft.rangeInsideLast[0], last0);
        assertEq(nft.rangeInsideLast[1], last1);
        assertEq(nft.rangeOwed[0], owed0);
        assertEq(nft.rangeOwed[1], owed1);
    }

    function _tickWords(int24 tick) private view returns (uint256[8] memory) {
        (bool success, bytes memory data) = address(pool).staticcall(abi.encodeCall(pool.ticks, (tick)));
        assertTrue(success);
        return abi.decode(data, (uint256[8]));
    }

    /// @dev The reason why an exit needs no guard.
    function testFuzz_M_38_an_exit_loses_nothing_wherever_the_pool_was_moved(uint256 seed, int24 away)
        public
    {
        uint128 unit = _openAny(seed);
        _enterAnywhere(seed, unit);
        uint256 fair = _spot();
        _priceAt(fair * 99 / 100, fair * 101 / 100);
        (, int24 tick,,,,,) = pool.slot0();
        _swapTo(TickMath.sqrtPriceX96(tick + int24(bound(away, -30_000, 30_000))));
        (uint256 low,) = _report();
        uint256 lowest = fair * 99 / 100;
        uint256 worth = _exit(asset == token1 ? lowest : fair * 101 / 100);
        assertGe(worth + 10 * _units(lowest) + worth / 1e18, low);
    }

    // PRICE ATTACKS

    /// @dev Valued where the pool stands, the same liquidity would follow whoever moves it.
    function test_M_48_moving_the_pool_does_not_move_the_report() public {
        _open(18, 6, false, LiquidityMath.rootOf(3000e6, 1e18));
        uint256 fair = _spot();
        _enter(_tick(-50), _tick(50), 1e15);
        uint256 naive = _naive(fair);
        (uint256 low, uint256 high) = _report();
        uint256[4] memory moves = [fair * 12 / 10, fair, fair / 2, fair];
        uint256 most;
        uint256 least = type(uint256).max;
        for (uint256 i = 0; i < 4; i++) {
            _swapTo(moves[i]);
            most = Math.max(most, _naive(_spot()));
            least = Math.min(least, _naive(_spot()));
            (uint256 lowNow, uint256 highNow) = _report();
            emit log_named_uint("report, low                  ", lowNow);
            emit log_named_uint("valued at the pool's own price", _naive(_spot()));
            // Fees are real: 0.3 % of what was traded, at most all of it once a move.
            assertGe(lowNow, low);
            assertLe(highNow, high + high * 3 * (i + 1) / 1000);
        }
        assertGt(most, naive * 105 / 100, "the attack must bite");
        assertLt(least, naive / 2, "the attack must bite");
    }

    function _naive(uint256 root) private view returns (uint256) {
        (,, uint64[] memory ids) = connector.holdings(key);
        INonfungiblePositionManager.Minted memory minted = positionManager.positions(ids[0]);
        (uint256 amount0, uint256 amount1) = LiquidityMath.amounts(
            root,
            TickMath.sqrtPriceX96(minted.tickLower),
            TickMath.sqrtPriceX96(minted.tickUpper),
            minted.liquidity,
            Math.Rounding.Floor
        );
        return _worth(token0, amount0, root) + amount1;
    }

    function testFuzz_M_48_the_report_moves_by_fees_alone(uint256 seed, int24 away) public {
        uint128 unit = _openAny(seed);
        _enterAnywhere(seed, unit);
        uint256 fair = _spot();
        _priceAt(fair * 99 / 100, fair * 101 / 100);
        (uint256 low, uint256 high) = _report();
        (, int24 tick,,,,,) = pool.slot0();
        _swapTo(TickMath.sqrtPriceX96(tick + int24(bound(away, -30_000, 30_000))));
        (uint256 fees0, uint256 fees1) = _collected();
        (uint256 lowAfter, uint256 highAfter) = _report();
        uint256 rounding = 10 * _units(fair);
        assertGe(lowAfter + rounding, low);
        assertGe(highAfter + rounding, high);
        uint256 upper0 = asset == token1 ? fair * 101 / 100 : fair * 99 / 100;
        uint256 fees = _worth(token0, fees0, upper0) + _worth(token1, fees1, upper0);
        assertApproxEqAbs(highAfter, high + fees, rounding + fees / 1e6);
    }

    function _collected() private returns (uint256 fees0, uint256 fees1) {
        (uint256 before0, uint256 before1, uint64[] memory ids) = connector.holdings(key);
        for (uint256 i = 0; i < ids.length; i++) {
            connector.collectFees(ids[i]);
        }
        (fees0, fees1,) = connector.holdings(key);
        (fees0, fees1) = (fees0 - before0, fees1 - before1);
    }

    // WHOSE LIQUIDITY

    function test_H_20_liquidity_of_others_in_the_same_range_does_not_count() public {
        _open(18, 6, false, LiquidityMath.rootOf(3000e6, 1e18));
        _enter(_tick(-50), _tick(50), 1e15);
        (uint256 low, uint256 high) = _report();
        _mintElsewhere(_tick(-50), _tick(50), 1e18);
        (uint256 lowAfter, uint256 highAfter) = _report();
        assertEq(lowAfter, low);
        assertEq(highAfter, high);
        _trade(1);
        _priceAt(_spot(), _spot());
        uint256 report = _low();
        assertApproxEqAbs(_exit(_spot()), report, 10 * _units(_spot()), "nor do their fees");
    }

    function test_H_20_an_nft_that_a_stranger_sends_counts_nothing_and_blocks_nothing() public {
        _open(18, 6, false, LiquidityMath.rootOf(3000e6, 1e18));
        _enter(_tick(-50), _tick(50), 1e15);
        uint256 low = _low();
        for (uint256 i = 0; i < 5; i++) {
            uint256 tokenId = _mintElsewhere(_tick(-50), _tick(50), 1e16);
            vm.prank(stranger);
            positionManager.transferFrom(stranger, address(connector), tokenId);
        }
        assertEq(_low(), low);
        _enter(_tick(-10), _tick(10), 1e15);
        (,, uint64[] memory ids) = connector.holdings(key);
        assertEq(ids.length, 2);
        _exit(_spot());
        assertEq(_low(), 0);
        assertEq(positionManager.balanceOf(address(connector)), 5, "theirs, and of no consequence");
    }

    /// @dev A gift is yield; it must not keep anything from being left.
    function test_M_40_liquidity_that_a_stranger_adds_leaves_with_the_rest() public {
        _open(18, 6, false, LiquidityMath.rootOf(3000e6, 1e18));
        uint256 tokenId = _enter(_tick(-50), _tick(50), 1e15);
        uint256 low = _low();
        _fund(stranger, token0, 1e15, address(positionManager));
        _fund(stranger, token1, 1e15, address(positionManager));
        vm.prank(stranger);
        positionManager.increaseLiquidity(
            INonfungiblePositionManager.IncreaseLiquidityParams(tokenId, 1e12, 1e12, 0, 0, block.timestamp)
        );
        assertGt(_low(), low);
        low = _low();
        assertApproxEqAbs(_exit(_spot()), low, 10 * _units(_spot()));
        (,, uint64[] memory ids) = connector.holdings(key);
        assertEq(ids.length, 0);
    }

    // ANY PRICE

    function testFuzz_class_V_no_price_makes_the_report_revert(
        uint256 seed,
        uint128 numerator,
        uint128 denominator,
        uint128 ratio
    ) public {
        _enterAnywhere(seed, _openAny(seed));
        SetPrices.Answer memory answer;
        // Within what a router can say: 2^144 units must be worth less than 2^256.
        answer.lowNumerator = Math.max(1, bound(numerator, 0, type(uint104).max) >> seed % 104);
        answer.lowDenominator = bound(denominator, 1, type(uint104).max);
        answer.highNumerator = answer.lowNumerator + bound(ratio, 0, answer.lowNumerator);
        answer.highDenominator = answer.lowDenominator;
        prices.set(asset == token0 ? token1 : token0, answer);
        (uint256 low, uint256 high) = _report();
        assertLe(low, high);
        assertGt(high, 0);
    }

    // STATUS

    function test_M_07_the_report_says_what_its_prices_say() public {
        _open(18, 6, false, LiquidityMath.rootOf(3000e6, 1e18));
        _enter(_tick(-50), _tick(50), 1e15);
        for (uint256 i = 0; i < uint256(Status.UNAVAILABLE); i++) {
            prices.setStatus(token0, Status(i));
            (uint256 low,, uint256 state) = connector.report(key);
            assertEq(state, i);
            assertGt(low, 0);
        }
        prices.setStatus(token0, Status.UNAVAILABLE);
        (uint256 floor, uint256 ceiling, uint256 none) = connector.report(key);
        assertEq(none, uint256(Status.UNAVAILABLE));
        assertEq(floor, 0);
        assertEq(ceiling, type(uint256).max);
    }

    function test_what_needs_no_price_is_worth_what_it_is() public {
        _open(18, 6, false, LiquidityMath.rootOf(3000e6, 1e18));
        prices.setStatus(token0, Status.UNAVAILABLE);
        (uint256 low, uint256 high) = _report();
        assertEq(high, 0);
        _hold(asset, 5e6);
        (low, high) = _report();
        assertEq(low, 5e6);
        assertEq(high, 5e6);
    }

    /// @dev Against whoever would be paid by it: a unit of ether is less than one of dollars, and may be one.
    function test_class_E_part_of_a_unit_is_none_at_the_low_end_and_one_at_the_high() public {
        _open(18, 6, false, LiquidityMath.rootOf(3000e6, 1e18));
        _hold(token0, 1);
        (uint256 low, uint256 high) = _report();
        assertEq(low, 0);
        assertEq(high, 1);
    }
}
