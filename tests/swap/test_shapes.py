"""The local service answers in the shapes of LiFi's own specification."""

import gzip
import json
from typing import Any

import aiohttp
import jsonschema
import pytest
from mutations import holder
from pydantic import BaseModel
from quote_mutations import required
from stage import AMOUNT, DATA, Stage

from keeper.errors import DecodeError
from keeper.simulation.lifi import Service
from keeper.swap import models
from keeper.swap.transfer import Outcome, outcome

SHAPES = json.loads(gzip.decompress((DATA / "shapes.json.gz").read_bytes()))


def validate(answer: Any, key: str) -> None:
    """Raises ValidationError where the answer is not as specified."""
    schema = {**SHAPES["answers"][key], "components": SHAPES["components"]}
    jsonschema.Draft4Validator(schema).validate(answer)


def query(stage: Stage) -> dict[str, str]:
    chain = str(stage.devnet.chain_id)
    return {
        "fromChain": chain,
        "toChain": chain,
        "fromToken": stage.token("USDC"),
        "toToken": stage.token("WETH"),
        "fromAmount": str(AMOUNT),
        "fromAddress": stage.handler,
    }


def wanted(stage: Stage) -> dict[str, Any]:
    asked = query(stage)
    return {
        "fromChainId": stage.devnet.chain_id,
        "toChainId": stage.devnet.chain_id,
        "fromTokenAddress": asked["fromToken"],
        "toTokenAddress": asked["toToken"],
        "fromAmount": asked["fromAmount"],
        "fromAddress": asked["fromAddress"],
    }


async def get(stage: Stage, path: str, **params: str) -> tuple[int, Any]:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{stage.service.url}/v1/{path}", params=params) as response,
    ):
        return response.status, await response.json()


async def post(stage: Stage, path: str, body: Any) -> tuple[int, Any]:
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{stage.service.url}/v1/{path}", json=body) as response,
    ):
        return response.status, await response.json()


PLAIN: dict[str, tuple[str, type[BaseModel]]] = {
    "chains": ("get /v1/chains 200", models.Chains),
    "tokens": ("get /v1/tokens 200", models.Tokens),
    "tools": ("get /v1/tools 200", models.Tools),
    "gas/prices": ("get /v1/gas/prices 200", models.GasPrices),
    "gas/prices/31337": ("get /v1/gas/prices/{chainId} 200", models.GasPrice),
}
"""Endpoints that need no more arguments, with their answer in the specification and here."""
SUGGESTION = "gas/suggestion/31337"


@pytest.mark.parametrize("path", PLAIN)
async def test_an_answer_without_arguments_is_as_specified(stage: Stage, path: str) -> None:
    status, answer = await get(stage, path)
    assert status == 200
    validate(answer, PLAIN[path][0])


async def test_a_gas_suggestion_is_as_described(stage: Stage) -> None:
    # The specification has no schema for it, but an example in words.
    status, answer = await get(stage, SUGGESTION)
    assert status == 200
    assert answer["available"] is True
    assert set(answer["recommended"]) == {"token", "amount", "amountUsd"}
    token = {"$ref": "#/components/schemas/Token", "components": SHAPES["components"]}
    jsonschema.Draft4Validator(token).validate(answer["recommended"]["token"])


def test_no_endpoint_of_the_service_is_left_unchecked() -> None:
    routes = Service({}).application().router.routes()
    served = {route.resource.canonical for route in routes if route.resource is not None} - {"/local/mode"}
    checked = {"/v1/" + path.replace("31337", "{chain}") for path in (*PLAIN, SUGGESTION)}
    posted = {"/v1/quote", "/v1/advanced/routes", "/v1/advanced/stepTransaction"}
    assert served == checked | posted | {"/v1/status", "/v1/gas/status"}


