// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {Connector} from "../src/connectors/Connector.sol";
import {IConnector} from "../src/interfaces/IConnector.sol";
import {Status} from "../src/interfaces/Types.sol";
import {ChainlinkSource} from "../src/oracle/ChainlinkSource.sol";
import {OracleRouter} from "../src/oracle/OracleRouter.sol";
import {IPriceSource} from "../src/interfaces/IOracleRouter.sol";
import {Devnet} from "./Devnet.sol";

/// @title What every connector must do, on the real protocols
/// @notice This test is the connector's portfolio, vault and registry. A connector's own test says where the
/// position is and adds what only its protocol can do.
abstract contract ConnectorTest is Devnet {
    address internal constant USD = address(840);
    uint256 internal constant EVERYTHING = type(uint256).max;
    uint256 internal constant REPORT_GAS = 250_000;

    IConnector internal connector;
    bytes32 internal key;
    address public asset;
    address internal router;

    // THE VAULT'S SIDE

    function vault() external view returns (address) {
        return address(this);
    }

    function registry() external view returns (address) {
        return address(this);
    }

    function oracle(address) external view returns (address) {
        return router;
    }

    // WHAT A CONNECTOR'S TEST SAYS

    /// @dev Where approvals go.
    function _protocol() internal view virtual returns (address);

    function setUp() public virtual {
        _load();
        asset = _token("USDC");
    }

    // EVERY WAY IN AND OUT

    function test_class_E_open_increase_decrease_and_leave() public {
        _supply(1_000e6);
        assertApproxEqAbs(_value(), 1_000e6, 2);
        assertLe(_value(), 1_000e6, "supplying is no gain");
        _supply(500e6);
        assertApproxEqAbs(_value(), 1_500e6, 4);

        assertEq(connector.withdraw(key, 400e6), 400e6);
        assertEq(_balance(asset, address(this)), 400e6, "exactly what was asked for");
        assertApproxEqAbs(_value(), 1_100e6, 6);

        uint256 value = _value();
        uint256 withdrawn = connector.withdraw(key, EVERYTHING);
        assertEq(withdrawn, value, "the report is what an exit pays");
        assertEq(_balance(asset, address(this)), 400e6 + withdrawn);
        assertEq(_value(), 0);
    }

    function test_class_E_a_full_exit_takes_the_interest_of_its_own_block() public virtual {
        _supply(100_000e6);
        vm.warp(block.timestamp + 30 days);
        uint256 value = _value();
        assertGt(value, 100_000e6, "interest");
        assertEq(connector.withdraw(key, EVERYTHING), value);
        assertEq(_value(), 0);
    }

    function testFuzz_class_V_supplying_and_withdrawing_leave_value_unchanged(uint256 assets, uint256 part)
        public
    {
        assets = bound(assets, 1e6, 1_000_000e6);
        _supply(assets);
        vm.warp(block.timestamp + 1 days);
        uint256 value = _value();
        part = bound(part, 1, value - 10);
        connector.withdraw(key, part);
        uint256 left = _value();
        assertLe(left + part, value, "no gain");
        assertApproxEqAbs(left + part, value, 2, "no loss beyond rounding");
    }

    // WHO AND WHAT

    function test_class_I_only_the_portfolio_acts() public {
        _supply(10e6);
        address stranger = makeAddr("stranger");
        bytes memory refusal = abi.encodeWithSelector(Connector.NotPortfolio.selector, stranger);
        vm.startPrank(stranger);
        vm.expectRevert(refusal);
        connector.supply(key, 1);
        vm.expectRevert(refusal);
        connector.withdraw(key, EVERYTHING);
    }

    function test_D_10_a_key_that_is_not_listed_is_refused() public {
        bytes32 other = keccak256("other");
        bytes memory refusal = abi.encodeWithSelector(Connector.UnknownKey.selector, other);
        vm.expectRevert(refusal);
        connector.report(other);
        vm.expectRevert(refusal);
        connector.supply(other, 1);
        vm.expectRevert(refusal);
        connector.withdraw(other, 1);
    }

    function test_nothing_is_not_an_amount() public {
        vm.expectRevert(Connector.ZeroAmount.selector);
        connector.supply(key, 0);
        vm.expectRevert(Connector.ZeroAmount.selector);
        connector.withdraw(key, 0);
    }

    function test_an_empty_position_cannot_be_left() public {
        vm.expectRevert(abi.encodeWithSelector(Connector.EmptyPosition.selector, key));
        connector.withdraw(key, EVERYTHING);
    }

    function test_more_than_the_position_cannot_be_withdrawn() public {
        _supply(10e6);
        vm.expectRevert();
        connector.withdraw(key, 11e6);
    }

    function test_class_N_no_allowance_is_left() public {
        _supply(10e6);
        assertEq(IERC20(asset).allowance(address(connector), _protocol()), 0);
    }

    function test_class_N_tokens_already_there_are_not_spent() public virtual {
        deal(asset, address(connector), 7e6);
        _supply(10e6);
        assertEq(_balance(asset, address(connector)), 7e6);
        assertLe(_value(), 10e6, "loose tokens are no part of the position");
    }

    // VALUE

    function test_an_empty_position_is_worth_nothing() public view {
        (uint256 low, uint256 high, uint256 status) = connector.report(key);
        assertEq(low, 0);
        assertEq(high, 0);
        assertEq(status, uint256(Status.OK));
    }

    function test_a_report_fits_its_stipend() public {
        _supply(10e6);
        vm.warp(block.timestamp + 1 days);
        uint256 before = gasleft();
        connector.report(key);
        assertLt(before - gasleft(), REPORT_GAS);
    }

    // STEPS

    function _supply(uint256 assets) internal {
        deal(asset, address(this), _balance(asset, address(this)) + assets);
        assertTrue(IERC20(asset).transfer(address(connector), assets));
        connector.supply(key, assets);
    }

    function _value() internal view returns (uint256) {
        (uint256 low, uint256 high, uint256 status) = connector.report(key);
        assertEq(low, high);
        assertEq(status, uint256(Status.OK));
        return low;
    }

    /// @dev WETH to USDC through dollars, with the devnet's feeds.
    function _priceEther() internal {
        address weth = _token("WETH");
        OracleRouter.Route[] memory routes = new OracleRouter.Route[](1);
        routes[0].base = weth;
        routes[0].quote = asset;
        routes[0].hops = new OracleRouter.Hop[](2);
        routes[0].hops[0].source = _source(weth, "ETH/USD");
        routes[0].hops[1].source = _source(asset, "USDC/USD");
        routes[0].hops[1].inverse = true;
        router = address(new OracleRouter(routes));
        _push("ETH/USD", 3000e8);
        _push("USDC/USD", 1e8);
    }

    function _source(address base, string memory pair) private returns (IPriceSource) {
        ChainlinkSource.Config memory config;
        config.base = base;
        config.quote = USD;
        config.aggregator = _feed(pair, "proxy");
        config.heartbeat = 1 days;
        config.minimum = 0.01e18;
        config.maximum = 100_000e18;
        config.deviationBps = 50;
        return new ChainlinkSource(config);
    }
}
