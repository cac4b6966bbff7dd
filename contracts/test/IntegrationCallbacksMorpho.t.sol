// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {Id, IMorpho, Market, MarketParams} from "@morpho-org/morpho-blue/src/interfaces/IMorpho.sol";
import {MarketParamsLib} from "@morpho-org/morpho-blue/src/libraries/MarketParamsLib.sol";
import {MorphoLib} from "@morpho-org/morpho-blue/src/libraries/periphery/MorphoLib.sol";
import {Connector} from "../src/connectors/Connector.sol";
import {IMorphoBlue} from "../src/connectors/IMorphoBlue.sol";
import {MorphoBlueConnector} from "../src/connectors/MorphoBlueConnector.sol";
import {IConnector} from "../src/interfaces/IConnector.sol";
import {CallbackFixture} from "./fixtures/CallbackFixture.sol";
import {CallingToken} from "./fixtures/CallingToken.sol";
import {Doors} from "./fixtures/Doors.sol";

contract SteadyOracle {
    uint256 public immutable price;

    constructor(uint256 price_) {
        price = price_;
    }
}

/// @dev A rate model that calls out whenever Morpho asks it for a rate in order to book interest.
contract CallingRates is Doors {
    uint256 private constant RATE = 1e9;

    function borrowRate(MarketParams memory, Market memory) external returns (uint256) {
        _try();
        return RATE;
    }

    function borrowRateView(MarketParams memory, Market memory) external pure returns (uint256) {
        return RATE;
    }
}

