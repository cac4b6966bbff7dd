// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {PriceAggregator} from "../devnet/PriceAggregator.sol";
import {PriceFeedProxy} from "../devnet/PriceFeedProxy.sol";
import {IOracleRouter, IPriceSource} from "../src/interfaces/IOracleRouter.sol";
import {Status} from "../src/interfaces/Types.sol";
import {ChainlinkSource} from "../src/oracle/ChainlinkSource.sol";
import {CheckedSource} from "../src/oracle/CheckedSource.sol";
import {OracleRouter} from "../src/oracle/OracleRouter.sol";
import {StakedEtherSource} from "../src/oracle/StakedEtherSource.sol";
import {Prices} from "./fixtures/Prices.sol";

/// @title No gas decides what a price is
/// @notice Every source with the stipend it asks for, in a transaction that has met nothing before, says what it
/// says with all the gas there is and everything warm. The dearest there are: feeds with constancy to the full
/// depth, a sequencer and a second source, against a pool, at the end of a route.
abstract contract OracleGasTest is Prices {
    bytes internal constant BURNS = hex"5b600056";
    uint256 private constant AMPLE = 5_000_000;

    address internal second;
    address internal wrapped;
    ChainlinkSource internal etherUsd;
    StakedEtherSource internal rate;

    /// @dev What is wrong, and the status that it gives to the feed, against the pool and over the route.
    function _fault() internal virtual returns (Status feed, Status both, Status route);

    Status[3] private expected;

    function setUp() public {
        _loadPrices();
        wrapped = _token("wstETH");
        PriceAggregator aggregator = new PriceAggregator(8, "ETH / USD", address(this));
        aggregator.push(3000e8);
        second = address(new PriceFeedProxy(aggregator, address(this)));
        ChainlinkSource.Config memory config = _sequenced(_etherConfig());
        (config.aggregator, config.constantAfter, config.description) = (second, 0, "");
        IPriceSource check = new ChainlinkSource(config);
        config = _sequenced(_etherConfig());
        (config.crossCheck, config.toleranceBps) = (check, 500);
        feeds = _feedRouter(config, _sequenced(_dollarConfig()));
        etherUsd = ChainlinkSource(address(feeds.hops(weth, usdc)[0].source));
        checked = new CheckedSource(feeds, market, TOLERANCE);
        rate = new StakedEtherSource(wrapped, weth, 0.0003e18);
        OracleRouter.Route[] memory routes = new OracleRouter.Route[](1);
        routes[0] = OracleRouter.Route(wrapped, usdc, new OracleRouter.Hop[](2));
        routes[0].hops[0].source = rate;
        routes[0].hops[1].source = checked;
        router = new OracleRouter(routes);
        checked.observe();
        _later(30 minutes);
        (expected[0], expected[1], expected[2]) = _fault();
    }

    function test_class_O_no_gas_decides_the_price_of_a_feed() public {
        _same(address(etherUsd), etherUsd.stipend(), abi.encodeCall(IPriceSource.price, ()), expected[0]);
    }

    function test_class_O_no_gas_decides_the_price_of_feeds_against_a_pool() public {
        _same(address(checked), checked.stipend(), abi.encodeCall(IPriceSource.price, ()), expected[1]);
    }

    function test_class_O_no_gas_decides_the_value_over_a_route() public {
        bytes memory data = abi.encodeCall(IOracleRouter.value, (wrapped, usdc, 1e18));
        _same(address(router), router.stipend(wrapped, usdc), data, expected[2]);
    }

    function _same(address target, uint256 stipend, bytes memory data, Status status) private {
        uint256 before = gasleft();
        (bool success, bytes memory cold) = target.staticcall{gas: stipend}(data);
        emit log_named_uint("stipend", stipend);
        emit log_named_uint("used, cold", before - gasleft());
        assertTrue(success, "cold");
        (, bytes memory warm) = target.staticcall{gas: stipend}(data);
        assertEq(warm, cold, "warm");
        (, bytes memory ample) = target.staticcall{gas: AMPLE}(data);
        assertEq(ample, cold, "ample");
        (,, uint256 seen) = abi.decode(cold, (uint256, uint256, uint256));
        assertEq(seen, uint256(status), "status");
    }

    function _sequenced(ChainlinkSource.Config memory config)
        private
        view
        returns (ChainlinkSource.Config memory)
    {
        (config.sequencer, config.gracePeriod) = (_address(".sequencer"), 1 minutes);
        return config;
    }
}

contract NothingWrongGasTest is OracleGasTest {
    function _fault() internal pure override returns (Status, Status, Status) {
        return (Status.OK, Status.OK, Status.OK);
    }

    function test_class_O_honest_sources_leave_a_third_of_what_they_ask_for() public {
        bytes memory price = abi.encodeCall(IPriceSource.price, ());
        _leaves("pool", address(market), market.marketStipend(), abi.encodeCall(market.market, ()));
        _leaves("rate", address(rate), rate.stipend(), price);
        _leaves("feed", address(etherUsd), etherUsd.stipend(), price);
        bytes memory value = abi.encodeCall(IOracleRouter.value, (weth, usdc, 1e18));
        _leaves("feeds", address(feeds), feeds.stipend(weth, usdc), value);
    }

    function _leaves(string memory what, address target, uint256 stipend, bytes memory data) private {
        uint256 before = gasleft();
        (bool success,) = target.staticcall(data);
        before -= gasleft();
        emit log_named_uint(what, before);
        assertTrue(success);
        assertLt(before * 3, stipend * 2);
    }
}

/// @dev Round after round of one answer, younger than a frozen feed's: every sample is looked at.
contract FullDepthGasTest is OracleGasTest {
    function _fault() internal override returns (Status, Status, Status) {
        for (uint256 i; i < 130; ++i) {
            _push("ETH/USD", 3000e8);
        }
        return (Status.OK, Status.OK, Status.OK);
    }
}

