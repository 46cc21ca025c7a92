"""`python -m sandbox.lake.generate`: make a city's raw files."""

import argparse
import sys
import time
from pathlib import Path

from sandbox.lake.generate.city import LIMIT
from sandbox.lake.generate.faults import DEFAULT_RATE
from sandbox.lake.generate.loans import MISSING, RealLoansMissingError
from sandbox.lake.generate.rows import MONTHS
from sandbox.lake.generate.tables import REAL_LOANS, TABLES
from sandbox.lake.generate.write import Order, Progress, write_city

_ENTERPRISES, _SEED = 22_000, 20260701


def main(arguments: list[str] | None = None) -> int:
    """Run the command; 0 when all files are written."""
    order = _order(arguments)
    began = time.monotonic()
    try:
        counts = write_city(order, _show)
    except RealLoansMissingError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    if REAL_LOANS in order.tables and REAL_LOANS not in counts:
        sys.stderr.write(f"{MISSING}\n")
    seconds = time.monotonic() - began
    rows = sum(counts.values())
    sys.stderr.write(f"{len(counts)} tables, {rows:,} rows in {seconds:.1f} s: {order.out}\n")
    return 0


def _order(arguments: list[str] | None) -> Order:
    parser = argparse.ArgumentParser(
        prog="lab data generate",
        description="Make the raw files of a made-up city, the same for the same seed.",
    )
    add = parser.add_argument
    add("--enterprises", type=int, default=_ENTERPRISES, help=f"1 to {LIMIT:,} (%(default)s)")
    add("--seed", type=int, default=_SEED, help="(%(default)s)")
    add("--out", type=Path, required=True, help="directory of the files")
    add("--months", type=int, default=MONTHS, help="last months to make, 1 to 36 (%(default)s)")
    add("--full", action="store_true", help="all utilities and all months in every metered table")
    add(
        "--faults",
        type=float,
        default=DEFAULT_RATE,
        help="share of rows that each planned kind of quality fault hits; 0 for none (%(default)s)",
    )
    add("--open-rows", type=int, default=100_000, help="rows of market_regulation (%(default)s)")
    add("--tables", help=f"comma-separated, of: {', '.join(TABLES)}")
    given = parser.parse_args(arguments)
    tables = TABLES if given.tables is None else tuple(given.tables.split(","))
    if unknown := [table for table in tables if table not in TABLES]:
        parser.error(f"no table is called {unknown[0]}; there are: {', '.join(TABLES)}")
    for name, value, low, high in (
        ("--enterprises", given.enterprises, 1, LIMIT),
        ("--seed", given.seed, 0, 2**63 - 1),
        ("--months", given.months, 1, MONTHS),
        ("--faults", given.faults, 0, 0.03),
        ("--open-rows", given.open_rows, 0, 1_000_000_000),
    ):
        if not low <= value <= high:
            parser.error(f"{name} must be between {low:,} and {high:,}, not {value:,}")
    return Order(
        enterprises=given.enterprises,
        seed=given.seed,
        out=given.out,
        months=given.months,
        full=given.full,
        fault_rate=given.faults,
        open_rows=given.open_rows,
        tables=tables,
    )


def _show(progress: Progress) -> None:
    """Redraw one line on a terminal; in a log, say only when a table is done."""
    if progress.done < 1 and not sys.stderr.isatty():
        return
    text = f"{progress.table:<20}{progress.done:>5.0%}{progress.rows:>14,} rows"
    ending = "\n" if progress.done >= 1 else "\r"
    sys.stderr.write(f"{text}{progress.seconds:>8.1f} s{ending}")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
