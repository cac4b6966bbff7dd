// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {ERC4626} from "@openzeppelin/contracts/token/ERC20/extensions/ERC4626.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {Connector} from "../src/connectors/Connector.sol";
import {ERC4626Connector} from "../src/connectors/ERC4626Connector.sol";
import {IConnector} from "../src/interfaces/IConnector.sol";
import {Batch} from "../src/interfaces/Types.sol";
import {IERC7540Deposit, IERC7540Redeem} from "../src/interfaces/IERC7540.sol";
import {CallbackFixture} from "./fixtures/CallbackFixture.sol";
import {Doors} from "./fixtures/Doors.sol";

/// @dev OpenZeppelin's vault, which calls out before and after whatever goes in or out, and in its views if told to.
contract CallingVault is ERC4626, Doors {
    uint256 private constant ENOUGH = 60_000;

    /// @dev Nothing can be written in a view: a door that does not answer as it should shows in the vault's value.
    uint256 private watched = type(uint256).max;

    constructor(IERC20 asset_) ERC20("Calling", "C") ERC4626(asset_) {}

    function watch(uint256 door) external {
        watched = door;
    }

    function totalAssets() public view override returns (uint256) {
        if (watched < doors.length) {
            (bool success, bytes memory reason) =
                doors[watched].target.staticcall{gas: ENOUGH}(doors[watched].data);
            if (!_isRefusal(watched, success, reason)) return 0;
        }
        return super.totalAssets();
    }

    function _deposit(address from, address receiver, uint256 assets, uint256 shares) internal override {
        _try();
        super._deposit(from, receiver, assets, shares);
        _try();
    }

    function _withdraw(address from, address receiver, address owner, uint256 assets, uint256 shares)
        internal
        override
    {
        _try();
        super._withdraw(from, receiver, owner, assets, shares);
        _try();
    }
}

/// @dev A vault of requests, whose shares are always worth a unit. What is asked for is ready at once, and it calls out
/// before and after whatever it does.
contract CallingRequests is ERC20, Doors {
    IERC20 public immutable asset;
    mapping(address controller => uint256) public maxDeposit;
    mapping(address controller => uint256) public maxRedeem;

    constructor(IERC20 asset_) ERC20("Requests", "R") {
        asset = asset_;
    }

    modifier calls() {
        _try();
        _;
        _try();
    }

    function decimals() public pure override returns (uint8) {
        return 6;
    }

    function supportsInterface(bytes4 id) external pure returns (bool) {
        return
            id == type(IERC7540Deposit).interfaceId || id == type(IERC7540Redeem).interfaceId
                || id == 0x01ffc9a7;
    }

    function requestDeposit(uint256 assets, address controller, address owner)
        external
        calls
        returns (uint256)
    {
        assert(asset.transferFrom(owner, address(this), assets));
        maxDeposit[controller] += assets;
        return 0;
    }

    function mint(uint256 shares, address receiver) external calls returns (uint256) {
        maxDeposit[msg.sender] -= shares;
        _mint(receiver, shares);
        return shares;
    }

    function requestRedeem(uint256 shares, address controller, address owner)
        external
        calls
        returns (uint256)
    {
        assert(owner == msg.sender);
        _burn(owner, shares);
        maxRedeem[controller] += shares;
        return 0;
    }

    function redeem(uint256 shares, address receiver, address controller) public calls returns (uint256) {
        assert(controller == msg.sender);
        maxRedeem[controller] -= shares;
        assert(asset.transfer(receiver, shares));
        return shares;
    }

    function withdraw(uint256 assets, address receiver, address controller) external returns (uint256) {
        return redeem(assets, receiver, controller);
    }

    function convertToAssets(uint256 shares) external pure returns (uint256) {
        return shares;
    }

    function maxMint(address controller) external view returns (uint256) {
        return maxDeposit[controller];
    }

    function maxWithdraw(address controller) external view returns (uint256) {
        return maxRedeem[controller];
    }

    function claimableDepositRequest(uint256, address controller) external view returns (uint256) {
        return maxDeposit[controller];
    }

    function claimableRedeemRequest(uint256, address controller) external view returns (uint256) {
        return maxRedeem[controller];
    }

    function pendingDepositRequest(uint256, address) external pure returns (uint256) {
        return 0;
    }

    function pendingRedeemRequest(uint256, address) external pure returns (uint256) {
        return 0;
    }
}

abstract contract CallbacksVaultFixture is CallbackFixture {
    uint256 internal constant SUPPLIED = 100_000e6;

    ERC4626Connector internal entry;
    bytes32 internal key;

    function _enterAt(address target) internal {
        key = _keyOf(target);
        bytes32[] memory keys = new bytes32[](1);
        keys[0] = key;
        entry = new ERC4626Connector(address(portfolio), keys, new address[](0));
        _list(address(entry), key);
        _allowPlain(address(entry));
        _may(address(entry), entry.deposit.selector);
        _may(address(entry), entry.redeem.selector);
        _may(address(entry), entry.requestRedeem.selector);
        _may(address(entry), entry.claim.selector);
    }

    function _tryEntry() internal {
        bytes4 refusal = Connector.NotPortfolio.selector;
        address target = address(entry);
        caller.willTry(target, abi.encodeCall(IConnector.supply, (key, 1)), refusal);
        caller.willTry(target, abi.encodeCall(IConnector.withdraw, (key, EVERYTHING)), refusal);
        caller.willTry(target, abi.encodeCall(entry.deposit, (key, 1, 1)), refusal);
        caller.willTry(target, abi.encodeCall(entry.redeem, (key, 1, 1)), refusal);
        caller.willTry(target, abi.encodeCall(entry.requestRedeem, (key, 1)), refusal);
        caller.willTry(target, abi.encodeCall(entry.claim, (key)), refusal);
        caller.willTry(target, abi.encodeCall(Connector.collect, (usdc)), refusal);
    }

    function _supply() internal {
        _then(address(entry), usdc, SUPPLIED, abi.encodeCall(IConnector.supply, (key, SUPPLIED)));
        _execute();
    }

    /// @param turns times that the vault must have had control, before and after each way in and out
    function _expect(uint256 value, uint256 turns) internal view {
        assertEq(caller.turns(), turns);
        (uint256 low, uint256 high,) = entry.report(key);
        assertEq(low, high);
        assertApproxEqAbs(low, value, 2);
        (low, high) = _nav();
        assertApproxEqAbs(low, portfolio.idle() + value, 2);
    }
}

