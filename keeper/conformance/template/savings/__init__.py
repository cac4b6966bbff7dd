"""A connector for the bank in `solidity/Bank.sol`."""
