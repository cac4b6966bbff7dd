// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {Test} from "forge-std/Test.sol";
import {ERC4626Connector} from "../src/connectors/ERC4626Connector.sol";
import {IERC7540Redeem} from "../src/interfaces/IERC7540.sol";
import {Token} from "./fixtures/Tokens.sol";

/// @dev Shares at a price that a test sets, with as many digits as it sets, or with a number of them that it does
/// not tell; redeemed at once or on request.
contract PricedVault is ERC20 {
    error Silent();

    Token public immutable asset;
    uint256 private immutable DIGITS;
    bool private immutable ON_REQUEST;
    bool private isWorthless;
    bool private hasPreview = true;

    constructor(Token asset_, uint256 digits, bool onRequest) ERC20("Priced", "P") {
        (asset, DIGITS, ON_REQUEST) = (asset_, digits, onRequest);
    }

    function mint(address to, uint256 shares) external {
        _mint(to, shares);
    }

    function set(bool isWorthless_, bool hasPreview_) external {
        (isWorthless, hasPreview) = (isWorthless_, hasPreview_);
    }

    function supportsInterface(bytes4 id) external view returns (bool) {
        return id == 0x01ffc9a7 || (ON_REQUEST && id == type(IERC7540Redeem).interfaceId);
    }

    function decimals() public view override returns (uint8) {
        if (DIGITS == type(uint256).max) revert Silent();
        return uint8(DIGITS);
    }

    function previewRedeem(uint256 shares) external view returns (uint256) {
        if (!hasPreview) revert Silent();
        return convertToAssets(shares);
    }

    function convertToAssets(uint256 shares) public view returns (uint256) {
        return isWorthless ? 0 : shares;
    }

    function maxWithdraw(address) external pure returns (uint256) {
        return 0;
    }

    function pendingRedeemRequest(uint256, address) external pure returns (uint256) {
        return 0;
    }

    function claimableRedeemRequest(uint256, address) external pure returns (uint256) {
        return 0;
    }
}

/// @title Shares that a vault says are worth nothing
/// @notice This test is the connector's portfolio and vault, and needs no registry.
contract WorthlessSharesTest is Test {
    uint256 public constant REPORT_GAS = 300_000;

    Token public asset;
    PricedVault private target;
    ERC4626Connector private connector;
    bytes32 private key;

    function vault() external view returns (address) {
        return address(this);
    }

    function registry() external pure returns (address) {
        return address(0);
    }

    function setUp() public {
        asset = new Token("USDC", 6);
    }

    /// @dev It has lost everything, or somebody makes it say so for a moment: a sound nothing would be paid out as
    /// such.
    function test_class_O_class_V_shares_worth_nothing_are_impaired() public {
        for (uint256 i; i < 2; ++i) {
            _open(6, i == 1);
            target.mint(address(connector), 500e6);
            assertEq(_value(), 500e6);
            target.set(true, true);
            _assertImpaired();
            target.set(true, false);
            _assertImpaired();
            target.set(false, true);
            assertEq(_value(), 500e6, "and sound again");
        }
    }

    /// @dev Nobody impairs an empty position by a gift, and rounding leaves no doubt behind. A share with more
    /// digits than the asset begins at less than a unit of it. Where nobody knows its digits it counts as if it had
    /// as many, and more than 21 further ones as 21.
    function test_M_40_class_V_a_few_shares_may_be_worth_nothing() public {
        uint256[5] memory digits = [uint256(6), 2, 18, 36, type(uint256).max];
        uint256[5] memory dust = [uint256(1e3), 1e3, 1e15, 1e24, 1e3];
        uint256[5] memory assetDust = [uint256(1e3), 1e7, 1e3, 1e3, 1e3];
        for (uint256 i; i < 10; ++i) {
            _open(digits[i / 2], i % 2 == 1);
            target.set(true, true);
            assertEq(connector.dustOf(key), dust[i / 2]);
            assertEq(connector.assetDustOf(key), assetDust[i / 2]);
            target.mint(address(connector), dust[i / 2]);
            assertEq(_value(), 0);
            target.mint(address(connector), 1);
            _assertImpaired();
        }
    }

    function _open(uint256 digits, bool onRequest) private {
        target = new PricedVault(asset, digits, onRequest);
        _connect(address(target));
    }

    function _connect(address target_) private {
        bytes32[] memory keys = new bytes32[](1);
        keys[0] = key = bytes32(uint256(uint160(target_)));
        connector = new ERC4626Connector(address(this), keys, new address[](0));
    }

    function _value() private view returns (uint256 low) {
        uint256 high;
        uint256 status;
        (low, high, status) = connector.report(key);
        assertEq(low, high);
        assertEq(status, 0, "sound");
    }

    function _assertImpaired() private {
        vm.expectRevert(abi.encodeWithSelector(ERC4626Connector.Unreadable.selector, key));
        connector.report(key);
    }
}
