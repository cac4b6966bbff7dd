// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Portfolio} from "../src/Portfolio.sol";
import {Vault} from "../src/Vault.sol";
import {Connector} from "../src/connectors/Connector.sol";
import {ERC4626Connector} from "../src/connectors/ERC4626Connector.sol";
import {IPortfolio} from "../src/interfaces/IPortfolio.sol";
import {IVault} from "../src/interfaces/IVault.sol";
import {Batch, Call, Settlement, Value} from "../src/interfaces/Types.sol";
import {Holdings} from "./fixtures/Holdings.sol";
import {VaultFixture} from "./fixtures/VaultFixture.sol";

/// @title A vault that invests in a vault which takes deposits and redeems on request: one of our own in another
/// @notice Bob is in the inner vault with as much as we are to put there; Alice owns the outer one.
contract IntegrationAsyncTest is VaultFixture {
    uint256 private constant OURS = 400 * UNIT;

    Vault private inner;
    Portfolio private innerPortfolio;
    Holdings private innerHoldings;
    ERC4626Connector private entry;
    bytes32 private key;

    function setUp() public override {
        super.setUp();
        (inner, innerPortfolio, innerHoldings) = (vault, portfolio, connector);
        depositFor(bob, OURS);

        vault = deployVault(token);
        key = bytes32(uint256(uint160(address(inner))));
        entry = new ERC4626Connector(address(portfolio), only(key), new address[](0));
        registry.listPosition(address(vault), address(entry), key, only(RISK));
        registry.setCap(address(vault), RISK, 1_000_000 * UNIT);
        bytes4[4] memory selectors = [
            entry.supply.selector, entry.withdraw.selector, entry.requestRedeem.selector, entry.claim.selector
        ];
        for (uint256 i; i < 4; ++i) {
            registry.setSelector(address(vault), address(entry), selectors[i], true);
        }
        registry.seal(address(vault), 3 days);
        depositFor(alice, 1000 * UNIT);
    }

    /// @dev What is asked for bears the price of its settlement, what is ready bears nothing more, and every batch in
    /// between may lose no more than two units.
    function testFuzz_class_N_class_V_a_request_and_its_claim_in_batches_change_no_value(
        uint256 gain,
        uint256 part,
        uint256 later
    ) public {
        _enter();
        gain = bound(gain, 0, OURS);
        _earn(gain);
        _expectNav(1000 * UNIT + gain / 2);

        uint256 held = inner.balanceOf(address(entry));
        part = bound(part, defaultParams().minRedeem, held);
        uint256 asked = (OURS + gain / 2) * part / held;
        _batch(0, abi.encodeCall(entry.requestRedeem, (key, part)));
        assertEq(inner.pendingRedeemRequest(0, address(entry)), part);
        assertEq(inner.balanceOf(address(entry)), held - part, "shares that left");
        _expectNav(1000 * UNIT + gain / 2);

        // Until it is settled it earns what the others earn.
        later = bound(later, 0, OURS);
        asked += asked * later / (2 * OURS + gain);
        _earn(later);
        uint256 value = 1000 * UNIT + (gain + later) / 2;
        assertEq(inner.pendingRedeemRequest(0, address(entry)), 0);
        assertApproxEqAbs(inner.maxWithdraw(address(entry)), asked, 4);
        _expectNav(value);

        // What is ready is an amount: of what comes now, only the shares that are left get a part.
        uint256 idle = portfolio.idle();
        uint256 ready = inner.maxWithdraw(address(entry));
        _batch(0, abi.encodeCall(entry.claim, (key)));
        assertEq(portfolio.idle() - idle, ready, "exactly what was ready");
        assertEq(inner.maxWithdraw(address(entry)), 0);
        _expectNav(value);
        _assertNothingLoose();
    }

    /// @dev A loss after the settlement is not ours as far as we have left, whether or not we have claimed.
    function test_class_V_what_is_ready_bears_no_later_loss_and_what_stays_does() public {
        _enter();
        _batch(0, abi.encodeCall(entry.requestRedeem, (key, inner.balanceOf(address(entry)) / 2)));
        _settleInner();
        uint256 ready = inner.maxWithdraw(address(entry));
        assertApproxEqAbs(ready, OURS / 2, 2);
        // Left in it: Bob's 400 and 200 of ours. A third is lost.
        _invest(300 * UNIT);
        innerHoldings.setHeld(A, 100 * UNIT);
        _settleInner();
        assertEq(inner.maxWithdraw(address(entry)), ready);
        uint256 loss = OURS / 2 / 3;
        _expectNav(1000 * UNIT - loss);
        uint256 idle = portfolio.idle();
        _batch(0, abi.encodeCall(entry.claim, (key)));
        assertEq(portfolio.idle() - idle, ready);
        _expectNav(1000 * UNIT - loss);
    }

    /// @dev Bob left in the same epoch, and Alice has something to claim at the outer vault.
    function test_class_I_claims_are_for_their_owners_alone() public {
        _enter();
        requestRedeem(alice, vault.balanceOf(alice) / 10);
        settle();
        uint256 alices = vault.maxWithdraw(alice);
        assertApproxEqAbs(alices, 100 * UNIT, 2);
        _batch(0, abi.encodeCall(entry.requestRedeem, (key, type(uint256).max)));
        uint256 shares = inner.balanceOf(bob) / 2;
        vm.prank(bob);
        inner.requestRedeem(shares, bob, bob);
        _settleInner();
        uint256 ours = inner.maxWithdraw(address(entry));
        uint256 bobs = inner.maxWithdraw(bob);
        assertApproxEqAbs(bobs, OURS / 2, 2);

        // Nobody takes ours.
        vm.startPrank(bob);
        bytes memory refusal = abi.encodeWithSelector(IVault.NotController.selector, address(entry), bob);
        vm.expectRevert(refusal);
        inner.withdraw(1, bob, address(entry));
        vm.expectRevert(refusal);
        inner.redeem(1, bob, address(entry));
        vm.expectRevert(refusal);
        inner.claimResidual(0, bob, address(entry));
        vm.expectRevert(refusal);
        inner.cancelRedeemRequest(0, address(entry));
        vm.expectRevert(abi.encodeWithSelector(Connector.NotPortfolio.selector, bob));
        entry.claim(key);
        vm.stopPrank();

        // Nor does a batch take what is Bob's, or Alice's: neither vault is anything that it may call.
        _expectRefusal(address(inner), abi.encodeCall(inner.withdraw, (bobs, address(portfolio), bob)));
        _expectRefusal(address(vault), abi.encodeCall(vault.withdraw, (alices, address(portfolio), alice)));
        vm.prank(address(portfolio));
        vm.expectRevert(abi.encodeWithSelector(IVault.NotController.selector, bob, address(portfolio)));
        inner.withdraw(bobs, address(portfolio), bob);
        // And a claim takes no more than is ready: one unit more is refused, though Bob's lie in the same escrow.
        Batch memory b = batch(_calls(0, abi.encodeCall(entry.withdraw, (key, ours + 1))));
        vm.expectRevert(abi.encodeWithSelector(ERC4626Connector.Illiquid.selector, key, ours));
        portfolio.execute(b);
        uint256 idle = portfolio.idle();
        _batch(0, abi.encodeCall(entry.claim, (key)));
        assertEq(portfolio.idle() - idle, ours);
        b = batch(_calls(0, abi.encodeCall(entry.claim, (key))));
        vm.expectRevert(abi.encodeWithSelector(ERC4626Connector.NothingToClaim.selector, key));
        portfolio.execute(b);

        assertEq(inner.maxWithdraw(bob), bobs);
        vm.prank(bob);
        inner.withdraw(bobs, bob, bob);
        assertEq(token.balanceOf(bob), bobs);
        assertEq(vault.maxWithdraw(alice), alices);
        vm.prank(alice);
        vault.withdraw(alices, alice, alice);
        assertEq(token.balanceOf(alice), alices);
        _expectNav(1000 * UNIT - alices);
        _assertNothingLoose();
    }

    // STEPS

    /// @dev In two batches: a request, and the claim of the shares.
    function _enter() private {
        _batch(OURS, abi.encodeCall(entry.supply, (key, OURS)));
        _expectNav(1000 * UNIT);
        _settleInner();
        _expectNav(1000 * UNIT);
        _batch(0, abi.encodeCall(entry.claim, (key)));
        _expectNav(1000 * UNIT);
        assertEq(inner.balanceOf(address(entry)), inner.balanceOf(bob), "as much as Bob");
    }

    /// @dev The inner vault invests, earns so much and settles. It has all of it back in time for exits.
    function _earn(uint256 gain) private {
        if (gain == 0) return _settleInner();
        _invest(100 * UNIT);
        token.mint(address(innerHoldings), gain);
        innerHoldings.setHeld(A, 100 * UNIT + gain);
        _runInner(0, abi.encodeCall(Holdings.withdraw, (A, type(uint256).max)));
        _settleInner();
    }

    function _invest(uint256 assets) private {
        _runInner(assets, abi.encodeCall(Holdings.supply, (A, assets)));
    }

    function _runInner(uint256 push, bytes memory data) private {
        Batch memory b = batch(oneCall(push, data));
        (b.vault, b.nonce) = (address(inner), innerPortfolio.nextNonce(0));
        innerPortfolio.execute(b);
    }

    function _settleInner() private {
        skip(1 hours);
        inner.closeEpoch();
        skip(1);
        Settlement memory s = settlement();
        (s.vault, s.epoch) = (address(inner), inner.accounting().settledEpoch + 1);
        inner.settle(s);
    }

    function _batch(uint256 push, bytes memory data) private {
        Batch memory b = batch(_calls(push, data));
        b.maxLoss = 2;
        portfolio.execute(b);
    }

    function _calls(uint256 push, bytes memory data) private view returns (Call[] memory calls) {
        calls = new Call[](1);
        calls[0] = Call(address(entry), address(token), push, data);
    }

    function _expectRefusal(address target, bytes memory data) private {
        Call[] memory calls = new Call[](1);
        calls[0] = Call(target, address(0), 0, data);
        Batch memory b = batch(calls);
        vm.expectRevert(abi.encodeWithSelector(IPortfolio.CallNotAllowed.selector, target, bytes4(data)));
        portfolio.execute(b);
    }

    /// @dev Never more, and less by no more than the roundings of the way so far.
    function _expectNav(uint256 value) private view {
        (Value memory nav, bool healthy) = portfolio.nav();
        assertTrue(healthy, "impaired");
        assertEq(nav.low, nav.high);
        assertLe(nav.low, value + 1, "counted twice");
        assertApproxEqAbs(nav.low, value, 4, "not counted");
    }

    function _assertNothingLoose() private view {
        assertEq(token.balanceOf(address(portfolio)), portfolio.idle());
        assertEq(token.balanceOf(address(entry)), 0);
    }
}