/// @title Markets of Morpho Blue with outside code in them, in a real vault
/// @notice The calling token is lent in one market and pledged in the other. Every step is a batch of its own.
abstract contract CallbacksMorphoFixture is CallbackFixture {
    using MarketParamsLib for MarketParams;
    using MorphoLib for IMorpho;

    IMorpho internal morpho;
    MorphoBlueConnector internal lender;
    address internal pool;
    MarketParams internal lending;
    MarketParams internal pledging;
    bytes32 internal lendingKey;
    bytes32 internal pledgingKey;

    function _rates() internal virtual returns (address);

    function _connect() internal override {
        morpho = IMorpho(_address(".morpho.address"));
        pool = _openRewardPool();
        handler.allowPool(pool);
        address irm = _rates();
        // Two dollars for a token of 18 decimals, one for the asset with 6.
        lending = MarketParams(reward, usdc, address(new SteadyOracle(0.5e48)), irm, 0.86e18);
        pledging = MarketParams(usdc, reward, address(new SteadyOracle(2e24)), irm, 0.86e18);
        (lendingKey, pledgingKey) = (_openMarket(lending, 100_000e18), _openMarket(pledging, 100_000e6));
        MorphoBlueConnector.Terms memory terms;
        (terms.borrowable, terms.minHealth) = (new bytes32[](2), 1.05e18);
        (terms.borrowable[0], terms.borrowable[1]) = (lendingKey, pledgingKey);
        lender = new MorphoBlueConnector(address(portfolio), IMorphoBlue(address(morpho)), terms);
        _list(address(lender), lendingKey);
        _list(address(lender), pledgingKey);
        _allowPlain(address(lender));
        bytes4[6] memory selectors = [
            lender.supplyCollateral.selector,
            lender.withdrawCollateral.selector,
            lender.borrow.selector,
            lender.repay.selector,
            lender.repayShares.selector,
            Connector.collect.selector
        ];
        for (uint256 i; i < 6; ++i) {
            _may(address(lender), selectors[i]);
        }
    }

    function _openMarket(MarketParams memory market, uint256 assets) private returns (bytes32) {
        morpho.createMarket(market);
        address others = makeAddr("others");
        deal(market.loanToken, others, assets);
        vm.startPrank(others);
        IERC20(market.loanToken).approve(address(morpho), assets);
        morpho.supply(market, assets, 0, others, "");
        vm.stopPrank();
        return Id.unwrap(market.id());
    }

    /// @dev Its own doors, and Morpho's on its behalf: it has authorised nobody.
    function _tryLender() internal {
        bytes4 refusal = Connector.NotPortfolio.selector;
        address target = address(lender);
        caller.willTry(target, abi.encodeCall(IConnector.supply, (lendingKey, 1)), refusal);
        caller.willTry(target, abi.encodeCall(IConnector.withdraw, (lendingKey, EVERYTHING)), refusal);
        caller.willTry(target, abi.encodeCall(lender.supplyCollateral, (pledgingKey, 1)), refusal);
        caller.willTry(target, abi.encodeCall(lender.withdrawCollateral, (pledgingKey, 1)), refusal);
        caller.willTry(target, abi.encodeCall(lender.borrow, (lendingKey, 1)), refusal);
        caller.willTry(target, abi.encodeCall(lender.repay, (lendingKey, EVERYTHING)), refusal);
        caller.willTry(target, abi.encodeCall(lender.repayShares, (lendingKey, 1, 1)), refusal);
        caller.willTry(target, abi.encodeCall(Connector.collect, (reward)), refusal);
        (refusal, target) = (bytes4(keccak256("Error(string)")), address(morpho));
        address thief = address(caller);
        caller.willTry(
            target, abi.encodeCall(morpho.withdraw, (lending, 1, 0, address(lender), thief)), refusal
        );
        caller.willTry(
            target, abi.encodeCall(morpho.borrow, (lending, 1, 0, address(lender), thief)), refusal
        );
        caller.willTry(
            target, abi.encodeCall(morpho.withdrawCollateral, (pledging, 1, address(lender), thief)), refusal
        );
    }

    // STEPS

    function _lend() internal {
        _thenBuyCalling();
        _then(address(lender), reward, 900e18, abi.encodeCall(IConnector.supply, (lendingKey, 900e18)));
        _thenSellCalling();
        _execute();
    }

    function _unlend() internal {
        _then(address(lender), abi.encodeCall(IConnector.withdraw, (lendingKey, EVERYTHING)));
        _thenSellCalling();
        _execute();
    }

    function _pledge() internal {
        _thenBuyCalling();
        bytes memory data = abi.encodeCall(lender.supplyCollateral, (pledgingKey, 900e18));
        _then(address(lender), reward, 900e18, data);
        _thenSellCalling();
        _execute();
    }

    function _unpledge() internal {
        _then(address(lender), abi.encodeCall(lender.withdrawCollateral, (pledgingKey, EVERYTHING)));
        _thenSellCalling();
        _execute();
    }

    function _borrow() internal {
        bytes memory data = abi.encodeCall(lender.supplyCollateral, (lendingKey, 10_000e6));
        _then(address(lender), usdc, 10_000e6, data);
        _then(address(lender), abi.encodeCall(lender.borrow, (lendingKey, 1_000e18)));
        _thenKeep(reward);
        _execute();
    }

    function _repay() internal {
        _then(address(tokens), abi.encodeCall(IConnector.withdraw, (_keyOf(reward), 400e18)));
        _then(address(lender), reward, 400e18, abi.encodeCall(lender.repay, (lendingKey, 400e18)));
        _execute();
    }

    /// @dev What is too much for half of the debt comes back.
    function _repayShares() internal {
        uint256 shares = morpho.borrowShares(Id.wrap(lendingKey), address(lender)) / 2;
        _then(address(tokens), abi.encodeCall(IConnector.withdraw, (_keyOf(reward), 400e18)));
        bytes memory data = abi.encodeCall(lender.repayShares, (lendingKey, shares, 400e18));
        _then(address(lender), reward, 400e18, data);
        _thenKeep(reward);
        _execute();
    }

    /// @dev With what lies there of somebody's too; the rest comes back.
    function _repayAll() internal {
        deal(reward, address(lender), 10e18);
        _then(address(tokens), abi.encodeCall(IConnector.withdraw, (_keyOf(reward), EVERYTHING)));
        _then(address(lender), reward, EVERYTHING, abi.encodeCall(lender.repay, (lendingKey, EVERYTHING)));
        _thenKeep(reward);
        _execute();
        assertEq(morpho.borrowShares(Id.wrap(lendingKey), address(lender)), 0);
    }

    function _free() internal {
        _then(address(lender), abi.encodeCall(lender.withdrawCollateral, (lendingKey, EVERYTHING)));
        _execute();
    }
}

