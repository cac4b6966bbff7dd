"""Runs the benchmarks: `python bench/run.py [--only PREFIX]`."""

import sys
from importlib import import_module
from pathlib import Path

if __name__ == "__main__":
    # A script's own folder comes first on the path, and there `keeper` is a benchmark.
    sys.path[0] = str(Path(__file__).parents[1])
    raise SystemExit(import_module("bench.registry").main())
