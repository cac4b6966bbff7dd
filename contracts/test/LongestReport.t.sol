// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {Id, IMorpho, MarketParams} from "@morpho-org/morpho-blue/src/interfaces/IMorpho.sol";
import {MarketParamsLib} from "@morpho-org/morpho-blue/src/libraries/MarketParamsLib.sol";
import {AaveV3Connector} from "../src/connectors/AaveV3Connector.sol";
import {ERC4626Connector} from "../src/connectors/ERC4626Connector.sol";
import {IAaveV3Pool} from "../src/connectors/IAaveV3.sol";
import {IMorphoBlue} from "../src/connectors/IMorphoBlue.sol";
import {MorphoBlueConnector} from "../src/connectors/MorphoBlueConnector.sol";
import {TokenConnector} from "../src/connectors/TokenConnector.sol";
import {Status} from "../src/interfaces/Types.sol";
import {ReportLib} from "../src/libraries/ReportLib.sol";
import {ChainlinkSource} from "../src/oracle/ChainlinkSource.sol";
import {CheckedSource} from "../src/oracle/CheckedSource.sol";
import {OracleRouter} from "../src/oracle/OracleRouter.sol";
import {IUniswapV3Pool, UniswapV3TwapSource} from "../src/oracle/UniswapV3TwapSource.sol";
import {PlainVault} from "./ERC4626Connector.t.sol";
import {CheckedEther} from "./fixtures/CheckedEther.sol";
import {ConnectorFixture} from "./fixtures/ConnectorFixture.sol";
import {GrownPool} from "./fixtures/GrownPool.sol";

/// @dev A market's oracle that reads as much as one of two feeds does: a dollar's worth of Ether, and 30 digits.
contract SlowOracle {
    uint256[16] private read;

    function price() external view returns (uint256) {
        uint256 sum;
        for (uint256 i; i < read.length; ++i) {
            sum += read[i];
        }
        return sum + uint256(1e48) / 3000;
    }
}

