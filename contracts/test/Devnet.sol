// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {Test} from "forge-std/Test.sol";
import {PriceAggregator} from "../devnet/PriceAggregator.sol";

/// @title The local chain with the real protocols, loaded into a test
/// @notice State and addresses come from what `keeper devnet` built.
abstract contract Devnet is Test {
    string private manifest;

    function _load() internal {
        vm.loadAllocs(".devnet/current/allocs.json");
        manifest = vm.readFile(".devnet/current/manifest.json");
        vm.roll(vm.parseJsonUint(manifest, ".block.number"));
        vm.warp(vm.parseJsonUint(manifest, ".block.timestamp"));
    }

    function _address(string memory path) internal view returns (address) {
        return vm.parseJsonAddress(manifest, path);
    }

    function _word(string memory path) internal view returns (bytes32) {
        return vm.parseJsonBytes32(manifest, path);
    }

    function _token(string memory symbol) internal view returns (address) {
        return _address(string.concat(".tokens.", symbol, ".address"));
    }

    function _feed(string memory pair, string memory part) internal view returns (address) {
        return _address(string.concat(".feeds['", pair, "'].", part));
    }

    function _market(string memory pair) internal view returns (bytes32) {
        return _word(string.concat(".morpho.markets['", pair, "'].id"));
    }

    /// @dev Writes a round as the devnet's oracle does.
    function _push(string memory pair, int256 answer) internal {
        PriceAggregator aggregator = PriceAggregator(_feed(pair, "aggregator"));
        vm.prank(aggregator.transmitter());
        aggregator.push(answer);
    }

    function _keyOf(address named) internal pure returns (bytes32) {
        return bytes32(uint256(uint160(named)));
    }

    function _balance(address token, address account) internal view returns (uint256) {
        return IERC20(token).balanceOf(account);
    }
}
