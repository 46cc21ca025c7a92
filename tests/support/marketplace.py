"""A marketplace for tests: its parts over a temporary home, or as a real process."""

import hashlib
import json
import math
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import ClassVar

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from marketplace.access import grant_store
from marketplace.app import assemble
from marketplace.client import Held, MarketplaceClient, WantedItem
from marketplace.identity.store import seed
from marketplace.releases.crash import nowhere
from marketplace.releases.model import Ask, Item, Made
from marketplace.services import Services
from marketplace.settings import Settings
from privacy.dp.budget import Budget
from tests.support.databases import environment

TABLES = {"tax_summary": "v1"}
SEEDED = 6
"""Entries that a new home's first start makes: policies in force, budgets, contracts, grants."""
COST = 100
"""micro-rho of one release in these tests."""
ALLOTMENT = 1_000
"""What each tenant of the tests' policy may spend of a cohort."""

FIRST_START = 6
"""The same: policies, budgets, two contracts, two grants."""

POLICY = """
domains:
  enterprise:
    max_units: 1000000
    cap: {micro_rho: 2000, delta_1e12: 100}
    allotments:
      demo-enterprise: {micro_rho: 1000, delta_1e12: 50}
      demo-bank: {micro_rho: 1000, delta_1e12: 50}
grants:
  demo-enterprise:
    - {epsilon_default: 0.5, epsilon_max: 1.0, purposes: [market-research], tables: [tax_summary]}
  demo-bank:
    - {epsilon_default: 0.5, epsilon_max: 1.0, purposes: [lending], tables: [tax_summary]}
"""


class Clock:
    """A clock that moves one second at each look; over one home, it goes on at the next start."""

    latest: ClassVar[dict[Path, datetime]] = {}

    def __init__(self, home: Path | None = None) -> None:
        self._home = home
        start = datetime(2026, 11, 1, tzinfo=UTC)
        self.now = start if home is None else Clock.latest.get(home, start)

    def __call__(self) -> datetime:
        self.now += timedelta(seconds=1)
        if self._home is not None:
            Clock.latest[self._home] = max(self.now, Clock.latest.get(self._home, self.now))
        return self.now


@cache
def subjects_key() -> bytes:
    """Return one key for the homes of all tests: to make one takes longer than most tests."""
    key = rsa.generate_private_key(65537, 2048)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def make_home(path: Path, policy: str = POLICY) -> Settings:
    """Seed a home with the tests' policy and keep its tokens."""
    seed(path, keep_tokens=True)
    (path / "audit-keys").mkdir(mode=0o700, exist_ok=True)
    (path / "audit-keys" / "subjects.pem").write_bytes(subjects_key())
    (path / "budgets.yaml").write_text(policy, encoding="utf-8")
    return settings_of(path)


def settings_of(home: Path) -> Settings:
    """Return the settings of a home whose users are seeded already."""
    return Settings.of(home, environment(home))


def token(settings: Settings, user: str) -> str:
    return (settings.home / "tokens" / user).read_text().strip()


def gateway_token(settings: Settings) -> str:
    return (settings.home / "gateway.token").read_text().strip()


@contextmanager
def parts(settings: Settings, reached: Callable[[str], None] = nowhere) -> Iterator[Services]:
    """Return a marketplace's parts in this process, as after a start."""
    services = assemble(settings, reached, Clock(settings.home))
    try:
        yield services
    finally:
        services.database.close()


def revoke(services: Services, tenant: str, table: str) -> None:
    """Take an organisation's grants of a table away, below the workflow."""
    with services.database.writing() as connection:
        for held in grant_store.of_tenant(connection, tenant):
            if held.grant.table == table:
                grant_store.revoke(connection, held.grant.id, "2026-11-01T00:00:00.000+00:00")


def digest(name: object) -> str:
    return hashlib.sha256(str(name).encode()).hexdigest()


def item(name: object, cost: int = COST, cohorts: Sequence[int] = (2025, 2026)) -> Item:
    return Item(digest(name), "enterprise", tuple(cohorts), Budget(cost), "discrete-gaussian/1")


def ask(
    operation: str,
    *items: Item,
    tenant: str = "demo-enterprise",
    user: str = "",
    plan: object = "",
    tables: dict[str, str] | None = None,
    purpose: str = "",
    epsilon: str = "0.5",
) -> Ask:
    """Return a question; without items, one release named after the operation."""
    wanted = items or (item(operation),)
    return Ask(
        operation_id=operation,
        user=user or {"demo-enterprise": "analyst", "demo-bank": "bank-risk"}[tenant],
        tenant=tenant,
        purpose=purpose,
        epsilon=epsilon,
        tables=dict(tables or TABLES),
        plan_digest=digest(plan or [i.digest for i in wanted]),
        items=wanted,
    )


def reserve(
    client: MarketplaceClient, operation: str, cohorts: tuple[int, ...] = (2025, 2026)
) -> Held:
    """Reserve one release named after the operation, as the gateway does."""
    asked = ask(operation)
    return client.reserve(
        operation_id=operation,
        user=asked.user,
        tenant=asked.tenant,
        purpose=asked.purpose,
        epsilon=asked.epsilon,
        tables=asked.tables,
        plan_digest=asked.plan_digest,
        items=[WantedItem(digest(operation), "enterprise", cohorts, COST, 0)],
    )


def draws(cost: int = COST) -> str:
    """Return parameters of a draw that costs just this many micro-rho."""
    scale = math.sqrt(1 / (2 * cost / 1e6)) * (1 + 1e-12)
    return json.dumps(
        [
            {
                "mechanism": "discrete-gaussian/1",
                "squared_sensitivity": "1",
                "cells_per_unit": 1,
                "scale": scale.hex(),
                "micro_rho": cost,
            }
        ]
    )


def made(wanted: Item, data: bytes = b"answer") -> Made:
    return Made(wanted.digest, data, draws(wanted.cost.micro_rho))


@dataclass(frozen=True, slots=True)
class Running:
    """A marketplace process."""

    settings: Settings
    port: int
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def kill(self) -> None:
        """End the process as a power cut would."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(settings: Settings, program: Path | None = None) -> Iterator[Running]:
    """Start `python -m marketplace`, or a test's own program, and wait until it answers."""
    port = free_port()
    start = ["-P", "-m", "marketplace"] if program is None else [str(program)]
    command = [sys.executable, *start, "--home", str(settings.home), "--port", str(port)]
    root = Path(__file__).resolve().parents[2]
    around = {
        **os.environ,
        "PYTHONPATH": str(root),
        "LAB_DATABASE_URL": settings.database_url,
    }
    process = subprocess.Popen(command, env=around, cwd=root)
    try:
        _wait_until_ready(process, port)
        yield Running(settings, port, process)
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(10)


def _wait_until_ready(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise AssertionError(f"the marketplace ended with code {process.returncode}")
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=1) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    raise AssertionError("the marketplace did not answer within 30 s")
