// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IVault} from "../../src/interfaces/IVault.sol";
import {Campaign} from "./Campaign.sol";
import {FreezableToken} from "./FreezableToken.sol";

/// @dev What people do, the hostile ones included: name others as controller, claim for others, pull by
/// allowance.
abstract contract UserActions is Campaign {
    function requestDepositFor(uint256 owner_, uint256 controller_, uint256 assets)
        external
        neutral("requestDeposit")
    {
        (address owner, address controller) = (_actor(owner_), _actor(controller_));
        if (assets % 3 != 0) controller = owner;
        assets = bound(assets, 0, 300_000 * UNIT);
        bool frozen = dollar.frozen(owner);
        bool accepted = assets >= UNIT && assets <= vault.maxRequestDeposit(controller) && !frozen;
        uint256 pending = vault.pendingDepositRequest(0, controller);
        if (!frozen) token.mint(owner, assets);
        vm.startPrank(owner);
        token.approve(address(vault), assets);
        try vault.requestDeposit(assets, controller, owner) {
            assertTrue(accepted, "a deposit request beyond the limits passed");
            assertEq(vault.pendingDepositRequest(0, controller), pending + assets, "pending deposit");
            ++times[owner == controller ? bytes32("own deposit") : bytes32("gift deposit")];
        } catch {
            assertFalse(accepted, "7: a deposit request within the limits was refused");
        }
        vm.stopPrank();
    }

    function requestRedeemFor(uint256 owner_, uint256 controller_, uint256 caller_, uint256 shares)
        external
        neutral("requestRedeem")
    {
        (address owner, address controller, address caller) =
            (_actorWith(owner_, vault.balanceOf), _actor(controller_), _actor(caller_));
        // Anyone may try for anyone, but the campaign needs queues, and people who redeem for themselves.
        if (shares % 4 != 0) caller = owner;
        if (shares % 3 != 0) controller = owner;
        uint256 balance = vault.balanceOf(owner);
        shares = bound(shares, 0, balance + balance / 8);
        bool enough = shares >= defaultParams().minRedeem || (shares != 0 && shares == balance);
        bool accepted = enough && shares <= balance
            && (_mayActFor(owner, caller) || vault.allowance(owner, caller) >= shares);
        uint256 claimable = vault.maxWithdraw(controller);
        uint256 pending = vault.pendingRedeemRequest(0, controller);
        vm.prank(caller);
        try vault.requestRedeem(shares, controller, owner) {
            assertTrue(accepted, "a redemption request beyond balance or allowance passed");
            assertEq(vault.pendingRedeemRequest(0, controller), pending + shares, "pending redemption");
            assertEq(vault.maxWithdraw(controller), claimable, "7: a request changed older entitlements");
            ++times[owner == controller ? bytes32("own redemption") : bytes32("gift redemption")];
        } catch {
            assertFalse(accepted, "7: an exit within balance was refused");
        }
    }

    function claimShares(uint256 caller_, uint256 controller_, uint256 receiver_, uint256 part)
        external
        neutral("claimShares")
    {
        (address caller, address controller, address receiver) =
            (_actor(caller_), _actorWith(controller_, vault.maxMint), _actor(receiver_));
        if (part % 4 != 0) caller = controller;
        uint256 claimable = part % 2 == 0 ? vault.maxDeposit(controller) : vault.maxMint(controller);
        if (claimable == 0) return;
        uint256 amount = bound(part, 1, claimable);
        uint256 shares = vault.maxMint(controller);
        uint256 balance = vault.balanceOf(receiver);
        vm.prank(caller);
        (bool success, bytes memory result) = address(vault)
            .call(
                part % 2 == 0
                    ? abi.encodeWithSignature(
                        "deposit(uint256,address,address)", amount, receiver, controller
                    )
                    : abi.encodeWithSignature("mint(uint256,address,address)", amount, receiver, controller)
            );
        assertEq(success, _mayActFor(controller, caller), "7: claim of shares");
        if (!success) {
            assertEq(bytes4(result), IVault.NotController.selector, "claim of shares");
            return;
        }
        assertEq(
            vault.balanceOf(receiver) - balance, shares - vault.maxMint(controller), "shares claimed once"
        );
        ++times["shares claimed"];
    }

    function claimAssets(uint256 caller_, uint256 controller_, uint256 receiver_, uint256 part)
        external
        neutral("claimAssets")
    {
        (address caller, address controller, address receiver) =
            (_actor(caller_), _actorWith(controller_, vault.maxWithdraw), _actor(receiver_));
        if (part % 4 != 0) caller = controller;
        uint256 claimable = part % 2 == 0 ? vault.maxRedeem(controller) : vault.maxWithdraw(controller);
        if (claimable == 0) return;
        uint256 amount = bound(part, 1, claimable);
        uint256 owed = vault.maxWithdraw(controller);
        uint256 balance = token.balanceOf(receiver);
        bool frozen = dollar.frozen(receiver);
        vm.prank(caller);
        (bool success, bytes memory result) = address(vault)
            .call(
                part % 2 == 0
                    ? abi.encodeCall(vault.redeem, (amount, receiver, controller))
                    : abi.encodeCall(vault.withdraw, (amount, receiver, controller))
            );
        assertEq(success, _mayActFor(controller, caller) && !frozen, "7: claim of assets");
        if (!success) {
            bytes4 reason = bytes4(result);
            assertTrue(
                reason == IVault.NotController.selector || reason == FreezableToken.Frozen.selector,
                "claim of assets"
            );
            assertEq(vault.maxWithdraw(controller), owed, "a refused claim took something");
            return;
        }
        assertEq(
            token.balanceOf(receiver) - balance, owed - vault.maxWithdraw(controller), "1: paid what is owed"
        );
        ++times["assets claimed"];
    }

    /// @dev What is not committed comes back: the open epoch's, what rolled, and in a loss window everything.
    function cancelDeposit(uint256 caller_, uint256 controller_) external neutral("cancelDeposit") {
        address controller = _actorWith(controller_, this.pendingDeposit);
        address caller = caller_ % 4 == 0 ? _actor(caller_ >> 8) : controller;
        uint256 pending = vault.pendingDepositRequest(0, controller);
        uint256 back = vault.claimableCancelDepositRequest(0, controller);
        vm.prank(caller);
        try vault.cancelDepositRequest(0, controller) {
            assertTrue(_mayActFor(controller, caller), "9: a stranger cancelled");
            uint256 gone = pending - vault.pendingDepositRequest(0, controller);
            assertGt(gone, 0, "nothing was cancelled");
            assertEq(
                vault.claimableCancelDepositRequest(0, controller), back + gone, "1: a cancelled deposit"
            );
            ++times["deposit cancelled"];
        } catch {
            assertEq(vault.pendingDepositRequest(0, controller), pending, "a refused cancel took something");
        }
    }

    function cancelRedemption(uint256 caller_, uint256 controller_) external neutral("cancelRedeem") {
        address controller = _actorWith(controller_, this.pendingRedemption);
        address caller = caller_ % 4 == 0 ? _actor(caller_ >> 8) : controller;
        uint256 pending = vault.pendingRedeemRequest(0, controller);
        uint256 back = vault.claimableCancelRedeemRequest(0, controller);
        bool window = block.timestamp < vault.accounting().windowEndsAt;
        vm.prank(caller);
        try vault.cancelRedeemRequest(0, controller) {
            assertTrue(_mayActFor(controller, caller), "9: a stranger cancelled");
            uint256 left = vault.pendingRedeemRequest(0, controller);
            assertEq(
                vault.claimableCancelRedeemRequest(0, controller),
                back + pending - left,
                "1: a cancelled redemption"
            );
            if (window) {
                assertEq(left, 0, "7: a loss window holds somebody in the queue");
                joined[controller] = 0;
                ++times["left in a window"];
            } else {
                ++times["redemption cancelled"];
            }
        } catch {
            assertTrue(
                !window || pending == 0 || !_mayActFor(controller, caller),
                "7: nobody may be held in a window"
            );
            assertEq(vault.pendingRedeemRequest(0, controller), pending, "a refused cancel took something");
        }
    }

    function pendingDeposit(address controller) external view returns (uint256) {
        return vault.pendingDepositRequest(0, controller);
    }

    function pendingRedemption(address controller) external view returns (uint256) {
        return vault.pendingRedeemRequest(0, controller);
    }

    function setOperator(uint256 controller_, uint256 operator_, uint256 approved)
        external
        neutral("setOperator")
    {
        (address controller, address operator) = (_actor(controller_), _actor(operator_));
        if (controller == operator) return;
        vm.prank(controller);
        vault.setOperator(operator, approved % 3 == 0);
    }

    function moveShares(uint256 from_, uint256 to_, uint256 shares) external neutral("moveShares") {
        (address from, address to) = (_actor(from_), _actor(to_));
        shares = bound(shares, 0, vault.balanceOf(from));
        // One in 30 of a kind: shares thrown away at the vault itself.
        if (shares % 30 == 7) {
            to = address(vault);
            shares /= 100;
            donatedShares += shares;
        }
        vm.startPrank(from);
        if (shares % 2 == 0) vault.approve(to, shares);
        else vault.transfer(to, shares);
        vm.stopPrank();
        if (shares % 2 == 0 && to == address(vault)) donatedShares -= shares;
    }

    /// @dev Everything a stranger could try to move the vault's assets or roles with.
    function attack(uint256 attacker_, uint256 which, uint256 amount) external neutral("attack") {
        bytes memory data;
        address target = address(portfolio);
        amount = bound(amount, 0, 1e12);
        which %= 12;
        if (which == 0) data = abi.encodeCall(portfolio.release, (amount));
        if (which == 1) data = abi.encodeCall(portfolio.receiveIdle, (amount));
        if (which == 2) data = abi.encodeCall(portfolio.checkpoint, (amount % 2 == 0));
        if (which == 3) data = abi.encodeCall(portfolio.skim, (token, _actor(attacker_)));
        if (which == 4) data = abi.encodeCall(portfolio.cancelNonce, (amount));
        if (which == 5) {
            data = abi.encodeWithSelector(
                portfolio.execute.selector,
                batch(oneCall(amount, abi.encodeCall(token.balanceOf, (vm.addr(1)))))
            );
        }
        if (which > 5 && which < 9) target = address(vault);
        if (which == 6) data = abi.encodeCall(vault.settle, (settlement()));
        if (which == 7) data = abi.encodeCall(vault.setParams, (vault.params()));
        if (which == 8) data = abi.encodeCall(vault.lock, ());
        if (which == 9) {
            (target, data) = (address(escrow), abi.encodeCall(escrow.pay, (_actor(attacker_), amount)));
        }
        if (which > 9) target = address(registry);
        if (which == 10) {
            data = abi.encodeCall(
                registry.submit,
                (
                    address(vault),
                    address(registry),
                    abi.encodeCall(registry.setKeeper, (address(vault), _actor(attacker_)))
                )
            );
        }
        if (which == 11) data = abi.encodeCall(registry.setKeeper, (address(vault), _actor(attacker_)));
        vm.prank(_actor(attacker_));
        (bool success,) = target.call(data);
        assertFalse(success, "9: a stranger got in");
    }
}
