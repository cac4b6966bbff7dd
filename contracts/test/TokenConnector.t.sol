// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {Connector} from "../src/connectors/Connector.sol";
import {TokenConnector} from "../src/connectors/TokenConnector.sol";
import {Status} from "../src/interfaces/Types.sol";
import {ConnectorTest} from "./ConnectorTest.sol";

contract TokenConnectorTest is ConnectorTest {
    address private weth;
    bytes32 private etherKey;

    function setUp() public override {
        super.setUp();
        weth = _token("WETH");
        (key, etherKey) = (_keyOf(asset), _keyOf(weth));
        address[] memory tokens = new address[](2);
        (tokens[0], tokens[1]) = (asset, weth);
        connector = new TokenConnector(address(this), tokens);
    }

    /// @dev There is none: nothing is ever approved.
    function _protocol() internal view override returns (address) {
        return address(connector);
    }

    function _tooMuch(uint256 wanted) internal view override returns (bytes memory) {
        return abi.encodeWithSelector(Connector.SlippageExceeded.selector, wanted, _value());
    }

    /// @dev A token that is held earns nothing, and is all there whenever it is asked for.
    function test_class_E_a_full_exit_takes_the_interest_of_its_own_block() public override {
        _supply(100_000e6);
        vm.warp(block.timestamp + 30 days);
        assertEq(_value(), 100_000e6);
        assertEq(connector.withdraw(key, EVERYTHING), 100_000e6);
        assertEq(_value(), 0);
    }

    function test_class_N_tokens_already_there_are_not_spent() public override {
        deal(asset, address(connector), 7e6);
        _supply(10e6);
        assertEq(_value(), 10e6, "a donation is no position");
        assertEq(connector.withdraw(key, EVERYTHING), 10e6);
        assertEq(_balance(asset, address(connector)), 7e6);
    }

    function test_everything_that_lies_there_is_supplied() public {
        deal(weth, address(connector), 3e18);
        connector.supply(etherKey, EVERYTHING);
        assertEq(_amount(etherKey), 3e18);
        connector.supply(etherKey, EVERYTHING);
        assertEq(_amount(etherKey), 3e18, "nothing more lay there");
        deal(weth, address(connector), 4e18);
        connector.supply(etherKey, EVERYTHING);
        assertEq(_amount(etherKey), 4e18);
    }

    function test_class_N_what_was_not_pushed_is_not_supplied() public {
        deal(weth, address(connector), 3e18);
        connector.supply(etherKey, 2e18);
        vm.expectRevert(abi.encodeWithSelector(Connector.SlippageExceeded.selector, 1e18 + 1, 1e18));
        connector.supply(etherKey, 1e18 + 1);
        connector.supply(etherKey, 1e18);
    }

    /// @dev Else it would grow a position that a batch does not look at.
    function test_class_R_a_token_that_is_pushed_under_another_key_is_no_position() public {
        deal(weth, address(connector), 3e18);
        _supply(10e6);
        connector.withdraw(key, 5e6);
        assertEq(_amount(etherKey), 0);
    }

    function test_class_N_only_what_is_not_held_is_collected() public {
        deal(weth, address(connector), 3e18);
        connector.supply(etherKey, 2e18);
        assertEq(Connector(address(connector)).collect(weth), 1e18);
        assertEq(_balance(weth, address(this)), 1e18);
        vm.expectRevert(Connector.ZeroAmount.selector);
        Connector(address(connector)).collect(weth);
        assertEq(_amount(etherKey), 2e18);
        address other = _token("DAI");
        vm.expectRevert(abi.encodeWithSelector(Connector.NotCollectable.selector, other));
        Connector(address(connector)).collect(other);
    }

    function test_class_E_a_token_comes_and_goes_in_its_own_units() public {
        deal(weth, address(connector), 3e18);
        connector.supply(etherKey, 3e18);
        assertEq(connector.withdraw(etherKey, 1e18), 1e18);
        assertEq(_balance(weth, address(this)), 1e18);
        assertEq(connector.withdraw(etherKey, EVERYTHING), 2e18);
        assertEq(_balance(weth, address(this)), 3e18);
        vm.expectRevert(abi.encodeWithSelector(Connector.EmptyPosition.selector, etherKey));
        connector.withdraw(etherKey, 1);
    }

    function test_class_U_a_token_is_valued_as_a_range() public {
        _priceEther();
        deal(weth, address(connector), 2e18);
        connector.supply(etherKey, 2e18);
        (uint256 low, uint256 high, uint256 status) = connector.report(etherKey);
        assertEq(status, uint256(Status.OK));
        assertApproxEqAbs(low, uint256(6000e6) * 9950 / 10_050, 10);
        assertApproxEqAbs(high, uint256(6000e6) * 10_050 / 9950, 10);
        vm.warp(block.timestamp + 1 days + 1);
        (,, status) = connector.report(etherKey);
        assertEq(status, uint256(Status.STALE));
    }

    /// @dev A balance that shrinks by itself is worth what is left, and can be left.
    function test_M_03_a_balance_that_shrinks_is_believed() public {
        _supply(10e6);
        deal(asset, address(connector), 4e6);
        assertEq(_value(), 4e6);
        assertEq(connector.withdraw(key, EVERYTHING), 4e6);
        deal(asset, address(connector), 6e6);
        assertEq(_value(), 0, "what comes back is a donation");
    }

    function test_class_V_the_vaults_own_share_is_no_key() public {
        address[] memory tokens = new address[](1);
        tokens[0] = address(this);
        vm.expectRevert(abi.encodeWithSelector(Connector.InvalidKey.selector, _keyOf(tokens[0])));
        new TokenConnector(address(this), tokens);
        tokens[0] = makeAddr("no contract");
        vm.expectRevert(abi.encodeWithSelector(Connector.InvalidKey.selector, _keyOf(tokens[0])));
        new TokenConnector(address(this), tokens);
    }

    function test_class_V_a_token_that_takes_too_much_to_read_is_refused() public {
        address[] memory tokens = new address[](1);
        tokens[0] = weth;
        REPORT_GAS = 12_000 + 15_000 + 255_000 - 1;
        vm.expectRevert(abi.encodeWithSelector(Connector.ReportTooDear.selector, REPORT_GAS + 1, REPORT_GAS));
        new TokenConnector(address(this), tokens);
        _priceEther();
        new TokenConnector(address(this), tokens);
        vm.etch(weth, hex"5b600056");
        vm.expectPartialRevert(Connector.ReportTooDear.selector);
        new TokenConnector(address(this), tokens);
    }

    function test_class_R_a_key_counts_once() public {
        address[] memory tokens = new address[](2);
        (tokens[0], tokens[1]) = (weth, weth);
        vm.expectRevert(abi.encodeWithSelector(Connector.DuplicateKey.selector, etherKey));
        new TokenConnector(address(this), tokens);
    }

    function _amount(bytes32 token) private view returns (uint256) {
        uint256 held = TokenConnector(address(connector)).amountOf(token);
        assertLe(held, IERC20(_addressOf(token)).balanceOf(address(connector)));
        return held;
    }

    function _addressOf(bytes32 token) private pure returns (address) {
        return address(uint160(uint256(token)));
    }
}
