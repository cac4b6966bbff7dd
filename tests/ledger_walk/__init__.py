"""Random walks of a vault beside its mirror: one step after the other, every public number compared."""
