"""A real local chain per test."""

from local_nodes import anvil, chain, endpoint

__all__ = ["anvil", "chain", "endpoint"]
