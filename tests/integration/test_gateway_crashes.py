"""A gateway killed at any point of an answer's life never gives an answer without its charge.

Real parts: marketplace and gateway processes over a real home, SIGKILL, and a stock client that
asks again when its session is gone. `LAB_FULL=1` kills ten times at each point.
"""

import hashlib
import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from marketplace import db
from marketplace.budgets.replay import replay
from marketplace.identity.store import seed
from tests.support.dying_gateway import POINTS
from tests.support.homes import small_city
from tests.support.marketplace import Running, parts, running, settings_of
from tests.support.mutants import ROOT
from tests.support.processes import free_port, stopped, wait_for_port

NOTEBOOK = ROOT / "notebooks" / ".venv" / "bin" / "python"
KILLS = 10 if os.environ.get("LAB_FULL") == "1" else 1
TABLES = ("districts", "industries", "ent_registration")
COST = 14_973
"""micro-rho of a question at the policy's default, epsilon 1."""

ASK = textwrap.dedent("""
    import json, sys
    from pyspark.sql import SparkSession

    def ask():
        spark = SparkSession.builder.getOrCreate()
        where = f"reg_capital > {sys.argv[1]}"
        frame = spark.table("ent_registration").where(where).groupBy("district_code").count()
        return frame.toPandas()

    sent = []
    for _ in range(2):
        try:
            sent.append(ask().to_json())
        except Exception as error:
            print(type(error).__name__, str(error)[:300], file=sys.stderr, flush=True)
            SparkSession.builder.getOrCreate().stop()
            print("failed", flush=True)
            sys.stdin.readline()
            sent.append(ask().to_json())
    print(json.dumps(sent), flush=True)
""")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("killed")
    small_city(home, TABLES)
    seed(home, keep_tokens=True)
    return home


@pytest.fixture(scope="module")
def market(home: Path) -> Iterator[Running]:
    with running(settings_of(home)) as server:
        yield server


def gateway(home: Path, port: int, market: Running, point: str = "") -> "subprocess.Popen[bytes]":
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "tests.support.dying_gateway"),
            *(str(home), str(port), market.url, point),
        ],
        cwd=ROOT,
        env={**os.environ, "LAB_SPARK_MASTER": "off"},
    )
    wait_for_port(port, process)
    return process


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("kill", range(KILLS))
def test_a_killed_gateway_charges_before_it_answers(
    home: Path, market: Running, point: str, kill: int
) -> None:
    port = free_port()
    question = str(int.from_bytes(hashlib.sha256(f"{point}{kill}".encode()).digest()[:2]) % 997)
    before = charged(home)
    script = home / "ask.py"
    script.write_text(ASK, encoding="utf-8")
    with stopped(gateway(home, port, market, point)) as dying:
        client = subprocess.Popen(
            [NOTEBOOK, script, question],
            env={
                **os.environ,
                "SPARK_REMOTE": f"sc://localhost:{port}",
                "SPARK_CONNECT_AUTHENTICATE_TOKEN": (home / "tokens" / "analyst")
                .read_text()
                .strip(),
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert dying.wait(60) == -9
    with stopped(gateway(home, port, market)):
        told, _ = client.communicate("\n\n", timeout=120)
    sent = json.loads(told.splitlines()[-1])
    # Asked twice and answered from one release: the second time it is stored.
    assert len(sent) == 2
    assert len(set(sent)) == 1
    with parts(settings_of(home)) as books:
        assert replay(books.database).findings == ()
    # What had been committed is not paid again; what had not, was charged when it was reserved.
    paid = charged(home) - before
    assert paid in ({COST} if point == "answer.before_send" else {COST, 2 * COST})


def charged(home: Path) -> int:
    with parts(settings_of(home)) as books, books.database.reading() as connection:
        accounts = db.accounts.c
        row = connection.execute(
            select(accounts.spent_micro_rho).where(accounts.tenant == "demo-enterprise")
        ).first()
        return 0 if row is None else int(row[0])
