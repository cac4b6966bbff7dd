// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Test} from "forge-std/Test.sol";
import {IKeeperQuorum} from "../src/interfaces/IKeeperQuorum.sol";
import {IRegistry} from "../src/interfaces/IRegistry.sol";
import {Report, Settlement, Signature} from "../src/interfaces/Types.sol";
import {KeeperQuorum} from "../src/KeeperQuorum.sol";

/// @dev Reports of a spoke chain. This test is the quorum's vault and its registry.
contract QuorumReportTest is Test {
    address public constant asset = address(0xA55E7);

    uint256[3] private keys;
    address[] private keepers;
    KeeperQuorum private quorum;

    function setUp() public {
        // In the order of their addresses.
        keys = [uint256(2), 3, 1];
        for (uint256 i; i < 3; ++i) {
            keepers.push(vm.addr(keys[i]));
        }
        quorum = new KeeperQuorum(IRegistry(address(this)), address(this), keepers, 2);
        vm.warp(1_800_000_000);
    }

    function authorise(address, address, bytes calldata) external pure {}

    // WHAT PASSES

    function test_class_G_two_of_three_vouch_for_a_report() public view {
        Report memory report = _report();
        quorum.checkReport(report, _sign(report, 0, 2));
    }

    function test_class_G_a_report_holds_from_its_moment_to_its_end() public {
        Report memory report = _report();
        Signature[] memory signatures = _sign(report, 0, 1);
        vm.warp(report.takenAt);
        quorum.checkReport(report, signatures);
        vm.warp(report.validUntil);
        quorum.checkReport(report, signatures);
    }

    function testFuzz_M_11_a_reports_digest_follows_eip712(Report memory report) public view {
        bytes memory head = bytes.concat(
            keccak256(
                "Report(address vault,uint256 chainId,uint256 sequence,uint256 signerSetVersion,address unit,uint256 low,uint256 high,uint256 takenAt,uint256 validUntil,bytes32 snapshotHash)"
            ),
            _word(report.vault),
            bytes32(report.chainId),
            bytes32(report.sequence),
            bytes32(report.signerSetVersion),
            _word(report.unit)
        );
        bytes memory tail = bytes.concat(
            bytes32(report.low),
            bytes32(report.high),
            bytes32(report.takenAt),
            bytes32(report.validUntil),
            report.snapshotHash
        );
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
        bytes32 digest = keccak256(bytes.concat(hex"1901", domain, keccak256(bytes.concat(head, tail))));
        assertEq(quorum.reportDigest(report), digest);
    }

    // WHAT DOES NOT

    function test_class_G_an_expired_report_is_refused() public {
        Report memory report = _report();
        Signature[] memory signatures = _sign(report, 0, 1);
        vm.warp(report.validUntil + 1);
        _refused(
            report,
            signatures,
            abi.encodeWithSelector(IKeeperQuorum.ReportExpired.selector, report.validUntil)
        );
    }

    function test_class_G_a_report_from_the_future_is_refused() public {
        Report memory report = _report();
        report.takenAt = block.timestamp + 1;
        _refused(report, abi.encodeWithSelector(IKeeperQuorum.NotYetTaken.selector, report.takenAt));
    }

    function test_class_I_a_report_for_another_vault_is_refused() public {
        Report memory report = _report();
        report.vault = address(0xBEEF);
        _refused(
            report, abi.encodeWithSelector(IKeeperQuorum.WrongVault.selector, address(this), report.vault)
        );
    }

    function test_class_U_H_02_a_report_in_another_unit_is_refused() public {
        Report memory report = _report();
        report.unit = address(0xBEEF);
        _refused(report, abi.encodeWithSelector(IKeeperQuorum.WrongUnit.selector, asset, report.unit));
    }

    function test_a_low_value_above_the_high_one_is_refused() public {
        Report memory report = _report();
        report.low = report.high;
        quorum.checkReport(report, _sign(report, 0, 1));
        report.low += 1;
        _refused(report, abi.encodeWithSelector(IKeeperQuorum.LowAboveHigh.selector, report.low, report.high));
    }

    function test_class_G_a_report_signed_for_another_chain_is_refused() public {
        Report memory report = _report();
        Signature[] memory signatures = _sign(report, 0, 1);
        vm.chainId(block.chainid + 1);
        _refused(
            report, signatures, abi.encodeWithSelector(IKeeperQuorum.InvalidSignature.selector, keepers[0])
        );
    }

    function test_class_G_a_report_signed_for_another_quorum_is_refused() public {
        Report memory report = _report();
        KeeperQuorum other = new KeeperQuorum(IRegistry(address(this)), address(this), keepers, 2);
        Signature[] memory signatures = _signDigest(other.reportDigest(report), 0, 1);
        _refused(
            report, signatures, abi.encodeWithSelector(IKeeperQuorum.InvalidSignature.selector, keepers[0])
        );
    }

    function test_class_G_a_report_of_one_signer_is_refused() public {
        Report memory report = _report();
        Signature[] memory signatures = new Signature[](1);
        signatures[0] = _sign(report, 0, 1)[0];
        _refused(report, signatures, abi.encodeWithSelector(IKeeperQuorum.TooFewSignatures.selector, 1, 2));
    }

    function test_D_18_one_signer_of_a_report_does_not_count_twice() public {
        Report memory report = _report();
        bytes memory refusal =
            abi.encodeWithSelector(IKeeperQuorum.SignersNotAscending.selector, keepers[1], keepers[1]);
        _refused(report, _sign(report, 1, 1), refusal);
    }

    function test_class_G_a_report_dies_with_its_signer_set() public {
        Report memory report = _report();
        Signature[] memory signatures = _sign(report, 0, 1);
        quorum.setSigners(keepers, 2);
        _refused(report, signatures, abi.encodeWithSelector(IKeeperQuorum.WrongSignerSet.selector, 2, 1));
        report.signerSetVersion = 2;
        _refused(
            report, signatures, abi.encodeWithSelector(IKeeperQuorum.InvalidSignature.selector, keepers[0])
        );
    }

    /// @dev Every member is signed: changing any one to another value that would itself pass ends the report.
    function test_class_G_no_member_of_a_report_can_be_changed() public {
        Signature[] memory signatures = _sign(_report(), 0, 1);
        for (uint256 member; member < 7; ++member) {
            Report memory report = _report();
            if (member == 0) report.chainId += 1;
            else if (member == 1) report.sequence += 1;
            else if (member == 2) report.low -= 1;
            else if (member == 3) report.high += 1;
            else if (member == 4) report.takenAt -= 1;
            else if (member == 5) report.validUntil += 1;
            else report.snapshotHash = keccak256("another");
            _refused(
                report,
                signatures,
                abi.encodeWithSelector(IKeeperQuorum.InvalidSignature.selector, keepers[0])
            );
        }
    }

    function test_class_G_a_report_needs_its_own_signatures() public {
        Settlement memory settlement =
            Settlement(address(this), 1, 2, 3, block.timestamp, block.timestamp, keccak256("plan"));
        Signature[] memory signatures = _signDigest(quorum.settlementDigest(settlement), 0, 1);
        _refused(
            _report(), signatures, abi.encodeWithSelector(IKeeperQuorum.InvalidSignature.selector, keepers[0])
        );
    }

    // BUILDING

    function _report() private view returns (Report memory) {
        return Report({
            vault: address(this),
            chainId: 31338,
            sequence: 7,
            signerSetVersion: 1,
            unit: asset,
            low: 999_000e6,
            high: 1_000_000e6,
            takenAt: block.timestamp - 60,
            validUntil: block.timestamp + 840,
            snapshotHash: keccak256("snapshot")
        });
    }

    function _refused(Report memory report, bytes memory refusal) private {
        _refused(report, _sign(report, 0, 1), refusal);
    }

    function _refused(Report memory report, Signature[] memory signatures, bytes memory refusal) private {
        vm.expectRevert(refusal);
        quorum.checkReport(report, signatures);
    }

    function _sign(Report memory report, uint256 a, uint256 b) private view returns (Signature[] memory) {
        return _signDigest(quorum.reportDigest(report), a, b);
    }

    function _signDigest(bytes32 digest, uint256 a, uint256 b)
        private
        view
        returns (Signature[] memory made)
    {
        made = new Signature[](2);
        made[0] = Signature(keepers[a], _signature(keys[a], digest));
        made[1] = Signature(keepers[b], _signature(keys[b], digest));
    }

    function _signature(uint256 key, bytes32 digest) private pure returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, digest);
        return abi.encodePacked(r, s, v);
    }

    function _word(address account) private pure returns (bytes32) {
        return bytes32(uint256(uint160(account)));
    }
}
