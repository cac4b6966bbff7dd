"""`keeper guardian pause|veto|exit-only` against the real registry: what they do, and what they refuse."""

import json

import pytest
from eth_account import Account
from eth_typing import HexStr
from guardian_post import Post

from keeper.contracts import encode_call
from keeper.contracts.abi import encode
from keeper.exposures import risk_id
from keeper.simulation.vault import DAY, TIMELOCK

WEEK = 7 * DAY
AAVE = "aave:USDC"


def now(post: Post) -> int:
    return int(post.devnet.block()["timestamp"], 16)


# PAUSE


def test_a_pause_stops_risk_for_a_week_and_shows_it_on_chain(post: Post) -> None:
    said = post.data("pause", key="guardian")
    assert post.read("riskPausedUntil") == now(post) + WEEK
    assert said["transaction"]["block"] == int(post.devnet.block()["number"], 16)
    assert said["transaction"]["effect"].startswith(f"riskPausedUntil is {now(post) + WEEK}, ")


def test_an_intervention_does_not_wait_for_a_private_relay(post: Post) -> None:
    file = post.folder / "endpoints.toml"
    public = file.read_text()
    relay = f'[chains.{post.devnet.chain_id}.private]\nurl = "http://127.0.0.1:9"\n'
    try:
        file.write_text(f"{public}\n{relay}")
        assert post.data("pause", key="guardian")["transaction"]["gas_used"] > 21_000
    finally:
        file.write_text(public)


def test_people_are_told_before_it_is_sent_what_a_pause_does_and_does_not(post: Post) -> None:
    done = post.run("pause", key="guardian")
    assert done.returncode == 0, done.stderr
    for text in (
        f"guardian {post.devnet.address('guardian')}\n",
        "Pauses the vault for 7 days",
        "Stops: New deposit requests are refused",
        "Goes on: Requests to redeem",
        "No way back: It cannot be lifted early, and nobody can pause again before 7 days after its end.",
        "Mined: 0x",
        f"On chain now: riskPausedUntil is {post.read('riskPausedUntil')}",
    ):
        assert text in done.stdout
    assert done.stdout.index("No way back") < done.stdout.index("Mined")


@pytest.mark.parametrize("options", [(), ("--dry-run",)])
def test_without_a_key_or_told_so_it_simulates_and_sends_nothing(
    post: Post, options: tuple[str, ...]
) -> None:
    before = post.devnet.block()["hash"]
    said = post.data("pause", *options, key="guardian" if options else None)
    assert said["transaction"] is None
    assert post.devnet.block()["hash"] == before
    assert said["call"] == {
        "chain_id": post.devnet.chain_id,
        "to": post.deployment.registry,
        "value": 0,
        "data": "0x" + encode_call("pauseRisk(address)", post.deployment.vault).hex(),
    }


def test_a_key_in_a_keystore_sends_as_well_and_not_when_others_may_read_it(post: Post) -> None:
    key = Account.encrypt(HexStr(post.devnet.key("guardian")), "pass", kdf="pbkdf2", iterations=2)
    path = post.folder / "key.json"
    path.write_text(json.dumps(key))
    path.chmod(0o644)
    options = ("--keystore", "key.json", "--password-env", "HOME_OF_PASSWORD", "--data", str(post.journal))
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("HOME_OF_PASSWORD", "pass")
        assert "Key file may be read by others" in post.refused("pause", *options, code=2)
        path.chmod(0o600)
        assert post.data("pause", *options)["transaction"]["gas_used"] > 21_000
    assert post.read("riskPausedUntil") == now(post) + WEEK


def test_the_governor_has_the_same_powers(post: Post) -> None:
    assert post.data("pause", key="governor")["transaction"]
    assert post.read("riskPausedUntil") == now(post) + WEEK


