"""An independent accountant: recounts every account from the log and compares it with the ledger.

It reads the entries' bytes, not the reservation tables, and recomputes each release's rho from the
noise parameters in its record: Δ²/(2σ²) for the discrete Gaussian, cells · ε²/2 with ε = 2Δ/scale
for report-noisy-max. A release that cost more than it was charged, or an account that holds less
than the log says was spent, is a finding.
"""

import json
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, select

from marketplace import db
from marketplace.audit.entry import Event
from marketplace.audit.tree import leaf_hash
from marketplace.budgets.store import COHORT

Account = tuple[str, int, str]
"""Domain, cohort, tenant (empty for the cohort's own cap)."""

SLACK = 1e-9
"""Relative rounding allowed between our own formula and the library's certified figure."""


@dataclass(frozen=True, slots=True)
class Replay:
    """What the log says, beside what the ledger says."""

    entries: int
    releases: int
    spent: dict[Account, tuple[int, int]]
    findings: tuple[str, ...]


def replay(engine: Engine) -> Replay:
    """Recount everything; an empty `findings` means that log, releases and ledger agree."""
    with db.reading(engine) as connection:
        return _replay(connection)


def _replay(connection: Connection) -> Replay:
    spent: dict[Account, list[int]] = defaultdict(lambda: [0, 0])
    reserved: dict[str, dict[str, Any]] = {}
    findings: list[str] = []
    recorded: dict[str, dict[str, Any]] = {}
    count = 0
    entry = db.entries.c
    rows = connection.execute(select(entry.index, entry.bytes, entry.leaf_hash).order_by(entry.index))
    for index, data, leaf in rows:
        if index != count or leaf_hash(bytes(data)) != bytes(leaf):
            findings.append(f"entry {index}: not at its place, or its bytes do not hash to its leaf")
        count += 1
        body = json.loads(bytes(data))
        facts = body["facts"]
        match body["event"]:
            case Event.RESERVATION_MADE:
                reserved[facts["reservation"]] = facts
                _add(spent, facts, 1)
            case Event.RESERVATION_REFUNDED:
                _add(spent, reserved[facts["reservation"]], -1)
            case Event.RELEASE_RECORDED:
                recorded[facts["release"]] = facts
                findings += _check_release(facts, reserved.get(facts["reservation"]))
            case _:
                pass
    findings += _compare_releases(connection, recorded)
    findings += _compare_accounts(connection, spent)
    totals = {k: (v[0], v[1]) for k, v in spent.items()}
    return Replay(count, len(recorded), totals, tuple(findings))


def _add(spent: dict[Account, list[int]], facts: dict[str, Any], sign: int) -> None:
    for charge in facts["charges"]:
        for cohort in charge["cohorts"]:
            for holder in (facts["tenant"], COHORT):
                account = spent[charge["domain"], cohort, holder]
                account[0] += sign * charge["micro_rho"]
                account[1] += sign * charge["delta_1e12"]


def _check_release(facts: dict[str, Any], reservation: dict[str, Any] | None) -> list[str]:
    name = facts["release"]
    if reservation is None:
        return [f"release {name}: no reservation before it"]
    charged = {c["digest"]: c for c in reservation["charges"]}.get(facts["digest"])
    if charged is None:
        return [f"release {name}: its reservation did not pay for it"]
    rho = sum(_rho(d) for d in facts["mechanism"] if "squared_sensitivity" in d)
    delta = sum(int(d.get("delta_1e12", 0)) for d in facts["mechanism"])
    found = []
    if rho * 1e6 > charged["micro_rho"] * (1 + SLACK):
        found.append(f"release {name}: its noise costs {rho * 1e6:.6f} micro-rho, charged {charged['micro_rho']}")
    if delta > charged["delta_1e12"]:
        found.append(f"release {name}: delta {delta}e-12, charged {charged['delta_1e12']}e-12")
    return found


def _rho(draw: dict[str, Any]) -> float:
    square, scale = int(draw["squared_sensitivity"]), float.fromhex(draw["scale"])
    if draw["mechanism"].startswith("discrete-gaussian/"):
        return square / (2 * scale * scale)
    if draw["mechanism"].startswith("noisy-max/"):
        # ε = 2Δ/scale, so ε²/2 = 2Δ²/scale².
        return int(draw["cells_per_unit"]) * 2 * square / (scale * scale)
    raise ValueError("a mechanism that the accountant does not know")


def _compare_releases(connection: Connection, recorded: dict[str, dict[str, Any]]) -> list[str]:
    found = []
    rows = connection.execute(select(db.releases.c.id, db.releases.c.sha256)).all()
    for row in rows:
        entry = recorded.get(row.id)
        if entry is None:
            found.append(f"release {row.id}: stored without a log entry")
        elif entry["answer_sha256"] != row.sha256:
            found.append(f"release {row.id}: its bytes are not the logged ones")
    if len(rows) != len(recorded):
        found.append(f"{len(recorded)} releases are logged, {len(rows)} are stored")
    return found


def _compare_accounts(connection: Connection, spent: dict[Account, list[int]]) -> list[str]:
    found = []
    ledger = {
        (r.domain, r.cohort, r.tenant): (r.spent_micro_rho, r.spent_delta_1e12)
        for r in connection.execute(select(db.accounts))
    }
    for account, (micro_rho, delta) in spent.items():
        held = ledger.get(account, (0, 0))
        if held != (micro_rho, delta):
            found.append(f"account {account}: the log spent {micro_rho}/{delta}, the ledger holds {held}")
    found += [f"account {a}: spent {v} without the log" for a, v in ledger.items() if a not in spent and v != (0, 0)]
    return found
