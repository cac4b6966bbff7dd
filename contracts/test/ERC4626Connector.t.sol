// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {ERC4626} from "@openzeppelin/contracts/token/ERC20/extensions/ERC4626.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {Id, IMorpho, MarketParams} from "@morpho-org/morpho-blue/src/interfaces/IMorpho.sol";
import {MetaMorpho} from "../devnet/MetaMorpho.sol";
import {Connector} from "../src/connectors/Connector.sol";
import {ERC4626Connector} from "../src/connectors/ERC4626Connector.sol";
import {IOracleRouter} from "../src/interfaces/IOracleRouter.sol";
import {Status} from "../src/interfaces/Types.sol";
import {ConnectorTest} from "./ConnectorTest.sol";

/// @dev OpenZeppelin's vault without virtual decimals: the one an inflation attack works on.
contract PlainVault is ERC4626 {
    constructor(IERC20 asset_) ERC20("Plain", "P") ERC4626(asset_) {}
}

/// @dev A vault with a ceiling, with shares that are locked for a while after they were minted, with views that can
/// fail, and with a toll on the way out that no view tells.
contract LimitedVault is ERC4626 {
    uint256 private tollBps;
    uint256 private ceiling = type(uint256).max;
    uint256 private lock;
    uint256 private failing;
    mapping(address => uint256) private mintedAt;

    error Failing();

    constructor(IERC20 asset_) ERC20("Limited", "L") ERC4626(asset_) {}

    function set(uint256 ceiling_, uint256 lock_, uint256 failing_) external {
        (ceiling, lock, failing) = (ceiling_, lock_, failing_);
    }

    function setToll(uint256 bps) external {
        tollBps = bps;
    }

    function maxDeposit(address) public view override returns (uint256) {
        return ceiling - totalAssets();
    }

    function maxRedeem(address owner) public view override returns (uint256) {
        return block.timestamp < mintedAt[owner] + lock ? 0 : super.maxRedeem(owner);
    }

    function maxWithdraw(address owner) public view override returns (uint256) {
        return block.timestamp < mintedAt[owner] + lock ? 0 : super.maxWithdraw(owner);
    }

    function previewRedeem(uint256 shares) public view override returns (uint256) {
        if (failing > 0) revert Failing();
        return super.convertToAssets(shares);
    }

    function previewWithdraw(uint256 assets) public view override returns (uint256) {
        if (failing > 0) revert Failing();
        return super.previewWithdraw(assets);
    }

    function redeem(uint256 shares, address receiver, address owner)
        public
        override
        returns (uint256 assets)
    {
        if (shares > maxRedeem(owner)) {
            revert ERC4626ExceededMaxRedeem(owner, shares, 0);
        }
        assets = super.convertToAssets(shares) * (10_000 - tollBps) / 10_000;
        _withdraw(msg.sender, receiver, owner, assets, shares);
    }

    function withdraw(uint256 assets, address receiver, address owner)
        public
        override
        returns (uint256 shares)
    {
        if (assets > maxWithdraw(owner)) revert ERC4626ExceededMaxWithdraw(owner, assets, 0);
        shares = super.previewWithdraw(assets) * (10_000 + tollBps) / 10_000;
        _withdraw(msg.sender, receiver, owner, assets, shares);
    }

    function convertToAssets(uint256 shares) public view override returns (uint256) {
        if (failing > 1) revert Failing();
        return super.convertToAssets(shares);
    }

    function _deposit(address caller, address receiver, uint256 assets, uint256 shares) internal override {
        mintedAt[receiver] = block.timestamp;
        super._deposit(caller, receiver, assets, shares);
    }
}

