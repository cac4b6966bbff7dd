// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IERC4626} from "@openzeppelin/contracts/interfaces/IERC4626.sol";
import {ERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Permit.sol";
import {IERC165} from "@openzeppelin/contracts/utils/introspection/IERC165.sol";
import {
    IERC7540Deposit,
    IERC7540Operator,
    IERC7540Redeem,
    IERC7575Share
} from "../src/interfaces/IERC7540.sol";
import {IERC7887Deposit, IERC7887Redeem} from "../src/interfaces/IERC7887.sol";
import {IVault, Params} from "../src/interfaces/IVault.sol";
import {Holdings} from "./fixtures/Holdings.sol";
import {UnevenPrice} from "./fixtures/UnevenPrice.sol";

/// @title What ERC-7575, ERC-165, ERC-4626 and ERC-2612 ask of the vault
contract ERC7575Test is UnevenPrice {
    // PREVIEWS AND CONVERSIONS

    function testFuzz_M_05_previews_revert_for_all_callers_and_inputs(address caller, uint256 amount) public {
        vm.startPrank(caller);
        bytes4[4] memory previews = [
            vault.previewDeposit.selector,
            vault.previewMint.selector,
            vault.previewWithdraw.selector,
            vault.previewRedeem.selector
        ];
        for (uint256 i; i < previews.length; ++i) {
            (bool success, bytes memory reason) =
                address(vault).staticcall(abi.encodeWithSelector(previews[i], amount));
            assertFalse(success);
            assertEq(reason, abi.encodeWithSelector(IVault.PreviewNotSupported.selector));
        }
    }

    function testFuzz_conversions_round_down(uint256 value, uint256 amount) public {
        settleAt(value);
        settle();
        amount = bound(amount, 0, 1e30);
        (uint256 supply, uint256 nav) = (vault.totalSupply() + 1e6, vault.totalAssets() + 1);
        assertEq(vault.convertToShares(amount), amount * supply / nav);
        assertEq(vault.convertToAssets(amount), amount * nav / supply);
        assertLe(vault.convertToAssets(vault.convertToShares(amount)), amount);
        assertLe(vault.convertToShares(vault.convertToAssets(amount)), amount);
    }

    function test_M_05_conversions_ignore_the_exit_fee() public {
        depositFor(alice, 100 * UNIT);
        uint256 assets = vault.convertToAssets(1e12);
        Params memory p = defaultParams();
        p.exitFee = 0.01e18;
        registry.submit(address(vault), address(vault), abi.encodeCall(vault.setParams, (p)));
        skip(3 days);
        vault.setParams(p);
        assertEq(vault.convertToAssets(1e12), assets);
        assertEq(vault.convertToShares(assets), 1e12);
    }

    function test_M_20_total_assets_is_the_last_settled_value_whatever_breaks() public {
        depositFor(alice, 100 * UNIT);
        supply(A, 60 * UNIT);
        for (uint256 mode = 1; mode < 5; ++mode) {
            connector.setMode(Holdings.Mode(mode));
            assertEq(vault.totalAssets(), 100 * UNIT);
        }
        token.mint(address(vault), UNIT);
        token.mint(address(portfolio), UNIT);
        assertEq(vault.totalAssets(), 100 * UNIT, "donations do not count");
    }

    // INTERFACES

    function test_class_T_interface_ids_follow_from_the_functions() public view {
        // ERC-7575: the exclusive or of every function of the vault interface.
        bytes4 id = IERC4626.asset.selector ^ vault.share.selector ^ IERC4626.totalAssets.selector
            ^ IERC4626.convertToShares.selector ^ IERC4626.convertToAssets.selector;
        id ^= IERC4626.maxDeposit.selector ^ IERC4626.previewDeposit.selector ^ IERC4626.deposit.selector;
        id ^= IERC4626.maxMint.selector ^ IERC4626.previewMint.selector ^ IERC4626.mint.selector;
        id ^= IERC4626.maxWithdraw.selector ^ IERC4626.previewWithdraw.selector ^ IERC4626.withdraw.selector;
        id ^= IERC4626.maxRedeem.selector ^ IERC4626.previewRedeem.selector ^ IERC4626.redeem.selector;
        assertEq(id, bytes4(0x2f0a18c5));
        assertTrue(vault.supportsInterface(id));
        assertEq(type(IERC7540Operator).interfaceId, bytes4(0xe3bc4e65));
        assertEq(type(IERC7540Deposit).interfaceId, bytes4(0xce3bbe50));
        assertEq(type(IERC7540Redeem).interfaceId, bytes4(0x620ee8e4));
        assertEq(type(IERC7575Share).interfaceId, bytes4(0xf815c03d));
    }

    function testFuzz_class_T_no_other_interface_is_claimed(bytes4 id) public view {
        bool known = id == type(IERC165).interfaceId || id == 0xe3bc4e65 || id == 0xce3bbe50
            || id == 0x620ee8e4 || id == 0x2f0a18c5 || id == 0xf815c03d;
        known = known || id == type(IERC7887Deposit).interfaceId || id == type(IERC7887Redeem).interfaceId;
        (bool success, bytes memory answer) =
            address(vault).staticcall{gas: 30_000}(abi.encodeCall(IERC165.supportsInterface, (id)));
        assertTrue(success, "within the gas of ERC-165");
        assertEq(abi.decode(answer, (bool)), known);
    }

    function testFuzz_the_share_knows_its_vault_by_asset(address asset) public view {
        assertEq(vault.share(), address(vault));
        assertEq(vault.asset(), address(token));
        assertEq(vault.vault(address(token)), address(vault));
        if (asset != address(token)) assertEq(vault.vault(asset), address(0));
    }

    function test_class_T_the_events_are_those_of_the_standards() public pure {
        bytes32[5] memory signatures = [
            keccak256("DepositRequest(address,address,uint256,address,uint256)"),
            keccak256("RedeemRequest(address,address,uint256,address,uint256)"),
            keccak256("OperatorSet(address,address,bool)"),
            IERC4626.Deposit.selector,
            IERC4626.Withdraw.selector
        ];
        assertEq(IVault.DepositRequest.selector, signatures[0]);
        assertEq(IVault.RedeemRequest.selector, signatures[1]);
        assertEq(IVault.OperatorSet.selector, signatures[2]);
        assertEq(IVault.Deposit.selector, signatures[3]);
        assertEq(IVault.Withdraw.selector, signatures[4]);
    }

    // PERMIT

    function test_the_permit_domain_is_one_a_wallet_can_show() public view {
        (bytes1 fields, string memory name, string memory version, uint256 chain, address at,,) =
            vault.eip712Domain();
        assertEq(fields, bytes1(0x0f), "name, version, chain id and contract");
        assertEq(name, vault.name());
        assertEq(name, "Omnikeeper USDC");
        assertEq(version, "1");
        assertEq(chain, block.chainid);
        assertEq(at, address(vault));
        bytes32 domain = keccak256(
            abi.encode(
                keccak256(
                    "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
                ),
                keccak256(bytes(name)),
                keccak256(bytes(version)),
                chain,
                at
            )
        );
        assertEq(vault.DOMAIN_SEPARATOR(), domain);
    }

    function testFuzz_a_permit_lets_a_spender_request(uint256 key, uint256 shares, uint256 deadline) public {
        key = boundPrivateKey(key);
        address owner = vm.addr(key);
        shares = bound(shares, 1e12, 100e12);
        depositFor(alice, 100 * UNIT);
        vm.prank(alice);
        vault.transfer(owner, 100e12);
        deadline = bound(deadline, block.timestamp, type(uint256).max);
        bytes32 digest = _permitDigest(owner, bob, shares, deadline);
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, digest);
        vm.startPrank(bob);
        vault.permit(owner, bob, shares, deadline, v, r, s);
        vault.requestRedeem(shares, bob, owner);
        assertEq(vault.pendingRedeemRequest(0, bob), shares);
        assertEq(vault.nonces(owner), 1);
        vm.expectPartialRevert(ERC20Permit.ERC2612InvalidSigner.selector);
        vault.permit(owner, bob, shares, deadline, v, r, s);
    }

    function test_a_permit_ends_with_its_deadline() public {
        uint256 key = uint256(keccak256("owner"));
        uint256 deadline = block.timestamp;
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, _permitDigest(vm.addr(key), bob, 1, deadline));
        skip(1);
        vm.expectRevert(abi.encodeWithSelector(ERC20Permit.ERC2612ExpiredSignature.selector, deadline));
        vault.permit(vm.addr(key), bob, 1, deadline, v, r, s);
    }

    // INTERNAL

    function _permitDigest(address owner, address spender, uint256 shares, uint256 deadline)
        private
        view
        returns (bytes32)
    {
        bytes32 typeHash = keccak256(
            "Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)"
        );
        bytes32 permit =
            keccak256(abi.encode(typeHash, owner, spender, shares, vault.nonces(owner), deadline));
        return keccak256(abi.encodePacked("\x19\x01", vault.DOMAIN_SEPARATOR(), permit));
    }
}
