// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Connector} from "../src/connectors/Connector.sol";
import {IMorphoBlue} from "../src/connectors/IMorphoBlue.sol";
import {MorphoBlueConnector} from "../src/connectors/MorphoBlueConnector.sol";
import {ConnectorTest} from "./ConnectorTest.sol";
import {stdError} from "forge-std/Test.sol";
import {Id, IMorpho, MarketParams} from "@morpho-org/morpho-blue/src/interfaces/IMorpho.sol";
import {MorphoBalancesLib} from "@morpho-org/morpho-blue/src/libraries/periphery/MorphoBalancesLib.sol";
import {MorphoLib} from "@morpho-org/morpho-blue/src/libraries/periphery/MorphoLib.sol";

contract MorphoBlueConnectorTest is ConnectorTest {
    using MorphoBalancesLib for IMorpho;
    using MorphoLib for IMorpho;

    IMorpho private morpho;
    bytes32[] private keys;

    function setUp() public override {
        super.setUp();
        morpho = IMorpho(_address(".morpho.address"));
        keys.push(_market("wstETH/USDC"));
        keys.push(_market("WBTC/USDC"));
        keys.push(_market("WETH/USDC"));
        key = keys[0];
        connector = _deploy();
    }

    function _deploy() private returns (MorphoBlueConnector) {
        MorphoBlueConnector.Terms memory terms;
        (terms.keys, terms.minHealth) = (keys, 1.05e18);
        return new MorphoBlueConnector(address(this), IMorphoBlue(address(morpho)), terms);
    }

    function _protocol() internal view override returns (address) {
        return address(morpho);
    }

    function _tooMuch(uint256) internal pure override returns (bytes memory) {
        return stdError.arithmeticError;
    }

    function test_a_market_that_does_not_exist_is_no_key() public {
        keys[1] = keccak256("market");
        vm.expectRevert(abi.encodeWithSelector(Connector.InvalidKey.selector, keys[1]));
        _deploy();
    }

    function test_class_R_a_key_counts_once() public {
        keys[1] = keys[0];
        vm.expectRevert(abi.encodeWithSelector(Connector.DuplicateKey.selector, keys[0]));
        _deploy();
    }

    /// @dev Against Morpho's own library, with and without a market fee.
    function testFuzz_class_V_the_report_is_what_morpho_would_pay(uint256 which, uint256 assets, uint256 time)
        public
    {
        key = keys[bound(which, 0, 2)];
        _supply(bound(assets, 1, 10_000_000e6));
        vm.warp(block.timestamp + bound(time, 0, 365 days));
        MarketParams memory params = morpho.idToMarketParams(Id.wrap(key));
        assertEq(_value(), morpho.expectedSupplyAssets(params, address(connector)));
        morpho.accrueInterest(params);
        assertEq(_value(), morpho.expectedSupplyAssets(params, address(connector)), "after accrual");
    }

    function test_M_45_a_full_exit_burns_every_share() public {
        _supply(100_000e6);
        vm.warp(block.timestamp + 7 days);
        connector.withdraw(key, EVERYTHING);
        assertEq(morpho.supplyShares(Id.wrap(key), address(connector)), 0);
    }

    /// @dev What is left of the market, and rounded by a unit, may be a small part of what has left it.
    function testFuzz_class_E_who_owns_nearly_all_of_a_market_can_leave(uint256 assets, uint256 time) public {
        _supply(bound(assets, 100_000_000e6, 100_000_000_000e6));
        vm.warp(block.timestamp + bound(time, 1, 365 days));
        morpho.accrueInterest(morpho.idToMarketParams(Id.wrap(key)));
        uint256 value = _value();
        assertEq(connector.withdraw(key, value - value / 1_000), value - value / 1_000);
        value = _value();
        assertEq(connector.withdraw(key, EVERYTHING), value);
        assertEq(morpho.supplyShares(Id.wrap(key), address(connector)), 0);
    }

    function test_M_41_a_full_exit_cannot_be_upset_by_one_unit_from_outside() public {
        _supply(100_000e6);
        address donor = makeAddr("donor");
        deal(asset, donor, 1);
        MarketParams memory params = morpho.idToMarketParams(Id.wrap(key));
        vm.startPrank(donor);
        (bool approved,) = asset.call(abi.encodeWithSignature("approve(address,uint256)", morpho, 1));
        assertTrue(approved);
        morpho.supply(params, 1, 0, address(connector), "");
        vm.stopPrank();
        connector.withdraw(key, EVERYTHING);
        assertEq(_value(), 0);
    }

    function test_class_V_markets_are_told_apart() public {
        _supply(1_000e6);
        key = keys[1];
        assertEq(_value(), 0);
        _supply(2_000e6);
        assertApproxEqAbs(_value(), 2_000e6, 1);
        key = keys[0];
        assertApproxEqAbs(_value(), 1_000e6, 1);
    }

    /// @dev A unit of rounding is a share, and a share of this market is worth a whole dollar.
    function test_M_10_an_inflated_share_price_is_refused_both_ways() public {
        _supply(1_000e6);
        _inflate();
        deal(asset, address(connector), 1_000.5e6);
        vm.expectRevert(
            abi.encodeWithSelector(Connector.SlippageExceeded.selector, 1_000_499_999, 1_000_329_902)
        );
        connector.supply(key, 1_000.5e6);
        vm.expectRevert(abi.encodeWithSelector(Connector.SlippageExceeded.selector, 2, 983_608));
        connector.withdraw(key, 1);
    }

    /// @dev As after interest on a market that has hardly any shares.
    function _inflate() private {
        morpho.accrueInterest(morpho.idToMarketParams(Id.wrap(key)));
        bytes32 slot = keccak256(abi.encode(key, uint256(3)));
        uint256 assets = uint128(uint256(vm.load(address(morpho), slot)));
        vm.store(address(morpho), slot, bytes32(assets | (assets / 1e6) << 128));
    }

    /// @dev Marginal cost of one more market with every slot of Morpho and of the rate model cold. Reading
    /// Morpho's four slots and asking the devnet's rate model are about 17,000 of it.
    function test_reporting_another_market_stays_within_its_gas() public {
        for (uint256 i = 0; i < 2; i++) {
            key = keys[i];
            _supply(1_000e6);
        }
        vm.warp(block.timestamp + 1 days);
        (uint256 first, uint256 second) = _reportBoth();
        emit log_named_uint("first market", first);
        emit log_named_uint("second market", second);
        assertLe(second, 23_000);
    }

    function _reportBoth() private returns (uint256 first, uint256 second) {
        (bytes32 a, bytes32 b) = (keys[0], keys[1]);
        vm.cool(address(morpho));
        vm.cool(_address(".morpho.irm"));
        vm.cool(address(connector));
        uint256 start = gasleft();
        connector.report(a);
        first = start - gasleft();
        start = gasleft();
        connector.report(b);
        second = start - gasleft();
    }
}