contract ERC4626ConnectorTest is ConnectorTest {
    address private target;
    PlainVault private plain;
    LimitedVault private limited;
    bytes32[] private keys;
    ERC4626Connector private exact;

    function setUp() public override {
        super.setUp();
        target = _address(".metamorpho.vault");
        plain = new PlainVault(IERC20(asset));
        keys.push(_keyOf(target));
        keys.push(_keyOf(address(plain)));
        key = keys[0];
        connector = exact = new ERC4626Connector(address(this), keys, new address[](0));
    }

    function _protocol() internal view override returns (address) {
        return target;
    }

    function _tooMuch(uint256) internal view override returns (bytes memory) {
        return abi.encodeWithSelector(ERC4626Connector.Illiquid.selector, key, exact.withdrawable(key));
    }

    function test_what_is_no_vault_is_no_key() public {
        keys[1] = _keyOf(makeAddr("vault"));
        vm.expectRevert(abi.encodeWithSelector(Connector.InvalidKey.selector, keys[1]));
        new ERC4626Connector(address(this), keys, new address[](0));
        keys[1] = _keyOf(address(this));
        vm.expectRevert(abi.encodeWithSelector(Connector.InvalidKey.selector, keys[1]));
        new ERC4626Connector(address(this), keys, new address[](0));
    }

    function test_class_R_a_key_is_an_address_and_nothing_more() public {
        keys[1] = bytes32(uint256(keys[0]) | 1 << 160);
        vm.expectRevert(abi.encodeWithSelector(Connector.InvalidKey.selector, keys[1]));
        new ERC4626Connector(address(this), keys, new address[](0));
        keys[1] = 0;
        vm.expectRevert(abi.encodeWithSelector(Connector.InvalidKey.selector, keys[1]));
        new ERC4626Connector(address(this), keys, new address[](0));
    }

    function test_class_R_a_key_counts_once() public {
        keys[1] = keys[0];
        vm.expectRevert(abi.encodeWithSelector(Connector.DuplicateKey.selector, keys[0]));
        new ERC4626Connector(address(this), keys, new address[](0));
    }

    /// @dev The attack takes everything from one who calls the vault directly; the connector refuses.
    function test_M_10_an_inflated_share_price_is_refused() public {
        key = keys[1];
        address attacker = makeAddr("attacker");
        deal(asset, attacker, 1_001e6);
        vm.startPrank(attacker);
        IERC20(asset).approve(address(plain), 1);
        plain.deposit(1, attacker);
        assertTrue(IERC20(asset).transfer(address(plain), 1_000e6));
        vm.stopPrank();

        // Half of the deposit would be gone, and the vault's own preview says so without a blush.
        uint256 assets = 750e6;
        assertLt(plain.previewRedeem(plain.previewDeposit(assets)), assets * 9 / 10);
        deal(asset, address(connector), assets);
        vm.expectPartialRevert(Connector.SlippageExceeded.selector);
        connector.supply(key, assets);
    }

    function test_H_15_shares_are_not_assets() public {
        key = keys[1];
        _supply(1_000e6);
        deal(asset, address(plain), 2_000e6);
        assertApproxEqAbs(_value(), 2_000e6, 2, "a share has doubled");
    }

    function test_class_E_a_full_exit_takes_what_the_vault_can_pay_now() public {
        _supply(50_000_000e6);
        uint256 value = _value();
        // A whale borrows nearly everything from the vault's largest market, through Morpho itself.
        uint256 payable_ = _drain();
        assertLt(payable_, value, "the drain must bite");
        uint256 withdrawn = connector.withdraw(key, EVERYTHING);
        assertApproxEqAbs(withdrawn, payable_, 2);
        assertApproxEqAbs(_value() + withdrawn, value, 4, "the rest is still a position");
    }

    // LIMITS, LOCKS AND BOUNDS

    function test_class_E_more_than_a_vault_takes_is_refused_by_name() public {
        _useLimited();
        limited.set(1_500e6, 0, 0);
        _supply(1_000e6);
        deal(asset, address(connector), 501e6);
        vm.expectRevert(abi.encodeWithSelector(ERC4626Connector.AboveLimit.selector, key, 500e6, 501e6));
        connector.supply(key, 501e6);
        connector.supply(key, 500e6);
    }

    function test_class_E_locked_shares_are_a_position_that_cannot_leave_yet() public {
        _useLimited();
        limited.set(type(uint256).max, 7 days, 0);
        _supply(1_000e6);
        assertEq(exact.withdrawable(key), 0);
        assertEq(_value(), 1_000e6, "and counts");
        vm.expectRevert(abi.encodeWithSelector(ERC4626Connector.Illiquid.selector, key, 0));
        connector.withdraw(key, EVERYTHING);
        vm.expectRevert(abi.encodeWithSelector(ERC4626Connector.Illiquid.selector, key, 0));
        connector.withdraw(key, 1e6);
        vm.warp(block.timestamp + 7 days);
        assertEq(exact.withdrawable(key), 1_000e6);
        vm.expectRevert(abi.encodeWithSelector(ERC4626Connector.Illiquid.selector, key, 1_000e6));
        connector.withdraw(key, 1_001e6);
        assertEq(connector.withdraw(key, EVERYTHING), 1_000e6);
    }

    function test_M_45_whoever_signs_may_bound_the_shares_going_in() public {
        uint256 assets = 1_000e6;
        uint256 shares = ERC4626(target).previewDeposit(assets);
        deal(asset, address(connector), assets);
        vm.expectRevert(abi.encodeWithSelector(Connector.SlippageExceeded.selector, shares + 1, shares));
        exact.deposit(key, assets, shares + 1);
        vm.expectRevert(Connector.ZeroAmount.selector);
        exact.deposit(key, assets, 0);
        exact.deposit(key, assets, shares);
        assertEq(_balance(target, address(connector)), shares);
        assertEq(IERC20(asset).allowance(address(connector), target), 0);
    }

    function test_M_45_whoever_signs_may_bound_the_assets_coming_out() public {
        _supply(1_000e6);
        uint256 shares = _balance(target, address(connector)) / 2;
        uint256 assets = ERC4626(target).previewRedeem(shares);
        vm.expectRevert(abi.encodeWithSelector(Connector.SlippageExceeded.selector, assets + 1, assets));
        exact.redeem(key, shares, assets + 1);
        vm.expectRevert(Connector.ZeroAmount.selector);
        exact.redeem(key, shares, 0);
        assertEq(exact.redeem(key, shares, assets), assets);
        assertEq(_balance(asset, address(this)), assets);
        vm.prank(makeAddr("stranger"));
        vm.expectRevert(abi.encodeWithSelector(Connector.NotPortfolio.selector, makeAddr("stranger")));
        exact.redeem(key, shares, assets);
    }

    /// @dev Somebody's unit more, at any of the places that are read, stops nothing.
    function test_M_51_a_gift_of_one_unit_blocks_nothing() public {
        _supply(1_000e6);
        deal(asset, address(connector), 1);
        deal(asset, target, _balance(asset, target) + 1);
        address giver = makeAddr("giver");
        deal(asset, giver, 10e6);
        vm.startPrank(giver);
        IERC20(asset).approve(target, 10e6);
        ERC4626(target).deposit(10e6, address(connector));
        vm.stopPrank();
        assertApproxEqAbs(_value(), 1_010e6, 4, "a gift of shares is yield");
        deal(asset, address(connector), 500e6 + 1);
        connector.supply(key, 500e6);
        uint256 value = _value();
        assertEq(connector.withdraw(key, EVERYTHING), value);
        assertEq(_balance(asset, address(connector)), 1, "what lay loose still does");
    }

    // VIEWS THAT FAIL

    function test_class_V_a_preview_that_fails_lowers_the_floor_and_says_so() public {
        _useLimited();
        _supply(1_000e6);
        limited.set(type(uint256).max, 0, 1);
        (uint256 low, uint256 high, uint256 status) = connector.report(key);
        assertEq(low, 999e6);
        assertEq(high, 1_000e6, "never more than it converts to");
        assertEq(status, uint256(Status.UNAVAILABLE));
        assertEq(connector.withdraw(key, 400e6), 400e6, "and exits go on");
        assertEq(connector.withdraw(key, EVERYTHING), 600e6);
    }

    function test_class_V_a_vault_that_says_nothing_is_impaired_and_can_be_left() public {
        _useLimited();
        _supply(1_000e6);
        limited.set(type(uint256).max, 0, 2);
        vm.expectRevert(abi.encodeWithSelector(ERC4626Connector.Unreadable.selector, key));
        connector.report(key);
        assertEq(connector.withdraw(key, EVERYTHING), 1_000e6);
    }

    function test_class_E_without_a_preview_an_exit_pays_what_shares_convert_to_or_little_less() public {
        _useLimited();
        _supply(1_000e6);
        limited.set(type(uint256).max, 0, 1);
        limited.setToll(11);
        vm.expectRevert(abi.encodeWithSelector(Connector.SlippageExceeded.selector, 999e6, 998.9e6));
        connector.withdraw(key, EVERYTHING);
        // The limit's own unit more than ten in ten thousand.
        vm.expectRevert(abi.encodeWithSelector(Connector.SlippageExceeded.selector, 500.5e6 + 1, 500.55e6));
        connector.withdraw(key, 500e6);
        limited.setToll(9);
        assertEq(connector.withdraw(key, 500e6), 500e6);
        assertApproxEqAbs(connector.withdraw(key, EVERYTHING), 499.55e6, 1);
    }

    function test_class_E_a_vault_that_says_nothing_may_not_take_shares_for_nothing() public {
        _useLimited();
        _supply(1_000e6);
        limited.set(type(uint256).max, 0, 2);
        limited.setToll(10_000);
        vm.expectRevert(abi.encodeWithSelector(Connector.SlippageExceeded.selector, 1, 0));
        connector.withdraw(key, EVERYTHING);
    }

    // WHAT OTHERS VALUE SHARES FROM

    function testFuzz_class_V_the_answers_are_the_vaults_own(uint256 assets, uint256 gift, uint256 lock)
        public
    {
        _useLimited();
        _supply(bound(assets, 1, 1_000_000e6));
        deal(asset, address(limited), _balance(asset, address(limited)) + bound(gift, 0, 1_000_000e6));
        limited.set(type(uint256).max, bound(lock, 0, 1), 0);
        ERC4626Connector.Answer[11] memory all = exact.answers(key);
        uint256 shares = limited.balanceOf(address(connector));
        _check(all[0], shares, limited.previewRedeem(shares));
        _check(all[1], shares, limited.convertToAssets(shares));
        uint256 free = limited.maxRedeem(address(connector));
        _check(all[2], free, limited.previewRedeem(free));
        _check(all[3], 1e6, limited.previewDeposit(1e6));
        _check(all[4], 7e6 + 3, limited.previewDeposit(7e6 + 3));
        _check(all[5], 3e6 + 1, limited.previewWithdraw(3e6 + 1));
        _check(all[6], 1e6, limited.previewRedeem(1e6));
        _check(all[7], 7e6 + 5, limited.previewRedeem(7e6 + 5));
        _check(all[8], 11e6 + 1, limited.convertToAssets(11e6 + 1));
        uint256 great = 1e18 * limited.totalSupply() + 7;
        _check(all[9], great, limited.convertToAssets(great));
        great = 1e18 * limited.totalAssets() + 7;
        _check(all[10], great, limited.convertToShares(great));
    }

    function _check(ERC4626Connector.Answer memory answer, uint256 amount, uint256 said) private pure {
        assertEq(answer.amount, amount);
        assertTrue(answer.known);
        assertEq(answer.said, said);
    }

    function test_class_V_what_the_vault_does_not_say_is_not_known_and_stops_no_other_answer() public {
        _useLimited();
        _supply(1_000e6);
        limited.set(type(uint256).max, 0, 2);
        ERC4626Connector.Answer[11] memory all = exact.answers(key);
        for (uint256 i = 0; i < all.length; i++) {
            bool known = i == 3 || i == 4 || i == 10;
            assertEq(all[i].known, known);
            assertTrue(known || all[i].said == 0);
        }
        assertEq(all[0].amount, limited.balanceOf(address(connector)));
        vm.mockCallRevert(address(limited), abi.encodeCall(limited.decimals, ()), "");
        all = exact.answers(key);
        assertEq(all[3].amount, 1e6);
        assertEq(all[6].amount, 1);
        assertEq(all[7].amount, 12);
        assertEq(all[8].amount, 12);
    }

    /// @dev A reader gives each of its calls 5,000,000.
    function test_class_V_a_vault_that_burns_all_gas_leaves_an_answer() public {
        _useLimited();
        vm.etch(address(limited), hex"fe");
        ERC4626Connector.Answer[11] memory all = exact.answers{gas: 5_000_000}(key);
        for (uint256 i = 0; i < all.length; i++) {
            assertFalse(all[i].known);
        }
    }

    // ANOTHER TOKEN'S VAULT

    function test_M_31_shares_of_another_token_are_priced_by_the_router_alone() public {
        _priceEther();
        address weth = _token("WETH");
        plain = new PlainVault(IERC20(weth));
        keys[1] = key = _keyOf(address(plain));
        connector = exact = new ERC4626Connector(address(this), keys, new address[](0));
        deal(weth, address(connector), 10e18);
        connector.supply(key, 10e18);
        (uint256 low, uint256 high, uint256 status) = connector.report(key);
        (uint256 worthLow, uint256 worthHigh,) = IOracleRouter(router).value(weth, asset, 10e18);
        assertEq(low, worthLow);
        assertEq(high, worthHigh);
        assertEq(status, uint256(Status.OK));
        vm.warp(block.timestamp + 2 days);
        (low,, status) = connector.report(key);
        assertEq(low, worthLow);
        assertEq(status, uint256(Status.STALE), "and its faults are the position's");
    }

    // REWARDS

    function test_M_21_rewards_that_third_parties_send_reach_the_portfolio() public {
        address reward = _token("DAI");
        address[] memory rewards = new address[](1);
        rewards[0] = reward;
        exact = new ERC4626Connector(address(this), keys, rewards);
        connector = exact;
        _supply(1_000e6);
        uint256 value = _value();
        deal(reward, address(exact), 5e18);
        assertEq(exact.collect(reward), 5e18);
        assertEq(_balance(reward, address(this)), 5e18);
        assertEq(_value(), value);
        vm.expectRevert(abi.encodeWithSelector(Connector.NotCollectable.selector, target));
        exact.collect(target);
        rewards[0] = target;
        vm.expectRevert(abi.encodeWithSelector(ERC4626Connector.InvalidReward.selector, target));
        new ERC4626Connector(address(this), keys, rewards);
    }

    // BAD DEBT

    /// @dev A borrower of MetaMorpho's market is liquidated at a price below his debt: Morpho takes the rest from
    /// its suppliers, and the report shows it at once, as an exit pays it.
    function test_class_V_bad_debt_of_a_metamorpho_market_is_a_loss_in_the_report() public {
        _supply(1_000_000e6);
        uint256 before = _value();
        IMorpho morpho = IMorpho(_address(".morpho.address"));
        MarketParams memory params = morpho.idToMarketParams(Id.wrap(_market("wstETH/USDC")));
        address borrower = makeAddr("borrower");
        deal(params.collateralToken, borrower, 1_000e18);
        vm.startPrank(borrower);
        IERC20(params.collateralToken).approve(address(morpho), 1_000e18);
        morpho.supplyCollateral(params, 1_000e18, borrower, "");
        morpho.borrow(params, 2_900_000e6, 0, borrower, borrower);
        vm.stopPrank();

        _push("stETH/USD", 1_000e8);
        address liquidator = makeAddr("liquidator");
        deal(asset, liquidator, 3_000_000e6);
        vm.startPrank(liquidator);
        IERC20(asset).approve(address(morpho), 3_000_000e6);
        (uint256 seized, uint256 repaid) = morpho.liquidate(params, borrower, 1_000e18, 0, "");
        vm.stopPrank();
        assertEq(seized, 1_000e18);
        assertLt(repaid, 1_200_000e6, "far less than the debt");

        uint256 value = _value();
        assertLt(value, before * 999 / 1000, "the loss shows");
        assertEq(connector.withdraw(key, EVERYTHING), value, "and is what an exit pays");
    }

    /// @return left what the vault can still pay
    function _drain() private returns (uint256 left) {
        address morpho = _address(".morpho.address");
        address whale = makeAddr("whale");
        address collateral = _token("wstETH");
        deal(collateral, whale, 1_000_000e18);
        vm.startPrank(whale);
        IERC20(collateral).approve(morpho, type(uint256).max);
        (bool read, bytes memory params) =
            morpho.call(abi.encodeWithSignature("idToMarketParams(bytes32)", _market("wstETH/USDC")));
        assertTrue(read);
        (bool given,) = morpho.call(
            abi.encodePacked(
                bytes4(
                    keccak256(
                        "supplyCollateral((address,address,address,address,uint256),uint256,address,bytes)"
                    )
                ),
                params,
                abi.encode(uint256(1_000_000e18), whale, uint256(256), uint256(0))
            )
        );
        assertTrue(given);
        uint256 cash = _balance(asset, morpho);
        (bool lent,) = morpho.call(
            abi.encodePacked(
                bytes4(
                    keccak256(
                        "borrow((address,address,address,address,uint256),uint256,uint256,address,address)"
                    )
                ),
                params,
                abi.encode(_liquidity(morpho) - 1_000e6, uint256(0), whale, whale)
            )
        );
        assertTrue(lent);
        assertLt(_balance(asset, morpho), cash);
        vm.stopPrank();
        left = ERC4626(target).maxWithdraw(address(connector));
    }

    function _useLimited() private {
        limited = new LimitedVault(IERC20(asset));
        keys[1] = key = _keyOf(address(limited));
        connector = exact = new ERC4626Connector(address(this), keys, new address[](0));
    }

    function _liquidity(address morpho) private returns (uint256) {
        (bool read, bytes memory words) =
            morpho.call(abi.encodeWithSignature("market(bytes32)", _market("wstETH/USDC")));
        assertTrue(read);
        (uint256 supplied,, uint256 borrowed) = abi.decode(words, (uint256, uint256, uint256));
        return supplied - borrowed;
    }
}
