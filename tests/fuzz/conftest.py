"""Parsers of every stage are tried here, with the examples of each."""

import sys
from pathlib import Path

TESTS = Path(__file__).parents[1]
sys.path += [str(TESTS / each) for each in ("planning", "safe", "swap")]
