"""Artifacts and typed handles: a method returns a `Call` that can be read, encoded, simulated or sent."""

from keeper.contracts.abi import Function, address, encode_call
from keeper.contracts.artifact import Artifact, artifact
from keeper.contracts.handle import Contract
from keeper.contracts.revert import Revert, decode_revert, parse_revert

__all__ = [
    "Artifact",
    "Contract",
    "Function",
    "Revert",
    "address",
    "artifact",
    "decode_revert",
    "encode_call",
    "parse_revert",
]
