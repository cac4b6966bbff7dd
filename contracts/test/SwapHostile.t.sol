// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {console2} from "forge-std/console2.sol";
import {DiamondCutFacet} from "../devnet/LiFiDiamond.sol";
import {GenericSwapFacet} from "../devnet/GenericSwapFacet.sol";
import {IGenericSwapFacetV3, SwapData} from "../src/interfaces/ILiFiDiamond.sol";
import {IPriceSource} from "../src/interfaces/IOracleRouter.sol";
import {ISwapHandler} from "../src/interfaces/ISwapHandler.sol";
import {OracleRouter} from "../src/oracle/OracleRouter.sol";
import {SwapHandler} from "../src/swap/SwapHandler.sol";
import {HostileDiamond} from "./fixtures/HostileDiamond.sol";
import {Token} from "./fixtures/Tokens.sol";
import {SwapTest} from "./SwapTest.sol";

/// @dev Calls out whenever it moves, keeps a part, or takes more than it was allowed.
contract HostileToken is Token {
    address private target;
    bytes private data;
    uint256 private feeBps;
    address private victim;
    uint256 private stolen;
    bool private sticky;

    constructor() Token("HOSTILE", 18) {}

    function callOut(address target_, bytes calldata data_) external {
        (target, data) = (target_, data_);
    }

    function setFee(uint256 bps) external {
        feeBps = bps;
    }

    function steal(address victim_, uint256 amount) external {
        (victim, stolen) = (victim_, amount);
    }

    function stick() external {
        sticky = true;
    }

    function _spendAllowance(address owner, address spender, uint256 value) internal override {
        if (sticky) require(allowance(owner, spender) >= value, "allowance");
        else super._spendAllowance(owner, spender, value);
    }

    function _update(address from, address to, uint256 value) internal override {
        super._update(from, to, value);
        if (from == address(0) || to == address(0)) return;
        if (feeBps != 0) _burn(to, value * feeBps / 10_000);
        if (stolen != 0 && from == victim) (value, stolen) = (stolen, 0);
        else value = 0;
        if (value != 0) _burn(from, value);
        if (target == address(0)) return;
        (bool success, bytes memory reason) = target.call(data);
        if (!success) {
            assembly ("memory-safe") {
                revert(add(reason, 32), mload(reason))
            }
        }
    }
}

/// @dev The portfolio of another vault, with a swap handler of its own.
contract OtherPortfolio {
    address public immutable vault = address(this);
    address public immutable registry;
    address public immutable asset;
    address public immutable escrow = address(1);

    constructor(address registry_, address asset_) {
        (registry, asset) = (registry_, asset_);
    }

    function act(address target, bytes calldata data) external returns (bool success, bytes memory result) {
        return target.call(data);
    }
}

