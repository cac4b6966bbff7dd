// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IERC20Metadata} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Metadata.sol";
import {Escrow} from "../src/Escrow.sol";
import {Portfolio} from "../src/Portfolio.sol";
import {Vault} from "../src/Vault.sol";
import {IVault, Params} from "../src/interfaces/IVault.sol";
import {VaultFixture} from "./fixtures/VaultFixture.sol";

/// @title What a vault refuses by name: amounts, receivers, parameters and parts
contract RefusalsTest is VaultFixture {
    // AMOUNTS AND RECEIVERS

    function test_a_redemption_is_requested_for_somebody() public {
        uint256 shares = depositFor(alice, 10 * UNIT);
        vm.prank(alice);
        vm.expectRevert(IVault.ZeroAddress.selector);
        vault.requestRedeem(shares, address(0), alice);
    }

    function test_bought_shares_are_claimed_in_an_amount_and_for_somebody() public {
        requestDeposit(alice, 10 * UNIT);
        settle();
        vm.startPrank(alice);
        vm.expectRevert(IVault.ZeroAmount.selector);
        vault.deposit(0, alice);
        vm.expectRevert(IVault.ZeroAmount.selector);
        vault.mint(0, alice);
        vm.expectRevert(IVault.ZeroAddress.selector);
        vault.deposit(UNIT, address(0));
        vm.expectRevert(IVault.ZeroAddress.selector);
        vault.mint(1, address(0));
    }

    function test_assets_are_claimed_in_an_amount_and_for_somebody() public {
        requestRedeem(alice, depositFor(alice, 10 * UNIT));
        settle();
        vm.startPrank(alice);
        vm.expectRevert(IVault.ZeroAmount.selector);
        vault.withdraw(0, alice, alice);
        vm.expectRevert(IVault.ZeroAmount.selector);
        vault.redeem(0, alice, alice);
        vm.expectRevert(IVault.ZeroAddress.selector);
        vault.withdraw(UNIT, address(0), alice);
        vm.expectRevert(IVault.ZeroAddress.selector);
        vault.redeem(1, address(0), alice);
    }

    function test_cancelled_shares_go_to_somebody() public {
        requestRedeem(alice, depositFor(alice, 10 * UNIT));
        vm.startPrank(alice);
        vault.cancelRedeemRequest(0, alice);
        vm.expectRevert(IVault.ZeroAddress.selector);
        vault.claimCancelRedeemRequest(0, address(0), alice);
    }

    // PARAMETERS

    function test_class_F_fees_have_a_limit() public {
        vault = deployVault(token);
        Params memory p = defaultParams();
        p.managementFee = 0.05e18 + 1;
        _refused(p, "managementFee");
        p = defaultParams();
        p.performanceFee = 0.3e18 + 1;
        _refused(p, "performanceFee");
        p = defaultParams();
        p.exitFee = 0.01e18 + 1;
        _refused(p, "exitFee");
        p = defaultParams();
        (p.managementFee, p.performanceFee, p.exitFee) = (0.05e18, 0.3e18, 0.01e18);
        vault.setParams(p);
        assertEq(vault.params().performanceFee, 0.3e18, "the limits themselves are allowed");
    }

    function test_class_F_fees_go_to_somebody_else_than_the_vault() public {
        vault = deployVault(token);
        Params memory p = defaultParams();
        p.feeRecipient = address(0);
        vm.expectRevert(IVault.ZeroAddress.selector);
        vault.setParams(p);
        p.feeRecipient = address(vault);
        vm.expectRevert(IVault.ZeroAddress.selector);
        vault.setParams(p);
    }

    function test_parameters_that_would_stop_or_flood_the_vault_are_refused() public {
        vault = deployVault(token);
        Params memory p = defaultParams();
        p.maxStep = 1e18 + 1;
        _refused(p, "maxStep");
        p = defaultParams();
        p.minEpochLength = 7 days + 1;
        _refused(p, "minEpochLength");
        p = defaultParams();
        p.minDeposit = 0;
        _refused(p, "minDeposit");
        p = defaultParams();
        p.minRedeem = 0;
        _refused(p, "minRedeem");
    }

    function test_class_Q_parameters_that_would_keep_users_waiting_are_refused() public {
        vault = deployVault(token);
        Params memory p = defaultParams();
        p.maxRate = uint64(uint256(0.1e18) / 365 days) - 1;
        _refused(p, "maxRate");
        p = defaultParams();
        p.maxAge = 1 days - 1;
        _refused(p, "maxAge");
        p.maxAge = 30 days + 1;
        _refused(p, "maxAge");
        p.maxAge = 30 days;
        p.maxRate = uint64(uint256(0.1e18) / 365 days);
        vault.setParams(p);
        assertEq(vault.params().maxAge, 30 days, "the limits themselves are allowed");
    }

    /// Catches: a queue that may grow so old that whoever dislikes a change leaves after it is made.
    function test_class_G_the_age_of_the_queue_and_two_epochs_fit_into_the_delay() public {
        Params memory p = defaultParams();
        p.maxAge = 3 days - 2 hours + 1;
        _submit(p);
        _refused(p, "maxAge");
        p.maxAge = 3 days - 2 hours;
        _submit(p);
        vault.setParams(p);
        assertEq(vault.params().maxAge, 3 days - 2 hours);
    }

    // PARTS

    /// @dev A portfolio or an escrow that obeys another vault would be that vault's money.
    function test_class_I_parts_of_another_vault_are_refused() public {
        address next = vm.computeCreateAddress(address(this), vm.getNonce(address(this)) + 1);
        Escrow own = new Escrow(next, token);
        vm.expectRevert(abi.encodeWithSelector(IVault.WrongPart.selector, address(portfolio)));
        _deploy(portfolio, own);

        next = vm.computeCreateAddress(address(this), vm.getNonce(address(this)) + 1);
        Portfolio ownPortfolio = new Portfolio(next, registry, token, address(escrow));
        vm.expectRevert(abi.encodeWithSelector(IVault.WrongPart.selector, address(escrow)));
        _deploy(ownPortfolio, escrow);
    }

    // THE REST OF A QUEUE

    /// @dev One unit short of a million dollars, the queue would wait for less than its own rounding.
    function test_class_Q_a_rest_of_dust_counts_as_filled() public {
        uint256 shares = depositFor(alice, 1_000_000 * UNIT);
        supply(A, 1);
        requestRedeem(alice, shares);
        settle();
        assertEq(vault.settledAt(), block.timestamp);
        assertEq(vault.pendingRedeemRequest(0, alice), 0);
        assertEq(vault.maxRedeem(alice), shares);
        assertEq(vault.totalSupply(), 0);
        uint256 assets = vault.maxWithdraw(alice);
        assertApproxEqAbs(assets, 1_000_000 * UNIT - 1, 1);
        vm.prank(alice);
        vault.redeem(shares, alice, alice);
        assertEq(token.balanceOf(alice), assets);
    }

    // STEPS

    function _submit(Params memory p) private {
        registry.submit(address(vault), address(vault), abi.encodeCall(vault.setParams, (p)));
        skip(3 days);
    }

    function _refused(Params memory p, bytes32 name) private {
        vm.expectRevert(abi.encodeWithSelector(IVault.ParamOutOfBounds.selector, name));
        vault.setParams(p);
    }

    function _deploy(Portfolio portfolio_, Escrow escrow_) private {
        new Vault(
            IERC20Metadata(address(token)),
            "Omnikeeper USDC",
            "okUSDC",
            registry,
            portfolio_,
            escrow_,
            address(this),
            address(this),
            address(this),
            defaultParams()
        );
    }
}
