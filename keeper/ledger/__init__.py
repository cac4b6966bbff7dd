"""The accounting mirror: what the vault's contracts do with numbers, as pure functions of immutable values."""
