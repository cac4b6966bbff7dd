"""What a plan says it rests on: blocks of the chains, and the code that derives from them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from keeper.planning import fields


@dataclass(frozen=True)
class PinnedBlock:
    """A block the plan rests on; `timestamp` in UNIX seconds."""

    chain_id: int
    number: int
    hash: bytes
    timestamp: int

    def body(self) -> dict[str, Any]:
        return {
            "chain_id": self.chain_id,
            "number": self.number,
            "hash": self.hash,
            "timestamp": self.timestamp,
        }

    @classmethod
    def parse(cls, value: object, where: str) -> "PinnedBlock":
        f = fields.Fields(value, where, ("chain_id", "number", "hash", "timestamp"))
        return cls(f.uint("chain_id"), f.uint("number"), f.word("hash"), f.uint("timestamp"))


@dataclass(frozen=True)
class StrategyStamp:
    """Which strategy decided: entry point name, version, parameters, and the digest of its source."""

    name: str
    version: str
    params: Mapping[str, Any] = field(hash=False)
    source_digest: bytes

    def body(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "version": self.version,
            "params": dict(self.params),
            "source_digest": self.source_digest,
        }

    @classmethod
    def parse(cls, value: object, where: str) -> "StrategyStamp":
        f = fields.Fields(value, where, ("name", "version", "params", "source_digest"))
        return cls(f.text("name"), f.text("version"), f.mapping("params"), f.word("source_digest"))


@dataclass(frozen=True)
class CodeStamp:
    """Which code derives the plan. Where two of these differ the machines run different code, and comparing
    their results says nothing."""

    engine_version: str
    lens_code_hash: bytes
    strategy: StrategyStamp

    def body(self) -> dict[str, Any]:
        return {
            "engine_version": self.engine_version,
            "lens_code_hash": self.lens_code_hash,
            "strategy": self.strategy.body(),
        }

    @classmethod
    def parse(cls, value: object, where: str) -> "CodeStamp":
        f = fields.Fields(value, where, ("engine_version", "lens_code_hash", "strategy"))
        strategy = StrategyStamp.parse(f.raw("strategy"), f"{where}.strategy")
        return cls(f.text("engine_version"), f.word("lens_code_hash"), strategy)
