"""`keeper plan`, `explain` and `verify`: a plan as a file that anyone can check, at any age."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from staged import USDC, Staged
from typer.testing import CliRunner

from keeper import engine
from keeper.chain.rpc import Endpoint
from keeper.chain.snapshot import Snapshot
from keeper.errors import KeeperError, PlanError, RefusedError
from keeper.execution.attesting import attest
from keeper.ops.commands import explain, plan, verify
from keeper.planning import policy as policies
from keeper.planning.attestation import Attestation
from keeper.planning.evidence import Evidence, EvidenceKind
from keeper.planning.outcome import predict
from keeper.planning.plan import Kind, Plan
from keeper.units import Address
from keeper.verification import How, compared
from keeper.verification import verify as verify_plan

MONTHS = 200 * 86_400


@dataclass
class Desk:
    """A folder with a policy, an endpoints file and what the commands write."""

    folder: Path
    stage: Staged

    def path(self, name: str) -> str:
        return str(self.folder / name)

    def run(self, app: Any, *args: str) -> Any:
        return CliRunner().invoke(app, [*args, "--json"])

    def plan(self, *more: str, kind: Kind = Kind.BATCH) -> Plan:
        said = self.run(
            plan.app,
            *("--policy", self.path("policy.toml"), "--endpoints", self.path("endpoints.toml")),
            *("--out", self.path("plan"), "--snapshot", self.path("snapshot"), "--kind", kind.value, *more),
        )
        if said.exception is not None and not isinstance(said.exception, SystemExit):
            raise said.exception
        assert said.exit_code == 0, said.output
        made = Plan.from_bytes((self.folder / "plan").read_bytes())
        assert json.loads(said.stdout)["plan_hash"] == f"0x{made.plan_hash.hex()}"
        return made

    def verify(self, *more: str, by: str = "endpoints", plan: str = "plan") -> dict[str, Any]:
        """What it says; the exit code agrees with it."""
        source = {"endpoints": self.path("endpoints.toml"), "snapshot": self.path("snapshot")}[by]
        args = [self.path(plan), "--policy", self.path("policy.toml"), f"--{by}", source, *more]
        said = self.run(verify.app, *args)
        if said.exception is not None and not isinstance(said.exception, SystemExit):
            raise said.exception
        told: dict[str, Any] = json.loads(said.stdout)
        assert said.exit_code == (0 if told["ok"] else 1)
        return told


@pytest.fixture
def desk(stage: Staged, tmp_path: Path) -> Desk:
    """A vault for which a batch is due."""
    stage.request_deposit("user2", 300_000 * USDC)
    asyncio.run(stage.settle())
    stage.devnet.rpc("evm_mine")
    (tmp_path / "policy.toml").write_text(stage.deployment.policy_toml)
    (tmp_path / "endpoints.toml").write_text(
        f'clock = "chain"\n[[chains.{stage.devnet.chain_id}.endpoints]]\nurl = "{stage.devnet.url}"\n'
    )
    return Desk(tmp_path, stage)


def hows(told: dict[str, Any]) -> dict[str, str]:
    return {each["name"]: each["how"] for each in told["inputs"]}


def test_a_plan_is_identical_from_chain_and_file_months_later_too(desk: Desk) -> None:
    made = desk.plan()
    assert made.batch.calls
    reproduced = dict.fromkeys(("code", "policy", "blocks", "snapshot", "calls"), "reproduced")
    for _ in range(2):
        by_chain, by_file = desk.verify(), desk.verify(by="snapshot")
        assert by_chain["ok"]
        assert by_file["ok"]
        assert hows(by_chain) == reproduced
        # A file shows what was read, not that the chain had it.
        assert hows(by_file) == reproduced | {"blocks": "checked"}
        desk.stage.devnet.warp(MONTHS)


def test_a_settlement_is_verified_and_explained_too(desk: Desk) -> None:
    desk.stage.request_deposit("user2", 10_000 * USDC)
    desk.stage.close_epoch()
    made = desk.plan(kind=Kind.SETTLEMENT)
    assert made.kind is Kind.SETTLEMENT
    assert desk.verify()["ok"]
    assert desk.verify(by="snapshot")["ok"]
    said = desk.run(explain.app, desk.path("plan"), "--policy", desk.path("policy.toml"))
    assert f"settles epoch {made.settlement.epoch}" in said.stdout


def _terms(**changes: Any) -> Callable[[Plan], Plan]:
    return lambda made: replace(made, terms=replace(made.batch, **changes))


def _first(made: Plan, **changes: Any) -> Plan:
    first, *rest = made.batch.calls
    return replace(made, terms=replace(made.batch, calls=(replace(first, **changes), *rest)))


def _moved(made: Plan) -> Plan:
    first, *rest = made.batch.calls
    calls = (first.having(assets=first.assets - 1), *rest)
    return replace(made, terms=replace(made.batch, calls=calls))


def _block(made: Plan, **changes: Any) -> Plan:
    (block,) = made.blocks
    return replace(made, blocks=(replace(block, **changes),))


def _off(values: tuple[tuple[str, int], ...]) -> tuple[tuple[str, int], ...]:
    (name, value), *rest = values
    return ((name, value + 1), *rest)


OTHER = Address("0x" + "11" * 20)
CHANGES: dict[str, Callable[[Plan], Plan]] = {
    "policy_hash": lambda p: replace(p, policy_hash=b"\x01" * 32),
    "snapshot_hash": lambda p: replace(p, snapshot_hash=b"\x01" * 32),
    "reference_time": lambda p: replace(p, reference_time=p.reference_time + 1),
    "blocks[0].number": lambda p: _block(p, number=p.blocks[0].number + 1),
    "blocks[0].hash": lambda p: _block(p, hash=b"\x01" * 32),
    "blocks[0].timestamp": lambda p: _block(p, timestamp=p.blocks[0].timestamp - 1),
    "signer_set_version": lambda p: replace(p, signer_set_version=p.signer_set_version + 1),
    "valid_after": lambda p: replace(p, valid_after=p.valid_after - 1),
    "valid_until": lambda p: replace(p, valid_until=p.valid_until + 1),
    "vault": lambda p: replace(p, vault=OTHER),
    "terms.reason": _terms(reason="Because."),
    "terms.nonce_key": _terms(nonce_key=7),
    "terms.nonce": _terms(nonce=99),
    "terms.executor": _terms(executor=OTHER),
    "terms.predicted.": lambda p: _terms(predicted=_off(p.batch.predicted))(p),
    "terms.predicted_until.": lambda p: _terms(predicted_until=_off(p.batch.predicted_until))(p),
    "terms.min_nav_after": _terms(min_nav_after=0),
    "terms.max_loss": _terms(max_loss=10**12),
    "terms.calls[0].target": lambda p: _first(p, target=OTHER),
    "terms.calls[0].token": lambda p: _first(p, token=OTHER),
    "terms.calls[0].amount": lambda p: _first(p, amount=p.batch.calls[0].amount + 1),
    "terms.calls[0].data": _moved,
    "terms.calls[0].decoded.venue": lambda p: _first(p, venue="elsewhere"),
}


def test_every_changed_field_is_named(desk: Desk) -> None:
    made = desk.plan()
    for path, change in CHANGES.items():
        changed = Plan.from_bytes(change(made).to_bytes())
        outcome = compared(made, changed, from_chain=True)
        assert not outcome.identical, path
        # That and nothing else, but where the bytes of a call say what the rest of it repeats.
        seen = [each.path for each in outcome.differences]
        assert all(each.startswith(path) for each in seen) or path == "terms.calls[0].data", seen
        assert any(each.startswith(path) for each in seen), seen
        assert [each.how for each in outcome.inputs].count(How.DIFFERS) == 1
    (desk.folder / "plan").write_bytes(CHANGES["terms.nonce"](made).to_bytes())
    told = desk.verify(by="snapshot")
    assert [each["path"] for each in told["differences"]] == ["terms.nonce"]
    assert hows(told)["calls"] == "differs"


def test_other_code_is_refused_as_other_code(desk: Desk) -> None:
    made = desk.plan()
    changes = (
        ("engine_version", replace(made.code, engine_version="omnikeeper/0.0.1")),
        ("lens_code_hash", replace(made.code, lens_code_hash=bytes(32))),
        ("source_digest", replace(made.code, strategy=replace(made.code.strategy, source_digest=bytes(32)))),
    )
    for name, code in changes:
        (desk.folder / "plan").write_bytes(replace(made, code=code).to_bytes())
        with pytest.raises(RefusedError, match=f"Different code, not a different result: code.*{name}"):
            desk.verify(by="snapshot")


def test_a_changed_policy_is_named(desk: Desk) -> None:
    desk.plan()
    file = desk.folder / "policy.toml"
    text = file.read_text()
    assert "max_gas = " in text
    file.write_text(text.replace("max_gas = ", "max_gas = 1"))
    told = desk.verify(by="snapshot")
    assert not told["ok"]
    assert [each["path"] for each in told["differences"]] == ["policy_hash"]
    assert hows(told)["policy"] == "differs"


def test_every_flipped_bit_of_a_policy_is_refused_or_has_another_hash(desk: Desk) -> None:
    file = desk.folder / "policy.toml"
    whole, policy = file.read_bytes(), desk.stage.policy
    outcomes = set()
    for place in range(0, len(whole), 13):
        changed = bytearray(whole)
        changed[place] ^= 1 << (place % 7)
        file.write_bytes(changed)
        try:
            other = policies.load(file)
        except KeeperError:
            outcomes.add("refused")
            continue
        # A space more says the same; whatever says something else has another hash.
        assert (other.hash == policy.hash) == (other.model_dump() == policy.model_dump())
        outcomes.add("another" if other.hash != policy.hash else "the same")
    assert {"refused", "another"} <= outcomes


def test_a_block_that_the_proposer_picked_is_refused(desk: Desk) -> None:
    depth = desk.stage.policy.finality[desk.stage.devnet.chain_id]
    desk.stage.devnet.rpc("anvil_mine", hex(depth + 3))
    stage = desk.stage
    early = asyncio.run(stage.snapshot())
    desk.stage.devnet.rpc("anvil_mine", hex(depth + 3))
    late = replace(early, reference_time=stage.head.timestamp)
    chosen = engine.derive(late, stage.policy, Kind.BATCH)
    (desk.folder / "plan").write_bytes(chosen.to_bytes())
    with pytest.raises(PlanError, match="the proposer chose it"):
        desk.verify()


def test_every_flipped_bit_of_a_snapshot_is_refused_or_another_plan(desk: Desk) -> None:
    made = desk.plan()
    whole = (desk.folder / "snapshot").read_bytes()
    content = whole[32:]
    policy = policies.load(desk.folder / "policy.toml")
    outcomes = set()
    for place in range(0, len(content), max(1, len(content) // 16)):
        changed = bytearray(content)
        changed[place] ^= 1 << (place % 8)
        try:
            outcome = verify_plan(
                made, policy, Snapshot.from_bytes(bytes(changed)), from_chain=False, parent=None
            )
        except KeeperError:
            outcomes.add("refused")
            continue
        assert not outcome.identical
        assert How.DIFFERS in [each.how for each in outcome.inputs if each.name == "snapshot"]
        outcomes.add("differs")
    assert outcomes == {"refused", "differs"}
    # In the file, where its own hash guards it, none is even read.
    (desk.folder / "snapshot").write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(KeeperError, match="hash does not match"):
        desk.verify(by="snapshot")


def test_a_reference_time_too_old_or_ahead_is_refused(desk: Desk) -> None:
    now, times = desk.stage.head.timestamp, desk.stage.policy.time
    with pytest.raises(RefusedError, match="too old"):
        desk.plan("--at", str(now - times.max_reference_age - 1))
    with pytest.raises(RefusedError, match="in the future"):
        desk.plan("--at", str(now + times.max_clock_skew + 1))
    assert not (desk.folder / "plan").exists()
    assert desk.plan("--at", str(now)).reference_time == now


def test_what_is_predicted_holds_at_the_time_of_inclusion(desk: Desk) -> None:
    made = desk.plan()
    stage = desk.stage
    book = asyncio.run(stage.book(stage.head))
    assert predict(book, made.batch.calls, made.valid_after) == dict(made.batch.predicted)
    assert predict(book, made.batch.calls, made.valid_until) == dict(made.batch.predicted_until)
    stage.devnet.warp(stage.policy.time.validity // 2)
    stage.submit(made)
    after = asyncio.run(stage.book())
    assert made.valid_after < after.at < made.valid_until
    assert predict(book, made.batch.calls, after.at) == after.allocation | {"idle": after.idle}
    assert after.nav.low >= made.batch.min_nav_after


def test_a_simulation_is_attested_beside_the_plan_and_made_again(desk: Desk) -> None:
    made = desk.plan("--attestation", desk.path("attestation"))
    seen = Attestation.load(desk.folder / "attestation")
    assert seen.succeeded
    assert seen.plan_hash == made.plan_hash
    desk.stage.devnet.warp(MONTHS)
    told = desk.verify("--attestation", desk.path("attestation"))
    assert told["ok"]
    assert hows(told)["simulation"] == "reproduced"
    replace(seen, digest=bytes(32)).save(desk.folder / "attestation")
    with pytest.raises(PlanError, match="something else than the attestation says"):
        desk.verify("--attestation", desk.path("attestation"))


async def test_a_plan_older_than_its_validity_is_refused(stage: Staged, endpoint: Endpoint) -> None:
    stage.request_deposit("user2", 10_000 * USDC)
    stage.close_epoch()
    made = await stage.propose(Kind.SETTLEMENT)
    stage.devnet.warp(stage.policy.time.validity + 1)
    with pytest.raises(RefusedError, match=f"older than its validity .*expected until {made.valid_until}"):
        await attest(endpoint, made, stage.policy, stage.head, (), by="test")


def test_an_explanation_says_what_why_cost_and_risk(desk: Desk) -> None:
    made = desk.plan()
    args = [desk.path("plan"), "--policy", desk.path("policy.toml"), "--snapshot", desk.path("snapshot")]
    first, again = (desk.run(explain.app, *args) for _ in range(2))
    assert first.exit_code == 0
    assert first.stdout == again.stdout
    told = json.loads(first.stdout)
    assert len(told["moves"]) == len(made.batch.calls)
    assert told["why"][0] == made.batch.reason
    assert any("becomes" in line and "a year" in line for line in told["costs"])
    assert any(str(made.valid_until) in line for line in told["risks"])
    receipt = desk.stage.submit(made)
    used = int(receipt["gasUsed"], 16)
    assert used / 2 < explain.gas_estimate(made.batch) < used * 2, used


def test_evidence_without_a_checker_or_out_of_age_is_refused(desk: Desk) -> None:
    taken = asyncio.run(desk.stage.snapshot())
    policy, now = desk.stage.policy, taken.reference_time
    proof = Evidence(EvidenceKind.PROOF, "a desk", now, b"1 for 2")
    with pytest.raises(PlanError, match="No checker for evidence of this kind"):
        engine.derive(taken, policy, Kind.BATCH, (proof,))
    for at in (now - policy.time.max_reference_age - 1, now + policy.time.validity + 1):
        with pytest.raises(PlanError, match="out of age"):
            engine.derive(taken, policy, Kind.BATCH, (replace(proof, observed_at=at),))


def test_a_leg_names_its_parent(desk: Desk) -> None:
    parent = desk.plan()
    taken = Snapshot.load(desk.folder / "snapshot")
    leg = engine.derive(taken, desk.stage.policy, Kind.BATCH, (), parent.plan_hash)
    assert leg.plan_hash != parent.plan_hash
    (desk.folder / "leg").write_bytes(leg.to_bytes())
    with pytest.raises(PlanError, match="parent is missing"):
        desk.verify(by="snapshot", plan="leg")
    told = desk.verify("--parent", desk.path("plan"), by="snapshot", plan="leg")
    assert told["ok"]
    assert hows(told)["parent"] == "checked"
