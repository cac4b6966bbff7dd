"""Swaps through LiFi: its API, its quotes as evidence, and what is known of its contracts."""
