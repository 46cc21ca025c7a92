"""`python -m marketplace.policy`: check a folder of policies, or replay decisions by a draft."""

import argparse
import os
import sys
from datetime import UTC, datetime
from pathlib import Path

from marketplace import db
from marketplace.audit.store import use_vault
from marketplace.audit.vault import Vault
from marketplace.dialects import DatabaseRefusedError
from marketplace.policy.book import PolicyBook, PolicyError
from marketplace.policy.replay import replay
from marketplace.settings import CEDAR, Settings

FLIPS = 3
"""Exit code of a draft that would decide something differently."""


def main() -> int:
    """Run one command and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m marketplace.policy")
    parser.add_argument("command", choices=("check", "replay"))
    parser.add_argument("--draft", type=Path, default=CEDAR, help="folder of policies")
    parser.add_argument("--since", default="1970-01-01", help="ISO 8601 date or time, UTC")
    parser.add_argument("--home", type=Path, default=Path(os.environ.get("LAB_HOME") or ".lab"))
    given = parser.parse_args()
    try:
        book = PolicyBook.load(given.draft)
        if given.command == "check":
            _say(f"{given.draft}: {len(book.rules)} policies hold against their schema")
            return 0
        return _replay(book, given.home, _time(given.since))
    except (DatabaseRefusedError, PolicyError, ValueError, OSError) as error:
        sys.stderr.write(f"policy: {error}\n")
        return 1


def _time(said: str) -> str:
    when = datetime.fromisoformat(said)
    when = when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)
    return when.isoformat(timespec="milliseconds")


def _replay(book: PolicyBook, home: Path, since: str) -> int:
    if not home.is_dir():
        raise ValueError(f"{home} is no lab's home; name one with --home")
    settings = Settings.of(home, os.environ)
    database = db.open_database(settings.database_url)
    if (settings.audit_keys / "subjects.pem").exists():  # else decided by ids and marks alone
        use_vault(database, Vault(settings.audit_keys), keep=False)
    try:
        found = replay(database, book, since)
    finally:
        database.close()
    for f in found.flips:
        what = f"{f.principal} {f.action} {f.resource}: {f.before} -> {f.after}"
        _say(f"entry {f.entry_index} {f.time} {what}")
    _say(f"{found.decisions} decisions since {since}, {len(found.flips)} would flip")
    return FLIPS if found.flips else 0


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


if __name__ == "__main__":
    sys.exit(main())
