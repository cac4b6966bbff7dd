"""The accounting mirror: the numbers of the vault's contracts, as pure functions of immutable values."""