@pytest.mark.parametrize(
    "command", [("pause",), ("veto", "0x" + "11" * 32), ("exit-only", AAVE)], ids=lambda each: each[0]
)
def test_another_account_is_refused(post: Post, command: tuple[str, ...]) -> None:
    said = post.refused(*command, key="user1")
    assert "This account is not the vault's guardian" in said
    assert f"saw {post.devnet.address('user1')}" in said


def test_a_paused_vault_is_not_paused_again_until_a_week_after(post: Post) -> None:
    post.data("pause", key="guardian")
    until = post.read("riskPausedUntil")
    assert "Already paused: saw until " in post.refused("pause", key="guardian")
    post.later(until - now(post))
    assert "Cannot pause again within 7 days of the last pause" in post.refused("pause", key="guardian")
    post.later(until + WEEK - now(post))
    post.data("pause", key="guardian")
    assert post.read("riskPausedUntil") == now(post) + WEEK


def test_a_terminated_vault_has_nothing_to_pause(post: Post) -> None:
    post.submit("terminate")
    post.later(TIMELOCK)
    post.accept("terminate")
    assert "The vault is terminated" in post.refused("pause", key="guardian")


# VETO


def test_a_veto_withdraws_the_change(post: Post) -> None:
    id_ = post.submit("setCap", risk_id(AAVE), 10**18)
    other = post.submit("setCap", risk_id(AAVE), 10**17)
    said = post.data("veto", "0x" + id_.hex(), key="guardian")
    assert said["transaction"]["effect"] == "nothing is queued under the id"
    assert post.read("executableAt", id_) == 0
    assert post.read("executableAt", other) > 0
    assert f"Registry.setCap(vault={post.deployment.vault}, riskId=" in said["explanation"]["does"]
    assert "is above the policy's 5,000,000,000,000" in said["explanation"]["stops"][0]


def test_a_veto_of_what_can_be_made_already_says_to_hurry(post: Post) -> None:
    id_ = post.submit("setDelay", 2 * TIMELOCK)
    assert len(post.data("veto", "0x" + id_.hex())["explanation"]["stops"]) == 1
    post.later(TIMELOCK)
    said = post.data("veto", "0x" + id_.hex())
    assert "if the governor does so first, the veto reverts" in said["explanation"]["stops"][1]


def test_nothing_is_queued_under_the_id(post: Post) -> None:
    said = post.refused("veto", "0x" + "11" * 32, key="guardian")
    assert "Nothing is queued under this id: expected no id: the queue is empty" in said
    id_ = post.submit("setDelay", 2 * TIMELOCK)
    assert f"expected 0x{id_.hex()}, saw 0x1111" in post.refused("veto", "0x" + "11" * 32, key="guardian")
    assert "Not the id of a change" in post.refused("veto", "0x1111", key="guardian", code=2)


def test_a_vetoed_change_is_not_there_to_veto_again(post: Post) -> None:
    id_ = post.submit("setDelay", 2 * TIMELOCK)
    post.data("veto", "0x" + id_.hex(), key="guardian")
    assert "Nothing is queued under this id" in post.refused("veto", "0x" + id_.hex(), key="guardian")


def test_an_expired_change_needs_no_veto(post: Post) -> None:
    id_ = post.submit("setDelay", 2 * TIMELOCK)
    post.later(TIMELOCK + 14 * DAY + 60)
    said = post.refused("veto", "0x" + id_.hex(), key="guardian")
    assert "The change has expired and cannot be made any more" in said


def test_a_guardian_cannot_veto_its_own_replacement_and_the_governor_can(post: Post) -> None:
    id_ = post.submit("setGuardian", post.devnet.address("user2"))
    said = post.refused("veto", "0x" + id_.hex(), key="guardian")
    assert "A guardian cannot veto its own replacement" in said
    post.data("veto", "0x" + id_.hex(), key="governor")
    assert post.read("executableAt", id_) == 0