/// @title Routes and tokens that lie: where each is caught
contract SwapHostileTest is SwapTest {
    uint256 private constant IN = 3_000e6;
    uint256 private constant OUT = 0.99e18;

    HostileDiamond private hostile;
    HostileToken private token;

    // LIES IN THE CALLDATA, AND BY A DIAMOND OF THE REAL SHAPE

    function test_class_N_a_table_of_lies_and_where_each_is_caught() public {
        SwapData memory honest = _step(_way(usdc, weth), IN);
        console2.log("lie | caught by");
        _lie("receiver is another", _to(honest, stranger), OUT, ISwapHandler.WrongReceiver.selector);
        _lie("a lower minimum", _single(honest, 1), OUT, ISwapHandler.WrongMinimum.selector);
        _lie(
            "hidden bytes at the end",
            bytes.concat(_single(honest, OUT), hex"ff"),
            OUT,
            ISwapHandler.NotCanonical.selector
        );
        _lie("a native variant", hex"733214a3", OUT, ISwapHandler.NativeSwapRefused.selector);
        _lie("a bridge's selector", hex"a1f1ce43", OUT, ISwapHandler.SelectorNotAllowed.selector);
        SwapData memory step = _step(_way(usdc, weth), IN);
        step.sendingAssetId = dai;
        _lie("another token is sold", _single(step, OUT), OUT, ISwapHandler.WrongToken.selector);
        step = _step(_way(usdc, dai), IN);
        _lie("another token is bought", _single(step, OUT), OUT, ISwapHandler.WrongToken.selector);
        step = _step(_way(usdc, weth), IN + 1);
        _lie("more is sold", _single(step, OUT), OUT, ISwapHandler.WrongAmount.selector);
        SwapData[] memory two = new SwapData[](2);
        (two[0], two[1]) = (_fee(usdc, IN, 0), _step(_way(usdc, weth), IN));
        _lie("a second deposit", _multiple(two, OUT), OUT, ISwapHandler.WrongDeposit.selector);
        step = _step(_way(usdc, weth), IN);
        (step.callTo, step.callData) = (usdc, abi.encodeCall(IERC20.transfer, (stranger, IN)));
        _lie("a step calls a token", _single(step, OUT), OUT, ISwapHandler.TargetNotAllowed.selector);
        step = _step(_way(usdc, weth), IN);
        step.approveTo = weth;
        _lie("a token is approved", _single(step, OUT), OUT, ISwapHandler.SpenderNotAllowed.selector);
        _lie(
            "the step pays another",
            _single(_stepTo(_way(usdc, weth), IN, stranger), OUT),
            OUT,
            GenericSwapFacet.CumulativeSlippageTooLow.selector
        );
        SwapData memory fee = _fee(usdc, IN, IN / 20);
        _lie(
            "a fee of 5 % under a mean minimum",
            _multiple(fee, _step(_way(usdc, weth), IN - IN / 20), 1),
            1,
            ISwapHandler.BelowOracleBound.selector
        );
        _cutAnother();
        _lie("another facet", _single(honest, OUT), OUT, ISwapHandler.FacetChanged.selector);
    }

    // A DIAMOND THAT HAS BECOME HOSTILE

    function test_class_N_a_table_of_hostile_diamonds_and_where_each_is_caught() public {
        _makeHostile();
        console2.log("lie of the diamond | caught by");
        _hostile("returns less", HostileDiamond.Lie.RETURNS_LESS, ISwapHandler.BelowMinimum.selector);
        _hostile("keeps the input", HostileDiamond.Lie.KEEPS_THE_INPUT, ISwapHandler.BelowMinimum.selector);
        _hostile("pays another", HostileDiamond.Lie.PAYS_ANOTHER, ISwapHandler.BelowMinimum.selector);
        // Its own words, all zeros, and all of them.
        uint256 length = _hostile("bombs", HostileDiamond.Lie.BOMBS, bytes4(0)).length;
        assertEq(length, 100_000);
        _hostile(
            "takes twice", HostileDiamond.Lie.TAKES_TWICE, IERC20Errors.ERC20InsufficientAllowance.selector
        );
        hostile.reenter(address(handler), abi.encodeCall(handler.swapUniswap, (_way(usdc, weth), IN, 1)));
        _caught("re-enters the handler", _honest(OUT), OUT, ISwapHandler.NotPortfolio.selector);
        hostile.reenter(address(handler), abi.encodeCall(handler.collect, (weth)));
        _caught("re-enters to collect", _honest(OUT), OUT, ISwapHandler.NotPortfolio.selector);
        hostile.tell(HostileDiamond.Lie.KEEPS_THE_INPUT);
        // The loupe is a facet as well. What it says is worth something only while the diamond is honest.
        hostile.nameFacet(address(facet));
        vm.prank(governor);
        handler.pinFacet(SINGLE, address(facet).codehash);
        _caught("names the pinned facet, runs another", _honest(OUT), OUT, ISwapHandler.BelowMinimum.selector);
        hostile.tell(HostileDiamond.Lie.NONE);
        hostile.set(IERC20(usdc), IERC20(weth), IN, 0.9e18);
        _caught("pays what a mean minimum allows", _honest(1), 1, ISwapHandler.BelowOracleBound.selector);
    }

    function test_class_N_what_a_diamond_does_not_take_comes_back_and_is_not_allowed_later() public {
        _makeHostile();
        hostile.tell(HostileDiamond.Lie.TAKES_A_PART);
        _push(usdc, IN);
        uint256 received = handler.swapLiFi(usdc, weth, IN, 0.4e18, _honest(0.4e18));
        assertEq(_balance(weth, address(this)), received);
        assertEq(_balance(usdc, address(this)), IN - IN / 2, "the rest");
        _assertNothingLeft(usdc, weth);

        hostile.tell(HostileDiamond.Lie.GIVES_INPUT_BACK);
        _push(usdc, IN);
        uint256 held = _balance(usdc, address(this));
        handler.swapLiFi(usdc, weth, IN, OUT, _honest(OUT));
        assertEq(_balance(usdc, address(this)), held + IN, "a gift is passed on");
        _assertNothingLeft(usdc, weth);
    }

    function test_class_N_dust_of_the_handler_cannot_be_taken_or_passed_off_as_output() public {
        _makeHostile();
        deal(weth, address(handler), 5e18);
        deal(usdc, address(handler), 7e6);
        hostile.tell(HostileDiamond.Lie.KEEPS_THE_INPUT);
        _push(usdc, IN);
        bytes memory data = _honest(OUT);
        vm.expectRevert(abi.encodeWithSelector(ISwapHandler.BelowMinimum.selector, OUT, 0));
        handler.swapLiFi(usdc, weth, IN, OUT, data);
    }

    // HOSTILE TOKENS

    function test_class_N_a_token_that_calls_back_cannot_swap_or_collect() public {
        _listHostileToken();
        bytes memory data = _honest(2_970e6);
        bytes[2] memory calls = [
            abi.encodeCall(handler.swapLiFi, (address(token), usdc, 3_000e18, 2_970e6, data)),
            abi.encodeCall(handler.collect, (usdc))
        ];
        for (uint256 i; i < 2; ++i) {
            token.callOut(address(0), "");
            token.mint(address(handler), 3_000e18);
            token.callOut(address(handler), calls[i]);
            vm.expectRevert(abi.encodeWithSelector(ISwapHandler.NotPortfolio.selector, token));
            handler.swapLiFi(address(token), usdc, 3_000e18, 2_970e6, data);
        }
    }

    function test_class_N_a_token_that_takes_more_than_was_sold_is_named() public {
        _listHostileToken();
        token.mint(address(handler), 3_001e18);
        token.steal(address(handler), 1e18);
        bytes memory data = _honest(2_970e6);
        vm.expectRevert(
            abi.encodeWithSelector(ISwapHandler.InputOverspent.selector, token, 3_000e18, 3_001e18)
        );
        handler.swapLiFi(address(token), usdc, 3_000e18, 2_970e6, data);
    }

    function test_M_03_a_token_that_keeps_a_part_counts_by_what_arrives() public {
        _listHostileToken();
        hostile.set(IERC20(usdc), token, 3_000e6, 3_000e18);
        token.mint(address(hostile), 3_000e18);
        token.setFee(100);
        _push(usdc, 3_000e6);
        bytes memory data = _call(usdc, address(token), 3_000e6, 2_970e18);
        // Of 3,000 the diamond's transfer leaves 2,970 and the handler's 2,940.3.
        vm.expectRevert(abi.encodeWithSelector(ISwapHandler.BelowMinimum.selector, 2_970e18, 2_940.3e18));
        handler.swapLiFi(usdc, address(token), 3_000e6, 2_970e18, data);
    }

    function test_class_N_an_allowance_that_is_not_used_up_is_taken_back() public {
        _listHostileToken();
        token.stick();
        token.mint(address(handler), 3_000e18);
        handler.swapLiFi(address(token), usdc, 3_000e18, 2_970e6, _honest(2_970e6));
        assertEq(token.allowance(address(handler), address(hostile)), 0);
    }

    // OTHER VAULTS

    function test_H_08_no_other_vault_can_use_the_handler() public {
        OtherPortfolio other = new OtherPortfolio(address(registry), usdc);
        SwapHandler others = new SwapHandler(address(other), address(uniswap), address(diamond));
        assertEq(others.portfolio(), address(other));
        _push(usdc, IN);
        bytes memory refusal = abi.encodeWithSelector(ISwapHandler.NotPortfolio.selector, other);
        bytes[3] memory calls = [
            abi.encodeCall(handler.swapUniswap, (_way(usdc, weth), IN, OUT)),
            abi.encodeCall(
                handler.swapLiFi, (usdc, weth, IN, OUT, _single(_step(_way(usdc, weth), IN), OUT))
            ),
            abi.encodeCall(handler.collect, (usdc))
        ];
        for (uint256 i; i < 3; ++i) {
            (bool success, bytes memory reason) = other.act(address(handler), calls[i]);
            assertFalse(success);
            assertEq(reason, refusal);
        }
        // Through its own handler it reaches its own tokens alone.
        (bool swapped, bytes memory why) = other.act(address(others), calls[1]);
        assertFalse(swapped);
        assertEq(bytes4(why), ISwapHandler.SelectorNotAllowed.selector, "nothing is allowed there");
        // The diamond takes from its caller, and nobody else's tokens are allowed to it.
        (swapped,) = other.act(address(diamond), _to(_step(_way(usdc, weth), IN), address(other)));
        assertFalse(swapped);
        assertEq(_balance(usdc, address(handler)), IN);
    }

    // STEPS

    /// @dev Every lie starts from the same state.
    function _lie(string memory name, bytes memory data, uint256 minOut, bytes4 caught) private {
        _caught(name, data, minOut, caught);
    }

    function _hostile(string memory name, HostileDiamond.Lie lie, bytes4 caught)
        private
        returns (bytes memory reason)
    {
        hostile.tell(lie);
        return _caught(name, _honest(1e18), 1e18, caught);
    }

    function _caught(string memory name, bytes memory data, uint256 minOut, bytes4 caught)
        private
        returns (bytes memory reason)
    {
        uint256 state = vm.snapshotState();
        _push(usdc, IN);
        try handler.swapLiFi(usdc, weth, IN, minOut, data) {
            assertTrue(false, string.concat("not caught: ", name));
        } catch (bytes memory why) {
            reason = why;
        }
        assertGe(reason.length, 4, name);
        assertEq(bytes4(reason), caught, name);
        console2.log(string.concat(name, " | ", _named(caught)));
        assertEq(_balance(usdc, address(handler)), IN, "nothing has moved");
        vm.revertToState(state);
    }

    function _named(bytes4 caught) private pure returns (string memory) {
        bytes4[13] memory selectors = [
            ISwapHandler.WrongReceiver.selector,
            ISwapHandler.WrongMinimum.selector,
            ISwapHandler.NotCanonical.selector,
            ISwapHandler.NativeSwapRefused.selector,
            ISwapHandler.SelectorNotAllowed.selector,
            ISwapHandler.WrongToken.selector,
            ISwapHandler.WrongAmount.selector,
            ISwapHandler.WrongDeposit.selector,
            ISwapHandler.TargetNotAllowed.selector,
            ISwapHandler.SpenderNotAllowed.selector,
            ISwapHandler.FacetChanged.selector,
            ISwapHandler.BelowMinimum.selector,
            ISwapHandler.BelowOracleBound.selector
        ];
        string[13] memory names = [
            "calldata: WrongReceiver",
            "calldata: WrongMinimum",
            "calldata: NotCanonical",
            "calldata: NativeSwapRefused",
            "calldata: SelectorNotAllowed",
            "calldata: WrongToken",
            "calldata: WrongAmount",
            "calldata: WrongDeposit",
            "allow-list: TargetNotAllowed",
            "allow-list: SpenderNotAllowed",
            "code hash: FacetChanged",
            "measured: BelowMinimum",
            "oracle: BelowOracleBound"
        ];
        for (uint256 i; i < 13; ++i) {
            if (selectors[i] == caught) return names[i];
        }
        if (caught == ISwapHandler.NotPortfolio.selector) return "caller: NotPortfolio";
        if (caught == GenericSwapFacet.CumulativeSlippageTooLow.selector) return "the diamond's own minimum";
        if (caught == IERC20Errors.ERC20InsufficientAllowance.selector) return "exact approval";
        return "the diamond's own revert";
    }

    function _to(SwapData memory step, address to) private pure returns (bytes memory) {
        return abi.encodeCall(
            IGenericSwapFacetV3.swapTokensSingleV3ERC20ToERC20,
            ("id", "omnikeeper", "", payable(to), OUT, step)
        );
    }

    function _cutAnother() private {
        bytes4[] memory selectors = new bytes4[](1);
        selectors[0] = SINGLE;
        _cut(address(new HostileDiamond()), DiamondCutFacet.FacetCutAction.Replace, selectors);
    }

    /// @dev A handler whose diamond is hostile, and pays 1 WETH for 3,000 USDC.
    function _makeHostile() private {
        hostile = new HostileDiamond();
        handler = new SwapHandler(address(this), address(uniswap), address(hostile));
        _allow(address(hostile));
        deal(weth, address(hostile), 100e18);
        hostile.set(IERC20(usdc), IERC20(weth), IN, 1e18);
    }

    /// @dev A token as dear as DAI, sold to the hostile diamond.
    function _listHostileToken() private {
        token = new HostileToken();
        OracleRouter.Route[] memory routes = new OracleRouter.Route[](1);
        (routes[0].base, routes[0].quote) = (address(token), usdc);
        routes[0].hops = new OracleRouter.Hop[](2);
        IPriceSource dollar = _source(usdc, "USDC/USD", 25);
        routes[0].hops[0].source = _source(address(token), "DAI/USD", 25);
        (routes[0].hops[1].source, routes[0].hops[1].inverse) = (dollar, true);
        _makeHostile();
        vm.startPrank(governor);
        registry.setOracle(address(this), address(new OracleRouter(routes)));
        handler.listToken(address(token), 75);
        vm.stopPrank();
        deal(usdc, address(hostile), 1_000_000e6);
        hostile.set(token, IERC20(usdc), 3_000e18, 2_990e6);
    }

    /// @dev What an honest service would have given for what the hostile diamond swaps.
    function _honest(uint256 minOut) private view returns (bytes memory) {
        if (address(token) == address(0)) return _call(usdc, weth, IN, minOut);
        return _call(address(token), usdc, 3_000e18, minOut);
    }

    function _call(address tokenIn, address tokenOut, uint256 amountIn, uint256 minOut)
        private
        view
        returns (bytes memory)
    {
        return _single(_step(_path(tokenIn, 500, tokenOut), amountIn), minOut);
    }
}
