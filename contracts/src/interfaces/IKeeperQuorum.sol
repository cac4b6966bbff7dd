// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Batch, Report, Settlement, Signature} from "./Types.sol";

/// @title k-of-n EIP-712 signatures of independent keepers, for one vault
/// @dev Domain: name "OmniKeeper", version "1", chain id, this contract. Signatures come sorted by signer,
/// strictly ascending.
interface IKeeperQuorum {
    event SignersSet(uint256 indexed version, address[] signers, uint256 threshold);

    error InvalidThreshold(uint256 threshold, uint256 signers);
    error InvalidSigner(address signer);
    error TooFewSignatures(uint256 seen, uint256 needed);
    error UnknownSigner(address signer);
    error SignersNotAscending(address previous, address next);
    error InvalidSignature(address signer);
    error WrongSignerSet(uint256 expected, uint256 seen);
    error NotExecutor(address executor, address caller);
    error WrongVault(address expected, address seen);
    error WrongUnit(address expected, address seen);
    error LowAboveHigh(uint256 low, uint256 high);
    error NotYetTaken(uint256 takenAt);
    error ReportExpired(uint256 validUntil);

    function vault() external view returns (address);
    function threshold() external view returns (uint256);
    function signerSetVersion() external view returns (uint256);
    function isSigner(address account) external view returns (bool);
    function signers() external view returns (address[] memory);

    /// @notice The digest signers sign for a batch.
    function batchDigest(Batch calldata batch) external view returns (bytes32);

    /// @notice The digest signers sign for a settlement.
    function settlementDigest(Settlement calldata settlement) external view returns (bytes32);

    /// @notice The digest signers sign for a report of a spoke chain.
    function reportDigest(Report calldata report) external view returns (bytes32);

    /// @notice The digest signers sign to cancel (nonceKey, nonce) under the present signer set.
    function cancelDigest(uint256 nonceKey, uint256 nonce) external view returns (bytes32);

    function execute(Batch calldata batch, Signature[] calldata signatures) external;
    function settle(Settlement calldata settlement, Signature[] calldata signatures) external;
    function cancel(uint256 nonceKey, uint256 nonce, Signature[] calldata signatures) external;

    /// @notice Reverts unless the present signers vouch for `report`, which is about this vault, in its unit, taken
    /// by now and not expired. Whether it is the newest of its spoke, and late enough for its use, is for whoever
    /// keeps the last one to judge.
    function checkReport(Report calldata report, Signature[] calldata signatures) external view;

    /// @notice Replaces the signers and the threshold. Governor, after the registry's delay.
    /// @param signers_ strictly ascending, so that none counts twice
    function setSigners(address[] calldata signers_, uint256 threshold_) external;
}
