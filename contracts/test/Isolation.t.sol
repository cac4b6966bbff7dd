// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {ERC4626Connector} from "../src/connectors/ERC4626Connector.sol";
import {IMorphoBlue, MorphoBlueConnector} from "../src/connectors/MorphoBlueConnector.sol";
import {TokenConnector} from "../src/connectors/TokenConnector.sol";
import {IConnector} from "../src/interfaces/IConnector.sol";
import {IIsolated} from "../src/interfaces/IIsolated.sol";
import {IPortfolio} from "../src/interfaces/IPortfolio.sol";
import {Batch, Call, Value} from "../src/interfaces/Types.sol";
import {Devnet} from "./Devnet.sol";
import {PlainVault} from "./ERC4626Connector.t.sol";
import {Holdings} from "./fixtures/Holdings.sol";
import {SharedHoldings} from "./fixtures/SharedHoldings.sol";
import {Token} from "./fixtures/Tokens.sol";
import {VaultFixture} from "./fixtures/VaultFixture.sol";

/// @title What a connector that says it is isolated promises, on the real protocols
contract IsolatedConnectorsTest is Devnet {
    uint256 public constant REPORT_GAS = 300_000;

    address public asset;

    function setUp() public {
        _load();
        asset = _token("USDC");
    }

    function vault() external view returns (address) {
        return address(this);
    }

    function registry() external view returns (address) {
        return address(this);
    }

    function oracle(address) external pure returns (address) {
        return address(0);
    }

    function testFuzz_class_I_markets_of_morpho_blue_leave_each_other_as_they_are(uint256 seed) public {
        bytes32[] memory keys = new bytes32[](2);
        (keys[0], keys[1]) = (_market("WETH/USDC"), _market("wstETH/USDC"));
        IMorphoBlue morpho = IMorphoBlue(_address(".morpho.address"));
        MorphoBlueConnector.Terms memory terms;
        (terms.keys, terms.minHealth) = (keys, 1.05e18);
        _others(new MorphoBlueConnector(address(this), morpho, terms), keys, seed);
    }

    function testFuzz_class_I_vaults_leave_each_other_as_they_are(uint256 seed) public {
        bytes32[] memory keys = new bytes32[](2);
        keys[0] = _keyOf(_address(".metamorpho.vault"));
        keys[1] = _keyOf(address(new PlainVault(IERC20(asset))));
        _others(new ERC4626Connector(address(this), keys, new address[](0)), keys, seed);
    }

    function testFuzz_class_I_tokens_leave_each_other_as_they_are(uint256 seed) public {
        address[] memory tokens = new address[](2);
        (tokens[0], tokens[1]) = (asset, address(new Token("OTHER", 6)));
        bytes32[] memory keys = new bytes32[](2);
        (keys[0], keys[1]) = (_keyOf(tokens[0]), _keyOf(tokens[1]));
        IConnector held = new TokenConnector(address(this), tokens);
        assertTrue(IIsolated(address(held)).isolated());
        Token(tokens[1]).mint(address(held), 7e6);
        held.supply(keys[1], 5e6);
        _act(held, keys[0], seed);
        assertEq(TokenConnector(address(held)).amountOf(keys[1]), 5e6);
    }

    /// @dev Supplies, time, and withdrawals under one key, by turns; the other's report never moves within a block.
    function _others(IConnector connector, bytes32[] memory keys, uint256 seed) private {
        assertTrue(IIsolated(address(connector)).isolated());
        for (uint256 i; i < 2; ++i) {
            _supply(connector, keys[i], 500e6);
        }
        for (uint256 i; i < 6; ++i) {
            vm.warp(block.timestamp + 1 + seed % 3 days);
            (bytes32 touched, bytes32 other) = seed & 1 == 0 ? (keys[0], keys[1]) : (keys[1], keys[0]);
            (uint256 low, uint256 high, uint256 state) = connector.report(other);
            _act(connector, touched, seed);
            (uint256 lowAfter, uint256 highAfter, uint256 stateAfter) = connector.report(other);
            assertEq(lowAfter, low);
            assertEq(highAfter, high);
            assertEq(stateAfter, state);
            seed = uint256(keccak256(abi.encode(seed)));
        }
    }

    function _act(IConnector connector, bytes32 key, uint256 seed) private {
        uint256 assets = 1e6 + seed % 200_000e6;
        _supply(connector, key, assets);
        connector.withdraw(key, 1 + seed % assets / 2);
        if (seed % 5 == 0) connector.withdraw(key, type(uint256).max);
        if (seed % 7 == 0) _supply(connector, key, assets);
    }

    function _supply(IConnector connector, bytes32 key, uint256 assets) private {
        deal(asset, address(this), assets);
        assertTrue(IERC20(asset).transfer(address(connector), assets));
        connector.supply(key, assets);
    }
}

