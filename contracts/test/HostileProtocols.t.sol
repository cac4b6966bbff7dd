// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {ERC4626} from "@openzeppelin/contracts/token/ERC20/extensions/ERC4626.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {Test} from "forge-std/Test.sol";
import {AaveV3Connector} from "../src/connectors/AaveV3Connector.sol";
import {IAaveV3Pool} from "../src/connectors/IAaveV3.sol";
import {CodeStore} from "../src/connectors/CodeStore.sol";
import {Connector} from "../src/connectors/Connector.sol";
import {ERC4626Connector} from "../src/connectors/ERC4626Connector.sol";
import {Status} from "../src/interfaces/Types.sol";
import {Token} from "./fixtures/Tokens.sol";

/// @dev An allowance that using it does not lower.
contract StickyToken is Token {
    constructor() Token("STICKY", 6) {}

    function _spendAllowance(address owner, address spender, uint256 value) internal view override {
        require(allowance(owner, spender) >= value, "allowance");
    }
}

/// @dev A vault that keeps one part in ten thousand more, of whatever it is told to, than its previews say.
contract GreedyVault is ERC4626 {
    enum Trick {
        NONE,
        TAKES_LESS,
        MINTS_LESS,
        BURNS_MORE,
        PAYS_LESS,
        PAYS_NOTHING
    }

    Trick private trick;

    constructor(IERC20 asset_) ERC20("Greedy", "G") ERC4626(asset_) {}

    function set(Trick trick_) external {
        trick = trick_;
    }

    function maxRedeem(address owner) public view override returns (uint256) {
        return trick == Trick.PAYS_NOTHING ? 0 : super.maxRedeem(owner);
    }

    function _deposit(address caller, address receiver, uint256 assets, uint256 shares) internal override {
        if (trick == Trick.TAKES_LESS) assets -= assets / 10_000;
        if (trick == Trick.MINTS_LESS) shares -= shares / 10_000;
        super._deposit(caller, receiver, assets, shares);
    }

    function _withdraw(address caller, address receiver, address owner, uint256 assets, uint256 shares)
        internal
        override
    {
        if (trick == Trick.PAYS_LESS) assets -= assets / 10_000;
        if (trick == Trick.BURNS_MORE) shares += shares / 10_000;
        super._withdraw(caller, receiver, owner, assets, shares);
    }
}

/// @dev A pool that is its own receipt token and forgets a part of what it is given.
contract ForgetfulPool is Token {
    constructor() Token("aTOKEN", 6) {}

    function getReserveAToken(address) external view returns (address) {
        return address(this);
    }

    function getReserveNormalizedIncome(address) external pure returns (uint256) {
        return 1e27;
    }

    function supply(address token, uint256 amount, address onBehalfOf, uint16) external {
        assert(IERC20(token).transferFrom(msg.sender, address(this), amount));
        _mint(onBehalfOf, amount - amount / 10_000);
    }
}

contract Store {
    function write(bytes calldata data) external returns (address) {
        return CodeStore.write(data);
    }

    function read(address store) external view returns (bytes memory) {
        return CodeStore.read(store);
    }
}

