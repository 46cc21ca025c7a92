"""`lab bench`: what an answer costs in time and error, beside plain Spark on ordinary Parquet.

Both sides run the same PySpark (`notebooks/bench_worker.py`), in turns, each warmed first: the lab
through a stock client, plain Spark on two cores over the files from before ingest. A stored answer
costs no time, so each repetition asks at a slightly higher epsilon; the bench's own home has a
budget that lets it. Everything is measured twice: as users have it, on the grid of answer times,
and through a gateway of the bench's own that keeps no grid, to see what the privacy itself costs.
"""

import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path
from typing import IO, Any

import yaml

from infra import control, staging
from infra.errors import LabError
from infra.home import PROJECT, Home
from infra.service import answers_http2
from infra.staging import City

QUERIES = ("Q1", "Q2", "Q3", "Q4", "Q5", "Q6", "Q7")
ENGINES = ("spark", "duckdb")
ENTERPRISES = 330_000
"""Gives 10.4 million monthly tax rows."""
REPEATS = 5
SMALL_REPEATS = 30
SMALL_WARM_UP = 60
_PRICES = (1 + n / 10_000 for n in count(1))
FIRST_SECONDS = 20.0
"""Goal for the first answer after `lab up`."""
SCRIPT = PROJECT / "notebooks" / "bench_worker.py"
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
    began = time.monotonic()
    control.up(bench.home, bench.port, bench.gateway_port, foreground=False)
    rows: list[Row] = []
    try:
        with _ours(bench, bench.gateway_port) as ours, _plain(bench) as plain:
            if "latency" in parts:
                rows.append(_first_answer(ours, began))
            rows += _measured(parts, ours, plain, {"time_grid": "included"})
        # A plain Spark of its own again: both sides have then compiled as much of what they run.
        with (
            _gateway_without_grid(bench) as port,
            _ours(bench, port) as gridless,
            _plain(bench) as plain,
        ):
            rows += _measured(parts, gridless, plain, {"time_grid": "not counted"})
    finally:
        control.down(bench.home)
    if as_json:
        print(json.dumps([asdict(row) for row in rows], indent=1))
    else:
        _print(rows)
    return 0


def _measured(
    parts: tuple[str, ...], ours: Worker, plain: Worker, told: Mapping[str, str]
) -> Iterator[Row]:
    if "queries" in parts:
        yield from _queries(ours, plain, told)
    if "latency" in parts:
        yield from _latency(ours, plain, told)


def _prepare(bench: Bench) -> None:
    """Make the bench's home once; later runs find it."""
    done = bench.home.root / "bench" / "ready.json"
    wanted = json.dumps({"enterprises": bench.enterprises})
    if done.exists() and done.read_text() == wanted:
        # An empty ledger: the answers that an earlier run paid for would come back at once.
        for file in bench.home.root.glob("marketplace.db*"):
            file.unlink()
        for folder in ("log", "audit-keys"):
            # A log that knows more than its database would not start.
            shutil.rmtree(bench.home.root / folder, ignore_errors=True)
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
def _ours(bench: Bench, port: int) -> Iterator[Worker]:
    client = PROJECT / "notebooks" / ".venv" / "bin" / "python"
    remote = {
        "SPARK_REMOTE": f"sc://localhost:{port}",
        "SPARK_CONNECT_AUTHENTICATE_TOKEN": bench.home.token(USER),
    }
    with closing(Worker([client, "-P", SCRIPT], remote)) as worker:
        yield worker


@contextmanager
def _plain(bench: Bench) -> Iterator[Worker]:
    command: list[str | Path] = [sys.executable, "-P", SCRIPT, bench.raw]
    with closing(Worker(command, {"PYSPARK_PYTHON": sys.executable})) as worker:
        yield worker


