"""Local chains with the real protocols: built once, cached, loaded in a moment, replayed block by block."""
