"""`lab bench catalogue`: how long a search over 15,000 resources takes, from request to answer.

A marketplace of its own over a temporary home, asked over HTTP one question after the other: one
and two Chinese characters, initials, full pinyin, English, facets, nothing at all.
"""

import json
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from infra import staging
from infra.bench import Row
from infra.errors import LabError
from infra.home import Home
from infra.service import answers_http

RESOURCES = 15_000
TARGET_SECONDS = 0.2
ROUNDS = 10
READY_SECONDS = 60
QUESTIONS = (
    *("", "企", "税", "信", "纳税", "企业", "信息", "公积金", "企业登记信息", "崂山区2019年"),
    *("q", "s", "qy", "qydj", "nsxy", "nashui", "shehuibaoxian", "tax", "enterprise", "e"),
    *("企业 laoshan 2019", "企业纳税情况查询", "环境 信用", "register", "nothing like this"),
)
CHOICES = ("", "grade=G3", "lane=dp&theme=tax", "cycle=monthly&provider=hr-department")


def run(*, as_json: bool) -> int:
    """Measure, print, and return 0."""
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder) / "home")
        home.create()
        staging.seed_users(home)
        began = time.monotonic()
        where = ("--home", str(home.root))
        staging.run_module("marketplace", "catalogue", *where, "--count", str(RESOURCES))
        loading = time.monotonic() - began
        times = _times(home)
    times.sort()
    p95 = times[int(len(times) * 0.95)]
    detail = {
        "resources": RESOURCES,
        "searches": len(times),
        "median": statistics.median(times),
        "slowest": times[-1],
        "loading_seconds": loading,
        "database": "sqlite",
    }
    name = "catalogue search p95"
    row = Row(name, p95, TARGET_SECONDS, p95 / TARGET_SECONDS, "s", detail)
    print(json.dumps([asdict(row)], indent=1) if as_json else f"{name} {p95:.3f} s  {detail}")
    return 0


def _times(home: Home) -> list[float]:
    with marketplace(home) as port:
        token = home.token("analyst")
        _ask(port, token, "q=")  # the first one reads the listing
        return [
            _ask(port, token, f"{urllib.parse.urlencode({'q': text})}&{choice}")
            for _ in range(ROUNDS)
            for text in QUESTIONS
            for choice in CHOICES
        ]


@contextmanager
def marketplace(home: Home) -> Iterator[int]:
    """Serve a home while the block runs; yield the port."""
    port = _free_port()
    command = [sys.executable, "-P", "-m", "marketplace", "--home", str(home.root)]
    with subprocess.Popen([*command, "--port", str(port)]) as process:
        try:
            _wait(process, port)
            yield port
        finally:
            process.terminate()


def _wait(process: "subprocess.Popen[bytes]", port: int) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while not answers_http(port):
        if process.poll() is not None or time.monotonic() > deadline:
            raise LabError("The marketplace of the bench did not start; run it by hand to see why.")
        time.sleep(0.1)


def _ask(port: int, token: str, query: str) -> float:
    request = urllib.request.Request(  # our own loopback address
        f"http://127.0.0.1:{port}/api/v1/catalogue/resources?{query}",
        headers={"authorization": f"Bearer {token}"},
    )
    began = time.perf_counter()
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310  # as above
        answer.read()
    return time.perf_counter() - began


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
