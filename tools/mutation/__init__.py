"""Mutation testing of the contracts: small faults put in on purpose, which the tests must find."""
