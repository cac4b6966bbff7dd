// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {ERC4626} from "@openzeppelin/contracts/token/ERC20/extensions/ERC4626.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {Id, IMorpho, MarketParams} from "@morpho-org/morpho-blue/src/interfaces/IMorpho.sol";
import {MarketParamsLib} from "@morpho-org/morpho-blue/src/libraries/MarketParamsLib.sol";
import {MorphoBalancesLib} from "@morpho-org/morpho-blue/src/libraries/periphery/MorphoBalancesLib.sol";
import {MorphoLib} from "@morpho-org/morpho-blue/src/libraries/periphery/MorphoLib.sol";
import {MetaMorpho} from "../devnet/MetaMorpho.sol";
import {Connector} from "../src/connectors/Connector.sol";
import {ERC4626Connector} from "../src/connectors/ERC4626Connector.sol";
import {ConnectorFixture} from "./fixtures/ConnectorFixture.sol";
import {Token} from "./fixtures/Tokens.sol";

/// @dev OpenZeppelin's vault and its example of a fee on the way out. It can lose assets, and have less at hand than it
/// owns.
contract MovingVault is ERC4626 {
    using Math for uint256;
    using SafeERC20 for IERC20;

    uint8 private immutable OFFSET;
    uint256 public feeBps;
    uint256 private lent;

    constructor(IERC20 asset_, uint8 offset_) ERC20("Moving", "M") ERC4626(asset_) {
        OFFSET = offset_;
    }

    function setFee(uint256 feeBps_) external {
        feeBps = feeBps_;
    }

    function setLent(uint256 lent_) external {
        lent = lent_;
    }

    function lose(uint256 assets) external {
        IERC20(asset()).safeTransfer(address(0xdead), assets);
    }

    function offset() external view returns (uint256) {
        return OFFSET;
    }

    function maxRedeem(address owner) public view override returns (uint256) {
        uint256 shares = balanceOf(owner);
        return lent == 0 ? shares : convertToShares(totalAssets() - lent).min(shares);
    }

    function maxWithdraw(address owner) public view override returns (uint256) {
        return previewRedeem(maxRedeem(owner));
    }

    function previewWithdraw(uint256 assets) public view override returns (uint256) {
        return super.previewWithdraw(assets + _feeOn(assets));
    }

    function previewRedeem(uint256 shares) public view override returns (uint256) {
        uint256 assets = super.previewRedeem(shares);
        return assets - assets.mulDiv(feeBps, feeBps + 10_000, Math.Rounding.Ceil);
    }

    function _withdraw(address caller, address receiver, address owner, uint256 assets, uint256 shares)
        internal
        override
    {
        super._withdraw(caller, receiver, owner, assets, shares);
        IERC20(asset()).safeTransfer(address(0xfee), _feeOn(assets));
    }

    function _feeOn(uint256 assets) private view returns (uint256) {
        return assets.mulDiv(feeBps, 10_000, Math.Rounding.Ceil);
    }

    function _decimalsOffset() internal view override returns (uint8) {
        return OFFSET;
    }
}

/// @dev A unit of the collateral is as much as a unit of the loan.
contract EvenOracle {
    function price() external pure returns (uint256) {
        return 1e36;
    }
}

