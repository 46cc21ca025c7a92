"""`python -m sandbox.gateway.bench`: the gateway of `lab bench`, without the grid of answer times.

It measures what the grid hides, so it serves only a home that the benchmark made for itself.
"""

import sys
from pathlib import Path

from sandbox.gateway.__main__ import main
from sandbox.gateway.operations import Grid


def is_bench_home(home: Path) -> bool:
    """Whether the benchmark made this home: no user's data is in it."""
    return (home / "bench" / "ready.json").is_file()


if __name__ == "__main__":
    sys.exit(main(grid=Grid(enabled=False), accepts=is_bench_home))
