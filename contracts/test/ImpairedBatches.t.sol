// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IPortfolio} from "../src/interfaces/IPortfolio.sol";
import {Batch, Call} from "../src/interfaces/Types.sol";
import {Holdings} from "./fixtures/Holdings.sol";
import {Token} from "./fixtures/Tokens.sol";
import {VaultFixture} from "./fixtures/VaultFixture.sol";

/// @title A position whose value nobody knows hides no loss and takes no funds
contract ImpairedBatchesTest is VaultFixture {
    Holdings private other;

    function setUp() public override {
        super.setUp();
        other = addConnector("protocol:other");
        depositFor(alice, 1000 * UNIT);
        supply(connector, A, 300 * UNIT);
        supply(connector, B, 100 * UNIT);
        supply(other, A, 100 * UNIT);
        settle();
    }

    // NOTHING GOES IN

    function test_nothing_is_pushed_to_an_impaired_position() public {
        connector.setMode(A, Holdings.Mode.REVERT);
        refused(
            oneCall(UNIT, abi.encodeCall(Holdings.supply, (A, UNIT))),
            abi.encodeWithSelector(IPortfolio.PositionIsImpaired.selector, address(connector), A)
        );
    }

    function test_nothing_is_pushed_to_the_sound_neighbour_of_an_impaired_position() public {
        connector.setMode(A, Holdings.Mode.DEGRADED);
        refused(
            oneCall(UNIT, abi.encodeCall(Holdings.supply, (B, UNIT))),
            abi.encodeWithSelector(IPortfolio.PositionIsImpaired.selector, address(connector), A)
        );
    }

    /// @dev Impaired in the batch itself: its growth would be as invisible.
    function test_nothing_is_pushed_to_a_position_that_a_batch_impairs() public {
        Breaking breaking = _breaking();
        Call[] memory calls = both(
            Call(address(breaking), address(token), UNIT, abi.encodeCall(Holdings.supply, (A, UNIT))),
            Call(address(breaking), address(token), 0, abi.encodeCall(Breaking.withdraw, (A, 0)))
        );
        refused(calls, abi.encodeWithSelector(IPortfolio.PositionIsImpaired.selector, address(breaking), A));
    }

    function test_a_position_that_a_batch_impairs_is_a_loss_of_all_of_it() public {
        Breaking breaking = _breaking();
        supply(breaking, A, 100 * UNIT);
        Call[] memory calls = new Call[](1);
        calls[0] =
            Call(address(breaking), address(token), 0, abi.encodeCall(Breaking.withdraw, (A, 10 * UNIT)));
        Batch memory b = batch(calls);
        b.maxLoss = 90 * UNIT;
        vm.expectPartialRevert(IPortfolio.LossBudgetExceeded.selector);
        portfolio.execute(b);
        b.maxLoss = 90 * UNIT - 1;
        vm.expectRevert(abi.encodeWithSelector(IPortfolio.LossAboveLimit.selector, 90 * UNIT, 90 * UNIT - 1));
        portfolio.execute(b);
    }

    function test_pause_exit_only_and_caps_bind_an_impaired_position_too() public {
        registry.lowerCap(address(vault), RISK, 0);
        registry.setExitOnly(address(vault), address(connector));
        registry.pauseRisk(address(vault));
        connector.setMode(Holdings.Mode.REVERT);
        Call[] memory calls = oneCall(UNIT, abi.encodeCall(Holdings.supply, (A, UNIT)));
        Batch memory b = batch(calls);
        b.maxLoss = UNIT;
        vm.expectPartialRevert(IPortfolio.PositionIsImpaired.selector);
        portfolio.execute(b);
    }

    // WHAT COMES OUT HIDES NO LOSS

    /// @dev Without the rule 30 out of the position that counts 0 make up for 30 lost elsewhere.
    function test_what_leaves_an_impaired_position_hides_no_loss_in_another_connector() public {
        connector.setMode(A, Holdings.Mode.REVERT);
        refused(
            both(
                callTo(connector, 0, abi.encodeCall(Holdings.withdraw, (A, 30 * UNIT))),
                callTo(other, 0, abi.encodeCall(Holdings.withdrawAtLoss, (A, 60 * UNIT, 30 * UNIT)))
            ),
            abi.encodeWithSelector(IPortfolio.ImpairedNotAlone.selector, address(connector), A)
        );
    }

    function test_what_leaves_an_impaired_position_hides_no_loss_in_its_neighbour() public {
        connector.setMode(A, Holdings.Mode.REVERT);
        refused(
            both(
                callTo(connector, 0, abi.encodeCall(Holdings.withdraw, (A, 30 * UNIT))),
                callTo(connector, 0, abi.encodeCall(Holdings.withdrawAtLoss, (B, 60 * UNIT, 30 * UNIT)))
            ),
            abi.encodeWithSelector(IPortfolio.ImpairedNotAlone.selector, address(connector), A)
        );
    }

    /// @dev The call itself heals the position: 300 appear, and 40 are missing.
    function test_a_recovery_inside_a_batch_hides_no_loss() public {
        Healing healing = new Healing(address(portfolio), token);
        bytes32 riskId = RISK;
        for (uint256 i; i < 2; ++i) {
            govern(
                abi.encodeCall(
                    registry.listPosition, (address(vault), address(healing), i == 0 ? A : B, only(riskId))
                )
            );
        }
        allowAll(healing);
        allow(address(healing), Healing.healAndLose.selector);
        supply(healing, A, 300 * UNIT);
        supply(healing, B, 100 * UNIT);
        healing.setMode(A, Holdings.Mode.REVERT);
        Call[] memory calls = new Call[](1);
        calls[0] = callTo(healing, 0, abi.encodeCall(Healing.healAndLose, (A, B, 50 * UNIT, 40 * UNIT)));
        Batch memory b = batch(calls);
        b.maxLoss = 40 * UNIT;
        // Without a value no loss can be measured: only the plain way out is open.
        vm.expectRevert(abi.encodeWithSelector(IPortfolio.PositionIsImpaired.selector, healing, A));
        portfolio.execute(b);
        healing.setMode(A, Holdings.Mode.HONEST);
        vm.expectPartialRevert(IPortfolio.LossBudgetExceeded.selector);
        portfolio.execute(b);
    }

    function test_a_loss_on_a_position_of_doubtful_value_is_measured_by_that_value() public {
        connector.setMode(A, Holdings.Mode.DEGRADED);
        Batch memory b =
            batch(oneCall(0, abi.encodeCall(Holdings.withdrawAtLoss, (A, 150 * UNIT, 149 * UNIT))));
        b.maxLoss = 149 * UNIT;
        vm.expectPartialRevert(IPortfolio.LossBudgetExceeded.selector);
        portfolio.execute(b);
    }

    // EXITS GO ON

    function test_impaired_positions_and_their_neighbours_are_left_one_call_at_a_time() public {
        connector.setMode(A, Holdings.Mode.REVERT);
        registry.setExitOnly(address(vault), address(connector));
        registry.pauseRisk(address(vault));
        portfolio.execute(batch(oneCall(0, abi.encodeCall(Holdings.withdraw, (A, 30 * UNIT)))));
        portfolio.execute(batch(oneCall(0, abi.encodeCall(Holdings.withdraw, (B, 100 * UNIT)))));
        assertEq(portfolio.idle(), 630 * UNIT);
    }

    /// @dev Interest since the mark is no growth of the batch.
    function test_a_position_that_recovers_while_it_is_left_has_not_grown() public {
        Healing healing = new Healing(address(portfolio), token);
        govern(abi.encodeCall(registry.listPosition, (address(vault), address(healing), A, only(RISK))));
        allowAll(healing);
        supply(healing, A, 300 * UNIT);
        healing.setHeld(A, 310 * UNIT);
        healing.setMode(A, Holdings.Mode.REVERT);
        registry.pauseRisk(address(vault));
        Call[] memory calls = new Call[](1);
        calls[0] = callTo(healing, 0, abi.encodeCall(Holdings.withdraw, (A, 5 * UNIT)));
        portfolio.execute(batch(calls));
        assertEq(healing.held(A), 305 * UNIT);
        assertEq(portfolio.exposures(RISK), 705 * UNIT);
    }

    // WHICH BUDGET

    /// @dev A batch that shrinks positions without bringing anything home reduces nothing.
    function test_a_batch_that_brings_nothing_home_is_charged_as_new_risk() public {
        bytes memory lose = abi.encodeCall(Holdings.withdrawAtLoss, (A, 12 * UNIT, 12 * UNIT));
        Batch memory b = batch(oneCall(0, lose));
        b.maxLoss = 12 * UNIT;
        // 1.2 %: within the budget of reductions, above that of new risk.
        vm.expectPartialRevert(IPortfolio.LossBudgetExceeded.selector);
        portfolio.execute(b);
        b = batch(oneCall(0, abi.encodeCall(Holdings.withdrawAtLoss, (A, 13 * UNIT, 12 * UNIT))));
        b.maxLoss = 12 * UNIT;
        portfolio.execute(b);
    }

    /// @dev What a position of doubtful value has less of is no room under a cap that its neighbour could take.
    function test_what_leaves_an_impaired_position_makes_no_room_under_a_cap() public {
        Breaking breaking = _breaking();
        supply(breaking, A, 5 * UNIT);
        registry.lowerCap(address(vault), RISK, 0);
        Call[] memory calls = both(
            callTo(breaking, 0, abi.encodeCall(Holdings.withdraw, (A, 3 * UNIT))),
            callTo(connector, 3 * UNIT, abi.encodeCall(Holdings.supply, (B, 3 * UNIT)))
        );
        refused(calls, abi.encodeWithSelector(IPortfolio.CapExceeded.selector, RISK, 408 * UNIT, uint256(0)));
        // From a position that stays sound the same move passes.
        calls[0] = callTo(connector, 0, abi.encodeCall(Holdings.withdraw, (A, 3 * UNIT)));
        portfolio.execute(batch(calls));
        assertEq(portfolio.exposures(RISK), 405 * UNIT);
    }

    function refused(Call[] memory calls, bytes memory reason) private {
        Batch memory b = batch(calls);
        b.maxLoss = 1000 * UNIT;
        vm.expectRevert(reason);
        portfolio.execute(b);
    }

    function _breaking() private returns (Breaking breaking) {
        breaking = new Breaking(address(portfolio), token);
        govern(abi.encodeCall(registry.listPosition, (address(vault), address(breaking), A, only(RISK))));
        allowAll(breaking);
    }
}

/// @dev Impaired from the first withdrawal on.
contract Breaking is Holdings {
    constructor(address portfolio_, Token asset_) Holdings(portfolio_, asset_) {}

    function withdraw(bytes32 key, uint256 assets) external override returns (uint256) {
        held[key] -= assets;
        ofAll = Mode.REVERT;
        asset.transfer(portfolio, assets);
        return assets;
    }
}

/// @dev Sound again from a withdrawal on, in which another position loses.
contract Healing is Holdings {
    constructor(address portfolio_, Token asset_) Holdings(portfolio_, asset_) {}

    function withdraw(bytes32 key, uint256 assets) external override returns (uint256) {
        ofOne[key] = Mode.HONEST;
        held[key] -= assets;
        asset.transfer(portfolio, assets);
        return assets;
    }

    function healAndLose(bytes32 healed, bytes32 left, uint256 assets, uint256 loss) external {
        ofOne[healed] = Mode.HONEST;
        held[left] -= assets;
        asset.transfer(portfolio, assets - loss);
    }
}
