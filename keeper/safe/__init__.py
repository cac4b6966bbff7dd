"""A Safe in the keeper role: the same plan, as a transaction that the Safe's owners sign."""
