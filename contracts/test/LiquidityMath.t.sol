// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {ILiquidityPool, INonfungiblePositionManager} from "../src/interfaces/IUniswapV3Liquidity.sol";
import {LiquidityMath} from "../src/libraries/LiquidityMath.sol";
import {TickMath} from "../src/oracle/TickMath.sol";
import {UniswapV3Test} from "./UniswapV3Test.sol";

interface IPoolActions is ILiquidityPool {
    function mint(address recipient, int24 lower, int24 upper, uint128 amount, bytes calldata data)
        external
        returns (uint256 amount0, uint256 amount1);
    function burn(int24 lower, int24 upper, uint128 amount)
        external
        returns (uint256 amount0, uint256 amount1);
}

/// @notice Against the deployed pool itself: what it asks for, what it pays, what the position manager accounts.
contract LiquidityMathTest is UniswapV3Test {
    uint256 private constant LEAST = LiquidityMath.MIN_ROOT;
    uint256 private constant MOST = LiquidityMath.MAX_ROOT;

    function uniswapV3MintCallback(uint256 amount0, uint256 amount1, bytes calldata) external {
        deal(token0, msg.sender, _balance(token0, msg.sender) + amount0);
        deal(token1, msg.sender, _balance(token1, msg.sender) + amount1);
    }

    function testFuzz_M_60_amounts_are_what_the_pool_asks_for_and_pays(
        uint256 root,
        int24 one,
        int24 other,
        uint128 liquidity
    ) public {
        _open(18, 6, false, _anyRoot(root));
        (int24 lower, int24 upper) = _anyRange(one, other);
        // The pool's own limit per tick, so that both ends take it.
        liquidity = uint128(bound(liquidity, 1, 1e34));
        (uint256 asked0, uint256 asked1) =
            IPoolActions(address(pool)).mint(address(this), lower, upper, liquidity, "");
        (uint256 paid0, uint256 paid1) = IPoolActions(address(pool)).burn(lower, upper, liquidity);

        (uint256 from, uint256 to) = (TickMath.sqrtPriceX96(lower), TickMath.sqrtPriceX96(upper));
        (uint256 amount0, uint256 amount1) =
            LiquidityMath.amounts(_spot(), from, to, liquidity, Math.Rounding.Ceil);
        assertEq(amount0, asked0);
        assertEq(amount1, asked1);
        (amount0, amount1) = LiquidityMath.amounts(_spot(), from, to, liquidity, Math.Rounding.Floor);
        assertEq(amount0, paid0);
        assertEq(amount1, paid1);
    }

    /// @dev At a tick's very root, where the pool's tick is one of two.
    function test_M_60_amounts_at_the_ends_of_a_range_are_the_pools() public {
        _open(18, 6, false, 1 << 96);
        IPoolActions(address(pool)).mint(address(this), -600, 600, 1e24, "");
        int24[2] memory ends = [int24(-600), int24(600)];
        for (uint256 i = 0; i < 2; i++) {
            // Reached from inside, then from outside.
            _checkEnd(ends[i]);
            _swapTo(TickMath.sqrtPriceX96(ends[i] * 2));
            _checkEnd(ends[i]);
        }
    }

    function _checkEnd(int24 end) private {
        _swapTo(TickMath.sqrtPriceX96(end));
        (uint256 paid0, uint256 paid1) = IPoolActions(address(pool)).burn(-600, 600, 1e20);
        (uint256 amount0, uint256 amount1) = LiquidityMath.amounts(
            _spot(), TickMath.sqrtPriceX96(-600), TickMath.sqrtPriceX96(600), 1e20, Math.Rounding.Floor
        );
        assertEq(amount0, paid0);
        assertEq(amount1, paid1);
        assertTrue(paid0 == 0 || paid1 == 0);
    }

    function testFuzz_the_least_part_pays_what_is_wanted(
        uint256 root,
        int24 one,
        int24 other,
        uint128 liquidity,
        uint256 wanted
    ) public pure {
        (int24 lower, int24 upper) = _anyRange(one, other);
        (uint256 from, uint256 to) = (TickMath.sqrtPriceX96(lower), TickMath.sqrtPriceX96(upper));
        root = _anyRoot(root);
        liquidity = uint128(bound(liquidity, 1, type(uint128).max));
        (uint256 all0, uint256 all1) = LiquidityMath.amounts(root, from, to, liquidity, Math.Rounding.Floor);
        if (all0 != 0) {
            uint256 want = bound(wanted, 1, all0);
            (uint256 paid,) = LiquidityMath.amounts(
                root, from, to, LiquidityMath.partFor(liquidity, all0, want), Math.Rounding.Floor
            );
            assertGe(paid, want);
            _assertLeast(paid, want, all0, liquidity);
        }
        if (all1 != 0) {
            uint256 want = bound(wanted, 1, all1);
            (, uint256 paid) = LiquidityMath.amounts(
                root, from, to, LiquidityMath.partFor(liquidity, all1, want), Math.Rounding.Floor
            );
            assertGe(paid, want);
            _assertLeast(paid, want, all1, liquidity);
        }
    }

    /// @dev Not more too much than a unit of liquidity holds, and the part that `amount` was rounded by.
    function _assertLeast(uint256 paid, uint256 want, uint256 all, uint128 liquidity) private pure {
        uint256 unitOfLiquidity = (all + 1) / liquidity + 1;
        assertLe(paid, want + 1 + unitOfLiquidity);
    }

    function testFuzz_class_U_the_root_of_a_price_is_its_root(uint256 value0, uint256 value1) public pure {
        value0 = bound(value0, 1, type(uint256).max);
        value1 = bound(value1, 1, type(uint256).max);
        uint256 root = LiquidityMath.rootOf(value0, value1);
        assertGe(root, LEAST);
        assertLe(root, MOST);
        uint256 price = value0 / value1;
        if (price >= 1 << 126) {
            assertEq(root, MOST);
        } else if (price >= 1 << 62) {
            uint256 short = root >> 32;
            assertLe(short * short, Math.mulDiv(value0, 1 << 128, value1));
            assertGt((short + 1) * (short + 1), Math.mulDiv(value0, 1 << 128, value1));
        } else if (root != LEAST) {
            assertLe(root * root, Math.mulDiv(value0, 1 << 192, value1));
            assertGt((root + 1) * (root + 1), Math.mulDiv(value0, 1 << 192, value1));
        } else {
            assertLe(Math.mulDiv(value0, 1 << 192, value1), (LEAST + 1) * (LEAST + 1));
        }
    }

    /// @dev Prices just below a square. `value1` is an inverse, so that `root` squared times it is one more than
    /// what divides evenly: where the quotient is rounded up, the root is, too.
    function testFuzz_class_U_a_price_just_below_a_square_rounds_down(uint256 root, bool dear) public pure {
        root = bound(root, dear ? 1 << 95 : 1 << 80, dear ? MOST >> 33 : (1 << 127) - 1) | 1;
        uint256 bits = dear ? 128 : 192;
        uint256 inverse = 1;
        unchecked {
            for (uint256 i; i < 8; i++) {
                inverse *= 2 - root * root * inverse;
            }
        }
        uint256 value1 = inverse & ((1 << bits) - 1);
        uint256 value0 = Math.mulDiv(root * root, value1, 1 << bits);
        assertEq(mulmod(root * root, value1, 1 << bits), 1);
        assertEq(LiquidityMath.rootOf(value0, value1), dear ? (root - 1) << 32 : root - 1);
    }

    function test_a_price_of_nothing_or_without_end_is_at_the_edge() public pure {
        assertEq(LiquidityMath.rootOf(0, 1), LEAST);
        assertEq(LiquidityMath.rootOf(1, 0), MOST);
        assertEq(LiquidityMath.rootOf(0, 0), MOST);
        assertEq(LiquidityMath.rootOf(1, 1), 1 << 96);
        assertEq(LiquidityMath.rootOf(4 << 100, 1 << 100), 2 << 96);
        assertEq(LiquidityMath.rootOf(1 << 64, 1), 1 << 128);
        assertEq(LiquidityMath.rootOf(type(uint256).max, 1), MOST);
        assertEq(LiquidityMath.rootOf(1, type(uint256).max), LEAST);
    }

    /// @dev A pool whose tick is that of a range's end has left it there, and is in it where it begins.
    function test_M_60_growth_at_the_ends_of_a_range_is_on_the_pools_side_of_them() public pure {
        (uint256 global, uint256 lower, uint256 upper) = (1000, 300, 100);
        assertEq(
            LiquidityMath.growthInside(-60, -60, 60, global, lower, upper), 600, "in from its first tick"
        );
        assertEq(
            LiquidityMath.growthInside(59, -60, 60, global, lower, upper), 600, "to the last before its end"
        );
        unchecked {
            uint256 above = upper - lower;
            assertEq(LiquidityMath.growthInside(60, -60, 60, global, lower, upper), above, "above at its end");
            uint256 below = lower - upper;
            assertEq(LiquidityMath.growthInside(-61, -60, 60, global, lower, upper), below, "below its first");
        }
    }

    /// @dev Every counter of the pool is made to wrap between the mint and the collection.
    function testFuzz_M_60_owed_is_what_the_position_manager_collects(
        uint256 seed,
        int24 one,
        int24 other,
        uint128 liquidity
    ) public {
        uint256 wrap0 = type(uint256).max - uint256(keccak256(abi.encode(seed, 0))) % 1e34;
        uint256 wrap1 = type(uint256).max - uint256(keccak256(abi.encode(seed, 1))) % 1e34;
        _open(18, 18, false, 1 << 96);
        vm.store(address(pool), bytes32(uint256(1)), bytes32(wrap0));
        vm.store(address(pool), bytes32(uint256(2)), bytes32(wrap1));
        (int24 lower, int24 upper) =
            (int24(bound(one, -20, -1)) * SPACING, int24(bound(other, 1, 20)) * SPACING);
        uint256 tokenId = _mintElsewhere(lower, upper, uint128(bound(liquidity, 1e12, 1e22)));
        _swapTo(TickMath.sqrtPriceX96(1500));
        _swapTo(TickMath.sqrtPriceX96(-1500));
        for (uint256 i = 0; i < 4; i++) {
            int24 tick = int24(int256(uint256(keccak256(abi.encode(seed, i, "swap"))) % 3000)) - 1500;
            _swapTo(TickMath.sqrtPriceX96(tick));
        }
        (uint256 owed0, uint256 owed1) = _owed(tokenId);
        (uint256 got0, uint256 got1) = _collectElsewhere(tokenId);
        assertEq(got0, owed0);
        assertEq(got1, owed1);
        assertLt(pool.feeGrowthGlobal0X128(), wrap0, "the counter must have wrapped");
        assertLt(pool.feeGrowthGlobal1X128(), wrap1, "the counter must have wrapped");
    }

    function _owed(uint256 tokenId) private view returns (uint256 owed0, uint256 owed1) {
        INonfungiblePositionManager.Minted memory minted = positionManager.positions(tokenId);
        (, int24 tick,,,,,) = pool.slot0();
        (,, uint256 lower0, uint256 lower1,,,,) = pool.ticks(minted.tickLower);
        (,, uint256 upper0, uint256 upper1,,,,) = pool.ticks(minted.tickUpper);
        uint256 growth = LiquidityMath.growthInside(
            tick, minted.tickLower, minted.tickUpper, pool.feeGrowthGlobal0X128(), lower0, upper0
        );
        owed0 = LiquidityMath.owed(growth, minted.feeGrowthInside0LastX128, minted.liquidity, 0);
        growth = LiquidityMath.growthInside(
            tick, minted.tickLower, minted.tickUpper, pool.feeGrowthGlobal1X128(), lower1, upper1
        );
        owed1 = LiquidityMath.owed(growth, minted.feeGrowthInside1LastX128, minted.liquidity, 0);
    }

    function _collectElsewhere(uint256 tokenId) private returns (uint256, uint256) {
        uint256 before0 = _balance(token0, stranger);
        uint256 before1 = _balance(token1, stranger);
        vm.prank(stranger);
        positionManager.collect(INonfungiblePositionManager.CollectParams(tokenId, stranger, ALL, ALL));
        return (_balance(token0, stranger) - before0, _balance(token1, stranger) - before1);
    }

    /// @dev Even over the exponent, not over the number.
    function _anyRoot(uint256 seed) private pure returns (uint256) {
        return TickMath.sqrtPriceX96(int256(bound(seed, 0, 2 * 887_200)) - 887_200) + seed % 1e9;
    }

    function _anyRange(int24 one, int24 other) private pure returns (int24 lower, int24 upper) {
        int24 last = MAX_TICK / SPACING;
        lower = int24(bound(one, -last, last - 1));
        upper = int24(bound(other, lower + 1, last));
        (lower, upper) = (lower * SPACING, upper * SPACING);
    }
}