@pytest.mark.parametrize("function", ["terminate", "abdicate"])
def test_what_only_lowers_risk_cannot_be_vetoed(post: Post, function: str) -> None:
    args = () if function == "terminate" else (post.registry.address, b"\x01\x02\x03\x04")
    id_ = post.submit(function, *args)
    said = post.refused("veto", "0x" + id_.hex(), key="guardian")
    assert f"What only lowers risk cannot be vetoed [0x{id_.hex()}]: saw Registry.{function}(" in said


# EXIT-ONLY


def test_exit_only_by_venue_shows_the_positions_and_the_effect(post: Post) -> None:
    connector = post.deployment.policy.position(AAVE).address
    said = post.data("exit-only", AAVE, key="guardian")
    assert post.read("isExitOnly", connector) is True
    assert said["transaction"]["effect"] == "isExitOnly is true"
    assert f"every position of {connector} may only shrink: {AAVE}." in said["explanation"]["does"]
    assert "3 days later" in said["explanation"]["until"]


def test_exit_only_by_address_in_any_spelling_is_the_same(post: Post) -> None:
    connector = post.deployment.policy.position(AAVE).address
    said = post.data("exit-only", connector.lower())
    data = encode_call("setExitOnly(address,address)", post.deployment.vault, connector)
    assert said["call"]["data"] == "0x" + data.hex()


def test_a_connector_without_a_position_and_one_that_is_exit_only_are_refused(post: Post) -> None:
    said = post.refused("exit-only", "aave:DAI", key="guardian")
    assert "The registry lists no position of this connector" in said
    assert AAVE in said
    post.data("exit-only", AAVE, key="guardian")
    assert "The connector is exit-only already" in post.refused("exit-only", AAVE, key="guardian")


# A GUARDIAN WITHOUT A KEY


def test_a_safe_as_guardian_gets_a_call_that_it_can_make(post: Post) -> None:
    safe = _safe(post)
    post.submit("setGuardian", safe)
    post.later(14 * DAY)
    post.accept("setGuardian", safe)
    done = post.run("pause")
    assert done.returncode == 0, done.stderr
    assert f"guardian {safe} (a contract)" in done.stdout
    assert "Have the guardian's contract make it" in done.stdout
    data = done.stdout.rsplit("data   ", 1)[1].strip()
    assert "not the vault's guardian" in post.refused("pause", key="guardian")
    owner = post.devnet.address("guardian")
    # The owner's own transaction is its approval: signature type 1 of the Safe.
    approval = encode(("address", "uint256"), (owner, 0)) + b"\x01"
    execute = encode_call(
        "execTransaction(address,uint256,bytes,uint8,uint256,uint256,uint256,address,address,bytes)",
        *(post.registry.address, 0, bytes.fromhex(data[2:]), 0, 0, 0, 0, "0x" + "0" * 40, "0x" + "0" * 40),
        approval,
    )
    post.devnet.send(post.devnet.key("guardian"), safe, execute)
    assert post.read("riskPausedUntil") == now(post) + WEEK


def _safe(post: Post) -> str:
    """A Safe whose one owner is the guardian's key."""
    section = post.devnet.manifest["safe"]
    nobody = "0x" + "0" * 40
    setup = encode_call(
        "setup(address[],uint256,address,bytes,address,address,uint256,address)",
        *([post.devnet.address("guardian")], 1, nobody, b"", section["fallback_handler"], nobody, 0, nobody),
    )
    signature, args = "createProxyWithNonce(address,bytes,uint256)", (section["singleton"], setup, 7)
    factory = section["proxy_factory"]
    address = post.devnet.call(factory, signature, args, "(address)")
    post.devnet.send(post.devnet.key("deployer"), factory, encode_call(signature, *args))
    return str(address)


def test_a_policy_of_no_vault_is_refused(post: Post) -> None:
    text = post.deployment.policy_toml
    stranger = text.replace(post.deployment.vault, post.devnet.address("user3"))
    (post.folder / "stranger.toml").write_text(stranger)
    said = post.refused("pause", "--policy", "stranger.toml")
    assert "The policy names an unknown vault" in said
