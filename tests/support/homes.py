"""Homes with a small city in their lake, made by the real generator and the real ingest."""

import subprocess
import sys
from pathlib import Path

from tests.support.mutants import ROOT


def module(*command: str) -> None:
    """Run a module of ours, showing what it said when it fails."""
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def small_city(home: Path, tables: tuple[str, ...], enterprises: int = 400) -> Path:
    """Generate a city without planted faults, ingest some of its tables; return the raw files."""
    raw = home / "raw"
    size = ("--enterprises", str(enterprises), "--seed", "11", "--faults", "0")
    module("sandbox.lake.generate", *size, "--out", str(raw))
    for table in tables:
        contract = str(ROOT / "policies" / "contracts" / f"{table}.yaml")
        file = str(raw / f"{table}.parquet")
        module("sandbox.lake", "ingest", "--home", str(home), contract, file)
    return raw
