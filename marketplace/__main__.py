"""`python -m marketplace`: serve (default), seed a home, or recount the ledger."""

import argparse
import os
import sys
from pathlib import Path

import uvicorn

from marketplace import db
from marketplace.app import build
from marketplace.budgets.replay import replay
from marketplace.identity.model import seed


def main() -> int:
    """Run one command."""
    parser = argparse.ArgumentParser(prog="python -m marketplace")
    parser.add_argument("command", nargs="?", choices=("serve", "seed", "replay"), default="serve")
    parser.add_argument("--home", type=Path, default=Path(os.environ.get("LAB_HOME", ".lab")))
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--demo", action="store_true", help="seed: keep users' tokens in HOME/tokens")
    given = parser.parse_args()
    if given.command == "seed":
        seed(given.home, keep_tokens=given.demo)
        return 0
    url = os.environ.get("LAB_DATABASE_URL") or f"sqlite:///{given.home / 'marketplace.db'}"
    if given.command == "replay":
        found = replay(db.open_database(url))
        print(f"{found.entries} entries, {found.releases} releases, {len(found.findings)} differences")
        for finding in found.findings:
            print(f"  {finding}")
        return 1 if found.findings else 0
    if not (given.home / "identity.json").exists():
        # First start of a home: identities with random tokens, kept as hashes only.
        seed(given.home, keep_tokens=False)
    app = build(given.home, url)
    uvicorn.run(app, host="127.0.0.1", port=given.port, log_level="warning", access_log=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
