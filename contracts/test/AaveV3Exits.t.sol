// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {AaveV3Connector} from "../src/connectors/AaveV3Connector.sol";
import {IAaveV3Pool} from "../src/connectors/IAaveV3.sol";
import {LendingConnector} from "../src/connectors/LendingConnector.sol";
import {IOracleRouter} from "../src/interfaces/IOracleRouter.sol";
import {Status} from "../src/interfaces/Types.sol";
import {ConnectorFixture} from "./fixtures/ConnectorFixture.sol";
import {Token} from "./fixtures/Tokens.sol";

/// @dev A reserve to be listed, as the pool's configurator takes it.
struct Listing {
    address aTokenImpl;
    address debtTokenImpl;
    address asset;
    string aTokenName;
    string aTokenSymbol;
    string debtTokenName;
    string debtTokenSymbol;
    bytes params;
    bytes rates;
}

interface IAaveV3Listing {
    function initReserves(Listing[] calldata) external;
    function setReserveBorrowing(address asset, bool enabled) external;
    function setAssetSources(address[] calldata assets, address[] calldata sources) external;
}

/// @title Supplies at Aave in reserves of 6, 8, 18 and 27 decimals while others lend, borrow and repay
/// @notice Aave lists a token of six decimals or more. None of 27 is on the local chain, so one is listed here.
contract AaveV3ExitsTest is ConnectorFixture {
    /// @dev Where a proxy keeps its implementation (EIP-1967).
    bytes32 private constant IMPLEMENTATION = bytes32(uint256(keccak256("eip1967.proxy.implementation")) - 1);
    uint256 private constant KINDS = 5;

    IAaveV3Pool private pool;
    AaveV3Connector private lender;
    address private crowd = makeAddr("crowd");
    address private weth;
    address[KINDS] private tokens;
    uint8[KINDS] private decimals = [6, 6, 8, 18, 27];

    function setUp() public override {
        super.setUp();
        pool = IAaveV3Pool(_address(".aave.pool"));
        weth = _token("WETH");
        tokens = [asset, _token("USDT"), _token("WBTC"), _token("DAI"), address(new Token("TINY", 27))];
        _listTiny();
        Priced[] memory priced = new Priced[](4);
        (priced[0], priced[1]) = (_priced("USDT", "USDT/USD"), _priced("WBTC", "BTC/USD"));
        (priced[2], priced[3]) = (_priced("DAI", "DAI/USD"), Priced(tokens[4], _feed("DAI/USD", "proxy")));
        _price(priced);
        AaveV3Connector.Terms memory terms;
        (terms.keys, terms.minHealth) = (new bytes32[](KINDS), 1.05e18);
        for (uint256 i = 0; i < KINDS; i++) {
            terms.keys[i] = _keyOf(tokens[i]);
        }
        lender = new AaveV3Connector(address(this), pool, terms);
        connector = lender;

        deal(weth, crowd, 100_000_000e18);
        _give(crowd, tokens[4], 1_000_000e27);
        vm.startPrank(crowd);
        for (uint256 i = 0; i < KINDS; i++) {
            SafeERC20.forceApprove(IERC20(tokens[i]), address(pool), EVERYTHING);
        }
        SafeERC20.forceApprove(IERC20(weth), address(pool), EVERYTHING);
        pool.supply(weth, 100_000_000e18, crowd, 0);
        pool.supply(tokens[4], 1_000_000e27, crowd, 0);
        vm.stopPrank();
    }

    /// @dev With the token contracts and the rates of DAI.
    function _listTiny() private {
        Listing[] memory listings = new Listing[](1);
        Listing memory tiny = listings[0];
        tiny.aTokenImpl = _implementation(".aave.reserves.DAI.a_token");
        tiny.debtTokenImpl = _implementation(".aave.reserves.DAI.variable_debt_token");
        (tiny.asset, tiny.aTokenName, tiny.aTokenSymbol) = (tokens[4], "Aave TINY", "aTINY");
        (tiny.debtTokenName, tiny.debtTokenSymbol) = ("Aave debt TINY", "debtTINY");
        tiny.rates = abi.encode(uint16(9000), uint32(0), uint32(550), uint32(7500));
        address[] memory assets = new address[](1);
        address[] memory sources = new address[](1);
        (assets[0], sources[0]) = (tokens[4], _feed("DAI/USD", "proxy"));
        vm.startPrank(_address(".accounts.deployer.address"));
        IAaveV3Listing(_address(".aave.oracle")).setAssetSources(assets, sources);
        IAaveV3Listing(_address(".aave.configurator")).initReserves(listings);
        IAaveV3Listing(_address(".aave.configurator")).setReserveBorrowing(tokens[4], true);
        vm.stopPrank();
        assertEq(uint8(pool.getReserveData(tokens[4]).configuration >> 48), 27);
    }

    function _implementation(string memory proxy) private view returns (address) {
        return address(uint160(uint256(vm.load(_address(proxy), IMPLEMENTATION))));
    }

    // EXITS

    function testFuzz_class_V_U_E_M_59_the_report_is_what_a_full_exit_yields_in_any_decimals(
        uint256 kind,
        uint256 amount,
        uint256 borrowed,
        uint256 time
    ) public {
        kind %= KINDS;
        _enter(kind, amount);
        _lendOut(kind, borrowed);
        _later(bound(time, 0, 300 days));
        _leave(kind);
        _payBack(kind);
        _leave(kind);
        assertEq(_supplied(kind), 0);
    }

    /// @dev Each pays for itself, whatever the others cannot.
    function testFuzz_class_V_E_several_reserves_at_once_are_reported_and_left_each_by_itself(
        uint256[5] memory amounts,
        uint256[5] memory borrowed,
        uint256 time
    ) public {
        for (uint256 i = 0; i < KINDS; i++) {
            _enter(i, amounts[i]);
        }
        for (uint256 i = 0; i < KINDS; i++) {
            _lendOut(i, borrowed[i]);
            _later(bound(time, 0, 60 days));
        }
        for (uint256 i = 0; i < KINDS; i++) {
            uint256[2] memory rest = _rest(i);
            _leave(i);
            uint256[2] memory restNow = _rest(i);
            assertEq(restNow[0], rest[0], "of the others");
            assertEq(restNow[1], rest[1]);
        }
        for (uint256 i = 0; i < KINDS; i++) {
            _payBack(i);
            _leave(i);
            assertEq(_supplied(i), 0);
        }
        assertEq(_rest(KINDS)[1], 0);
    }

    // STEPS

    /// @dev From two smallest units, of which one is left, to a hundred thousand tokens.
    function _enter(uint256 kind, uint256 amount) private {
        amount = bound(amount, 2, 100_000 * 10 ** uint256(decimals[kind]));
        _give(address(connector), tokens[kind], amount);
        connector.supply(_keyOf(tokens[kind]), amount);
        assertApproxEqAbs(_supplied(kind), amount, 2);
        assertLe(_supplied(kind), amount, "supplying is no gain");
    }

    /// @dev In turn others borrow all that is at hand, all but a part of the supply, or some of it or nothing.
    function _lendOut(uint256 kind, uint256 seed) private {
        uint256 atHand = pool.getVirtualUnderlyingBalance(tokens[kind]);
        uint256 amount = atHand;
        if (seed % 4 == 1) amount -= bound(seed >> 2, 1, Math.min(atHand, _supplied(kind)));
        if (seed % 4 > 1) amount = bound(seed >> 2, 0, atHand);
        if (amount == 0) return;
        vm.prank(crowd);
        pool.borrow(tokens[kind], amount, 2, 0, crowd);
    }

    function _payBack(uint256 kind) private {
        address debtToken = pool.getReserveVariableDebtToken(tokens[kind]);
        uint256 owed = _balance(debtToken, crowd);
        if (owed == 0) return;
        _give(crowd, tokens[kind], owed);
        vm.prank(crowd);
        pool.repay(tokens[kind], EVERYTHING, 2, crowd);
        assertEq(_balance(debtToken, crowd), 0);
    }

    function _leave(uint256 kind) private {
        bytes32 which = _keyOf(tokens[kind]);
        uint256 supplied = _supplied(kind);
        if (supplied == 0) return;
        _assertReported(kind, supplied);
        uint256 atHand = pool.getVirtualUnderlyingBalance(tokens[kind]);
        if (atHand == 0) {
            vm.expectRevert(abi.encodeWithSelector(LendingConnector.Illiquid.selector, which));
            connector.withdraw(which, EVERYTHING);
        } else {
            uint256 balance = _balance(tokens[kind], address(this));
            uint256 taken = connector.withdraw(which, EVERYTHING);
            assertEq(taken, Math.min(supplied, atHand), "to the unit");
            assertEq(_balance(tokens[kind], address(this)), balance + taken);
        }
        // What is taken in part is rounded up to a unit of the pool's own, which interest has made worth several.
        uint256 left = supplied - Math.min(supplied, atHand);
        uint256 unit = pool.getReserveNormalizedIncome(tokens[kind]) / 1e27 + 1;
        assertApproxEqAbs(_supplied(kind), left, left == 0 ? 0 : unit);
        _assertReported(kind, _supplied(kind));
    }

    function _assertReported(uint256 kind, uint256 amount) private view {
        (uint256 low, uint256 high, uint256 state) = connector.report(_keyOf(tokens[kind]));
        (uint256 worthLow, uint256 worthHigh) = (amount, amount);
        if (tokens[kind] != asset) {
            (worthLow, worthHigh,) = IOracleRouter(router).value(tokens[kind], asset, amount);
        }
        assertEq(low, worthLow);
        assertEq(high, worthHigh);
        assertEq(state, uint256(Status.OK));
    }

    /// @dev What all keys but one are reported at.
    function _rest(uint256 but) private view returns (uint256[2] memory sum) {
        for (uint256 i = 0; i < KINDS; i++) {
            if (i == but) continue;
            (uint256 low, uint256 high,) = connector.report(_keyOf(tokens[i]));
            (sum[0], sum[1]) = (sum[0] + low, sum[1] + high);
        }
    }

    function _supplied(uint256 kind) private view returns (uint256) {
        return _balance(lender.aTokenOf(_keyOf(tokens[kind])), address(connector));
    }

    function _later(uint256 time) private {
        vm.warp(block.timestamp + time);
        _push("USDC/USD", 1e8);
        _push("USDT/USD", 1e8);
        _push("BTC/USD", 90_000e8);
        _push("DAI/USD", 0.9998e8);
    }

    function _give(address to, address token, uint256 amount) private {
        deal(token, to, _balance(token, to) + amount);
    }
}
