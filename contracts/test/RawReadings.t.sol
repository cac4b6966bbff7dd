// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {PriceAggregator} from "../devnet/PriceAggregator.sol";
import {SequencerUptimeFeed} from "../devnet/SequencerUptimeFeed.sol";
import {Status} from "../src/interfaces/Types.sol";
import {ChainlinkSource} from "../src/oracle/ChainlinkSource.sol";
import {StakedEtherSource} from "../src/oracle/StakedEtherSource.sol";
import {IUniswapV3Pool, UniswapV3TwapSource} from "../src/oracle/UniswapV3TwapSource.sol";
import {Devnet} from "./Devnet.sol";

/// @dev Takes all the gas that a call gives it.
contract Glutton {
    fallback() external {
        assembly ("memory-safe") {
            invalid()
        }
    }
}

/// @notice What sources tell of the state that their prices are made of.
contract RawReadingsTest is Devnet {
    /// @dev What the keeper's lens gives each call.
    uint256 private constant STIPEND = 5_000_000;

    function setUp() public {
        _load();
    }

    function test_rounds_are_the_latest_those_of_the_history_and_the_sequencers() public {
        (PriceAggregator feed, SequencerUptimeFeed uptime) = _feeds(600);
        ChainlinkSource source = _source(feed, uptime, 7200);
        (ChainlinkSource.Round memory latest, ChainlinkSource.Round[] memory earlier,) = source.rounds();
        assertEq(latest.id, 600);
        assertEq(latest.answer, 600e8);
        assertEq(latest.startedAt, block.timestamp);
        assertEq(latest.updatedAt, block.timestamp);
        // Two hours of a frozen feed are three rounds.
        uint8[6] memory distances = [1, 3, 6, 12, 24, 48];
        assertEq(earlier.length, 6);
        for (uint256 i = 0; i < 6; i++) {
            assertEq(earlier[i].id, 600 - distances[i]);
            assertEq(earlier[i].answer, int256(600 - uint256(distances[i])) * 1e8);
        }
        vm.warp(block.timestamp + 5);
        uptime.report(true);
        (,, ChainlinkSource.Round memory state) = source.rounds();
        assertEq(state.answer, 1);
        assertEq(state.startedAt, block.timestamp);
    }

    function test_rounds_go_back_no_further_than_the_phase() public {
        uint256[6] memory counts = [uint256(1), 2, 3, 4, 48, 49];
        uint256[6] memory lengths = [uint256(0), 1, 1, 2, 5, 6];
        for (uint256 i = 0; i < counts.length; i++) {
            (PriceAggregator feed, SequencerUptimeFeed uptime) = _feeds(counts[i]);
            (, ChainlinkSource.Round[] memory earlier,) = _source(feed, uptime, 7200).rounds();
            assertEq(earlier.length, lengths[i]);
        }
    }

    function test_a_feed_that_may_be_constant_tells_no_history() public {
        (PriceAggregator feed,) = _feeds(600);
        ChainlinkSource source = _source(feed, SequencerUptimeFeed(address(0)), 0);
        (
            ChainlinkSource.Round memory latest,
            ChainlinkSource.Round[] memory earlier,
            ChainlinkSource.Round memory state
        ) = source.rounds();
        assertEq(latest.id, 600);
        assertEq(earlier.length, 0);
        assertEq(state.id, 0);
    }

    function test_rounds_of_a_feed_that_burns_its_gas_are_zero_and_fit_the_lens() public {
        (PriceAggregator feed, SequencerUptimeFeed uptime) = _feeds(600);
        ChainlinkSource source = _source(feed, uptime, 7200);
        // The latest round answers; the rest of the gas goes.
        vm.mockCallRevert(address(feed), abi.encodeWithSelector(feed.getRoundData.selector), "");
        vm.etch(address(uptime), address(new Glutton()).code);
        (bool success, bytes memory data) =
            address(source).staticcall{gas: STIPEND}(abi.encodeCall(source.rounds, ()));
        assertTrue(success);
        (
            ChainlinkSource.Round memory latest,
            ChainlinkSource.Round[] memory earlier,
            ChainlinkSource.Round memory state
        ) = abi.decode(data, (ChainlinkSource.Round, ChainlinkSource.Round[], ChainlinkSource.Round));
        assertEq(latest.id, 600);
        assertEq(earlier.length, 6);
        assertEq(earlier[5].id, 0);
        assertEq(state.startedAt, 0);
    }

    function test_observations_are_the_pools_own_words() public {
        IUniswapV3Pool pool = IUniswapV3Pool(_address(".uniswap.pools['USDC/WETH'].address"));
        UniswapV3TwapSource source = _twap(pool);
        (
            UniswapV3TwapSource.Answer memory mean,
            UniswapV3TwapSource.Answer memory slot,
            UniswapV3TwapSource.Answer memory last,
            UniswapV3TwapSource.Answer memory older
        ) = source.observations();
        assertTrue(mean.success && slot.success && last.success && older.success);

        uint32[] memory ago = new uint32[](2);
        ago[0] = 30 minutes;
        (int56[] memory ticks, uint160[] memory seconds_) = pool.observe(ago);
        assertEq(int256(mean.words[3]), ticks[0]);
        assertEq(int256(mean.words[4]), ticks[1]);
        assertEq(mean.words[6], seconds_[0]);
        assertEq(mean.words[7], seconds_[1]);

        (, int24 tick, uint16 index, uint16 cardinality,,,) = pool.slot0();
        assertEq(int256(slot.words[1]), tick);
        assertEq(slot.words[3], cardinality);
        _expectObservation(pool, index, last);
        _expectObservation(pool, (uint256(index) + cardinality - 1) % cardinality, older);
    }

    function test_the_observation_before_the_first_is_the_last() public {
        IUniswapV3Pool pool = IUniswapV3Pool(_address(".uniswap.pools['USDC/WETH'].address"));
        UniswapV3TwapSource source = _twap(pool);
        // Index and cardinality lie above the price (160 bits) and the tick (24).
        uint256 packed = uint256(vm.load(address(pool), 0)) & ~(uint256(type(uint16).max) << 184);
        vm.store(address(pool), 0, bytes32(packed));
        (,, uint16 index, uint16 cardinality,,,) = pool.slot0();
        assertEq(index, 0);
        (,,, UniswapV3TwapSource.Answer memory older) = source.observations();
        _expectObservation(pool, cardinality - 1, older);
    }

    function test_observations_of_a_pool_that_is_gone_are_none() public {
        IUniswapV3Pool pool = IUniswapV3Pool(_address(".uniswap.pools['USDC/WETH'].address"));
        UniswapV3TwapSource source = _twap(pool);
        vm.etch(address(pool), address(new Glutton()).code);
        (bool success, bytes memory data) =
            address(source).staticcall{gas: STIPEND}(abi.encodeCall(source.observations, ()));
        assertTrue(success);
        (
            UniswapV3TwapSource.Answer memory mean,
            UniswapV3TwapSource.Answer memory slot,
            UniswapV3TwapSource.Answer memory last,
        ) = abi.decode(
            data,
            (
                UniswapV3TwapSource.Answer,
                UniswapV3TwapSource.Answer,
                UniswapV3TwapSource.Answer,
                UniswapV3TwapSource.Answer
            )
        );
        assertFalse(mean.success || slot.success || last.success);
    }

    function test_an_answer_is_the_targets_own_word() public {
        address wrapped = _token("wstETH");
        StakedEtherSource source = new StakedEtherSource(wrapped, address(1), 0.01e18);
        vm.mockCall(wrapped, abi.encodeWithSignature("stEthPerToken()"), abi.encode(1.25e18));
        (bool success, uint256 word) = source.answer();
        assertTrue(success);
        assertEq(word, 1.25e18);
        vm.mockCallRevert(wrapped, abi.encodeWithSignature("stEthPerToken()"), "");
        (success,) = source.answer();
        assertFalse(success);
        (,, Status status) = source.price();
        assertEq(uint256(status), uint256(Status.UNAVAILABLE));
    }

    /// @dev A feed of so many rounds a second apart, each of another answer, and a sequencer that is up.
    function _feeds(uint256 count) private returns (PriceAggregator feed, SequencerUptimeFeed uptime) {
        feed = new PriceAggregator(8, "ETH / USD", address(this));
        uptime = new SequencerUptimeFeed(address(this));
        for (uint256 i = 1; i <= count; i++) {
            vm.warp(block.timestamp + 1);
            feed.push(int256(i) * 1e8);
        }
    }

    function _source(PriceAggregator feed, SequencerUptimeFeed uptime, uint256 constantAfter)
        private
        returns (ChainlinkSource)
    {
        ChainlinkSource.Config memory config;
        config.base = address(1);
        config.quote = address(840);
        config.aggregator = address(feed);
        config.heartbeat = 1 hours;
        config.minimum = 1e18;
        config.maximum = 100_000e18;
        config.sequencer = address(uptime);
        config.gracePeriod = address(uptime) == address(0) ? 0 : 1 hours;
        config.constantAfter = constantAfter;
        return new ChainlinkSource(config);
    }

    function _twap(IUniswapV3Pool pool) private returns (UniswapV3TwapSource) {
        vm.warp(block.timestamp + 30 minutes);
        return new UniswapV3TwapSource(pool, _token("WETH"), _token("USDC"), 30 minutes, 1, 1);
    }

    function _expectObservation(IUniswapV3Pool pool, uint256 index, UniswapV3TwapSource.Answer memory seen)
        private
        view
    {
        (uint32 at, int56 ticks, uint160 seconds_, bool known) = pool.observations(index);
        assertTrue(seen.success);
        assertEq(seen.words[0], at);
        assertEq(int256(seen.words[1]), ticks);
        assertEq(seen.words[2], seconds_);
        assertEq(seen.words[3], known ? 1 : 0);
    }
}
