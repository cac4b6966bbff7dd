"""From a decision to a plan: what is wanted, what is allowed, and the exact calls."""
