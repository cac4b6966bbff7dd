// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {AaveV3Connector} from "../src/connectors/AaveV3Connector.sol";
import {IAaveV3Pool} from "../src/connectors/IAaveV3.sol";
import {Connector} from "../src/connectors/Connector.sol";
import {Status} from "../src/interfaces/Types.sol";
import {ConnectorTest} from "./ConnectorTest.sol";

contract AaveV3ConnectorTest is ConnectorTest {
    address private pool;
    bytes32 private etherKey;

    function setUp() public override {
        super.setUp();
        pool = _address(".aave.pool");
        key = _keyOf(asset);
        etherKey = _keyOf(_token("WETH"));
        bytes32[] memory keys = new bytes32[](2);
        (keys[0], keys[1]) = (key, etherKey);
        connector = _deploy(keys);
    }

    function _deploy(bytes32[] memory keys) private returns (AaveV3Connector) {
        AaveV3Connector.Terms memory terms;
        (terms.keys, terms.minHealth) = (keys, 1.05e18);
        return new AaveV3Connector(address(this), IAaveV3Pool(pool), terms);
    }

    function _protocol() internal view override returns (address) {
        return pool;
    }

    function _tooMuch(uint256) internal pure override returns (bytes memory) {
        return abi.encodeWithSignature("NotEnoughAvailableUserBalance()");
    }

    function test_an_asset_the_pool_does_not_know_is_no_key() public {
        bytes32[] memory keys = new bytes32[](1);
        keys[0] = _keyOf(makeAddr("token"));
        vm.expectRevert(abi.encodeWithSelector(Connector.InvalidKey.selector, keys[0]));
        _deploy(keys);
    }

    function test_class_R_a_key_counts_once() public {
        bytes32[] memory keys = new bytes32[](2);
        (keys[0], keys[1]) = (key, key);
        vm.expectRevert(abi.encodeWithSelector(Connector.DuplicateKey.selector, key));
        _deploy(keys);
    }

    function test_class_U_another_asset_is_valued_as_a_range() public {
        _priceEther();
        address weth = _token("WETH");
        deal(weth, address(connector), 2e18);
        connector.supply(etherKey, 2e18);
        (uint256 low, uint256 high, uint256 status) = connector.report(etherKey);
        assertEq(status, uint256(Status.OK));
        // Half a per cent of deviation on each of two feeds.
        assertApproxEqAbs(low, uint256(6000e6) * 9950 / 10_050, 10);
        assertApproxEqAbs(high, uint256(6000e6) * 10_050 / 9950, 10);
    }

    function test_class_O_a_stale_feed_shows_in_the_report() public {
        _priceEther();
        deal(_token("WETH"), address(connector), 2e18);
        connector.supply(etherKey, 2e18);
        vm.warp(block.timestamp + 1 days + 1);
        (uint256 low,, uint256 status) = connector.report(etherKey);
        assertEq(status, uint256(Status.STALE));
        assertGt(low, 0, "exits still have a floor");
    }

    function test_class_S_O_where_nothing_can_be_owed_no_key_is_in_doubt_for_another() public {
        _priceEther();
        bytes32[] memory keys = new bytes32[](2);
        (keys[0], keys[1]) = (etherKey, key);
        connector = _deploy(keys);
        deal(_token("WETH"), address(connector), 2e18);
        connector.supply(etherKey, 2e18);
        _supply(10e6);
        vm.warp(block.timestamp + 1 days + 1);
        (,, uint256 status) = connector.report(etherKey);
        assertEq(status, uint256(Status.STALE));
        (,, status) = connector.report(key);
        assertEq(status, uint256(Status.OK));
    }

    function test_M_28_received_atokens_count() public {
        _supply(10e6);
        address aToken = _address(".aave.reserves.USDC.a_token");
        uint256 before = _value();
        address donor = makeAddr("donor");
        deal(asset, donor, 5e6);
        vm.startPrank(donor);
        (bool approved,) = asset.call(abi.encodeWithSignature("approve(address,uint256)", pool, 5e6));
        assertTrue(approved);
        IAaveV3Pool(pool).supply(asset, 5e6, address(connector), 0);
        vm.stopPrank();
        assertApproxEqAbs(_value(), before + 5e6, 2);
        assertEq(_value(), _balance(aToken, address(connector)));
    }
}
