"""Protocol mirrors: stored state in, exact value, rate curve and state transitions out."""
