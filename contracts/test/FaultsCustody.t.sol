// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {Escrow} from "../src/Escrow.sol";
import {Portfolio} from "../src/Portfolio.sol";
import {Vault} from "../src/Vault.sol";
import {AaveV3Connector} from "../src/connectors/AaveV3Connector.sol";
import {ERC4626Connector} from "../src/connectors/ERC4626Connector.sol";
import {IAaveV3Pool} from "../src/connectors/IAaveV3.sol";
import {IMorphoBlue} from "../src/connectors/IMorphoBlue.sol";
import {MorphoBlueConnector} from "../src/connectors/MorphoBlueConnector.sol";
import {IEscrow} from "../src/interfaces/IEscrow.sol";
import {IPortfolio} from "../src/interfaces/IPortfolio.sol";
import {IRegistry} from "../src/interfaces/IRegistry.sol";
import {IVault} from "../src/interfaces/IVault.sol";
import {Batch, Call, Value} from "../src/interfaces/Types.sol";
import {PlainVault} from "./ERC4626Connector.t.sol";
import {Holdings} from "./fixtures/Holdings.sol";
import {LiquidityFixture} from "./fixtures/LiquidityFixture.sol";
import {Token} from "./fixtures/Tokens.sol";
import {VaultFixture} from "./fixtures/VaultFixture.sol";

/// @dev A token whose issuer can shut accounts out.
contract BlockingToken is Token {
    mapping(address account => bool) public blocked;

    error Blocked(address account);

    constructor() Token("BLOCK", 6) {}

    function setBlocked(address account, bool blocked_) external {
        blocked[account] = blocked_;
    }

    function _update(address from, address to, uint256 amount) internal override {
        require(!blocked[to], Blocked(to));
        super._update(from, to, amount);
    }
}

/// @dev A token that calls back into the vault in the middle of a deposit request.
contract HookToken is Token {
    Vault private target;
    uint256 public seenRoom;
    bytes public requestReason;
    bytes public navReason;

    constructor() Token("HOOK", 6) {}

    function arm(Vault target_) external {
        target = target_;
    }

    function _update(address from, address to, uint256 amount) internal override {
        super._update(from, to, amount);
        if (address(target) == address(0) || to != address(target.escrow())) return;
        seenRoom = target.maxRequestDeposit(from);
        try target.requestDeposit(1e6, address(this), address(this)) {}
        catch (bytes memory reason) {
            requestReason = reason;
        }
        try target.portfolio().nav() {}
        catch (bytes memory reason) {
            navReason = reason;
        }
    }
}

/// @dev What a stolen governor would list: a connector that does whatever its caller likes.
contract Thief {
    address public immutable portfolio;

    constructor(address portfolio_) {
        portfolio = portfolio_;
    }

    function report(bytes32) external pure returns (uint256, uint256, uint256) {
        return (0, 0, 0);
    }

    function act(address target, bytes calldata data) external {
        (bool success, bytes memory reason) = target.call(data);
        if (!success) {
            assembly {
                revert(add(reason, 32), mload(reason))
            }
        }
    }
}

