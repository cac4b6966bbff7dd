// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {Id, IMorpho, Market, MarketParams} from "@morpho-org/morpho-blue/src/interfaces/IMorpho.sol";
import {MarketParamsLib} from "@morpho-org/morpho-blue/src/libraries/MarketParamsLib.sol";
import {MorphoBalancesLib} from "@morpho-org/morpho-blue/src/libraries/periphery/MorphoBalancesLib.sol";
import {MorphoLib} from "@morpho-org/morpho-blue/src/libraries/periphery/MorphoLib.sol";
import {SharesMathLib} from "@morpho-org/morpho-blue/src/libraries/SharesMathLib.sol";
import {UtilsLib} from "@morpho-org/morpho-blue/src/libraries/UtilsLib.sol";
import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";
import {IERC20Metadata} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Metadata.sol";
import {ERC20, ERC4626, IERC20} from "@openzeppelin/contracts/token/ERC20/extensions/ERC4626.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";

/// @title A MetaMorpho vault, for local chains
/// @notice Follows the published interface and accounting of MetaMorpho v1 (queues, caps, fee on growth of
/// total assets, virtual offset), because its npm package carries no source. Left out, since no keeper depends
/// on them: guardian and curator roles, rewards skimming and the timelock (the owner's changes are immediate).
contract MetaMorpho is ERC4626, Ownable {
    using MarketParamsLib for MarketParams;
    using MorphoBalancesLib for IMorpho;
    using MorphoLib for IMorpho;
    using SharesMathLib for uint256;
    using UtilsLib for uint256;

    struct MarketConfig {
        uint184 cap;
        bool enabled;
        uint64 removableAt;
    }

    struct MarketAllocation {
        MarketParams marketParams;
        uint256 assets;
    }

    uint256 private constant WAD = 1e18;
    uint256 public constant MAX_FEE = 0.5e18;

    IMorpho public immutable MORPHO;
    uint8 public immutable DECIMALS_OFFSET;

    mapping(Id => MarketConfig) public config;
    mapping(address => bool) public isAllocator;
    Id[] public supplyQueue;
    Id[] public withdrawQueue;
    uint96 public fee;
    address public feeRecipient;
    uint256 public lastTotalAssets;

    event SetCap(address indexed caller, Id indexed id, uint256 cap);
    event SetFee(address indexed caller, uint256 newFee);
    event SetSupplyQueue(address indexed caller, Id[] newSupplyQueue);
    event SetWithdrawQueue(address indexed caller, Id[] newWithdrawQueue);
    event UpdateLastTotalAssets(uint256 updatedTotalAssets);
    event AccrueInterest(uint256 newTotalAssets, uint256 feeShares);
    event ReallocateSupply(
        address indexed caller, Id indexed id, uint256 suppliedAssets, uint256 suppliedShares
    );
    event ReallocateWithdraw(
        address indexed caller, Id indexed id, uint256 withdrawnAssets, uint256 withdrawnShares
    );

    error AllCapsReached();
    error NotEnoughLiquidity();
    error NotAllocatorRole();
    error InconsistentAsset(Id id);
    error InconsistentReallocation();
    error InvalidMarketRemovalNonZeroSupply(Id id);
    error MarketNotCreated();
    error MarketNotEnabled(Id id);
    error MaxFeeExceeded();
    error SupplyCapExceeded(Id id);
    error UnauthorizedMarket(Id id);
    error ZeroFeeRecipient();

    modifier onlyAllocator() {
        if (msg.sender != owner() && !isAllocator[msg.sender]) revert NotAllocatorRole();
        _;
    }

    constructor(address owner_, address morpho, address asset_, string memory name_, string memory symbol_)
        ERC4626(IERC20(asset_))
        ERC20(name_, symbol_)
        Ownable(owner_)
    {
        MORPHO = IMorpho(morpho);
        DECIMALS_OFFSET = uint8(uint256(18).zeroFloorSub(IERC20Metadata(asset_).decimals()));
        SafeERC20.forceApprove(IERC20(asset_), morpho, type(uint256).max);
    }

    /* OWNER */

    function setIsAllocator(address allocator, bool allowed) external onlyOwner {
        isAllocator[allocator] = allowed;
    }

    /// @notice Enables a market with a supply cap, or changes its cap.
    function setCap(MarketParams memory marketParams, uint184 cap) external onlyOwner {
        Id id = marketParams.id();
        if (marketParams.loanToken != asset()) revert InconsistentAsset(id);
        if (MORPHO.lastUpdate(id) == 0) revert MarketNotCreated();
        if (!config[id].enabled) {
            config[id].enabled = true;
            withdrawQueue.push(id);
            // What the vault already holds there becomes part of its assets without being growth.
            _setLastTotalAssets(lastTotalAssets + MORPHO.expectedSupplyAssets(marketParams, address(this)));
        }
        config[id].cap = cap;
        emit SetCap(msg.sender, id, cap);
    }

    function setFeeRecipient(address recipient) external onlyOwner {
        if (recipient == address(0) && fee != 0) revert ZeroFeeRecipient();
        _setLastTotalAssets(_accrueFee());
        feeRecipient = recipient;
    }

    function setFee(uint256 newFee) external onlyOwner {
        if (newFee > MAX_FEE) revert MaxFeeExceeded();
        if (newFee != 0 && feeRecipient == address(0)) revert ZeroFeeRecipient();
        // Growth until now is charged at the old fee.
        _setLastTotalAssets(_accrueFee());
        fee = uint96(newFee);
        emit SetFee(msg.sender, newFee);
    }

    /* ALLOCATOR */

    function setSupplyQueue(Id[] calldata newQueue) external onlyAllocator {
        for (uint256 i; i < newQueue.length; ++i) {
            if (config[newQueue[i]].cap == 0) revert UnauthorizedMarket(newQueue[i]);
        }
        supplyQueue = newQueue;
        emit SetSupplyQueue(msg.sender, newQueue);
    }

    /// @notice Reorders the withdraw queue by positions in the present one; a market left out must be empty
    /// and without a cap.
    function updateWithdrawQueue(uint256[] calldata indexes) external onlyAllocator {
        Id[] memory current = withdrawQueue;
        Id[] memory reordered = new Id[](indexes.length);
        bool[] memory kept = new bool[](current.length);
        for (uint256 i; i < indexes.length; ++i) {
            reordered[i] = current[indexes[i]];
            if (kept[indexes[i]]) revert UnauthorizedMarket(reordered[i]);
            kept[indexes[i]] = true;
        }
        for (uint256 i; i < current.length; ++i) {
            if (kept[i]) continue;
            if (config[current[i]].cap != 0 || MORPHO.supplyShares(current[i], address(this)) != 0) {
                revert InvalidMarketRemovalNonZeroSupply(current[i]);
            }
            delete config[current[i]];
        }
        withdrawQueue = reordered;
        emit SetWithdrawQueue(msg.sender, reordered);
    }

    /// @notice Moves supply between enabled markets; what is withdrawn must equal what is supplied.
    /// `type(uint256).max` for the last supply takes all that was withdrawn.
    function reallocate(MarketAllocation[] calldata allocations) external onlyAllocator {
        uint256 totalSupplied;
        uint256 totalWithdrawn;
        for (uint256 i; i < allocations.length; ++i) {
            MarketParams memory params = allocations[i].marketParams;
            Id id = params.id();
            if (!config[id].enabled) revert MarketNotEnabled(id);
            MORPHO.accrueInterest(params);
            uint256 held = MORPHO.expectedSupplyAssets(params, address(this));
            uint256 target = allocations[i].assets;
            if (target < held) totalWithdrawn += _reallocateOut(params, id, held - target, target == 0);
            else totalSupplied += _reallocateIn(params, id, held, target, totalWithdrawn, totalSupplied);
        }
        if (totalWithdrawn != totalSupplied) revert InconsistentReallocation();
    }

    /* ERC-4626 */

    /// @inheritdoc ERC4626
    function totalAssets() public view override returns (uint256 assets) {
        for (uint256 i; i < withdrawQueue.length; ++i) {
            assets += MORPHO.expectedSupplyAssets(_params(withdrawQueue[i]), address(this));
        }
    }

    function deposit(uint256 assets, address receiver) public override returns (uint256 shares) {
        uint256 newTotalAssets = _accrueFee();
        // Written before the deposit, so that a re-entrant caller cannot have the fee accrue twice.
        lastTotalAssets = newTotalAssets;
        shares = _toShares(assets, totalSupply(), newTotalAssets, Math.Rounding.Floor);
        _deposit(msg.sender, receiver, assets, shares);
    }

    function mint(uint256 shares, address receiver) public override returns (uint256 assets) {
        uint256 newTotalAssets = _accrueFee();
        lastTotalAssets = newTotalAssets;
        assets = _toAssets(shares, totalSupply(), newTotalAssets, Math.Rounding.Ceil);
        _deposit(msg.sender, receiver, assets, shares);
    }

    function withdraw(uint256 assets, address receiver, address owner_)
        public
        override
        returns (uint256 shares)
    {
        uint256 newTotalAssets = _accrueFee();
        shares = _toShares(assets, totalSupply(), newTotalAssets, Math.Rounding.Ceil);
        _setLastTotalAssets(newTotalAssets.zeroFloorSub(assets));
        _withdraw(msg.sender, receiver, owner_, assets, shares);
    }

    function redeem(uint256 shares, address receiver, address owner_)
        public
        override
        returns (uint256 assets)
    {
        uint256 newTotalAssets = _accrueFee();
        assets = _toAssets(shares, totalSupply(), newTotalAssets, Math.Rounding.Floor);
        _setLastTotalAssets(newTotalAssets.zeroFloorSub(assets));
        _withdraw(msg.sender, receiver, owner_, assets, shares);
    }

    function maxDeposit(address) public view override returns (uint256 room) {
        for (uint256 i; i < supplyQueue.length; ++i) {
            uint256 cap = config[supplyQueue[i]].cap;
            if (cap == 0) continue;
            room += cap.zeroFloorSub(_heldUp(supplyQueue[i]));
        }
    }

    function maxMint(address receiver) public view override returns (uint256) {
        return _convertToShares(maxDeposit(receiver), Math.Rounding.Floor);
    }

    function maxWithdraw(address owner_) public view override returns (uint256) {
        return _convertToAssets(balanceOf(owner_), Math.Rounding.Floor).min(_available());
    }

    function maxRedeem(address owner_) public view override returns (uint256) {
        return _convertToShares(maxWithdraw(owner_), Math.Rounding.Floor);
    }

    function supplyQueueLength() external view returns (uint256) {
        return supplyQueue.length;
    }

    function withdrawQueueLength() external view returns (uint256) {
        return withdrawQueue.length;
    }

    /* INTERNAL */

    function _deposit(address caller, address receiver, uint256 assets, uint256 shares) internal override {
        super._deposit(caller, receiver, assets, shares);
        _supplyMorpho(assets);
        _setLastTotalAssets(lastTotalAssets + assets);
    }

    function _withdraw(address caller, address receiver, address owner_, uint256 assets, uint256 shares)
        internal
        override
    {
        _withdrawMorpho(assets);
        super._withdraw(caller, receiver, owner_, assets, shares);
    }

    function _supplyMorpho(uint256 assets) private {
        for (uint256 i; i < supplyQueue.length && assets != 0; ++i) {
            Id id = supplyQueue[i];
            MarketParams memory params = _params(id);
            MORPHO.accrueInterest(params);
            uint256 amount = uint256(config[id].cap).zeroFloorSub(_heldUp(id)).min(assets);
            if (amount == 0) continue;
            // A market that refuses is passed over; the queue goes on.
            try MORPHO.supply(params, amount, 0, address(this), "") {
                assets -= amount;
            } catch {}
        }
        if (assets != 0) revert AllCapsReached();
    }

    function _withdrawMorpho(uint256 assets) private {
        for (uint256 i; i < withdrawQueue.length && assets != 0; ++i) {
            MarketParams memory params = _params(withdrawQueue[i]);
            MORPHO.accrueInterest(params);
            uint256 amount = _withdrawable(params).min(assets);
            if (amount == 0) continue;
            try MORPHO.withdraw(params, amount, 0, address(this), address(this)) {
                assets -= amount;
            } catch {}
        }
        if (assets != 0) revert NotEnoughLiquidity();
    }

    function _reallocateOut(MarketParams memory params, Id id, uint256 amount, bool everything)
        private
        returns (uint256 assets)
    {
        // Exiting by shares leaves no dust.
        uint256 shares = everything ? MORPHO.supplyShares(id, address(this)) : 0;
        (assets, shares) =
            MORPHO.withdraw(params, everything ? 0 : amount, shares, address(this), address(this));
        emit ReallocateWithdraw(msg.sender, id, assets, shares);
    }

    function _reallocateIn(
        MarketParams memory params,
        Id id,
        uint256 held,
        uint256 target,
        uint256 totalWithdrawn,
        uint256 totalSupplied
    ) private returns (uint256 assets) {
        assets = target == type(uint256).max
            ? totalWithdrawn.zeroFloorSub(totalSupplied)
            : target.zeroFloorSub(held);
        if (assets == 0) return 0;
        if (config[id].cap == 0) revert UnauthorizedMarket(id);
        if (held + assets > config[id].cap) revert SupplyCapExceeded(id);
        (, uint256 shares) = MORPHO.supply(params, assets, 0, address(this), "");
        emit ReallocateSupply(msg.sender, id, assets, shares);
    }

    function _accrueFee() private returns (uint256 newTotalAssets) {
        uint256 feeShares;
        (feeShares, newTotalAssets) = _accruedFeeShares();
        if (feeShares != 0) _mint(feeRecipient, feeShares);
        emit AccrueInterest(newTotalAssets, feeShares);
    }

    function _accruedFeeShares() private view returns (uint256 feeShares, uint256 newTotalAssets) {
        newTotalAssets = totalAssets();
        uint256 growth = newTotalAssets.zeroFloorSub(lastTotalAssets);
        if (growth == 0 || fee == 0) return (0, newTotalAssets);
        uint256 feeAssets = Math.mulDiv(growth, fee, WAD);
        // The fee's assets are out of the price at which its shares are minted.
        feeShares = _toShares(feeAssets, totalSupply(), newTotalAssets - feeAssets, Math.Rounding.Floor);
    }

    function _setLastTotalAssets(uint256 assets) private {
        lastTotalAssets = assets;
        emit UpdateLastTotalAssets(assets);
    }

    function _available() private view returns (uint256 assets) {
        for (uint256 i; i < withdrawQueue.length; ++i) {
            assets += _withdrawable(_params(withdrawQueue[i]));
        }
    }

    function _withdrawable(MarketParams memory params) private view returns (uint256) {
        (uint256 supplied,, uint256 borrowed,) = MORPHO.expectedMarketBalances(params);
        uint256 liquid = (supplied - borrowed).min(IERC20(asset()).balanceOf(address(MORPHO)));
        return MORPHO.expectedSupplyAssets(params, address(this)).min(liquid);
    }

    /// @dev Rounded up, so that the room left under a cap is rounded down.
    function _heldUp(Id id) private view returns (uint256) {
        (uint256 supplied, uint256 shares,,) = MORPHO.expectedMarketBalances(_params(id));
        return MORPHO.supplyShares(id, address(this)).toAssetsUp(supplied, shares);
    }

    function _params(Id id) private view returns (MarketParams memory) {
        return MORPHO.idToMarketParams(id);
    }

    function _convertToShares(uint256 assets, Math.Rounding rounding)
        internal
        view
        override
        returns (uint256)
    {
        (uint256 feeShares, uint256 newTotalAssets) = _accruedFeeShares();
        return _toShares(assets, totalSupply() + feeShares, newTotalAssets, rounding);
    }

    function _convertToAssets(uint256 shares, Math.Rounding rounding)
        internal
        view
        override
        returns (uint256)
    {
        (uint256 feeShares, uint256 newTotalAssets) = _accruedFeeShares();
        return _toAssets(shares, totalSupply() + feeShares, newTotalAssets, rounding);
    }

    function _toShares(uint256 assets, uint256 supply, uint256 total, Math.Rounding rounding)
        private
        view
        returns (uint256)
    {
        return Math.mulDiv(assets, supply + 10 ** DECIMALS_OFFSET, total + 1, rounding);
    }

    function _toAssets(uint256 shares, uint256 supply, uint256 total, Math.Rounding rounding)
        private
        view
        returns (uint256)
    {
        return Math.mulDiv(shares, total + 1, supply + 10 ** DECIMALS_OFFSET, rounding);
    }

    function _decimalsOffset() internal view override returns (uint8) {
        return DECIMALS_OFFSET;
    }
}
