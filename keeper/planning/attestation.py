"""What someone saw when they simulated a plan: a record beside the plan, never part of it.

A plan's hash covers its body only; what a simulation shows depends on the head it ran on. The digest is that
of `keeper.chain.simulate`: status, return data and logs of the call, and the state after it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from keeper import canonical
from keeper.chain import archive
from keeper.errors import DecodeError, PlanError
from keeper.planning.fields import Fields
from keeper.planning.stamps import PinnedBlock

DOMAIN: Final = "omnikeeper/attestation"
SCHEMA: Final = 1
_NAMES: Final = ("plan_hash", "head", "time", "succeeded", "digest", "by")


@dataclass(frozen=True)
class Attestation:
    """`by` simulated the plan in the block after `head` at `time` (seconds), and this came of it."""

    plan_hash: bytes
    head: PinnedBlock
    time: int
    succeeded: bool
    digest: bytes
    by: str

    @property
    def outcome(self) -> dict[str, Any]:
        """Plain values, for the encoding and for people."""
        return {
            "plan_hash": self.plan_hash,
            "head": self.head.body(),
            "time": self.time,
            "succeeded": self.succeeded,
            "digest": self.digest,
            "by": self.by,
        }

    def to_bytes(self) -> bytes:
        return canonical.encode(self.outcome, domain=DOMAIN, version=SCHEMA)

    @classmethod
    def from_bytes(cls, data: bytes) -> Attestation:
        """Raises PlanError unless `data` is the canonical encoding of an attestation."""
        try:
            f = Fields(canonical.decode(data, domain=DOMAIN, version=SCHEMA), "attestation", _NAMES)
        except DecodeError as error:
            raise PlanError(f"Not an attestation: {error}") from error
        return cls(
            plan_hash=f.word("plan_hash"),
            head=PinnedBlock.parse(f.raw("head"), "attestation.head"),
            time=f.uint("time"),
            succeeded=f.flag("succeeded"),
            digest=f.word("digest"),
            by=f.text("by"),
        )

    def save(self, path: Path) -> bytes:
        """Writes it to a file that begins with its hash; returns the hash."""
        return archive.write(path, self.to_bytes())

    @classmethod
    def load(cls, path: Path) -> Attestation:
        """A saved one. Raises DecodeError when the file is damaged, PlanError when it holds none."""
        return cls.from_bytes(archive.read(path, "attestation"))
