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

    /// @dev A hop, and the gas that its source is given.
    struct Step {
        IPriceSource source;
        bool inverse;
        uint32 stipend;
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
    error RouteTooDear(address base, address quote, uint256 gas, uint256 maximum);
    error UnknownRoute(address base, address quote);
    error NoPrice(address base, address quote);

    /// @dev An answer, and no fault: see `valueGas`.
    error Takes(uint256 gas_);

    /// @dev Prices are folded in smallest units, scaled by 10^40: enough that 27 decimals against 6 keep
    /// nineteen digits, little enough that 6 against 27 leave room for a price of 10^16.
    uint256 private constant SCALE_DECIMALS = 40;
    uint256 private constant SCALE = 10 ** SCALE_DECIMALS;

    uint256 private constant MAX_HOPS = 5;

    /// @dev Finding the route, and of each hop what is done besides the read.
    uint256 private constant OWN_GAS = 10_000;
    uint256 private constant HOP_GAS = 5_000;

    /// @dev What whoever asks for a value pays besides for meeting this contract.
    uint256 private constant ACCOUNT_GAS = 2_500;

    /// @dev Sources read sources, and routes are made of routes. What none of them costs alone, some may together.
    uint256 private constant MAX_GAS = 1_000_000;

    mapping(address base => mapping(address quote => Step[])) private _steps;

    /// @dev 10^(40 + quote decimals - base decimals): what a price of one is in smallest units.
    mapping(address base => mapping(address quote => uint256)) private _unit;

    constructor(Route[] memory routes) {
        for (uint256 i = 0; i < routes.length; i++) {
            _addRoute(routes[i]);
        }
    }

    /// @notice The hops of a route; empty when there is none.
    function hops(address base, address quote) external view returns (Hop[] memory listed) {
        Step[] storage route = _steps[base][quote];
        listed = new Hop[](route.length);
        for (uint256 i = 0; i < route.length; i++) {
            listed[i] = Hop(route[i].source, route[i].inverse);
        }
    }

    /// @inheritdoc IOracleRouter
    function stipend(address base, address quote) external view returns (uint256 gas_) {
        if (base == quote) return OWN_GAS;
        Step[] storage route = _steps[base][quote];
        if (route.length == 0) revert UnknownRoute(base, quote);
        gas_ = OWN_GAS;
        for (uint256 i = 0; i < route.length; i++) {
            gas_ += _cost(route[i].stipend);
        }
    }

    /// @inheritdoc IOracleRouter
    function searchGas(address base, address quote) public view returns (uint256 gas_) {
        Step[] storage route = _steps[base][quote];
        for (uint256 i = 0; i < route.length; i++) {
            gas_ += route[i].source.searchGas();
        }
    }

    /// @inheritdoc IOracleRouter
    /// @dev What a call has met that fails is as unread as before: so neither question makes the other cheap, nor
    /// what anybody measures afterwards.
    function valueGas(address base, address quote) external view returns (uint256) {
        return _told(abi.encodeCall(this.tellSearchGas, (base, quote)))
            + _told(abi.encodeCall(this.tellValueGas, (base, quote))) + ACCOUNT_GAS;
    }

    /// @notice Always fails, with what `searchGas` says.
    function tellSearchGas(address base, address quote) external view {
        revert Takes(searchGas(base, quote));
    }

    /// @notice Always fails, with what `value` takes now.
    function tellValueGas(address base, address quote) external view {
        uint256 used = gasleft();
        (,, Status status) = this.value(base, quote, 1);
        used -= gasleft();
        if (status == Status.UNAVAILABLE) revert NoPrice(base, quote);
        revert Takes(used);
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
        Step[] storage route = _steps[base][quote];
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

    /// @dev The gas that a question fails with, or whatever else it fails with.
    function _told(bytes memory question) private view returns (uint256 gas_) {
        (, bytes memory answer) = address(this).staticcall(question);
        if (bytes4(answer) != Takes.selector) {
            assembly ("memory-safe") {
                revert(add(answer, 32), mload(answer))
            }
        }
        assembly ("memory-safe") {
            gas_ := mload(add(answer, 36))
        }
    }

    function _addRoute(Route memory route) private {
        if (route.hops.length == 0) revert EmptyRoute(route.base, route.quote);
        if (route.hops.length > MAX_HOPS) revert RouteTooLong(route.hops.length, MAX_HOPS);
        Step[] storage stored = _steps[route.base][route.quote];
        if (stored.length != 0) revert DuplicateRoute(route.base, route.quote);

        address[] memory visited = new address[](route.hops.length + 1);
        address at = route.base;
        uint256 gas_ = OWN_GAS;
        visited[0] = at;
        for (uint256 i = 0; i < route.hops.length; i++) {
            (address from, address to) = _ends(route.hops[i]);
            if (from != at) revert GapInRoute(i, at, from);
            for (uint256 j = 0; j <= i; j++) {
                if (visited[j] == to) revert CycleInRoute(i, to);
            }
            visited[i + 1] = at = to;
            uint256 given = route.hops[i].source.stipend();
            if (given > MAX_GAS) revert RouteTooDear(route.base, route.quote, given, MAX_GAS);
            gas_ += _cost(given);
            // forge-lint: disable-next-line(unsafe-typecast) just compared
            stored.push(Step(route.hops[i].source, route.hops[i].inverse, uint32(given)));
        }
        if (at != route.quote) revert GapInRoute(route.hops.length, route.quote, at);
        if (gas_ > MAX_GAS) revert RouteTooDear(route.base, route.quote, gas_, MAX_GAS);
        _unit[route.base][route.quote] =
            10 ** (SCALE_DECIMALS + _decimals(route.quote) - _decimals(route.base));
    }

    function _ends(Hop memory hop) private view returns (address from, address to) {
        if (address(hop.source).code.length == 0) revert InvalidSource(address(hop.source));
        (from, to) = (hop.source.base(), hop.source.quote());
        if (hop.inverse) (from, to) = (to, from);
    }

    function _cost(uint256 given) private pure returns (uint256) {
        return BoundedRead.cost(given) + HOP_GAS;
    }

    function _decimals(address token) private view returns (uint256) {
        (uint256 decimals, bool known) = PriceMath.readDecimals(token);
        if (!known) revert UnknownDecimals(token);
        return decimals;
    }

    /// @dev A source that reverts, answers nonsense or names no floor gives no price, and one that burns its gas
    /// or answers at length costs no more than its stipend.
    function _price(Step storage step) private view returns (uint256 low, uint256 high, Status status) {
        (IPriceSource source, bool inverse, uint256 given) = (step.source, step.inverse, step.stipend);
        (bool success, uint256[10] memory words) =
            BoundedRead.read(address(source), given, abi.encodeCall(IPriceSource.price, ()), 3);
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
