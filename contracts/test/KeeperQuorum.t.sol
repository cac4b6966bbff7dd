// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {IERC1271} from "@openzeppelin/contracts/interfaces/IERC1271.sol";
import {Test} from "forge-std/Test.sol";
import {IKeeperQuorum} from "../src/interfaces/IKeeperQuorum.sol";
import {IPortfolio} from "../src/interfaces/IPortfolio.sol";
import {IRegistry} from "../src/interfaces/IRegistry.sol";
import {Batch, Call, Settlement, Signature} from "../src/interfaces/Types.sol";
import {KeeperQuorum} from "../src/KeeperQuorum.sol";

/// @dev A contract wallet with one owner.
contract Wallet is IERC1271 {
    address private immutable _owner;

    constructor(address owner) {
        _owner = owner;
    }

    function isValidSignature(bytes32 digest, bytes calldata data) external view returns (bytes4) {
        return ECDSA.recover(digest, data) == _owner ? this.isValidSignature.selector : bytes4(0);
    }
}

/// @dev This test is the quorum's vault, portfolio and registry, and remembers what reaches it.
contract KeeperQuorumTest is Test {
    uint256[3] private keys;
    address[] private keepers;
    KeeperQuorum private quorum;

    uint256 private executed;
    uint256 private settled;
    uint256 private cancelled;
    address private governor = makeAddr("governor");

    function setUp() public {
        keepers = new address[](3);
        for (uint256 i = 0; i < 3; i++) {
            keys[i] = uint256(keccak256(abi.encode("keeper", i)));
        }
        _sortKeys();
        for (uint256 i = 0; i < 3; i++) {
            keepers[i] = vm.addr(keys[i]);
        }
        quorum = new KeeperQuorum(IRegistry(address(this)), address(this), keepers, 2);
    }

    // THE VAULT'S SIDE

    function portfolio() external view returns (IPortfolio) {
        return IPortfolio(address(this));
    }

    function execute(Batch calldata batch) external {
        assertEq(msg.sender, address(quorum));
        executed = uint256(batch.planHash);
    }

    function settle(Settlement calldata settlement) external {
        assertEq(msg.sender, address(quorum));
        settled = uint256(settlement.planHash);
    }

    function nextNonce(uint256) external view returns (uint256) {
        return cancelled;
    }

    function cancelNonce(uint256 nonceKey) external {
        assertEq(nonceKey, 0);
        cancelled++;
    }

    function authorise(address vault, address sender, bytes calldata data) external view {
        assertEq(vault, address(this));
        assertEq(bytes4(data), KeeperQuorum.setSigners.selector);
        if (sender != governor) revert IRegistry.NotGovernor(sender);
    }

    // SIGNATURES THAT PASS

    function test_class_G_two_of_three_execute_a_batch() public {
        Batch memory batch = _batch();
        quorum.execute(batch, _sign(quorum.batchDigest(batch), 0, 2));
        assertEq(bytes32(executed), batch.planHash);
    }

    function test_class_G_two_of_three_settle() public {
        Settlement memory settlement = _settlement();
        quorum.settle(settlement, _sign(quorum.settlementDigest(settlement), 1, 2));
        assertEq(bytes32(settled), settlement.planHash);
    }

    function test_a_contract_wallet_signs_through_eip1271() public {
        Wallet wallet = new Wallet(keepers[0]);
        _setOne(address(wallet));
        Batch memory batch = _batch();
        batch.signerSetVersion = 2;
        Signature[] memory signatures = new Signature[](1);
        signatures[0] = Signature(address(wallet), _signature(keys[0], quorum.batchDigest(batch)));
        quorum.execute(batch, signatures);
        assertEq(bytes32(executed), batch.planHash);

        signatures[0].data = _signature(keys[1], quorum.batchDigest(batch));
        vm.expectRevert();
        quorum.execute(batch, signatures);
    }

    function test_an_account_that_delegates_its_code_still_signs_with_its_key() public {
        // EIP-7702 gives an EOA code; neither a delegation that answers nothing nor one that reverts matters.
        vm.etch(keepers[0], hex"00");
        vm.etch(keepers[1], hex"fe");
        Batch memory batch = _batch();
        quorum.execute(batch, _sign(quorum.batchDigest(batch), 0, 1));
        assertEq(bytes32(executed), batch.planHash);
    }

    function test_the_named_executor_submits() public {
        Batch memory batch = _batch();
        batch.executor = makeAddr("executor");
        Signature[] memory signatures = _sign(quorum.batchDigest(batch), 0, 1);
        vm.expectRevert(
            abi.encodeWithSelector(IKeeperQuorum.NotExecutor.selector, batch.executor, address(this))
        );
        quorum.execute(batch, signatures);
        vm.prank(batch.executor);
        quorum.execute(batch, signatures);
        assertEq(bytes32(executed), batch.planHash);
    }

    // SIGNATURES THAT DO NOT

    function test_class_G_one_signature_is_too_few() public {
        Batch memory batch = _batch();
        Signature[] memory signatures = new Signature[](1);
        signatures[0] = Signature(keepers[0], _signature(keys[0], quorum.batchDigest(batch)));
        vm.expectRevert(abi.encodeWithSelector(IKeeperQuorum.TooFewSignatures.selector, 1, 2));
        quorum.execute(batch, signatures);
    }

    function test_class_G_a_stranger_does_not_count() public {
        Batch memory batch = _batch();
        uint256 key = uint256(keccak256("stranger"));
        bytes32 digest = quorum.batchDigest(batch);
        Signature[] memory signatures = new Signature[](2);
        address stranger = vm.addr(key);
        bool first = stranger < keepers[0];
        signatures[first ? 0 : 1] = Signature(stranger, _signature(key, digest));
        signatures[first ? 1 : 0] = Signature(keepers[0], _signature(keys[0], digest));
        vm.expectRevert(abi.encodeWithSelector(IKeeperQuorum.UnknownSigner.selector, stranger));
        quorum.execute(batch, signatures);
    }

    function test_D_18_one_signer_does_not_count_twice() public {
        Batch memory batch = _batch();
        Signature[] memory signatures = _sign(quorum.batchDigest(batch), 1, 1);
        vm.expectRevert(
            abi.encodeWithSelector(IKeeperQuorum.SignersNotAscending.selector, keepers[1], keepers[1])
        );
        quorum.execute(batch, signatures);
    }

    function test_class_G_signatures_must_be_sorted() public {
        Batch memory batch = _batch();
        Signature[] memory signatures = _sign(quorum.batchDigest(batch), 2, 0);
        vm.expectRevert(
            abi.encodeWithSelector(IKeeperQuorum.SignersNotAscending.selector, keepers[2], keepers[0])
        );
        quorum.execute(batch, signatures);
    }

    function test_class_G_a_signature_of_something_else_is_invalid() public {
        Batch memory batch = _batch();
        Signature[] memory signatures = _sign(quorum.batchDigest(batch), 0, 1);
        batch.maxLoss += 1;
        vm.expectRevert(abi.encodeWithSelector(IKeeperQuorum.InvalidSignature.selector, keepers[0]));
        quorum.execute(batch, signatures);
        batch.maxLoss -= 1;
        batch.calls[0].data = hex"0102";
        vm.expectRevert(abi.encodeWithSelector(IKeeperQuorum.InvalidSignature.selector, keepers[0]));
        quorum.execute(batch, signatures);
    }

    function test_class_G_the_signer_set_must_be_the_present_one() public {
        Batch memory batch = _batch();
        batch.signerSetVersion = 2;
        Signature[] memory signatures = _sign(quorum.batchDigest(batch), 0, 1);
        vm.expectRevert(abi.encodeWithSelector(IKeeperQuorum.WrongSignerSet.selector, 1, 2));
        quorum.execute(batch, signatures);
    }

    function test_class_I_another_vault_is_refused() public {
        Batch memory batch = _batch();
        batch.vault = address(0xBEEF);
        Signature[] memory signatures = _sign(quorum.batchDigest(batch), 0, 1);
        bytes memory refusal =
            abi.encodeWithSelector(IKeeperQuorum.WrongVault.selector, address(this), address(0xBEEF));
        vm.expectRevert(refusal);
        quorum.execute(batch, signatures);

        Settlement memory settlement = _settlement();
        settlement.vault = address(0xBEEF);
        signatures = _sign(quorum.settlementDigest(settlement), 0, 1);
        vm.expectRevert(refusal);
        quorum.settle(settlement, signatures);
    }

    function test_class_G_a_signature_for_another_chain_is_invalid() public {
        Batch memory batch = _batch();
        bytes32 here = quorum.batchDigest(batch);
        Signature[] memory signatures = _sign(here, 0, 1);
        vm.chainId(block.chainid + 1);
        assertNotEq(quorum.batchDigest(batch), here);
        vm.expectRevert(abi.encodeWithSelector(IKeeperQuorum.InvalidSignature.selector, keepers[0]));
        quorum.execute(batch, signatures);
    }

    function test_class_G_a_settlement_needs_its_own_signatures() public {
        Settlement memory settlement = _settlement();
        Signature[] memory signatures = _sign(quorum.batchDigest(_batch()), 0, 1);
        vm.expectRevert(abi.encodeWithSelector(IKeeperQuorum.InvalidSignature.selector, keepers[0]));
        quorum.settle(settlement, signatures);
    }

    // CANCELLING

    function test_class_G_two_of_three_cancel_the_next_nonce() public {
        Signature[] memory signatures = _sign(quorum.cancelDigest(0, 0), 0, 1);
        quorum.cancel(0, 0, signatures);
        assertEq(cancelled, 1);
        vm.expectRevert(abi.encodeWithSelector(IPortfolio.NonceUsed.selector, 0, 1, 0));
        quorum.cancel(0, 0, signatures);
    }

    function test_a_nonce_that_is_not_next_cannot_be_cancelled() public {
        Signature[] memory signatures = _sign(quorum.cancelDigest(0, 1), 0, 1);
        vm.expectRevert(abi.encodeWithSelector(IPortfolio.NonceUsed.selector, 0, 0, 1));
        quorum.cancel(0, 1, signatures);
    }

    // THE SIGNER SET

    function test_M_09_only_the_governor_sets_signers() public {
        vm.expectRevert(abi.encodeWithSelector(IRegistry.NotGovernor.selector, address(this)));
        quorum.setSigners(keepers, 1);
    }

    function test_a_new_set_forgets_the_old_one() public {
        Batch memory batch = _batch();
        batch.signerSetVersion = 2;
        address newcomer = vm.addr(99);
        _setOne(newcomer);
        assertEq(quorum.signerSetVersion(), 2);
        assertEq(quorum.signers().length, 1);
        assertEq(quorum.signers()[0], newcomer);
        assertTrue(quorum.isSigner(newcomer));
        for (uint256 i = 0; i < 3; i++) {
            assertFalse(quorum.isSigner(keepers[i]));
        }
        Signature[] memory signatures = _sign(quorum.batchDigest(batch), 0, 1);
        vm.expectRevert(abi.encodeWithSelector(IKeeperQuorum.UnknownSigner.selector, keepers[0]));
        quorum.execute(batch, signatures);
    }

    function test_class_G_a_settlement_loses_the_signatures_of_removed_signers() public {
        Settlement memory settlement = _settlement();
        Signature[] memory signatures = _sign(quorum.settlementDigest(settlement), 0, 1);
        address[] memory rest = new address[](2);
        (rest[0], rest[1]) = (keepers[1], keepers[2]);
        vm.prank(governor);
        quorum.setSigners(rest, 2);
        vm.expectRevert(abi.encodeWithSelector(IKeeperQuorum.UnknownSigner.selector, keepers[0]));
        quorum.settle(settlement, signatures);
        quorum.settle(settlement, _sign(quorum.settlementDigest(settlement), 1, 2));
        assertEq(bytes32(settled), settlement.planHash);
    }

    /// @dev A settlement names no signer set: it counts by who is a signer, and how many are needed, when it is
    /// submitted.
    function test_class_G_a_settlement_needs_the_threshold_of_the_present_set() public {
        Settlement memory settlement = _settlement();
        Signature[] memory signatures = _sign(quorum.settlementDigest(settlement), 0, 1);
        vm.prank(governor);
        quorum.setSigners(keepers, 3);
        vm.expectRevert(abi.encodeWithSelector(IKeeperQuorum.TooFewSignatures.selector, 2, 3));
        quorum.settle(settlement, signatures);
        vm.prank(governor);
        quorum.setSigners(keepers, 2);
        quorum.settle(settlement, signatures);
        assertEq(bytes32(settled), settlement.planHash);
    }

    function test_an_old_cancellation_dies_with_its_set() public {
        Signature[] memory signatures = _sign(quorum.cancelDigest(0, 0), 0, 1);
        vm.prank(governor);
        quorum.setSigners(keepers, 2);
        vm.expectRevert(abi.encodeWithSelector(IKeeperQuorum.InvalidSignature.selector, keepers[0]));
        quorum.cancel(0, 0, signatures);
    }

    function test_D_18_signers_must_be_distinct_and_real() public {
        address[] memory twice = new address[](2);
        (twice[0], twice[1]) = (keepers[0], keepers[0]);
        vm.expectRevert(
            abi.encodeWithSelector(IKeeperQuorum.SignersNotAscending.selector, keepers[0], keepers[0])
        );
        new KeeperQuorum(IRegistry(address(this)), address(this), twice, 1);
        address[] memory nobody = new address[](1);
        vm.expectRevert(abi.encodeWithSelector(IKeeperQuorum.InvalidSigner.selector, address(0)));
        new KeeperQuorum(IRegistry(address(this)), address(this), nobody, 1);
    }

    function test_the_threshold_lies_between_one_and_all() public {
        vm.expectRevert(abi.encodeWithSelector(IKeeperQuorum.InvalidThreshold.selector, 0, 3));
        new KeeperQuorum(IRegistry(address(this)), address(this), keepers, 0);
        vm.expectRevert(abi.encodeWithSelector(IKeeperQuorum.InvalidThreshold.selector, 4, 3));
        new KeeperQuorum(IRegistry(address(this)), address(this), keepers, 4);
    }

    // THE DIGEST

    function test_M_11_digests_follow_eip712() public view {
        Batch memory batch = _batch();
        assertEq(quorum.batchDigest(batch), _eip712(_batchHash(batch)));

        Settlement memory s = _settlement();
        bytes32 hash = keccak256(
            abi.encode(
                keccak256(
                    "Settlement(address vault,uint256 epoch,uint256 minPps,uint256 maxPps,uint256 validAfter,uint256 validUntil,bytes32 planHash)"
                ),
                s.vault,
                s.epoch,
                s.minPps,
                s.maxPps,
                s.validAfter,
                s.validUntil,
                s.planHash
            )
        );
        assertEq(quorum.settlementDigest(s), _eip712(hash));
    }

    function testFuzz_M_11_calls_are_hashed_as_an_array_of_structs(bytes[] memory data, uint256 minNav)
        public
        view
    {
        Batch memory batch = _batch();
        batch.minNavAfter = minNav;
        batch.calls = new Call[](data.length);
        for (uint256 i = 0; i < data.length; i++) {
            batch.calls[i] = Call(vm.addr(i + 1), vm.addr(i + 2), i, data[i]);
        }
        assertEq(quorum.batchDigest(batch), _eip712(_batchHash(batch)));
    }

    /// @dev Word by word, independently of how the contract goes about it.
    function _batchHash(Batch memory batch) private pure returns (bytes32) {
        string memory call = "Call(address target,address token,uint256 amount,bytes data)";
        bytes memory hashes;
        for (uint256 i = 0; i < batch.calls.length; i++) {
            bytes memory words = bytes.concat(keccak256(bytes(call)), _word(batch.calls[i].target));
            words = bytes.concat(words, _word(batch.calls[i].token), bytes32(batch.calls[i].amount));
            hashes = bytes.concat(hashes, keccak256(bytes.concat(words, keccak256(batch.calls[i].data))));
        }
        bytes memory head = bytes.concat(
            keccak256(
                bytes(
                    string.concat(
                        "Batch(address vault,uint256 nonceKey,uint256 nonce,uint256 signerSetVersion,address executor,uint256 validAfter,uint256 validUntil,bytes32 planHash,Call[] calls,uint256 minNavAfter,uint256 maxLoss)",
                        call
                    )
                )
            ),
            _word(batch.vault),
            bytes32(batch.nonceKey),
            bytes32(batch.nonce),
            bytes32(batch.signerSetVersion),
            _word(batch.executor)
        );
        bytes memory tail = bytes.concat(
            bytes32(batch.validAfter), bytes32(batch.validUntil), batch.planHash, keccak256(hashes)
        );
        return keccak256(bytes.concat(head, tail, bytes32(batch.minNavAfter), bytes32(batch.maxLoss)));
    }

    function _eip712(bytes32 structHash) private view returns (bytes32) {
        bytes32 domain = keccak256(
            bytes.concat(
                keccak256(
                    "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
                ),
                keccak256("OmniKeeper"),
                keccak256("1"),
                bytes32(block.chainid),
                _word(address(quorum))
            )
        );
        return keccak256(bytes.concat(hex"1901", domain, structHash));
    }

    function _word(address account) private pure returns (bytes32) {
        return bytes32(uint256(uint160(account)));
    }

    // BUILDING

    function _batch() private view returns (Batch memory batch) {
        batch.vault = address(this);
        batch.nonceKey = 7;
        batch.nonce = 3;
        batch.signerSetVersion = 1;
        batch.validAfter = 10;
        batch.validUntil = 20;
        batch.planHash = keccak256("plan");
        batch.calls = new Call[](2);
        batch.calls[0] = Call(address(0xA1), address(0xA2), 5, hex"01020304");
        batch.calls[1] = Call(address(0xB1), address(0), 0, "");
        batch.minNavAfter = 1000;
        batch.maxLoss = 10;
    }

    function _settlement() private view returns (Settlement memory) {
        return Settlement(address(this), 1, 2, 3, 4, 5, keccak256("settlement"));
    }

    function _sign(bytes32 digest, uint256 a, uint256 b)
        private
        view
        returns (Signature[] memory signatures)
    {
        signatures = new Signature[](2);
        signatures[0] = Signature(keepers[a], _signature(keys[a], digest));
        signatures[1] = Signature(keepers[b], _signature(keys[b], digest));
    }

    function _signature(uint256 key, bytes32 digest) private pure returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, digest);
        return abi.encodePacked(r, s, v);
    }

    function _setOne(address signer) private {
        address[] memory one = new address[](1);
        one[0] = signer;
        vm.prank(governor);
        quorum.setSigners(one, 1);
    }

    function _sortKeys() private {
        for (uint256 i = 0; i < 3; i++) {
            for (uint256 j = i + 1; j < 3; j++) {
                if (vm.addr(keys[j]) < vm.addr(keys[i])) (keys[i], keys[j]) = (keys[j], keys[i]);
            }
        }
    }
}
