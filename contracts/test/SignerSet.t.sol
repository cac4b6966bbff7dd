// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Test} from "forge-std/Test.sol";
import {IKeeperQuorum} from "../src/interfaces/IKeeperQuorum.sol";
import {IRegistry} from "../src/interfaces/IRegistry.sol";
import {KeeperQuorum} from "../src/KeeperQuorum.sol";

/// @dev Sets of signers, and the digest they cancel with. This test is the registry that allows every set, and
/// the vault.
contract SignerSetTest is Test {
    KeeperQuorum private quorum;
    address[] private keepers;

    function setUp() public {
        keepers.push(address(0x10));
        keepers.push(address(0x20));
        keepers.push(address(0x30));
        quorum = new KeeperQuorum(IRegistry(address(this)), address(this), keepers, 2);
    }

    function authorise(address, address, bytes calldata) external view {
        assertEq(msg.sender, address(quorum));
    }

    function test_a_set_is_listed_and_logged() public {
        assertEq(quorum.signers(), keepers);
        keepers.push(address(0x40));
        vm.expectEmit(address(quorum));
        emit IKeeperQuorum.SignersSet(2, keepers, 3);
        quorum.setSigners(keepers, 3);
        assertEq(quorum.signers(), keepers);
        assertEq(quorum.threshold(), 3);
        assertEq(quorum.signerSetVersion(), 2);
    }

    function test_D_18_nobody_is_no_signer() public {
        keepers[0] = address(0);
        vm.expectRevert(abi.encodeWithSelector(IKeeperQuorum.InvalidSigner.selector, address(0)));
        quorum.setSigners(keepers, 2);
    }

    /// @dev It would be asked whether it signs, and a quorum that answers for itself is none.
    function test_D_18_the_quorum_is_no_signer_of_its_own() public {
        address[] memory itself = new address[](1);
        itself[0] = address(quorum);
        vm.expectRevert(abi.encodeWithSelector(IKeeperQuorum.InvalidSigner.selector, address(quorum)));
        quorum.setSigners(itself, 1);
    }

    function test_the_lowest_address_may_sign() public {
        keepers[0] = address(1);
        quorum.setSigners(keepers, 2);
        assertTrue(quorum.isSigner(address(1)));
    }

    function test_D_18_signers_out_of_order_are_named_in_theirs() public {
        (keepers[0], keepers[1]) = (keepers[1], keepers[0]);
        vm.expectRevert(
            abi.encodeWithSelector(IKeeperQuorum.SignersNotAscending.selector, address(0x20), address(0x10))
        );
        quorum.setSigners(keepers, 2);
        (keepers[0], keepers[1]) = (address(0x20), address(0x20));
        vm.expectRevert(
            abi.encodeWithSelector(IKeeperQuorum.SignersNotAscending.selector, address(0x20), address(0x20))
        );
        quorum.setSigners(keepers, 2);
    }

    function test_thresholds_out_of_range_are_refused_and_its_ends_are_not() public {
        vm.expectRevert(abi.encodeWithSelector(IKeeperQuorum.InvalidThreshold.selector, 0, 3));
        quorum.setSigners(keepers, 0);
        vm.expectRevert(abi.encodeWithSelector(IKeeperQuorum.InvalidThreshold.selector, 4, 3));
        quorum.setSigners(keepers, 4);
        quorum.setSigners(keepers, 1);
        quorum.setSigners(keepers, 3);
        assertEq(quorum.threshold(), 3);
    }

    function testFuzz_M_11_a_cancellation_follows_eip712(uint256 nonceKey, uint256 nonce) public {
        quorum.setSigners(keepers, 1);
        bytes32 domain = keccak256(
            abi.encode(
                keccak256(
                    "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
                ),
                keccak256("OmniKeeper"),
                keccak256("1"),
                block.chainid,
                address(quorum)
            )
        );
        bytes32 cancellation = keccak256(
            abi.encode(
                keccak256("Cancel(address vault,uint256 nonceKey,uint256 nonce,uint256 signerSetVersion)"),
                address(this),
                nonceKey,
                nonce,
                2
            )
        );
        assertEq(
            quorum.cancelDigest(nonceKey, nonce), keccak256(abi.encodePacked(hex"1901", domain, cancellation))
        );
    }
}
