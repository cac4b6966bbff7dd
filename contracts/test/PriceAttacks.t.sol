// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {console} from "forge-std/console.sol";
import {PriceAggregator} from "../devnet/PriceAggregator.sol";
import {PriceFeedProxy} from "../devnet/PriceFeedProxy.sol";
import {SequencerUptimeFeed} from "../devnet/SequencerUptimeFeed.sol";
import {Registry} from "../src/Registry.sol";
import {ERC4626Connector} from "../src/connectors/ERC4626Connector.sol";
import {IPortfolio} from "../src/interfaces/IPortfolio.sol";
import {Batch, Call, Status} from "../src/interfaces/Types.sol";
import {ChainlinkSource} from "../src/oracle/ChainlinkSource.sol";
import {CheckedSource} from "../src/oracle/CheckedSource.sol";
import {PlainVault} from "./ERC4626Connector.t.sol";
import {Prices} from "./fixtures/Prices.sol";
import {Token} from "./fixtures/Tokens.sol";
import {VaultFixture} from "./fixtures/VaultFixture.sol";

/// @title A vault of a million dollars that also holds three Ether, priced by feeds, a pool and a sequencer
/// @notice Every test attacks the price and then tries a deposit, new risk and an exit. `-vv` prints the table.
contract PriceAttacksTest is VaultFixture, Prices {
    uint256 private constant DEPOSIT = 10_000e6;

    ERC4626Connector private vaults;
    bytes32 private wethKey;
    bytes32 private otherKey;
    bytes32 private usdcKey;
    SequencerUptimeFeed private sequencer;

    function setUp() public override {
        _loadPrices();
        sequencer = SequencerUptimeFeed(_address(".sequencer"));
        ChainlinkSource.Config memory config = _etherConfig();
        (config.sequencer, config.gracePeriod) = (address(sequencer), 1 hours);
        _later(1 hours);
        checked = new CheckedSource(_feedRouter(config, _dollarConfig()), market, TOLERANCE);
        router = _single(checked);
        _openVault();
    }

    // THE TABLE

    function test_class_O_without_an_attack_everything_goes_on() public {
        _request();
        _expect("none", Status.OK);
    }

    function test_class_O_a_pool_moved_within_the_block_stops_minting_and_moves_nothing() public {
        _request();
        (uint256 low, uint256 high,) = checked.price();
        _swap(weth, 3_000e18);
        _expect("pool moved in the block", Status.DIVERGED);
        (uint256 lowNow, uint256 highNow,) = checked.price();
        assertEq(lowNow, low);
        assertEq(highNow, high);
    }

    function test_class_O_a_pool_pushed_up_within_the_block_stops_minting_and_moves_nothing() public {
        _request();
        (uint256 low, uint256 high,) = checked.price();
        _swap(usdc, 9_000_000e6);
        _expect("pool pushed up in the block", Status.DIVERGED);
        (uint256 lowNow, uint256 highNow,) = checked.price();
        assertEq(lowNow, low);
        assertEq(highNow, high);
    }

    function test_class_O_a_pool_moved_across_the_window_stops_minting() public {
        _request();
        (uint256 low,,) = checked.price();
        _swap(weth, 2_500e18);
        for (uint256 i; i < 6; ++i) {
            _later(10 minutes);
        }
        _expect("pool moved over the window", Status.DIVERGED);
        (uint256 lowNow, uint256 high,) = checked.price();
        (uint256 mean,,) = market.price();
        assertEq(lowNow, mean, "exits are paid at the mean");
        assertLt(lowNow, low * 97 / 100);
        assertApproxEqRel(high, 3000e18, 0.01e18, "deposits would pay the feed's");
    }

    function test_class_O_a_pool_pushed_up_across_the_window_stops_minting_and_raises_no_exit() public {
        _request();
        _swap(usdc, 7_800_000e6);
        for (uint256 i; i < 6; ++i) {
            _later(10 minutes);
        }
        _expect("pool pushed up over the window", Status.DIVERGED);
        (uint256 lowNow, uint256 high,) = checked.price();
        (, uint256 mean,) = market.price();
        (uint256 feedLow, uint256 feedHigh) = _feedRange();
        assertEq(high, mean, "deposits would pay the mean");
        assertGt(high, feedHigh * 103 / 100);
        assertEq(lowNow, feedLow, "exits are paid at the feed's");
    }

    /// @dev Up to the tolerance nothing stops: who comes pays the mean, who leaves is paid the feed's.
    function test_class_O_a_pool_pushed_up_within_tolerance_widens_the_range_and_stops_nothing() public {
        _request();
        _swap(usdc, 2_700_000e6);
        for (uint256 i; i < 6; ++i) {
            _later(10 minutes);
        }
        (, uint256 mean,) = market.price();
        (uint256 feedLow, uint256 feedHigh) = _feedRange();
        (uint256 low, uint256 high,) = checked.price();
        assertGt(mean, feedHigh);
        assertEq(high, mean);
        assertEq(low, feedLow);
        uint256 shares = vault.totalSupply();
        _expect("pool pushed up within tolerance", Status.OK);
        // By high NAV, which counts three Ether at the mean.
        uint256 fair = DEPOSIT * shares / (1_000_000e6 + 3 * high / 1e12);
        assertApproxEqRel(vault.maxMint(bob), fair, 1e10);
    }

    function test_M_07_a_stale_feed_stops_minting() public {
        _request();
        vm.warp(block.timestamp + 1 hours + 5 minutes + 1);
        _push("USDC/USD", 99_990_000);
        _expect("stale feed", Status.STALE);
    }

    function test_class_O_a_frozen_feed_stops_minting() public {
        _request();
        for (uint256 i; i < 13; ++i) {
            vm.warp(block.timestamp + 1 hours);
            _push("ETH/USD", 3000e8);
            _push("USDC/USD", 99_990_000);
        }
        _expect("frozen feed", Status.CONSTANT);
    }

    function test_class_O_a_sequencer_that_stops_for_six_hours_stops_minting() public {
        _request();
        vm.prank(sequencer.reporter());
        sequencer.report(true);
        vm.warp(block.timestamp + 6 hours);
        _expect("sequencer down for 6 h", Status.SEQUENCER_DOWN);
    }

    function test_class_O_minting_stays_stopped_through_the_grace_period() public {
        _request();
        _stopSequencer();
        _later(1 hours);
        _expect("sequencer back, in grace", Status.SEQUENCER_DOWN);
    }

    function test_class_O_after_the_grace_period_everything_goes_on() public {
        _request();
        _stopSequencer();
        _later(1 hours + 1);
        _expect("sequencer back, after grace", Status.OK);
    }

    /// @dev The same price, whatever the feed's decimals are; the dollar's has 8.
    function test_H_01_a_feed_of_18_decimals_among_8s_is_the_same_price() public {
        (uint256 low, uint256 high,) = feeds.value(weth, usdc, 1e18);
        ChainlinkSource.Config memory config = _etherConfig();
        PriceAggregator aggregator = new PriceAggregator(18, "ETH / USD", address(this));
        (, int256 answer,,,) = PriceFeedProxy(config.aggregator).latestRoundData();
        aggregator.push(answer * 1e10);
        (config.aggregator, config.constantAfter) = (address(aggregator), 0);
        (uint256 sameLow, uint256 sameHigh, Status status) =
            _feedRouter(config, _dollarConfig()).value(weth, usdc, 1e18);
        assertEq(sameLow, low);
        assertEq(sameHigh, high);
        assertEq(uint256(status), uint256(Status.OK));
    }

    /// @dev The proxy's aggregator is replaced by one of 18 decimals: ten thousand million times the price.
    function test_M_12_a_feed_that_turns_to_18_decimals_is_no_price() public {
        _request();
        PriceFeedProxy proxy = PriceFeedProxy(_feed("ETH/USD", "proxy"));
        PriceAggregator aggregator = new PriceAggregator(18, "ETH / USD", address(this));
        aggregator.push(3000e18);
        vm.prank(proxy.owner());
        proxy.setAggregator(aggregator);
        _expect("feed turns to 18 decimals", Status.UNAVAILABLE);
    }

    /// @dev The feed says 3000 and the market 2850: exits are paid by the market as soon as it has persisted,
    /// before the mean of an hour gets there.
    function test_class_O_a_fall_that_persists_in_spot_is_what_exits_are_paid_at() public {
        _request();
        _swap(weth, 2_500e18);
        vm.warp(block.timestamp + 12);
        checked.observe();
        _later(20 minutes);
        (uint256 low,,) = checked.price();
        _later(10 minutes);
        _expect("fall persists in spot", Status.DIVERGED);
        (,, uint256 standing,) = market.market();
        (uint256 lowNow,,) = checked.price();
        (uint256 mean,,) = market.price();
        assertEq(lowNow, standing);
        assertLt(lowNow, low);
        assertLt(lowNow, mean);
    }

    /// @dev The feed says 3000 and the market 3150: nobody is paid more before the feed says so, too.
    function test_class_O_a_rise_that_persists_in_spot_is_not_what_exits_are_paid_at() public {
        _request();
        _swap(usdc, 7_800_000e6);
        vm.warp(block.timestamp + 12);
        checked.observe();
        _later(30 minutes);
        _expect("rise persists in spot", Status.DIVERGED);
        (, uint256 mean, uint256 standing,) = market.market();
        assertEq(checked.persisted(), standing);
        (uint256 feedLow, uint256 feedHigh) = _feedRange();
        (uint256 low, uint256 high,) = checked.price();
        assertEq(low, feedLow);
        assertEq(high, mean);
        assertGt(high, feedHigh);
        assertLt(high, standing);
    }

    function test_class_O_a_pool_that_breaks_stops_minting_and_leaves_the_feeds() public {
        _request();
        (uint256 low, uint256 high,) = checked.price();
        vm.etch(address(pool), hex"5b600056");
        _expect("pool burns all gas", Status.DIVERGED);
        (uint256 lowNow, uint256 highNow,) = checked.price();
        assertApproxEqRel(lowNow, low, 0.01e18);
        assertApproxEqRel(highNow, high, 0.01e18);
    }

    function test_class_T_a_feed_that_burns_all_gas_fails_no_settlement() public {
        _request();
        vm.etch(_feed("ETH/USD", "proxy"), hex"5b600056");
        _expect("feed burns all gas", Status.UNAVAILABLE);
    }

    function test_class_T_a_feed_that_answers_without_end_fails_no_settlement() public {
        _request();
        // return(0, 100000)
        vm.etch(_feed("ETH/USD", "proxy"), hex"620186a05ff3");
        _expect("feed is a return bomb", Status.UNAVAILABLE);
    }

    function test_class_T_a_vault_that_burns_all_gas_fails_no_settlement() public {
        _request();
        vm.etch(address(uint160(uint256(wethKey))), hex"5b600056");
        // A vault that has nothing to do with it is as good as before.
        Call[] memory calls = new Call[](1);
        calls[0] = Call(address(vaults), usdc, 100e6, abi.encodeCall(vaults.supply, (usdcKey, 100e6)));
        portfolio.execute(batch(calls));
        vault.settle(settlement());
        assertEq(vault.claimableDepositRequest(0, bob), 0, "deposits wait");
        assertApproxEqAbs(vault.maxWithdraw(alice), 100_000e6, 2, "exits do not");
    }

    // WHAT HAPPENS THEN

    /// @dev Deposit, new risk and an exit under the price as it now is.
    function _expect(string memory attack, Status expected) private {
        (uint256 low, uint256 high, Status status) = checked.price();
        assertEq(uint256(status), uint256(expected), "status");
        bool risk = _takesRisk();
        vault.settle(settlement());
        bool deposits = vault.claimableDepositRequest(0, bob) != 0;
        uint256 paid = vault.maxWithdraw(alice);
        console.log(
            string.concat(
                attack,
                " | ",
                ["OK", "STALE", "DIVERGED", "CONSTANT", "SEQUENCER_DOWN", "", "UNAVAILABLE"][uint256(status)],
                " | ",
                status == Status.UNAVAILABLE ? "none" : vm.toString(low / 1e16),
                " / ",
                status == Status.UNAVAILABLE ? "none" : vm.toString(high / 1e16),
                deposits ? " | minted" : " | deposits wait",
                risk ? " | risk taken" : " | risk refused"
            ),
            " | exit paid",
            paid
        );
        assertEq(deposits, status == Status.OK, "deposits");
        assertEq(risk, status == Status.OK, "risk");
        uint256 ether_ = status == Status.UNAVAILABLE ? 0 : 3 * low / 1e12;
        assertApproxEqAbs(paid, (1_000_000e6 + ether_) / 10, 2, "exits are paid at the low bound");
        assertEq(vault.pendingRedeemRequest(0, alice), 0, "in full");
        vm.prank(alice);
        vault.withdraw(paid, alice, alice);
    }

    // STEPS

    /// @dev What the checked price would be without a pool.
    function _feedRange() private view returns (uint256 low, uint256 high) {
        (low, high,) = checked.feeds().value(weth, usdc, 1e36);
        return (low / 1e6, (high + 1e6 - 1) / 1e6);
    }

    function _openVault() private {
        token = Token(usdc);
        registry = new Registry();
        vault = deployVault(token);
        PlainVault etherVault = new PlainVault(IERC20(weth));
        PlainVault dollarVault = new PlainVault(IERC20(usdc));
        (wethKey, usdcKey) = (_keyOf(address(etherVault)), _keyOf(address(dollarVault)));
        otherKey = _keyOf(address(new PlainVault(IERC20(weth))));
        bytes32[] memory keys = new bytes32[](3);
        (keys[0], keys[1], keys[2]) = (wethKey, usdcKey, otherKey);
        vaults = new ERC4626Connector(address(portfolio), keys, new address[](0));
        registry.listPosition(address(vault), address(vaults), wethKey, only(RISK));
        registry.listPosition(address(vault), address(vaults), usdcKey, only(RISK));
        registry.listPosition(address(vault), address(vaults), otherKey, only(RISK));
        registry.setCap(address(vault), RISK, 1_000_000e6);
        registry.setSelector(address(vault), address(vaults), vaults.supply.selector, true);
        registry.setSelector(address(vault), address(vaults), vaults.withdraw.selector, true);
        registry.setOracle(address(vault), address(router));
        registry.seal(address(vault), 3 days);

        _requestDeposit(alice, 1_000_000e6);
        _later(1 hours);
        vault.closeEpoch();
        _later(1);
        vault.settle(settlement());
        vm.prank(alice);
        vault.deposit(1_000_000e6, alice);
        deal(weth, address(vaults), 3e18);
        vm.prank(address(portfolio));
        vaults.supply(wethKey, 3e18);
    }

    /// @dev Bob wants in and a tenth of the vault wants out; the epoch is closed.
    function _request() private {
        _requestDeposit(bob, DEPOSIT);
        requestRedeem(alice, vault.balanceOf(alice) / 10);
        _later(1 hours);
        vault.closeEpoch();
        _later(1);
    }

    function _requestDeposit(address user, uint256 assets) private {
        deal(usdc, user, assets);
        vm.startPrank(user);
        token.approve(address(vault), assets);
        vault.requestDeposit(assets, user, user);
        vm.stopPrank();
    }

    function _stopSequencer() private {
        vm.prank(sequencer.reporter());
        sequencer.report(true);
        for (uint256 i; i < 6; ++i) {
            _later(1 hours);
        }
        vm.prank(sequencer.reporter());
        sequencer.report(false);
    }

    /// @dev Whether a batch may enter another vault of Ether.
    function _takesRisk() private returns (bool) {
        Call[] memory calls = new Call[](2);
        calls[0] = Call(address(vaults), address(0), 0, abi.encodeCall(vaults.withdraw, (wethKey, 1e18)));
        calls[1] = Call(address(vaults), weth, 1e18, abi.encodeCall(vaults.supply, (otherKey, 1e18)));
        Batch memory b = batch(calls);
        b.maxLoss = 1;
        try portfolio.execute(b) {
            return true;
        } catch (bytes memory reason) {
            // Read before, or afterwards: a position without a sound price is left, and not entered.
            assertEq(bytes4(reason), IPortfolio.ImpairedNotAlone.selector);
            return false;
        }
    }
}
