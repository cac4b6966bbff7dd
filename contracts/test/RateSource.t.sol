// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {ERC4626} from "@openzeppelin/contracts/token/ERC20/extensions/ERC4626.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IERC4626} from "@openzeppelin/contracts/interfaces/IERC4626.sol";
import {IPriceSource} from "../src/interfaces/IOracleRouter.sol";
import {Status} from "../src/interfaces/Types.sol";
import {ATokenSource, IAToken} from "../src/oracle/ATokenSource.sol";
import {ChainlinkSource} from "../src/oracle/ChainlinkSource.sol";
import {ERC4626Source} from "../src/oracle/ERC4626Source.sol";
import {OracleRouter} from "../src/oracle/OracleRouter.sol";
import {RateSource} from "../src/oracle/RateSource.sol";
import {StakedEtherSource} from "../src/oracle/StakedEtherSource.sol";
import {Prices} from "./fixtures/Prices.sol";
import {Token} from "./fixtures/Tokens.sol";

/// @dev OpenZeppelin's vault with a choice of offset.
contract OffsetVault is ERC4626 {
    uint8 private immutable OFFSET;

    constructor(IERC20 asset_, uint8 offset) ERC20("Offset", "O") ERC4626(asset_) {
        OFFSET = offset;
    }

    function _decimalsOffset() internal view override returns (uint8) {
        return OFFSET;
    }
}

