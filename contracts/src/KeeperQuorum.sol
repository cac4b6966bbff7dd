// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IERC4626} from "@openzeppelin/contracts/interfaces/IERC4626.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {IKeeperQuorum} from "./interfaces/IKeeperQuorum.sol";
import {IPortfolio} from "./interfaces/IPortfolio.sol";
import {IRegistry} from "./interfaces/IRegistry.sol";
import {IVault} from "./interfaces/IVault.sol";
import {Batch, Call, Report, Settlement, Signature} from "./interfaces/Types.sol";

/// @title k-of-n keepers of one vault
/// @notice Checks who signed what, and nothing else: times, nonces and the state a batch leaves behind are the
/// portfolio's to judge, prices and epochs the vault's.
contract KeeperQuorum is IKeeperQuorum, EIP712 {
    using SafeCast for uint256;

    bytes32 private constant CALL_TYPEHASH =
        keccak256("Call(address target,address token,uint256 amount,bytes data)");
    // EIP-712 appends the types a struct refers to after its own.
    bytes32 private constant BATCH_TYPEHASH = keccak256(
        "Batch(address vault,uint256 nonceKey,uint256 nonce,uint256 signerSetVersion,address executor,"
        "uint256 validAfter,uint256 validUntil,bytes32 planHash,Call[] calls,uint256 minNavAfter,"
        "uint256 maxLoss)Call(address target,address token,uint256 amount,bytes data)"
    );
    bytes32 private constant SETTLEMENT_TYPEHASH = keccak256(
        "Settlement(address vault,uint256 epoch,uint256 minPps,uint256 maxPps,uint256 validAfter,"
        "uint256 validUntil,bytes32 planHash)"
    );
    bytes32 private constant REPORT_TYPEHASH = keccak256(
        "Report(address vault,uint256 chainId,uint256 sequence,uint256 signerSetVersion,address unit,uint256 low,"
        "uint256 high,uint256 takenAt,uint256 validUntil,bytes32 snapshotHash)"
    );
    bytes32 private constant CANCEL_TYPEHASH =
        keccak256("Cancel(address vault,uint256 nonceKey,uint256 nonce,uint256 signerSetVersion)");

    IRegistry public immutable registry;
    address public immutable override vault;

    // One slot, because every check reads both.
    uint128 private _threshold;
    uint128 private _version;
    address[] private _signers;

    /// @dev The latest signer set an account belongs to, so that a new set forgets the old one at once.
    mapping(address account => uint256 version) private _memberOf;

    constructor(IRegistry registry_, address vault_, address[] memory signers_, uint256 threshold_)
        EIP712("OmniKeeper", "1")
    {
        registry = registry_;
        vault = vault_;
        _setSigners(signers_, threshold_);
    }

    // WHAT THE QUORUM APPROVES

    /// @inheritdoc IKeeperQuorum
    function execute(Batch calldata batch, Signature[] calldata signatures) external override {
        if (batch.vault != vault) revert WrongVault(vault, batch.vault);
        if (batch.executor != address(0) && batch.executor != msg.sender) {
            revert NotExecutor(batch.executor, msg.sender);
        }
        _checkSignerSet(batch.signerSetVersion);
        _check(batchDigest(batch), signatures);
        _portfolio().execute(batch);
    }

    /// @inheritdoc IKeeperQuorum
    function settle(Settlement calldata settlement, Signature[] calldata signatures) external override {
        if (settlement.vault != vault) revert WrongVault(vault, settlement.vault);
        _check(settlementDigest(settlement), signatures);
        IVault(vault).settle(settlement);
    }

    /// @inheritdoc IKeeperQuorum
    /// @dev Only the next nonce of a key can be cancelled; a later one would leave a hole nothing could fill.
    function cancel(uint256 nonceKey, uint256 nonce, Signature[] calldata signatures) external override {
        _check(cancelDigest(nonceKey, nonce), signatures);
        IPortfolio portfolio = _portfolio();
        uint256 next = portfolio.nextNonce(nonceKey);
        if (nonce != next) revert IPortfolio.NonceUsed(nonceKey, next, nonce);
        portfolio.cancelNonce(nonceKey);
    }

    /// @inheritdoc IKeeperQuorum
    function checkReport(Report calldata report, Signature[] calldata signatures) external view override {
        if (report.vault != vault) revert WrongVault(vault, report.vault);
        _checkSignerSet(report.signerSetVersion);
        // The same token may have other decimals on the spoke: a value without its unit is none.
        address unit = IERC4626(vault).asset();
        if (report.unit != unit) revert WrongUnit(unit, report.unit);
        if (report.low > report.high) revert LowAboveHigh(report.low, report.high);
        // One from the future would pass for later than a close that has not been yet.
        if (report.takenAt > block.timestamp) revert NotYetTaken(report.takenAt);
        if (report.validUntil < block.timestamp) revert ReportExpired(report.validUntil);
        _check(reportDigest(report), signatures);
    }

    // THE SIGNER SET

    /// @inheritdoc IKeeperQuorum
    function setSigners(address[] calldata signers_, uint256 threshold_) external override {
        registry.authorise(vault, msg.sender, msg.data);
        _setSigners(signers_, threshold_);
    }

    function _setSigners(address[] memory signers_, uint256 threshold_) private {
        if (threshold_ == 0 || threshold_ > signers_.length) {
            revert InvalidThreshold(threshold_, signers_.length);
        }
        uint128 version = ++_version;
        address previous;
        for (uint256 i = 0; i < signers_.length; i++) {
            address next = signers_[i];
            if (next == address(0) || next == address(this)) revert InvalidSigner(next);
            if (next <= previous) revert SignersNotAscending(previous, next);
            _memberOf[next] = version;
            previous = next;
        }
        _signers = signers_;
        _threshold = threshold_.toUint128();
        emit SignersSet(version, signers_, threshold_);
    }

    // DIGESTS

    /// @inheritdoc IKeeperQuorum
    function batchDigest(Batch calldata batch) public view override returns (bytes32) {
        // In two pieces, because one would be too many values for the stack; all fields are whole words.
        bytes memory head = abi.encode(
            BATCH_TYPEHASH,
            batch.vault,
            batch.nonceKey,
            batch.nonce,
            batch.signerSetVersion,
            batch.executor,
            batch.validAfter
        );
        bytes memory tail = abi.encode(
            batch.validUntil, batch.planHash, _hashCalls(batch.calls), batch.minNavAfter, batch.maxLoss
        );
        return _hashTypedDataV4(keccak256(bytes.concat(head, tail)));
    }

    /// @inheritdoc IKeeperQuorum
    function settlementDigest(Settlement calldata settlement) public view override returns (bytes32) {
        return _hashTypedDataV4(keccak256(abi.encode(SETTLEMENT_TYPEHASH, settlement)));
    }

    /// @inheritdoc IKeeperQuorum
    function reportDigest(Report calldata report) public view override returns (bytes32) {
        return _hashTypedDataV4(keccak256(abi.encode(REPORT_TYPEHASH, report)));
    }

    /// @inheritdoc IKeeperQuorum
    function cancelDigest(uint256 nonceKey, uint256 nonce) public view override returns (bytes32) {
        return _hashTypedDataV4(keccak256(abi.encode(CANCEL_TYPEHASH, vault, nonceKey, nonce, _version)));
    }

    // VIEWS

    /// @inheritdoc IKeeperQuorum
    function threshold() external view override returns (uint256) {
        return _threshold;
    }

    /// @inheritdoc IKeeperQuorum
    function signerSetVersion() external view override returns (uint256) {
        return _version;
    }

    /// @inheritdoc IKeeperQuorum
    function isSigner(address account) public view override returns (bool) {
        return _memberOf[account] == _version;
    }

    /// @inheritdoc IKeeperQuorum
    function signers() external view override returns (address[] memory) {
        return _signers;
    }

    // CHECKS

    function _checkSignerSet(uint256 version) private view {
        if (version != _version) revert WrongSignerSet(_version, version);
    }

    function _check(bytes32 digest, Signature[] calldata signatures) private view {
        if (signatures.length < _threshold) revert TooFewSignatures(signatures.length, _threshold);
        address previous;
        for (uint256 i = 0; i < signatures.length; i++) {
            address signer = signatures[i].signer;
            if (signer <= previous) revert SignersNotAscending(previous, signer);
            if (!isSigner(signer)) revert UnknownSigner(signer);
            if (!_isValid(signer, digest, signatures[i].data)) revert InvalidSignature(signer);
            previous = signer;
        }
    }

    /// @dev ECDSA first, then EIP-1271, whatever code the signer has: an EOA that delegates its code
    /// (EIP-7702) still signs with its key. The library's own `isValidSignatureNow` asks for code first.
    function _isValid(address signer, bytes32 digest, bytes memory data) private view returns (bool) {
        (address recovered, ECDSA.RecoverError failure,) = ECDSA.tryRecover(digest, data);
        if (failure == ECDSA.RecoverError.NoError && recovered == signer) return true;
        return SignatureChecker.isValidERC1271SignatureNow(signer, digest, data);
    }

    function _hashCalls(Call[] calldata calls) private pure returns (bytes32) {
        bytes32[] memory hashes = new bytes32[](calls.length);
        for (uint256 i = 0; i < calls.length; i++) {
            Call calldata call = calls[i];
            hashes[i] = keccak256(
                abi.encode(CALL_TYPEHASH, call.target, call.token, call.amount, keccak256(call.data))
            );
        }
        return keccak256(abi.encodePacked(hashes));
    }

    function _portfolio() private view returns (IPortfolio) {
        return IPortfolio(IVault(vault).portfolio());
    }
}
