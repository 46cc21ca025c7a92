"""A real marketplace process whose clock runs as far ahead as the file `HOME/clock-days` says."""

import argparse
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import uvicorn

from marketplace.app import assemble, build
from marketplace.settings import Settings


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    given = parser.parse_args()
    ahead = given.home / "clock-days"

    def clock() -> datetime:
        days = int(ahead.read_text()) if ahead.exists() else 0
        return datetime.now(UTC) + timedelta(days=days)

    services = assemble(Settings.of(given.home, os.environ), clock=clock)
    uvicorn.run(build(services), host="127.0.0.1", port=given.port, log_level="warning")


if __name__ == "__main__":
    main()
