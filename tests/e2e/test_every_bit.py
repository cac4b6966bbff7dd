"""One bit of any input is another plan, or no plan: here a sample of the bits, in `make deep` all of them."""

import tomllib

from bits import differ, inputs, sample
from staged import Staged

from keeper.planning.policy import Policy

COUNT = 40
"""Of each input."""


async def test_a_bit_of_any_input_is_another_plan_or_none(stage: Staged) -> None:
    given = await inputs(stage)
    for name, cases in given.groups().items():
        others, refused = differ(given, sample(cases, COUNT, f"bits/{name}"))
        assert others, name
        assert refused or name in ("code", "evidence"), name


def test_how_hex_is_spelt_is_irrelevant(stage: Staged) -> None:
    text = stage.deployment.policy_toml
    lower = "\n".join(
        line.lower() if line.startswith(("vault = ", "key = ")) else line for line in text.split("\n")
    )
    assert lower != text
    assert Policy.model_validate(tomllib.loads(lower)).hash == stage.policy.hash
