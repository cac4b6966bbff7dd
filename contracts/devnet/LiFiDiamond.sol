// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

/// @dev What the facets of the local diamond share, at a slot of their own.
library LiFiStorage {
    struct Layout {
        address owner;
        address[] facets;
        mapping(address facet => bytes4[]) selectors;
        mapping(bytes4 selector => address) facetOf;
        mapping(address target => mapping(bytes4 selector => bool)) whitelist;
    }

    bytes32 private constant SLOT = keccak256("omnikeeper.devnet.lifi");

    error NotOwner(address caller);

    function layout() internal pure returns (Layout storage l) {
        bytes32 slot = SLOT;
        assembly ("memory-safe") {
            l.slot := slot
        }
    }

    function checkOwner() internal view {
        require(msg.sender == layout().owner, NotOwner(msg.sender));
    }
}

/// @title A diamond (EIP-2535) that answers to LiFi's selectors, for local chains
/// @notice It begins with what cuts it and what shows it; the other facets are cut in.
contract LiFiDiamond {
    error FunctionDoesNotExist(bytes4 selector);

    constructor(address owner, address cutFacet) {
        LiFiStorage.layout().owner = owner;
        LiFiStorage.layout().facetOf[DiamondCutFacet.diamondCut.selector] = cutFacet;
        LiFiStorage.layout().facets.push(cutFacet);
        LiFiStorage.layout().selectors[cutFacet].push(DiamondCutFacet.diamondCut.selector);
    }

    receive() external payable {}

    fallback() external payable {
        address facet = LiFiStorage.layout().facetOf[msg.sig];
        require(facet != address(0), FunctionDoesNotExist(msg.sig));
        assembly ("memory-safe") {
            let data := mload(0x40)
            calldatacopy(data, 0, calldatasize())
            let success := delegatecall(gas(), facet, data, calldatasize(), 0, 0)
            returndatacopy(data, 0, returndatasize())
            if iszero(success) { revert(data, returndatasize()) }
            return(data, returndatasize())
        }
    }
}

contract DiamondCutFacet {
    enum FacetCutAction {
        Add,
        Replace,
        Remove
    }

    struct FacetCut {
        address facetAddress;
        FacetCutAction action;
        bytes4[] functionSelectors;
    }

    event DiamondCut(FacetCut[] _diamondCut, address _init, bytes _calldata);

    error FunctionExists(bytes4 selector);
    error FunctionDoesNotExist(bytes4 selector);
    error InitNotSupported(address init);

    /// @dev Without the initialising call of the standard: nothing here needs one.
    function diamondCut(FacetCut[] calldata cuts, address init, bytes calldata data) external {
        LiFiStorage.checkOwner();
        require(init == address(0), InitNotSupported(init));
        for (uint256 i; i < cuts.length; ++i) {
            for (uint256 j; j < cuts[i].functionSelectors.length; ++j) {
                bytes4 selector = cuts[i].functionSelectors[j];
                bool exists = LiFiStorage.layout().facetOf[selector] != address(0);
                if (cuts[i].action == FacetCutAction.Add) require(!exists, FunctionExists(selector));
                else require(exists, FunctionDoesNotExist(selector));
                if (exists) _remove(selector);
                if (cuts[i].action != FacetCutAction.Remove) _add(cuts[i].facetAddress, selector);
            }
        }
        emit DiamondCut(cuts, init, data);
    }

    function _add(address facet, bytes4 selector) private {
        LiFiStorage.Layout storage l = LiFiStorage.layout();
        if (l.selectors[facet].length == 0) l.facets.push(facet);
        l.selectors[facet].push(selector);
        l.facetOf[selector] = facet;
    }

    function _remove(bytes4 selector) private {
        LiFiStorage.Layout storage l = LiFiStorage.layout();
        address facet = l.facetOf[selector];
        delete l.facetOf[selector];
        bytes4[] storage selectors = l.selectors[facet];
        uint256 i;
        while (selectors[i] != selector) ++i;
        selectors[i] = selectors[selectors.length - 1];
        selectors.pop();
        if (selectors.length != 0) return;
        i = 0;
        while (l.facets[i] != facet) ++i;
        l.facets[i] = l.facets[l.facets.length - 1];
        l.facets.pop();
    }
}

contract DiamondLoupeFacet {
    struct Facet {
        address facetAddress;
        bytes4[] functionSelectors;
    }

    function facets() external view returns (Facet[] memory all) {
        LiFiStorage.Layout storage l = LiFiStorage.layout();
        all = new Facet[](l.facets.length);
        for (uint256 i; i < all.length; ++i) {
            all[i] = Facet(l.facets[i], l.selectors[l.facets[i]]);
        }
    }

    function facetFunctionSelectors(address facet) external view returns (bytes4[] memory) {
        return LiFiStorage.layout().selectors[facet];
    }

    function facetAddresses() external view returns (address[] memory) {
        return LiFiStorage.layout().facets;
    }

    function facetAddress(bytes4 selector) external view returns (address) {
        return LiFiStorage.layout().facetOf[selector];
    }
}

/// @title Which functions of which contracts a swap's steps may call
contract WhitelistManagerFacet {
    event ContractSelectorWhitelistChanged(
        address indexed contractAddress, bytes4 indexed selector, bool isWhitelisted
    );

    function setContractSelectorWhitelist(address target, bytes4 selector, bool isWhitelisted) external {
        LiFiStorage.checkOwner();
        LiFiStorage.layout().whitelist[target][selector] = isWhitelisted;
        emit ContractSelectorWhitelistChanged(target, selector, isWhitelisted);
    }

    function isContractSelectorWhitelisted(address target, bytes4 selector) external view returns (bool) {
        return LiFiStorage.layout().whitelist[target][selector];
    }
}
