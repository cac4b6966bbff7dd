"""A real vault on a local chain, and what a proposer and a relayer do with it."""

import tomllib
from dataclasses import dataclass, replace

from eth_account import Account

from keeper import engine
from keeper.chain.rpc import Endpoint
from keeper.chain.snapshot import take
from keeper.clock import Clock
from keeper.config import parse
from keeper.contracts import encode_call
from keeper.planning.plan import Kind, Plan
from keeper.planning.policy import Policy
from keeper.quorum.requests import Proposer
from keeper.quorum.typed_data import Signature, artefact
from keeper.simulation.devnet import Devnet
from keeper.simulation.proposers import PROPOSERS, proposer_key
from keeper.simulation.vault import Deployment
from keeper.units import Address

DEPOSIT = 3_000_000 * 10**6


@dataclass(frozen=True)
class ChainTime(Clock):
    """The local chain's time, asked anew each time."""

    devnet: Devnet

    async def now(self) -> int:
        return int(self.devnet.block()["timestamp"], 16)


@dataclass
class World:
    """The chain, the vault on it, and what a proposer does."""

    devnet: Devnet
    deployment: Deployment

    @property
    def policy(self) -> Policy:
        return self.deployment.policy

    def under(self, **sections: object) -> "World":
        """The same vault under a policy with these sections as well."""
        text = tomllib.loads(self.deployment.policy_toml)
        return replace(self, deployment=replace(self.deployment, policy=parse(text | sections, Policy)))

    def with_intents(self) -> "World":
        """The same vault under a policy by which people may decide."""
        text = self.deployment.policy_toml.replace("[strategy]\n", "[strategy]\nintents = true\n")
        policy = parse(tomllib.loads(text), Policy)
        return replace(self, deployment=replace(self.deployment, policy=policy, policy_toml=text))

    def now(self) -> int:
        return int(self.devnet.block()["timestamp"], 16)

    def proposer(self, role: str = PROPOSERS[0]) -> Proposer:
        """Who asks the signers."""
        return Proposer(proposer_key(role), ChainTime(self.devnet))

    def act(self, role: str, to: Address, signature: str, *args: object) -> None:
        self.devnet.send(self.devnet.key(role), to, encode_call(signature, *args))

    def sign(self, plan: Plan, *roles: str) -> list[Signature]:
        """Signatures made with the keys alone, sorted as the contract wants them."""
        return self.sign_digest(artefact(plan).digest(plan.chain_id, self.policy.vault.quorum), *roles)

    def sign_digest(self, digest: bytes, *roles: str) -> list[Signature]:
        """Signatures of a digest, sorted as the contract wants them."""
        made = []
        for role in roles:
            account = Account.from_key(self.devnet.key(role))
            made.append(
                Signature(Address(account.address), bytes(account.unsafe_sign_hash(digest).signature))
            )
        return sorted(made, key=lambda each: int(each.signer, 16))

    def submit(self, plan: Plan, signatures: list[Signature]) -> None:
        data = artefact(plan).submit_data(signatures)
        self.devnet.send(self.devnet.key("relayer"), self.policy.vault.quorum, data)

    async def propose(self, kind: Kind, reference_time: int | None = None) -> Plan:
        """What an honest proposer sends, from an endpoint of its own."""
        at = self.now() if reference_time is None else reference_time
        async with Endpoint(self.devnet.url, self.devnet.chain_id) as endpoint:
            endpoints = {self.devnet.chain_id: endpoint}
            snapshot = await take(endpoints, engine.calls(self.policy), at, self.policy.finality)
        return engine.derive(snapshot, self.policy, kind)