/// @title Receipt tokens by their own protocol's rate
contract RateSourceTest is Prices {
    /// @dev Two thousandths a day.
    uint256 private constant GROWTH = 0.002e18;

    Token private token;
    OffsetVault private vault;
    ERC4626Source private source;

    function setUp() public {
        _loadPrices();
        token = new Token("USDC", 6);
        vault = new OffsetVault(token, 12);
        token.mint(address(this), 1_000_000e6);
        token.approve(address(vault), 1_000_000e6);
        vault.deposit(1_000_000e6, address(this));
        source = new ERC4626Source(vault, GROWTH);
    }

    // THE RATE

    /// @dev What was believed stays as high as it was, what was seen is less.
    function test_a_record_tells_what_is_believed_and_what_was_seen() public {
        skip(1 days);
        vm.prank(address(vault));
        token.transfer(address(1), 1_000e6);
        vm.expectEmit(address(source));
        emit RateSource.Recorded(1e18, 0.999e18 + 999);
        source.record();
    }

    function test_class_U_a_share_of_more_decimals_than_its_asset() public {
        assertEq(vault.decimals(), 18);
        _expect(source, 1e18, Status.OK);
        _grow(500e6);
        _expect(source, 1.0005e18, Status.OK);
    }

    function test_class_U_decimals_sweep_of_shares_and_assets() public {
        uint8[4] memory decimals = [6, 8, 18, 27];
        for (uint256 i; i < 4; ++i) {
            for (uint8 offset; offset <= 9; offset += 3) {
                Token asset = new Token("ASSET", decimals[i]);
                OffsetVault swept = new OffsetVault(asset, offset);
                uint256 unit = 10 ** uint256(decimals[i]);
                asset.mint(address(this), 1000 * unit);
                asset.approve(address(swept), 1000 * unit);
                swept.deposit(1000 * unit, address(this));
                ERC4626Source one = new ERC4626Source(swept, 0.1e18);
                asset.mint(address(swept), 50 * unit);
                (uint256 low, uint256 high, Status status) = one.price();
                assertApproxEqRel(low, 1.05e18, 1e12);
                assertGe(high, low);
                assertLe(high, low + 1);
                assertEq(uint256(status), uint256(Status.OK));
                (low, high,) =
                    _single(one).value(address(swept), address(asset), swept.balanceOf(address(this)));
                assertApproxEqRel(low, 1050 * unit, 1e12, "the worth of the shares");
                assertLe(low, swept.totalAssets());
                assertGe(high, swept.convertToAssets(swept.balanceOf(address(this))));
            }
        }
    }

    function test_class_O_a_gift_is_believed_no_faster_than_it_may_grow() public {
        _grow(500_000e6);
        _expect(source, 1.002e18, Status.DIVERGED);
        vm.warp(block.timestamp + 12 hours);
        _expect(source, 1.003e18, Status.DIVERGED);
    }

    /// @dev Recording as often as one may believes no more than time does.
    function test_class_O_records_do_not_add_steps_up() public {
        _grow(500_000e6);
        for (uint256 i; i < 10; ++i) {
            vm.warp(block.timestamp + 1 days);
            source.record();
        }
        (uint256 low,, Status status) = source.price();
        assertApproxEqRel(low, 1.0222e18, 0.0002e18, "ten days and the one in hand");
        assertEq(uint256(status), uint256(Status.DIVERGED));
    }

    function test_class_O_yield_within_the_limit_is_believed_at_once() public {
        for (uint256 i; i < 5; ++i) {
            vm.warp(block.timestamp + 1 days);
            _grow(1_900e6);
            (uint256 low, uint256 high, Status status) = source.price();
            assertApproxEqAbs(low, 1e18 + (i + 1) * 0.0019e18, 1e6);
            assertLe(high, low + 1);
            assertEq(uint256(status), uint256(Status.OK));
            source.record();
        }
    }

    function test_class_O_a_fall_is_in_low_at_once_and_in_high_when_it_persists() public {
        _lose(100_000e6);
        (uint256 low, uint256 high, Status status) = source.price();
        assertApproxEqAbs(low, 0.9e18, 1e6);
        assertApproxEqAbs(high, 1e18, 1e6);
        assertEq(uint256(status), uint256(Status.DIVERGED));
        vm.warp(block.timestamp + 1 days);
        source.record();
        (, high,) = source.price();
        assertApproxEqAbs(high, 1e18, 1e6, "seen once");
        vm.warp(block.timestamp + 1 days);
        source.record();
        _expect(source, 0.9e18, Status.OK);
    }

    function test_class_O_a_fall_within_a_day_is_no_alarm() public {
        _lose(1_000e6);
        (uint256 low, uint256 high, Status status) = source.price();
        assertApproxEqAbs(low, 0.999e18, 1e6);
        assertApproxEqAbs(high, 1e18, 1e6);
        assertEq(uint256(status), uint256(Status.OK));
    }

    function test_class_O_one_depressed_record_does_not_move_the_anchor() public {
        vm.warp(block.timestamp + 1 days);
        _lose(500_000e6);
        source.record();
        _grow(500_000e6);
        _expect(source, 1e18, Status.OK);
    }

    function test_a_record_is_taken_once_a_day() public {
        uint256 until = block.timestamp + 1 days;
        vm.warp(until - 1);
        vm.expectRevert(abi.encodeWithSelector(RateSource.TooEarly.selector, until));
        source.record();
    }

    function test_class_T_a_vault_without_an_answer_is_no_price() public {
        bytes[4] memory codes = [bytes(hex"5f5ffd"), hex"5b600056", hex"", hex"5f5ff3"];
        for (uint256 i; i < 4; ++i) {
            vm.etch(address(vault), codes[i]);
            (uint256 low, uint256 high, Status status) = source.price{gas: 200_000}();
            assertEq(low, 0);
            assertEq(high, type(uint256).max);
            assertEq(uint256(status), uint256(Status.UNAVAILABLE));
        }
        vm.warp(block.timestamp + 1 days);
        vm.expectRevert(abi.encodeWithSelector(RateSource.InvalidRate.selector, 0));
        source.record();
    }

    // THE REAL ONES

    function test_class_O_shares_of_the_devnets_metamorpho() public {
        IERC4626 real = IERC4626(_address(".metamorpho.vault"));
        ERC4626Source shares = new ERC4626Source(real, 0.001e18);
        uint256 before = gasleft();
        (uint256 low, uint256 high, Status status) = shares.price();
        emit log_named_uint("gas of a MetaMorpho share", before - gasleft());
        assertEq(uint256(status), uint256(Status.OK));
        (uint256 worth, uint256 ceiling,) = _single(shares).value(address(real), usdc, 1_000_000e18);
        assertApproxEqAbs(worth, real.convertToAssets(1_000_000e18), 1);
        assertGe(ceiling, real.convertToAssets(1_000_000e18));
        assertLe(low, high);
    }

    function test_class_O_an_atoken_is_its_underlying() public {
        address aToken = _address(".aave.reserves.USDC.a_token");
        OracleRouter one = _single(new ATokenSource(IAToken(aToken)));
        (uint256 low, uint256 high, Status status) = one.value(aToken, usdc, 123_456_789);
        assertEq(low, 123_456_789);
        assertEq(high, 123_456_789);
        assertEq(uint256(status), uint256(Status.OK));
    }

    /// @dev Wrapped staked Ether → staked Ether → dollars → USDC, as in a vault.
    function test_H_03_H_22_wrapped_staked_ether_is_the_product_of_rate_and_feeds() public {
        address wrapped = _token("wstETH");
        address staked = address(0x57EA);
        ChainlinkSource.Config memory config = _config(staked, "stETH/USD", "stETH / USD");
        (config.heartbeat, config.minimum, config.maximum) = (1 days, 1e18, 1e24);
        OracleRouter.Route[] memory routes = new OracleRouter.Route[](1);
        routes[0] = OracleRouter.Route(wrapped, usdc, new OracleRouter.Hop[](3));
        StakedEtherSource rate = new StakedEtherSource(wrapped, staked, 0.0003e18);
        routes[0].hops[0].source = rate;
        routes[0].hops[1].source = new ChainlinkSource(config);
        routes[0].hops[2] = OracleRouter.Hop(new ChainlinkSource(_dollarConfig()), true);
        OracleRouter prices = new OracleRouter(routes);
        uint256 before = gasleft();
        (uint256 low, uint256 high, Status status) = prices.value(wrapped, usdc, 10e18);
        emit log_named_uint("gas of wstETH in USDC, three hops", before - gasleft());
        uint256 expected = uint256(11_900_000) * 299_748_000_000 / 99_990_000;
        assertApproxEqRel(low, expected, 0.003e18);
        assertApproxEqRel(high, expected, 0.003e18);
        assertLe(low, expected);
        assertGe(high, expected);
        assertEq(uint256(status), uint256(Status.OK));
        vm.warp(block.timestamp + 10 days);
        (low,, status) = rate.price();
        assertApproxEqAbs(low, 1.19e18 + uint256(1.19e18) * 3 * 10 / 36_500, 1e15, "it grows by itself");
        assertEq(uint256(status), uint256(Status.OK));
    }

    // CONFIGURATION

    function test_class_O_a_wrong_configuration_is_refused() public {
        vm.expectRevert(abi.encodeWithSelector(RateSource.InvalidGrowth.selector, 0));
        new ERC4626Source(vault, 0);
        vm.expectRevert(abi.encodeWithSelector(RateSource.InvalidGrowth.selector, 0.1e18 + 1));
        new ERC4626Source(vault, 0.1e18 + 1);
        vm.expectRevert(abi.encodeWithSelector(RateSource.InvalidTarget.selector, address(9)));
        new ERC4626Source(IERC4626(address(9)), GROWTH);
        vm.expectRevert(abi.encodeWithSelector(RateSource.InvalidTarget.selector, address(0)));
        new StakedEtherSource(_token("wstETH"), address(0), GROWTH);
        vm.expectRevert(abi.encodeWithSelector(StakedEtherSource.UnsupportedDecimals.selector, 6));
        new StakedEtherSource(usdc, address(1), GROWTH);
        vm.expectRevert(abi.encodeWithSelector(RateSource.InvalidRate.selector, 0));
        new StakedEtherSource(weth, address(1), GROWTH);
    }

    function test_class_U_an_atoken_of_other_decimals_or_of_none_is_refused() public {
        address aToken = _address(".aave.reserves.USDC.a_token");
        vm.mockCall(aToken, abi.encodeWithSignature("decimals()"), abi.encode(18));
        vm.expectRevert(abi.encodeWithSelector(ATokenSource.DecimalsMismatch.selector, 18, 6));
        new ATokenSource(IAToken(aToken));
        vm.mockCall(aToken, abi.encodeWithSignature("decimals()"), "");
        vm.expectRevert(abi.encodeWithSelector(ATokenSource.UnknownDecimals.selector, aToken));
        new ATokenSource(IAToken(aToken));
    }

    // STEPS

    function _grow(uint256 assets) private {
        token.mint(address(vault), assets);
    }

    function _lose(uint256 assets) private {
        vm.prank(address(vault));
        assertTrue(token.transfer(address(1), assets));
    }

    function _expect(IPriceSource of_, uint256 rate, Status status) private view {
        (uint256 low, uint256 high, Status seen) = of_.price();
        assertApproxEqAbs(low, rate, 1e6);
        assertApproxEqAbs(high, rate, 1e6);
        assertEq(uint256(seen), uint256(status));
    }

    function test_class_U_an_underlying_without_decimals_is_refused() public {
        OffsetVault odd = new OffsetVault(IERC20(address(this)), 0);
        vm.expectRevert(abi.encodeWithSelector(RateSource.UnknownDecimals.selector, address(this)));
        new ERC4626Source(odd, GROWTH);
        vm.mockCall(
            address(token), abi.encodeCall(IAToken.UNDERLYING_ASSET_ADDRESS, ()), abi.encode(address(this))
        );
        vm.expectRevert(abi.encodeWithSelector(ATokenSource.UnknownDecimals.selector, address(this)));
        new ATokenSource(IAToken(address(token)));
    }
}