@contextmanager
def _gateway_without_grid(bench: Bench) -> Iterator[int]:
    """Serve the bench's home once more, without the grid of answer times; yield the port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    process = subprocess.Popen(
        [
            *(sys.executable, "-P", "-m", "sandbox.gateway.bench", "--home", bench.home.root),
            *("--port", str(port), "--marketplace", f"http://127.0.0.1:{bench.port}"),
        ],
        stderr=subprocess.DEVNULL,
    )
    try:
        while not answers_http2(port):
            if process.poll() is not None:
                raise LabError(f"The bench's gateway ended with {process.returncode}.")
            time.sleep(0.1)
        yield port
    finally:
        process.terminate()
        process.wait(60)


def _first_answer(ours: Worker, began: float) -> Row:
    """Ask in SQL as soon as `lab up` has returned; the goal counts from its start."""
    ours.ask(query="SQL", settings={"lab.engine": "duckdb"})
    seconds = time.monotonic() - began
    detail = {"engine": "duckdb", "client": "started after lab up, included"}
    return Row("first answer (SQL)", seconds, FIRST_SECONDS, seconds / FIRST_SECONDS, "s", detail)


def _queries(ours: Worker, plain: Worker, told: Mapping[str, str]) -> Iterator[Row]:
    for name in QUERIES:
        times: dict[str, list[float]] = {engine: [] for engine in (*ENGINES, "plain")}
        errors: dict[str, float] = {}
        for repeat in range(REPEATS + 1):
            reference = plain.ask(query=name)
            results = {"plain": reference}
            for engine in ENGINES:
                results[engine] = ours.ask(query=name, settings=_new_price(engine))
                errors[engine] = _median_error(results[engine]["cells"], reference["cells"])
            if repeat > 0:
                for side, result in results.items():
                    times[side].append(result["seconds"])
        explained = ours.ask(query="explain", of=name)["text"]
        base = statistics.median(times["plain"])
        for engine in ENGINES:
            mine = statistics.median(times[engine])
            detail = {
                "engine": engine,
                "median_error": errors[engine],
                "explain": explained,
                **told,
            }
            title = f"{name} {engine}, grid {told['time_grid']}"
            yield Row(title, mine, base, mine / base, "s", detail)
            _say(f"{title}: {mine:.3f} s, {mine / base:.2f} of plain Spark's {base:.3f} s")


def _latency(ours: Worker, plain: Worker, told: Mapping[str, str]) -> Iterator[Row]:
    """Time a small question (one row for each enterprise, one aggregate) from call to frame."""
    times: dict[str, list[float]] = {engine: [] for engine in (*ENGINES, "plain")}
    for repeat in range(SMALL_WARM_UP + SMALL_REPEATS):
        seconds = {"plain": plain.ask(query="Q6")["seconds"]}
        for engine in ENGINES:
            seconds[engine] = ours.ask(query="Q6", settings=_new_price(engine))["seconds"]
        if repeat >= SMALL_WARM_UP:
            for side, took in seconds.items():
                times[side].append(took)
    base = statistics.median(times["plain"])
    for engine in ENGINES:
        mine = statistics.median(times[engine])
        over = round(1000 * (mine - base))
        detail = {"engine": engine, "slowest": max(times[engine]), "ms_over_plain": over, **told}
        name = f"small {engine}, grid {told['time_grid']}"
        yield Row(name, mine, base, mine / base, "s", detail)
        _say(f"{name}: {mine:.3f} s, plain Spark {base:.3f} s, {over:+} ms")


def _new_price(engine: str) -> dict[str, str]:
    """Force an engine at a price above all before it: a stored answer would take no time."""
    return {"lab.engine": engine, "lab.epsilon": f"{next(_PRICES):.4f}"}


def _median_error(cells: Mapping[str, float], exact: Mapping[str, float]) -> float:
    """Return the median over cells of |answer − exact| / |exact|; a missing answer counts as 1."""
    errors = [abs(cells.get(k, 0.0) - v) / abs(v) for k, v in exact.items() if v]
    return statistics.median(errors) if errors else 0.0


def _print(rows: list[Row]) -> None:
    print(f"{'':<32}{'ours':>9}{'plain':>9}{'ratio':>8}{'median error':>14}")
    for row in rows:
        error = row.detail.get("median_error")
        shown = f"{error:>13.2%}" if isinstance(error, float) else ""
        print(f"{row.name:<32}{row.ours:>9.3f}{row.reference:>9.3f}{row.ratio:>8.2f} {shown}")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
