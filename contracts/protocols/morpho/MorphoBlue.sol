// SPDX-License-Identifier: MIT
// Morpho Blue, compiled from the published source as it is.
pragma solidity 0.8.19;

import {Morpho} from "@morpho-org/morpho-blue/src/Morpho.sol";
