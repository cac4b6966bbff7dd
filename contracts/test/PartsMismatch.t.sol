// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IERC20Metadata} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Metadata.sol";
import {Escrow} from "../src/Escrow.sol";
import {Portfolio} from "../src/Portfolio.sol";
import {Registry} from "../src/Registry.sol";
import {Vault} from "../src/Vault.sol";
import {IVault} from "../src/interfaces/IVault.sol";
import {VaultFixture} from "./fixtures/VaultFixture.sol";
import {Token} from "./fixtures/Tokens.sol";

/// @title A vault takes no part that serves another asset, escrow or registry
contract PartsMismatchTest is VaultFixture {
    function test_an_escrow_of_another_asset_is_refused() public {
        address next = vm.computeCreateAddress(address(this), vm.getNonce(address(this)) + 3);
        Token other = new Token("DAI", 18);
        Escrow e = new Escrow(next, other);
        _refused(new Portfolio(next, registry, token, address(e)), e);
    }

    function test_a_portfolio_of_another_asset_is_refused() public {
        address next = vm.computeCreateAddress(address(this), vm.getNonce(address(this)) + 3);
        Token other = new Token("DAI", 18);
        Escrow e = new Escrow(next, token);
        _refused(new Portfolio(next, registry, other, address(e)), e);
    }

    function test_a_portfolio_that_pays_another_escrow_is_refused() public {
        address next = vm.computeCreateAddress(address(this), vm.getNonce(address(this)) + 2);
        Escrow e = new Escrow(next, token);
        _refused(new Portfolio(next, registry, token, address(escrow)), e);
    }

    function test_a_portfolio_of_another_registry_is_refused() public {
        address next = vm.computeCreateAddress(address(this), vm.getNonce(address(this)) + 3);
        Registry other = new Registry();
        Escrow e = new Escrow(next, token);
        _refused(new Portfolio(next, other, token, address(e)), e);
    }

    function _refused(Portfolio p, Escrow e) private {
        vm.expectPartialRevert(IVault.WrongPart.selector);
        new Vault(
            IERC20Metadata(address(token)),
            "V",
            "V",
            registry,
            p,
            e,
            address(this),
            address(this),
            address(this),
            defaultParams()
        );
    }
}