/// @title Protocols that do something other than they say: refused, by name, at the moment it shows
/// @notice This test is the connector's portfolio, vault and registry.
contract HostileProtocolsTest is Test {
    uint256 private constant EVERYTHING = type(uint256).max;

    address public asset;
    StickyToken private token;
    GreedyVault private greedy;
    ERC4626Connector private connector;
    bytes32 private key;

    function setUp() public {
        token = new StickyToken();
        asset = address(token);
        greedy = new GreedyVault(token);
        key = _keyOf(address(greedy));
        bytes32[] memory keys = new bytes32[](1);
        keys[0] = key;
        connector = new ERC4626Connector(address(this), keys, new address[](0));
    }

    // THE VAULT'S SIDE

    uint256 public constant REPORT_GAS = 300_000;

    function vault() external view returns (address) {
        return address(this);
    }

    function registry() external view returns (address) {
        return address(this);
    }

    // GOING IN

    function test_class_N_an_allowance_that_is_left_is_taken_back() public {
        _supply(1_000e6);
        assertEq(token.allowance(address(connector), address(greedy)), 0);
        assertEq(greedy.balanceOf(address(connector)), 1_000e6);
    }

    function test_class_N_a_protocol_takes_what_it_is_given_and_no_less() public {
        greedy.set(GreedyVault.Trick.TAKES_LESS);
        token.mint(address(connector), 1_000e6);
        vm.expectRevert(
            abi.encodeWithSelector(Connector.SlippageExceeded.selector, 1_000e6, 1_000e6 - 100_000)
        );
        connector.supply(key, 1_000e6);
    }

    function test_class_V_fewer_shares_than_the_preview_are_refused() public {
        greedy.set(GreedyVault.Trick.MINTS_LESS);
        token.mint(address(connector), 1_000e6);
        vm.expectRevert(
            abi.encodeWithSelector(Connector.SlippageExceeded.selector, 1_000e6, 1_000e6 - 100_000)
        );
        connector.supply(key, 1_000e6);
    }

    function test_class_V_a_pool_that_books_less_than_it_got_is_refused() public {
        ForgetfulPool pool = new ForgetfulPool();
        AaveV3Connector.Terms memory terms;
        (terms.keys, terms.minHealth) = (new bytes32[](1), 1.05e18);
        terms.keys[0] = _keyOf(asset);
        AaveV3Connector aave = new AaveV3Connector(address(this), IAaveV3Pool(address(pool)), terms);
        token.mint(address(aave), 1_000e6);
        vm.expectRevert(
            abi.encodeWithSelector(Connector.SlippageExceeded.selector, 1_000e6 - 2, 1_000e6 - 100_000)
        );
        aave.supply(terms.keys[0], 1_000e6);
    }

    // COMING OUT

    function test_class_V_more_shares_than_the_preview_are_refused() public {
        _supply(1_000e6);
        greedy.set(GreedyVault.Trick.BURNS_MORE);
        vm.expectRevert(abi.encodeWithSelector(Connector.SlippageExceeded.selector, 500e6, 500e6 + 50_000));
        connector.withdraw(key, 500e6);
    }

    function test_class_V_less_than_asked_for_or_promised_is_refused() public {
        _supply(1_000e6);
        greedy.set(GreedyVault.Trick.PAYS_LESS);
        vm.expectRevert(abi.encodeWithSelector(Connector.SlippageExceeded.selector, 500e6, 500e6 - 50_000));
        connector.withdraw(key, 500e6);
        vm.expectRevert(
            abi.encodeWithSelector(Connector.SlippageExceeded.selector, 1_000e6, 1_000e6 - 100_000)
        );
        connector.withdraw(key, EVERYTHING);
    }

    function test_class_E_a_vault_that_lets_nothing_go_says_so() public {
        _supply(1_000e6);
        greedy.set(GreedyVault.Trick.PAYS_NOTHING);
        vm.expectRevert(abi.encodeWithSelector(ERC4626Connector.Illiquid.selector, key, 0));
        connector.withdraw(key, EVERYTHING);
    }

    // VIEWS THAT HARM

    /// @dev A preview that burns the gas it gets, or answers at length: the report then fails within what it was
    /// given, which the portfolio takes for impairment, and never for a value.
    function test_class_T_views_that_burn_or_bomb_cost_no_more_than_a_report() public {
        _supply(1_000e6);
        bytes[2] memory codes = [bytes(hex"5b600056"), hex"6207a1205ff3"];
        for (uint256 i; i < 2; ++i) {
            vm.etch(address(greedy), codes[i]);
            uint256 before = gasleft();
            (bool success,) =
                address(connector).call{gas: REPORT_GAS}(abi.encodeCall(connector.report, (key)));
            assertLt(before - gasleft(), REPORT_GAS + 10_000);
            assertFalse(success);
        }
    }

    function test_class_T_a_short_answer_is_none() public {
        _supply(1_000e6);
        vm.mockCall(address(greedy), abi.encodeCall(greedy.previewRedeem, (1_000e6)), hex"01");
        (uint256 low, uint256 high, uint256 status) = connector.report(key);
        assertEq(low, 999e6);
        assertEq(high, 1_000e6);
        assertEq(status, uint256(Status.UNAVAILABLE));
        vm.mockCall(address(greedy), abi.encodeCall(greedy.convertToAssets, (1_000e6)), hex"01");
        vm.expectRevert(abi.encodeWithSelector(ERC4626Connector.Unreadable.selector, key));
        connector.report(key);
    }

    function test_class_T_starving_a_report_fails_it_and_lowers_no_value() public {
        _supply(1_000e6);
        bytes memory data = abi.encodeCall(connector.report, (key));
        (, bytes memory full) = address(connector).call(data);
        for (uint256 gas_ = 10_000; gas_ < 300_000; gas_ += 1_000) {
            (bool success, bytes memory answer) = address(connector).call{gas: gas_}(data);
            if (success) assertEq(answer, full);
        }
    }

    // CODE AS A STORE

    function testFuzz_what_is_stored_is_read_back(bytes calldata data) public {
        Store store = new Store();
        assertEq(store.read(store.write(data)), data);
    }

    function test_what_cannot_be_stored_is_refused() public {
        Store store = new Store();
        // Storing a byte takes 200 gas: not enough is left of this for 20,000 of them.
        vm.expectRevert(CodeStore.StoreFailed.selector);
        store.write{gas: 3_000_000}(new bytes(20_000));
        vm.expectPartialRevert(bytes4(keccak256("SafeCastOverflowedUintDowncast(uint8,uint256)")));
        store.write(new bytes(65_535));
    }

    // STEPS

    function _supply(uint256 assets) private {
        token.mint(address(connector), assets);
        connector.supply(key, assets);
    }

    function _keyOf(address named) private pure returns (bytes32) {
        return bytes32(uint256(uint160(named)));
    }
}
