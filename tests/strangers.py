"""Blocks in which others act beside us, and the same transactions one to a block for comparison."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

from eth_account import Account
from staged import USDC, Staged

from keeper.book import Book
from keeper.chain.pool import Pool
from keeper.chain.rpc import Endpoint
from keeper.contracts import encode_call
from keeper.execution.inclusion import Done, Inclusion
from keeper.execution.look import Receipt, find
from keeper.execution.reconcile import Reconciliation
from keeper.planning.outcome import IDLE
from keeper.planning.plan import Kind, Plan
from keeper.quorum.typed_data import artefact
from keeper.simulation.deploy import BLOCK_SECONDS, MAX_FEE_PER_GAS
from keeper.simulation.devnet import Devnet
from keeper.simulation.vault import SIGNERS
from keeper.units import Address

AAVE, MORPHO, VAULT = "aave:USDC", "morpho:WETH/USDC", "metamorpho:USDC"
Split = tuple[str, int, int, int, int]
"""Name of a line, what time, others before us, we, and others after us did to it."""
PURSE: Final = 20_000_000 * USDC
_MAX: Final = 2**256 - 1
_PARAMS: Final = "(address,address,address,address,uint256)"
_GAS: Final = 2_000_000


@dataclass
class Block:
    """Transactions for one block, in order."""

    stage: Staged
    raw: list[str] = field(default_factory=list)
    _nonces: dict[str, int] = field(default_factory=dict)

    def add(self, role: str, to: str, data: bytes, gas: int = _GAS, **fields: Any) -> None:
        """A transaction that pays the base fee and no tip, so that the order stays."""
        devnet, who = self.stage.devnet, self.stage.devnet.address(role)
        nonce = self._nonces.get(role)
        if nonce is None:
            nonce = int(devnet.rpc("eth_getTransactionCount", who, "latest"), 16)
        self._nonces[role] = nonce + 1
        fees = {} if "gasPrice" in fields else {"maxFeePerGas": MAX_FEE_PER_GAS, "maxPriorityFeePerGas": 0}
        body = {"chainId": devnet.chain_id, "nonce": nonce, "to": to, "value": 0, "data": data, "gas": gas}
        signed = Account.sign_transaction(body | fees | fields, devnet.key(role))
        self.raw.append(signed.raw_transaction.to_0x_hex())

    def carry_out(self, plan: Plan) -> None:
        """Our own, with the signatures of the first two."""
        data = artefact(plan).submit_data(self.stage.sign(plan, *SIGNERS[:2]))
        self.add("relayer", self.stage.policy.vault.quorum, data, 8_000_000)

    def mine(self) -> list[str]:
        """Mines them all in one block; their hashes."""
        rpc = self.stage.devnet.rpc
        rpc("evm_setAutomine", False)
        try:
            names = [rpc("eth_sendRawTransaction", each) for each in self.raw]
            rpc("evm_mine")
        finally:
            rpc("evm_setAutomine", True)
        assert self.stage.devnet.block()["transactions"] == names
        return [str(name) for name in names]

    async def one_by_one(self) -> list[Book]:
        """The books of a chain on which each transaction has a block of its own, all in the second of the one
        block: first of an empty block, then after each. It is left as it was."""
        rpc, books = self.stage.devnet.rpc, []
        with self.stage.devnet.undone():
            rpc("evm_mine")
            books.append(await self.stage.book())
            rpc("anvil_setBlockTimestampInterval", 0)
            try:
                for each in self.raw:
                    rpc("eth_sendRawTransactionSync", each)
                    books.append(await self.stage.book())
            finally:
                rpc("anvil_setBlockTimestampInterval", BLOCK_SECONDS)
        assert {book.at for book in books} == {self.stage.head.timestamp + BLOCK_SECONDS}
        return books


def worth(book: Book) -> dict[str, int]:
    """Each line of the book, as the contracts report it."""
    return book.allocation | {IDLE: book.idle}


def expected(parent: Book, books: Sequence[Book], mine: Sequence[int]) -> list[Split]:
    """By the books of `Block.one_by_one` and the places of our transactions."""
    was, states = worth(parent), [worth(book) for book in books]

    def moved(name: str, places: Iterator[int]) -> int:
        return sum(states[place + 1][name] - states[place][name] for place in places)

    total = len(states) - 1
    return [
        (
            name,
            states[0][name] - was[name],
            moved(name, iter(range(mine[0]))),
            moved(name, iter(mine)),
            moved(name, (place for place in range(mine[0], total) if place not in mine)),
        )
        for name in sorted(was)
    ]


def split(result: Reconciliation) -> list[Split]:
    """The same of a reconciliation."""
    return [(each.name, each.elapsed, each.earlier, each.ours, each.later) for each in result.lines]


async def receipt_of(endpoint: Endpoint, name: str) -> Receipt:
    found = await find(endpoint, bytes.fromhex(name[2:]))
    assert found is not None
    return found


@dataclass(frozen=True)
class Scene:
    """A block that was mined, with what was ours in it, and what it must be split into."""

    stage: Staged
    done: tuple[tuple[tuple[Plan, ...], str], ...]
    expected: list[Split]

    @property
    def succeeded(self) -> bool:
        """Whether all that was ours did."""
        rpc = self.stage.devnet.rpc
        return all(rpc("eth_getTransactionReceipt", name)["status"] == "0x1" for _, name in self.done)

    async def reconciled(self, endpoint: Endpoint | Pool) -> Reconciliation:
        async with self.stage.endpoint() as own:
            done = [Done(plans, await receipt_of(own, name)) for plans, name in self.done]
        block = done[0].receipt.block
        result, book = await Inclusion(endpoint, self.stage.policy, block, done).reconciled()
        assert sum(line.after for line in result.lines) == book.total
        return result

    async def check(self, endpoint: Endpoint) -> Reconciliation:
        """It is split as it must be, and nothing is left."""
        result = await self.reconciled(endpoint)
        assert split(result) == self.expected
        assert (result.unexplained, result.differing, result.not_replayed) == (0, (), "")
        result.require_explained()
        return result


async def play(block: Block, *mine: tuple[int, tuple[Plan, ...]]) -> Scene:
    """Mines the block, in which those plans were at those places."""
    parent = await block.stage.book()
    books = await block.one_by_one()
    names = block.mine()
    done = tuple((plans, names[place]) for place, plans in mine)
    return Scene(block.stage, done, expected(parent, books, [place for place, _ in mine]))


@dataclass(frozen=True)
class Street:
    """What strangers do in the markets and at the vault, each act a transaction added to a block."""

    stage: Staged

    def prepare(self, *roles: str) -> None:
        """Gives them USDC, positions in every market, and lets the contracts take what they have."""
        devnet, asset = self.stage.devnet, self.stage.deployment.asset
        takers = (self._pool, self._morpho, self._metamorpho, self.stage.deployment.vault)
        for role in roles:
            self.stage.act("deployer", asset, "mint(address,uint256)", devnet.address(role), PURSE)
            for taker in takers:
                self.stage.act(role, asset, "approve(address,uint256)", taker, _MAX)
            block = Block(self.stage)
            self.lend(block, role, 500_000 * USDC)
            self.lend_on_morpho(block, role, 500_000 * USDC)
            self.deposit(block, role, 500_000 * USDC)
            block.mine()

    @property
    def _pool(self) -> Address:
        return Address(self.stage.devnet.manifest["aave"]["pool"])

    @property
    def _morpho(self) -> Address:
        return Address(self.stage.devnet.manifest["morpho"]["address"])

    @property
    def _metamorpho(self) -> Address:
        return Address(self.stage.policy.position(VAULT).params["vault"])

    @property
    def _market(self) -> tuple[Any, ...]:
        market = self.stage.devnet.manifest["morpho"]["markets"]["WETH/USDC"]
        return tuple(market[name] for name in ("loan_token", "collateral_token", "oracle", "irm", "lltv"))

    def _who(self, role: str, venue: str | None) -> Address:
        """Whose position it is: by a venue's name our connector's, as a gift."""
        return self.stage.devnet.address(role) if venue is None else self.stage.policy.position(venue).address

    def lend(self, block: Block, role: str, assets: int, gift: str | None = None, **fields: Any) -> None:
        asset, whose = self.stage.deployment.asset, self._who(role, gift)
        data = encode_call("supply(address,uint256,address,uint16)", asset, assets, whose, 0)
        block.add(role, self._pool, data, **fields)

    def leave(self, block: Block, role: str, assets: int) -> None:
        asset, who = self.stage.deployment.asset, self.stage.devnet.address(role)
        block.add(role, self._pool, encode_call("withdraw(address,uint256,address)", asset, assets, who))

    def borrow(self, block: Block, assets: int) -> None:
        asset, who = self.stage.deployment.asset, self.stage.devnet.address("whale")
        signature = "borrow(address,uint256,uint256,uint16,address)"
        block.add("whale", self._pool, encode_call(signature, asset, assets, 2, 0, who))

    def lend_on_morpho(self, block: Block, role: str, assets: int, gift: str | None = None) -> None:
        signature, whose = f"supply({_PARAMS},uint256,uint256,address,bytes)", self._who(role, gift)
        block.add(role, self._morpho, encode_call(signature, self._market, assets, 0, whose, b""))

    def borrow_on_morpho(self, block: Block, assets: int) -> None:
        who = self.stage.devnet.address("agent")
        signature = f"borrow({_PARAMS},uint256,uint256,address,address)"
        block.add("agent", self._morpho, encode_call(signature, self._market, assets, 0, who, who))

    def deposit(self, block: Block, role: str, assets: int, gift: str | None = None) -> None:
        data = encode_call("deposit(uint256,address)", assets, self._who(role, gift))
        block.add(role, self._metamorpho, data)

    def redeem(self, block: Block, role: str, assets: int) -> None:
        who = self.stage.devnet.address(role)
        data = encode_call("withdraw(uint256,address,address)", assets, who, who)
        block.add(role, self._metamorpho, data)

    def request(self, block: Block, role: str, assets: int) -> None:
        who = self.stage.devnet.address(role)
        data = encode_call("requestDeposit(uint256,address,address)", assets, who, who)
        block.add(role, self.stage.deployment.vault, data)

    def give(self, block: Block, role: str, assets: int) -> None:
        """To the portfolio itself."""
        data = encode_call("transfer(address,uint256)", self.stage.deployment.portfolio, assets)
        block.add(role, self.stage.deployment.asset, data)

    def act(self, drawn: Random, block: Block) -> None:
        """Anything that one of them might do; it may fail."""
        role = drawn.choice(("user4", "user5"))
        assets = drawn.randrange(1, 10 ** drawn.randrange(1, 7) * USDC)
        acts: tuple[Callable[[], None], ...] = (
            lambda: self.lend(block, role, assets),
            lambda: self.leave(block, role, assets),
            lambda: self.borrow(block, assets),
            lambda: self.lend_on_morpho(block, role, assets),
            lambda: self.borrow_on_morpho(block, assets),
            lambda: self.deposit(block, role, assets),
            lambda: self.redeem(block, role, assets),
            lambda: self.lend(block, role, assets, gift=AAVE),
            lambda: self.lend_on_morpho(block, role, assets, gift=MORPHO),
            lambda: self.deposit(block, role, assets, gift=VAULT),
            lambda: self.request(block, role, assets),
            lambda: self.give(block, role, assets),
        )
        drawn.choice(acts)()

    async def draw(self, drawn: Random) -> Scene:
        """A block with a batch, a settlement, or both, among up to eight transactions of others."""
        kinds = drawn.choice(((Kind.BATCH,), (Kind.SETTLEMENT,), (Kind.BATCH, Kind.SETTLEMENT)))
        if Kind.SETTLEMENT in kinds:
            self.stage.request_deposit("user3", drawn.randrange(1, 400_000) * USDC)
            self.stage.close_epoch()
        plans = [await self.stage.propose(kind) for kind in kinds]
        size = len(plans) + drawn.randrange(1, 9)
        places = dict(zip(sorted(drawn.sample(range(size), len(plans))), plans, strict=True))
        block = Block(self.stage)
        for place in range(size):
            if place in places:
                block.carry_out(places[place])
            else:
                self.act(drawn, block)
        return await play(block, *((place, (plan,)) for place, plan in places.items()))


def put_skimming(devnet: Devnet, connector: Address, token: Address, thief: Address, amount: int) -> None:
    """Gives the connector code that does as before, and after a supply sends `amount` of the position to the
    thief."""
    original = Address("0x" + "51" * 20)
    devnet.rpc("anvil_setCode", original, devnet.rpc("eth_getCode", connector, "latest"))
    supply = encode_call("supply(bytes32,uint256)", b"\0" * 32, 0)[:4].hex()
    transfer = encode_call("transfer(address,uint256)", thief, 0)[:4].hex()
    forward = f"365f5f375f5f365f73{original[2:]}5af43d5f5f3e"
    # Back with what the original returned, if it reverted or was asked for something else.
    revert = f"60{len(forward) // 2 + 6:02x}573d5ffd5b"
    start = len(forward + revert) // 2 + 17
    choose = f"5f3560e01c63{supply}1460{start:02x}573d5ff3"
    take = f"5b63{transfer}60e01b5f5273{thief[2:]}60045267{amount:016x}602452"
    take += f"5f5f60445f5f73{token[2:]}5af100"
    devnet.rpc("anvil_setCode", connector, f"0x{forward}{revert}{choose}{take}")