/// @dev Known faults of comparable vaults: who can reach the assets, and what may stop a transfer.
/// "Catches" names the wrong variant that the test fails for.
contract FaultsCustodyTest is VaultFixture {
    bytes32 private constant UNLISTED = "position c";

    // RECEIVERS AND TOKENS

    /// Catches: payments pushed to receivers, one after the other, in a settlement.
    function test_H_04_a_receiver_that_cannot_be_paid_blocks_nobody() public {
        BlockingToken blocking = new BlockingToken();
        useToken(blocking);
        depositFor(alice, 100 * UNIT);
        depositFor(bob, 100 * UNIT);
        requestRedeem(alice, 100e12);
        requestRedeem(bob, 100e12);
        blocking.setBlocked(alice, true);
        settle();
        vm.prank(bob);
        assertEq(vault.redeem(100e12, bob, bob), 100 * UNIT);
        vm.startPrank(alice);
        vm.expectRevert(abi.encodeWithSelector(BlockingToken.Blocked.selector, alice));
        vault.redeem(100e12, alice, alice);
        vm.expectRevert(IVault.ZeroAddress.selector);
        vault.redeem(100e12, address(0), alice);
        vault.redeem(50e12, makeAddr("elsewhere"), alice);
        vm.stopPrank();
        blocking.setBlocked(alice, false);
        vm.prank(alice);
        assertEq(vault.redeem(50e12, alice, alice), 50 * UNIT);
    }

    /// Catches: a limit that is checked before, and counted after, a transfer that may call back.
    function test_D_19_a_token_with_a_hook_sees_its_own_deposit_counted_and_cannot_reenter() public {
        HookToken hook = new HookToken();
        useToken(hook);
        hook.arm(vault);
        requestDeposit(alice, 100 * UNIT);
        assertEq(hook.seenRoom(), defaultParams().depositCap - 100 * UNIT);
        assertEq(bytes4(hook.requestReason()), IVault.Reentered.selector);
        assertEq(bytes4(hook.navReason()), IPortfolio.Locked.selector);
    }

    /// Catches: `balance == 0` or `balance == ledger` as a condition of anything.
    function test_M_51_one_unit_of_anything_anywhere_stops_nothing() public {
        address[4] memory places = [address(vault), address(portfolio), address(escrow), address(connector)];
        for (uint256 i; i < 4; ++i) {
            token.mint(places[i], 1);
        }
        depositFor(alice, 100 * UNIT);
        supply(A, 100 * UNIT);
        withdraw(A, type(uint256).max);
        requestRedeem(alice, 100e12);
        settle();
        vm.prank(alice);
        assertEq(vault.redeem(100e12, alice, alice), 100 * UNIT);
        assertEq(vault.totalAssets(), 0);
    }

    // WHO REACHES THE ASSETS

    /// Catches: a shared contract, or a connector, that one vault trusts on the word of another.
    function test_H_08_one_vault_reaches_nothing_of_another() public {
        depositFor(alice, 100 * UNIT);
        supply(A, 50 * UNIT);
        (Vault first, Portfolio firstPortfolio, Escrow firstEscrow) = (vault, portfolio, escrow);
        vault = deployVault(token);
        bytes32[] memory none = new bytes32[](0);
        vm.expectRevert(abi.encodeWithSelector(IRegistry.ForeignConnector.selector, address(connector)));
        registry.listPosition(address(vault), address(connector), A, none);
        Batch memory foreign = batch(new Call[](0));
        vm.expectRevert(
            abi.encodeWithSelector(IPortfolio.WrongVault.selector, address(first), address(vault))
        );
        firstPortfolio.execute(foreign);
        vm.startPrank(address(vault));
        vm.expectRevert(abi.encodeWithSelector(IPortfolio.NotVault.selector, address(vault)));
        firstPortfolio.release(1);
        vm.expectRevert(abi.encodeWithSelector(IEscrow.NotVault.selector, address(vault)));
        firstEscrow.pay(address(vault), 1);
        vm.stopPrank();
    }

    /// Catches: an allowance for connectors, a connector added at once, a batch without a loss budget.
    function test_D_05_a_hostile_connector_reaches_neither_idle_nor_what_users_are_owed() public {
        depositFor(alice, 100 * UNIT);
        requestRedeem(alice, 40e12);
        settle();
        requestDeposit(bob, 50 * UNIT);
        Thief thief = new Thief(address(portfolio));
        bytes memory change =
            abi.encodeCall(registry.setSelector, (address(vault), address(thief), Thief.act.selector, true));
        vm.expectRevert(
            abi.encodeWithSelector(
                IRegistry.ChangeUnknown.selector, registry.changeId(address(registry), change)
            )
        );
        registry.setSelector(address(vault), address(thief), Thief.act.selector, true);
        registry.submit(address(vault), address(registry), change);
        skip(3 days);
        registry.setSelector(address(vault), address(thief), Thief.act.selector, true);

        bytes memory noAllowance = abi.encodeWithSelector(
            IERC20Errors.ERC20InsufficientAllowance.selector, address(thief), 0, 60 * UNIT
        );
        bytes memory take =
            abi.encodeCall(token.transferFrom, (address(portfolio), address(thief), 60 * UNIT));
        thiefFails(thief, 0, address(token), take, noAllowance);
        take = abi.encodeCall(token.transferFrom, (address(escrow), address(thief), 60 * UNIT));
        thiefFails(thief, 0, address(token), take, noAllowance);
        bytes memory notVault = abi.encodeWithSelector(IPortfolio.NotVault.selector, address(thief));
        thiefFails(thief, 0, address(portfolio), abi.encodeCall(portfolio.release, (1)), notVault);
        notVault = abi.encodeWithSelector(IEscrow.NotVault.selector, address(thief));
        thiefFails(thief, 0, address(escrow), abi.encodeCall(escrow.pay, (address(thief), 1)), notVault);
        // What a batch may push is idle, and what it may lose of that is bounded.
        Batch memory b = batch(thiefCall(thief, 60 * UNIT, address(token), abi.encodeCall(token.symbol, ())));
        b.maxLoss = type(uint256).max;
        vm.expectPartialRevert(IPortfolio.LossBudgetExceeded.selector);
        portfolio.execute(b);
        assertEq(token.balanceOf(address(thief)), 0);
        assertEq(token.balanceOf(address(escrow)), 90 * UNIT);
    }

    /// Catches: a change that is off for one entry and still on for another.
    function test_M_23_what_is_disabled_is_disabled_for_every_call() public {
        depositFor(alice, 100 * UNIT);
        bytes[2] memory calls =
            [abi.encodeCall(Holdings.supply, (A, 0)), abi.encodeCall(Holdings.withdraw, (A, 0))];
        for (uint256 i; i < 2; ++i) {
            bytes4 selector = bytes4(calls[i]);
            portfolio.execute(batch(oneCall(0, calls[i])));
            bytes memory data =
                abi.encodeCall(registry.setSelector, (address(vault), address(connector), selector, false));
            registry.submit(address(vault), address(registry), data);
            skip(3 days);
            registry.setSelector(address(vault), address(connector), selector, false);
            Batch memory b = batch(oneCall(0, calls[i]));
            vm.expectRevert(
                abi.encodeWithSelector(IPortfolio.CallNotAllowed.selector, address(connector), selector)
            );
            portfolio.execute(b);
        }
    }

    // WHAT COUNTS, AND WHAT AN ACTION MAY COST

    /// Catches: positions counted by flags that actions set and clear, or dropped before they are empty.
    function test_H_18_M_13_M_43_a_position_counts_by_its_live_value() public {
        depositFor(alice, 100 * UNIT);
        supply(A, 60 * UNIT);
        withdraw(A, type(uint256).max);
        supply(A, 10 * UNIT);
        assertNav(100 * UNIT);
        withdraw(A, 9 * UNIT);
        vm.expectRevert(abi.encodeWithSelector(IRegistry.PositionNotEmpty.selector, address(connector), A));
        registry.unlistPosition(address(vault), address(connector), A);
        assertNav(100 * UNIT);
        // What arrives without any action of ours counts too.
        connector.setHeld(B, 5 * UNIT);
        assertNav(105 * UNIT);
    }

    /// Catches: an action whose proceeds lie where nothing values them: staked, boosted, another's name.
    function test_H_06_M_34_D_11_value_out_of_sight_is_a_loss_and_refused() public {
        depositFor(alice, 100 * UNIT);
        Batch memory b = batch(oneCall(UNIT, abi.encodeCall(Holdings.supply, (UNLISTED, UNIT))));
        vm.expectRevert(abi.encodeWithSelector(IPortfolio.LossAboveLimit.selector, UNIT, 0));
        portfolio.execute(b);
        assertNav(100 * UNIT);
    }

    /// Catches: an action that is believed, because it did not revert, to have returned what it was worth.
    function testFuzz_H_05_H_07_M_37_M_38_whatever_an_action_loses_was_signed_for(uint256 loss) public {
        loss = bound(loss, 1, UNIT);
        depositFor(alice, 100 * UNIT);
        Batch memory b =
            batch(oneCall(50 * UNIT, abi.encodeCall(Holdings.supplyAtLoss, (A, 50 * UNIT, loss))));
        b.maxLoss = loss - 1;
        vm.expectRevert(abi.encodeWithSelector(IPortfolio.LossAboveLimit.selector, loss, loss - 1));
        portfolio.execute(b);
        b.maxLoss = loss;
        b.minNavAfter = 100 * UNIT - loss + 1;
        vm.expectRevert(
            abi.encodeWithSelector(IPortfolio.NavBelowFloor.selector, 100 * UNIT - loss, b.minNavAfter)
        );
        portfolio.execute(b);
    }

    /// Catches: a limit per action, which any number of actions exhausts.
    function test_D_13_small_losses_repeated_end_at_the_budget() public {
        depositFor(alice, 100 * UNIT);
        uint256 leaked;
        bool refused;
        for (uint256 i; i < 20 && !refused; ++i) {
            Batch memory b =
                batch(oneCall(5 * UNIT, abi.encodeCall(Holdings.supplyAtLoss, (A, 5 * UNIT, 0.2e6))));
            b.maxLoss = type(uint256).max;
            try portfolio.execute(b) {
                leaked += 0.2e6;
            } catch (bytes memory reason) {
                assertEq(bytes4(reason), IPortfolio.LossBudgetExceeded.selector);
                refused = true;
            }
        }
        assertTrue(refused);
        assertGt(leaked, 0);
        assertLe(leaked, UNIT);
    }

    /// Catches: switching a connector off together with its value or with the way out of it.
    function test_D_09_a_connector_for_exits_only_keeps_its_value_and_gives_it_back() public {
        depositFor(alice, 100 * UNIT);
        supply(A, 60 * UNIT);
        registry.setExitOnly(address(vault), address(connector));
        assertNav(100 * UNIT);
        Batch memory more = batch(oneCall(UNIT, abi.encodeCall(Holdings.supply, (A, UNIT))));
        vm.expectRevert(abi.encodeWithSelector(IPortfolio.ConnectorIsExitOnly.selector, address(connector)));
        portfolio.execute(more);
        withdraw(A, type(uint256).max);
        requestRedeem(alice, 100e12);
        settle();
        assertEq(vault.maxWithdraw(alice), 100 * UNIT);
    }

    /// Catches: shares without virtual ones behind them, whose price a first depositor can blow up.
    function testFuzz_class_A_a_gift_never_profits_its_giver_nor_rounds_the_next_away(
        uint256 gift,
        uint256 assets
    ) public {
        gift = bound(gift, 0, 1e18);
        assets = bound(assets, UNIT, 1e14);
        uint256 shares = depositFor(alice, UNIT);
        supply(A, UNIT);
        connector.setHeld(A, UNIT + gift);
        requestDeposit(bob, assets);
        settle();
        assertLe(vault.convertToAssets(shares), UNIT + gift);
        if (vault.pendingDepositRequest(0, bob) != 0) return;
        // The price of a share, which is what rounding can take, and a unit for each of two divisions.
        assertGe(vault.convertToAssets(vault.maxMint(bob)) + gift / 1e12 + 2, assets);
    }

    /// @dev The vault of the fixture once more, over `asset`.
    function useToken(Token asset) private {
        token = asset;
        vault = deployVault(asset);
        registry.seal(address(vault), 3 days);
    }

    function withdraw(bytes32 key, uint256 assets) private {
        portfolio.execute(batch(oneCall(0, abi.encodeCall(Holdings.withdraw, (key, assets)))));
    }

    function thiefCall(Thief thief, uint256 push, address target, bytes memory data)
        private
        view
        returns (Call[] memory calls)
    {
        calls = oneCall(push, abi.encodeCall(Thief.act, (target, data)));
        calls[0].target = address(thief);
    }

    function thiefFails(Thief thief, uint256 push, address target, bytes memory data, bytes memory reason)
        private
    {
        Batch memory b = batch(thiefCall(thief, push, target, data));
        vm.expectRevert(reason);
        portfolio.execute(b);
    }

    function assertNav(uint256 assets) private view {
        (Value memory value, bool healthy) = portfolio.nav();
        assertEq(value.low, assets);
        assertEq(value.high, assets);
        assertTrue(healthy);
    }
}

