// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {ERC4626} from "@openzeppelin/contracts/token/ERC20/extensions/ERC4626.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IMorpho} from "@morpho-org/morpho-blue/src/interfaces/IMorpho.sol";
import {IMorphoFlashLoanCallback} from "@morpho-org/morpho-blue/src/interfaces/IMorphoCallbacks.sol";
import {Connector} from "../src/connectors/Connector.sol";
import {ERC4626Connector} from "../src/connectors/ERC4626Connector.sol";
import {IConnector} from "../src/interfaces/IConnector.sol";
import {IPortfolio} from "../src/interfaces/IPortfolio.sol";
import {IVault} from "../src/interfaces/IVault.sol";
import {Batch, Call} from "../src/interfaces/Types.sol";
import {IntegrationFixture} from "./fixtures/IntegrationFixture.sol";

enum Failure {
    NONE,
    REVERTS,
    BURNS,
    BOMB,
    NOTHING,
    LONG_ANSWER
}

/// @dev A market whose views look at what a lender has at hand, and fail while somebody borrows that in a flash.
/// It also calls out whenever somebody leaves.
contract FragileMarket is ERC4626 {
    address private immutable lender;
    uint256 private immutable least;
    Failure private failure;
    address[] private doors;
    bytes[] private keys;
    bytes4[] public reasons;

    constructor(IERC20 asset_, address lender_) ERC20("Fragile", "F") ERC4626(asset_) {
        (lender, least) = (lender_, asset_.balanceOf(lender_) / 2);
    }

    function set(Failure failure_) external {
        failure = failure_;
    }

    function willCall(address door, bytes calldata key) external {
        doors.push(door);
        keys.push(key);
    }

    function totalAssets() public view override returns (uint256) {
        bool fails = failure != Failure.NONE && IERC20(asset()).balanceOf(lender) < least;
        if (!fails) return super.totalAssets();
        if (failure == Failure.NOTHING) return 0;
        _fail();
    }

    function _fail() private view {
        if (failure == Failure.REVERTS) revert("illiquid");
        if (failure == Failure.BURNS) while (true) {}
        if (failure == Failure.BOMB) {
            assembly ("memory-safe") {
                revert(0, 150000)
            }
        }
        // As long as that, but its first word is the right one.
        uint256 answer = super.totalAssets();
        assembly ("memory-safe") {
            mstore(0, answer)
            return(0, 150000)
        }
    }

    function _withdraw(address caller, address receiver, address owner, uint256 assets, uint256 shares)
        internal
        override
    {
        for (uint256 i; i < doors.length; ++i) {
            (bool success, bytes memory reason) = doors[i].call(keys[i]);
            reasons.push(success ? bytes4(0) : bytes4(reason));
        }
        super._withdraw(caller, receiver, owner, assets, shares);
    }
}

/// @dev Borrows all that a lender has at hand and calls somebody meanwhile.
contract FlashBorrower is IMorphoFlashLoanCallback {
    IMorpho private immutable morpho;
    IERC20 private immutable token;
    bytes public answer;

    constructor(IMorpho morpho_, IERC20 token_) {
        (morpho, token) = (morpho_, token_);
        token_.approve(address(morpho_), type(uint256).max);
    }

    function attack(address target, bytes calldata data) external {
        morpho.flashLoan(address(token), token.balanceOf(address(morpho)), abi.encode(target, data));
    }

    function onMorphoFlashLoan(uint256, bytes calldata data) external {
        (address target, bytes memory call) = abi.decode(data, (address, bytes));
        (bool success, bytes memory result) = target.call(call);
        require(success, "the attack itself failed");
        answer = result;
    }
}

