// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {IConnector} from "../interfaces/IConnector.sol";
import {IOracleRouter} from "../interfaces/IOracleRouter.sol";
import {IRegistry} from "../interfaces/IRegistry.sol";
import {Status} from "../interfaces/Types.sol";
import {ReportLib} from "../libraries/ReportLib.sol";

/// @dev What a connector asks of its portfolio once, when it is made.
interface IPortfolioOrigin {
    function vault() external view returns (address);
    function registry() external view returns (address);
    function asset() external view returns (address);
}

/// @dev Gas that a portfolio gives every report.
interface IReportStipend {
    function REPORT_GAS() external view returns (uint256);
}

/// @title What every connector keeps to
/// @notice Only its portfolio acts on it. The keys it accepts are fixed when it is made. It approves exactly
/// what it supplies, sends to its portfolio alone, and believes balances rather than return values.
abstract contract Connector is IConnector {
    using SafeERC20 for IERC20;

    /// @dev What is owned and owed, each as a range in the vault's asset, under the worst status of its prices.
    struct Equity {
        uint256 assetsLow;
        uint256 assetsHigh;
        uint256 debtLow;
        uint256 debtHigh;
        uint256 status;
    }

    event Collected(address indexed token, uint256 amount);

    error NotPortfolio(address caller);
    error UnknownKey(bytes32 key);
    error DuplicateKey(bytes32 key);
    error InvalidKey(bytes32 key);
    error ZeroAmount();
    error EmptyPosition(bytes32 key);
    error SlippageExceeded(uint256 limit, uint256 seen);
    error NotCollectable(address token);
    error ReportTooDear(uint256 gas, uint256 stipend);

    /// @notice Amount that asks `withdraw` for everything.
    uint256 internal constant EVERYTHING = type(uint256).max;

    /// @dev The most that a price takes: one of feeds that a pool checks, on a chain with a sequencer's.
    uint256 private constant DEAREST_PRICE_GAS = 255_000;

    /// @dev More than a report has.
    uint256 private constant MOST_READ_GAS = 1_000_000;

    address public immutable override portfolio;
    address public immutable vault;

    /// @notice The asset the vault accounts in.
    address public immutable asset;

    IRegistry public immutable registry;

    /// @notice Tokens that `collect` sends to the portfolio, as far as they are no part of a position. Fixed when
    /// the connector is made.
    mapping(address token => bool) public isCollectable;

    modifier onlyPortfolio() {
        if (msg.sender != portfolio) revert NotPortfolio(msg.sender);
        _;
    }

    constructor(address portfolio_) {
        portfolio = portfolio_;
        vault = IPortfolioOrigin(portfolio_).vault();
        asset = IPortfolioOrigin(portfolio_).asset();
        registry = IRegistry(IPortfolioOrigin(portfolio_).registry());
    }

    /// @notice Sends what lies loose here to the portfolio: rewards that a third party claimed for this address,
    /// refunds, airdrops. Positions are not touched.
    function collect(address token) external onlyPortfolio returns (uint256 collected) {
        if (!isCollectable[token]) revert NotCollectable(token);
        uint256 amount = _loose(token);
        if (amount == 0) revert ZeroAmount();
        uint256 balanceBefore = _balance(token, portfolio);
        IERC20(token).safeTransfer(portfolio, amount);
        collected = _received(token, balanceBefore, amount);
        emit Collected(token, collected);
    }

    /// @dev What of a collectable token is no part of a position.
    function _loose(address token) internal view virtual returns (uint256) {
        return _balance(token, address(this));
    }

    /// @dev For constructors. A token that positions are held in needs a `_loose` that leaves them out.
    function _allowCollecting(address token) internal {
        isCollectable[token] = true;
    }

    // GAS, for constructors: a report that runs out of it leaves a position without a value.

    /// @dev What pricing a token may add to a report, by the oracle of today, and `least` where this transaction has
    /// read what it rests on. Without a price nothing says what it will take.
    function _priceGas(address token, uint256 least) internal view returns (uint256) {
        if (token == asset) return 0;
        (bool priced, bytes memory answer) =
            registry.oracle(vault).staticcall(abi.encodeCall(IOracleRouter.valueGas, (token, asset)));
        if (!priced || answer.length != 32) return DEAREST_PRICE_GAS;
        return Math.max(abi.decode(answer, (uint256)), least);
    }

    /// @dev What a read takes that a report makes, and `least` where this transaction has read what it rests on.
    function _readGas(address target, bytes memory data, uint256 least) internal view returns (uint256 used) {
        used = gasleft();
        assembly ("memory-safe") {
            pop(staticcall(MOST_READ_GAS, target, add(data, 32), mload(data), 0, 0))
        }
        used = Math.max(used - gasleft(), least);
    }

    function _checkReportGas(uint256 used) internal view {
        uint256 stipend = IReportStipend(portfolio).REPORT_GAS();
        if (used > stipend) revert ReportTooDear(used, stipend);
    }

    /// @dev The key of a position that an address names.
    function _keyOf(address named) internal pure returns (bytes32) {
        return bytes32(uint256(uint160(named)));
    }

    function _addressOf(bytes32 key) internal pure returns (address named) {
        named = address(uint160(uint256(key)));
        if (_keyOf(named) != key || named == address(0)) revert InvalidKey(key);
    }

    /// @dev `amount` of `token` in the vault's asset. Nothing is worth nothing, whatever the market says.
    function _worth(address token, uint256 amount)
        internal
        view
        returns (uint256 low, uint256 high, uint256 status)
    {
        if (token == asset || amount == 0) return (amount, amount, uint256(Status.OK));
        Status verdict;
        (low, high, verdict) = IOracleRouter(registry.oracle(vault)).value(token, asset, amount);
        status = uint256(verdict);
    }

    /// @dev The most that `amount` may be worth, as far as there is a price: for what is not yet owned, such as
    /// rewards to be claimed, which must not make a report revert, nor its position worth anything at all.
    function _highOrNothing(address token, uint256 amount) internal view returns (uint256 high) {
        if (token == asset || amount == 0) return amount;
        Status status;
        try IOracleRouter(registry.oracle(vault)).value(token, asset, amount) returns (
            uint256, uint256 most, Status seen
        ) {
            (high, status) = (most, seen);
        } catch {}
        if (status == Status.UNAVAILABLE) high = 0;
    }

    function _addAssets(Equity memory equity, address token, uint256 amount) internal view {
        (uint256 low, uint256 high, uint256 status) = _worth(token, amount);
        equity.assetsLow = _plus(equity.assetsLow, low);
        equity.assetsHigh = _plus(equity.assetsHigh, high);
        equity.status = Math.max(equity.status, status);
    }

    function _addDebt(Equity memory equity, address token, uint256 amount) internal view {
        (uint256 low, uint256 high, uint256 status) = _worth(token, amount);
        equity.debtLow = _plus(equity.debtLow, low);
        equity.debtHigh = _plus(equity.debtHigh, high);
        equity.status = Math.max(equity.status, status);
    }

    /// @dev The three words of a report: assets less debts, floored at nothing, because a position that owes
    /// more than it owns is the protocol's loss and not that of other positions.
    /// @param health factor in WAD, which counts only with debt
    function _net(Equity memory equity, uint256 health)
        internal
        pure
        returns (uint256 low, uint256 high, uint256 state)
    {
        low = _less(equity.assetsLow, equity.debtHigh);
        high = _less(equity.assetsHigh, equity.debtLow);
        // Without a price the low end is nothing, which would make a debt look like none.
        uint256 debt = equity.status == uint256(Status.UNAVAILABLE) ? equity.debtHigh : equity.debtLow;
        state = ReportLib.pack(Status(equity.status), debt, health);
    }

    /// @dev Saturates: a value without a ceiling is the greatest number there is.
    function _plus(uint256 one, uint256 other) internal pure returns (uint256) {
        return one > type(uint256).max - other ? type(uint256).max : one + other;
    }

    /// @dev Saturates at nothing.
    function _less(uint256 one, uint256 other) internal pure returns (uint256) {
        return one > other ? one - other : 0;
    }

    function _balance(address token, address account) internal view returns (uint256) {
        return IERC20(token).balanceOf(account);
    }

    function _approve(address token, address spender, uint256 amount) internal {
        IERC20(token).forceApprove(spender, amount);
    }

    /// @dev The protocol must have taken exactly what it was given, and may take no more later.
    function _checkSpent(address token, address spender, uint256 balanceBefore, uint256 assets) internal {
        uint256 spent = balanceBefore - _balance(token, address(this));
        if (spent != assets) revert SlippageExceeded(assets, spent);
        if (IERC20(token).allowance(address(this), spender) != 0) _approve(token, spender, 0);
    }

    /// @dev What has reached the portfolio since `balanceBefore`, which must be at least `minimum`.
    function _received(address token, uint256 balanceBefore, uint256 minimum)
        internal
        view
        returns (uint256 received)
    {
        received = _balance(token, portfolio) - balanceBefore;
        if (received < minimum) revert SlippageExceeded(minimum, received);
    }
}
