"""A real marketplace over a temporary home, and questions to put to it."""

import hashlib
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import Engine

from marketplace import db
from marketplace.app import PolicyFile
from marketplace.budgets.replay import replay
from marketplace.releases.crash import Reached, nowhere
from marketplace.releases.model import Ask, Item, Made
from marketplace.releases.service import Releases
from privacy.dp.budget import Budget

TENANT = "demo-enterprise"
TABLES = {"tax_summary": "v1"}
POLICY = """
domains:
  enterprise:
    max_units: 1000000
    cap: {micro_rho: 100000, delta_1e12: 1000}
    allotments:
      demo-enterprise: {micro_rho: 60000, delta_1e12: 400}
      demo-bank: {micro_rho: 40000, delta_1e12: 300}
grants:
  demo-enterprise:
    - {epsilon_default: 1.0, epsilon_max: 2.0, purposes: [market-research], tables: [tax_summary]}
  demo-bank:
    - {epsilon_default: 1.0, epsilon_max: 2.0, purposes: [loans], tables: [tax_summary]}
"""


class Clock:
    """A clock that moves by a second at each look."""

    def __init__(self) -> None:
        self._now = datetime(2026, 7, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        self._now += timedelta(seconds=1)
        return self._now


def policy_file(home: Path) -> Path:
    """Write the test policy once."""
    path = home / "budgets.yaml"
    if not path.exists():
        path.write_text(POLICY, encoding="utf-8")
    return path


def open_releases(home: Path, reached: Reached = nowhere) -> tuple[Releases, Engine]:
    """Return the service over `home`; the same home again is a restart."""
    engine = db.open_database(f"sqlite:///{home / 'marketplace.db'}")
    return Releases(engine, PolicyFile(policy_file(home)), Clock(), reached), engine


def digest_of(name: str) -> str:
    """Return a digest as the gateway would send it."""
    return hashlib.sha256(name.encode()).hexdigest()


def ask(
    operation: str,
    *,
    question: str | None = None,
    micro_rho: int = 10_000,
    tenant: str = TENANT,
    cohorts: tuple[int, ...] = (2026,),
    purpose: str = "",
    epsilon: str = "1",
    version: str = "v1",
) -> Ask:
    """Return a request for one release."""
    digest = digest_of(question or operation)
    item = Item(digest, "enterprise", cohorts, Budget(micro_rho, 10))
    return Ask(
        operation, "analyst", tenant, purpose, epsilon, {"tax_summary": version}, digest, (item,)
    )


def made(
    question: str, *, micro_rho: int = 10_000, answer: bytes | None = None
) -> tuple[Made, ...]:
    """Return a computed release whose noise costs what it was charged."""
    # Δ²/(2σ²) = rho, with Δ = 1.
    scale = (1 / (2 * micro_rho / 1e6)) ** 0.5
    draw = {
        "mechanism": "discrete-gaussian/1",
        "squared_sensitivity": "1",
        "cells_per_unit": 1,
        "scale": (scale * (1 + 1e-12)).hex(),
        "micro_rho": micro_rho,
    }
    return (
        Made(digest_of(question), answer or f"answer to {question}".encode(), json.dumps([draw])),
    )


def pay(releases: Releases, operation: str, question: str | None = None) -> bytes:
    """Live a paid answer as the gateway does: reserve, record what is missing, read back."""
    question = question or operation
    held = releases.reserve(ask(operation, question=question))
    if held.items[0].release_id is None:
        releases.record(held.id, held.fencing_token, made(question), TABLES)
    committed = releases.recorded(held.id)
    return releases.answer(committed.release_ids[digest_of(question)], TENANT)


def findings(engine: Engine) -> tuple[str, ...]:
    """Return what the independent accountant objects to."""
    return replay(engine).findings
