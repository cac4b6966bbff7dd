// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IVault, Params} from "../src/interfaces/IVault.sol";
import {VaultFixture} from "./fixtures/VaultFixture.sol";

/// @dev `p.maxAge + 2 * p.minEpochLength` of 32 bits would panic on a sealed
/// vault before `SettlementLib._setParams` can refuse by name.
contract ParamsOverflowTest is VaultFixture {
    function test_an_epoch_beyond_every_bound_is_refused_by_name() public {
        Params memory p = defaultParams();
        p.minEpochLength = type(uint32).max;
        registry.submit(address(vault), address(vault), abi.encodeCall(vault.setParams, (p)));
        skip(3 days);
        vm.expectPartialRevert(IVault.ParamOutOfBounds.selector);
        vault.setParams(p);
    }
}