/// @title Markets that fail, and call back, when it suits an attacker
contract IntegrationHostileTest is IntegrationFixture {
    uint256 private constant SUPPLIED = 300_000e6;

    ERC4626Connector private vaults;
    FragileMarket private market;
    FlashBorrower private attacker;
    bytes32 private key;

    function _connect() internal override {
        IMorpho morpho = IMorpho(_address(".morpho.address"));
        market = new FragileMarket(IERC20(usdc), address(morpho));
        attacker = new FlashBorrower(morpho, IERC20(usdc));
        key = _keyOf(address(market));
        bytes32[] memory keys = new bytes32[](1);
        keys[0] = key;
        vaults = new ERC4626Connector(address(portfolio), keys, new address[](0));
        _list(address(vaults), key);
        _allowPlain(address(vaults));
    }

    function setUp() public override {
        super.setUp();
        _then(address(vaults), usdc, SUPPLIED, abi.encodeCall(IConnector.supply, (key, SUPPLIED)));
        _run(2);
    }

    // VIEWS THAT FAIL IN A FLASH LOAN

    /// @dev The fault that two readings are against: within a flash loan one of them sees the market impaired.
    function test_class_O_one_reading_inside_a_flash_loan_sees_an_impairment() public {
        for (uint256 i = 1; i < uint256(Failure.LONG_ANSWER); ++i) {
            market.set(Failure(i));
            (uint256 low, uint256 high) = _nav();
            assertEq(low, high);
            attacker.attack(address(portfolio), abi.encodeCall(IPortfolio.nav, ()));
            (uint256 lowSeen, uint256 highSeen, bool healthy) =
                abi.decode(attacker.answer(), (uint256, uint256, bool));
            assertFalse(healthy);
            assertEq(lowSeen, low - SUPPLIED);
            assertApproxEqAbs(highSeen, high, 2);
        }
    }

    function test_class_T_an_answer_without_end_is_read_as_far_as_it_counts() public {
        market.set(Failure.LONG_ANSWER);
        (uint256 low,) = _nav();
        attacker.attack(address(portfolio), abi.encodeCall(IPortfolio.nav, ()));
        (uint256 lowSeen,, bool healthy) = abi.decode(attacker.answer(), (uint256, uint256, bool));
        assertTrue(healthy);
        assertEq(lowSeen, low);
    }

    function test_class_O_an_announcement_inside_a_flash_loan_impairs_nothing() public {
        for (uint256 i = 1; i < uint256(Failure.LONG_ANSWER); ++i) {
            uint256 state = vm.snapshotState();
            _leaveUnattended(Failure(i));
            attacker.attack(address(portfolio), abi.encodeCall(IPortfolio.announce, ()));
            skip(1 hours);
            vault.settleUnattended();
            _assertPaidInFull();
            vm.revertToState(state);
        }
    }

    function test_class_O_a_settlement_inside_a_flash_loan_impairs_nothing() public {
        for (uint256 i = 1; i < uint256(Failure.LONG_ANSWER); ++i) {
            uint256 state = vm.snapshotState();
            _leaveUnattended(Failure(i));
            portfolio.announce();
            skip(1 hours);
            attacker.attack(address(vault), abi.encodeCall(IVault.settleUnattended, ()));
            _assertPaidInFull();
            vm.revertToState(state);
        }
    }

    /// @dev Starving a report is no way to impair it.
    function test_class_O_too_little_gas_fails_the_call_and_impairs_nothing() public {
        _leaveUnattended(Failure.NONE);
        (bool success, bytes memory reason) =
            address(portfolio).call{gas: 400_000}(abi.encodeCall(IPortfolio.announce, ()));
        assertFalse(success);
        assertEq(bytes4(reason), IPortfolio.NotEnoughGas.selector);
        portfolio.announce();
        skip(1 hours);
        vault.settleUnattended();
        _assertPaidInFull();
    }

    function _leaveUnattended(Failure failure) private {
        requestRedeem(alice, vault.balanceOf(alice) / 2);
        closeEpoch();
        skip(3 days);
        market.set(failure);
    }

    function _assertPaidInFull() private view {
        assertApproxEqAbs(vault.maxWithdraw(alice), DEPOSIT / 2, 2);
        assertEq(vault.pendingRedeemRequest(0, alice), 0);
        (uint128 low,) = portfolio.marks(address(vaults), key);
        assertApproxEqAbs(low, SUPPLIED, 2);
    }

    // CALLS BACK

    function test_class_I_a_market_that_calls_back_finds_every_door_locked() public {
        Batch memory b = batch(new Call[](0));
        _door(address(portfolio), abi.encodeCall(IPortfolio.execute, (b)), IVault.Reentered.selector);
        _door(address(portfolio), abi.encodeCall(IPortfolio.announce, ()), IVault.Reentered.selector);
        _door(
            address(portfolio),
            abi.encodeCall(IPortfolio.forceDeallocate, (address(vaults), key, 1)),
            IVault.Reentered.selector
        );
        _door(address(portfolio), abi.encodeCall(IPortfolio.nav, ()), IPortfolio.Locked.selector);
        _door(address(portfolio), abi.encodeCall(IPortfolio.twoReadings, ()), IPortfolio.Locked.selector);
        _door(address(vault), abi.encodeCall(vault.closeEpoch, ()), IVault.Reentered.selector);
        _door(address(vault), abi.encodeCall(vault.settleUnattended, ()), IVault.Reentered.selector);
        _door(address(vaults), abi.encodeCall(IConnector.withdraw, (key, 1)), Connector.NotPortfolio.selector);
        // What was settled last may be read at any time.
        _door(address(vault), abi.encodeCall(vault.totalAssets, ()), 0);

        _then(address(vaults), abi.encodeCall(IConnector.withdraw, (key, 100_000e6)));
        _run(2);
        for (uint256 i; i < expected.length; ++i) {
            assertEq(market.reasons(i), expected[i], vm.toString(i));
        }
        assertEq(portfolio.idle(), DEPOSIT - SUPPLIED + 100_000e6);
        _assertNothingLoose();
    }

    bytes4[] private expected;

    function _door(address door, bytes memory call, bytes4 refusal) private {
        market.willCall(door, call);
        expected.push(refusal);
    }
}
