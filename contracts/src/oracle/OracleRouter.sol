// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IOracleRouter, IPriceSource} from "../interfaces/IOracleRouter.sol";
import {Status} from "../interfaces/Types.sol";
import {BoundedRead} from "./BoundedRead.sol";
import {PriceMath} from "./PriceMath.sol";

/// @title Immutable, validated routes of price sources
/// @notice A route is a fold over adjacent hops: every hop starts where the one before it ended. What a route
/// is made of is checked once, here, and refused by name; afterwards a bad market shows as a status and never
/// as a revert.
contract OracleRouter is IOracleRouter {
    /// @dev One source, read backwards when `inverse`.
    struct Hop {
        IPriceSource source;
        bool inverse;
    }

    /// @dev How to get from `base` to `quote`. Routes are directed; the way back is another route.
    struct Route {
        address base;
        address quote;
        Hop[] hops;
    }

    error UnknownDecimals(address token);
    error EmptyRoute(address base, address quote);
    error RouteTooLong(uint256 hops, uint256 maximum);
    error DuplicateRoute(address base, address quote);
    error InvalidSource(address source);
    error GapInRoute(uint256 hop, address expected, address seen);
    error CycleInRoute(uint256 hop, address repeated);
    error UnknownRoute(address base, address quote);

    /// @dev Prices are folded in smallest units, scaled by 10^40: enough that 27 decimals against 6 keep
    /// nineteen digits, little enough that 6 against 27 leave room for a price of 10^16.
    uint256 private constant SCALE_DECIMALS = 40;
    uint256 private constant SCALE = 10 ** SCALE_DECIMALS;

    uint256 private constant MAX_HOPS = 5;

    /// @dev Two feeds and a pool take 135k. A report of 250k that meets a source which burns all of it is left
    /// with enough to say so.
    uint256 private constant SOURCE_GAS = 225_000;

    mapping(address base => mapping(address quote => Hop[])) private _hops;

    /// @dev 10^(40 + quote decimals - base decimals): what a price of one is in smallest units.
    mapping(address base => mapping(address quote => uint256)) private _unit;

    constructor(Route[] memory routes) {
        for (uint256 i = 0; i < routes.length; i++) {
            _addRoute(routes[i]);
        }
    }

    /// @notice The hops of a route; empty when there is none.
    function hops(address base, address quote) external view returns (Hop[] memory) {
        return _hops[base][quote];
    }

    /// @inheritdoc IOracleRouter
    /// @dev Status is the worst of the hops. A hop without a usable price makes the value
    /// (0, type(uint256).max, UNAVAILABLE): anything is possible. Every other status comes with a range.
    function value(address base, address quote, uint256 amount)
        external
        view
        returns (uint256 low, uint256 high, Status status)
    {
        if (base == quote) return (amount, amount, Status.OK);
        Hop[] storage route = _hops[base][quote];
        uint256 length = route.length;
        if (length == 0) revert UnknownRoute(base, quote);

        low = high = _unit[base][quote];
        for (uint256 i = 0; i < length; i++) {
            (uint256 hopLow, uint256 hopHigh, Status hopStatus) = _price(route[i]);
            if (hopStatus == Status.UNAVAILABLE) return (0, type(uint256).max, Status.UNAVAILABLE);
            low = PriceMath.mulDivDown(low, hopLow, PriceMath.WAD);
            high = PriceMath.mulDivUp(high, hopHigh, PriceMath.WAD);
            if (hopStatus > status) status = hopStatus;
        }
        // A saturated product is not a ceiling any more.
        if (high != type(uint256).max) {
            low = PriceMath.mulDivDown(amount, low, SCALE);
            high = PriceMath.mulDivUp(amount, high, SCALE);
        }
        if (high == type(uint256).max) return (0, high, Status.UNAVAILABLE);
    }

    function _addRoute(Route memory route) private {
        if (route.hops.length == 0) revert EmptyRoute(route.base, route.quote);
        if (route.hops.length > MAX_HOPS) revert RouteTooLong(route.hops.length, MAX_HOPS);
        Hop[] storage stored = _hops[route.base][route.quote];
        if (stored.length != 0) revert DuplicateRoute(route.base, route.quote);

        address[] memory visited = new address[](route.hops.length + 1);
        address at = route.base;
        visited[0] = at;
        for (uint256 i = 0; i < route.hops.length; i++) {
            (address from, address to) = _ends(route.hops[i]);
            if (from != at) revert GapInRoute(i, at, from);
            for (uint256 j = 0; j <= i; j++) {
                if (visited[j] == to) revert CycleInRoute(i, to);
            }
            visited[i + 1] = at = to;
            stored.push(route.hops[i]);
        }
        if (at != route.quote) revert GapInRoute(route.hops.length, route.quote, at);
        _unit[route.base][route.quote] =
            10 ** (SCALE_DECIMALS + _decimals(route.quote) - _decimals(route.base));
    }

    function _ends(Hop memory hop) private view returns (address from, address to) {
        if (address(hop.source).code.length == 0) revert InvalidSource(address(hop.source));
        (from, to) = (hop.source.base(), hop.source.quote());
        if (hop.inverse) (from, to) = (to, from);
    }

    function _decimals(address token) private view returns (uint256) {
        (uint256 decimals, bool known) = PriceMath.readDecimals(token);
        if (!known) revert UnknownDecimals(token);
        return decimals;
    }

    /// @dev A source that reverts, answers nonsense or names no floor gives no price, and one that burns its gas
    /// or answers at length costs no more than its stipend.
    function _price(Hop storage hop) private view returns (uint256 low, uint256 high, Status status) {
        (IPriceSource source, bool inverse) = (hop.source, hop.inverse);
        (bool success, uint256[10] memory words) =
            BoundedRead.read(address(source), SOURCE_GAS, abi.encodeCall(IPriceSource.price, ()), 3);
        (low, high) = (words[0], words[1]);
        if (!success || low == 0 || low > high || words[2] >= uint256(Status.UNAVAILABLE)) {
            return (0, type(uint256).max, Status.UNAVAILABLE);
        }
        status = Status(words[2]);
        if (inverse) {
            (low, high) =
            (
                PriceMath.mulDivDown(PriceMath.WAD, PriceMath.WAD, high),
                PriceMath.mulDivUp(PriceMath.WAD, PriceMath.WAD, low)
            );
        }
    }
}
