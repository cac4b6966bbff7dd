"""A place to install connectors that do not ship."""

import sys
from collections.abc import Iterator

import pytest
from installed import Site

from keeper.simulation.devnet import BuiltChain, Devnet


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A folder on the path of this process; what was imported from it is forgotten afterwards."""
    made = Site(tmp_path_factory.mktemp("site"))
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(made.folder)
        yield made
        for module in [each for each in sys.modules if each.partition(".")[0] in made.classes]:
            del sys.modules[module]


@pytest.fixture(scope="module")
def devnet(built_chain: BuiltChain) -> Iterator[Devnet]:
    """As the suite's own command has it."""
    with Devnet(built_chain.manifest["chain_id"], archive=False) as chain:
        yield chain