/// @title What ERC-4626 shares are worth, at any rate that they may have
/// @notice The asset of the vaults is the portfolio's, so that nothing but rounding lies between a report and an exit.
abstract contract ERC4626ValueFixture is ConnectorFixture {
    Token internal token;
    ERC4626 internal target;
    uint256 internal one;
    address internal others = makeAddr("others");

    function _openToken(uint256 seed) internal {
        uint8[4] memory decimals = [6, 8, 18, 27];
        token = new Token("ASSET", decimals[seed % 4]);
        (asset, one) = (address(token), 10 ** uint256(token.decimals()));
    }

    function _openConnector(ERC4626 target_) internal {
        target = target_;
        bytes32[] memory keys = new bytes32[](1);
        keys[0] = key = _keyOf(address(target_));
        connector = new ERC4626Connector(address(this), keys, new address[](0));
    }

    /// @dev Assets that one share is worth, rounded up.
    function _rate() internal view virtual returns (uint256);

    /// @dev Assets that a vault may lose to the rounding of whatever it holds.
    function _slack() internal view virtual returns (uint256);

    /// @dev Nothing, where shares that are more than dust are worth nothing: the connector does not say so.
    function _reported() internal returns (bool known, uint256 value) {
        uint256 shares = _shares();
        if (target.previewRedeem(shares) == 0 && shares > ERC4626Connector(address(connector)).dustOf(key)) {
            vm.expectRevert(abi.encodeWithSelector(ERC4626Connector.Unreadable.selector, key));
            connector.report(key);
            return (false, 0);
        }
        return (true, _value());
    }

    /// @dev Whoever wraps has the same before and after, but for the share that rounding keeps and what leaving costs.
    function _wrap(uint256 assets, uint256 feeBps) internal {
        (bool known, uint256 before) = _reported();
        token.mint(address(connector), assets);
        try connector.supply(key, assets) {
            (bool knownNow, uint256 value) = _reported();
            if (!known || !knownNow) return;
            uint256 cost = Math.mulDiv(assets, feeBps, 10_000 + feeBps, Math.Rounding.Ceil);
            assertLe(value, before + assets, "wrapping is no gain");
            assertGe(value + cost + _rate() + 2 + _slack(), before + assets, "nor a loss beyond the rounding");
        } catch (bytes memory reason) {
            vm.prank(address(connector));
            token.transfer(address(0xdead), assets);
            _assertRefusedRightly(assets, reason);
        }
    }

    /// @dev Only where it would have cost more than a thousandth, as one sees who does it all the same.
    function _assertRefusedRightly(uint256 assets, bytes memory reason) private {
        assertEq(bytes4(reason), Connector.SlippageExceeded.selector);
        uint256 state = vm.snapshotState();
        uint256 shares = _depositBy(others, assets, others);
        uint256 worth = target.previewRedeem(shares);
        assertTrue(shares == 0 || worth + 2 < assets - assets / 1000, "a sound deposit was refused");
        assertTrue(vm.revertToStateAndDelete(state));
    }

    /// @dev What others do at the rate of the moment changes nothing for us, but that their rounding is ours too.
    function _assertUntouched(bool known, uint256 before, uint256 rate) internal {
        (bool knownNow, uint256 value) = _reported();
        if (!known || !knownNow) return;
        assertGe(value + _slack(), before, "others took of it");
        assertLe(value, before + rate + 1 + _slack(), "others gave to it");
    }

    /// @dev All of it, in as many steps as there is something to pay with.
    /// @param release makes the vault liquid again
    function _leave(function() internal release) internal {
        (bool known, uint256 value) = _reported();
        uint256 shares = _shares();
        if (shares == 0) {
            vm.expectRevert(abi.encodeWithSelector(Connector.EmptyPosition.selector, key));
            connector.withdraw(key, EVERYTHING);
            return;
        }
        bool whole = _paysFor(shares);
        uint256 free = target.maxRedeem(address(connector));
        uint256 promised = target.previewRedeem(free);
        uint256 before = token.balanceOf(address(this));
        uint256 paid;
        if (!whole && free == 0) {
            vm.expectRevert(abi.encodeWithSelector(ERC4626Connector.Illiquid.selector, key, 0));
            connector.withdraw(key, EVERYTHING);
        } else {
            paid = connector.withdraw(key, EVERYTHING);
        }
        assertEq(token.balanceOf(address(this)) - before, paid);
        if (whole) {
            assertEq(_shares(), 0);
            if (known) assertEq(paid, value, "the report is what an exit pays");
            return;
        }
        assertEq(paid, promised, "what the vault lets go");
        (bool knownLeft, uint256 left) = _reported();
        if (known && knownLeft) {
            assertLe(paid + left, value + 1, "no gain by leaving in two steps");
            assertGe(paid + left + 3 + _slack(), value, "what it holds back is still a position");
        }
        release();
        (knownLeft, left) = _reported();
        paid = connector.withdraw(key, EVERYTHING);
        if (knownLeft) assertEq(paid, left);
        assertEq(_shares(), 0);
    }

    /// @dev Whether the vault itself pays for so many shares, whatever its limits say.
    function _paysFor(uint256 shares) private returns (bool pays) {
        uint256 state = vm.snapshotState();
        vm.prank(address(connector));
        (pays,) =
            address(target).call(abi.encodeCall(target.redeem, (shares, address(this), address(connector))));
        assertTrue(vm.revertToStateAndDelete(state));
    }

    function _takePart(uint256 seed) internal {
        (bool known, uint256 value) = _reported();
        uint256 most = target.maxWithdraw(address(connector));
        if (!known || most == 0) return;
        uint256 part = bound(seed, 1, most);
        uint256 rate = _rate();
        assertEq(connector.withdraw(key, part), part);
        (known, seed) = _reported();
        if (!known) return;
        assertLe(seed + part, value + 1, "no gain by taking a part");
        assertGe(seed + part + rate + 3 + _slack(), value, "no loss beyond the rounding");
    }

    function _depositBy(address giver, uint256 assets, address receiver) internal returns (uint256 shares) {
        token.mint(giver, assets);
        vm.startPrank(giver);
        token.approve(address(target), assets);
        shares = target.deposit(assets, receiver);
        vm.stopPrank();
    }

    function _shares() internal view returns (uint256) {
        return target.balanceOf(address(connector));
    }
}

