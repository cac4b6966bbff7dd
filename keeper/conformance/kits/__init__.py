"""Kits of the connectors that ship."""
