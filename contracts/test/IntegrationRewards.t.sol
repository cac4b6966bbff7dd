// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {AaveV3Connector} from "../src/connectors/AaveV3Connector.sol";
import {IAaveV3Pool, IAaveV3Rewards} from "../src/connectors/IAaveV3.sol";
import {IConnector} from "../src/interfaces/IConnector.sol";
import {IGenericSwapFacetV3, SwapData} from "../src/interfaces/ILiFiDiamond.sol";
import {IPortfolio} from "../src/interfaces/IPortfolio.sol";
import {Batch} from "../src/interfaces/Types.sol";
import {IUniswapV3SwapRouter} from "../src/swap/IUniswapV3.sol";
import {IntegrationFixture} from "./fixtures/IntegrationFixture.sol";

/// @title Rewards claimed at Aave and sold through LiFi in one batch of a real vault
contract IntegrationRewardsTest is IntegrationFixture {
    uint256 private constant SUPPLIED = 400_000e6;

    AaveV3Connector private lender;
    bytes32 private dollarKey;

    function setUp() public override {
        super.setUp();
        _openRewardPool();
        _then(address(lender), usdc, SUPPLIED, abi.encodeCall(IConnector.supply, (dollarKey, SUPPLIED)));
        _run(2);
        skip(30 days);
        _refresh();
    }

    function _connect() internal override {
        dollarKey = _keyOf(usdc);
        AaveV3Connector.Terms memory terms;
        (terms.keys, terms.rewards, terms.minHealth) = (new bytes32[](1), new address[](1), 1.05e18);
        (terms.keys[0], terms.rewards[0]) = (dollarKey, reward);
        lender = new AaveV3Connector(address(portfolio), IAaveV3Pool(_address(".aave.pool")), terms);
        _list(address(lender), dollarKey);
        _allowPlain(address(lender));
        _may(address(lender), lender.claimRewards.selector);
    }

    function test_class_E_M_21_rewards_are_claimed_and_sold_and_idle_grows() public {
        uint256 earned = _earned();
        assertGt(earned, 1e18);
        (uint256 low, uint256 high) = _nav();
        uint256 idle = portfolio.idle();
        // At two dollars apiece, less the pool's 30 bps and its impact.
        uint256 least = earned * 2 * 99 / 100 / 1e12;
        _thenClaimAndSell(earned, least);
        _run(0);
        assertGe(portfolio.idle(), idle + least);
        (uint256 lowNow, uint256 highNow) = _nav();
        assertGe(lowNow, low + least, "the low value did not count them before");
        assertLe(highNow, high, "the high value did");
        _assertNothingLoose();
    }

    function test_class_N_rewards_that_are_claimed_and_left_are_refused() public {
        _then(address(lender), abi.encodeCall(lender.claimRewards, (reward)));
        _then(address(tokens), reward, 1, abi.encodeCall(IConnector.supply, (_keyOf(reward), 1)));
        Batch memory b = _queued(0);
        vm.expectPartialRevert(IPortfolio.TokenLeft.selector);
        portfolio.execute(b);
    }

    /// @dev As a quote of a moment ago would have it; what has been earned since is kept.
    function _thenClaimAndSell(uint256 amount, uint256 least) private {
        SwapData memory step;
        step.callTo = step.approveTo = address(uniswap);
        (step.sendingAssetId, step.receivingAssetId) = (reward, usdc);
        (step.fromAmount, step.requiresDeposit) = (amount, true);
        bytes memory path = abi.encodePacked(reward, REWARD_FEE, usdc);
        step.callData = abi.encodeCall(
            IUniswapV3SwapRouter.exactInput,
            (IUniswapV3SwapRouter.ExactInputParams(path, address(diamond), block.timestamp, amount, 0))
        );
        bytes memory quote = abi.encodeCall(
            IGenericSwapFacetV3.swapTokensSingleV3ERC20ToERC20,
            ("id", "omnikeeper", "", payable(address(handler)), least, step)
        );
        _then(address(lender), abi.encodeCall(lender.claimRewards, (reward)));
        bytes memory swap = abi.encodeCall(handler.swapLiFi, (reward, usdc, amount, least, quote));
        _then(address(handler), reward, amount, swap);
        _thenKeep(reward);
    }

    function _earned() private view returns (uint256) {
        address[] memory supplies = new address[](1);
        supplies[0] = lender.aTokenOf(dollarKey);
        return IAaveV3Rewards(_address(".aave.rewards_controller"))
            .getUserRewards(supplies, address(lender), reward);
    }
}