/// @title The token of a market calls back
contract IntegrationCallbacksMorphoTokenTest is CallbacksMorphoFixture {
    CallingToken private calling;

    function _rewardToken() internal override returns (address) {
        calling = new CallingToken();
        return address(calling);
    }

    function _rates() internal view override returns (address) {
        return _address(".morpho.irm");
    }

    function setUp() public override {
        super.setUp();
        _empower(calling, address(lender), lendingKey);
        _tryLender();
    }

    function test_class_I_class_N_no_door_opens_while_the_token_is_lent_and_taken_back() public {
        _lend();
        _assertCalled(address(lender), address(morpho));
        _unlend();
        _assertCalled(address(morpho), address(portfolio));
    }

    function test_class_I_class_N_no_door_opens_while_the_token_is_pledged_and_taken_back() public {
        _pledge();
        _assertCalled(address(lender), address(morpho));
        _unpledge();
        _assertCalled(address(morpho), address(portfolio));
    }

    function test_class_I_class_N_no_door_opens_while_the_token_is_borrowed_and_repaid() public {
        _borrow();
        _assertCalled(address(morpho), address(portfolio));
        _repay();
        uint256 repayments = calling.seen(address(lender), address(morpho));
        assertEq(repayments, 1);
        _repayShares();
        assertEq(calling.seen(address(lender), address(morpho)), 2);
        assertEq(calling.seen(address(lender), address(portfolio)), 1, "what was too much");
        _repayAll();
        assertEq(calling.seen(address(lender), address(morpho)), 3);
        _free();
    }

    function test_class_I_no_door_opens_while_what_lies_loose_is_collected() public {
        calling.mint(address(lender), 10e18);
        _then(address(lender), abi.encodeCall(Connector.collect, (reward)));
        _thenKeep(reward);
        _execute();
        _assertCalled(address(lender), address(portfolio));
    }

    function _assertCalled(address from, address to) private view {
        assertGt(calling.seen(from, to), 0, "no transfer there");
    }
}

/// @title The rate model of a market calls back, while Morpho books interest
contract IntegrationCallbacksMorphoRatesTest is CallbacksMorphoFixture {
    CallingRates private rates;
    uint256 private turns;

    function _rates() internal override returns (address) {
        rates = new CallingRates();
        vm.prank(morpho.owner());
        morpho.enableIrm(address(rates));
        return address(rates);
    }

    function setUp() public override {
        super.setUp();
        _empower(rates, address(lender), lendingKey);
        _tryLender();
    }

    function test_class_I_class_N_no_door_opens_while_interest_is_booked() public {
        _later();
        _lend();
        _assertCalled();
        _unlend();
        _assertCalled();
        _borrow();
        _assertCalled();
        _repay();
        _assertCalled();
        _repayShares();
        _assertCalled();
        _repayAll();
        _assertCalled();
        _borrow();
        _assertCalled();
        _repayAll();
        _assertCalled();
        _free();
        // Morpho books no interest where collateral comes in.
        _later();
        _pledge();
        assertEq(rates.turns(), turns);
        _later();
        _unpledge();
        _assertCalled();
    }

    function _assertCalled() private {
        assertGt(rates.turns(), turns, "nobody asked for the rate");
        _later();
    }

    function _later() private {
        skip(1 hours);
        turns = rates.turns();
    }
}
