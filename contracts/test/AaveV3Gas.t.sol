// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {AaveV3Connector} from "../src/connectors/AaveV3Connector.sol";
import {Connector} from "../src/connectors/Connector.sol";
import {IAaveV3Pool} from "../src/connectors/IAaveV3.sol";
import {Status} from "../src/interfaces/Types.sol";
import {ReportLib} from "../src/libraries/ReportLib.sol";
import {PriceAggregator} from "../devnet/PriceAggregator.sol";
import {IOracleRouter} from "../src/interfaces/IOracleRouter.sol";
import {OracleRouter} from "../src/oracle/OracleRouter.sol";
import {CheckedEther} from "./fixtures/CheckedEther.sol";
import {ConnectorFixture} from "./fixtures/ConnectorFixture.sol";

/// @title The dearest reports that terms allow, in a transaction that has touched nothing before
abstract contract AaveV3GasTest is ConnectorFixture {
    AaveV3Connector internal lender;
    IAaveV3Pool internal pool;
    bytes32[] private keys;

    /// @dev With the least stipend that the terms are accepted for.
    function _terms()
        internal
        pure
        virtual
        returns (string[] memory supplied, string[] memory borrowed, bool rewarded, uint256 stipend);

    function setUp() public virtual override {
        super.setUp();
        address reward = _address(".aave.reward.token");
        _priceAll(reward);
        string[] memory supplied;
        string[] memory borrowed;
        bool rewarded;
        (supplied, borrowed, rewarded, REPORT_GAS) = _terms();
        AaveV3Connector.Terms memory terms;
        (terms.keys, terms.borrowable) = (_keysOf(supplied), _keysOf(borrowed));
        if (rewarded) {
            terms.rewards = new address[](1);
            terms.rewards[0] = reward;
        }
        terms.minHealth = 1.05e18;
        pool = IAaveV3Pool(_address(".aave.pool"));
        uint256 stipend = REPORT_GAS--;
        vm.expectRevert(abi.encodeWithSelector(Connector.ReportTooDear.selector, stipend, stipend - 1));
        new AaveV3Connector(address(this), pool, terms);
        REPORT_GAS = stipend;
        lender = new AaveV3Connector(address(this), pool, terms);
        connector = lender;
        keys = terms.keys;
        for (uint256 i = 0; i < supplied.length; i++) {
            uint256 amount = _isEther(supplied[i]) ? 100e18 : 200_000e6;
            _give(_token(supplied[i]), amount);
            connector.supply(keys[i], amount);
        }
        for (uint256 i = 0; i < borrowed.length; i++) {
            lender.borrow(terms.borrowable[i], _isEther(borrowed[i]) ? 10e18 : 20_000e6);
        }
        vm.warp(block.timestamp + 1 hours);
    }

    function test_class_V_the_first_key_reports_within_its_gas() public {
        _measure(keys[0], true);
    }

    function test_class_V_the_last_key_reports_within_its_gas() public {
        _measure(keys[keys.length - 1], false);
    }

    /// @dev With no more gas than the stipend it says what it says with any.
    function _measure(bytes32 which, bool indebted) private {
        uint256 stipend = REPORT_GAS;
        uint256 start = gasleft();
        (uint256 low, uint256 high, uint256 state) = connector.report{gas: stipend}(which);
        uint256 used = start - gasleft();
        emit log_named_uint("gas", used);
        assertGt(low, 0);
        (uint256 status, uint256 debt, uint256 health) = ReportLib.unpack(state);
        assertEq(status, uint256(Status.OK));
        assertEq(debt != 0, indebted);
        (,,,,, uint256 whole) = pool.getUserAccountData(address(lender));
        assertEq(health, indebted && _tellsHealth() ? whole : 0);
        (uint256 lowAtEase, uint256 highAtEase,) = connector.report(which);
        assertEq(low, lowAtEase);
        assertEq(high, highAtEase);
    }

    function _tellsHealth() internal pure virtual returns (bool) {
        return true;
    }

    function _priceAll(address reward) private {
        PriceAggregator feed = new PriceAggregator(8, "REWARD / USD", address(this));
        feed.push(2e8);
        Priced[] memory priced = new Priced[](4);
        priced[0] = _priced("WETH", "ETH/USD");
        priced[1] = _priced("USDT", "USDT/USD");
        priced[2] = _priced("wstETH", "wstETH/USD");
        priced[3] = Priced(reward, address(feed));
        _price(priced);
    }

    function _keysOf(string[] memory symbols) private view returns (bytes32[] memory named) {
        named = new bytes32[](symbols.length);
        for (uint256 i = 0; i < symbols.length; i++) {
            named[i] = _keyOf(_token(symbols[i]));
        }
    }

    function _isEther(string memory symbol) private pure returns (bool) {
        return bytes(symbol)[0] == "W" || bytes(symbol)[0] == "w";
    }
}

