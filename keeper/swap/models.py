"""What LiFi is asked, and its answers as types: fields not named here are let through, those that are must be
there.

Amounts are whole numbers of a token's smallest unit, written in decimal digits; no floating point is read.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Final, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, RootModel, ValidationError
from pydantic.alias_generators import to_camel
from pydantic_core import ErrorDetails, PydanticCustomError

from keeper.errors import DecodeError
from keeper.json_input import parse_json

MAX_BYTES: Final = 32 * 2**20
"""Of one answer. All tokens of all chains are the longest by far."""
_UINT256: Final = 2**256
_DIGITS: Final = 78
_HEX_DIGITS: Final = frozenset("0123456789abcdefABCDEF")


@dataclass(frozen=True)
class SwapRequest:
    """A swap on one chain by `sender`, who also receives. Slippage is in basis points."""

    chain_id: int
    token_in: str
    token_out: str
    amount_in: int
    sender: str
    slippage_bps: int
    exchanges: tuple[str, ...] = ()


@dataclass(frozen=True)
class ReceivedQuote:
    """A quote as it came: these bytes are the evidence. `observed_at` is ours, in seconds since 1970."""

    data: bytes
    observed_at: int


def _amount(value: str) -> str:
    # Python's own reading also takes signs, spaces, underscores and the digits of other scripts.
    plain = value.isascii() and value.isdigit() and len(value) <= _DIGITS
    if not plain or (len(value) > 1 and value[0] == "0") or int(value) >= _UINT256:
        raise PydanticCustomError("amount", "expected decimal digits of a 256-bit number")
    return value


def _hex(value: str) -> str:
    if value[:2] != "0x" or not _HEX_DIGITS.issuperset(value[2:]):
        raise PydanticCustomError("hex", "expected 0x and hexadecimal digits")
    return value


Amount = Annotated[str, AfterValidator(_amount)]
Hex = Annotated[str, Field(max_length=200_000), AfterValidator(_hex)]
Text = Annotated[str, Field(max_length=10_000)]
Id = Annotated[int, Field(gt=0, lt=2**64)]
"""Of a chain. Those that are no EVM's have large ones."""

T = TypeVar("T")
Rows = Annotated[tuple[T, ...], Field(strict=False)]
"""A list in JSON. Only that it is a tuple here is leniency; what is in it is read strictly."""


class Answer(BaseModel):
    """Base of every answer. Names are LiFi's in snake case."""

    model_config = ConfigDict(
        extra="ignore", strict=True, frozen=True, alias_generator=to_camel, hide_input_in_errors=True
    )


class Token(Answer):
    """A token; outside EVMs its address has another form."""

    address: Text
    chain_id: Id
    symbol: Text
    decimals: Annotated[int, Field(ge=0, le=255)]
    name: Text


class Action(Answer):
    """What was asked for."""

    from_chain_id: Id
    to_chain_id: Id
    from_token: Token
    to_token: Token
    from_amount: Amount
    from_address: Text
    to_address: Text


class StepAction(Answer):
    """What one included step does; LiFi's own contracts stand between, so that addresses may be left out."""

    from_chain_id: Id
    to_chain_id: Id
    from_token: Token
    to_token: Token
    from_amount: Amount


class FeeCost(Answer):
    """A fee. Where it is included it comes out of the amounts, otherwise it is paid on top."""

    name: Text
    token: Token
    amount: Amount
    included: bool


class GasCost(Answer):
    """An estimate of gas: amount in the smallest unit of the chain's coin."""

    type: Text
    amount: Amount
    token: Token


class Estimate(Answer):
    """What is expected of a quote. `to_amount_min` is what its transaction enforces."""

    tool: Text
    from_amount: Amount
    to_amount: Amount
    to_amount_min: Amount
    approval_address: Text
    fee_costs: Rows[FeeCost] = ()
    gas_costs: Rows[GasCost] = ()


class IncludedStep(Answer):
    """One call of LiFi's contract inside a quote."""

    id: Text
    type: Text
    tool: Text
    action: StepAction
    estimate: Estimate


class TransactionRequest(Answer):
    """The transaction of a quote, with quantities in hex."""

    to: Text
    data: Hex
    value: Hex
    chain_id: Id
    from_: Annotated[Text, Field(alias="from")]


