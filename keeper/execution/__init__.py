"""From signatures to a mined transaction, and from there to an explanation of every wei."""