/// @dev Dollars against ether: what the present stipend allows.
contract AaveV3PairGasTest is AaveV3GasTest {
    function _terms()
        internal
        pure
        override
        returns (string[] memory supplied, string[] memory borrowed, bool rewarded, uint256 stipend)
    {
        (supplied, borrowed) = (new string[](2), new string[](1));
        (supplied[0], supplied[1], borrowed[0]) = ("WETH", "USDC", "USDC");
        (rewarded, stipend) = (false, 238_000);
    }
}

/// @dev Dollars of two kinds against ether.
contract AaveV3DollarGasTest is AaveV3GasTest {
    function _terms()
        internal
        pure
        override
        returns (string[] memory supplied, string[] memory borrowed, bool rewarded, uint256 stipend)
    {
        (supplied, borrowed) = (new string[](2), new string[](2));
        (supplied[0], supplied[1], borrowed[0], borrowed[1]) = ("WETH", "USDC", "USDC", "USDT");
        (rewarded, stipend) = (false, 367_000);
    }
}

/// @dev A loop of staked ether.
contract AaveV3LoopGasTest is AaveV3GasTest {
    function _terms()
        internal
        pure
        override
        returns (string[] memory supplied, string[] memory borrowed, bool rewarded, uint256 stipend)
    {
        (supplied, borrowed) = (new string[](2), new string[](1));
        (supplied[0], supplied[1], borrowed[0]) = ("wstETH", "USDC", "WETH");
        (rewarded, stipend) = (false, 350_000);
    }
}

/// @dev Dollars against ether, with a reward.
contract AaveV3RewardGasTest is AaveV3GasTest {
    function _terms()
        internal
        pure
        override
        returns (string[] memory supplied, string[] memory borrowed, bool rewarded, uint256 stipend)
    {
        (supplied, borrowed) = (new string[](2), new string[](1));
        (supplied[0], supplied[1], borrowed[0]) = ("WETH", "USDC", "USDC");
        (rewarded, stipend) = (true, 318_000);
    }
}

/// @dev The same, and strangers have supplied every other reserve for the account: Aave's health takes more than what
/// is left, and of the report that alone is missing.
contract AaveV3GiftGasTest is AaveV3RewardGasTest {
    string[4] internal given = ["USDT", "DAI", "wstETH", "WBTC"];

    function setUp() public virtual override {
        super.setUp();
        address stranger = makeAddr("stranger");
        vm.startPrank(stranger);
        for (uint256 i = 0; i < given.length; i++) {
            address token = _token(given[i]);
            deal(token, stranger, 1000);
            SafeERC20.forceApprove(IERC20(token), address(pool), 1000);
            pool.supply(token, 1000, address(lender), 0);
        }
        vm.stopPrank();
    }

    function _tellsHealth() internal pure virtual override returns (bool) {
        return false;
    }
}

/// @dev The same once more, when somebody has dropped what was given.
contract AaveV3DroppedGiftGasTest is AaveV3GiftGasTest {
    function setUp() public override {
        super.setUp();
        for (uint256 i = 0; i < given.length; i++) {
            vm.prank(makeAddr("another"));
            lender.dropGift(_keyOf(_token(given[i])));
        }
    }

    function _tellsHealth() internal pure override returns (bool) {
        return true;
    }
}

/// @title Terms under an oracle that costs more than feeds
contract AaveV3DearOracleTest is ConnectorFixture, CheckedEther {
    AaveV3Connector.Terms private terms;

    /// @dev Of what `AaveV3PairGasTest` needs, what is not for the price of ether.
    uint256 private constant WITHOUT_PRICE = 163_000;

    function setUp() public override {
        super.setUp();
        terms.keys.push(_keyOf(_token("WETH")));
        terms.keys.push(_keyOf(asset));
        terms.borrowable.push(_keyOf(asset));
        terms.minHealth = 1.05e18;
    }

    function test_class_V_prices_that_a_pool_checks_are_counted_as_they_cost() public {
        router = _checkedEther(asset);
        _cool();
        uint256 needed = _tooDear();
        emit log_named_uint("counted", needed);
        assertGt(needed, WITHOUT_PRICE + 210_000);
    }

    function test_class_V_without_a_price_the_dearest_is_assumed() public {
        _priceEther();
        new AaveV3Connector(address(this), IAaveV3Pool(_address(".aave.pool")), terms);
        _push("ETH/USD", 0);
        assertEq(_tooDear(), WITHOUT_PRICE + 255_000);
        router = address(new OracleRouter(new OracleRouter.Route[](0)));
        assertEq(_tooDear(), WITHOUT_PRICE + 255_000, "nor without a route");
    }

    function test_class_V_of_what_is_only_supplied_the_dearest_key_counts() public {
        terms.borrowable.pop();
        REPORT_GAS = 1;
        assertEq(_tooDear(), 38_000 + 255_000);
    }

    function _tooDear() private returns (uint256 needed) {
        try this.connect() {
            assertTrue(false, "accepted");
        } catch (bytes memory reason) {
            return _estimateIn(reason);
        }
    }

    function connect() external {
        new AaveV3Connector(address(this), IAaveV3Pool(_address(".aave.pool")), terms);
    }
}
