"""Deliberately wrong connectors: a right one with one passage changed, and what the suite has to say of it.

The letters are the classes of faults of the audited reference design: units, valuation, solvency, neutrality,
ways in and out, isolation, gas.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

SAVINGS: Final = "savings"
LOMBARD: Final = "lombard"
SOLIDITY: Final = "Connector.sol"
"""In a change: the source of the connector, whatever it is called."""


@dataclass(frozen=True)
class Change:
    """A passage of one file, and what stands there instead."""

    file: str
    right: str
    wrong: str


@dataclass(frozen=True)
class Fault:
    """A wrong connector: what it is a copy of, its changes, and the reason by check that is missed."""

    name: str
    changes: tuple[Change, ...]
    missed: Mapping[str, str]
    of: str = SAVINGS


_REPORT: Final = "_worth(asset, bank.toAssets(bank.sharesOf(address(this))))"

FAULTS: Final = (
    Fault(
        "u_assumes_six_decimals",
        (
            Change(
                SOLIDITY,
                "return " + _REPORT,
                "uint256 assets = bank.toAssets(bank.sharesOf(address(this)));\n"
                "        return _worth(asset, assets * 1e6 / 10 ** IERC20Metadata(asset).decimals())",
            ),
            Change(
                SOLIDITY,
                'import {Bank} from "./Bank.sol";',
                'import {Bank} from "./Bank.sol";\n'
                "import {IERC20Metadata} from\n"
                '    "@openzeppelin/contracts/token/ERC20/extensions/IERC20Metadata.sol";',
            ),
        ),
        {"decimals": r"A deposit counts as another amount \[.*, 8 decimals\]: expected 110000000, saw 1"},
    ),
    Fault(
        "u_counts_shares_as_assets",
        (
            Change(SOLIDITY, _REPORT, "_worth(asset, bank.sharesOf(address(this)) / 1e6)"),
            Change(
                "mirror.py",
                "assets = self.bank.to_assets(self.shares, at)\n",
                "assets = self.shares // 10**6\n",
            ),
        ),
        {
            "prediction": "A withdrawal pays another amount than predicted",
            "neutrality": r"An action changes NAV \[supply\]",
            "full exit": "A full exit pays something else than the report says: expected ",
            "emergency exit": "A partial exit changes what is owned",
            "decimals": "A deposit counts as another amount",
        },
    ),
    Fault(
        "v_counts_no_interest",
        (
            Change(
                SOLIDITY,
                "bank.toAssets(bank.sharesOf(address(this))))",
                "bank.sharesOf(address(this)) * (bank.cash() + bank.lent() + 1)\n"
                "            / (bank.totalShares() + 1e6))",
            ),
            Change(
                "mirror.py",
                "assets = self.bank.to_assets(self.shares, at)\n",
                "assets = replace(self.bank, rate=0).to_assets(self.shares, at)\n",
            ),
        ),
        {
            "prediction": "A withdrawal pays another amount than predicted",
            "neutrality": r"An action changes NAV \[supply\]",
            "full exit": "A full exit pays something else than the report says: expected ",
            "emergency exit": "A partial exit changes what is owned",
            "decimals": "A deposit counts as another amount",
        },
    ),
    Fault(
        "v_is_worth_nothing_when_unread",
        (
            Change(
                SOLIDITY,
                f"return {_REPORT};",
                "try bank.toAssets(bank.sharesOf(address(this))) returns (uint256 assets) {\n"
                "            return _worth(asset, assets);\n"
                "        } catch {\n"
                "            return (0, 0, 0);\n"
                "        }",
            ),
            Change(
                SOLIDITY,
                "bank.toAssets(bank.sharesOf(address(this))) returns",
                "this.owned() returns",
            ),
            Change(
                SOLIDITY,
                "    /// @inheritdoc IConnector\n    function supply",
                "    function owned() external view returns (uint256) {\n"
                "        return bank.toAssets(bank.sharesOf(address(this)));\n"
                "    }\n\n"
                "    /// @inheritdoc IConnector\n    function supply",
            ),
        ),
        {"impairment": "A broken protocol gives another value, and no sign of it .* saw 0 to 0"},
    ),
    Fault(
        "v_mirror_rounds_up",
        (
            Change(
                "mirror.py",
                "return mul_div_down(shares, self.total_assets(at) + 1",
                "return mul_div_up(shares, self.total_assets(at) + 1",
            ),
        ),
        {
            "valuation": "The mirror's report differs from the chain's",
            "prediction": "The mirror's report differs from the chain's",
            "decimals": "The mirror's report differs from the chain's",
        },
    ),
    Fault(
        "s_borrows_below_its_floor",
        (
            Change(
                SOLIDITY,
                "borrow(bytes32 key, uint256 assets) external onlyPortfolio onlyKnown(key) keepsHealth(key)",
                "borrow(bytes32 key, uint256 assets) external onlyPortfolio onlyKnown(key)",
            ),
        ),
        {"solvency": "A debt that takes health below the floor passes: expected a refusal, saw health 12"},
        of=LOMBARD,
    ),
    Fault(
        "s_refuses_repayments_below_its_floor",
        (
            Change(
                SOLIDITY,
                "if (paid < assets) IERC20(asset).safeTransfer(portfolio, assets - paid);",
                "if (paid < assets) IERC20(asset).safeTransfer(portfolio, assets - paid);\n"
                "        uint256 health = _health(key);\n"
                "        if (health < minHealth) revert HealthBelowFloor(health, minHealth);",
            ),
        ),
        {"solvency": "A repayment below the floor is refused: saw Reverted with HealthBelowFloor"},
        of=LOMBARD,
    ),
    Fault(
        "n_leaves_an_allowance",
        (
            Change(
                SOLIDITY,
                "_approve(asset, address(bank), assets);",
                "_approve(asset, address(bank), type(uint256).max);",
            ),
            Change(
                SOLIDITY,
                "        _checkSpent(asset, address(bank), balanceBefore, assets);\n",
                "        if (_balance(asset, address(this)) >= balanceBefore) revert ZeroAmount();\n",
            ),
        ),
        {"neutrality": r"An allowance is left \[supply: 0x\w+\]: expected 0"},
    ),
    Fault(
        "n_spends_whatever_lies_there",
        (
            Change(
                SOLIDITY,
                "        _approve(asset, address(bank), assets);\n",
                "        assets = _balance(asset, address(this));\n"
                "        _approve(asset, address(bank), assets);\n",
            ),
        ),
        {"neutrality": r"Assets that were not pushed are spent \[supply\]: expected 0, saw 1"},
    ),
    Fault(
        "e_leaves_all_or_nothing",
        (
            Change(
                SOLIDITY,
                "if (assets == EVERYTHING && worth <= available) {",
                "if (assets == EVERYTHING) {",
            ),
            Change(
                SOLIDITY,
                "        if (assets == EVERYTHING) assets = available;\n",
                "        if (available == 0) revert Illiquid(key);\n",
            ),
        ),
        {"emergency exit": "An exit in need is refused: expected what is at hand"},
    ),
    Fault(
        "e_leaves_something_behind",
        (
            Change(
                SOLIDITY,
                "bank.redeem(shares, portfolio);\n            return _received(asset, balanceBefore, worth);",
                "bank.redeem(shares - shares / 1e6, portfolio);\n"
                "            return _received(asset, balanceBefore, worth - worth / 1e6 - 1);",
            ),
        ),
        {
            "prediction": "A withdrawal pays another amount than predicted",
            "round trip": "A round trip costs: expected 0 to 4 units lost",
            "full exit": "A full exit pays something else than the report says",
            "emergency exit": "With liquidity back the exit leaves something",
            "decimals": "A deposit is not paid back",
        },
    ),
    Fault(
        "e_has_a_way_out_that_nobody_tries",
        (
            Change(
                SOLIDITY,
                "    /// @inheritdoc IConnector\n    function supply",
                "    function claim() external onlyPortfolio {}\n\n"
                "    /// @inheritdoc IConnector\n    function supply",
            ),
        ),
        {"neutrality": "Functions that no action tries: expected every function .* saw claim"},
    ),
    Fault(
        "v_is_never_seen_with_a_debt",
        (
            Change(
                "kit.py",
                "secure=lambda w: secure(w),\n        borrow=lambda w, assets: borrow(w, assets),",
                "secure=lambda w: secure(w),\n        borrow=lambda w, assets: borrow(w, 10**30),",
            ),
        ),
        {
            "valuation": "No loan of ours was ever accepted: expected reports with a debt, saw 0",
            "solvency": "Reverted with UnknownError",
        },
        of=LOMBARD,
    ),
    Fault(
        "s_does_not_say_how_it_borrows",
        (Change("kit.py", "debts: ClassVar = Debts(", "other: ClassVar = Debts("),),
        {"solvency": "A connector that can borrow says how: expected `debts` in its kit, saw None"},
        of=LOMBARD,
    ),
    Fault(
        "i_obeys_anybody",
        (
            Change(
                SOLIDITY,
                "supply(bytes32 key, uint256 assets) external override onlyPortfolio onlyKnown(key)",
                "supply(bytes32 key, uint256 assets) external override onlyKnown(key)",
            ),
        ),
        {"permissions": r"A stranger is let in \[supply\(bytes32,uint256\)\]: expected NotPortfolio"},
    ),
    Fault(
        "g_supplies_in_a_loop",
        (
            Change(
                SOLIDITY,
                "bank.deposit(assets);\n",
                "bank.deposit(assets);\n        for (uint256 i = 0; i < 1000; i++) bank.toAssets(i);\n",
            ),
        ),
        {"gas": "A supply costs too much gas: expected 1,500,000, saw "},
    ),
    Fault(
        "g_reports_in_a_loop",
        (
            Change(
                SOLIDITY,
                f"return {_REPORT};",
                f"for (uint256 i = 0; i < 200; i++) bank.toAssets(i);\n        return {_REPORT};",
            ),
        ),
        {"set-up": "cannot value the empty position .*: expected 0 to 0 with at most 300,000 gas, saw "},
    ),
)
