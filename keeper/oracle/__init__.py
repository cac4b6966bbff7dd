"""Prices with a range and a status, mirrored from the contracts to the wei."""
