"""Omnichain vault keeper: snapshot, book, decision, plan, approval, execution, reconciliation."""

from typing import Final

__version__: Final = "0.1.0"

ENGINE_VERSION: Final = f"omnikeeper/{__version__}"
"""Pinned in every plan: signers with another engine say "different code", not "different result"."""
