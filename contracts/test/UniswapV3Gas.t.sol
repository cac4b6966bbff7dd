// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Connector} from "../src/connectors/Connector.sol";
import {ChainlinkSource} from "../src/oracle/ChainlinkSource.sol";
import {CheckedSource} from "../src/oracle/CheckedSource.sol";
import {OracleRouter} from "../src/oracle/OracleRouter.sol";
import {IUniswapV3Pool, UniswapV3TwapSource} from "../src/oracle/UniswapV3TwapSource.sol";
import {IPriceSource} from "../src/interfaces/IOracleRouter.sol";
import {ILiquidityPool} from "../src/interfaces/IUniswapV3Liquidity.sol";
import {UniswapV3Test} from "./UniswapV3Test.sol";

/// @notice The local chain's own pool of USDC and WETH, priced by its Chainlink feeds over dollars.
contract UniswapV3GasTest is UniswapV3Test {
    address private constant USD = address(840);

    /// @dev Of L2 sequencers; 0 on a chain without.
    address private sequencer;

    address[] private cold;

    function setUp() public override {
        super.setUp();
        asset = _token("USDC");
        IPriceSource dollar = _source(asset, "USDC/USD");
        OracleRouter.Route[] memory routes = new OracleRouter.Route[](2);
        routes[0] = _route(_token("WETH"), _source(_token("WETH"), "ETH/USD"), dollar);
        routes[1] = _route(_token("WBTC"), _source(_token("WBTC"), "BTC/USD"), dollar);
        router = address(new OracleRouter(routes));
        cold.push(router);
        cold.push(address(positionManager));
    }

    function _use(string memory name) private {
        pool = ILiquidityPool(_address(string.concat(".uniswap.pools['", name, "'].address")));
        (token0, token1) = (pool.token0(), pool.token1());
        key = _keyOf(address(pool));
        connector = _connect(key);
        cold.push(address(connector));
        cold.push(address(pool));
        cold.push(token0);
        cold.push(token1);
        // The feeds say what the pools do: dollars of 8 decimals for a whole token.
        ILiquidityPool ofEther = ILiquidityPool(_address(".uniswap.pools['USDC/WETH'].address"));
        (uint256 root,,,,,,) = ofEther.slot0();
        uint256 ether_ = root * root * 1e20 >> 192;
        _push("USDC/USD", 1e8);
        _push("ETH/USD", int256(ether_));
        ILiquidityPool ofBitcoin = ILiquidityPool(_address(".uniswap.pools['WBTC/WETH'].address"));
        (root,,,,,,) = ofBitcoin.slot0();
        // Token0 is WETH in both.
        _push("BTC/USD", int256((ether_ << 192) / (root * root * 1e10)));
    }

    function _route(address base, IPriceSource source, IPriceSource dollar)
        private
        view
        returns (OracleRouter.Route memory route)
    {
        (route.base, route.quote) = (base, asset);
        route.hops = new OracleRouter.Hop[](2);
        route.hops[0].source = source;
        route.hops[1].source = dollar;
        route.hops[1].inverse = true;
    }

    function _source(address base, string memory pair) private returns (IPriceSource source) {
        ChainlinkSource.Config memory config;
        (config.base, config.quote, config.aggregator) = (base, USD, _feed(pair, "proxy"));
        (config.heartbeat, config.minimum, config.maximum) = (1 days, 0.01e18, 100_000e18);
        config.deviationBps = 50;
        if (sequencer != address(0)) (config.sequencer, config.gracePeriod) = (sequencer, 1 hours);
        source = new ChainlinkSource(config);
        cold.push(address(source));
        cold.push(config.aggregator);
        cold.push(_feed(pair, "aggregator"));
    }

    function test_a_report_of_three_nfts_stays_within_its_gas() public {
        _use("USDC/WETH");
        _checkReports();
    }

    function test_a_report_of_two_nfts_without_the_asset_stays_within_its_gas() public {
        maxPositions = 2;
        _use("WBTC/WETH");
        _checkReports();
    }

    // AN ORACLE OF MANY READS

    function test_class_V_more_nfts_than_the_oracle_leaves_gas_for_are_refused() public {
        _checkEther();
        _cool();
        (bool refused, uint256 needed) = _tooDear();
        assertTrue(refused, "three NFTs under feeds, sequencer and pool");
        emit log_named_uint("estimated gas of a report of three NFTs", needed);
        assertGt(needed, REPORT_GAS);
        maxPositions = 1;
        _cool();
        _use("USDC/WETH");
        _enter(_tick(-3), _tick(4), 1e15);
        uint256 spent = _coldReport();
        emit log_named_uint("gas of a report of one NFT", spent);
        assertLt(spent, REPORT_GAS);
    }

    function test_class_V_a_report_costs_no_more_than_was_estimated() public {
        _checkEther();
        _cool();
        (, uint256 needed) = _tooDear();
        REPORT_GAS = needed - 1;
        _cool();
        (bool refused,) = _tooDear();
        assertTrue(refused, "a unit less than the estimate");
        REPORT_GAS = needed;
        _cool();
        _use("USDC/WETH");
        for (uint256 i = 0; i < maxPositions; i++) {
            _enter(_tick(-3 - int24(int256(i))), _tick(4 + int24(int256(i))), 1e15);
        }
        uint256 spent = _coldReport();
        emit log_named_uint("gas of a report of three NFTs", spent);
        assertLe(spent, needed);
        assertGt(spent, 250_000, "what a portfolio gives");
    }

    function test_class_V_without_a_price_the_dearest_oracle_is_assumed() public {
        _use("USDC/WETH");
        _push("ETH/USD", 0);
        (bool refused, uint256 needed) = _tooDear();
        assertTrue(refused);
        assertEq(needed, 35_000 + 3 * 46_000 + 165_000);
    }

    function test_class_V_two_prices_are_counted_where_the_asset_is_in_no_pool() public {
        _use("USDC/WETH");
        bytes32[] memory keys = new bytes32[](2);
        keys[0] = key;
        keys[1] = _keyOf(_address(".uniswap.pools['WBTC/WETH'].address"));
        (bool refused, uint256 needed) = _tooDear(keys);
        assertTrue(refused);
        assertEq(needed, 35_000 + 3 * 46_000 + 2 * 60_000);
        maxPositions = 2;
        _connect(keys);
    }

    /// @dev Ether is then priced by feeds of a chain with a sequencer, held against the pool.
    function _checkEther() private {
        sequencer = _address(".sequencer");
        skip(1 hours);
        _push("USDC/USD", 1e8);
        _push("ETH/USD", 3000e8);
        OracleRouter.Route[] memory routes = new OracleRouter.Route[](1);
        routes[0] = _route(_token("WETH"), _source(_token("WETH"), "ETH/USD"), _source(asset, "USDC/USD"));
        OracleRouter feeds = new OracleRouter(routes);
        address market = _address(".uniswap.pools['USDC/WETH'].address");
        UniswapV3TwapSource mean =
            new UniswapV3TwapSource(IUniswapV3Pool(market), _token("WETH"), asset, 1 hours, 300, 1e15);
        routes[0].hops = new OracleRouter.Hop[](1);
        CheckedSource source = new CheckedSource(feeds, mean, 200);
        routes[0].hops[0].source = source;
        router = address(new OracleRouter(routes));
        address[6] memory read = [sequencer, address(feeds), address(mean), address(source), router, market];
        for (uint256 i = 0; i < read.length; i++) {
            cold.push(read[i]);
        }
        key = _keyOf(market);
    }

    function _tooDear() private returns (bool refused, uint256 needed) {
        bytes32[] memory keys = new bytes32[](1);
        keys[0] = key;
        return _tooDear(keys);
    }

    function _tooDear(bytes32[] memory keys) private returns (bool refused, uint256 needed) {
        try this.connect(keys) {}
        catch (bytes memory reason) {
            assertEq(bytes4(reason), Connector.ReportTooDear.selector);
            assembly ("memory-safe") {
                needed := mload(add(reason, 36))
            }
            refused = true;
        }
    }

    function connect(bytes32[] memory keys) external {
        _connect(keys);
    }

    function _checkReports() private {
        uint256 before;
        for (uint256 i = 0; i < maxPositions; i++) {
            _enter(_tick(-3 - int24(int256(i))), _tick(4 + int24(int256(i))), 1e15);
            uint256 spent = _coldReport();
            emit log_named_uint("gas of a report with one more NFT", spent);
            assertGt(spent, before);
            before = spent;
        }
        assertLt(before, REPORT_GAS * 95 / 100, "room for a dearer oracle");
    }

    /// @dev As in a transaction of its own, by the portfolio's call.
    function _coldReport() private returns (uint256 spent) {
        _cool();
        uint256 before = gasleft();
        connector.report(key);
        spent = before - gasleft();
    }

    function _cool() private {
        for (uint256 i = 0; i < cold.length; i++) {
            vm.cool(cold[i]);
        }
    }

    function test_what_each_action_costs() public {
        _use("USDC/WETH");
        _hold(token0, 2e18);
        _hold(asset, 10_000e6);
        (int24 lower, int24 upper) = (_tick(-30), _tick(30));
        uint256[8] memory gas;
        _cool();
        gas[0] = gasleft();
        uint256 tokenId = connector.mint(key, lower, upper, 1e18, EVERYTHING, 1, 1);
        gas[0] -= gasleft();
        _hold(asset, 10_000e6);
        _cool();
        gas[1] = gasleft();
        connector.increase(tokenId, 0.1e18, EVERYTHING, 1, 1);
        gas[1] -= gasleft();
        _cool();
        gas[2] = gasleft();
        connector.decrease(tokenId, 1e9, 1, 1);
        gas[2] -= gasleft();
        _cool();
        gas[3] = gasleft();
        connector.collectFees(tokenId);
        gas[3] -= gasleft();
        _cool();
        gas[4] = gasleft();
        connector.withdraw(key, 100e6);
        gas[4] -= gasleft();
        _cool();
        gas[5] = gasleft();
        connector.withdraw(key, EVERYTHING);
        gas[5] -= gasleft();
        _cool();
        gas[6] = gasleft();
        connector.release(key, token0, EVERYTHING);
        gas[6] -= gasleft();
        assertTrue(_transfer());
        _cool();
        gas[7] = gasleft();
        connector.supply(key, 1e6);
        gas[7] -= gasleft();
        string[8] memory names = [
            "mint",
            "increase",
            "decrease",
            "collectFees",
            "withdraw part",
            "withdraw all",
            "release",
            "supply"
        ];
        for (uint256 i = 0; i < 8; i++) {
            emit log_named_uint(names[i], gas[i]);
            assertLt(gas[i], 800_000);
        }
    }

    function _transfer() private returns (bool success) {
        (success,) = asset.call(abi.encodeWithSignature("transfer(address,uint256)", connector, 1e6));
    }
}
