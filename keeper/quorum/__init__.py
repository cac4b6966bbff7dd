"""k independent signers: the signed artefact, the process that recomputes before it signs, collection."""
