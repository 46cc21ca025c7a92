"""`lab bench`: what an answer costs in time and error, beside plain Spark on ordinary Parquet.

Both sides run the same PySpark (`notebooks/bench_worker.py`), in turns, each warmed first: the lab
through a stock client, plain Spark on two cores over the files from before ingest. A stored answer
costs no time, so each repetition asks at a slightly higher epsilon; the bench's own home has a
budget that lets it.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

import yaml

from infra import control, staging
from infra.errors import LabError
from infra.home import PROJECT, Home
from infra.staging import City

QUERIES = ("Q1", "Q2", "Q3", "Q4", "Q5", "Q6", "Q7")
ENGINES = ("spark", "duckdb")
ENTERPRISES = 500_000
"""Gives more than 10 million monthly tax rows."""
REPEATS = 5
SMALL_REPEATS = 30
USER = "analyst"
TENANT = "demo-enterprise"
BUDGET_MICRO_RHO = 10**12
"""Bench only: of a home that no user sees."""


@dataclass(frozen=True, slots=True)
class Row:
    """One measured line. Times are medians in seconds."""

    name: str
    ours: float
    reference: float
    ratio: float
    unit: str
    detail: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Bench:
    """Where and how large."""

    home: Home
    port: int
    gateway_port: int
    enterprises: int = ENTERPRISES

    @property
    def raw(self) -> Path:
        """The files from before ingest."""
        return self.home.root / "bench" / "raw"


class Worker:
    """One process that runs queries when told to."""

    def __init__(self, command: list[str | Path], settings: Mapping[str, str]) -> None:
        """Start it; it warms up with its first query."""
        basic = {n: os.environ[n] for n in ("PATH", "HOME", "JAVA_HOME", "LANG") if n in os.environ}
        self._process = subprocess.Popen(
            command,
            env={**basic, **settings, "PYTHONUTF8": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            encoding="utf-8",
        )

    def ask(self, **command: object) -> dict[str, Any]:
        """Run one command and return its result."""
        to_worker, from_worker = self._pipes()
        to_worker.write(json.dumps(command) + "\n")
        to_worker.flush()
        line = from_worker.readline()
        if not line:
            raise LabError(f"A bench worker ended at {command}; run it by hand to see why.")
        result = json.loads(line)
        return result if isinstance(result, dict) else {}

    def close(self) -> None:
        """End it."""
        self._pipes()[0].close()
        self._process.wait(60)

    def _pipes(self) -> tuple[IO[str], IO[str]]:
        if self._process.stdin is None or self._process.stdout is None:
            raise AssertionError("both pipes were asked for")
        return self._process.stdin, self._process.stdout


def run(bench: Bench, parts: tuple[str, ...], *, as_json: bool) -> int:
    """Measure the parts and print them, as a table or as JSON."""
    _prepare(bench)
    control.up(bench.home, bench.port, bench.gateway_port, foreground=False)
    rows: list[Row] = []
    try:
        with _workers(bench) as (ours, plain):
            if "queries" in parts:
                rows += _queries(ours, plain)
            if "latency" in parts:
                rows += _latency(ours, plain)
    finally:
        control.down(bench.home)
    if as_json:
        print(json.dumps([asdict(row) for row in rows], indent=1))
    else:
        _print(rows)
    return 0


def _prepare(bench: Bench) -> None:
    """Make the bench's home once; later runs find it."""
    done = bench.home.root / "bench" / "ready.json"
    wanted = json.dumps({"enterprises": bench.enterprises})
    if done.exists() and done.read_text() == wanted:
        # An empty ledger: the answers that an earlier run paid for would come back at once.
        for file in bench.home.root.glob("marketplace.db*"):
            file.unlink()
        return
    if bench.home.root.exists() and not (bench.home.root / "bench").exists():
        raise LabError(f"{bench.home.root} is not the bench's own home. Give --home DIR.")
    shutil.rmtree(bench.home.root, ignore_errors=True)
    bench.home.create()
    public, private = ("districts", "industries"), ("ent_registration", "tax_summary")
    city = City(bench.enterprises, 1, public, private, ("--faults", "0"))
    _say(f"a city of {bench.enterprises:,} enterprises in {bench.home.root}")
    staging.seed_users(bench.home)
    staging.generate(city, bench.raw)
    staging.ingest(bench.home, city, bench.raw, _say)
    _widen_budget(bench.home)
    done.write_text(wanted)