/// @dev Native coin, which no ledger here knows, at a vault with each of the connectors and the swap handler.
contract FaultsNativeCoinTest is LiquidityFixture {
    address[] private places;

    function _connect() internal override {
        super._connect();
        AaveV3Connector.Terms memory aave;
        (aave.keys, aave.borrowable, aave.minHealth) = (only(_keyOf(weth)), only(_keyOf(usdc)), 1.05e18);
        MorphoBlueConnector.Terms memory morpho;
        (morpho.borrowable, morpho.minHealth) = (only(_market("WETH/USDC")), 1.05e18);
        places = [address(registry), address(vault), address(portfolio), address(escrow)];
        places.push(
            address(new AaveV3Connector(address(portfolio), IAaveV3Pool(_address(".aave.pool")), aave))
        );
        places.push(
            address(
                new MorphoBlueConnector(address(portfolio), IMorphoBlue(_address(".morpho.address")), morpho)
            )
        );
        bytes32[] memory vaults = only(_keyOf(address(new PlainVault(IERC20(usdc)))));
        places.push(address(new ERC4626Connector(address(portfolio), vaults, new address[](0))));
        places.push(address(tokens));
        places.push(address(liquidity));
        places.push(address(handler));
    }

    /// Catches: any function that takes native coin, and a way to receive it without one.
    function test_M_54_nothing_takes_native_coin() public {
        vm.deal(address(this), 1);
        uint8[10] memory least = [45, 70, 30, 3, 20, 15, 18, 10, 22, 30];
        for (uint256 i; i < places.length; ++i) {
            _checkRefused(places[i], "");
            _checkRefused(places[i], "any");
            bytes4[] memory selectors = _selectors(places[i].code);
            assertGe(selectors.length, least[i], "more functions are there");
            for (uint256 j; j < selectors.length; ++j) {
                // A vault, or a list that is empty, and nothing after it.
                bytes memory data = abi.encodePacked(selectors[j], abi.encode(vault), new bytes(480));
                if (!_answers(places[i], data)) data = abi.encodePacked(selectors[j], new bytes(512));
                assertTrue(_answers(places[i], data), "without coin there is an answer or a refusal by name");
                _checkRefused(places[i], data);
            }
        }
    }

    function _answers(address place, bytes memory data) private returns (bool) {
        uint256 state = vm.snapshotState();
        (bool success, bytes memory reason) = place.call(data);
        vm.revertToState(state);
        return success || reason.length != 0;
    }

    /// @dev By what stands before each function that is not payable, and says nothing.
    function _checkRefused(address place, bytes memory data) private {
        (bool success, bytes memory reason) = place.call{value: 1}(data);
        assertFalse(success);
        assertEq(reason, "");
    }

    /// @dev Of all functions that the dispatcher in a contract's code compares a call with.
    function _selectors(bytes memory code) private pure returns (bytes4[] memory found) {
        found = new bytes4[](256);
        uint256 count;
        for (uint256 i; i + 7 < code.length; ++i) {
            // DUP1, PUSH4 and EQ, or PUSH3 for a selector that begins with a zero.
            if (code[i] != 0x80 || code[i + 1] != 0x62 && code[i + 1] != 0x63) continue;
            uint256 length = code[i + 1] == 0x62 ? 3 : 4;
            if (code[i + 2 + length] != 0x14) continue;
            uint256 word;
            for (uint256 j; j < length; ++j) {
                word = word << 8 | uint8(code[i + 2 + j]);
            }
            found[count++] = bytes4(uint32(word));
        }
        assembly ("memory-safe") {
            mstore(found, count)
        }
    }

    /// Catches: an amount that is measured by the coin of a contract, and a condition that there be none.
    function test_M_54_coin_that_is_forced_in_counts_nothing_and_stops_nothing() public {
        (uint256 low, uint256 high) = _nav();
        for (uint256 i; i < places.length; ++i) {
            vm.deal(places[i], 1 ether);
        }
        (uint256 lowNow, uint256 highNow) = _nav();
        assertEq(lowNow, low);
        assertEq(highNow, high);
        _thenLeave();
        _run(100e6);
        _assertNothingLoose();
        requestRedeem(alice, vault.balanceOf(alice));
        settle();
        uint256 assets = vault.maxWithdraw(alice);
        assertGe(assets, low);
        vm.prank(alice);
        vault.withdraw(assets, alice, alice);
        assertEq(_balance(usdc, alice), assets);
        for (uint256 i; i < places.length; ++i) {
            assertEq(places[i].balance, 1 ether, "used for nothing");
        }
    }

    /// @dev Uniswap's contracts pay with coin that lies there, wrapped, before they take what was approved. So what
    /// was pushed is not taken: it stays held, or has a place in the batch.
    /// Catches: an amount that is taken from what was asked for rather than from what was spent.
    function test_M_54_coin_that_lies_at_uniswap_is_a_gift() public {
        vm.deal(address(liquidity.positionManager()), 1_000 ether);
        (uint256 low,) = _nav();
        _thenHoldAndMint();
        _run(1_000e6);
        uint256 held = _balance(weth, address(liquidity));
        assertGt(held, 19.8e18, "all that was bought");
        assertEq(liquidity.heldOf(weth), held);
        assertEq(IERC20(weth).allowance(address(liquidity), address(liquidity.positionManager())), 0);
        (uint256 lowNow,) = _nav();
        assertGt(lowNow, low + 50_000e6, "twenty Ether of somebody else's");

        vm.deal(address(uniswap), 1_000 ether);
        _then(address(liquidity), abi.encodeCall(liquidity.release, (key, weth, held)));
        _thenSell(1);
        Batch memory b = _queued(0);
        vm.expectRevert(abi.encodeWithSelector(IPortfolio.TokenLeft.selector, weth, held));
        portfolio.execute(b);
        uint256 idle = portfolio.idle();
        _then(address(liquidity), abi.encodeCall(liquidity.release, (key, weth, held)));
        _thenSell(1);
        _thenKeep(weth);
        _run(0);
        assertEq(tokens.amountOf(_keyOf(weth)), held, "what was not taken");
        assertGt(portfolio.idle(), idle + 55_000e6, "and what was paid for it");
        _assertNothingLoose();
    }
}
