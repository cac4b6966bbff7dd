// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IOracleRouter, IPriceSource} from "../src/interfaces/IOracleRouter.sol";
import {Status} from "../src/interfaces/Types.sol";
import {ATokenSource, IAToken} from "../src/oracle/ATokenSource.sol";
import {ChainlinkSource} from "../src/oracle/ChainlinkSource.sol";
import {OracleRouter} from "../src/oracle/OracleRouter.sol";
import {StakedEtherSource} from "../src/oracle/StakedEtherSource.sol";
import {GrownPool} from "./fixtures/GrownPool.sol";
import {Prices} from "./fixtures/Prices.sol";

/// @title Prices of a pool that keeps as many observations as it can, in a transaction that has met nothing before
contract LongestSearchTest is Prices, GrownPool {
    function setUp() public {
        _loadPrices();
        _later(50 days + 1);
    }

    /// forge-config: default.isolate = true
    function test_class_O_no_pool_grows_out_of_the_gas_for_its_mean() public {
        (uint256 low, uint256 high,) = market.price();
        _grow(pool, MOST_OBSERVATIONS, 61);
        bytes memory price = abi.encodeCall(IPriceSource.price, ());
        (uint256 lowNow, uint256 highNow,) = market.price{gas: market.stipend()}();
        assertEq(lowNow, low);
        assertEq(highNow, high);
        _isSound(address(market), market.stipend(), price);
        _isSound(address(checked), checked.stipend(), price);
        ChainlinkSource crossed = _crossed();
        _isSound(address(crossed), crossed.stipend(), price);
        bytes memory value = abi.encodeCall(IOracleRouter.value, (weth, usdc, 1e18));
        _isSound(address(router), router.stipend(weth, usdc), value);
    }

    /// forge-config: default.isolate = true
    function test_class_V_the_longest_search_stays_within_its_gas_as_known_while_a_pool_is_quiet() public {
        uint256 most = market.searchGas() + _takes(address(market), abi.encodeCall(market.price, ()));
        uint256 mostMarket =
            market.marketSearchGas() + _takes(address(market), abi.encodeCall(market.market, ()));
        uint256 seen;
        uint256 seenMarket;
        uint256[3] memory spacings = [uint256(2), 13, 61];
        for (uint256 i; i < 3; ++i) {
            _grow(pool, MOST_OBSERVATIONS, spacings[i]);
            uint256 snapshot = vm.snapshotState();
            for (uint256 j; j < 200; ++j) {
                uint256 taken = _takes(address(market), abi.encodeCall(market.price, ()));
                if (taken > seen) seen = taken;
                if (j == 0) taken = _takes(address(market), abi.encodeCall(market.market, ()));
                if (j == 0 && taken > seenMarket) seenMarket = taken;
                skip(7);
            }
            vm.revertToState(snapshot);
        }
        emit log_named_uint("mean, at most", seen);
        emit log_named_uint("as was known", most);
        emit log_named_uint("market, at most", seenMarket);
        emit log_named_uint("as was known", mostMarket);
        assertLe(seen, most);
        assertGt(seen, most - 3_000);
        assertLe(seenMarket, mostMarket);
        assertGt(seenMarket, mostMarket - 8_000);
    }

    /// forge-config: default.isolate = true
    function test_class_V_a_value_stays_within_its_gas_as_a_router_knows_it() public {
        OracleRouter[3] memory routers = [router, _single(market), feeds];
        uint256[3] memory known;
        for (uint256 i; i < 3; ++i) {
            known[i] = routers[i].valueGas(weth, usdc);
        }
        checked.observe();
        _later(30 minutes);
        checked.observe();
        _later(12);
        _grow(pool, MOST_OBSERVATIONS, 61);
        for (uint256 i; i < 3; ++i) {
            bytes memory value = abi.encodeCall(IOracleRouter.value, (weth, usdc, 1 << 144));
            uint256 taken = _takes(address(routers[i]), value);
            emit log_named_uint("known", known[i]);
            emit log_named_uint("takes", taken);
            assertLe(taken, known[i]);
            assertGt(taken, known[i] * 9 / 10);
            assertApproxEqAbs(
                routers[i].valueGas(weth, usdc), known[i], 11_000, "and says the same afterwards"
            );
        }
    }

    /// @dev As where a pool had too little liquidity on the day that a connector is made.
    /// forge-config: default.isolate = true
    function test_class_V_a_value_stays_within_its_gas_as_known_while_a_pool_has_no_mean() public {
        vm.mockCallRevert(address(pool), abi.encodeWithSelector(pool.observe.selector), "OLD");
        assertEq(uint256(_status()), uint256(Status.DIVERGED));
        uint256 known = router.valueGas(weth, usdc);
        vm.clearMockedCalls();
        checked.observe();
        _later(30 minutes);
        checked.observe();
        _later(12);
        _grow(pool, MOST_OBSERVATIONS, 61);
        uint256 taken = _takes(address(router), abi.encodeCall(IOracleRouter.value, (weth, usdc, 1 << 144)));
        emit log_named_uint("known", known);
        emit log_named_uint("takes", taken);
        assertLe(taken, known);
        assertGt(taken, known * 9 / 10);
    }

    /// @dev Whoever measures something else after it finds it as it was.
    /// forge-config: default.isolate = true
    function test_class_V_a_router_that_is_asked_reads_nothing_for_others() public {
        OracleRouter[3] memory routers = [feeds, _single(market), router];
        for (uint256 i; i < 3; ++i) {
            router = routers[i];
            assertApproxEqAbs(
                this.measure(true), this.measure(false) - 2_500, 50, "but for the router itself"
            );
        }
    }

    function measure(bool ask) external view returns (uint256 used) {
        (OracleRouter asked, address from, address to) = (router, weth, usdc);
        if (ask) asked.valueGas(from, to);
        used = gasleft();
        asked.value(from, to, 1e18);
        used -= gasleft();
    }

    /// forge-config: default.isolate = true
    function test_class_V_sources_say_by_how_much_longer_their_pools_may_search() public {
        uint256 longer = market.searchGas();
        assertGt(longer, 80_000, "the pool is quiet");
        ChainlinkSource crossed = _crossed();
        assertEq(crossed.searchGas(), longer);
        assertEq(_single(crossed).searchGas(weth, usdc), longer);
        assertGt(checked.searchGas(), longer);
        assertEq(checked.searchGas(), market.marketSearchGas() + 2_500);
        assertEq(router.searchGas(weth, usdc), checked.searchGas());
        assertEq(feeds.searchGas(weth, usdc), 0, "feeds search nothing");
        assertEq(new StakedEtherSource(_token("wstETH"), weth, 0.0003e18).searchGas(), 0);
        assertEq(new ATokenSource(IAToken(_address(".aave.reserves.WETH.a_token"))).searchGas(), 0);
        _grow(pool, MOST_OBSERVATIONS, 61);
        assertLt(market.searchGas(), 4_000);
        vm.etch(address(pool), hex"5b600056");
        assertLt(market.searchGas(), 8_000, "what burns its gas searches no longer");
    }

    function test_class_O_without_a_price_or_a_route_nothing_is_known() public {
        vm.expectRevert(abi.encodeWithSelector(OracleRouter.UnknownRoute.selector, usdc, weth));
        router.valueGas(usdc, weth);
        _push("ETH/USD", 0);
        vm.expectRevert(abi.encodeWithSelector(OracleRouter.NoPrice.selector, weth, usdc));
        router.valueGas(weth, usdc);
        _push("ETH/USD", 3000e8);
        vm.mockCallRevert(address(checked), abi.encodeCall(IPriceSource.searchGas, ()), "");
        vm.expectRevert(bytes(""));
        router.valueGas(weth, usdc);
    }

    function _crossed() private returns (ChainlinkSource) {
        ChainlinkSource.Config memory config = _etherConfig();
        config.quote = usdc;
        (config.crossCheck, config.toleranceBps) = (market, 500);
        return new ChainlinkSource(config);
    }

    function _isSound(address target, uint256 stipend, bytes memory data) private view {
        (bool success, bytes memory answer) = target.staticcall{gas: stipend}(data);
        assertTrue(success);
        (uint256 low,, uint256 status) = abi.decode(answer, (uint256, uint256, uint256));
        assertGt(low, 0);
        assertEq(status, uint256(Status.OK));
    }

    function _takes(address target, bytes memory data) private view returns (uint256 used) {
        bool success;
        assembly ("memory-safe") {
            used := gas()
            success := staticcall(gas(), target, add(data, 32), mload(data), 0, 0)
            used := sub(used, gas())
        }
        assertTrue(success);
    }
}