/// @title OpenZeppelin's own vault, with yield, losses, donations, fees and little at hand
contract ERC4626ValueTest is ERC4626ValueFixture {
    MovingVault private moving;

    struct Story {
        uint256 decimals;
        uint256 offset;
        uint256 fee;
        uint256 others;
        uint256 first;
        uint256 second;
        uint256[5] moves;
        uint256 lent;
    }

    /// @dev A share is no unit of the asset: by its decimals from the start, and by its rate soon.
    function testFuzz_class_N_H_15_wrapping_is_neutral_and_an_exit_pays_the_report(Story memory story)
        public
    {
        _openToken(story.decimals);
        uint8[5] memory offsets = [0, 3, 6, 12, 18];
        moving = new MovingVault(token, offsets[story.offset % 5]);
        _openConnector(moving);
        moving.setFee(bound(story.fee, 0, 10));
        if (story.others % 4 != 0) _depositBy(others, bound(story.others, 1, 1e6 * one), others);
        _wrap(bound(story.first, 1, 1e6 * one), moving.feeBps());
        for (uint256 i; i < 5; ++i) {
            _move(story.moves[i] % 8, story.moves[i] >> 8);
        }
        // A vault may raise its fee after we are in: beyond a thousandth nothing more goes in.
        _wrap(bound(story.second, 1, 1e6 * one), moving.feeBps());
        if (story.lent % 2 == 0) moving.setLent(bound(story.lent, 0, moving.totalAssets()));
        _leave(_release);
    }

    function _release() private {
        moving.setLent(0);
    }

    function _move(uint256 kind, uint256 amount) private {
        uint256 rate = _rate();
        (bool known, uint256 value) = _reported();
        if (kind == 0) {
            // Yield, or a donation: what lies there is the vault's.
            token.mint(address(moving), bound(amount, 1, 1e6 * one));
        } else if (kind == 1) {
            uint256 total = moving.totalAssets();
            moving.lose(bound(amount, 0, total - total / 1000));
        } else if (kind == 2) {
            _depositBy(others, bound(amount, 1, 1e6 * one), address(connector));
        } else if (kind == 3) {
            _depositBy(others, bound(amount, 1, 1e6 * one), others);
            _assertUntouched(known, value, rate);
        } else if (kind == 4) {
            uint256 shares = bound(amount, 0, moving.balanceOf(others));
            vm.prank(others);
            moving.redeem(shares, others, others);
            _assertUntouched(known, value, rate);
        } else if (kind == 5) {
            _takePart(amount);
        } else if (kind == 6) {
            moving.setFee(bound(amount, 0, 500));
        } else {
            _wrap(bound(amount, 1, 1e6 * one), moving.feeBps());
        }
    }

    function _rate() internal view override returns (uint256) {
        return Math.ceilDiv(moving.totalAssets() + 1, moving.totalSupply() + 10 ** moving.offset());
    }

    function _slack() internal pure override returns (uint256) {
        return 0;
    }
}

