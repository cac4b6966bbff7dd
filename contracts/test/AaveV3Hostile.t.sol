// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {AaveV3Connector} from "../src/connectors/AaveV3Connector.sol";
import {Connector} from "../src/connectors/Connector.sol";
import {IAaveV3Pool} from "../src/connectors/IAaveV3.sol";
import {ConnectorFixture} from "./fixtures/ConnectorFixture.sol";

/// @dev Of Forge, and not in the interface that `Test` has.
interface ICallMocks {
    function mockCalls(address callee, bytes calldata data, bytes[] calldata answers) external;
}

/// @title An Aave that books another debt than it lends or is paid
/// @dev The real one rounds a debt up by less than two units, which is the bound.
contract AaveV3HostileTest is ConnectorFixture {
    uint256 private constant LENT = 1_000e6;
    uint256 private constant PAID = 400e6;

    AaveV3Connector private lender;
    address private debtToken;

    function setUp() public override {
        super.setUp();
        _priceEther();
        IAaveV3Pool pool = IAaveV3Pool(_address(".aave.pool"));
        AaveV3Connector.Terms memory terms;
        (terms.keys, terms.borrowable, terms.minHealth) = (new bytes32[](2), new bytes32[](1), 1.05e18);
        key = _keyOf(asset);
        (terms.keys[0], terms.keys[1], terms.borrowable[0]) = (_keyOf(_token("WETH")), key, key);
        connector = lender = new AaveV3Connector(address(this), pool, terms);
        debtToken = pool.getReserveVariableDebtToken(asset);
        _give(_token("WETH"), 10e18);
        lender.supply(terms.keys[0], 10e18);
        _give(asset, LENT);
        lender.supply(key, LENT);
    }

    function test_class_N_S_more_debt_than_was_lent_is_refused() public {
        _owes(0, LENT + 3);
        vm.expectRevert(abi.encodeWithSelector(Connector.SlippageExceeded.selector, LENT + 2, LENT + 3));
        lender.borrow(key, LENT);
        _owes(0, LENT + 2);
        lender.borrow(key, LENT);
    }

    function test_class_N_S_less_debt_repaid_than_was_paid_is_refused() public {
        lender.borrow(key, LENT);
        _give(asset, PAID);
        _owes(LENT, LENT - PAID + 3);
        vm.expectRevert(abi.encodeWithSelector(Connector.SlippageExceeded.selector, PAID - 2, PAID - 3));
        lender.repay(key, PAID);
        _owes(LENT, LENT - PAID + 2);
        assertEq(lender.repay(key, PAID), PAID);
    }

    function test_class_N_S_less_debt_repaid_than_supplies_are_taken_is_refused() public {
        lender.borrow(key, LENT);
        address aToken = _address(".aave.reserves.USDC.a_token");
        _says(aToken, LENT, LENT - PAID);
        _owes(LENT, LENT - PAID + 5);
        vm.expectRevert(abi.encodeWithSelector(Connector.SlippageExceeded.selector, PAID - 4, PAID - 5));
        lender.repayWithATokens(key, PAID);
        _says(aToken, LENT, LENT - PAID);
        _owes(LENT, LENT - PAID + 4);
        assertEq(lender.repayWithATokens(key, PAID), PAID - 4);
    }

    /// @dev Before and after.
    function _owes(uint256 before, uint256 afterwards) private {
        _says(debtToken, before, afterwards);
    }

    function _says(address token, uint256 before, uint256 afterwards) private {
        bytes[] memory answers = new bytes[](2);
        (answers[0], answers[1]) = (abi.encode(before), abi.encode(afterwards));
        bytes memory data = abi.encodeCall(IERC20.balanceOf, (address(lender)));
        ICallMocks(address(vm)).mockCalls(token, data, answers);
    }
}
