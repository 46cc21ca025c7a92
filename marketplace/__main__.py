"""`python -m marketplace`: serve (default), seed a home, load a catalogue, recount the ledger."""

import argparse
import logging
import os
import sys
from pathlib import Path

import uvicorn

from marketplace import db, process_log
from marketplace.app import LedgerBehindLogError, assemble, build, grading_policies, now
from marketplace.audit.published import LogDamagedError
from marketplace.budgets.policy import PolicyChangedError
from marketplace.budgets.replay import replay
from marketplace.catalogue.service import Catalogue
from marketplace.catalogue.synthetic import generate, load_classes
from marketplace.dialects import DatabaseRefusedError
from marketplace.identity.store import seed
from marketplace.policy.book import PolicyError
from marketplace.settings import POLICIES, Settings

KEEP_ALIVE_SECONDS = 120
"""Longer than any pause of the gateway's connection pool, so that it meets no closed connection."""


def main() -> int:
    """Run one command and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m marketplace")
    parser.add_argument(
        "command", nargs="?", choices=("serve", "seed", "catalogue", "replay"), default="serve"
    )
    parser.add_argument("--home", type=Path, default=Path(os.environ.get("LAB_HOME") or ".lab"))
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument(
        "--demo", action="store_true", help="seed: keep users' tokens in HOME/tokens"
    )
    parser.add_argument("--count", type=int, default=15_000, help="catalogue: resources")
    parser.add_argument("--seed", type=int, default=20260701, help="catalogue: of its making")
    given = parser.parse_args()
    settings = Settings.of(given.home, os.environ)
    try:
        match given.command:
            case "seed":
                return _seed(given.home, keep_tokens=given.demo)
            case "catalogue":
                return _catalogue(settings, given.count, given.seed)
            case "replay":
                return _replay(settings)
            case _:
                return _serve(settings, given.port)
    except DatabaseRefusedError as error:
        sys.stderr.write(f"marketplace: {error}\n")
        return 1


def _seed(home: Path, *, keep_tokens: bool) -> int:
    if not seed(home, keep_tokens=keep_tokens):
        _say(f"{home} has its users already; nothing was changed.")
    return 0


def _catalogue(settings: Settings, count: int, number: int) -> int:
    """Fill an empty catalogue with made-up metadata."""
    database = db.open_database(settings.database_url)
    classes = load_classes(POLICIES / "catalogue_classes.yaml")
    catalogue = Catalogue(database, grading_policies(settings), now)
    loaded = catalogue.load(generate(classes, count, number))
    database.close()
    if not loaded:
        _say(f"The catalogue of {settings.home} is not empty; nothing was changed.")
        return 1
    _say(f"{loaded} synthetic resources of {len(classes)} classes, seed {number}")
    return 0


def _replay(settings: Settings) -> int:
    found = replay(db.open_database(settings.database_url))
    _say(f"{found.entries} entries, {found.releases} releases, {len(found.findings)} differences")
    for (domain, cohort, tenant), (micro_rho, delta) in sorted(found.spent.items()):
        cap = found.caps.get((domain, cohort, tenant))
        of = f"; of {cap[0]} and {cap[1]}e-12" if cap else ""
        whose = f"{domain} {cohort} {tenant or '(all)'}"
        _say(f"  {whose}: {micro_rho} micro-rho, {delta}e-12 delta{of}")
    for (domain, cohort), holders in sorted(found.own.items()):
        _say(f"  {domain} {cohort} has a budget of its own: {holders[''][0]} micro-rho in all")
    for finding in found.findings:
        _say(f"  DIFFERENCE {finding}")
    return 1 if found.findings else 0


def _serve(settings: Settings, port: int) -> int:
    process_log.to_stderr()
    logging.getLogger("httpx").setLevel(logging.WARNING)  # a line per call to a witness
    # First start of a home: identities with random tokens, kept as hashes only.
    seed(settings.home, keep_tokens=False)
    try:
        services = assemble(settings)
    except (
        LedgerBehindLogError,
        LogDamagedError,
        PolicyChangedError,
        PolicyError,
        ValueError,
    ) as error:
        sys.stderr.write(f"marketplace: {error}\n")
        return 1
    uvicorn.run(
        build(services),
        host="127.0.0.1",
        port=port,
        log_level="warning",
        log_config=None,
        access_log=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
    )
    return 0


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


if __name__ == "__main__":
    sys.exit(main())
