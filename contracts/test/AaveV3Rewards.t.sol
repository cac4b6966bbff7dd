// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {AaveV3Connector} from "../src/connectors/AaveV3Connector.sol";
import {IOracleRouter} from "../src/interfaces/IOracleRouter.sol";
import {ConnectorFixture} from "./fixtures/ConnectorFixture.sol";
import {Token} from "./fixtures/Tokens.sol";
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
    function setEmissionAdmin(address reward, address admin) external;
}

interface IAaveV3AllRewards is IAaveV3Rewards {
    function getAllUserRewards(address[] calldata assets, address user)
        external
        view
        returns (address[] memory rewards, uint256[] memory amounts);
}

/// @title Rewards of an Aave market, for its suppliers and its borrowers
contract AaveV3RewardsTest is ConnectorFixture {
    AaveV3Connector private lender;
    IAaveV3AllRewards private controller;
    address private reward;
    PriceAggregator private feed;
    address private second;
    PriceAggregator private secondFeed;

    /// @dev What the account earns with: receipts of its supplies, and its debt.
    address[] private earning;

    function setUp() public override {
        super.setUp();
        reward = _address(".aave.reward.token");
        feed = new PriceAggregator(8, "REWARD / USD", address(this));
        feed.push(2e8);
        controller = IAaveV3AllRewards(_address(".aave.rewards_controller"));
        _priceRewards();
        key = _keyOf(asset);
        earning.push(_address(".aave.reserves.USDC.a_token"));
        earning.push(_address(".aave.reserves.DAI.variable_debt_token"));
        REPORT_GAS = 1_000_000;
        lender = _deploy(reward);
        connector = lender;
        _supply(1_000_000e6);
        lender.borrow(_keyOf(_token("DAI")), 400_000e18);
    }

    /// @dev Of the second too, once there is one.
    function _priceRewards() private {
        Priced[] memory priced = new Priced[](second == address(0) ? 3 : 4);
        (priced[0], priced[1]) = (_priced("DAI", "DAI/USD"), _priced("WETH", "ETH/USD"));
        priced[2] = Priced(reward, address(feed));
        if (second != address(0)) priced[3] = Priced(second, address(secondFeed));
        _price(priced);
    }

    function _deploy(address rewarded) private returns (AaveV3Connector) {
        address[] memory rewards = new address[](1);
        rewards[0] = rewarded;
        return _deploy(rewards, new bytes32[](0));
    }

    /// @param more keys besides that of dollars
    function _deploy(address[] memory rewards, bytes32[] memory more) private returns (AaveV3Connector) {
        AaveV3Connector.Terms memory terms;
        (terms.keys, terms.borrowable) = (new bytes32[](1 + more.length), new bytes32[](1));
        (terms.keys[0], terms.borrowable[0]) = (key, _keyOf(_token("DAI")));
        for (uint256 i = 0; i < more.length; i++) {
            terms.keys[i + 1] = more[i];
        }
        (terms.rewards, terms.minHealth) = (rewards, 1.05e18);
        return new AaveV3Connector(address(this), IAaveV3Pool(_address(".aave.pool")), terms);
    }

    /// @dev A hundredth of the reward a second for all who hold `earner`.
    function _emit(address earner, address rewarded) private {
        IEmissionManager.Emission[] memory emissions = new IEmissionManager.Emission[](1);
        emissions[0] = IEmissionManager.Emission({
            emissionPerSecond: 1e16,
            totalSupply: 0,
            distributionEnd: uint32(block.timestamp + 365 days),
            asset: earner,
            reward: rewarded,
            transferStrategy: _address(".aave.reward.strategy"),
            rewardOracle: _feed("ETH/USD", "proxy")
        });
        vm.prank(_address(".accounts.deployer.address"));
        IEmissionManager(_address(".aave.emission_manager")).configureAssets(emissions);
    }

    /// @dev A second reward at five dollars, for suppliers of dollars and debtors of DAI alike.
    function _openSecond() private {
        second = address(new Token("SECOND", 18));
        secondFeed = new PriceAggregator(8, "SECOND / USD", address(this));
        secondFeed.push(5e8);
        _priceRewards();
        address admin = _address(".accounts.deployer.address");
        vm.prank(admin);
        IEmissionManager(_address(".aave.emission_manager")).setEmissionAdmin(second, admin);
        address treasury = _address(".accounts.treasury.address");
        deal(second, treasury, 1_000_000e18);
        vm.prank(treasury);
        assertTrue(IERC20(second).approve(_address(".aave.reward.strategy"), EVERYTHING));
        _emit(earning[0], second);
        _emit(earning[1], second);
    }

    /// @dev By the controller's own view.
    function _earned(address rewarded) private view returns (uint256) {
        return controller.getUserRewards(earning, address(lender), rewarded);
    }

    /// @dev What the account has and owes, by the tokens' own views and without any reward.
    function _plain() private view returns (uint256 low, uint256 high) {
        (uint256 owedLow, uint256 owedHigh) = _worthOf(_token("DAI"), _balance(earning[1], address(lender)));
        uint256 supplied = _balance(earning[0], address(lender));
        return (supplied - owedHigh, supplied - owedLow);
    }

    function _worthOf(address token, uint256 amount) private view returns (uint256 low, uint256 high) {
        (low, high,) = IOracleRouter(router).value(token, asset, amount);
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

    /// @dev Nobody has them yet, so they pay for no exit; but who deposits may not share in them for nothing.
    function test_class_V_M_30_unclaimed_rewards_count_nothing_low_and_their_price_high_until_claimed()
        public
    {
        _emit(earning[1], reward);
        _later(30 days);
        uint256 earned = _earned(reward);
        assertGt(earned, 10e18);
        (uint256 low, uint256 high) = _range();
        (uint256 plainLow, uint256 plainHigh) = _plain();
        (, uint256 worth) = _worthOf(reward, earned);
        assertGt(worth, 20e6);
        assertEq(low, plainLow, "nothing");
        assertEq(high, plainHigh + worth, "the oracle's high value");

        uint256 balance = _balance(reward, address(this));
        assertEq(lender.claimRewards(reward), earned);
        assertEq(_balance(reward, address(this)), balance + earned, "with the portfolio");
        (low, high) = _range();
        assertEq(low, plainLow);
        assertEq(high, plainHigh, "and no longer here");
    }

    /// @dev Of every reserve that is supplied, and of debts.
    function test_class_E_M_39_whatever_aave_lets_one_claim_is_claimed() public {
        address[] memory rewards = new address[](1);
        bytes32[] memory more = new bytes32[](1);
        (rewards[0], more[0]) = (reward, _keyOf(_token("WETH")));
        REPORT_GAS = 600_000;
        lender = _deploy(rewards, more);
        connector = lender;
        earning.push(_address(".aave.reserves.WETH.a_token"));
        _emit(earning[1], reward);
        _emit(earning[2], reward);
        _supply(1_000_000e6);
        _give(_token("WETH"), 100e18);
        connector.supply(more[0], 100e18);
        lender.borrow(_keyOf(_token("DAI")), 400_000e18);
        _later(10 days);
        _push("ETH/USD", 3000e8);

        uint256 sum;
        for (uint256 i = 0; i < earning.length; i++) {
            address[] memory one = new address[](1);
            one[0] = earning[i];
            uint256 earned = controller.getUserRewards(one, address(lender), reward);
            assertGt(earned, 0.1e18, "each of them earns");
            sum += earned;
        }
        assertEq(lender.claimRewards(reward), sum);
        assertEq(_balance(reward, address(this)), sum);
        (, uint256[] memory left) = controller.getAllUserRewards(earning, address(lender));
        for (uint256 i = 0; i < left.length; i++) {
            assertEq(left[i], 0);
        }
    }

    /// @dev All that are listed are counted and claimed, each as if it were alone.
    function test_class_E_V_M_02_two_rewards_at_once_are_counted_and_claimed_as_a_set() public {
        address[] memory rewards = new address[](2);
        _openSecond();
        (rewards[0], rewards[1]) = (reward, second);
        _emit(earning[1], reward);
        REPORT_GAS = 400_000;
        lender = _deploy(rewards, new bytes32[](0));
        connector = lender;
        _supply(1_000_000e6);
        lender.borrow(_keyOf(_token("DAI")), 400_000e18);
        _later(10 days);
        secondFeed.push(5e8);

        (uint256 plainLow, uint256 plainHigh) = _plain();
        uint256[2] memory worth;
        for (uint256 i = 0; i < 2; i++) {
            (, worth[i]) = _worthOf(rewards[i], _earned(rewards[i]));
            assertGt(worth[i], 1e6);
        }
        for (uint256 i = 0; i < 2; i++) {
            (uint256 low, uint256 high) = _range();
            assertEq(low, plainLow);
            assertEq(high, plainHigh + worth[1] + (i == 0 ? worth[0] : 0));
            uint256 earned = _earned(rewards[i]);
            assertEq(lender.claimRewards(rewards[i]), earned);
            assertEq(_balance(rewards[i], address(this)), earned);
            assertTrue(lender.isCollectable(rewards[i]), "and what others claim for it");
        }
        (, uint256 highNow) = _range();
        assertEq(highNow, plainHigh);
        (, uint256[] memory left) = controller.getAllUserRewards(earning, address(lender));
        for (uint256 i = 0; i < left.length; i++) {
            assertEq(left[i], 0);
        }
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
        _later(30 days);
        (uint256 low, uint256 high, uint256 state) = lender.report(key);
        (, uint256 worth) = _worthOf(reward, _earned(reward));
        assertGt(worth, 1e6);
        _priceEther();
        (uint256 lowBlind, uint256 highBlind, uint256 stateBlind) = lender.report(key);
        assertEq(lowBlind, low);
        assertEq(stateBlind, state);
        assertEq(highBlind, high - worth, "but for the reward itself");
        assertEq(highBlind, _balance(earning[0], address(lender)));
        uint256 earned = _earned(reward);
        assertEq(lender.claimRewards(reward), earned);
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
