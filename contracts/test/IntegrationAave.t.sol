// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {AaveV3Connector} from "../src/connectors/AaveV3Connector.sol";
import {IAaveV3Pool} from "../src/connectors/IAaveV3.sol";
import {LendingConnector} from "../src/connectors/LendingConnector.sol";
import {IConnector} from "../src/interfaces/IConnector.sol";
import {IPriceSource} from "../src/interfaces/IOracleRouter.sol";
import {IPortfolio} from "../src/interfaces/IPortfolio.sol";
import {Batch, Value} from "../src/interfaces/Types.sol";
import {DoubtedEther} from "./fixtures/DoubtedEther.sol";
import {IntegrationAaveKeys} from "./fixtures/IntegrationAaveKeys.sol";
import {IntegrationFixture} from "./fixtures/IntegrationFixture.sol";

/// @title An account at Aave that may supply Ether and borrow dollars
abstract contract IntegrationAaveEther is IntegrationFixture {
    uint256 internal constant OWN = 90_000e6;
    uint256 internal constant BORROWED = 45_000e6;

    AaveV3Connector internal lender;
    bytes32 internal etherKey;
    bytes32 internal dollarKey;

    function _connect() internal override {
        (etherKey, dollarKey) = (_keyOf(weth), _keyOf(usdc));
        AaveV3Connector.Terms memory terms;
        (terms.keys, terms.borrowable, terms.minHealth) = (new bytes32[](1), new bytes32[](1), 1.05e18);
        (terms.keys[0], terms.borrowable[0]) = (etherKey, dollarKey);
        lender = new AaveV3Connector(address(portfolio), IAaveV3Pool(_address(".aave.pool")), terms);
        _list(address(lender), etherKey);
        _allowPlain(address(lender));
        _may(address(lender), lender.borrow.selector);
        _may(address(lender), lender.repay.selector);
    }

    function _thenLever() internal {
        _thenBuy(OWN, 29.8e18);
        _then(address(lender), weth, 29.8e18, abi.encodeCall(IConnector.supply, (etherKey, 29.8e18)));
        _then(address(lender), abi.encodeCall(lender.borrow, (dollarKey, BORROWED)));
        _thenBuy(BORROWED, 14.8e18);
        _then(address(lender), weth, 14.8e18, abi.encodeCall(IConnector.supply, (etherKey, 14.8e18)));
        _thenKeep(weth);
    }
}

/// @title Leverage at Aave inside the batches of a real vault
contract IntegrationAaveTest is IntegrationAaveEther {
    function test_class_N_leverage_in_one_batch_costs_the_range_and_the_fees() public {
        _thenLever();
        _run(2_000e6);
        uint256 bought = _balance(lender.aTokenOf(etherKey), address(lender)) + tokens.amountOf(_keyOf(weth));
        // 45 Ether at 3,000, less 5 bps and the impact of buying them.
        assertApproxEqRel(bought, 45e18, 0.0025e18);
        assertLt(bought, 45e18);
        (uint256 low, uint256 high) = _nav();
        (uint256 worthLow, uint256 worthHigh) = _worth(weth, bought);
        uint256 idle = DEPOSIT - OWN;
        assertEq(portfolio.idle(), idle, "what was borrowed was spent");
        assertApproxEqAbs(low, idle + worthLow - BORROWED, 4);
        assertApproxEqAbs(high, idle + worthHigh - BORROWED, 4);
        (uint256 debt, uint256 health) = portfolio.positionDebt(address(lender), etherKey);
        assertApproxEqAbs(debt, BORROWED, 1);
        assertGt(health, 2e18);
        _assertNothingLoose();
    }

    function test_class_S_M_52_leverage_is_taken_back_in_one_batch_while_risk_is_paused() public {
        _thenLever();
        _run(2_000e6);
        skip(2 days);
        _refresh();
        registry.pauseRisk(address(vault));
        _thenLever();
        Batch memory b = _queued(2_000e6);
        vm.expectPartialRevert(IPortfolio.RiskIsPaused.selector);
        portfolio.execute(b);

        // Interest has grown the debt: what is pushed too much comes back.
        _then(address(lender), abi.encodeCall(IConnector.withdraw, (etherKey, 16e18)));
        _thenSell(47_000e6);
        _then(address(lender), usdc, BORROWED + 100e6, abi.encodeCall(lender.repay, (dollarKey, EVERYTHING)));
        _then(address(lender), abi.encodeCall(IConnector.withdraw, (etherKey, EVERYTHING)));
        _thenSell(80_000e6);
        _run(1_000e6);

        (uint256 debt,) = portfolio.positionDebt(address(lender), etherKey);
        assertEq(debt, 0);
        assertEq(_balance(lender.aTokenOf(etherKey), address(lender)), 0);
        (uint256 low, uint256 high) = _nav();
        assertApproxEqRel(low, DEPOSIT, 0.002e18, "there and back for the fees");
        (uint256 keptLow, uint256 keptHigh) = _worth(weth, tokens.amountOf(_keyOf(weth)));
        assertEq(high - low, keptHigh - keptLow);
        _assertNothingLoose();
    }

    function test_class_S_H_16_a_loop_below_the_floor_is_refused_whole() public {
        _thenBuy(OWN, 29.5e18);
        _then(address(lender), weth, 29.5e18, abi.encodeCall(IConnector.supply, (etherKey, 29.5e18)));
        _thenKeep(weth);
        // Aave itself would lend 80.5 % against a threshold of 83 %.
        _then(address(lender), abi.encodeCall(lender.borrow, (dollarKey, 70_800e6)));
        Batch memory b = _queued(2_000e6);
        vm.expectPartialRevert(LendingConnector.HealthBelowFloor.selector);
        portfolio.execute(b);
        assertEq(portfolio.idle(), DEPOSIT);
        _assertNothingLoose();
    }

    /// @dev A debt is no way around the loss budget: what is borrowed counts, and so does what it lost.
    function test_class_N_a_leveraged_loss_is_a_loss() public {
        _thenLever();
        Batch memory b = _queued(1_000e6);
        vm.expectPartialRevert(IPortfolio.LossAboveLimit.selector);
        portfolio.execute(b);
    }
}

