// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {IConnector} from "../interfaces/IConnector.sol";
import {Connector} from "./Connector.sol";
import {IAaveV3AToken, IAaveV3Pool, IAaveV3Rewards} from "./IAaveV3.sol";
import {LendingConnector} from "./LendingConnector.sol";

/// @title Supplies and debts of one account at one Aave v3 pool
/// @notice The key of a position is its reserve's asset. A debt belongs to the whole account: it is taken off the
/// supplies in the order of the keys, so that their sum is what the account owns less what it owes.
contract AaveV3Connector is LendingConnector {
    using SafeERC20 for IERC20;

    /// @param keys assets that may be supplied
    /// @param borrowable assets that may be borrowed
    /// @param rewards tokens that may be claimed; unclaimed ones count at the high end only
    /// @param minHealth health factor that an action must leave, in WAD
    struct Terms {
        bytes32[] keys;
        bytes32[] borrowable;
        address[] rewards;
        uint256 minHealth;
    }

    struct Debt {
        address token;
        uint16 reserve;
        address debtToken;
    }

    error InvalidReward(address reward);
    error KeyNotListed(bytes32 key);
    error NotAGift(bytes32 key);
    error UnknownReward(address reward);

    /// @dev What a report costs when nothing has been read before: once, or where nothing can be owed, for every
    /// balance, for every reserve in the account's health, for every token to be priced at least, for every reward.
    uint256 private constant REPORT_GAS = 38_000;
    uint256 private constant SUPPLY_GAS = 21_000;
    uint256 private constant BALANCE_GAS = 17_000;
    uint256 private constant RESERVE_GAS = 37_000;
    uint256 private constant PRICE_GAS = 75_000;
    uint256 private constant REWARD_GAS = 80_000;

    /// @dev What is left of it once all but health is known.
    uint256 private constant LAST_GAS = 3_000;

    /// @dev Part of health that a gift may count for and be dropped all the same where little is left.
    uint256 private constant SLIGHT = 1000;

    uint256 private constant RAY = 1e27;
    uint256 private constant VARIABLE_RATE = 2;

    /// @dev The even bits of an account's configuration say which reserves it has borrowed.
    uint256 private constant BORROWING = type(uint256).max / 3;

    IAaveV3Pool public immutable pool;

    /// @notice Where rewards are claimed; zero when none are.
    IAaveV3Rewards public immutable rewardsController;

    bool private immutable _mayBorrow;

    /// @notice The receipt token of every accepted key. Kept because the pool never changes it while anyone,
    /// such as this connector, still has a balance.
    mapping(bytes32 key => address) public aTokenOf;

    /// @notice The debt token of every asset that may be borrowed.
    mapping(bytes32 key => address) public debtTokenOf;

    bytes32[] private _keys;
    Debt[] private _debts;
    address[] private _rewards;

    /// @dev The tokens whose holders are rewarded, by the key whose report counts what they have earned.
    mapping(bytes32 key => address[]) private _incentivised;

    /// @dev For ways out. What secures no debt may leave while Aave misses a price: it changes no health. Anything
    /// else Aave itself holds back until it knows one.
    modifier keepsHealthIfKnown(bytes32 key) {
        uint256 before = _healthIfKnown();
        _;
        if (before != 0) _checkHealth(key, before);
    }

    constructor(address portfolio_, IAaveV3Pool pool_, Terms memory terms)
        LendingConnector(portfolio_, terms.minHealth)
    {
        pool = pool_;
        _mayBorrow = terms.borrowable.length != 0;
        _allowCollecting(asset);
        for (uint256 i = 0; i < terms.keys.length; i++) {
            _addKey(terms.keys[i], pool_);
        }
        for (uint256 i = 0; i < terms.borrowable.length; i++) {
            _addBorrowable(terms.borrowable[i], pool_);
        }
        _checkGas(terms);
        if (terms.rewards.length == 0) return;
        address controller = IAaveV3AToken(aTokenOf[terms.keys[0]]).getIncentivesController();
        rewardsController = IAaveV3Rewards(controller);
        for (uint256 i = 0; i < terms.rewards.length; i++) {
            if (controller == address(0)) revert InvalidReward(terms.rewards[i]);
            _addReward(terms.rewards[i]);
        }
    }

    // VALUE

    /// @inheritdoc IConnector
    function report(bytes32 key) external view override returns (uint256 low, uint256 high, uint256 state) {
        address aToken = _aToken(key);
        uint256 configuration = _configuration();
        Equity memory own;
        if (configuration & BORROWING != 0) own = _inDebt(key, configuration);
        else _addAssets(own, _addressOf(key), _balance(aToken, address(this)));
        uint256 unclaimed = address(rewardsController) == address(0) ? 0 : _unclaimed(key);
        // Last, because it may take what gas is left. Dust bears a unit of debt at one end alone, and a health of 0
        // would be one that nobody can read.
        uint256 health = (own.debtLow | own.debtHigh) == 0 ? 0 : _healthOrNothing();
        (low, high, state) = _net(own, health);
        high = _plus(high, unclaimed);
    }

    /// @dev Debts reduce the keys one after the other; what no key can bear stays with the last. So what a key bears
    /// rests on the prices of those before it, and it is in doubt with them: else two readings would take the one
    /// from when it was sound, less the debt, and the other from when it had to bear the same debt. Its value stays
    /// what it is. What has nothing and bears nothing is in no such doubt, or it would stop repayments
    /// (`PostConditions._isAllowed`).
    function _inDebt(bytes32 key, uint256 configuration) private view returns (Equity memory own) {
        Equity memory owed = _owed(configuration);
        uint256 last = _keys.length - 1;
        uint256 doubt;
        for (uint256 i = 0; i <= last; i++) {
            bytes32 current = _keys[i];
            own = Equity(0, 0, 0, 0, owed.status);
            _addAssets(own, _addressOf(current), _balance(aTokenOf[current], address(this)));
            bool bearsAll = i == last;
            own.debtLow = bearsAll ? owed.debtLow : Math.min(owed.debtLow, own.assetsHigh);
            own.debtHigh = bearsAll ? owed.debtHigh : Math.min(owed.debtHigh, own.assetsLow);
            if (current == key) break;
            owed.debtLow -= own.debtLow;
            owed.debtHigh -= own.debtHigh;
            doubt = Math.max(doubt, own.status);
        }
        if ((own.assetsLow | own.debtHigh) != 0) own.status = Math.max(own.status, doubt);
    }

    function _owed(uint256 configuration) private view returns (Equity memory owed) {
        for (uint256 i = 0; i < _debts.length; i++) {
            Debt memory debt = _debts[i];
            if (configuration >> (2 * debt.reserve) & 1 == 0) continue;
            _addDebt(owed, debt.token, _balance(debt.debtToken, address(this)));
        }
    }

    /// @dev At the high end of their price, if there is one: no status of a reward says anything of the position.
    function _unclaimed(bytes32 key) private view returns (uint256 value) {
        for (uint256 i = 0; i < _rewards.length; i++) {
            address reward = _rewards[i];
            try rewardsController.getUserRewards(_incentivised[key], address(this), reward) returns (
                uint256 n
            ) {
                value = _plus(value, _highOrNothing(reward, n));
            } catch {}
        }
    }

    // SUPPLIES

    /// @inheritdoc IConnector
    function supply(bytes32 key, uint256 assets) external override onlyPortfolio {
        address aToken = _aToken(key);
        address token = _addressOf(key);
        if (assets == 0) revert ZeroAmount();
        uint256 tokensBefore = _balance(token, address(this));
        uint256 positionBefore = _balance(aToken, address(this));

        _approve(token, address(pool), assets);
        pool.supply(token, assets, address(this), 0);
        _checkSpent(token, address(pool), tokensBefore, assets);

        // The pool rounds the scaled balance down, by less than one unit of it, and the balance down again.
        uint256 rounding = pool.getReserveNormalizedIncome(token) / RAY + 1;
        uint256 gained = _balance(aToken, address(this)) - positionBefore;
        if (gained + rounding < assets) revert SlippageExceeded(assets - rounding, gained);
    }

    /// @inheritdoc IConnector
    /// @dev A full exit takes what the pool has at hand; what is lent out stays a position.
    function withdraw(bytes32 key, uint256 assets)
        external
        override
        onlyPortfolio
        keepsHealthIfKnown(key)
        returns (uint256 withdrawn)
    {
        address aToken = _aToken(key);
        address token = _addressOf(key);
        if (assets == 0) revert ZeroAmount();
        uint256 position = _balance(aToken, address(this));
        if (position == 0) revert EmptyPosition(key);
        if (assets == EVERYTHING) {
            uint256 available = pool.getVirtualUnderlyingBalance(token);
            if (available == 0) revert Illiquid(key);
            if (available < position) assets = available;
        }

        uint256 balanceBefore = _balance(token, portfolio);
        pool.withdraw(token, assets, portfolio);
        withdrawn = _received(token, balanceBefore, assets == EVERYTHING ? position : assets);
    }

    /// @notice Says whether a supply secures debts. Any reserve may be taken out: one that has lost its loan to
    /// value, whoever supplied it, blocks withdrawals of all others.
    function setCollateral(bytes32 key, bool used) external onlyPortfolio keepsHealth(key) {
        if (used) _aToken(key);
        pool.setUserUseReserveAsCollateral(_addressOf(key), used);
    }

    /// @notice Enters an efficiency mode of the pool, or leaves it (0).
    function setEMode(uint8 category) external onlyPortfolio keepsHealth(0) {
        pool.setUserEMode(category);
    }

    // DEBTS

    /// @notice Borrows `assets` of a listed reserve to the portfolio.
    /// @dev Only while the vault counts every key, and the registry then keeps them while anything is owed. Another would
    /// bear debts of those that it counts, and so hold value that no cap sees, whatever is paused.
    function borrow(bytes32 key, uint256 assets) external onlyPortfolio keepsHealth(key) {
        address debtToken = _debtToken(key);
        address token = _addressOf(key);
        if (assets == 0) revert ZeroAmount();
        for (uint256 i = 0; i < _keys.length; i++) {
            if (registry.riskIdsOf(vault, address(this), _keys[i]).length == 0) {
                revert KeyNotListed(_keys[i]);
            }
        }
        uint256 owedBefore = _balance(debtToken, address(this));
        uint256 balanceBefore = _balance(token, portfolio);

        pool.borrow(token, assets, VARIABLE_RATE, 0, address(this));
        IERC20(token).safeTransfer(portfolio, assets);
        _received(token, balanceBefore, assets);

        uint256 limit = assets + _debtRounding(token);
        uint256 owed = _balance(debtToken, address(this)) - owedBefore;
        if (owed > limit) revert SlippageExceeded(limit, owed);
    }

    /// @notice Repays with what has just been pushed: `assets`, or all that lies here for the greatest number. A
    /// debt that is smaller, because somebody else has repaid of it, is no error: the rest goes back.
    /// @return repaid what the debt took
    function repay(bytes32 key, uint256 assets) external onlyPortfolio returns (uint256 repaid) {
        address debtToken = _debtToken(key);
        address token = _addressOf(key);
        uint256 held = _balance(token, address(this));
        if (assets == EVERYTHING) assets = held;
        if (assets == 0) revert ZeroAmount();
        // Grows with every second, and so does this balance: what is approved is what is owed now.
        uint256 owed = _balance(debtToken, address(this));
        repaid = Math.min(assets, owed);
        if (repaid != 0) {
            _approve(token, address(pool), repaid);
            pool.repay(token, repaid, VARIABLE_RATE, address(this));
            _checkSpent(token, address(pool), held, repaid);
            _checkRepaid(token, repaid, owed - _balance(debtToken, address(this)));
        }
        if (repaid < assets) IERC20(token).safeTransfer(portfolio, assets - repaid);
    }

    /// @notice Repays up to `assets` of a debt with the supply of the same reserve.
    /// @return repaid by how much the debt fell
    function repayWithATokens(bytes32 key, uint256 assets) external onlyPortfolio returns (uint256 repaid) {
        address aToken = _aToken(key);
        address debtToken = _debtToken(key);
        address token = _addressOf(key);
        if (assets == 0) revert ZeroAmount();
        uint256 owed = _balance(debtToken, address(this));
        if (owed == 0) return 0;
        uint256 position = _balance(aToken, address(this));
        pool.repayWithATokens(token, assets, VARIABLE_RATE);
        repaid = owed - _balance(debtToken, address(this));
        uint256 spent = position - _balance(aToken, address(this));
        uint256 rounding = pool.getReserveNormalizedIncome(token) / RAY + 1;
        _checkRepaid(token, _less(spent, rounding), repaid);
    }

    // REWARDS

    /// @notice Claims all of a listed reward, of supplies and of debts, to the portfolio.
    function claimRewards(address reward) external onlyPortfolio returns (uint256 claimed) {
        uint256 i;
        while (i < _rewards.length && _rewards[i] != reward) ++i;
        if (i == _rewards.length) revert UnknownReward(reward);
        uint256 balanceBefore = _balance(reward, portfolio);
        for (i = 0; i < _keys.length; i++) {
            rewardsController.claimRewards(_incentivised[_keys[i]], EVERYTHING, portfolio, reward);
        }
        claimed = _received(reward, balanceBefore, 0);
    }

    // HEALTH

    /// @inheritdoc LendingConnector
    /// @dev Aave's own, of the whole account.
    function _health(bytes32) internal view override returns (uint256 health) {
        if (_configuration() & BORROWING == 0) return type(uint256).max;
        (,,,,, health) = pool.getUserAccountData(address(this));
    }

    /// @dev For what may be done while Aave misses a price: then nothing is known to be lower than it was.
    function _healthIfKnown() private view returns (uint256) {
        return _configuration() & BORROWING == 0 ? type(uint256).max : _healthOrNothing();
    }

    /// @dev A report goes on without it, at the worst there is. Anybody may supply other reserves for this account,
    /// and the pool then goes through these as well: what that takes must not be missing for the value.
    function _healthOrNothing() private view returns (uint256) {
        try pool.getUserAccountData{gas: _less(gasleft(), LAST_GAS)}(address(this)) returns (
            uint256, uint256, uint256, uint256, uint256, uint256 health
        ) {
            return health;
        } catch {
            return 0;
        }
    }

    /// @notice Takes what a stranger has supplied of a reserve that is no key out of the collateral. Anyone may: as
    /// long as it counts there, the account's health takes more gas to read, and a report may lack it. What really
    /// secures a debt stays where health is low; and Aave keeps whatever the account would be liquidated without.
    function dropGift(bytes32 key) external {
        if (aTokenOf[key] != address(0)) revert NotAGift(key);
        uint256 before = _healthIfKnown();
        pool.setUserUseReserveAsCollateral(_addressOf(key), false);
        _checkHealth(key, before - before / SLIGHT);
    }

    /// @dev Two bits for every reserve of the pool: collateral and, below it, debt.
    function _configuration() private view returns (uint256) {
        return _mayBorrow ? pool.getUserConfiguration(address(this)) : 0;
    }

    // TERMS

    function _addKey(bytes32 key, IAaveV3Pool pool_) private {
        address token = _addressOf(key);
        address aToken = pool_.getReserveAToken(token);
        if (aToken == address(0)) revert InvalidKey(key);
        if (aTokenOf[key] != address(0)) revert DuplicateKey(key);
        aTokenOf[key] = aToken;
        _keys.push(key);
        _incentivised[key].push(aToken);
        _allowCollecting(token);
    }

    function _addBorrowable(bytes32 key, IAaveV3Pool pool_) private {
        address token = _addressOf(key);
        address debtToken = pool_.getReserveVariableDebtToken(token);
        if (debtToken == address(0)) revert InvalidKey(key);
        if (debtTokenOf[key] != address(0)) revert DuplicateKey(key);
        debtTokenOf[key] = debtToken;
        _debts.push(Debt(token, pool_.getReserveData(token).id, debtToken));
        _incentivised[aTokenOf[key] == address(0) ? _keys[0] : key].push(debtToken);
        _allowCollecting(token);
    }

    /// @dev A report that runs out of gas would leave the position without a value, and a debt that nobody may
    /// repay: terms that could come to it are refused.
    function _checkGas(Terms memory terms) private view {
        uint256 used = 0;
        for (uint256 i = 0; i < terms.rewards.length; i++) {
            // Two feeds are in it.
            used += REWARD_GAS - PRICE_GAS + Math.max(_priceGas(terms.rewards[i], PRICE_GAS), PRICE_GAS);
        }
        if (!_mayBorrow) {
            // Every key then stands for itself.
            uint256 dearest = 0;
            for (uint256 i = 0; i < terms.keys.length; i++) {
                dearest = Math.max(dearest, _priceGas(_addressOf(terms.keys[i]), PRICE_GAS));
            }
            _checkReportGas(used + SUPPLY_GAS + BALANCE_GAS + dearest);
            return;
        }
        used += REPORT_GAS + BALANCE_GAS * terms.keys.length;
        for (uint256 i = 0; i < terms.keys.length; i++) {
            used += RESERVE_GAS + _priceGas(_addressOf(terms.keys[i]), PRICE_GAS);
        }
        for (uint256 i = 0; i < terms.borrowable.length; i++) {
            used += BALANCE_GAS;
            if (aTokenOf[terms.borrowable[i]] != address(0)) continue;
            used += RESERVE_GAS + _priceGas(_addressOf(terms.borrowable[i]), PRICE_GAS);
        }
        _checkReportGas(used);
    }

    /// @dev A receipt token may be earned, but never be taken for something that lies loose.
    function _addReward(address reward) private {
        _rewards.push(reward);
        for (uint256 i = 0; i < _keys.length; i++) {
            if (aTokenOf[_keys[i]] == reward) return;
        }
        _allowCollecting(reward);
    }

    function _aToken(bytes32 key) private view returns (address aToken) {
        aToken = aTokenOf[key];
        if (aToken == address(0)) revert UnknownKey(key);
    }

    function _debtToken(bytes32 key) private view returns (address debtToken) {
        debtToken = debtTokenOf[key];
        if (debtToken == address(0)) revert NotBorrowable(key);
    }

    /// @dev The pool rounds the scaled debt up, by less than one unit of it, and the debt up again.
    function _debtRounding(address token) private view returns (uint256) {
        return pool.getReserveNormalizedVariableDebt(token) / RAY + 1;
    }

    function _checkRepaid(address token, uint256 paid, uint256 repaid) private view {
        uint256 limit = _less(paid, _debtRounding(token));
        if (repaid < limit) revert SlippageExceeded(limit, repaid);
    }
}
