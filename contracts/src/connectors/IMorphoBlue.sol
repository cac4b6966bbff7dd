// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

/// @dev Morpho Blue's own structs, field for field.
struct MarketParams {
    address loanToken;
    address collateralToken;
    address oracle;
    address irm;
    uint256 lltv;
}

struct Market {
    uint128 totalSupplyAssets;
    uint128 totalSupplyShares;
    uint128 totalBorrowAssets;
    uint128 totalBorrowShares;
    uint128 lastUpdate;
    uint128 fee;
}

/// @dev What is used of Morpho Blue.
interface IMorphoBlue {
    function idToMarketParams(bytes32 id) external view returns (MarketParams memory);
    function extSloads(bytes32[] calldata slots) external view returns (bytes32[] memory);
    function accrueInterest(MarketParams calldata) external;
    function supply(MarketParams calldata, uint256 assets, uint256 shares, address onBehalf, bytes calldata)
        external
        returns (uint256 assetsSupplied, uint256 sharesSupplied);
    function withdraw(MarketParams calldata, uint256 assets, uint256 shares, address onBehalf, address to)
        external
        returns (uint256 assetsWithdrawn, uint256 sharesWithdrawn);
    function borrow(MarketParams calldata, uint256 assets, uint256 shares, address onBehalf, address to)
        external
        returns (uint256 assetsBorrowed, uint256 sharesBorrowed);
    function repay(MarketParams calldata, uint256 assets, uint256 shares, address onBehalf, bytes calldata)
        external
        returns (uint256 assetsRepaid, uint256 sharesRepaid);
    function supplyCollateral(MarketParams calldata, uint256 assets, address onBehalf, bytes calldata)
        external;
    function withdrawCollateral(MarketParams calldata, uint256 assets, address onBehalf, address to) external;
}

/// @dev A Morpho Blue interest rate model: borrow rate per second, in WAD.
interface IMorphoRateModel {
    function borrowRateView(MarketParams calldata, Market calldata) external view returns (uint256);
}

/// @dev Worth of a smallest unit of collateral in smallest units of the loan token, times 1e36.
interface IMorphoOracle {
    function price() external view returns (uint256);
}
