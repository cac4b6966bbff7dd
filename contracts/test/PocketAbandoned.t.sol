// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IPortfolio} from "../src/interfaces/IPortfolio.sol";
import {IRegistry} from "../src/interfaces/IRegistry.sol";
import {PocketTest} from "./PocketTest.sol";
import {Holdings} from "./fixtures/Holdings.sol";

/// @title A position that is dead for ever leaves the list
contract PocketAbandonedTest is PocketTest {
    // ABANDONING

    function test_a_dead_position_leaves_the_list() public {
        connector.setMode(A, Holdings.Mode.REVERT);
        abandoning(A);
        portfolio.announce();
        skip(30 minutes);
        registry.abandonPosition(address(vault), address(connector), A);
        assertNav(700 * UNIT, 700 * UNIT);
        assertEq(portfolio.exposures(RISK), 0);
        assertEq(registry.riskIdsOf(address(vault), address(connector), A).length, 0);
    }

    function test_a_live_position_is_not_abandoned_nor_one_that_is_dead_for_a_moment() public {
        abandoning(A);
        portfolio.announce();
        skip(30 minutes);
        bytes memory refusal =
            abi.encodeWithSelector(IPortfolio.PositionNotImpaired.selector, address(connector), A);
        vm.expectRevert(refusal);
        registry.abandonPosition(address(vault), address(connector), A);
        connector.setMode(A, Holdings.Mode.REVERT);
        vm.expectRevert(refusal);
        registry.abandonPosition(address(vault), address(connector), A);
        abandoning("c");
        vm.expectRevert(
            abi.encodeWithSelector(IRegistry.PositionUnknown.selector, address(connector), bytes32("c"))
        );
        registry.abandonPosition(address(vault), address(connector), "c");
    }

    function test_a_pocketed_position_that_can_be_read_again_is_not_abandoned() public {
        split();
        abandoning(A);
        skip(1 days);
        portfolio.announce();
        skip(30 minutes);
        connector.setMode(A, Holdings.Mode.HONEST);
        vm.expectRevert(
            abi.encodeWithSelector(IPortfolio.PositionNotImpaired.selector, address(connector), A)
        );
        registry.abandonPosition(address(vault), address(connector), A);
    }

    function test_abandoning_waits_and_may_be_vetoed() public {
        impairTwice();
        bytes memory data = abi.encodeCall(registry.abandonPosition, (address(vault), address(connector), A));
        bytes32 id = registry.changeId(address(registry), data);
        vm.expectRevert(abi.encodeWithSelector(IRegistry.ChangeUnknown.selector, id));
        registry.abandonPosition(address(vault), address(connector), A);
        registry.submit(address(vault), address(registry), data);
        vm.prank(guardian);
        registry.veto(address(vault), id);
        skip(3 days);
        vm.expectRevert(abi.encodeWithSelector(IRegistry.ChangeUnknown.selector, id));
        registry.abandonPosition(address(vault), address(connector), A);
    }

    function test_an_abandoned_pocket_pays_what_came_out_of_it() public {
        split();
        leave(alice, vault.balanceOf(alice));
        withdrawPocketed(50 * UNIT);
        abandoning(A);
        skip(1 days);
        portfolio.announce();
        skip(30 minutes);
        uint256 idle = portfolio.idle();
        registry.abandonPosition(address(vault), address(connector), A);
        (address connector_,,, uint128 cash) = portfolio.pocket();
        assertEq(connector_, address(0));
        assertEq(cash, 0);
        uint256 residual = claim(alice);
        assertApproxEqAbs(residual, 30 * UNIT, 1);
        assertEq(portfolio.idle(), idle + 50 * UNIT - residual);
        // The next one may be split off.
        connector.setMode(B, Holdings.Mode.REVERT);
        portfolio.announce();
        skip(30 minutes);
        portfolio.splitOff(address(connector), B);
        assertEq(vault.pockets(), 2);
    }

    function test_what_is_pocketed_is_not_unlisted() public {
        split();
        connector.setMode(A, Holdings.Mode.HONEST);
        setHeld(0);
        vm.expectRevert(abi.encodeWithSelector(IRegistry.PositionNotEmpty.selector, address(connector), A));
        registry.unlistPosition(address(vault), address(connector), A);
    }

    // STEPS

    function abandoning(bytes32 key) private {
        bytes memory data =
            abi.encodeCall(registry.abandonPosition, (address(vault), address(connector), key));
        registry.submit(address(vault), address(registry), data);
        skip(3 days);
    }
}
