// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {IConnector} from "../interfaces/IConnector.sol";
import {ILiquidityPool, INonfungiblePositionManager} from "../interfaces/IUniswapV3Liquidity.sol";
import {LiquidityMath} from "../libraries/LiquidityMath.sol";
import {TickMath} from "../oracle/TickMath.sol";
import {UniswapV3Holdings} from "./UniswapV3Holdings.sol";

/// @title Liquidity in Uniswap v3 pools
/// @notice The key of a position is the pool. What belongs to it are the NFTs that this connector minted there and
/// the tokens it holds for it: pushed here, left over by a mint, or collected. Liquidity is put in only while the
/// pool's price is near the oracle's; taking it out loses nothing wherever the pool stands, and is never stopped.
contract UniswapV3Connector is UniswapV3Holdings {
    using SafeERC20 for IERC20;
    using SafeCast for uint256;

    /// @dev What a mint may take, and what lay here before it.
    struct Spending {
        uint256 amount0;
        uint256 amount1;
        uint256 balance0;
        uint256 balance1;
    }

    /// @dev What the protocol has stored of an NFT: the position manager's words, the growth outside either tick
    /// that fees rest on while there is liquidity, and the pool's entry for all that its manager has in the range.
    struct Stored {
        uint64 tokenId;
        int24 tickLower;
        int24 tickUpper;
        uint128 liquidity;
        uint256[2] insideLast;
        uint128[2] owed;
        uint256[2] outsideLower;
        uint256[2] outsideUpper;
        uint128 rangeLiquidity;
        uint256[2] rangeInsideLast;
        uint128[2] rangeOwed;
    }

    constructor(
        address portfolio_,
        INonfungiblePositionManager positionManager_,
        bytes32[] memory keys,
        uint24[] memory feeTiers,
        uint256 toleranceBps_,
        uint256 maxPositions_
    ) UniswapV3Holdings(portfolio_, positionManager_, keys, feeTiers, toleranceBps_, maxPositions_) {}

    // STATE

    /// @notice What the protocol has stored of the NFTs minted in a pool, as it stands there: for those who value
    /// them on their own, and know the pool but not its NFTs.
    function stored(bytes32 key) external view returns (Stored[] memory nfts) {
        uint64[] memory tokenIds = _holding(key).tokenIds;
        ILiquidityPool pool = ILiquidityPool(_addressOf(key));
        nfts = new Stored[](tokenIds.length);
        for (uint256 i = 0; i < tokenIds.length; i++) {
            Stored memory nft = nfts[i];
            INonfungiblePositionManager.Minted memory minted = positionManager.positions(tokenIds[i]);
            nft.tokenId = tokenIds[i];
            (nft.tickLower, nft.tickUpper) = (minted.tickLower, minted.tickUpper);
            nft.liquidity = minted.liquidity;
            nft.insideLast = [minted.feeGrowthInside0LastX128, minted.feeGrowthInside1LastX128];
            nft.owed = [minted.tokensOwed0, minted.tokensOwed1];
            if (minted.liquidity != 0) {
                (,, nft.outsideLower[0], nft.outsideLower[1],,,,) = pool.ticks(minted.tickLower);
                (,, nft.outsideUpper[0], nft.outsideUpper[1],,,,) = pool.ticks(minted.tickUpper);
            }
            bytes32 range =
                keccak256(abi.encodePacked(address(positionManager), minted.tickLower, minted.tickUpper));
            (
                nft.rangeLiquidity,
                nft.rangeInsideLast[0],
                nft.rangeInsideLast[1],
                nft.rangeOwed[0],
                nft.rangeOwed[1]
            ) = pool.positions(range);
        }
    }

    // TOKENS IN AND OUT

    /// @inheritdoc IConnector
    function supply(bytes32 key, uint256 assets) external override {
        hold(key, asset, assets);
    }

    /// @notice Counts `amount` of a pool's token that the portfolio has pushed here as held for it.
    /// @param amount at most what lies here and is not counted; `type(uint256).max` for all of that
    function hold(bytes32 key, address token, uint256 amount) public onlyPortfolio {
        Holding storage holding = _holding(key);
        bool isToken0 = _isToken0(key, holding, token);
        uint256 loose = _loose(token);
        if (amount == EVERYTHING) amount = loose;
        if (amount == 0) revert ZeroAmount();
        if (amount > loose) revert NotPushed(token, amount, loose);
        _add(holding, token, isToken0, amount);
    }

    /// @notice Sends `amount` of a held token to the portfolio; `type(uint256).max` for all of it.
    function release(bytes32 key, address token, uint256 amount)
        external
        onlyPortfolio
        returns (uint256 released)
    {
        return _release(key, _holding(key), token, amount);
    }

    /// @inheritdoc IConnector
    /// @dev A full exit leaves no liquidity, burns the NFTs, pays what there is of the vault's asset and leaves the
    /// other token held: `release` is the way for it, and for both tokens of a pool that does not have the asset.
    /// An exact amount takes out as little liquidity as pays it. The oracle is not asked.
    function withdraw(bytes32 key, uint256 assets)
        external
        override
        onlyPortfolio
        returns (uint256 withdrawn)
    {
        Holding storage holding = _holding(key);
        if (assets == 0) revert ZeroAmount();
        if (holding.tokenIds.length == 0 && holding.held0 == 0 && holding.held1 == 0) {
            revert EmptyPosition(key);
        }
        if (assets == EVERYTHING) {
            // From the end, because burning moves the last into the gap.
            for (uint256 i = holding.tokenIds.length; i > 0; i--) {
                _unwind(key, holding, holding.tokenIds[i - 1]);
            }
            if (_held(holding, asset) == 0) return 0;
        } else {
            bool isToken0 = _isToken0(key, holding, asset);
            for (uint256 i = 0; i < holding.tokenIds.length; i++) {
                uint256 held = _held(holding, asset);
                if (held >= assets) break;
                _unwindFor(key, holding, holding.tokenIds[i], isToken0, assets - held);
            }
        }
        return _release(key, holding, asset, assets);
    }

    // LIQUIDITY

    /// @notice Mints an NFT with liquidity from held tokens. What it does not take stays held.
    /// @param amount0,amount1 the most it may take; `type(uint256).max` for all that is held
    /// @param min0,min1 the least it must take, not 0 for a token that the range needs at the pool's price
    function mint(
        bytes32 key,
        int24 tickLower,
        int24 tickUpper,
        uint256 amount0,
        uint256 amount1,
        uint256 min0,
        uint256 min1
    ) external onlyPortfolio returns (uint256 tokenId) {
        Holding storage holding = _holding(key);
        if (holding.tokenIds.length == maxPositions) revert TooManyPositions(key);
        _checkEntry(key, holding, tickLower, tickUpper, min0, min1);
        Spending memory spending = _setAside(key, holding, amount0, amount1);
        INonfungiblePositionManager.MintParams memory params;
        (params.token0, params.token1, params.fee) = (holding.token0, holding.token1, holding.fee);
        (params.tickLower, params.tickUpper) = (tickLower, tickUpper);
        (params.amount0Desired, params.amount1Desired) = (spending.amount0, spending.amount1);
        (params.amount0Min, params.amount1Min) = (min0, min1);
        (params.recipient, params.deadline) = (address(this), block.timestamp);
        (tokenId,,,) = positionManager.mint(params);
        _putBack(holding, spending);
        holding.tokenIds.push(tokenId.toUint64());
        keyOf[tokenId] = key;
        emit PositionMinted(key, tokenId);
    }

    /// @notice Adds liquidity to an NFT. Amounts are as in `mint`.
    function increase(uint256 tokenId, uint256 amount0, uint256 amount1, uint256 min0, uint256 min1)
        external
        onlyPortfolio
    {
        bytes32 key = _keyOfMinted(tokenId);
        Holding storage holding = _holdings[key];
        INonfungiblePositionManager.Minted memory minted = positionManager.positions(tokenId);
        _checkEntry(key, holding, minted.tickLower, minted.tickUpper, min0, min1);
        Spending memory spending = _setAside(key, holding, amount0, amount1);
        positionManager.increaseLiquidity(
            INonfungiblePositionManager.IncreaseLiquidityParams(
                tokenId, spending.amount0, spending.amount1, min0, min1, block.timestamp
            )
        );
        _putBack(holding, spending);
    }

    /// @notice Takes liquidity out of an NFT. The tokens are then owed to it until they are collected.
    /// @param liquidity `type(uint128).max` for all of it
    /// @param min0,min1 the least it must give, not 0 for a token that the liquidity has at the pool's price
    function decrease(uint256 tokenId, uint128 liquidity, uint256 min0, uint256 min1) external onlyPortfolio {
        bytes32 key = _keyOfMinted(tokenId);
        INonfungiblePositionManager.Minted memory minted = positionManager.positions(tokenId);
        if (liquidity == ALL) liquidity = minted.liquidity;
        if (liquidity == 0) revert ZeroAmount();
        if (liquidity > minted.liquidity) revert InsufficientLiquidity(tokenId, minted.liquidity, liquidity);
        (uint256 amount0, uint256 amount1) = _amountsAtSpot(key, minted, liquidity);
        if (amount0 != 0 && min0 == 0) revert ZeroMinimum(minted.token0);
        if (amount1 != 0 && min1 == 0) revert ZeroMinimum(minted.token1);
        _decrease(tokenId, liquidity, min0, min1);
    }

    /// @notice Collects all that is owed to an NFT, fees and what was taken out. It is then held.
    function collectFees(uint256 tokenId) external onlyPortfolio {
        bytes32 key = _keyOfMinted(tokenId);
        _collect(_holdings[key], tokenId);
    }

    /// @notice Burns an NFT that has no liquidity and is owed nothing.
    function burn(uint256 tokenId) external onlyPortfolio {
        bytes32 key = _keyOfMinted(tokenId);
        if (!_burnIfEmpty(key, _holdings[key], tokenId)) revert NotEmpty(tokenId);
    }

    // ENTRY

    /// @dev A least amount that is 0 protects from nothing, so it is refused for a token that the range needs.
    function _checkEntry(
        bytes32 key,
        Holding storage holding,
        int24 tickLower,
        int24 tickUpper,
        uint256 min0,
        uint256 min1
    ) private view {
        uint256 root = _checkedSpot(key, holding);
        if (min0 == 0 && root < TickMath.sqrtPriceX96(tickUpper)) revert ZeroMinimum(holding.token0);
        if (min1 == 0 && root > TickMath.sqrtPriceX96(tickLower)) revert ZeroMinimum(holding.token1);
    }

    function _setAside(bytes32 key, Holding storage holding, uint256 amount0, uint256 amount1)
        private
        returns (Spending memory spending)
    {
        (address token0, address token1) = (holding.token0, holding.token1);
        (uint256 held0, uint256 held1) = (holding.held0, holding.held1);
        if (amount0 == EVERYTHING) amount0 = held0;
        if (amount1 == EVERYTHING) amount1 = held1;
        if (amount0 == 0 && amount1 == 0) revert ZeroAmount();
        if (amount0 > held0) revert InsufficientHeld(key, token0, held0, amount0);
        if (amount1 > held1) revert InsufficientHeld(key, token1, held1, amount1);
        (holding.held0, holding.held1) = (uint128(held0 - amount0), uint128(held1 - amount1));
        spending.balance0 = _balance(token0, address(this));
        spending.balance1 = _balance(token1, address(this));
        (spending.amount0, spending.amount1) = (amount0, amount1);
        if (amount0 != 0) _approve(token0, address(positionManager), amount0);
        if (amount1 != 0) _approve(token1, address(positionManager), amount1);
    }

    function _putBack(Holding storage holding, Spending memory spending) private {
        holding.held0 += _unspent(holding.token0, spending.amount0, spending.balance0);
        holding.held1 += _unspent(holding.token1, spending.amount1, spending.balance1);
    }

    /// @dev Measured; more than was set aside cannot have been spent.
    function _unspent(address token, uint256 amount, uint256 balanceBefore) private returns (uint128) {
        uint256 spent = balanceBefore - _balance(token, address(this));
        if (spent > amount) revert SlippageExceeded(amount, spent);
        heldOf[token] -= spent;
        if (IERC20(token).allowance(address(this), address(positionManager)) != 0) {
            _approve(token, address(positionManager), 0);
        }
        return uint128(amount - spent);
    }

    // EXIT

    /// @dev All of it. What a token that does not move leaves owed keeps the NFT, and is still counted.
    function _unwind(bytes32 key, Holding storage holding, uint256 tokenId) private {
        INonfungiblePositionManager.Minted memory minted = positionManager.positions(tokenId);
        if (minted.liquidity != 0) _decrease(tokenId, minted.liquidity, 0, 0);
        _collect(holding, tokenId);
        _burnIfEmpty(key, holding, tokenId);
    }

    function _unwindFor(bytes32 key, Holding storage holding, uint256 tokenId, bool isToken0, uint256 wanted)
        private
    {
        INonfungiblePositionManager.Minted memory minted = positionManager.positions(tokenId);
        (uint256 amount0, uint256 amount1) = _amountsAtSpot(key, minted, minted.liquidity);
        uint256 amount = isToken0 ? amount0 : amount1;
        if (amount != 0) {
            _decrease(tokenId, LiquidityMath.partFor(minted.liquidity, amount, wanted), 0, 0);
        }
        _collect(holding, tokenId);
    }

    function _decrease(uint256 tokenId, uint128 liquidity, uint256 min0, uint256 min1) private {
        positionManager.decreaseLiquidity(
            INonfungiblePositionManager.DecreaseLiquidityParams(
                tokenId, liquidity, min0, min1, block.timestamp
            )
        );
    }

    /// @dev Both tokens, or the one that moves: a frozen token must not keep the other in.
    function _collect(Holding storage holding, uint256 tokenId) private {
        (address token0, address token1) = (holding.token0, holding.token1);
        uint256 balance0 = _balance(token0, address(this));
        uint256 balance1 = _balance(token1, address(this));
        INonfungiblePositionManager.CollectParams memory params =
            INonfungiblePositionManager.CollectParams(tokenId, address(this), ALL, ALL);
        try positionManager.collect(params) {}
        catch {
            params.amount1Max = 0;
            try positionManager.collect(params) {}
            catch {
                (params.amount0Max, params.amount1Max) = (0, ALL);
                positionManager.collect(params);
            }
        }
        _add(holding, token0, true, _balance(token0, address(this)) - balance0);
        _add(holding, token1, false, _balance(token1, address(this)) - balance1);
    }

    function _burnIfEmpty(bytes32 key, Holding storage holding, uint256 tokenId) private returns (bool) {
        INonfungiblePositionManager.Minted memory minted = positionManager.positions(tokenId);
        if (minted.liquidity != 0 || minted.tokensOwed0 != 0 || minted.tokensOwed1 != 0) return false;
        positionManager.burn(tokenId);
        uint256 last = holding.tokenIds.length - 1;
        uint256 i;
        while (holding.tokenIds[i] != tokenId) ++i;
        holding.tokenIds[i] = holding.tokenIds[last];
        holding.tokenIds.pop();
        delete keyOf[tokenId];
        emit PositionBurned(key, tokenId);
        return true;
    }

    // LEDGER

    function _release(bytes32 key, Holding storage holding, address token, uint256 amount)
        private
        returns (uint256)
    {
        bool isToken0 = _isToken0(key, holding, token);
        uint256 held = _held(holding, token);
        if (amount == EVERYTHING) amount = held;
        if (amount == 0) revert ZeroAmount();
        if (amount > held) revert InsufficientHeld(key, token, held, amount);
        if (isToken0) holding.held0 = uint128(held - amount);
        else holding.held1 = uint128(held - amount);
        heldOf[token] -= amount;
        uint256 balanceBefore = _balance(token, portfolio);
        IERC20(token).safeTransfer(portfolio, amount);
        return _received(token, balanceBefore, amount);
    }
}
