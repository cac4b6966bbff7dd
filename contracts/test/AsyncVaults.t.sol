// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Connector} from "../src/connectors/Connector.sol";
import {ERC4626Connector} from "../src/connectors/ERC4626Connector.sol";
import {Status} from "../src/interfaces/Types.sol";
import {VaultFixture} from "./fixtures/VaultFixture.sol";
import {Token} from "./fixtures/Tokens.sol";

/// @dev What a connector asks of its portfolio, of another vault than the one it enters.
contract OtherPortfolio {
    uint256 public REPORT_GAS = 300_000;

    address public immutable vault = address(0xdead);
    address public immutable registry = address(0xbeef);
    address public immutable asset;

    constructor(address asset_) {
        asset = asset_;
    }

    function setReportGas(uint256 reportGas) external {
        REPORT_GAS = reportGas;
    }

    function act(ERC4626Connector connector, bytes calldata data) external returns (bytes memory) {
        (bool success, bytes memory answer) = address(connector).call(data);
        if (success) return answer;
        assembly ("memory-safe") {
            revert(add(answer, 32), mload(answer))
        }
    }
}

/// @dev Takes deposits at once, redeems on request, and numbers its requests.
contract NumberedVault is Token {
    Token private immutable ASSET;

    constructor(Token asset_) Token("N", 6) {
        ASSET = asset_;
    }

    function asset() external view returns (address) {
        return address(ASSET);
    }

    function supportsInterface(bytes4 id) external pure returns (bool) {
        return id == 0x620ee8e4 || id == 0x01ffc9a7;
    }

    function maxDeposit(address) external pure returns (uint256) {
        return type(uint256).max;
    }

    function previewDeposit(uint256 assets) external pure returns (uint256) {
        return assets;
    }

    function convertToAssets(uint256 shares) external pure returns (uint256) {
        return shares;
    }

    function deposit(uint256 assets, address receiver) external returns (uint256) {
        assert(ASSET.transferFrom(msg.sender, address(this), assets));
        _mint(receiver, assets);
        return assets;
    }

    function pendingRedeemRequest(uint256, address) external pure returns (uint256) {
        return 0;
    }

    function claimableRedeemRequest(uint256, address) external pure returns (uint256) {
        return 0;
    }

    function maxWithdraw(address) external pure returns (uint256) {
        return 0;
    }

    function requestRedeem(uint256 shares, address, address owner) external returns (uint256) {
        _burn(owner, shares);
        return 7;
    }
}

/// @dev Its share is another contract (ERC-7575).
contract ShareElsewhere is Token {
    constructor() Token("S", 6) {}

    function supportsInterface(bytes4 id) external pure returns (bool) {
        return id == 0x2f0a18c5 || id == 0x01ffc9a7;
    }

    function share() external pure returns (address) {
        return address(0x5A4E);
    }
}

