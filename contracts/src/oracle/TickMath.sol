// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

/// @title Price of a Uniswap v3 tick
/// @notice Square root of 1.0001^tick as Q64.96, equal bit for bit to what a pool computes
/// (Uniswap v3 core, `TickMath.getSqrtRatioAtTick`).
library TickMath {
    int256 internal constant MAX_TICK = 887_272;

    /// @dev sqrt(1.0001)^-(2^k) in Q128.128 for k = 0 … 19, sixteen bytes each.
    bytes private constant FACTORS = hex"fffcb933bd6fad37aa2d162d1a594001"
        hex"fff97272373d413259a46990580e213a" hex"fff2e50f5f656932ef12357cf3c7fdcc"
        hex"ffe5caca7e10e4e61c3624eaa0941cd0" hex"ffcb9843d60f6159c9db58835c926644"
        hex"ff973b41fa98c081472e6896dfb254c0" hex"ff2ea16466c96a3843ec78b326b52861"
        hex"fe5dee046a99a2a811c461f1969c3053" hex"fcbe86c7900a88aedcffc83b479aa3a4"
        hex"f987a7253ac413176f2b074cf7815e54" hex"f3392b0822b70005940c7a398e4b70f3"
        hex"e7159475a2c29b7443b29c7fa6e889d9" hex"d097f3bdfd2022b8845ad8f792aa5825"
        hex"a9f746462d870fdf8a65dc1f90e061e5" hex"70d869a156d2a1b890bb3df62baf32f7"
        hex"31be135f97d08fd981231505542fcfa6" hex"09aa508b5b7a84e1c677de54f3e99bc9"
        hex"005d6af8dedb81196699c329225ee604" hex"00002216e584f5fa1ea926041bedfe98"
        hex"00000000048a170391f7dc42444e8fa2";

    error TickOutOfRange(int256 tick);

    /// @notice Square root of the price of `tick` as Q64.96, rounded up as the pool rounds it.
    function sqrtPriceX96(int256 tick) internal pure returns (uint256) {
        uint256 magnitude = tick < 0 ? uint256(-tick) : uint256(tick);
        if (magnitude > uint256(MAX_TICK)) revert TickOutOfRange(tick);

        bytes memory factors = FACTORS;
        uint256 ratio = 1 << 128;
        // One factor for each bit that is set. Neither overflows: both are of 128 bits, the first ratio of 129.
        assembly ("memory-safe") {
            for { let factor := add(factors, 32) } magnitude { factor := add(factor, 16) } {
                if and(magnitude, 1) { ratio := shr(128, mul(ratio, shr(128, mload(factor)))) }
                magnitude := shr(1, magnitude)
            }
        }
        // The factors are those of negative ticks, which keep the product below one.
        if (tick > 0) ratio = type(uint256).max / ratio;
        return (ratio + type(uint32).max) >> 32;
    }
}
