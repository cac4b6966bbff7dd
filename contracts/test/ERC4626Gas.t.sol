// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {ERC4626} from "@openzeppelin/contracts/token/ERC20/extensions/ERC4626.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {Id, IMorpho, MarketParams} from "@morpho-org/morpho-blue/src/interfaces/IMorpho.sol";
import {MarketParamsLib} from "@morpho-org/morpho-blue/src/libraries/MarketParamsLib.sol";
import {MetaMorpho} from "../devnet/MetaMorpho.sol";
import {Connector} from "../src/connectors/Connector.sol";
import {ERC4626Connector} from "../src/connectors/ERC4626Connector.sol";
import {OracleRouter} from "../src/oracle/OracleRouter.sol";
import {CheckedEther} from "./fixtures/CheckedEther.sol";
import {ConnectorFixture} from "./fixtures/ConnectorFixture.sol";

/// @dev A unit of collateral is a unit of the loan.
contract CollateralPrice {
    uint256 public constant price = 1e36;
}

/// @dev A vault whose total costs as much gas to read as it is told.
contract DearVault is ERC4626 {
    uint256 private immutable DEAR;

    constructor(IERC20 asset_, uint256 dear) ERC20("Dear", "D") ERC4626(asset_) {
        DEAR = dear;
    }

    function totalAssets() public view override returns (uint256) {
        uint256 began = gasleft();
        while (began - gasleft() < DEAR) {}
        return super.totalAssets();
    }
}