/// @dev Says that its positions are independent, be it true or not.
contract IsolatedHoldings is SharedHoldings {
    constructor(address portfolio_, Token asset_) SharedHoldings(portfolio_, asset_) {}

    bool private recanted;

    function isolated() external view returns (bool) {
        return !recanted;
    }

    function recant() external {
        recanted = true;
    }

    /// @dev An action without a key: it could concern anything.
    function sweep() external {}
}

/// @title Which positions a batch reads, and what is not seen of the others
contract TouchedPositionsTest is VaultFixture {
    IsolatedHoldings private isolated;

    function setUp() public override {
        super.setUp();
        isolated = new IsolatedHoldings(address(portfolio), token);
        for (uint256 i; i < 2; ++i) {
            bytes32 key = i == 0 ? A : B;
            govern(abi.encodeCall(registry.listPosition, (address(vault), address(isolated), key, only("c"))));
        }
        govern(abi.encodeCall(registry.setCap, (address(vault), "c", 1_000_000 * UNIT)));
        allowAll(isolated);
        allow(address(isolated), IsolatedHoldings.sweep.selector);
        depositFor(alice, 1000 * UNIT);
        supply(isolated, A, 300 * UNIT);
        supply(isolated, B, 300 * UNIT);
        supply(connector, A, 100 * UNIT);
        supply(connector, B, 100 * UNIT);
    }

    function test_of_an_isolated_connector_a_batch_reads_what_it_names() public {
        assertTrue(registry.isIsolated(address(vault), address(isolated)));
        assertRead(named(isolated, A), 1);
        isolated.setHeld(B, 310 * UNIT);
        portfolio.execute(batch(one(callTo(isolated, 0, abi.encodeCall(Holdings.withdraw, (A, UNIT))))));
        assertMark(isolated, A, 299 * UNIT);
        assertMark(isolated, B, 300 * UNIT);
        supply(isolated, B, UNIT);
        assertMark(isolated, B, 311 * UNIT);
    }

    function test_of_any_other_connector_it_reads_all() public {
        assertFalse(registry.isIsolated(address(vault), address(connector)));
        assertRead(named(connector, A), 2);
        connector.setHeld(B, 110 * UNIT);
        portfolio.execute(batch(oneCall(0, abi.encodeCall(Holdings.withdraw, (A, UNIT)))));
        assertMark(connector, B, 110 * UNIT);
    }

    function test_a_call_that_names_no_position_may_concern_all() public {
        isolated.setHeld(A, 310 * UNIT);
        isolated.setHeld(B, 320 * UNIT);
        portfolio.execute(batch(one(callTo(isolated, 0, abi.encodeCall(IsolatedHoldings.sweep, ())))));
        assertMark(isolated, A, 310 * UNIT);
        assertMark(isolated, B, 320 * UNIT);
        assertRead(named(isolated, "not listed"), 2);
    }

    function test_each_position_is_read_once() public view {
        address[] memory targets = new address[](5);
        bytes32[] memory keys = new bytes32[](5);
        for (uint256 i; i < 5; ++i) {
            targets[i] = i < 3 ? address(isolated) : address(connector);
            keys[i] = i == 0 ? B : A;
        }
        (address[] memory connectors, bytes32[] memory read, bool[] memory alone) =
            registry.positionsTouched(address(vault), targets, keys);
        assertEq(read.length, 4);
        for (uint256 i; i < 4; ++i) {
            assertEq(connectors[i], i < 2 ? address(isolated) : address(connector));
            assertEq(alone[i], i < 2);
            assertEq(read[i], i == 0 || i == 3 ? B : A);
        }
    }

    function test_D_10_a_target_without_positions_is_read_nowhere() public view {
        assertRead(named(Holdings(address(0xbeef)), A), 0);
    }

    /// @dev What is trusted: a connector whose code breaks its promise takes this from NAV unseen by the batch. It
    /// is charged as a market loss when it is next read, and a settlement reads all.
    function test_class_I_what_a_broken_promise_takes_is_charged_when_it_is_read() public {
        isolated.willTake(B, 50 * UNIT);
        portfolio.execute(batch(one(callTo(isolated, 0, abi.encodeCall(Holdings.withdraw, (A, UNIT))))));
        (uint256 raising,) = portfolio.lossBudgets();
        assertEq(raising, 0.01e18);
        isolated.willTake(B, 0);
        supply(isolated, A, 1);
        (Value memory nav,) = portfolio.nav();
        assertEq(nav.low, 950 * UNIT, "what is live is true at any time");
        portfolio.execute(batch(one(callTo(isolated, 0, abi.encodeCall(Holdings.withdraw, (B, UNIT))))));
        (raising,) = portfolio.lossBudgets();
        assertEq(raising, 0, "and new risk has to wait");
        Batch memory b =
            batch(one(callTo(isolated, 100, abi.encodeCall(Holdings.supplyAtLoss, (A, 100, 100)))));
        b.maxLoss = 100;
        vm.expectPartialRevert(IPortfolio.LossBudgetExceeded.selector);
        portfolio.execute(b);
    }

    /// @dev What nothing was promised of is read whole: the same is the batch's own loss, and refused.
    function test_class_I_without_the_promise_the_batch_itself_is_charged() public {
        SharedHoldings lossy = new SharedHoldings(address(portfolio), token);
        for (uint256 i; i < 2; ++i) {
            bytes32 key = i == 0 ? A : B;
            govern(abi.encodeCall(registry.listPosition, (address(vault), address(lossy), key, only("c"))));
        }
        allowAll(lossy);
        supply(lossy, A, 100 * UNIT);
        supply(lossy, B, 100 * UNIT);
        lossy.willTake(B, 50 * UNIT);
        Batch memory b = batch(one(callTo(lossy, 0, abi.encodeCall(Holdings.withdraw, (A, UNIT)))));
        b.maxLoss = 50 * UNIT - 1;
        vm.expectRevert(abi.encodeWithSelector(IPortfolio.LossAboveLimit.selector, 50 * UNIT, b.maxLoss));
        portfolio.execute(b);
        b.maxLoss = 50 * UNIT;
        vm.expectPartialRevert(IPortfolio.LossBudgetExceeded.selector);
        portfolio.execute(b);
    }

    /// @dev A promise counts from the day the first position is listed: later words change nothing.
    function test_class_R_the_promise_is_asked_for_once() public {
        isolated.recant();
        govern(abi.encodeCall(registry.listPosition, (address(vault), address(isolated), "third", only("c"))));
        assertTrue(registry.isIsolated(address(vault), address(isolated)));
    }

    /// @dev An impaired neighbour that is not read stops nothing where positions are independent.
    function test_M_26_an_impaired_neighbour_does_not_stop_an_isolated_position() public {
        isolated.setMode(A, Holdings.Mode.REVERT);
        supply(isolated, B, UNIT);
        assertEq(isolated.held(B), 301 * UNIT);
        Batch memory b = batch(one(callTo(isolated, UNIT, abi.encodeCall(Holdings.supply, (A, UNIT)))));
        vm.expectRevert(abi.encodeWithSelector(IPortfolio.PositionIsImpaired.selector, address(isolated), A));
        portfolio.execute(b);
    }

    /// @dev Every transaction on its own, cold: what else the same connector holds costs a batch nothing.
    function test_the_gas_of_a_batch_does_not_grow_with_what_its_connector_holds() public {
        uint256 few = _gasOfMove();
        for (uint256 i; i < 12; ++i) {
            govern(
                abi.encodeCall(
                    registry.listPosition, (address(vault), address(isolated), bytes32(i + 1), only("c"))
                )
            );
        }
        uint256 many = _gasOfMove();
        assertLe(many * 100, few * 102);
    }

    function _gasOfMove() private returns (uint256) {
        Batch memory b = batch(
            both(
                callTo(isolated, 0, abi.encodeCall(Holdings.withdraw, (A, UNIT))),
                callTo(isolated, UNIT, abi.encodeCall(Holdings.supply, (B, UNIT)))
            )
        );
        address[5] memory parts =
            [address(vault), address(portfolio), address(registry), address(token), address(isolated)];
        for (uint256 i; i < 5; ++i) {
            vm.cool(parts[i]);
        }
        uint256 available = gasleft();
        portfolio.execute(b);
        return available - gasleft();
    }

    // STEPS

    function one(Call memory only_) private pure returns (Call[] memory calls) {
        calls = new Call[](1);
        calls[0] = only_;
    }

    function named(Holdings target, bytes32 key) private view returns (bytes32[] memory read) {
        address[] memory targets = new address[](1);
        bytes32[] memory keys = new bytes32[](1);
        (targets[0], keys[0]) = (address(target), key);
        (, read,) = registry.positionsTouched(address(vault), targets, keys);
    }

    function assertRead(bytes32[] memory read, uint256 count) private pure {
        assertEq(read.length, count);
    }

    function assertMark(Holdings holder, bytes32 key, uint256 low) private view {
        (uint128 marked,) = portfolio.marks(address(holder), key);
        assertEq(marked, low);
    }
}
