"""Endpoints, pinned blocks and one-call reads."""