@pytest.mark.parametrize("path", [*PLAIN, SUGGESTION, "advanced/routes"])
async def test_an_answer_that_lacks_a_field_is_refused_by_its_name(stage: Stage, path: str) -> None:
    if path == "advanced/routes":
        _, answer = await post(stage, path, wanted(stage))
        model: type[BaseModel] = models.Routes
    else:
        _, answer = await get(stage, path)
        model = models.GasSuggestion if path == SUGGESTION else PLAIN[path][1]
    models.parse(json.dumps(answer).encode(), model, where=path)
    places = list(required(model, answer))
    assert places
    for place in places:
        content = json.loads(json.dumps(answer))
        del holder(content, place)[place[-1]]
        with pytest.raises(DecodeError, match=rf"{place[-1]}: missing"):
            models.parse(json.dumps(content).encode(), model, where=path)


async def test_quotes_routes_and_their_steps_are_as_specified(stage: Stage) -> None:
    for fee_bps in (0, 25):
        stage.service.behave(fee_bps=fee_bps)
        status, quote = await get(stage, "quote", **query(stage))
        assert status == 200
        validate(quote, "get /v1/quote 200")
    _, routes = await post(stage, "advanced/routes", wanted(stage))
    validate(routes, "post /v1/advanced/routes 200")
    status, step = await post(stage, "advanced/stepTransaction", routes["routes"][0]["steps"][0])
    assert status == 200
    validate(step, "post /v1/advanced/stepTransaction 200")
    assert step["transactionRequest"]["to"] == stage.lifi.deployment.diamond


async def test_statuses_and_a_refusal_are_as_specified(stage: Stage) -> None:
    for path in ("status", "gas/status"):
        status, answer = await get(stage, path, txHash="0x" + "11" * 32)
        assert (status, answer["status"]) == (200, "NOT_FOUND")
        validate(answer, f"get /v1/{path} 200")
    elsewhere = {**query(stage), "toChain": "1"}
    status, answer = await get(stage, "quote", **elsewhere)
    assert (status, answer["code"]) == (404, 1002)
    validate(answer, "get /v1/quote 404")


async def test_the_specification_would_see_another_shape(stage: Stage) -> None:
    _, quote = await get(stage, "quote", **query(stage))
    for field in ("action", "id"):
        broken = {name: each for name, each in quote.items() if name != field}
        with pytest.raises(jsonschema.ValidationError, match=field):
            validate(broken, "get /v1/quote 200")
    quote["action"]["fromAmount"] = 1
    with pytest.raises(jsonschema.ValidationError, match="is not of type 'string'"):
        validate(quote, "get /v1/quote 200")


def test_every_state_in_the_specification_is_still_to_end_or_has_ended() -> None:
    known = SHAPES["components"]["schemas"]["StatusResponse"]["properties"]
    open_, ended = {"NOT_FOUND", "PENDING"}, {"DONE", "INVALID", "FAILED"}
    assert set(known["status"]["enum"]) == open_ | ended
    final = {each.value.upper() for each in Outcome} - {"FAILED"}
    assert final < set(known["substatus"]["enum"])
    for substatus in known["substatus"]["enum"]:
        for status in known["status"]["enum"]:
            if status == "DONE" and substatus not in {*final, "REFUND_IN_PROGRESS"}:
                continue  # said of transfers that are under way, or failed
            reached = outcome(models.Status(status=status, substatus=substatus))
            assert (reached is None) == (status in open_ or substatus == "REFUND_IN_PROGRESS")


def test_what_was_recorded_of_lifi_is_as_specified() -> None:
    validate(
        json.loads((DATA / "quote-arb-base-eth-gaszip-2026-10-07.json").read_text()), "get /v1/quote 200"
    )
    recorded = DATA / "status-DONE-COMPLETED-arb-taiko-stargateV2Bus.json"
    status = json.loads(recorded.read_text())
    # Here LiFi does not do as it says: the tokens of included steps are objects, and specified as text.
    with pytest.raises(jsonschema.ValidationError, match="is not of type 'string'"):
        validate(status, "get /v1/status 200")
    del status["sending"]["includedSteps"]
    validate(status, "get /v1/status 200")
