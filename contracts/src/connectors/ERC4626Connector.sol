// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IERC20Metadata} from "@openzeppelin/contracts/interfaces/IERC20Metadata.sol";
import {IERC4626} from "@openzeppelin/contracts/interfaces/IERC4626.sol";
import {ERC165Checker} from "@openzeppelin/contracts/utils/introspection/ERC165Checker.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {IConnector} from "../interfaces/IConnector.sol";
import {IIsolated} from "../interfaces/IIsolated.sol";
import {IERC7540Deposit, IERC7540Redeem} from "../interfaces/IERC7540.sol";
import {Status} from "../interfaces/Types.sol";
import {BoundedRead} from "../oracle/BoundedRead.sol";
import {PriceMath} from "../oracle/PriceMath.sol";
import {Connector} from "./Connector.sol";

/// @title Shares of any ERC-4626 vaults, ERC-7540 ones among them
/// @notice The key of a position is the vault. Its asset is read once: EIP-4626 forbids that it changes. A
/// vault that says by ERC-165 that it redeems on request is asked by `requestRedeem`, and what it then has ready
/// leaves by `claim` or `withdraw`; one that takes deposits on request is asked by `supply`. Requests of such a
/// vault must all be one (id 0).
/// @dev A vault that takes more to read than a report has is refused when the connector is made. What curators add
/// later nobody can refuse: for a vault with a queue of markets (MetaMorpho) there is room for one more at first. There
/// is for five in all where the assets are the same, and for four where two feeds price the vault's.
contract ERC4626Connector is Connector, IIsolated {
    /// @dev Largest part of a deposit that entering may cost in fees and rounding, and least that leaving is
    /// thought to cost where a vault does not say: 10 bps. The minimum of `previewDeposit` alone would follow a
    /// share price that somebody has just inflated.
    uint256 private constant LOSS_DIVISOR = 1000;

    /// @dev What one view may cost of the 300k of a report: a MetaMorpho vault of five markets, cold, takes 205k.
    uint256 private constant VIEW_GAS = 220_000;

    /// @dev The same of a limit, which no report waits for: that MetaMorpho vault's `maxRedeem` takes 425k.
    uint256 private constant LIMIT_GAS = 500_000;

    /// @dev What a report costs when nothing has been read before: besides the vault's views, for a token to be
    /// priced at least, for the views of a MetaMorpho vault, and for each of its markets.
    uint256 private constant REPORT_GAS = 15_000;
    uint256 private constant PRICE_GAS = 75_000;
    uint256 private constant QUEUE_GAS = 22_000;
    uint256 private constant MARKET_GAS = 38_000;

    bytes4 private constant ERC7575_SHARE = 0x2f0a18c5;

    /// @dev Units of a vault's asset, at the price its shares begin at, that may be worth nothing without a doubt:
    /// so little remains of rounding and comes of gifts, even where nearly everything was lost.
    uint256 private constant DUST_UNITS = 1000;
    uint256 private constant MOST_SPARE_DECIMALS = 21;

    /// @dev Digits of the greatest whole share or asset that a vault is asked about, and how many times its totals.
    uint256 private constant MOST_ASKED_DECIMALS = 36;
    uint256 private constant MANY = 1e18;

    /// @dev `dust`: shares that may be worth nothing.
    struct Target {
        address token;
        bool asyncDeposit;
        bool asyncRedeem;
        uint80 dust;
    }

    /// @dev What a vault says of an `amount`; nothing, where it is not `known`.
    struct Answer {
        uint256 amount;
        bool known;
        uint256 said;
    }

    error Illiquid(bytes32 key, uint256 available);
    error AboveLimit(bytes32 key, uint256 limit, uint256 assets);
    error NotAsynchronous(bytes32 key);
    error RequestNotPooled(bytes32 key, uint256 requestId);
    error NothingToClaim(bytes32 key);
    error InvalidReward(address token);

    /// @notice The vault's views give no value: a report then reverts, and its position is impaired.
    error Unreadable(bytes32 key);

    mapping(bytes32 key => Target) private _targets;

    /// @notice Units of the vault's asset that may be ready to become shares without a doubt while no share can be
    /// taken for them: a share may begin at many units, and anybody may ask for less than one on our behalf.
    mapping(bytes32 key => uint256) public assetDustOf;

    /// @param keys vaults that may be entered
    /// @param rewards tokens that third parties may send here for holding shares
    constructor(address portfolio_, bytes32[] memory keys, address[] memory rewards) Connector(portfolio_) {
        for (uint256 i = 0; i < keys.length; i++) {
            address target = _addressOf(keys[i]);
            // A vault around this very vault would count the same assets twice.
            if (target == vault || target.code.length == 0) revert InvalidKey(keys[i]);
            if (_targets[keys[i]].token != address(0)) revert DuplicateKey(keys[i]);
            if (ERC165Checker.supportsInterface(target, ERC7575_SHARE) && IERC7575(target).share() != target)
            {
                revert InvalidKey(keys[i]);
            }
            address token = IERC4626(target).asset();
            _targets[keys[i]] = Target({
                token: token,
                asyncDeposit: ERC165Checker.supportsInterface(target, type(IERC7540Deposit).interfaceId),
                asyncRedeem: ERC165Checker.supportsInterface(target, type(IERC7540Redeem).interfaceId),
                dust: _dust(target, token)
            });
            assetDustOf[keys[i]] = _dust(token, target);
            _checkGas(keys[i]);
        }
        _allowCollecting(asset);
        for (uint256 i = 0; i < rewards.length; i++) {
            if (_targets[_keyOf(rewards[i])].token != address(0)) revert InvalidReward(rewards[i]);
            _allowCollecting(rewards[i]);
        }
    }

    // VIEWS

    /// @inheritdoc IIsolated
    function isolated() external pure override returns (bool) {
        return true;
    }

    /// @inheritdoc IConnector
    /// @dev A synchronous vault's `previewRedeem` is what leaving pays. Where it fails, what `convertToAssets`
    /// says is the ceiling and the floor is less, with a status that lets nothing in. An asynchronous vault's
    /// preview always fails: its shares, those it is to mint and those it is to redeem count as it converts them,
    /// besides assets that wait at either end.
    function report(bytes32 key) external view override returns (uint256 low, uint256 high, uint256 status) {
        Target memory target = _target(key);
        (uint256 least, uint256 most, bool sound) =
            target.asyncDeposit || target.asyncRedeem ? _requested(key, target) : _held(key, _shares(key));
        (low, high, status) = _worth(target.token, most);
        if (sound) return (low, high, status);
        (low,,) = _worth(target.token, least);
        status = uint256(Status.UNAVAILABLE);
    }

    /// @notice Asset of the vault that is the key.
    function tokenOf(bytes32 key) external view returns (address) {
        return _targets[key].token;
    }

    /// @notice Shares of the vault that may be worth nothing; more of them that are make a report revert.
    function dustOf(bytes32 key) external view returns (uint256) {
        return _target(key).dust;
    }

    /// @notice Whether the vault takes deposits, and whether it redeems, on request.
    function isAsync(bytes32 key) external view returns (bool deposits, bool redemptions) {
        Target memory target = _target(key);
        return (target.asyncDeposit, target.asyncRedeem);
    }

    /// @notice What the vault lets go now, in its asset: 0 while shares are locked, the vault is paused or a
    /// request waits.
    function withdrawable(bytes32 key) public view returns (uint256 assets) {
        _target(key);
        (, assets) = _tryView(key, abi.encodeCall(IERC4626.maxWithdraw, (address(this))));
    }

    /// @notice What the vault says of amounts that only a read of it tells: for those who value the position on their
    /// own, in one pass. First `previewRedeem` and `convertToAssets` of all shares that are ours, wherever they lie,
    /// and `previewRedeem` of those that it lets go now. Then answers that show whether its shares follow from its
    /// totals: `previewDeposit` twice, `previewWithdraw`, `previewRedeem` twice and `convertToAssets` of odd amounts,
    /// so that every rounding shows; `convertToAssets` and `convertToShares` of so great ones that a single virtual
    /// share does.
    function answers(bytes32 key) external view returns (Answer[11] memory all) {
        Target memory target = _target(key);
        (, uint256 shares) = _tryView(key, abi.encodeCall(IERC4626(address(0)).balanceOf, (address(this))));
        (, uint256 free) = _tryView(key, LIMIT_GAS, abi.encodeCall(IERC4626.maxRedeem, (address(this))));
        all[2] = _answer(key, IERC4626.previewRedeem.selector, Math.min(free, shares));
        shares = _everywhere(key, target, shares);
        all[0] = _answer(key, IERC4626.previewRedeem.selector, shares);
        all[1] = _answer(key, IERC4626.convertToAssets.selector, shares);

        uint256 unit = _unit(target.token);
        all[3] = _answer(key, IERC4626.previewDeposit.selector, unit);
        all[4] = _answer(key, IERC4626.previewDeposit.selector, 7 * unit + 3);
        all[5] = _answer(key, IERC4626.previewWithdraw.selector, 3 * unit + 1);
        unit = _unit(_addressOf(key));
        all[6] = _answer(key, IERC4626.previewRedeem.selector, unit);
        all[7] = _answer(key, IERC4626.previewRedeem.selector, 7 * unit + 5);
        all[8] = _answer(key, IERC4626.convertToAssets.selector, 11 * unit + 1);
        all[9] = _answer(
            key,
            IERC4626.convertToAssets.selector,
            _great(key, abi.encodeCall(IERC4626(address(0)).totalSupply, ()))
        );
        all[10] = _answer(
            key, IERC4626.convertToShares.selector, _great(key, abi.encodeCall(IERC4626.totalAssets, ()))
        );
    }

    // IN

    /// @inheritdoc IConnector
    /// @dev Into a vault that takes deposits on request: a request.
    function supply(bytes32 key, uint256 assets) external override onlyPortfolio {
        Target memory target = _target(key);
        if (assets == 0) revert ZeroAmount();
        if (target.asyncDeposit) _requestDeposit(key, target.token, assets);
        else _deposit(key, target.token, assets, IERC4626(_addressOf(key)).previewDeposit(assets));
    }

    /// @notice As `supply`, with the least shares as whoever signed it expected them.
    function deposit(bytes32 key, uint256 assets, uint256 minShares) external onlyPortfolio {
        if (assets == 0 || minShares == 0) revert ZeroAmount();
        _deposit(key, _target(key).token, assets, minShares);
    }

    function _deposit(bytes32 key, address token, uint256 assets, uint256 minimum) private {
        IERC4626 target = IERC4626(_addressOf(key));
        (bool known, uint256 limit) = _tryView(key, abi.encodeCall(IERC4626.maxDeposit, (address(this))));
        if (known && limit < assets) revert AboveLimit(key, limit, assets);
        uint256 tokensBefore = _balance(token, address(this));
        uint256 sharesBefore = _shares(key);

        _approve(token, address(target), assets);
        target.deposit(assets, address(this));
        _checkSpent(token, address(target), tokensBefore, assets);

        uint256 shares = _shares(key) - sharesBefore;
        if (shares < minimum || shares == 0) revert SlippageExceeded(minimum, shares);
        (, uint256 worth,) = _quote(key, shares);
        uint256 floor = assets - assets / LOSS_DIVISOR;
        // Two roundings of a unit each are not a loss to judge by.
        if (worth + 2 < floor) revert SlippageExceeded(floor, worth);
    }

    function _requestDeposit(bytes32 key, address token, uint256 assets) private {
        address target = _addressOf(key);
        uint256 tokensBefore = _balance(token, address(this));
        uint256 requestedBefore = _requestedDeposit(target);
        _approve(token, target, assets);
        uint256 id = IERC7540Deposit(target).requestDeposit(assets, address(this), address(this));
        if (id != 0) revert RequestNotPooled(key, id);
        _checkSpent(token, target, tokensBefore, assets);
        uint256 requested = _requestedDeposit(target) - requestedBefore;
        if (requested != assets) revert SlippageExceeded(assets, requested);
    }

    // OUT

    /// @inheritdoc IConnector
    /// @dev A full exit redeems as many shares as the vault lets go now; what it holds back stays a position. Of
    /// a vault that redeems on request it takes what is ready.
    function withdraw(bytes32 key, uint256 assets)
        external
        override
        onlyPortfolio
        returns (uint256 withdrawn)
    {
        Target memory target = _target(key);
        if (assets == 0) revert ZeroAmount();
        uint256 shares = _shares(key);
        if (shares == 0 && !target.asyncRedeem) revert EmptyPosition(key);
        uint256 balanceBefore = _balance(target.token, portfolio);
        if (assets == EVERYTHING) {
            return _received(target.token, balanceBefore, _redeemAll(key, target.asyncRedeem, shares));
        }
        // A vault that redeems on request burnt its shares when they were asked for.
        uint256 limit = target.asyncRedeem ? 0 : _limit(key, assets);
        try IERC4626(_addressOf(key)).withdraw(assets, portfolio, address(this)) {}
        catch {
            revert Illiquid(key, withdrawable(key));
        }
        uint256 burned = shares - _shares(key);
        if (burned > limit) revert SlippageExceeded(limit, burned);
        withdrawn = _received(target.token, balanceBefore, assets);
    }

    /// @notice Redeems shares for at least so many assets, as whoever signed it expected them.
    function redeem(bytes32 key, uint256 shares, uint256 minAssets)
        external
        onlyPortfolio
        returns (uint256 withdrawn)
    {
        address token = _target(key).token;
        if (shares == 0 || minAssets == 0) revert ZeroAmount();
        uint256 balanceBefore = _balance(token, portfolio);
        IERC4626(_addressOf(key)).redeem(shares, portfolio, address(this));
        withdrawn = _received(token, balanceBefore, minAssets);
    }

    /// @notice Asks a vault that redeems on request to redeem `shares`; `type(uint256).max` are all.
    function requestRedeem(bytes32 key, uint256 shares) external onlyPortfolio {
        if (!_target(key).asyncRedeem) revert NotAsynchronous(key);
        address target = _addressOf(key);
        uint256 held = _shares(key);
        if (shares == EVERYTHING) shares = held;
        if (shares == 0) revert ZeroAmount();
        uint256 requestedBefore = _requestedRedeem(target);
        uint256 id = IERC7540Redeem(target).requestRedeem(shares, address(this), address(this));
        if (id != 0) revert RequestNotPooled(key, id);
        uint256 spent = held - _shares(key);
        uint256 requested = _requestedRedeem(target) - requestedBefore;
        if (spent != shares || requested != shares) revert SlippageExceeded(shares, requested);
    }

    /// @notice Takes what requests have made ready: shares of deposits to here, assets of redemptions to the
    /// portfolio.
    /// @return shares minted
    /// @return assets paid
    function claim(bytes32 key) external onlyPortfolio returns (uint256 shares, uint256 assets) {
        Target memory target = _target(key);
        IERC4626 vault_ = IERC4626(_addressOf(key));
        if (target.asyncDeposit) {
            uint256 mintable = vault_.maxMint(address(this));
            if (mintable != 0) {
                uint256 sharesBefore = _shares(key);
                vault_.mint(mintable, address(this));
                shares = _shares(key) - sharesBefore;
                if (shares < mintable) revert SlippageExceeded(mintable, shares);
            }
        }
        if (target.asyncRedeem && withdrawable(key) != 0) {
            uint256 balanceBefore = _balance(target.token, portfolio);
            assets = _received(target.token, balanceBefore, _redeemAll(key, true, 0));
        }
        if (shares == 0 && assets == 0) revert NothingToClaim(key);
    }

    /// @dev Tries all of it first: the limit a vault names may be rounded, and would leave dust behind.
    /// @return minimum what the vault promised for the shares it took
    function _redeemAll(bytes32 key, bool ready, uint256 shares) private returns (uint256 minimum) {
        IERC4626 target = IERC4626(_addressOf(key));
        if (ready) {
            shares = target.maxRedeem(address(this));
            minimum = withdrawable(key);
            if (shares == 0 || minimum == 0) revert Illiquid(key, 0);
            target.redeem(shares, portfolio, address(this));
            return minimum;
        }
        minimum = _least(key, shares);
        try target.redeem(shares, portfolio, address(this)) {}
        catch {
            shares = target.maxRedeem(address(this));
            if (shares == 0) revert Illiquid(key, 0);
            minimum = _least(key, shares);
            target.redeem(shares, portfolio, address(this));
        }
    }

    // WHAT A VAULT TAKES TO READ

    /// @dev Markets that a key before this one has read, or that have not lent anything yet, seem to cost little.
    /// They count in full, and one more than there are.
    function _checkGas(bytes32 key) private view {
        Target memory target = _targets[key];
        uint256 used = _viewGas(key, target);
        (bool queued, uint256 markets) = _tryView(key, abi.encodeCall(IMetaMorpho.withdrawQueueLength, ()));
        if (queued) {
            markets = Math.min(markets, type(uint64).max);
            used = Math.max(used, QUEUE_GAS + MARKET_GAS * markets) + MARKET_GAS;
        }
        if (used > VIEW_GAS) revert ReportTooDear(used, VIEW_GAS);
        _checkReportGas(REPORT_GAS + used + _priceGas(target.token, PRICE_GAS));
    }

    /// @dev Of all views that a report may ask for.
    function _viewGas(bytes32 key, Target memory target) private view returns (uint256 used) {
        used = gasleft();
        _tryView(key, abi.encodeCall(IERC4626(address(0)).balanceOf, (address(this))));
        if (target.asyncDeposit) {
            _tryView(key, abi.encodeCall(IERC7540Deposit.pendingDepositRequest, (0, address(this))));
            _tryView(key, abi.encodeCall(IERC7540Deposit.claimableDepositRequest, (0, address(this))));
            _tryView(key, abi.encodeCall(IERC4626.maxMint, (address(this))));
            _tryView(key, abi.encodeCall(IERC4626.maxDeposit, (address(this))));
        }
        bool known = false;
        if (target.asyncRedeem) {
            _tryView(key, abi.encodeCall(IERC7540Redeem.pendingRedeemRequest, (0, address(this))));
            _tryView(key, abi.encodeCall(IERC7540Redeem.claimableRedeemRequest, (0, address(this))));
            _tryView(key, abi.encodeCall(IERC4626.maxWithdraw, (address(this))));
            _tryView(key, abi.encodeCall(IERC4626.maxRedeem, (address(this))));
        } else {
            (known,) = _tryView(key, abi.encodeCall(IERC4626.previewRedeem, (target.dust)));
        }
        if (!known) _tryView(key, abi.encodeCall(IERC4626.convertToAssets, (target.dust)));
        used -= gasleft();
    }

    // WHAT A VAULT SAYS

    /// @dev In the vault's asset: what waits to become shares, what is shares, what waits to be redeemed, and
    /// what is ready.
    function _requested(bytes32 key, Target memory target)
        private
        view
        returns (uint256 least, uint256 most, bool sound)
    {
        uint256 shares = _shares(key);
        uint256 waiting = 0;
        if (target.asyncDeposit) {
            waiting = _view(key, abi.encodeCall(IERC7540Deposit.pendingDepositRequest, (0, address(this))));
            uint256 mintable = _view(key, abi.encodeCall(IERC4626.maxMint, (address(this))));
            uint256 ready =
                _view(key, abi.encodeCall(IERC7540Deposit.claimableDepositRequest, (0, address(this))));
            _checkReady(key, ready, mintable, IERC4626.maxDeposit.selector, assetDustOf[key]);
            shares += mintable;
        }
        if (target.asyncRedeem) {
            uint256 payable_ = _view(key, abi.encodeCall(IERC4626.maxWithdraw, (address(this))));
            uint256 ready =
                _view(key, abi.encodeCall(IERC7540Redeem.claimableRedeemRequest, (0, address(this))));
            _checkReady(key, ready, payable_, IERC4626.maxRedeem.selector, target.dust);
            waiting += payable_;
            shares += _view(key, abi.encodeCall(IERC7540Redeem.pendingRedeemRequest, (0, address(this))));
            most = shares == 0 ? 0 : _view(key, abi.encodeCall(IERC4626.convertToAssets, (shares)));
            _checkWorth(key, shares, most);
            (least, sound) = (most, true);
        } else {
            (least, most, sound) = _held(key, shares);
        }
        (least, most) = (least + waiting, most + waiting);
    }

    /// @dev What is ready counts by the vault's limits. EIP-4626 demands that they are 0 while the vault is paused,
    /// and lets it lower them at any time: where they leave out more than rounding may, nothing says what is ready.
    /// @param ready what the vault has ready of requests
    /// @param worth what that comes to by the vault's limit
    /// @param limit the view of how much of `ready` it lets go
    function _checkReady(bytes32 key, uint256 ready, uint256 worth, bytes4 limit, uint256 dust) private view {
        if (ready <= dust) return;
        if (worth == 0) revert Unreadable(key);
        if (_view(key, abi.encodeWithSelector(limit, address(this))) < ready - dust) revert Unreadable(key);
    }

    /// @dev What leaving with `shares` pays; not sound if the vault does not say.
    function _quote(bytes32 key, uint256 shares)
        private
        view
        returns (uint256 least, uint256 most, bool sound)
    {
        if (shares == 0) return (0, 0, true);
        (sound, most) = _tryView(key, abi.encodeCall(IERC4626.previewRedeem, (shares)));
        if (sound) return (most, most, true);
        most = _view(key, abi.encodeCall(IERC4626.convertToAssets, (shares)));
        least = most - most / LOSS_DIVISOR;
    }

    /// @dev The same of shares that are a position.
    function _held(bytes32 key, uint256 shares)
        private
        view
        returns (uint256 least, uint256 most, bool sound)
    {
        (least, most, sound) = _quote(key, shares);
        _checkWorth(key, shares, most);
    }

    /// @dev A vault to which shares are worth nothing has lost everything, or is made to say so for the moment of a
    /// flash loan. Nobody can tell which, so it has said nothing.
    function _checkWorth(bytes32 key, uint256 shares, uint256 worth) private view {
        if (worth == 0 && shares > _targets[key].dust) revert Unreadable(key);
    }

    /// @dev An exit goes on when the vault says nothing at all: it is worth what it pays.
    function _least(bytes32 key, uint256 shares) private view returns (uint256 least) {
        bool known;
        (known, least) = _tryView(key, abi.encodeCall(IERC4626.previewRedeem, (shares)));
        if (known) return least;
        (known, least) = _tryView(key, abi.encodeCall(IERC4626.convertToAssets, (shares)));
        least -= least / LOSS_DIVISOR;
        if (least == 0) least = 1;
    }

    /// @dev Most shares that `assets` may cost.
    function _limit(bytes32 key, uint256 assets) private view returns (uint256 shares) {
        bool known;
        (known, shares) = _tryView(key, abi.encodeCall(IERC4626.previewWithdraw, (assets)));
        if (known) return shares;
        (known, shares) = _tryView(key, abi.encodeCall(IERC4626.convertToShares, (assets)));
        return known ? shares + shares / LOSS_DIVISOR + 1 : EVERYTHING;
    }

    function _requestedDeposit(address target) private view returns (uint256) {
        return IERC7540Deposit(target).pendingDepositRequest(0, address(this))
            + IERC7540Deposit(target).claimableDepositRequest(0, address(this));
    }

    function _requestedRedeem(address target) private view returns (uint256) {
        return IERC7540Redeem(target).pendingRedeemRequest(0, address(this))
            + IERC7540Redeem(target).claimableRedeemRequest(0, address(this));
    }

    function _shares(bytes32 key) private view returns (uint256) {
        return _view(key, abi.encodeCall(IERC4626(address(0)).balanceOf, (address(this))));
    }

    function _view(bytes32 key, bytes memory data) private view returns (uint256 answer) {
        bool known;
        (known, answer) = _tryView(key, data);
        if (!known) revert Unreadable(key);
    }

    function _tryView(bytes32 key, bytes memory data) private view returns (bool known, uint256 answer) {
        return _tryView(key, VIEW_GAS, data);
    }

    /// @dev An answer of which a position can make no sum is none.
    function _tryView(bytes32 key, uint256 stipend, bytes memory data)
        private
        view
        returns (bool known, uint256 answer)
    {
        uint256[10] memory words;
        (known, words) = BoundedRead.read(_addressOf(key), stipend, data, 1);
        answer = known ? words[0] : 0;
    }

    function _answer(bytes32 key, bytes4 selector, uint256 amount)
        private
        view
        returns (Answer memory answer)
    {
        answer.amount = amount;
        (answer.known, answer.said) = _tryView(key, abi.encodeWithSelector(selector, amount));
    }

    /// @dev The shares held, and those of requests. Nothing that the vault answers makes this revert.
    function _everywhere(bytes32 key, Target memory target, uint256 shares)
        private
        view
        returns (uint256 total)
    {
        uint256 mintable = 0;
        uint256 leaving = 0;
        if (target.asyncDeposit) {
            (, mintable) = _tryView(key, abi.encodeCall(IERC4626.maxMint, (address(this))));
        }
        if (target.asyncRedeem) {
            (, leaving) =
                _tryView(key, abi.encodeCall(IERC7540Redeem.pendingRedeemRequest, (0, address(this))));
        }
        unchecked {
            total = shares + mintable + leaving;
        }
    }

    /// @dev A whole token, or the greatest one that is asked about.
    function _unit(address token) private view returns (uint256) {
        bytes memory data = abi.encodeCall(IERC20Metadata.decimals, ());
        (bool known, uint256[10] memory words) = BoundedRead.read(token, VIEW_GAS, data, 1);
        return known ? 10 ** Math.min(words[0], MOST_ASKED_DECIMALS) : 1;
    }

    /// @dev A great many times what the vault says it has; 0 where that would not fit.
    function _great(bytes32 key, bytes memory data) private view returns (uint256) {
        (, uint256 total) = _tryView(key, data);
        return total < MANY * MANY ? MANY * total + 7 : 0;
    }

    /// @dev Shares begin at a unit of the asset each. Of the two, `one` is counted, in as many more digits as it has.
    function _dust(address one, address other) private view returns (uint80) {
        (uint256 ofOne, bool knownOfOne) = PriceMath.readDecimals(one);
        (uint256 ofOther, bool knownOfOther) = PriceMath.readDecimals(other);
        uint256 spare = knownOfOne && knownOfOther ? _less(ofOne, ofOther) : 0;
        // forge-lint: disable-next-line(unsafe-typecast) at most 10^24
        return uint80(DUST_UNITS * 10 ** Math.min(spare, MOST_SPARE_DECIMALS));
    }

    function _target(bytes32 key) private view returns (Target memory target) {
        target = _targets[key];
        if (target.token == address(0)) revert UnknownKey(key);
    }
}

/// @dev What is read of a vault that lends to a queue of markets.
interface IMetaMorpho {
    function withdrawQueueLength() external view returns (uint256);
}

/// @dev What is read of a vault whose share may be another contract (ERC-7575).
interface IERC7575 {
    function share() external view returns (address);
}
