"""What every connector must do, on a local chain and in a real vault, whoever wrote it."""
