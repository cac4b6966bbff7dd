// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Connector} from "../src/connectors/Connector.sol";
import {UniswapV3Connector} from "../src/connectors/UniswapV3Connector.sol";
import {UniswapV3Holdings} from "../src/connectors/UniswapV3Holdings.sol";
import {ILiquidityPool} from "../src/interfaces/IUniswapV3Liquidity.sol";
import {UniswapV3PoolTest} from "./UniswapV3Test.sol";
import {Token} from "./fixtures/Tokens.sol";

/// @notice What the connector refuses: foreign NFTs, pools and accounts, and amounts that are none.
contract UniswapV3RefusalsTest is UniswapV3PoolTest {
    // NFTS

    function test_D_12_an_nft_that_was_not_minted_here_is_refused() public {
        uint256 tokenId = _mintElsewhere(_tick(-50), _tick(50), 1e16);
        vm.prank(stranger);
        positionManager.transferFrom(stranger, address(connector), tokenId);
        _hold(token0, 1e18);
        bytes memory refusal = abi.encodeWithSelector(UniswapV3Holdings.UnknownTokenId.selector, tokenId);
        vm.expectRevert(refusal);
        connector.increase(tokenId, 1e18, 0, 1, 1);
        vm.expectRevert(refusal);
        connector.decrease(tokenId, ALL, 1, 1);
        vm.expectRevert(refusal);
        connector.collectFees(tokenId);
        vm.expectRevert(refusal);
        connector.burn(tokenId);
    }

    function test_M_43_an_nft_is_burned_only_when_it_is_empty() public {
        uint256 tokenId = _enter();
        bytes memory refusal = abi.encodeWithSelector(UniswapV3Holdings.NotEmpty.selector, tokenId);
        vm.expectRevert(refusal);
        connector.burn(tokenId);
        connector.decrease(tokenId, ALL, 1, 1);
        vm.expectRevert(refusal);
        connector.burn(tokenId);
        uint256 low = _low();
        assertGt(low, 0, "what is owed counts");
        connector.collectFees(tokenId);
        connector.burn(tokenId);
        assertApproxEqAbs(_low(), low, 2 * _units(_spot()));
        vm.expectRevert(abi.encodeWithSelector(UniswapV3Holdings.UnknownTokenId.selector, tokenId));
        connector.burn(tokenId);
    }

    /// @dev Whichever is burned, the others are still found.
    function testFuzz_H_12_burning_one_nft_forgets_no_other(uint256 which, uint256 next) public {
        uint256[] memory ids = new uint256[](3);
        for (uint256 i = 0; i < 3; i++) {
            ids[i] = _enter(_tick(-50 - int24(int256(i))), _tick(50), LIQUIDITY);
        }
        for (uint256 left = 3; left > 0; left--) {
            uint256 i = bound(which, 0, left - 1);
            which = uint256(keccak256(abi.encode(which, next)));
            uint256 low = _low();
            connector.decrease(ids[i], ALL, 1, 1);
            connector.collectFees(ids[i]);
            connector.burn(ids[i]);
            ids[i] = ids[left - 1];
            assertApproxEqAbs(_low(), low, 4 * _units(_spot()));
            (,, uint64[] memory listed) = connector.holdings(key);
            assertEq(listed.length, left - 1);
            for (uint256 j = 0; j < left - 1; j++) {
                assertEq(connector.keyOf(ids[j]), key);
                assertTrue(_contains(listed, ids[j]));
            }
        }
    }

    function _contains(uint64[] memory listed, uint256 tokenId) private pure returns (bool) {
        for (uint256 i = 0; i < listed.length; i++) {
            if (listed[i] == tokenId) return true;
        }
        return false;
    }

    function test_class_R_more_nfts_than_may_be_in_a_pool_are_refused() public {
        assertEq(connector.maxPositions(), 3);
        _fill(3);
        connector.withdraw(key, EVERYTHING);
        _enter();
        maxPositions = 1;
        connector = _connect(key);
        _fill(1);
    }

    function _fill(uint256 count) private {
        for (uint256 i = 0; i < count; i++) {
            _enter();
        }
        _hold(token1, 3000e6);
        (int24 lower, int24 upper) = (_tick(-50), _tick(0));
        vm.expectRevert(abi.encodeWithSelector(UniswapV3Holdings.TooManyPositions.selector, key));
        connector.mint(key, lower, upper, 0, 3000e6, 0, 1);
    }

    // AMOUNTS

    function test_nothing_and_more_than_there_is_are_no_amounts() public {
        uint256 tokenId = _enter();
        (uint256 held0,,) = connector.holdings(key);
        (int24 lower, int24 upper) = (_tick(-50), _tick(50));
        vm.expectRevert(Connector.ZeroAmount.selector);
        connector.supply(key, 0);
        vm.expectRevert(Connector.ZeroAmount.selector);
        connector.hold(key, token0, EVERYTHING);
        vm.expectRevert(Connector.ZeroAmount.selector);
        connector.withdraw(key, 0);
        vm.expectRevert(Connector.ZeroAmount.selector);
        connector.release(key, token0, 0);
        vm.expectRevert(Connector.ZeroAmount.selector);
        connector.mint(key, lower, upper, 0, 0, 1, 1);
        vm.expectRevert(Connector.ZeroAmount.selector);
        connector.increase(tokenId, 0, 0, 1, 1);
        vm.expectRevert(Connector.ZeroAmount.selector);
        connector.decrease(tokenId, 0, 1, 1);

        bytes memory tooMuch = abi.encodeWithSelector(
            UniswapV3Holdings.InsufficientHeld.selector, key, token0, held0, held0 + 1
        );
        vm.expectRevert(tooMuch);
        connector.release(key, token0, held0 + 1);
        vm.expectRevert(tooMuch);
        connector.mint(key, lower, upper, held0 + 1, 0, 1, 1);
        vm.expectRevert(tooMuch);
        connector.increase(tokenId, held0 + 1, 0, 1, 1);
        uint128 liquidity = positionManager.positions(tokenId).liquidity;
        vm.expectRevert(
            abi.encodeWithSelector(
                UniswapV3Holdings.InsufficientLiquidity.selector, tokenId, liquidity, liquidity + 1
            )
        );
        connector.decrease(tokenId, liquidity + 1, 1, 1);
        vm.expectPartialRevert(UniswapV3Holdings.InsufficientHeld.selector);
        connector.withdraw(key, 1_000_000e6);
    }

    // WHO AND WHAT

    function test_class_I_only_the_portfolio_acts() public {
        uint256 tokenId = _enter();
        bytes memory refusal = abi.encodeWithSelector(Connector.NotPortfolio.selector, stranger);
        vm.startPrank(stranger);
        vm.expectRevert(refusal);
        connector.supply(key, 1);
        vm.expectRevert(refusal);
        connector.hold(key, token0, 1);
        vm.expectRevert(refusal);
        connector.withdraw(key, EVERYTHING);
        vm.expectRevert(refusal);
        connector.release(key, token0, 1);
        vm.expectRevert(refusal);
        connector.mint(key, -60, 60, 1, 1, 1, 1);
        vm.expectRevert(refusal);
        connector.increase(tokenId, 1, 1, 1, 1);
        vm.expectRevert(refusal);
        connector.decrease(tokenId, ALL, 1, 1);
        vm.expectRevert(refusal);
        connector.collectFees(tokenId);
        vm.expectRevert(refusal);
        connector.burn(tokenId);
        vm.expectRevert(refusal);
        connector.collect(token0);
    }

    function test_D_10_a_pool_that_is_not_listed_is_refused() public {
        bytes32 other =
            _keyOf(positionManager.createAndInitializePoolIfNecessary(token0, token1, 500, uint160(_spot())));
        bytes memory refusal = abi.encodeWithSelector(Connector.UnknownKey.selector, other);
        vm.expectRevert(refusal);
        connector.report(other);
        vm.expectRevert(refusal);
        connector.supply(other, 1);
        vm.expectRevert(refusal);
        connector.hold(other, token0, 1);
        vm.expectRevert(refusal);
        connector.withdraw(other, 1);
        vm.expectRevert(refusal);
        connector.release(other, token0, 1);
        vm.expectRevert(refusal);
        connector.mint(other, -60, 60, 1, 1, 1, 1);
        vm.expectRevert(refusal);
        connector.holdings(other);
        address foreign = address(new Token("FOREIGN", 18));
        refusal = abi.encodeWithSelector(UniswapV3Holdings.TokenNotInPool.selector, key, foreign);
        vm.expectRevert(refusal);
        connector.hold(key, foreign, 1);
        vm.expectRevert(refusal);
        connector.release(key, foreign, 1);
        assertTrue(connector.isCollectable(token0));
        assertTrue(connector.isCollectable(token1));
        vm.expectRevert(abi.encodeWithSelector(Connector.NotCollectable.selector, foreign));
        connector.collect(foreign);
    }

    function test_D_10_what_may_not_be_listed() public {
        bytes32[] memory keys = new bytes32[](1);
        keys[0] = _keyOf(stranger);
        vm.expectRevert(abi.encodeWithSelector(Connector.InvalidKey.selector, keys[0]));
        _new(keys, TOLERANCE_BPS);

        keys[0] = _keyOf(address(new Impostor(pool)));
        vm.expectRevert(abi.encodeWithSelector(Connector.InvalidKey.selector, keys[0]));
        _new(keys, TOLERANCE_BPS);

        keys[0] = _keyOf(
            positionManager.createAndInitializePoolIfNecessary(token0, token1, 10_000, uint160(_spot()))
        );
        vm.expectRevert(
            abi.encodeWithSelector(UniswapV3Holdings.FeeTierNotListed.selector, keys[0], uint24(10_000))
        );
        _new(keys, TOLERANCE_BPS);

        keys = new bytes32[](2);
        (keys[0], keys[1]) = (key, key);
        vm.expectRevert(abi.encodeWithSelector(Connector.DuplicateKey.selector, key));
        _new(keys, TOLERANCE_BPS);

        vm.expectRevert(abi.encodeWithSelector(UniswapV3Holdings.InvalidTolerance.selector, 1001));
        _new(keys, 1001);
        bytes32[] memory one = new bytes32[](1);
        one[0] = key;
        _new(one, 1000);

        maxPositions = 0;
        vm.expectRevert(abi.encodeWithSelector(UniswapV3Holdings.InvalidMaxPositions.selector, 0));
        _new(keys, TOLERANCE_BPS);
        maxPositions = 7;
        keys = new bytes32[](1);
        keys[0] = key;
        vm.expectRevert(abi.encodeWithSelector(Connector.ReportTooDear.selector, 442_000, REPORT_GAS));
        _new(keys, TOLERANCE_BPS);
    }

    function test_M_36_a_token_without_a_price_cannot_be_listed() public {
        bytes32[] memory keys = new bytes32[](1);
        keys[0] = key;
        _setPrice(token0, 0, 0);
        vm.expectRevert(abi.encodeWithSelector(UniswapV3Holdings.Unpriceable.selector, token0));
        _new(keys, TOLERANCE_BPS);
        router = stranger;
        vm.expectRevert(abi.encodeWithSelector(UniswapV3Holdings.Unpriceable.selector, token0));
        _new(keys, TOLERANCE_BPS);
    }

    function _new(bytes32[] memory keys, uint256 toleranceBps) private {
        new UniswapV3Connector(address(this), positionManager, keys, _tiers(), toleranceBps, maxPositions);
    }
}

/// @dev Says of itself all that a pool does.
contract Impostor {
    address public immutable token0;
    address public immutable token1;
    uint24 public immutable fee;

    constructor(ILiquidityPool pool) {
        (token0, token1, fee) = (pool.token0(), pool.token1(), pool.fee());
    }
}
