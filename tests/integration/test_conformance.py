"""A stock client's questions answered exactly like plain Spark, on both engines, below the noise.

Real parts: the notebook environment's own client, the real gateway process, a real lake made by the
real ingest, and ordinary Spark over the same rows as Parquet for reference. Differences allowed:
declared keys without data (zero cells) and the rounding of float sums, which ours do not have.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cases import CASES
from tests.support.conformance import NOTEBOOK, Told, asked, difference
from tests.support.homes import small_city
from tests.support.mutants import ROOT
from tests.support.processes import free_port, stopped, wait_for_port

TABLES = ("districts", "industries", "ent_registration", "tax_summary", "annual_report")


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