contract IntegrationAaveDoubtTest is IntegrationAaveEther, DoubtedEther {
    function _lever() internal override {
        _thenLever();
        _run(2_000e6);
    }

    function _indebted() internal view override returns (LendingConnector, bytes32) {
        return (lender, etherKey);
    }

    function _borrowing(uint256 assets) internal view override returns (bytes memory) {
        return abi.encodeCall(lender.borrow, (dollarKey, assets));
    }

    function _repaying(uint256 assets) internal view override returns (bytes memory) {
        return abi.encodeCall(lender.repay, (dollarKey, assets));
    }

    function _secondOpinion() internal override(IntegrationFixture, DoubtedEther) returns (IPriceSource) {
        return super._secondOpinion();
    }

    function _refresh() internal override(IntegrationFixture, DoubtedEther) {
        super._refresh();
    }
}

contract IntegrationAaveKeysTest is IntegrationAaveKeys {
    /// @dev It would bear the debt that the other key bears now: as much could be moved past every cap.
    function test_class_N_H_23_what_may_bear_a_debt_is_counted() public {
        _shortEther();
        bytes memory owes =
            abi.encodeWithSelector(IPortfolio.AccountOwes.selector, address(lender), dollarKey);
        vm.expectRevert(owes);
        registry.unlistPosition(address(vault), address(lender), etherKey);
        _then(address(tokens), abi.encodeCall(IConnector.withdraw, (_keyOf(weth), EVERYTHING)));
        _then(address(lender), weth, EVERYTHING, abi.encodeCall(lender.repay, (etherKey, EVERYTHING)));
        _run(1e6);
        registry.unlistPosition(address(vault), address(lender), etherKey);

        _then(address(lender), abi.encodeCall(lender.borrow, (etherKey, 1e18)));
        _thenKeep(weth);
        Batch memory refused = _queued(2_000e6);
        vm.expectRevert(abi.encodeWithSelector(AaveV3Connector.KeyNotListed.selector, etherKey));
        portfolio.execute(refused);
    }

    function test_class_S_a_strangers_dust_does_not_stop_a_defence() public {
        _shortEther();
        registry.pauseRisk(address(vault));
        registry.setExitOnly(address(vault), address(lender));
        _supplyAsStranger(weth, 1e6);
        _thenSupplyDollars(2_000e6);
        _run(10e6);
        assertGt(_health(), 1.16e18);
    }

    // TWO READINGS

    function test_class_V_two_readings_count_a_debt_once() public {
        _leverEther();
        (uint256 low,) = _nav();
        portfolio.announce();
        skip(30 minutes);
        _push("ETH/USD", 0);
        (Value memory value, bool healthy,) = portfolio.twoReadings();
        assertTrue(healthy);
        assertApproxEqAbs(value.low, low, 100e6, "of the first of them alone");
    }

    /// @dev The other way around: what could not be read is sound when it counts.
    function test_class_V_the_second_of_two_readings_counts_a_debt_once() public {
        _leverEther();
        (uint256 low,) = _nav();
        _push("ETH/USD", 0);
        portfolio.announce();
        skip(30 minutes);
        _push("ETH/USD", 3000e8);
        (Value memory value, bool healthy,) = portfolio.twoReadings();
        assertTrue(healthy);
        assertApproxEqAbs(value.low, low, 100e6);
    }

    /// @dev The dollars bear the debt while nobody can read the Ether: who leaves with a part of the pocket would have
    /// paid it twice.
    function test_class_N_a_key_of_an_account_that_owes_is_not_split_off() public {
        _leverEther();
        _push("ETH/USD", 0);
        portfolio.announce();
        skip(30 minutes);
        vm.expectRevert(abi.encodeWithSelector(IPortfolio.AccountOwes.selector, address(lender), etherKey));
        portfolio.splitOff(address(lender), etherKey);
    }

    /// @dev The other key has nothing, and its price is no matter.
    function test_M_52_a_debt_against_a_key_in_doubt_is_repaid_beside_an_empty_one() public {
        _thenBuy(90_000e6, 29.5e18);
        _then(address(lender), weth, 29.5e18, abi.encodeCall(IConnector.supply, (etherKey, 29.5e18)));
        _thenKeep(weth);
        _then(address(lender), abi.encodeCall(lender.borrow, (dollarKey, 45_000e6)));
        _run(2_000e6);
        skip(1 days + 1);
        _push("USDC/USD", 1e8);
        (Value memory value, bool healthy) = portfolio.positionValue(address(lender), etherKey);
        assertFalse(healthy);
        assertGt(value.low, 0);
        _then(address(lender), usdc, 10_000e6, abi.encodeCall(lender.repay, (dollarKey, 10_000e6)));
        _run(1e6);
        (uint256 debt,) = portfolio.positionDebt(address(lender), etherKey);
        assertApproxEqAbs(debt, 35_000e6, 100e6);
    }
}