class Step(Answer):
    """A step of a route, not yet with its transaction."""

    id: Text
    type: Text
    tool: Text
    action: Action
    estimate: Estimate
    included_steps: Rows[IncludedStep]


class Quote(Step):
    """A step with the transaction that does it."""

    integrator: Text
    transaction_request: TransactionRequest


class Route(Answer):
    """A way from one token to another, in steps."""

    id: Text
    from_chain_id: Id
    to_chain_id: Id
    from_amount: Amount
    to_amount: Amount
    to_amount_min: Amount
    from_token: Token
    to_token: Token
    steps: Rows[Step]


class Routes(Answer):
    routes: Rows[Route]


class Sent(Answer):
    """A transaction as `/status` reports it."""

    tx_hash: Hex
    chain_id: Id


class Received(Answer):
    """What arrived, as far as it is known."""

    chain_id: Id
    tx_hash: Hex | None = None
    amount: Amount | None = None
    token: Token | None = None


class Status(Answer):
    """The state of a transfer, or of a delivery of a chain's coin; a substatus says more."""

    status: Text
    substatus: Text | None = None
    substatus_message: Text | None = None
    tool: Text | None = None
    sending: Sent | None = None
    receiving: Received | None = None


class Chain(Answer):
    id: Id
    key: Text
    name: Text
    coin: Text
    mainnet: bool


class Chains(Answer):
    chains: Rows[Chain]


class Tokens(Answer):
    """Tokens by chain id."""

    tokens: dict[str, Rows[Token]]


class Tool(Answer):
    key: Text
    name: Text


class Tools(Answer):
    exchanges: Rows[Tool]
    bridges: Rows[Tool]


class GasPrice(Answer):
    """Wei per gas."""

    standard: int | Decimal
    fast: int | Decimal
    fastest: int | Decimal
    last_updated: int | Decimal


class GasPrices(RootModel[dict[str, GasPrice]]):
    """Gas prices by chain id."""

    model_config = ConfigDict(strict=True, frozen=True, hide_input_in_errors=True)


class GasAmount(Answer):
    """An amount of a chain's coin."""

    token: Token
    amount: Amount


class GasSuggestion(Answer):
    """How much of a chain's coin to bring along, where any can be."""

    available: bool
    recommended: GasAmount | None = None


class ToolError(Answer):
    """Why one bridge or exchange has no quote."""

    code: Text
    tool: Text | None = None


class FailedPath(Answer):
    subpaths: dict[str, Rows[ToolError]] = {}


class Unavailable(Answer):
    """Routes that do not exist, and why."""

    failed: Rows[FailedPath] = ()


class Failure(Answer):
    """An answer that is an error. Older ones list what failed, today's hold unavailable routes."""

    message: Text
    code: int | None = None
    errors: Rows[ToolError] | Unavailable | None = None

    def tools(self) -> tuple[str, ...]:
        """The codes that tools gave."""
        if isinstance(self.errors, Unavailable):
            failed = (each for path in self.errors.failed for each in path.subpaths.values())
            return tuple(error.code for errors in failed for error in errors)
        return tuple(error.code for error in self.errors or ())


M = TypeVar("M", bound=BaseModel)


def parse(data: bytes, model: type[M], *, where: object) -> M:
    """An answer's bytes as a model. Raises DecodeError naming what is missing or of another type."""
    if len(data) > MAX_BYTES:
        raise DecodeError(
            "The answer is too long", expected=f"{MAX_BYTES} bytes", seen=len(data), where=where
        )
    content = parse_json(data, where=where, exact=True)
    try:
        return model.model_validate(content)
    except ValidationError as error:
        details = error.errors(include_input=False, include_url=False)
        lines = "; ".join(f"{_path(each['loc'])}: {_said(each)}" for each in details[:8])
        raise DecodeError(f"The answer lacks or misstates fields: {lines}", where=where) from None


def _path(parts: Sequence[int | str]) -> str:
    return ".".join(str(part)[:100] for part in parts) or "the answer"


def _said(detail: ErrorDetails) -> str:
    return "missing" if detail["type"] == "missing" else detail["msg"]
