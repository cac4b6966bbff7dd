// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {CodeStore} from "./CodeStore.sol";
import {IConnector} from "../interfaces/IConnector.sol";
import {IIsolated} from "../interfaces/IIsolated.sol";
import {Connector} from "./Connector.sol";
import {IMorphoBlue, IMorphoOracle, Market, MarketParams} from "./IMorphoBlue.sol";
import {LendingConnector} from "./LendingConnector.sol";
import {Holding, MorphoState} from "./MorphoState.sol";

/// @title Supplies, collateral and debts in markets of Morpho Blue
/// @notice The key of a position is the market id. Every market stands for itself: its collateral secures its
/// debt alone.
contract MorphoBlueConnector is LendingConnector, IIsolated {
    using MorphoState for IMorphoBlue;
    using MorphoState for Market;
    using SafeERC20 for IERC20;

    /// @param keys markets that may only be supplied
    /// @param borrowable markets that may be supplied, given collateral and borrowed from
    /// @param rewards tokens that third parties may claim for this address, to be collected
    /// @param minHealth health factor that an action must leave, in WAD
    struct Terms {
        bytes32[] keys;
        bytes32[] borrowable;
        address[] rewards;
        uint256 minHealth;
    }

    uint256 private constant WAD = 1e18;
    uint256 private constant ORACLE_SCALE = 1e36;
    uint256 private constant PARAMS_LENGTH = 160;
    uint256 private constant SUPPLY_SLOTS = 4;
    uint256 private constant ALL_SLOTS = 5;

    /// @dev What a report costs when nothing has been read before: once, for every market in the store, for tokens
    /// to be priced and for the market's oracle at least. That may come to take a quarter more than now.
    uint256 private constant REPORT_GAS = 42_000;
    uint256 private constant ROW_GAS = 300;
    uint256 private constant PRICE_GAS = 75_000;
    uint256 private constant SECOND_PRICE_GAS = 60_000;
    uint256 private constant ORACLE_GAS = 40_000;
    uint256 private constant ORACLE_MARGIN = 4;

    /// @dev Pricing a token once more takes less than half, as all that its price rests on has been read.
    uint256 private constant AGAIN_DIVISOR = 2;

    /// @dev What is left of it once all but health is known: meeting the oracle, which takes 2,600, comes off it.
    uint256 private constant LAST_GAS = 5_000;

    IMorphoBlue public immutable morpho;

    /// @dev The parameters of every accepted market, one after the other, those to borrow from last. They are
    /// immutable in Morpho and a report needs all five words of them: from storage they would cost more than
    /// the rest of it.
    address private immutable _store;

    /// @dev Where in the store the markets to borrow from begin.
    uint256 private immutable _firstBorrowable;

    constructor(address portfolio_, IMorphoBlue morpho_, Terms memory terms)
        LendingConnector(portfolio_, terms.minHealth)
    {
        morpho = morpho_;
        bytes memory rows = _rows(morpho_, terms.keys, "");
        _firstBorrowable = rows.length;
        _store = CodeStore.write(_rows(morpho_, terms.borrowable, rows));
        _checkGas(terms);
        _allowCollecting(asset);
        for (uint256 i = 0; i < terms.rewards.length; i++) {
            _allowCollecting(terms.rewards[i]);
        }
    }

    // VALUE

    /// @inheritdoc IConnector
    /// @dev What a full exit would pay now: interest and fee accrued to this block, assets rounded down and debt
    /// up. A market that is only supplied is read without the slot of collateral and debt.
    function report(bytes32 key) external view override returns (uint256 low, uint256 high, uint256 state) {
        (MarketParams memory params, bool borrowable) = _params(key);
        (Market memory market, Holding memory own) = morpho.read(key, borrowable ? ALL_SLOTS : SUPPLY_SLOTS);
        if ((own.supplyShares | own.borrowShares) != 0) market.accrue(params);
        uint256 supplied = own.supplyShares == 0 ? 0 : market.supplyToAssetsDown(own.supplyShares);
        if ((own.borrowShares | own.collateral) == 0) return _worth(params.loanToken, supplied);

        Equity memory equity;
        _addAssets(equity, params.loanToken, supplied);
        _addAssets(equity, params.collateralToken, own.collateral);
        if (own.borrowShares == 0) return _net(equity, 0);
        uint256 owed = market.borrowToAssetsUp(own.borrowShares);
        _addDebt(equity, params.loanToken, owed);
        return _net(equity, _healthOrNothing(params, own.collateral, owed));
    }

    /// @inheritdoc IIsolated
    function isolated() external pure override returns (bool) {
        return true;
    }

    // SUPPLIES

    /// @inheritdoc IConnector
    function supply(bytes32 key, uint256 assets) external override onlyPortfolio {
        (MarketParams memory params,) = _params(key);
        if (assets == 0) revert ZeroAmount();
        uint256 tokensBefore = _balance(params.loanToken, address(this));

        _approve(params.loanToken, address(morpho), assets);
        (, uint256 shares) = morpho.supply(params, assets, 0, address(this), "");
        _checkSpent(params.loanToken, address(morpho), tokensBefore, assets);

        // Shares are rounded down: at an honest share price that costs one unit of the asset at most.
        (Market memory market,) = morpho.read(key, SUPPLY_SLOTS);
        uint256 worth = market.supplyToAssetsDown(shares);
        if (worth + 1 < assets) revert SlippageExceeded(assets - 1, worth);
    }

    /// @inheritdoc IConnector
    /// @dev A full exit burns shares, so that no interest of this very block stays behind; Morpho accrues first.
    /// Of a market that cannot pay all of it, it takes what is at hand; what is lent out stays a position.
    function withdraw(bytes32 key, uint256 assets)
        external
        override
        onlyPortfolio
        returns (uint256 withdrawn)
    {
        (MarketParams memory params,) = _params(key);
        if (assets == 0) revert ZeroAmount();
        morpho.accrueInterest(params);
        (Market memory market, Holding memory own) = morpho.read(key, SUPPLY_SLOTS);
        if (own.supplyShares == 0) revert EmptyPosition(key);

        uint256 balanceBefore = _balance(params.loanToken, portfolio);
        uint256 available = _less(market.totalSupplyAssets, market.totalBorrowAssets);
        (uint256 paid, uint256 burned) = assets == EVERYTHING
            ? _withdrawAll(key, params, own.supplyShares, available)
            : morpho.withdraw(params, assets, 0, address(this), portfolio);
        withdrawn = _received(params.loanToken, balanceBefore, assets == EVERYTHING ? paid : assets);

        // By the market as it was: what is left behind may be so little that its rounding, for as many shares as
        // were burned, is more than a unit.
        uint256 worth = market.supplyToAssetsDown(burned);
        if (worth > withdrawn + 1) revert SlippageExceeded(withdrawn + 1, worth);
    }

    /// @param available what the market has not lent out, which interest does not change
    function _withdrawAll(bytes32 key, MarketParams memory params, uint256 shares, uint256 available)
        private
        returns (uint256 paid, uint256 burned)
    {
        try morpho.withdraw(params, 0, shares, address(this), portfolio) returns (
            uint256 paid_, uint256 burned_
        ) {
            return (paid_, burned_);
        } catch {
            if (available == 0) revert Illiquid(key);
            return morpho.withdraw(params, available, 0, address(this), portfolio);
        }
    }

    // COLLATERAL

    /// @notice Pledges `assets` of the market's collateral that have just been pushed.
    function supplyCollateral(bytes32 key, uint256 assets) external onlyPortfolio {
        MarketParams memory params = _borrowable(key);
        if (assets == 0) revert ZeroAmount();
        uint256 tokensBefore = _balance(params.collateralToken, address(this));
        _approve(params.collateralToken, address(morpho), assets);
        morpho.supplyCollateral(params, assets, address(this), "");
        _checkSpent(params.collateralToken, address(morpho), tokensBefore, assets);
    }

    /// @notice Takes collateral back to the portfolio; the greatest number is all of it. Of any listed market,
    /// because anybody may pledge for anybody.
    function withdrawCollateral(bytes32 key, uint256 assets)
        external
        onlyPortfolio
        keepsHealth(key)
        returns (uint256 withdrawn)
    {
        (MarketParams memory params,) = _params(key);
        if (assets == 0) revert ZeroAmount();
        (, Holding memory own) = morpho.read(key, ALL_SLOTS);
        if (own.collateral == 0) revert EmptyPosition(key);
        if (assets == EVERYTHING) assets = own.collateral;
        uint256 balanceBefore = _balance(params.collateralToken, portfolio);
        morpho.withdrawCollateral(params, assets, address(this), portfolio);
        withdrawn = _received(params.collateralToken, balanceBefore, assets);
    }

    // DEBTS

    /// @notice Borrows `assets` of the market's loan token to the portfolio.
    function borrow(bytes32 key, uint256 assets) external onlyPortfolio keepsHealth(key) {
        MarketParams memory params = _borrowable(key);
        if (assets == 0) revert ZeroAmount();
        uint256 balanceBefore = _balance(params.loanToken, portfolio);
        (, uint256 shares) = morpho.borrow(params, assets, 0, address(this), portfolio);
        _received(params.loanToken, balanceBefore, assets);

        // Shares are rounded up: at an honest share price that costs one unit of the asset at most.
        (Market memory market,) = morpho.read(key, SUPPLY_SLOTS);
        uint256 owed = market.borrowToAssetsDown(shares);
        if (owed > assets + 1) revert SlippageExceeded(assets + 1, owed);
    }

    /// @notice Repays with what has just been pushed: `assets`, or all that lies here for the greatest number.
    /// What closes the debt repays its shares, so that nothing is left of it and nothing that others repay in
    /// between makes it fail; what is too much goes back.
    /// @return repaid what the debt took
    function repay(bytes32 key, uint256 assets) external onlyPortfolio returns (uint256 repaid) {
        MarketParams memory params = _borrowable(key);
        if (assets == EVERYTHING) assets = _balance(params.loanToken, address(this));
        if (assets == 0) revert ZeroAmount();
        (Market memory market, uint256 shares, uint256 owed) = _accruedDebt(key, params);
        if (assets >= owed) return _repay(params, market, 0, shares, assets);
        return _repay(params, market, assets, 0, assets);
    }

    /// @notice Repays `shares` of the debt, or all of them if there are fewer, with what has just been pushed.
    /// @param assets pushed; what is too much goes back
    /// @return repaid what the debt took
    function repayShares(bytes32 key, uint256 shares, uint256 assets)
        external
        onlyPortfolio
        returns (uint256 repaid)
    {
        MarketParams memory params = _borrowable(key);
        if (shares == 0 || assets == 0) revert ZeroAmount();
        (Market memory market, uint256 held,) = _accruedDebt(key, params);
        shares = Math.min(shares, held);
        uint256 cost = market.borrowToAssetsUp(shares);
        if (cost > assets) revert SlippageExceeded(assets, cost);
        return _repay(params, market, 0, shares, assets);
    }

    /// @param amount of assets to repay, or of `shares`: one of the two is nothing
    /// @param pushed assets that the portfolio has sent for it
    function _repay(
        MarketParams memory params,
        Market memory market,
        uint256 amount,
        uint256 shares,
        uint256 pushed
    ) private returns (uint256 repaid) {
        address token = params.loanToken;
        repaid = (amount | shares) == 0 ? 0 : Math.max(amount, market.borrowToAssetsUp(shares));
        if (repaid != 0) {
            uint256 tokensBefore = _balance(token, address(this));
            _approve(token, address(morpho), repaid);
            (, uint256 burned) = morpho.repay(params, amount, shares, address(this), "");
            _checkSpent(token, address(morpho), tokensBefore, repaid);
            uint256 worth = market.borrowToAssetsUp(burned);
            if (worth + 1 < repaid) revert SlippageExceeded(repaid - 1, worth);
        }
        if (repaid < pushed) IERC20(token).safeTransfer(portfolio, pushed - repaid);
    }

    function _accruedDebt(bytes32 key, MarketParams memory params)
        private
        returns (Market memory market, uint256 shares, uint256 owed)
    {
        morpho.accrueInterest(params);
        Holding memory own;
        (market, own) = morpho.read(key, ALL_SLOTS);
        shares = own.borrowShares;
        owed = market.borrowToAssetsUp(shares);
    }

    // HEALTH

    /// @inheritdoc LendingConnector
    /// @dev Worth of the collateral by the market's own oracle, times LLTV, over the debt.
    function _health(bytes32 key) internal view override returns (uint256) {
        (MarketParams memory params,) = _params(key);
        (Market memory market, Holding memory own) = morpho.read(key, ALL_SLOTS);
        if (own.borrowShares == 0) return type(uint256).max;
        market.accrue(params);
        uint256 price = IMorphoOracle(params.oracle).price();
        return _healthAt(price, params.lltv, own.collateral, market.borrowToAssetsUp(own.borrowShares));
    }

    /// @dev A report goes on without it, at the worst there is. The oracle is the market's own choice: what it takes
    /// must not be missing for the value.
    function _healthOrNothing(MarketParams memory params, uint256 collateral, uint256 owed)
        private
        view
        returns (uint256)
    {
        try IMorphoOracle(params.oracle).price{gas: _less(gasleft(), LAST_GAS)}() returns (uint256 price) {
            return _healthAt(price, params.lltv, collateral, owed);
        } catch {
            return 0;
        }
    }

    function _healthAt(uint256 price, uint256 lltv, uint256 collateral, uint256 owed)
        private
        pure
        returns (uint256)
    {
        (bool fits, uint256 worth) = Math.tryMul(collateral, price);
        if (!fits) return type(uint256).max;
        return worth / ORACLE_SCALE * lltv / WAD * WAD / owed;
    }

    // TERMS

    /// @dev The market whose id is `key`: Morpho's id is the hash of the parameters.
    function _params(bytes32 key) private view returns (MarketParams memory params, bool borrowable) {
        bytes memory rows = CodeStore.read(_store);
        uint256 length = rows.length;
        for (uint256 offset = 0; offset < length;) {
            bytes32 id;
            assembly ("memory-safe") {
                // The row itself is the struct: five words, one after the other.
                params := add(add(rows, 0x20), offset)
                id := keccak256(params, PARAMS_LENGTH)
            }
            if (id == key) return (params, offset >= _firstBorrowable);
            unchecked {
                offset += PARAMS_LENGTH;
            }
        }
        revert UnknownKey(key);
    }

    /// @dev A report that runs out of gas would leave the position without a value, and a debt that nobody may
    /// repay: markets that could come to it are refused.
    function _checkGas(Terms memory terms) private view {
        uint256 used = REPORT_GAS + ROW_GAS * (terms.keys.length + terms.borrowable.length);
        for (uint256 i = 0; i < terms.keys.length; i++) {
            (MarketParams memory params,) = _params(terms.keys[i]);
            _checkReportGas(used + _priceGas(params.loanToken, PRICE_GAS));
        }
        uint256[] memory prices = new uint256[](terms.borrowable.length);
        uint256[] memory again = new uint256[](terms.borrowable.length);
        for (uint256 i = 0; i < prices.length; i++) {
            (MarketParams memory params,) = _params(terms.borrowable[i]);
            prices[i] = _priceGas(params.loanToken, PRICE_GAS);
            again[i] = prices[i] / AGAIN_DIVISOR;
            prices[i] += _priceGas(params.collateralToken, SECOND_PRICE_GAS);
        }
        // Only now, as the markets' oracles may read what the prices rest on.
        for (uint256 i = 0; i < prices.length; i++) {
            (MarketParams memory params,) = _params(terms.borrowable[i]);
            uint256 health = _readGas(params.oracle, abi.encodeCall(IMorphoOracle.price, ()), ORACLE_GAS);
            health += health / ORACLE_MARGIN;
            // Anyone may lend on our behalf beside a debt, so that the loan's token is priced twice: the value has
            // room for it in any case, also where health has none left.
            _checkReportGas(used + prices[i] + Math.max(health, again[i] + LAST_GAS));
        }
    }

    function _borrowable(bytes32 key) private view returns (MarketParams memory params) {
        bool borrowable;
        (params, borrowable) = _params(key);
        if (!borrowable) revert NotBorrowable(key);
    }

    function _rows(IMorphoBlue morpho_, bytes32[] memory keys, bytes memory rows)
        private
        returns (bytes memory)
    {
        for (uint256 i = 0; i < keys.length; i++) {
            MarketParams memory params = morpho_.idToMarketParams(keys[i]);
            if (params.loanToken == address(0)) revert InvalidKey(keys[i]);
            for (uint256 offset = 0; offset < rows.length; offset += PARAMS_LENGTH) {
                bytes32 id;
                assembly ("memory-safe") {
                    id := keccak256(add(add(rows, 0x20), offset), PARAMS_LENGTH)
                }
                if (id == keys[i]) revert DuplicateKey(keys[i]);
            }
            rows = bytes.concat(rows, abi.encode(params));
            _allowCollecting(params.loanToken);
            _allowCollecting(params.collateralToken);
        }
        return rows;
    }
}