def _widen_budget(home: Home) -> None:
    policy = yaml.safe_load((PROJECT / "policies" / "budgets.yaml").read_text())
    domain = policy["domains"]["enterprise"]
    allotment = {"micro_rho": BUDGET_MICRO_RHO, "delta_1e12": domain["cap"]["delta_1e12"]}
    domain["cap"], domain["allotments"] = dict(allotment), {TENANT: allotment}
    (home.root / "budgets.yaml").write_text(yaml.safe_dump(policy))


@contextmanager
def _workers(bench: Bench) -> Iterator[tuple[Worker, Worker]]:
    script = PROJECT / "notebooks" / "bench_worker.py"
    client = PROJECT / "notebooks" / ".venv" / "bin" / "python"
    remote = {
        "SPARK_REMOTE": f"sc://localhost:{bench.gateway_port}",
        "SPARK_CONNECT_AUTHENTICATE_TOKEN": bench.home.token(USER),
    }
    ours = Worker([client, "-P", script], remote)
    plain = Worker([sys.executable, "-P", script, bench.raw], {"PYSPARK_PYTHON": sys.executable})
    try:
        yield ours, plain
    finally:
        ours.close()
        plain.close()


def _queries(ours: Worker, plain: Worker) -> Iterator[Row]:
    price = 1.0
    for name in QUERIES:
        times: dict[str, list[float]] = {engine: [] for engine in (*ENGINES, "plain")}
        errors: dict[str, float] = {}
        for repeat in range(REPEATS + 1):
            reference = plain.ask(query=name)
            results = {"plain": reference}
            for engine in ENGINES:
                price += 0.0001  # the next price is higher, or a stored answer would come back
                settings = {"lab.engine": engine, "lab.epsilon": f"{price:.4f}"}
                results[engine] = ours.ask(query=name, settings=settings)
                errors[engine] = _median_error(results[engine]["cells"], reference["cells"])
            if repeat > 0:
                for side, result in results.items():
                    times[side].append(result["seconds"])
        explained = ours.ask(query="explain", of=name)["text"]
        base = statistics.median(times["plain"])
        for engine in ENGINES:
            mine = statistics.median(times[engine])
            detail = {"engine": engine, "median_error": errors[engine], "explain": explained}
            yield Row(f"{name} {engine}", mine, base, mine / base, "s", detail)
            _say(f"{name} {engine}: {mine:.3f} s, {mine / base:.2f} of plain Spark's {base:.3f} s")


def _latency(ours: Worker, plain: Worker) -> Iterator[Row]:
    """Time a small question (one row for each enterprise, one aggregate) from call to frame."""
    plain.ask(query="Q6")
    base = statistics.median(plain.ask(query="Q6")["seconds"] for _ in range(SMALL_REPEATS))
    price = 1.5
    for engine in ENGINES:
        times = []
        for _ in range(SMALL_REPEATS):
            price += 0.0001
            settings = {"lab.engine": engine, "lab.epsilon": f"{price:.4f}"}
            times.append(ours.ask(query="Q6", settings=settings)["seconds"])
        mine = statistics.median(times)
        detail = {"engine": engine, "slowest": max(times), "time_grid": "included"}
        yield Row(f"small question {engine}", mine, base, mine / base, "s", detail)


def _median_error(cells: Mapping[str, float], exact: Mapping[str, float]) -> float:
    """Return the median over cells of |answer − exact| / |exact|; a missing answer counts as 1."""
    errors = [abs(cells.get(k, 0.0) - v) / abs(v) for k, v in exact.items() if v]
    return statistics.median(errors) if errors else 0.0


def _print(rows: list[Row]) -> None:
    print(f"{'':<24}{'ours':>9}{'plain':>9}{'ratio':>8}{'median error':>14}")
    for row in rows:
        error = row.detail.get("median_error")
        shown = f"{error:>13.2%}" if isinstance(error, float) else ""
        print(f"{row.name:<24}{row.ours:>9.3f}{row.reference:>9.3f}{row.ratio:>8.2f} {shown}")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