/// @title A position in a vault that takes deposits and redeems on request: one of our own
contract AsyncVaultsTest is VaultFixture {
    OtherPortfolio private owner;
    ERC4626Connector private entry;
    bytes32 private key;

    function setUp() public override {
        super.setUp();
        owner = new OtherPortfolio(address(token));
        key = bytes32(uint256(uint160(address(vault))));
        entry = _connector(key);
        depositFor(alice, 1000 * UNIT);
    }

    function test_class_E_a_vault_says_itself_that_it_works_on_request() public view {
        (bool deposits, bool redemptions) = entry.isAsync(key);
        assertTrue(deposits);
        assertTrue(redemptions);
    }

    /// @dev The whole way in and out, with the value of every step.
    function test_class_N_no_step_in_or_out_changes_the_value() public {
        _supply(500 * UNIT);
        _expect(500 * UNIT);
        assertEq(token.allowance(address(entry), address(vault)), 0);
        settle();
        _expect(500 * UNIT);
        assertEq(vault.balanceOf(address(entry)), 0, "shares wait to be claimed");

        _claim();
        _expect(500 * UNIT);
        assertGt(vault.balanceOf(address(entry)), 0);

        uint256 half = vault.balanceOf(address(entry)) / 2;
        _requestRedeem(half);
        _expect(500 * UNIT);
        assertEq(vault.pendingRedeemRequest(0, address(entry)), half);
        assertEq(entry.withdrawable(key), 0);
        settle();
        _expect(500 * UNIT);
        assertApproxEqAbs(entry.withdrawable(key), 250 * UNIT, 2);

        _claim();
        _expect(250 * UNIT);
        assertApproxEqAbs(token.balanceOf(address(owner)), 250 * UNIT, 2);
        _requestRedeem(type(uint256).max);
        settle();
        owner.act(entry, abi.encodeCall(entry.withdraw, (key, type(uint256).max)));
        _expect(0);
        assertApproxEqAbs(token.balanceOf(address(owner)), 500 * UNIT, 4);
    }

    function test_class_V_answers_are_of_all_shares_wherever_they_lie() public {
        _supply(500 * UNIT);
        settle();
        _claim();
        uint256 held = vault.balanceOf(address(entry));
        _requestRedeem(held / 3);
        _supply(200 * UNIT);
        settle();
        supply(A, 100 * UNIT);
        connector.setHeld(A, 50 * UNIT);
        _requestRedeem(held / 3);
        uint256 mintable = vault.maxMint(address(entry));
        uint256 pending = vault.pendingRedeemRequest(0, address(entry));
        uint256 all = vault.balanceOf(address(entry)) + mintable + pending;
        assertTrue(mintable != 0 && pending != 0);
        ERC4626Connector.Answer[11] memory answers = entry.answers(key);
        assertEq(answers[0].amount, all);
        assertFalse(answers[0].known, "such a vault has no previews");
        assertEq(answers[1].amount, all);
        assertTrue(answers[1].known);
        assertEq(answers[1].said, vault.convertToAssets(all));
    }

    function test_class_V_pending_shares_bear_the_losses_of_the_vault() public {
        _supply(500 * UNIT);
        settle();
        _claim();
        supply(A, 300 * UNIT);
        settle();
        _requestRedeem(type(uint256).max);
        connector.setHeld(A, 150 * UNIT);
        settle();
        (uint256 low, uint256 high,) = entry.report(key);
        assertEq(low, high);
        assertApproxEqAbs(low, 450 * UNIT, 2, "a third of 150 is lost");
    }

    function test_class_E_part_of_what_is_ready_can_be_taken() public {
        _supply(500 * UNIT);
        settle();
        _claim();
        _requestRedeem(type(uint256).max);
        settle();
        owner.act(entry, abi.encodeCall(entry.withdraw, (key, 100 * UNIT)));
        assertEq(token.balanceOf(address(owner)), 100 * UNIT);
        _expect(400 * UNIT);
        bytes memory refusal =
            abi.encodeWithSelector(ERC4626Connector.Illiquid.selector, key, entry.withdrawable(key));
        vm.expectRevert(refusal);
        owner.act(entry, abi.encodeCall(entry.withdraw, (key, 401 * UNIT)));
    }

    function test_class_E_what_is_not_ready_cannot_leave_and_says_so() public {
        _supply(500 * UNIT);
        settle();
        _claim();
        _requestRedeem(type(uint256).max);
        vm.expectRevert(abi.encodeWithSelector(ERC4626Connector.Illiquid.selector, key, 0));
        owner.act(entry, abi.encodeCall(entry.withdraw, (key, type(uint256).max)));
        vm.expectRevert(abi.encodeWithSelector(ERC4626Connector.NothingToClaim.selector, key));
        _claim();
    }

    function test_M_51_a_request_that_somebody_else_makes_for_it_is_yield() public {
        _supply(500 * UNIT);
        token.mint(bob, 50 * UNIT);
        vm.startPrank(bob);
        token.approve(address(vault), 50 * UNIT);
        vault.requestDeposit(50 * UNIT, address(entry), bob);
        vm.stopPrank();
        _supply(100 * UNIT);
        _expect(650 * UNIT);
        settle();
        _claim();
        _expect(650 * UNIT);
    }

    function test_class_I_only_the_portfolio_asks_and_claims() public {
        bytes memory refusal = abi.encodeWithSelector(Connector.NotPortfolio.selector, bob);
        vm.startPrank(bob);
        vm.expectRevert(refusal);
        entry.requestRedeem(key, 1);
        vm.expectRevert(refusal);
        entry.claim(key);
        vm.expectRevert(refusal);
        entry.deposit(key, 1, 1);
    }

    function test_class_N_nothing_is_not_asked_for() public {
        vm.expectRevert(Connector.ZeroAmount.selector);
        _requestRedeem(type(uint256).max);
    }

    // VAULTS THAT ARE NOT FOR US

    function test_class_E_requests_with_numbers_are_refused() public {
        NumberedVault numbered = new NumberedVault(token);
        key = bytes32(uint256(uint160(address(numbered))));
        entry = _connector(key);
        _supply(100 * UNIT);
        _expect(100 * UNIT);
        vm.expectRevert(abi.encodeWithSelector(ERC4626Connector.RequestNotPooled.selector, key, 7));
        _requestRedeem(100 * UNIT);
    }

    function test_class_R_a_share_elsewhere_is_refused() public {
        key = bytes32(uint256(uint160(address(new ShareElsewhere()))));
        vm.expectRevert(abi.encodeWithSelector(Connector.InvalidKey.selector, key));
        _connector(key);
    }

    function test_class_V_a_vault_whose_requests_cannot_be_read_is_impaired() public {
        _supply(500 * UNIT);
        vm.mockCallRevert(
            address(vault), abi.encodeCall(vault.pendingDepositRequest, (0, address(entry))), ""
        );
        vm.expectRevert(abi.encodeWithSelector(ERC4626Connector.Unreadable.selector, key));
        entry.report(key);
    }

    /// @dev With something at every place, and nothing read before. Cooling forgets slots, but not the vault's account.
    function test_class_V_a_report_of_requests_costs_no_more_than_was_estimated() public {
        _supply(500 * UNIT);
        settle();
        _claim();
        uint256 held = vault.balanceOf(address(entry));
        _requestRedeem(held / 3);
        _supply(200 * UNIT);
        settle();
        _requestRedeem(held / 3);
        _supply(100 * UNIT);
        vm.cool(address(vault));
        vm.cool(address(entry));
        uint256 spent = gasleft();
        entry.report(key);
        spent = spent - gasleft() + 2_500;
        emit log_named_uint("gas of a report", spent);

        vm.cool(address(vault));
        owner.setReportGas(spent - 1);
        vm.expectPartialRevert(Connector.ReportTooDear.selector);
        _connector(key);
        vm.cool(address(vault));
        owner.setReportGas(spent * 5 / 4);
        _connector(key);
    }

    // LIMITS ARE NOT VALUES

    /// @dev What EIP-4626 demands of a vault that is paused. What it has ready is still ours, and whoever came in
    /// while it counted for nothing would own a part of it.
    function test_class_T_class_V_what_a_paused_vault_has_ready_is_not_worth_nothing() public {
        _supply(500 * UNIT);
        settle();
        _answer(abi.encodeCall(vault.maxDeposit, (address(entry))), 0);
        _answer(abi.encodeCall(vault.maxMint, (address(entry))), 0);
        _assertUnreadable();
        vm.clearMockedCalls();
        _expect(500 * UNIT);

        _claim();
        _requestRedeem(type(uint256).max);
        settle();
        _answer(abi.encodeCall(vault.maxWithdraw, (address(entry))), 0);
        _answer(abi.encodeCall(vault.maxRedeem, (address(entry))), 0);
        _assertUnreadable();
        vm.clearMockedCalls();
        _expect(500 * UNIT);
    }

    /// @dev A vault may shut one of its two doors only.
    function test_class_T_class_V_one_limit_of_nothing_is_enough_to_doubt() public {
        _supply(500 * UNIT);
        settle();
        _assertDoubted(abi.encodeCall(vault.maxDeposit, (address(entry))), 0);
        _assertDoubted(abi.encodeCall(vault.maxMint, (address(entry))), 0);
        _claim();
        _requestRedeem(type(uint256).max);
        settle();
        _assertDoubted(abi.encodeCall(vault.maxWithdraw, (address(entry))), 0);
        _assertDoubted(abi.encodeCall(vault.maxRedeem, (address(entry))), 0);
    }

    function test_class_T_class_V_a_limit_below_what_is_ready_hides_no_part_of_it() public {
        _supply(500 * UNIT);
        settle();
        uint256 ready = vault.claimableDepositRequest(0, address(entry));
        _assertLeast(abi.encodeCall(vault.maxDeposit, (address(entry))), ready - entry.assetDustOf(key));
        _claim();
        _requestRedeem(type(uint256).max);
        settle();
        ready = vault.claimableRedeemRequest(0, address(entry));
        _assertLeast(abi.encodeCall(vault.maxRedeem, (address(entry))), ready - entry.dustOf(key));
    }

    /// @dev Anybody may make a request for it that is too small to become a share or a unit of the asset.
    function test_M_51_class_T_so_little_may_be_ready_for_nothing() public {
        _supply(500 * UNIT);
        bytes memory ready = abi.encodeCall(vault.claimableDepositRequest, (0, address(entry)));
        _answer(ready, entry.assetDustOf(key));
        _expect(500 * UNIT);
        _assertDoubted(ready, entry.assetDustOf(key) + 1);
        vm.clearMockedCalls();
        ready = abi.encodeCall(vault.claimableRedeemRequest, (0, address(entry)));
        _answer(ready, entry.dustOf(key));
        _expect(500 * UNIT);
        _assertDoubted(ready, entry.dustOf(key) + 1);
    }

    function test_class_V_a_vault_that_does_not_say_what_is_ready_is_impaired() public {
        _supply(500 * UNIT);
        vm.mockCallRevert(
            address(vault), abi.encodeCall(vault.claimableDepositRequest, (0, address(entry))), ""
        );
        _assertUnreadable();
        vm.clearMockedCalls();
        vm.mockCallRevert(
            address(vault), abi.encodeCall(vault.claimableRedeemRequest, (0, address(entry))), ""
        );
        _assertUnreadable();
    }

    function test_class_E_a_vault_that_redeems_at_once_takes_no_requests() public {
        PlainShares plain = new PlainShares(token);
        key = bytes32(uint256(uint160(address(plain))));
        entry = _connector(key);
        vm.expectRevert(abi.encodeWithSelector(ERC4626Connector.NotAsynchronous.selector, key));
        _requestRedeem(1);
    }

    // STEPS

    function _connector(bytes32 only_) private returns (ERC4626Connector) {
        return new ERC4626Connector(address(owner), only(only_), new address[](0));
    }

    function _supply(uint256 assets) private {
        token.mint(address(entry), assets);
        owner.act(entry, abi.encodeCall(entry.supply, (key, assets)));
    }

    function _claim() private {
        owner.act(entry, abi.encodeCall(entry.claim, (key)));
    }

    function _requestRedeem(uint256 shares) private {
        owner.act(entry, abi.encodeCall(entry.requestRedeem, (key, shares)));
    }

    /// @dev What the vault says from here on.
    function _answer(bytes memory call, uint256 said) private {
        vm.mockCall(address(vault), call, abi.encode(said));
    }

    function _assertLeast(bytes memory call, uint256 least) private {
        _answer(call, least);
        _expect(500 * UNIT);
        _assertDoubted(call, least - 1);
    }

    function _assertDoubted(bytes memory call, uint256 said) private {
        _answer(call, said);
        _assertUnreadable();
        vm.clearMockedCalls();
        _expect(500 * UNIT);
    }

    function _assertUnreadable() private {
        vm.expectRevert(abi.encodeWithSelector(ERC4626Connector.Unreadable.selector, key));
        entry.report(key);
    }

    function _expect(uint256 value) private view {
        (uint256 low, uint256 high, uint256 status) = entry.report{gas: 300_000}(key);
        assertApproxEqAbs(low, value, 3);
        assertLe(low, value, "never more");
        assertEq(high, low);
        assertEq(status, uint256(Status.OK));
    }
}

/// @dev No more of a vault than a connector asks when it is made.
contract PlainShares is Token {
    address public immutable asset;

    constructor(Token asset_) Token("P", 6) {
        asset = address(asset_);
    }
}