/// @title A vault of requests that calls back at each of its steps, in a real vault
contract IntegrationCallbacksRequestsTest is CallbacksVaultFixture {
    CallingRequests private calling;

    function _connect() internal override {
        calling = new CallingRequests(IERC20(usdc));
        _enterAt(address(calling));
    }

    function setUp() public override {
        super.setUp();
        _empower(calling, address(entry), key);
        _tryEntry();
    }

    function test_class_I_class_N_no_door_opens_at_requests_and_claims() public {
        _supply();
        _expect(SUPPLIED, 2);
        _then(address(entry), abi.encodeCall(entry.claim, (key)));
        _execute();
        _expect(SUPPLIED, 4);
        _then(address(entry), abi.encodeCall(entry.requestRedeem, (key, SUPPLIED)));
        _execute();
        _expect(SUPPLIED, 6);
        _then(address(entry), abi.encodeCall(IConnector.withdraw, (key, SUPPLIED / 4)));
        _execute();
        _expect(SUPPLIED * 3 / 4, 8);
        _then(address(entry), abi.encodeCall(entry.claim, (key)));
        _execute();
        _expect(0, 10);
        assertEq(portfolio.idle(), DEPOSIT);
    }
}

/// @title An ERC-4626 vault that calls back wherever it gets control, in a real vault
contract IntegrationCallbacksVaultsTest is CallbacksVaultFixture {
    CallingVault private calling;

    function _connect() internal override {
        calling = new CallingVault(IERC20(usdc));
        _enterAt(address(calling));
    }

    function setUp() public override {
        super.setUp();
        _empower(calling, address(entry), key);
        _tryEntry();
    }

    function test_class_I_class_N_no_door_opens_on_any_way_in_or_out() public {
        _supply();
        _expect(SUPPLIED, 2);
        _then(address(entry), usdc, SUPPLIED, abi.encodeCall(entry.deposit, (key, SUPPLIED, 1)));
        _execute();
        _expect(2 * SUPPLIED, 4);
        _then(address(entry), abi.encodeCall(IConnector.withdraw, (key, SUPPLIED)));
        _execute();
        _expect(SUPPLIED, 6);
        uint256 half = calling.balanceOf(address(entry)) / 2;
        _then(address(entry), abi.encodeCall(entry.redeem, (key, half, 1)));
        _execute();
        _expect(SUPPLIED / 2, 8);
        _then(address(entry), abi.encodeCall(IConnector.withdraw, (key, EVERYTHING)));
        _execute();
        _expect(0, 10);
        assertEq(portfolio.idle(), DEPOSIT);
    }

    /// @dev Whoever calls it, outside of any batch.
    function test_class_I_class_N_no_door_opens_on_a_forced_way_out() public {
        _then(address(entry), usdc, 9 * SUPPLIED, abi.encodeCall(IConnector.supply, (key, 9 * SUPPLIED)));
        _execute();
        _settle();
        skip(2 days + 1);
        assertGt(vault.overdueExits(), portfolio.idle());
        calling.wake(true);
        vm.prank(bob);
        portfolio.forceDeallocate(address(entry), key, SUPPLIED);
        calling.wake(false);
        _assertShut();
        _expect(8 * SUPPLIED, 4);
    }

    /// @dev In its views it meets the same refusals, in batches and settlements, and can tell no value from them.
    function test_class_I_class_O_no_door_opens_from_a_view() public {
        _supply();
        _settle();
        uint256 count = calling.countDoors();
        uint256 supplied = SUPPLIED;
        (uint256 low,) = _nav();
        for (uint256 i; i < count; ++i) {
            calling.watch(i);
            uint256 assets = 1_000e6 + i;
            _then(address(entry), usdc, assets, abi.encodeCall(IConnector.supply, (key, assets)));
            Batch memory b = _queued(1);
            vm.prank(address(calling));
            portfolio.execute(b);
            supplied += assets;
            _settle();
            // Out of batches the doors are open, to the eyes of a view: what it read must have been within.
            calling.watch(EVERYTHING);
            (uint256 value,,) = entry.report(key);
            assertApproxEqAbs(value, supplied, 1, vm.toString(i));
            (uint128 marked,) = portfolio.marks(address(entry), key);
            assertEq(marked, value, "as it was settled");
        }
        (uint256 lowNow,) = _nav();
        assertApproxEqAbs(lowNow, low, 1);
    }

    /// @dev The same views would show a door that opens.
    function test_class_I_a_view_that_finds_a_door_open_shows_it() public {
        _supply();
        calling.willTry(address(vault), abi.encodeCall(vault.totalAssets, ()), bytes4("shut"));
        calling.watch(calling.countDoors() - 1);
        vm.expectRevert(abi.encodeWithSelector(ERC4626Connector.Unreadable.selector, key));
        entry.report(key);
    }

    // STEPS

    function _settle() private {
        skip(1 hours);
        vm.startPrank(address(calling));
        vault.closeEpoch();
        skip(1);
        vault.settle(settlement());
        vm.stopPrank();
    }
}
