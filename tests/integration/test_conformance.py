"""A stock client's questions answered exactly like plain Spark, on both engines, below the noise.

Real parts: the notebook environment's own client, the real gateway process, a real lake made by the
real ingest, and ordinary Spark over the same rows as Parquet for reference. Differences allowed:
declared keys without data (zero cells) and the rounding of float sums, which ours do not have.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support.cases import CASES
from tests.support.homes import small_city
from tests.support.mutants import ROOT
from tests.support.processes import free_port, stopped, wait_for_port

NOTEBOOK = ROOT / "notebooks" / ".venv" / "bin" / "python"
ASK = ROOT / "tests" / "support" / "ask_all.py"
TABLES = ("districts", "industries", "ent_registration", "tax_summary", "annual_report")
ROUNDING = 1e-9
"""Relative: what float sums of plain Spark lose on some ten thousand rows."""

Told = Mapping[str, Mapping[str, Any]]


def asked(python: Path | str, *arguments: str, env: Mapping[str, str]) -> Told:
    """Run all cases in a process of their own."""
    done = subprocess.run(
        [python, ASK, *arguments], env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return {line["case"]: line for line in lines}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a lab's home with a small city in its lake."""
    home = tmp_path_factory.mktemp("conformance")
    small_city(home, TABLES)
    return home


@pytest.fixture(scope="module")
def plain(home: Path) -> Told:
    """Return what ordinary Spark says."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("SPARK_")}
    return asked(sys.executable, "plain", str(home / "raw"), env=env)


@pytest.fixture(scope="module")
def gateway(home: Path) -> Iterator[dict[str, str]]:
    """Serve the lake without noise; return what a client needs to know."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.exact_gateway", str(home), str(port)],
        cwd=ROOT,
    )
    with stopped(process):
        wait_for_port(port, process)
        yield {
            **os.environ,
            "SPARK_REMOTE": f"sc://localhost:{port}",
            "SPARK_CONNECT_AUTHENTICATE_TOKEN": "any-token-will-do",
        }


@pytest.mark.parametrize("engine", ["duckdb", "spark"])
def test_every_case_equals_plain_spark(engine: str, plain: Told, gateway: dict[str, str]) -> None:
    began = time.monotonic()
    ours = asked(NOTEBOOK, "lab", engine, env=gateway)
    print(f"{len(ours)} cases on {engine} in {time.monotonic() - began:.0f} s")
    assert set(ours) == set(plain) == set(CASES)
    wrong = {name: why for name in CASES if (why := difference(plain[name], ours[name]))}
    assert wrong == {}


def difference(plain: Mapping[str, Any], ours: Mapping[str, Any]) -> str:
    """Return how an answer differs from the reference, or nothing."""
    for side, told in (("plain", plain), ("ours", ours)):
        if "error" in told:
            return f"{side}: {told['error']}"
    if plain["columns"] != ours["columns"] or plain["types"] != ours["types"]:
        return f"{plain['columns']} {plain['types']} became {ours['columns']} {ours['types']}"
    unmatched = list(ours["rows"])
    for row in plain["rows"]:
        match = next((o for o in unmatched if same(row, o)), None)
        if match is None:
            return f"missing {row}"
        unmatched.remove(match)
    surplus = [row for row in unmatched if not empty(row)]
    return f"surplus {surplus}" if surplus else ""


def same(a: list[Any], b: list[Any]) -> bool:
    """Whether two rows are equal up to the rounding of float sums."""
    return all(
        x == y
        or (
            isinstance(x, float)
            and isinstance(y, float)
            and abs(x - y) <= ROUNDING * max(abs(x), 1)
        )
        for x, y in zip(a, b, strict=True)
    )


def empty(row: list[Any]) -> bool:
    """Whether a row is a declared key without data: its numbers are zero or absent."""
    numbers = [v for v in row if isinstance(v, float)]
    return all(n == 0 for n in numbers)