/// @title What an ERC-4626 vault may take to read
/// @notice Of MetaMorpho vaults on the local chain's Morpho, whose markets have lent for a while.
contract ERC4626GasTest is ConnectorFixture, CheckedEther {
    using MarketParamsLib for MarketParams;

    uint256 private constant LENT = 1e18;

    /// @dev What a report pays for meeting the vault, Morpho and its rates. Cooling forgets slots, but not accounts.
    uint256 private constant ACCOUNTS_GAS = 3 * 2_500;

    IMorpho private morpho;
    MetaMorpho private lender;
    MarketParams[] private markets;
    address private loan;
    address private borrower = makeAddr("borrower");

    function setUp() public override {
        super.setUp();
        morpho = IMorpho(_address(".morpho.address"));
        loan = asset;
    }

    // THE LIMITS THAT THE PAGE FOR OPERATORS GIVES

    /// forge-config: default.isolate = true
    function test_class_V_four_markets_are_accepted_and_a_fifth_stays_within_its_gas() public {
        _open(4);
        _connect();
        _add();
        assertTrue(_reports());
        _add();
        assertFalse(_reports());
        assertGt(connector.withdraw(key, EVERYTHING), LENT, "and can be left all the same");
    }

    /// forge-config: default.isolate = true
    function test_class_V_priced_by_feeds_three_markets_are_accepted_and_a_fourth_stays_within_its_gas()
        public
    {
        _priceByFeeds();
        _open(3);
        _connect();
        _add();
        assertTrue(_reports());
        // Where the chain has no sequencer a fifth may have room, too.
        _add();
        _add();
        assertFalse(_reports());
    }

    function test_class_V_more_markets_than_a_report_has_gas_for_are_refused() public {
        _open(5);
        vm.expectRevert(abi.encodeWithSelector(Connector.ReportTooDear.selector, 250_000, 220_000));
        this.connect();
    }

    function test_class_V_with_a_price_a_report_of_fewer_markets_stays_within_its_gas() public {
        _priceByFeeds();
        _open(4);
        uint256 needed = _tooDear();
        assertGe(needed, 15_000 + 22_000 + 5 * 38_000 + 75_000);
        assertLt(needed, 15_000 + 22_000 + 5 * 38_000 + 90_000);
    }

    function test_class_V_under_checked_prices_a_market_is_too_dear_and_a_plain_vault_is_not() public {
        loan = _token("WETH");
        router = _checkedEther(asset);
        _open(1);
        assertGt(_tooDear(), REPORT_GAS);
        key = _keyOf(address(new DearVault(IERC20(loan), 0)));
        _cool();
        this.connect();
    }

    // THE ESTIMATE

    /// @dev It counts a market more than there is, which is added before the report.
    function test_class_V_a_report_stays_within_its_gas_as_estimated() public {
        for (uint256 number = 1; number < 5; ++number) {
            _open(number);
            REPORT_GAS = 1;
            uint256 needed = _tooDear();
            REPORT_GAS = 300_000;
            _connect();
            _add();
            _cool();
            uint256 before = gasleft();
            connector.report(key);
            uint256 spent = before - gasleft() + ACCOUNTS_GAS;
            emit log_named_uint("gas of a report", spent);
            assertLe(spent, needed);
            assertGt(spent, needed * 9 / 10);
        }
    }

    function test_class_V_without_a_price_the_dearest_oracle_has_to_stay_within_its_gas() public {
        _priceByFeeds();
        _push("ETH/USD", 0);
        _open(1);
        assertEq(_tooDear(), 15_000 + 22_000 + 2 * 38_000 + 255_000);
    }

    /// @dev What another key has read before.
    function test_class_V_markets_that_two_vaults_share_count_for_both() public {
        _open(5);
        MetaMorpho second = lender;
        lender = new MetaMorpho(address(this), address(morpho), loan, "First", "F");
        for (uint256 i = 0; i < 4; ++i) {
            lender.setCap(markets[i], uint184(LENT));
        }
        bytes32[] memory keys = new bytes32[](2);
        (keys[0], keys[1]) = (_keyOf(address(lender)), _keyOf(address(second)));
        vm.expectRevert(abi.encodeWithSelector(Connector.ReportTooDear.selector, 250_000, 220_000));
        new ERC4626Connector(address(this), keys, new address[](0));
    }

    /// @dev Nothing that was lent earns nothing, and takes less to read.
    function test_class_V_markets_that_have_lent_nothing_count_in_full() public {
        _open(0);
        for (uint256 i = 0; i < 5; ++i) {
            lender.setCap(_market(), uint184(LENT));
        }
        vm.expectRevert(abi.encodeWithSelector(Connector.ReportTooDear.selector, 250_000, 220_000));
        this.connect();
    }

    function test_class_V_a_vault_without_a_queue_counts_as_it_is_measured() public {
        key = _keyOf(address(new DearVault(IERC20(asset), 195_000)));
        this.connect();
        key = _keyOf(address(new DearVault(IERC20(asset), 215_000)));
        uint256 needed = _tooDear();
        assertGt(needed, 220_000, "more than a view has");
        REPORT_GAS = 190_000;
        key = _keyOf(address(new DearVault(IERC20(asset), 170_000)));
        needed = _tooDear();
        assertGt(needed, 170_000 + 15_000);
        assertLt(needed, 170_000 + 35_000);
    }

    // STEPS

    function connect() external {
        bytes32[] memory keys = new bytes32[](1);
        keys[0] = key;
        connector = new ERC4626Connector(address(this), keys, new address[](0));
    }

    /// @dev With a position.
    function _connect() private {
        _cool();
        this.connect();
        cold.push(address(connector));
        deal(loan, address(connector), LENT);
        connector.supply(key, LENT);
    }

    function _tooDear() private returns (uint256 needed) {
        _cool();
        try this.connect() {
            assertTrue(false, "accepted");
        } catch (bytes memory reason) {
            return _estimateIn(reason);
        }
    }

    /// @dev In a transaction of its own, with the gas that a portfolio gives.
    function _reports() private view returns (bool success) {
        bytes memory data = abi.encodeCall(connector.report, (key));
        (success,) = address(connector).staticcall{gas: REPORT_GAS}(data);
    }

    function _priceByFeeds() private {
        loan = _token("WETH");
        OracleRouter.Route[] memory routes = new OracleRouter.Route[](1);
        routes[0] = _throughDollars(loan, asset, _feedSource(loan, "ETH/USD"), _feedSource(asset, "USDC/USD"));
        router = address(new OracleRouter(routes));
        cold.push(router);
        _push("ETH/USD", 3000e8);
        _push("USDC/USD", 1e8);
    }

    function _open(uint256 number) private {
        lender = new MetaMorpho(address(this), address(morpho), loan, "Lender", "L");
        key = _keyOf(address(lender));
        cold.push(address(lender));
        cold.push(address(morpho));
        for (uint256 i = 0; i < number; ++i) {
            _add();
        }
    }

    /// @dev A market more, whose loan has run for a minute.
    function _add() private {
        MarketParams memory params = _market();
        lender.setCap(params, uint184(100 * LENT));
        Id[] memory queue = new Id[](1);
        queue[0] = params.id();
        lender.setSupplyQueue(queue);
        deal(loan, address(this), LENT);
        IERC20(loan).approve(address(lender), LENT);
        lender.deposit(LENT, address(this));
        deal(params.collateralToken, borrower, LENT);
        vm.startPrank(borrower);
        IERC20(params.collateralToken).approve(address(morpho), LENT);
        morpho.supplyCollateral(params, LENT, borrower, "");
        morpho.borrow(params, LENT / 2, 0, borrower, borrower);
        vm.stopPrank();
        skip(1 minutes);
    }

    /// @dev Of its own by its oracle.
    function _market() private returns (MarketParams memory params) {
        params = morpho.idToMarketParams(Id.wrap(_market("wstETH/USDC")));
        params.loanToken = loan;
        params.oracle = address(new CollateralPrice());
        morpho.createMarket(params);
        markets.push(params);
        cold.push(params.irm);
    }
}