/// @dev What a feed of many layers takes: much in a transaction that has met none of them, and little in another.
contract LayeredFeed {
    uint256 private constant LAYERS = 40;

    int256 public immutable answer;
    int256[LAYERS] private layers;

    constructor(int256 answer_) {
        answer = answer_;
    }

    function latestAnswer() external view returns (int256 sum) {
        sum = answer;
        for (uint256 i; i < LAYERS; ++i) {
            sum += layers[i];
        }
    }
}

interface IAaveOracle {
    function setAssetSources(address[] calldata assets, address[] calldata sources) external;
    function getAssetPrice(address asset) external view returns (uint256);
}

/// @dev Strangers have supplied every other reserve for the account, one of them with a dear feed.
abstract contract IntegrationAaveGifts is IntegrationAaveKeys {
    string[4] internal given = ["USDT", "DAI", "wstETH", "WBTC"];

    function setUp() public virtual override {
        super.setUp();
        _shortEther();
        for (uint256 i; i < given.length; ++i) {
            _supplyAsStranger(_token(given[i]), 1000);
        }
        IAaveOracle prices = IAaveOracle(_address(".aave.oracle"));
        (address[] memory priced, address[] memory feeds) = (new address[](1), new address[](1));
        priced[0] = _token("WBTC");
        // forge-lint: disable-next-line(unsafe-typecast) dollars of eight decimals
        feeds[0] = address(new LayeredFeed(int256(prices.getAssetPrice(priced[0]))));
        vm.prank(_address(".accounts.deployer.address"));
        prices.setAssetSources(priced, feeds);
    }
}

/// @dev A report cannot read its health the first time, and can the second.
contract IntegrationAaveGiftsTest is IntegrationAaveGifts {
    function test_class_S_M_51_gifts_take_the_health_and_not_the_value() public view {
        (Value memory value, bool healthy) = portfolio.positionValue(address(lender), dollarKey);
        assertTrue(healthy);
        assertGt(value.low, 25_000e6);
        (uint256 debt, uint256 health) = portfolio.positionDebt(address(lender), dollarKey);
        assertGt(debt, 60_000e6);
        assertEq(health, 0);
    }

    function test_class_S_a_health_that_is_read_in_the_end_relieves_nobody() public {
        uint256 all = vault.balanceOf(alice);
        vm.prank(alice);
        vault.requestRedeem(all, alice, alice);
        settle();
        skip(2 days + 1);
        _push("ETH/USD", 3400e8);
        _push("USDC/USD", 1e8);
        assertGt(vault.overdueExits(), 0);
        _then(address(lender), abi.encodeCall(lender.setEMode, (0)));
        Batch memory b = _queued(10e6);
        vm.expectPartialRevert(IPortfolio.ExitsOverdue.selector);
        portfolio.execute(b);
    }
}

/// @dev Anyone has dropped them again.
contract IntegrationAaveDroppedGiftsTest is IntegrationAaveGifts {
    function setUp() public override {
        super.setUp();
        for (uint256 i; i < given.length; ++i) {
            lender.dropGift(_keyOf(_token(given[i])));
        }
        registry.pauseRisk(address(vault));
    }

    function test_class_S_M_51_what_gifts_stopped_is_defended_once_they_are_dropped() public {
        _thenSupplyDollars(2_000e6);
        _run(10e6);
        assertGt(_health(), 1.16e18);
    }
}
