"""Figures of what the project costs: gas, requests and time. `make bench [ONLY=prefix]`."""
