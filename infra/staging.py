"""Make a home of synthetic data ready to be asked, for the demo and the bench."""

import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from infra.errors import LabError
from infra.home import PROJECT, Home

WORKERS = 2


@dataclass(frozen=True, slots=True)
class City:
    """Which made-up city, and which of its tables."""

    enterprises: int
    seed: int
    public: tuple[str, ...]
    private: tuple[str, ...]
    options: tuple[str, ...] = ()
    """Further options of `lab data generate`."""


def seed_users(home: Home) -> None:
    """Make the demo's users, with their tokens kept readable."""
    run_module("marketplace", "seed", "--demo", "--home", str(home.root))


def generate(city: City, raw: Path) -> None:
    """Write the raw files of a city."""
    run_module(
        *("sandbox.lake.generate", "--enterprises", str(city.enterprises)),
        *("--seed", str(city.seed), "--out", str(raw)),
        *("--tables", ",".join((*city.public, *city.private)), *city.options),
    )


def ingest(home: Home, city: City, raw: Path, say: Callable[[str], None]) -> None:
    """Store all tables of a city, two at a time."""
    # A contract may take key domains from public tables, so these come first; the largest file
    # begins first, since the last to end decides.
    for tables in (city.public, city.private):
        files = sorted((raw / f"{t}.parquet" for t in tables), key=lambda f: -f.stat().st_size)
        with ThreadPoolExecutor(WORKERS) as pool:
            for line in pool.map(partial(_ingest_one, home), files):
                say(line)


def _ingest_one(home: Home, file: Path) -> str:
    began = time.monotonic()
    contract = PROJECT / "policies" / "contracts" / f"{file.stem}.yaml"
    run_module("sandbox.lake", "ingest", "--home", str(home.root), str(contract), str(file))
    return f"  {file.stem}: stored in {time.monotonic() - began:.1f} s"


def run_module(*command: str) -> None:
    """Run a module of a side as a process of its own; on failure show what it said."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise LabError(f"{' '.join(command)}\nended with {done.returncode}:\n{done.stdout[-3000:]}")
