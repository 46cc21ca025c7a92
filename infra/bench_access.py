"""`lab bench access`: what judging a question costs, measured where the gateway waits for it.

One marketplace process over a home of its own reserves over HTTP; the answer comes when charge,
decisions and log entry are on disk. The reference is the promise: 5 ms for the median. A denial is
measured too, since it is logged as well.
"""

import hashlib
import json
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import httpx

from infra.bench import Row
from infra.home import PROJECT

PROMISE_SECONDS = 0.005
RESERVATIONS = 500
POLICY = """
domains:
  enterprise:
    max_units: 1000000
    cap: {micro_rho: 1000000000, delta_1e12: 100}
    allotments:
      demo-enterprise: {micro_rho: 1000000000, delta_1e12: 50}
grants:
  demo-enterprise:
    - {epsilon_default: 0.5, epsilon_max: 1.0, purposes: [bench], tables: [tax_summary]}
"""
"""Bench only: of a home that no user sees."""


def run(port: int, *, as_json: bool) -> int:
    """Measure and print rows, as a table or as JSON."""
    with tempfile.TemporaryDirectory() as folder, _marketplace(Path(folder), port) as client:
        rows = [
            _measured(client, "reserve", "bench", 200),
            _measured(client, "refuse", "curiosity", 403),
        ]
    if as_json:
        print(json.dumps([asdict(row) for row in rows], indent=1))
    else:
        for row in rows:
            p95 = row.detail["p95_seconds"]
            print(f"{row.name:<10} median {row.ours * 1e3:.2f} ms  p95 {float(str(p95)) * 1e3:.2f}")
    return 0


@contextmanager
def _marketplace(home: Path, port: int) -> Iterator[httpx.Client]:
    (home / "budgets.yaml").write_text(POLICY, encoding="utf-8")
    command = [sys.executable, "-P", "-m", "marketplace", "--home", str(home), "--port", str(port)]
    process = subprocess.Popen(command, cwd=PROJECT)
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(300):
            if process.poll() is not None:
                raise RuntimeError(f"the marketplace ended with code {process.returncode}")
            try:
                httpx.get(f"{url}/healthz", timeout=1).raise_for_status()
                break
            except httpx.HTTPError:
                time.sleep(0.1)
        token = (home / "gateway.token").read_text(encoding="utf-8").strip()
        headers = {"authorization": f"Bearer {token}"}
        with httpx.Client(base_url=url, headers=headers, timeout=30) as client:
            yield client
    finally:
        process.terminate()
        process.wait(20)


def _measured(client: httpx.Client, name: str, purpose: str, status: int) -> Row:
    times = []
    for _ in range(RESERVATIONS):
        asked = body(purpose)
        begin = time.perf_counter()
        answer = client.post("/api/v1/reservations", json=asked)
        times.append(time.perf_counter() - begin)
        if answer.status_code != status:
            raise RuntimeError(f"{name}: {answer.status_code} {answer.text}")
    ours = statistics.median(times)
    p95 = sorted(times)[int(len(times) * 0.95)]
    detail = {"p95_seconds": p95, "count": len(times)}
    return Row(name, ours, PROMISE_SECONDS, ours / PROMISE_SECONDS, "s", detail)


def body(purpose: str) -> dict[str, object]:
    """Return a new reservation of the sample analyst."""
    name = secrets.token_hex(16)
    digest = hashlib.sha256(name.encode()).hexdigest()
    item = {
        "digest": digest,
        "domain": "enterprise",
        "cohorts": [2025, 2026],
        "micro_rho": 100,
        "delta_1e12": 0,
        "mechanism": "discrete-gaussian/1",
    }
    return {
        "operation_id": name,
        "user": "analyst",
        "tenant": "demo-enterprise",
        "purpose": purpose,
        "epsilon": "0.5",
        "tables": [{"name": "tax_summary", "version": "v1"}],
        "plan_digest": digest,
        "items": [item],
    }
