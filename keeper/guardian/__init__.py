"""What a vault's guardian sees and does: queued changes, and the powers that need no quorum."""