/// @title What was accepted while a pool was quiet reports when its search is longest
/// @notice Each connector is made, and read, in a transaction that has met nothing before.
contract LongestReportTest is ConnectorFixture, CheckedEther, GrownPool {
    using MarketParamsLib for MarketParams;

    address private weth;
    IMorpho private morpho;
    bytes32 private market;

    function setUp() public override {
        super.setUp();
        weth = _token("WETH");
        key = _keyOf(weth);
        morpho = IMorpho(_address(".morpho.address"));
        market = _market("WETH/USDC");
        router = _checkedEther(asset);
    }

    /// forge-config: default.isolate = true
    function test_class_V_a_token_reports_within_its_gas() public {
        uint256 needed = _make(abi.encodeCall(this.makeToken, ()));
        _give(weth, 3e18);
        connector.supply(key, 3e18);
        _reports(needed);
    }

    /// forge-config: default.isolate = true
    function test_class_V_shares_report_within_its_gas() public {
        key = _keyOf(address(new PlainVault(IERC20(weth))));
        uint256 needed = _make(abi.encodeCall(this.makeShares, ()));
        _give(weth, 3e18);
        connector.supply(key, 3e18);
        _reports(needed);
    }

    /// forge-config: default.isolate = true
    function test_class_V_a_supply_at_aave_reports_within_its_gas() public {
        uint256 needed = _make(abi.encodeCall(this.makeAave, (false)));
        _give(weth, 3e18);
        connector.supply(key, 3e18);
        _reports(needed);
    }

    /// forge-config: default.isolate = true
    function test_class_V_a_supply_at_morpho_reports_within_its_gas() public {
        MarketParams memory params = morpho.idToMarketParams(Id.wrap(market));
        (params.loanToken, params.collateralToken) = (weth, asset);
        morpho.createMarket(params);
        market = Id.unwrap(params.id());
        key = market;
        uint256 needed = _make(abi.encodeCall(this.makeMorpho, (false)));
        _give(weth, 300e18);
        connector.supply(key, 300e18);
        address borrower = makeAddr("borrower");
        vm.mockCall(params.oracle, abi.encodeWithSignature("price()"), abi.encode(uint256(1e48) / 3000));
        deal(asset, borrower, 100_000e6);
        vm.startPrank(borrower);
        IERC20(asset).approve(address(morpho), 100_000e6);
        morpho.supplyCollateral(params, 100_000e6, borrower, "");
        morpho.borrow(params, 10e18, 0, borrower, borrower);
        vm.stopPrank();
        _reports(needed);
    }

    /// forge-config: default.isolate = true
    function test_class_V_by_the_mean_alone_a_loan_at_aave_reports_within_its_gas() public {
        _byTheMean();
        uint256 needed = _make(abi.encodeCall(this.makeAave, (true)));
        _give(weth, 300e18);
        connector.supply(key, 300e18);
        AaveV3Connector(address(connector)).borrow(_keyOf(asset), 100_000e6);
        _reports(needed);
    }

    /// forge-config: default.isolate = true
    function test_class_V_by_the_mean_alone_a_loan_at_morpho_reports_within_its_gas() public {
        _byTheMean();
        key = market;
        uint256 needed = _make(abi.encodeCall(this.makeMorpho, (true)));
        _give(weth, 300e18);
        MorphoBlueConnector(address(connector)).supplyCollateral(key, 300e18);
        MorphoBlueConnector(address(connector)).borrow(key, 100_000e6);
        _give(asset, 1e6);
        connector.supply(key, 1e6);
        _reports(needed);
    }

    /// @dev What is lent and what is owed are priced one after the other, and anyone may lend on our behalf. A market's
    /// oracle that is dear in itself then has too little left, and of the report health alone is missing.
    /// forge-config: default.isolate = true
    function test_class_V_by_the_mean_alone_a_debt_beside_a_gift_at_morpho_reports_within_its_gas() public {
        _byTheMean();
        MarketParams memory params = morpho.idToMarketParams(Id.wrap(market));
        (params.loanToken, params.collateralToken) = (weth, asset);
        params.oracle = address(new SlowOracle());
        morpho.createMarket(params);
        key = Id.unwrap(params.id());
        uint256 needed = _make(abi.encodeCall(this.makeMorpho, (true)));
        // That is more than is kept for the market's oracle.
        uint256 price = OracleRouter(router).valueGas(weth, asset);
        assertApproxEqAbs(needed, 42_300 + price + price / 2 + 5_000, 3_000);
        address stranger = makeAddr("stranger");
        deal(weth, stranger, 300e18);
        vm.startPrank(stranger);
        IERC20(weth).approve(address(morpho), 300e18);
        morpho.supply(params, 300e18, 0, address(connector), "");
        vm.stopPrank();
        _give(asset, 300_000e6);
        MorphoBlueConnector(address(connector)).supplyCollateral(key, 300_000e6);
        MorphoBlueConnector(address(connector)).borrow(key, 1e12);
        skip(50 days);
        _push("USDC/USD", 1e8);
        _push("ETH/USD", 3000e8);
        _grow(IUniswapV3Pool(_address(".uniswap.pools['USDC/WETH'].address")), MOST_OBSERVATIONS, 61);
        (uint256 low, uint256 high, uint256 state) = connector.report(key);
        (uint256 lowWithin, uint256 highWithin, uint256 stateWithin) = connector.report{gas: needed}(key);
        assertGt(low, 0);
        assertEq(lowWithin, low);
        assertEq(highWithin, high);
        (, uint256 debt, uint256 health) = ReportLib.unpack(state);
        (, uint256 debtWithin, uint256 healthWithin) = ReportLib.unpack(stateWithin);
        assertEq(debtWithin, debt);
        assertGt(health, 0);
        assertEq(healthWithin, 0);
    }

    /// @dev The history of rounds is then looked at to its full depth, as it was not when the connector was made.
    /// forge-config: default.isolate = true
    function test_class_V_while_a_feed_repeats_itself_a_loan_at_aave_reports_within_its_gas() public {
        ChainlinkSource.Config memory config;
        (config.base, config.quote, config.aggregator) = (weth, USD, _feed("ETH/USD", "proxy"));
        (config.heartbeat, config.constantAfter) = (1 hours + 5 minutes, 6 hours);
        (config.minimum, config.maximum, config.deviationBps) = (100e18, 100_000e18, 50);
        (config.sequencer, config.gracePeriod) = (_address(".sequencer"), 1 hours);
        _push("ETH/USD", 3001e8);
        _push("ETH/USD", 3000e8);
        OracleRouter.Route[] memory routes = new OracleRouter.Route[](1);
        routes[0] = _throughDollars(weth, asset, new ChainlinkSource(config), _feedSource(asset, "USDC/USD"));
        router = address(new OracleRouter(routes));
        uint256 needed = _make(abi.encodeCall(this.makeAave, (true)));
        _give(weth, 300e18);
        connector.supply(key, 300e18);
        AaveV3Connector(address(connector)).borrow(_keyOf(asset), 100_000e6);
        for (uint256 i; i < 130; ++i) {
            _push("ETH/USD", 3000e8);
        }
        uint256 taken = gasleft();
        (uint256 low,, uint256 state) = connector.report{gas: REPORT_GAS}(key);
        taken = taken - gasleft() - 2_500;
        emit log_named_uint("taken", taken);
        assertGt(low, 0);
        (uint256 status,, uint256 health) = ReportLib.unpack(state);
        assertEq(status, uint256(Status.OK));
        assertGt(health, 0);
        assertLt(needed, taken);
    }

    /// forge-config: default.isolate = true
    function test_class_V_loans_under_checked_prices_are_refused() public {
        assertGt(_tooDear(abi.encodeCall(this.makeAave, (true))), REPORT_GAS);
        key = market;
        assertGt(_tooDear(abi.encodeCall(this.makeMorpho, (true))), REPORT_GAS);
    }

    // THE FIGURES THAT THE PAGE FOR OPERATORS GIVES

    /// forge-config: default.isolate = true
    function test_class_V_prices_stay_within_its_gas_that_the_page_for_operators_says() public {
        address[2] memory uptimes = [address(0), _address(".sequencer")];
        OracleRouter[5] memory routers;
        for (uint256 i; i < 2; ++i) {
            routers[2 + i] = OracleRouter(_checkedEther(asset, uptimes[i]));
            CheckedSource source = CheckedSource(address(routers[2 + i].hops(weth, asset)[0].source));
            routers[i] = OracleRouter(address(source.feeds()));
        }
        _byTheMean();
        routers[4] = OracleRouter(router);
        uint24[5] memory quiet = [77_000, uint24(91_000), 147_000, 161_000, 42_000];
        uint24[5] memory longest = [77_000, uint24(91_000), 233_000, 247_000, 124_000];
        for (uint256 i; i < 5; ++i) {
            assertApproxEqAbs(_valueTakes(routers[i]), quiet[i], 1_000);
        }
        skip(50 days);
        _push("USDC/USD", 1e8);
        _push("ETH/USD", 3000e8);
        _grow(IUniswapV3Pool(_address(".uniswap.pools['USDC/WETH'].address")), MOST_OBSERVATIONS, 61);
        for (uint256 i; i < 5; ++i) {
            assertApproxEqAbs(_valueTakes(routers[i]), longest[i], 1_000);
        }
    }

    function _valueTakes(OracleRouter asked) private view returns (uint256 used) {
        (address from, address to) = (weth, asset);
        used = gasleft();
        asked.value(from, to, 1e18);
        used -= gasleft();
    }

    // THE CONNECTORS

    function makeToken() external {
        address[] memory tokens = new address[](1);
        tokens[0] = weth;
        connector = new TokenConnector(address(this), tokens);
    }

    function makeShares() external {
        connector = new ERC4626Connector(address(this), _one(key), new address[](0));
    }

    function makeAave(bool loan) external {
        AaveV3Connector.Terms memory terms;
        (terms.keys, terms.minHealth) = (_one(key), 1.05e18);
        if (loan) {
            (terms.keys, terms.borrowable) = (new bytes32[](2), _one(_keyOf(asset)));
            (terms.keys[0], terms.keys[1]) = (key, _keyOf(asset));
        }
        connector = new AaveV3Connector(address(this), IAaveV3Pool(_address(".aave.pool")), terms);
    }

    function makeMorpho(bool loan) external {
        MorphoBlueConnector.Terms memory terms;
        terms.minHealth = 1.05e18;
        if (loan) terms.borrowable = _one(key);
        else terms.keys = _one(key);
        connector = new MorphoBlueConnector(address(this), IMorphoBlue(address(morpho)), terms);
    }

    // STEPS

    function _one(bytes32 only) private pure returns (bytes32[] memory keys) {
        keys = new bytes32[](1);
        keys[0] = only;
    }

    function _byTheMean() private {
        UniswapV3TwapSource mean = new UniswapV3TwapSource(
            IUniswapV3Pool(_address(".uniswap.pools['USDC/WETH'].address")), weth, asset, 1 hours, 300, 1e15
        );
        OracleRouter.Route[] memory routes = new OracleRouter.Route[](1);
        routes[0] = OracleRouter.Route(weth, asset, new OracleRouter.Hop[](1));
        routes[0].hops[0].source = mean;
        router = address(new OracleRouter(routes));
    }

    /// @return needed by a report, as the connector counts
    function _make(bytes memory call) private returns (uint256 needed) {
        uint256 stipend = REPORT_GAS;
        REPORT_GAS = 1;
        needed = _tooDear(call);
        REPORT_GAS = stipend;
        (bool success,) = address(this).call(call);
        assertTrue(success, "refused");
    }

    function _tooDear(bytes memory call) private returns (uint256 needed) {
        (bool success, bytes memory reason) = address(this).call(call);
        assertFalse(success, "accepted");
        needed = _estimateIn(reason);
        emit log_named_uint("counted", needed);
    }

    /// @dev By the portfolio's call.
    function _reports(uint256 needed) private {
        skip(50 days);
        _push("USDC/USD", 1e8);
        _push("ETH/USD", 3000e8);
        bytes memory data = abi.encodeCall(connector.report, (key));
        IUniswapV3Pool pool = IUniswapV3Pool(_address(".uniswap.pools['USDC/WETH'].address"));
        uint256 quiet = gasleft();
        connector.report(key);
        emit log_named_uint("quiet", quiet - gasleft() - 2_500);
        _grow(pool, MOST_OBSERVATIONS, 61);
        uint256 taken = gasleft();
        (bool success, bytes memory answer) = address(connector).staticcall{gas: REPORT_GAS}(data);
        taken = taken - gasleft() - 2_500;
        emit log_named_uint("taken", taken);
        assertTrue(success);
        (uint256 low,, uint256 state) = abi.decode(answer, (uint256, uint256, uint256));
        assertGt(low, 0);
        (uint256 status, uint256 debt, uint256 health) = ReportLib.unpack(state);
        assertEq(status, uint256(Status.OK));
        assertEq(health == 0, debt == 0);
        assertLe(taken, needed);
        assertGt(taken, needed * 8 / 10);
    }
}
