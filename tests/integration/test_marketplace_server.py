"""The real server process: 64 clients racing for one budget, and kill -9 in the middle."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from marketplace.client import MadeItem, MarketplaceClient, MarketplaceProblem, WantedItem
from tests.support.ledger import POLICY, TABLES, TENANT, digest_of, made

CLIENTS = 64
KILLS = 10 if os.environ.get("LAB_FULL") == "1" else 2


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def served(home: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """Run `python -m marketplace` over a home until the block ends."""
    (home / "budgets.yaml").write_text(POLICY, encoding="utf-8")
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "marketplace", "--home", str(home), "--port", str(port)],
        stdout=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                if httpx.get(f"{url}/healthz", timeout=1).is_success:
                    break
            except httpx.HTTPError:
                time.sleep(0.1)
        yield process, url
    finally:
        process.kill()
        process.wait()


@contextmanager
def client(url: str, home: Path) -> Iterator[MarketplaceClient]:
    mine = MarketplaceClient(url, (home / "gateway.token").read_text().strip())
    try:
        yield mine
    finally:
        mine.close()


def want(operation: str) -> dict[str, object]:
    digest = digest_of(operation)
    return {
        "operation_id": operation,
        "user": "analyst",
        "tenant": TENANT,
        "purpose": "",
        "epsilon": "1",
        "tables": TABLES,
        "plan_digest": digest,
        "items": [WantedItem(digest, "enterprise", (2026,), 10_000, 10)],
    }


def pay(marketplace: MarketplaceClient, operation: str) -> bytes:
    held = marketplace.reserve(**want(operation))  # type: ignore[arg-type]
    if held.items[0].release_id is None:
        one = made(operation)[0]
        marketplace.record(held, [MadeItem(one.digest, one.answer, one.mechanism)], TABLES)
    committed = marketplace.recorded(held.reservation_id)
    return marketplace.answer(TENANT, committed.releases[digest_of(operation)])


def recount(home: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "marketplace", "replay", "--home", str(home)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_64_clients_at_once_never_spend_more_than_there_is(tmp_path: Path) -> None:
    paid: list[str] = []
    codes: list[str] = []
    with served(tmp_path) as (_, url):
        start = threading.Barrier(CLIENTS)

        def race(number: int) -> None:
            with client(url, tmp_path) as mine:
                start.wait()
                try:
                    pay(mine, f"op{number}")
                    paid.append(f"op{number}")
                except MarketplaceProblem as problem:
                    codes.append(problem.code)

        threads = [threading.Thread(target=race, args=(n,)) for n in range(CLIENTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        with client(url, tmp_path) as mine:
            assert mine.budget(TENANT, "enterprise").micro_rho == 0
    # The allotment of 60,000 micro-rho covers six answers of 10,000.
    assert len(paid) == 6
    assert codes == ["BUDGET_EXHAUSTED"] * (CLIENTS - 6)
    recount(tmp_path)


@pytest.mark.parametrize("round_number", range(KILLS))
def test_kill_9_in_the_middle_loses_no_charge_and_changes_no_answer(
    tmp_path: Path, round_number: int
) -> None:
    answers: dict[str, bytes] = {}
    with served(tmp_path) as (process, url), client(url, tmp_path) as mine:
        killer = threading.Timer(
            0.01 + 0.013 * round_number, process.send_signal, (signal.SIGKILL,)
        )
        killer.start()
        for number in range(6):
            try:
                answers[f"op{number}"] = pay(mine, f"op{number}")
            except MarketplaceProblem as problem:
                assert problem.code == "SERVICE_UNAVAILABLE"  # noqa: PT017
                break
        killer.join()
        process.wait()
    recount(tmp_path)
    with served(tmp_path) as (_, url), client(url, tmp_path) as mine:
        left = mine.budget(TENANT, "enterprise").micro_rho
        assert 60_000 - left >= 10_000 * len(answers)
        for operation, answer in answers.items():
            assert pay(mine, operation) == answer
        assert mine.budget(TENANT, "enterprise").micro_rho == left
    assert "0 differences" in recount(tmp_path)


def test_only_the_gateways_token_opens_the_ledger(tmp_path: Path) -> None:
    with served(tmp_path) as (_, url):
        for token in ("", "Bearer wrong-token-of-some-length", "Basic abc"):
            answer = httpx.post(
                f"{url}/api/v1/sessions",
                json={"token": "x" * 20},
                headers={"authorization": token} if token else {},
            )
            assert answer.status_code in (401, 403)
            assert json.loads(answer.content)["code"] in ("AUTHENTICATION", "FORBIDDEN")
