// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {ERC4626} from "@openzeppelin/contracts/token/ERC20/extensions/ERC4626.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {Connector} from "../src/connectors/Connector.sol";
import {ERC4626Connector} from "../src/connectors/ERC4626Connector.sol";
import {ConnectorTest} from "./ConnectorTest.sol";

/// @dev OpenZeppelin's vault without virtual decimals: the one an inflation attack works on.
contract PlainVault is ERC4626 {
    constructor(IERC20 asset_) ERC20("Plain", "P") ERC4626(asset_) {}
}

contract ERC4626ConnectorTest is ConnectorTest {
    address private target;
    PlainVault private plain;
    bytes32[] private keys;

    function setUp() public override {
        super.setUp();
        target = _address(".metamorpho.vault");
        plain = new PlainVault(IERC20(asset));
        keys.push(_keyOf(target));
        keys.push(_keyOf(address(plain)));
        key = keys[0];
        connector = new ERC4626Connector(address(this), keys);
    }

    function _protocol() internal view override returns (address) {
        return target;
    }

    function test_what_is_no_vault_is_no_key() public {
        keys[1] = _keyOf(makeAddr("vault"));
        vm.expectRevert(abi.encodeWithSelector(Connector.InvalidKey.selector, keys[1]));
        new ERC4626Connector(address(this), keys);
        keys[1] = _keyOf(address(this));
        vm.expectRevert(abi.encodeWithSelector(Connector.InvalidKey.selector, keys[1]));
        new ERC4626Connector(address(this), keys);
    }

    function test_class_R_a_key_is_an_address_and_nothing_more() public {
        keys[1] = bytes32(uint256(keys[0]) | 1 << 160);
        vm.expectRevert(abi.encodeWithSelector(Connector.InvalidKey.selector, keys[1]));
        new ERC4626Connector(address(this), keys);
        keys[1] = 0;
        vm.expectRevert(abi.encodeWithSelector(Connector.InvalidKey.selector, keys[1]));
        new ERC4626Connector(address(this), keys);
    }

    function test_class_R_a_key_counts_once() public {
        keys[1] = keys[0];
        vm.expectRevert(abi.encodeWithSelector(Connector.DuplicateKey.selector, keys[0]));
        new ERC4626Connector(address(this), keys);
    }

    /// @dev The attack takes everything from one who calls the vault directly; the connector refuses.
    function test_M_10_an_inflated_share_price_is_refused() public {
        key = keys[1];
        address attacker = makeAddr("attacker");
        deal(asset, attacker, 1_001e6);
        vm.startPrank(attacker);
        IERC20(asset).approve(address(plain), 1);
        plain.deposit(1, attacker);
        assertTrue(IERC20(asset).transfer(address(plain), 1_000e6));
        vm.stopPrank();

        // Half of the deposit would be gone, and the vault's own preview says so without a blush.
        uint256 assets = 750e6;
        assertLt(plain.previewRedeem(plain.previewDeposit(assets)), assets * 9 / 10);
        deal(asset, address(connector), assets);
        vm.expectPartialRevert(Connector.SlippageExceeded.selector);
        connector.supply(key, assets);
    }

    function test_H_15_shares_are_not_assets() public {
        key = keys[1];
        _supply(1_000e6);
        deal(asset, address(plain), 2_000e6);
        assertApproxEqAbs(_value(), 2_000e6, 2, "a share has doubled");
    }

    function test_class_E_a_full_exit_takes_what_the_vault_can_pay_now() public {
        _supply(50_000_000e6);
        uint256 value = _value();
        // A whale borrows nearly everything from the vault's largest market, through Morpho itself.
        uint256 payable_ = _drain();
        assertLt(payable_, value, "the drain must bite");
        uint256 withdrawn = connector.withdraw(key, EVERYTHING);
        assertApproxEqAbs(withdrawn, payable_, 2);
        assertApproxEqAbs(_value() + withdrawn, value, 4, "the rest is still a position");
    }

    /// @return left what the vault can still pay
    function _drain() private returns (uint256 left) {
        address morpho = _address(".morpho.address");
        address whale = makeAddr("whale");
        address collateral = _token("wstETH");
        deal(collateral, whale, 1_000_000e18);
        vm.startPrank(whale);
        IERC20(collateral).approve(morpho, type(uint256).max);
        (bool read, bytes memory params) =
            morpho.call(abi.encodeWithSignature("idToMarketParams(bytes32)", _market("wstETH/USDC")));
        assertTrue(read);
        (bool given,) = morpho.call(
            abi.encodePacked(
                bytes4(
                    keccak256(
                        "supplyCollateral((address,address,address,address,uint256),uint256,address,bytes)"
                    )
                ),
                params,
                abi.encode(uint256(1_000_000e18), whale, uint256(256), uint256(0))
            )
        );
        assertTrue(given);
        uint256 cash = _balance(asset, morpho);
        (bool lent,) = morpho.call(
            abi.encodePacked(
                bytes4(
                    keccak256(
                        "borrow((address,address,address,address,uint256),uint256,uint256,address,address)"
                    )
                ),
                params,
                abi.encode(_liquidity(morpho) - 1_000e6, uint256(0), whale, whale)
            )
        );
        assertTrue(lent);
        assertLt(_balance(asset, morpho), cash);
        vm.stopPrank();
        left = ERC4626(target).maxWithdraw(address(connector));
    }

    function _liquidity(address morpho) private returns (uint256) {
        (bool read, bytes memory words) =
            morpho.call(abi.encodeWithSignature("market(bytes32)", _market("wstETH/USDC")));
        assertTrue(read);
        (uint256 supplied,, uint256 borrowed) = abi.decode(words, (uint256, uint256, uint256));
        return supplied - borrowed;
    }
}
