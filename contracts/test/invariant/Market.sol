// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IConnector} from "../../src/interfaces/IConnector.sol";
import {IPortfolio} from "../../src/interfaces/IPortfolio.sol";
import {IVault} from "../../src/interfaces/IVault.sol";
import {Value} from "../../src/interfaces/Types.sol";
import {FreezableToken} from "./FreezableToken.sol";

/// @dev A connector and its protocol in one, which earns, loses, breaks in every way a report can break, and
/// tries to get back into the vault whenever it is called.
contract Market is IConnector {
    enum Fault {
        NONE,
        REVERT,
        BOMB,
        BURN_GAS,
        INVERTED,
        HUGE,
        SHORT,
        DEGRADED,
        SPREAD,
        WIDE_SPREAD
    }

    address public immutable override portfolio;
    FreezableToken public immutable asset;
    Fault public fault;
    bool public gotIn;
    mapping(bytes32 => uint256) public held;

    constructor(address portfolio_, FreezableToken asset_) {
        portfolio = portfolio_;
        asset = asset_;
    }

    // WHAT THE CAMPAIGN DOES TO IT

    function setFault(Fault fault_) external {
        fault = fault_;
    }

    function gain(bytes32 key, uint256 assets) external {
        held[key] += assets;
        asset.mint(address(this), assets);
    }

    function lose(bytes32 key, uint256 assets) external {
        held[key] -= assets;
        asset.burn(address(this), assets);
    }

    // WHAT THE VAULT SEES

    function report(bytes32 key) external view override returns (uint256, uint256, uint256) {
        uint256 value = held[key];
        require(fault != Fault.REVERT, "the protocol is broken");
        if (fault == Fault.BOMB) _return(100_000);
        if (fault == Fault.SHORT) _return(64);
        if (fault == Fault.BURN_GAS) {
            assembly {
                invalid()
            }
        }
        if (fault == Fault.INVERTED) return (value + 1, value, 0);
        if (fault == Fault.HUGE) return (type(uint256).max, type(uint256).max, 0);
        if (fault == Fault.DEGRADED) return (value, value, 1);
        if (fault == Fault.SPREAD) return (value - value / 1000, value + value / 1000, 0);
        if (fault == Fault.WIDE_SPREAD) return (value - value / 50, value + value / 50, 0);
        return (value, value, 0);
    }

    function supply(bytes32 key, uint256 assets) external override {
        _take(key, assets, 0);
    }

    function withdraw(bytes32 key, uint256 assets) external override returns (uint256) {
        return _give(key, assets, 0);
    }

    /// @dev As a venue with an entry fee, or a bad price.
    function supplyAtLoss(bytes32 key, uint256 assets, uint256 loss) external {
        _take(key, assets, loss);
    }

    /// @dev As a venue with an exit fee, or a bad price.
    function withdrawAtLoss(bytes32 key, uint256 assets, uint256 loss) external {
        _give(key, assets, loss);
    }

    function _take(bytes32 key, uint256 assets, uint256 loss) private {
        require(fault != Fault.REVERT, "the protocol is broken");
        held[key] += assets - loss;
        asset.burn(address(this), loss);
        _tryToGetIn();
    }

    function _give(bytes32 key, uint256 assets, uint256 loss) private returns (uint256) {
        require(fault != Fault.REVERT, "the protocol is broken");
        if (assets == type(uint256).max) assets = held[key];
        held[key] -= assets;
        asset.burn(address(this), loss);
        asset.transfer(portfolio, assets - loss);
        _tryToGetIn();
        return assets - loss;
    }

    /// @dev The lock must span the vault and the portfolio, and hide live values.
    function _tryToGetIn() private {
        address vault = IPortfolio(portfolio).vault();
        try IVault(vault).closeEpoch() {
            gotIn = true;
        } catch {}
        try IPortfolio(portfolio).nav() returns (Value memory, bool) {
            gotIn = true;
        } catch {}
    }

    function _return(uint256 size) private pure {
        assembly {
            return(0, size)
        }
    }
}
