// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

/// @title A connector that says whether its positions are independent of one another
/// @notice One that says nothing is taken for a single account, all of whose positions any call may change. It borrows
/// only while the registry lists every key that may own something, because debts would be borne unseen by others.
interface IIsolated {
    /// @notice True if no position ever answers for another one's debt, and every function that changes anything
    /// has the key as its first argument and leaves the value of positions under other keys as it is. Never
    /// changes: it is asked once, when a position is listed.
    function isolated() external view returns (bool);
}