contract FrozenFeedGasTest is OracleGasTest {
    function _fault() internal override returns (Status, Status, Status) {
        for (uint256 i; i < 130; ++i) {
            if (i == 60) vm.warp(block.timestamp + 7 hours);
            _push("ETH/USD", 3000e8);
            _push("USDC/USD", 1e8);
        }
        PriceAggregator(address(PriceFeedProxy(second).aggregator())).push(3000e8);
        return (Status.CONSTANT, Status.CONSTANT, Status.CONSTANT);
    }
}

contract BurningFeedGasTest is OracleGasTest {
    function _fault() internal override returns (Status, Status, Status) {
        vm.etch(_feed("ETH/USD", "proxy"), BURNS);
        return (Status.UNAVAILABLE, Status.UNAVAILABLE, Status.UNAVAILABLE);
    }
}

contract BurningSequencerGasTest is OracleGasTest {
    function _fault() internal override returns (Status, Status, Status) {
        vm.etch(_address(".sequencer"), BURNS);
        return (Status.SEQUENCER_DOWN, Status.SEQUENCER_DOWN, Status.SEQUENCER_DOWN);
    }
}

contract BurningSecondGasTest is OracleGasTest {
    function _fault() internal override returns (Status, Status, Status) {
        vm.etch(second, BURNS);
        return (Status.DIVERGED, Status.DIVERGED, Status.DIVERGED);
    }
}

contract BurningPoolGasTest is OracleGasTest {
    function _fault() internal override returns (Status, Status, Status) {
        vm.etch(address(pool), BURNS);
        return (Status.OK, Status.DIVERGED, Status.DIVERGED);
    }
}

contract BurningRateGasTest is OracleGasTest {
    function _fault() internal override returns (Status, Status, Status) {
        vm.etch(wrapped, BURNS);
        return (Status.OK, Status.OK, Status.UNAVAILABLE);
    }
}

/// @dev Everything at once: a feed frozen but for a history that burns, a sequencer, a second source and a pool.
contract BurningAllGasTest is OracleGasTest {
    function _fault() internal override returns (Status, Status, Status) {
        vm.etch(_feed("ETH/USD", "proxy"), address(new Greedy(3000e8, true)).code);
        vm.etch(second, BURNS);
        vm.etch(_address(".sequencer"), BURNS);
        vm.etch(address(pool), BURNS);
        return (Status.SEQUENCER_DOWN, Status.SEQUENCER_DOWN, Status.SEQUENCER_DOWN);
    }
}

/// @dev All answer, and each after it has used up what it was given.
contract GreedyGasTest is OracleGasTest {
    function _fault() internal override returns (Status, Status, Status) {
        bytes memory ether_ = address(new Greedy(3000e8, false)).code;
        vm.etch(_feed("ETH/USD", "proxy"), ether_);
        vm.etch(second, ether_);
        vm.etch(_feed("USDC/USD", "proxy"), address(new Greedy(1e8, false)).code);
        vm.etch(_address(".sequencer"), address(new Greedy(0, false)).code);
        int24 tick = _tick();
        vm.etch(address(pool), address(new Greedy(tick, false)).code);
        vm.etch(wrapped, address(new Greedy(1.19e18, false)).code);
        return (Status.OK, Status.OK, Status.OK);
    }

    function _tick() private view returns (int24 tick) {
        (, tick,,,,,) = pool.slot0();
    }
}

/// @dev A feed, a pool or a rate that answers when hardly any gas is left.
contract Greedy {
    uint256 private constant LEFT = 2_500;
    int256 private immutable answer;
    bool private immutable forgetful;

    constructor(int256 answer_, bool forgetful_) {
        (answer, forgetful) = (answer_, forgetful_);
    }

    modifier greedy() {
        _;
        while (gasleft() > LEFT) {}
    }

    function latestRoundData() external view greedy returns (uint80, int256, uint256, uint256, uint80) {
        return (1000, answer, 1, block.timestamp, 1000);
    }

    function getRoundData(uint80 id) external view greedy returns (uint80, int256, uint256, uint256, uint80) {
        if (forgetful) while (true) {}
        return (id, answer, 1, block.timestamp, id);
    }

    function stEthPerToken() external view greedy returns (uint256) {
        // forge-lint: disable-next-line(unsafe-typecast) positive
        return uint256(answer);
    }

    function observe(uint32[] calldata ago)
        external
        view
        greedy
        returns (int56[] memory ticks, uint160[] memory perLiquidity)
    {
        (ticks, perLiquidity) = (new int56[](2), new uint160[](2));
        // forge-lint: disable-start(unsafe-typecast) an hour of a tick
        ticks[1] = int56(answer) * int56(uint56(ago[0]));
        perLiquidity[1] = uint160((uint256(ago[0]) << 128) / 1e18);
        // forge-lint: disable-end(unsafe-typecast)
    }

    function slot0() external view greedy returns (uint160, int24, uint16, uint16, uint16, uint8, bool) {
        // forge-lint: disable-next-line(unsafe-typecast) a tick
        return (0, int24(answer), 1, 2, 2, 0, true);
    }

    /// @dev The newer one of this block, so that both are read.
    function observations(uint256 index) external view greedy returns (uint32, int56, uint160, bool) {
        // forge-lint: disable-start(unsafe-typecast) twelve seconds of a tick
        uint32 at = uint32(block.timestamp);
        return index == 1 ? (at, int56(answer) * 12, 0, true) : (at - 12, int56(0), 0, true);
        // forge-lint: disable-end(unsafe-typecast)
    }
}