/// @title A MetaMorpho vault of two markets on the real Morpho Blue, with interest, a fee and little at hand
contract MetaMorphoValueTest is ERC4626ValueFixture {
    using MarketParamsLib for MarketParams;
    using MorphoBalancesLib for IMorpho;
    using MorphoLib for IMorpho;

    IMorpho private morpho;
    MetaMorpho private meta;
    MarketParams[2] private markets;
    Token private collateral;
    address private whale = makeAddr("whale");

    struct Story {
        uint256 decimals;
        uint256 fee;
        uint256 cap;
        uint256 others;
        uint256 first;
        uint256 second;
        uint256[5] moves;
    }

    function testFuzz_class_N_class_V_wrapping_is_neutral_and_an_exit_pays_the_report(Story memory story)
        public
    {
        _openToken(story.decimals);
        _openMarkets(bound(story.cap, one, 10_000 * one));
        _openConnector(meta);
        meta.setFeeRecipient(makeAddr("curator"));
        meta.setFee(bound(story.fee, 0, 0.5e18));
        if (story.others % 4 != 0) _depositBy(others, bound(story.others, 1, 10_000 * one), others);
        _wrap(bound(story.first, 1, 10_000 * one), 0);
        for (uint256 i; i < 5; ++i) {
            _move(story.moves[i] % 8, story.moves[i] >> 8);
            _reported();
        }
        _wrap(bound(story.second, 1, 10_000 * one), 0);
        _leave(_repayAll);
    }

    /// @dev The first takes up to a cap, the second what is over.
    function _openMarkets(uint256 cap) private {
        morpho = IMorpho(_address(".morpho.address"));
        collateral = new Token("COLL", token.decimals());
        meta = new MetaMorpho(address(this), address(morpho), asset, "Meta", "META");
        Id[] memory queue = new Id[](2);
        for (uint256 i; i < 2; ++i) {
            markets[i] = MarketParams(
                asset, address(collateral), address(new EvenOracle()), _address(".morpho.irm"), 0.86e18
            );
            morpho.createMarket(markets[i]);
            meta.setCap(markets[i], i == 0 ? uint184(cap) : type(uint184).max);
            queue[i] = markets[i].id();
        }
        meta.setSupplyQueue(queue);
    }

    function _move(uint256 kind, uint256 amount) private {
        MarketParams memory market = markets[amount & 1];
        uint256 rate = _rate();
        (bool known, uint256 value) = _reported();
        if (kind == 0) {
            // A gift to the vault.
            amount = bound(amount, 1, 1_000 * one);
            token.mint(address(this), amount);
            token.approve(address(morpho), amount);
            morpho.supply(market, amount, 0, address(meta), "");
        } else if (kind == 1) {
            _depositBy(others, bound(amount, 1, 10_000 * one), address(connector));
        } else if (kind == 2) {
            _depositBy(others, bound(amount, 1, 10_000 * one), others);
            _assertUntouched(known, value, rate);
        } else if (kind == 3) {
            amount = bound(amount, 0, meta.maxWithdraw(others));
            vm.prank(others);
            meta.withdraw(amount, others, others);
            _assertUntouched(known, value, rate);
        } else if (kind == 4) {
            _takePart(amount);
        } else if (kind == 5) {
            _borrow(market, bound(amount, 0, _free(market)));
            vm.warp(block.timestamp + bound(amount >> 128, 0, 60 days));
        } else if (kind == 6) {
            for (uint256 i; i < 2; ++i) {
                _borrow(markets[i], _free(markets[i]));
            }
            vm.warp(block.timestamp + bound(amount, 0, 60 days));
        } else {
            _repayAll();
        }
    }

    function _borrow(MarketParams memory market, uint256 assets) private {
        if (assets == 0) return;
        uint256 pledged = (assets + morpho.expectedBorrowAssets(market, whale)) * 2 + 10;
        collateral.mint(whale, pledged);
        vm.startPrank(whale);
        collateral.approve(address(morpho), pledged);
        morpho.supplyCollateral(market, pledged, whale, "");
        morpho.borrow(market, assets, 0, whale, whale);
        vm.stopPrank();
    }

    function _repayAll() private {
        for (uint256 i; i < 2; ++i) {
            uint256 owed = morpho.expectedBorrowAssets(markets[i], whale);
            if (owed == 0) continue;
            token.mint(address(this), owed);
            token.approve(address(morpho), owed);
            morpho.repay(markets[i], 0, morpho.borrowShares(markets[i].id(), whale), whale, "");
        }
    }

    function _free(MarketParams memory market) private view returns (uint256) {
        (uint256 supplied,, uint256 borrowed,) = morpho.expectedMarketBalances(market);
        return supplied - borrowed;
    }

    /// @dev The fee that is due is out of it at the next touch.
    function _rate() internal view override returns (uint256) {
        return Math.ceilDiv(meta.totalAssets() + 1, meta.totalSupply() + 10 ** meta.DECIMALS_OFFSET());
    }

    /// @dev A unit for each market that is touched.
    function _slack() internal pure override returns (uint256) {
        return 2;
    }
}
