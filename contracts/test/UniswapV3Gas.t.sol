// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {OracleRouter} from "../src/oracle/OracleRouter.sol";
import {IPriceSource} from "../src/interfaces/IOracleRouter.sol";
import {IUniswapV3Pool, UniswapV3TwapSource} from "../src/oracle/UniswapV3TwapSource.sol";
import {ILiquidityPool} from "../src/interfaces/IUniswapV3Liquidity.sol";
import {CheckedEther} from "./fixtures/CheckedEther.sol";
import {GrownPool} from "./fixtures/GrownPool.sol";
import {UniswapV3Test} from "./UniswapV3Test.sol";

/// @notice The local chain's own pool of USDC and WETH, priced by its Chainlink feeds over dollars.
contract UniswapV3GasTest is UniswapV3Test, CheckedEther, GrownPool {
    function setUp() public override {
        super.setUp();
        asset = _token("USDC");
        REPORT_GAS = 300_000;
        IPriceSource dollar = _feedSource(asset, "USDC/USD");
        OracleRouter.Route[] memory routes = new OracleRouter.Route[](2);
        routes[0] = _throughDollars(_token("WETH"), asset, _feedSource(_token("WETH"), "ETH/USD"), dollar);
        routes[1] = _throughDollars(_token("WBTC"), asset, _feedSource(_token("WBTC"), "BTC/USD"), dollar);
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

    function test_a_report_of_three_nfts_stays_within_its_gas() public {
        maxPositions = 3;
        _use("USDC/WETH");
        _checkReports();
    }

    function test_a_report_of_two_nfts_without_the_asset_stays_within_its_gas() public {
        maxPositions = 2;
        _use("WBTC/WETH");
        _checkReports();
    }

    // WHAT IS REFUSED

    function test_class_V_more_nfts_than_feeds_leave_gas_for_are_refused() public {
        key = _keyOf(_address(".uniswap.pools['USDC/WETH'].address"));
        maxPositions = 4;
        assertGt(_tooDear(), REPORT_GAS);
        maxPositions = 3;
        _connect(key);
    }

    function test_class_V_two_prices_leave_fewer_nfts_within_its_gas() public {
        bytes32[] memory keys = new bytes32[](2);
        keys[0] = _keyOf(_address(".uniswap.pools['USDC/WETH'].address"));
        keys[1] = _keyOf(_address(".uniswap.pools['WBTC/WETH'].address"));
        maxPositions = 3;
        uint256 needed = _tooDear(keys);
        assertGe(needed, 45_000 + 3 * 46_000 + 75_000 + 60_000);
        assertLt(needed, 45_000 + 3 * 46_000 + 85_000 + 70_000);
        maxPositions = 2;
        _connect(keys);
    }

    function test_class_V_under_an_oracle_of_many_reads_nothing_is_accepted_that_does_not_fit() public {
        maxPositions = 1;
        _checkEther();
        _cool();
        assertGt(_tooDear(), REPORT_GAS);
    }

    /// forge-config: default.isolate = true
    function test_class_V_a_report_stays_within_its_gas_as_estimated() public {
        _checkEther();
        _checkEstimate();
    }

    /// @dev A price that a pool alone gives leaves room for an NFT.
    /// forge-config: default.isolate = true
    function test_class_V_by_the_mean_alone_a_report_stays_within_its_gas() public {
        skip(1 hours);
        address ofEther = _address(".uniswap.pools['USDC/WETH'].address");
        OracleRouter.Route[] memory routes = new OracleRouter.Route[](1);
        routes[0] = OracleRouter.Route(_token("WETH"), asset, new OracleRouter.Hop[](1));
        routes[0].hops[0].source =
            new UniswapV3TwapSource(IUniswapV3Pool(ofEther), _token("WETH"), asset, 1 hours, 300, 1e15);
        router = address(new OracleRouter(routes));
        key = _keyOf(ofEther);
        assertGt(_tooDear(), REPORT_GAS);
        maxPositions = 2;
        uint256 stipend = REPORT_GAS;
        REPORT_GAS = 1;
        assertLe(_tooDear(), stipend);
        _checkEstimate();
    }

    /// @dev The pool has been used in the meantime, and grown, which makes its mean as dear to find as it can be.
    function _checkEstimate() private {
        REPORT_GAS = 1;
        uint256 needed = _tooDear();
        REPORT_GAS = needed - 1;
        assertEq(_tooDear(), needed, "a unit less than the estimate");
        REPORT_GAS = needed;
        _use("USDC/WETH");
        for (uint256 i = 0; i < maxPositions; i++) {
            _enter(_tick(-3 - int24(int256(i))), _tick(4 + int24(int256(i))), 1e15);
        }
        skip(50 days);
        _push("USDC/USD", 1e8);
        _push("ETH/USD", 3000e8);
        _grow(IUniswapV3Pool(address(pool)), MOST_OBSERVATIONS, 61);
        uint256 before = gasleft();
        connector.report(key);
        uint256 spent = before - gasleft();
        emit log_named_uint("counted", needed);
        emit log_named_uint("gas of a report", spent);
        assertLe(spent, needed);
        assertGt(spent, needed * 9 / 10);
    }

    /// @dev The limit that the page for operators gives.
    /// forge-config: default.isolate = true
    function test_class_V_no_nft_stays_within_its_gas_under_feeds_that_a_pool_checks() public {
        maxPositions = 1;
        key = _keyOf(_address(".uniswap.pools['USDC/WETH'].address"));
        address[2] memory uptimes = [address(0), _address(".sequencer")];
        for (uint256 i; i < 2; ++i) {
            router = _checkedEther(asset, uptimes[i]);
            _cool();
            uint256 needed = _tooDear();
            emit log_named_uint(i == 0 ? "without a sequencer" : "with a sequencer", needed);
            assertGt(needed, REPORT_GAS);
            assertLt(needed, 350_000);
        }
    }

    function test_class_V_without_a_price_the_dearest_oracle_is_assumed() public {
        key = _keyOf(_address(".uniswap.pools['USDC/WETH'].address"));
        _push("ETH/USD", 0);
        assertEq(_tooDear(), 45_000 + 3 * 46_000 + 255_000);
    }

    /// @dev In the place of feeds alone.
    function _checkEther() private {
        router = _checkedEther(asset);
        key = _keyOf(_address(".uniswap.pools['USDC/WETH'].address"));
    }

    function _tooDear() private returns (uint256 needed) {
        bytes32[] memory keys = new bytes32[](1);
        keys[0] = key;
        return _tooDear(keys);
    }

    function _tooDear(bytes32[] memory keys) private returns (uint256 needed) {
        try this.connect(keys) {
            assertTrue(false, "accepted");
        } catch (bytes memory reason) {
            return _estimateIn(reason);
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
        assertLt(before, REPORT_GAS * 95 / 100, "room for a sequencer's feed");
    }

    /// @dev As in a transaction of its own, by the portfolio's call. Cooling forgets slots, but not accounts, each
    /// of which a transaction pays for when it meets it.
    function _coldReport() private returns (uint256 spent) {
        _cool();
        uint256 before = gasleft();
        connector.report(key);
        spent = before - gasleft() + 2_500 * cold.length;
    }

    function test_what_each_action_costs() public {
        maxPositions = 2;
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
