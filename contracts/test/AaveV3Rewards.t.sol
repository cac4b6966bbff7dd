// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {AaveV3Connector} from "../src/connectors/AaveV3Connector.sol";
import {Status} from "../src/interfaces/Types.sol";
import {ConnectorFixture} from "./fixtures/ConnectorFixture.sol";
import {PriceAggregator} from "../devnet/PriceAggregator.sol";
import {IAaveV3Pool, IAaveV3Rewards} from "../src/connectors/IAaveV3.sol";

interface IEmissionManager {
    struct Emission {
        uint88 emissionPerSecond;
        uint256 totalSupply;
        uint32 distributionEnd;
        address asset;
        address reward;
        address transferStrategy;
        address rewardOracle;
    }

    function configureAssets(Emission[] calldata) external;
}

/// @title Rewards of an Aave market, for its suppliers and its borrowers
contract AaveV3RewardsTest is ConnectorFixture {
    AaveV3Connector private lender;
    address private reward;
    PriceAggregator private feed;

    function setUp() public override {
        super.setUp();
        reward = _address(".aave.reward.token");
        feed = new PriceAggregator(8, "REWARD / USD", address(this));
        feed.push(2e8);
        Priced[] memory priced = new Priced[](2);
        (priced[0], priced[1]) = (_priced("DAI", "DAI/USD"), Priced(reward, address(feed)));
        _price(priced);
        key = _keyOf(asset);
        REPORT_GAS = 300_000;
        lender = _deploy(reward);
        connector = lender;
        _supply(1_000_000e6);
        lender.borrow(_keyOf(_token("DAI")), 400_000e18);
    }

    function _deploy(address rewarded) private returns (AaveV3Connector) {
        AaveV3Connector.Terms memory terms;
        (terms.keys, terms.borrowable, terms.rewards) = (new bytes32[](1), new bytes32[](1), new address[](1));
        (terms.keys[0], terms.borrowable[0], terms.rewards[0]) = (key, _keyOf(_token("DAI")), rewarded);
        terms.minHealth = 1.05e18;
        return new AaveV3Connector(address(this), IAaveV3Pool(_address(".aave.pool")), terms);
    }

    function _later(uint256 time) private {
        vm.warp(block.timestamp + time);
        feed.push(2e8);
        _push("USDC/USD", 1e8);
        _push("DAI/USD", 1e8);
    }

    function _range() private view returns (uint256 low, uint256 high) {
        (low, high,) = lender.report(key);
    }

    function test_class_E_M_01_M_21_rewards_are_claimed_to_the_portfolio() public {
        _later(30 days);
        (uint256 low, uint256 high) = _range();
        uint256 claimed = lender.claimRewards(reward);
        assertGt(claimed, 0);
        assertEq(_balance(reward, address(this)), claimed);
        (uint256 lowAfter, uint256 highAfter) = _range();
        assertEq(lowAfter, low, "unclaimed they count nothing at the low end");
        // Two dollars apiece, with half a per cent on both feeds.
        assertApproxEqAbs(high - highAfter, claimed * 2 * 10_050 / 9950 / 1e12, 2);
        assertEq(lender.claimRewards(reward), 0);
    }

    function test_class_E_rewards_of_borrowing_are_counted_and_claimed_too() public {
        address debt = _address(".aave.reserves.DAI.variable_debt_token");
        IEmissionManager.Emission[] memory emissions = new IEmissionManager.Emission[](1);
        emissions[0] = IEmissionManager.Emission({
            emissionPerSecond: 1e16,
            totalSupply: 0,
            distributionEnd: uint32(block.timestamp + 365 days),
            asset: debt,
            reward: reward,
            transferStrategy: _address(".aave.reward.strategy"),
            rewardOracle: _feed("ETH/USD", "proxy")
        });
        vm.prank(_address(".accounts.deployer.address"));
        IEmissionManager(_address(".aave.emission_manager")).configureAssets(emissions);
        _later(10 days);
        address[] memory debts = new address[](1);
        debts[0] = debt;
        uint256 earned = IAaveV3Rewards(_address(".aave.rewards_controller"))
            .getUserRewards(debts, address(lender), reward);
        assertGt(earned, 1e18);
        (, uint256 high) = _range();
        assertGt(lender.claimRewards(reward), earned);
        (, uint256 highAfter) = _range();
        assertGt(high - highAfter, earned * 2 / 1e12);
    }

    function test_class_V_M_15_a_reward_without_a_price_leaves_the_report_as_it_is() public {
        _later(30 days);
        (uint256 low, uint256 high, uint256 state) = lender.report(key);
        feed.push(0);
        (uint256 lowBlind, uint256 highBlind, uint256 stateBlind) = lender.report(key);
        assertEq(lowBlind, low);
        assertEq(stateBlind, state);
        assertLt(highBlind, high);
    }

    function test_class_V_M_36_a_reward_without_a_route_leaves_the_report_as_it_is() public {
        lender = _deploy(reward);
        connector = lender;
        _supply(1_000_000e6);
        _priceEther();
        vm.warp(block.timestamp + 30 days);
        assertGt(_value(), 1_000_000e6);
        assertGt(lender.claimRewards(reward), 0);
    }

    function test_class_E_a_reward_that_is_not_listed_is_refused() public {
        vm.expectRevert(abi.encodeWithSelector(AaveV3Connector.UnknownReward.selector, asset));
        lender.claimRewards(asset);
    }

    function test_a_receipt_token_can_be_earned_but_is_never_loose() public {
        address aToken = _address(".aave.reserves.USDC.a_token");
        assertFalse(_deploy(aToken).isCollectable(aToken));
        assertTrue(lender.isCollectable(reward));
    }
}
