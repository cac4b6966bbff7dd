"""Every parser of outside input: it succeeds, or it refuses with an error of ours."""

from pathlib import Path

from answers import node_outcomes, signer_outcomes
from local_programs import CHAIN, place_programs
from parsers import outcomes, parsers

from keeper.chain.rpc import Endpoint
from keeper.simulation.anvil import Anvil

CASES_PER_SHARE = 30
ANSWERS = 250


def test_what_is_valid_parses(tmp_path: Path) -> None:
    for parser in parsers(tmp_path):
        for seed in parser.seeds:
            parser.parse(seed)


def test_what_is_almost_valid_is_parsed_or_refused_by_an_error_of_ours(tmp_path: Path) -> None:
    for parser in parsers(tmp_path):
        assert outcomes(parser, CASES_PER_SHARE * parser.share, "fuzz")["refused"], parser.name


async def test_almost_valid_answers_of_a_node_are_refused_by_an_error_of_ours() -> None:
    with Anvil(CHAIN, ["--no-mining"]) as node:
        async with Endpoint(node.url, CHAIN) as endpoint:
            await place_programs(endpoint)
        assert len(await node_outcomes(node.url, ANSWERS, "fuzz")) == 2


async def test_almost_valid_answers_of_a_signer_never_raise() -> None:
    assert len(await signer_outcomes(ANSWERS, "fuzz")) == 3
