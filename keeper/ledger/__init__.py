"""The accounting mirror: what the vault's contracts do with numbers, as immutable values and pure functions."""
