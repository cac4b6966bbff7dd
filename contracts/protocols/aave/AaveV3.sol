// SPDX-License-Identifier: MIT
// The part of Aave v3.6 that a local market needs, compiled from the published sources as they are.
pragma solidity ^0.8.27;

import {WETH9} from "aave-v3-origin/contracts/dependencies/weth/WETH9.sol";
import {AaveProtocolDataProvider} from "aave-v3-origin/contracts/helpers/AaveProtocolDataProvider.sol";
import {ATokenInstance} from "aave-v3-origin/contracts/instances/ATokenInstance.sol";
import {PoolConfiguratorInstance} from "aave-v3-origin/contracts/instances/PoolConfiguratorInstance.sol";
import {PoolInstance} from "aave-v3-origin/contracts/instances/PoolInstance.sol";
import {VariableDebtTokenInstance} from "aave-v3-origin/contracts/instances/VariableDebtTokenInstance.sol";
import {AaveOracle} from "aave-v3-origin/contracts/misc/AaveOracle.sol";
import {
    DefaultReserveInterestRateStrategyV2
} from "aave-v3-origin/contracts/misc/DefaultReserveInterestRateStrategyV2.sol";
import {ACLManager} from "aave-v3-origin/contracts/protocol/configuration/ACLManager.sol";
import {
    PoolAddressesProvider
} from "aave-v3-origin/contracts/protocol/configuration/PoolAddressesProvider.sol";
import {
    PoolAddressesProviderRegistry
} from "aave-v3-origin/contracts/protocol/configuration/PoolAddressesProviderRegistry.sol";
import {EmissionManager} from "aave-v3-origin/contracts/rewards/EmissionManager.sol";
import {RewardsController} from "aave-v3-origin/contracts/rewards/RewardsController.sol";
import {
    PullRewardsTransferStrategy
} from "aave-v3-origin/contracts/rewards/transfer-strategies/PullRewardsTransferStrategy.sol";
