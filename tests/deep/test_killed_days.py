"""Keepers killed thousands of times in whole days of a vault: all comes to what it comes to undisturbed."""

import os
from functools import partial
from pathlib import Path

import pytest
from campaign import Campaign
from postgresql_server import database, postgresql

from keeper.simulation.devnet import BuiltChain, Devnet

pytestmark = [pytest.mark.deep, pytest.mark.timeout(0)]

KILLS = -(-int(os.environ.get("OMNIKEEPER_STEPS", "2000")) // 10)
"""The campaign has ten rounds. Of a round's keepers every tenth starts cold, and as many are told to stop."""


def test_killed_keepers_lose_and_repeat_nothing(built_chain: BuiltChain, tmp_path: Path, seed: str) -> None:
    tenth = -(-KILLS // 10)
    with (
        Devnet(built_chain.manifest["chain_id"]) as devnet,
        Campaign.of(devnet, tmp_path, seed) as campaign,
        postgresql() as server,
    ):
        campaign.undisturbed()
        campaign.every_point()
        campaign.days(4 * tenth, campaign.at_writes)
        campaign.days(4 * tenth, campaign.at_any_moment)
        campaign.days(tenth, partial(campaign.at_any_moment, cold=True))
        campaign.days(tenth, campaign.at_writes, place=partial(database, server))
        campaign.days(tenth, campaign.told_to_stop)
