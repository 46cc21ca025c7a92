"""The lake's command line.

    python -m sandbox.lake ingest CONTRACT FILE...    store files as a table's version
    python -m sandbox.lake tables                     list the current versions
    python -m sandbox.lake hold NAME CONTRACT FILE    check a file and keep it sealed; its report
    python -m sandbox.lake take NAME CONTRACT         make what is held the table's version
    python -m sandbox.lake drop NAME...               forget what is held
    python -m sandbox.lake held                       list what is held

The last four are how the marketplace hands over what a provider uploads: exit code 0 and one line
of JSON on the standard output, or exit code 2 and a sentence for the provider on the error output,
which names columns and never a value.
"""

import argparse
import datetime as dt
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from sandbox.lake import held
from sandbox.lake.catalogue import Lake
from sandbox.lake.contract import load_contract
from sandbox.lake.errors import LakeError
from sandbox.lake.ingest import Delivery, Place, ingest
from sandbox.lake.keys import KeyRing
from sandbox.lake.reading import Encoding
from sandbox.lake.store import Store, open_store


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 0 when it did what was asked, 2 when something has to be changed first."""
    given = _parser().parse_args(arguments)
    home = Path(given.home or os.environ.get("LAB_HOME") or ".lab").resolve()
    try:
        command: Callable[[argparse.Namespace, Path], int] = given.command
        return command(given, home)
    except LakeError as error:
        print(error, file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m sandbox.lake")
    commands = parser.add_subparsers(required=True)
    taking = commands.add_parser("ingest", help="store files under a contract")
    taking.set_defaults(command=_ingest)
    taking.add_argument("contract", type=Path, help="ODCS YAML file")
    taking.add_argument("files", type=Path, nargs="+", metavar="FILE", help=".parquet or .csv")
    taking.add_argument("--append", action="store_true", help="add to the current version")
    taking.add_argument("--batch", default="", help="name of the delivery (default: file names)")
    taking.add_argument("--encoding", type=Encoding, choices=list(Encoding), default=Encoding.UTF_8)
    taking.add_argument(
        *("--as-known",),
        type=dt.date.fromisoformat,
        metavar="DATE",
        help="day on which the rows were known (default: today)",
    )
    _add_held(commands)
    showing = commands.add_parser("tables", help="list the current versions")
    showing.set_defaults(command=_tables)
    showing.add_argument("--json", action="store_true", help="manifests, to reconcile the log with")
    for command in commands.choices.values():
        command.add_argument("--home", help="default: LAB_HOME, else .lab")
    return parser


def _add_held(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    holding = commands.add_parser("hold", help="check a file and keep it sealed")
    holding.set_defaults(command=_hold)
    holding.add_argument("name")
    holding.add_argument("contract", type=Path)
    holding.add_argument("file", type=Path, metavar="FILE", help=".parquet or .csv")
    encodings = list(Encoding)
    holding.add_argument("--encoding", type=Encoding, choices=encodings, default=Encoding.UTF_8)
    taking = commands.add_parser("take", help="make what is held the table's version")
    taking.set_defaults(command=_take)
    taking.add_argument("name")
    taking.add_argument("contract", type=Path)
    dropping = commands.add_parser("drop", help="forget what is held")
    dropping.set_defaults(command=_drop)
    dropping.add_argument("names", nargs="+", metavar="NAME")
    listing = commands.add_parser("held", help="list what is held")
    listing.set_defaults(command=_held)


def _hold(given: argparse.Namespace, home: Path) -> int:
    today = dt.datetime.now(tz=dt.UTC).date()
    contract = load_contract(given.contract)
    delivery = Delivery(contract, (given.file,), today, encoding=given.encoding)
    report = held.hold(given.name, delivery, _place(home), _progress(contract.table))
    print(json.dumps(report, ensure_ascii=False))
    return 0


def _take(given: argparse.Namespace, home: Path) -> int:
    contract = load_contract(given.contract)
    outcome = held.take(given.name, contract, _place(home), _progress(contract.table))
    print(json.dumps({"table": outcome.table, "version": outcome.version}))
    return 0


def _drop(given: argparse.Namespace, home: Path) -> int:
    for name in given.names:
        held.drop(name, _place(home))
    print(json.dumps(given.names))
    return 0


def _held(given: argparse.Namespace, home: Path) -> int:
    del given
    print(json.dumps(held.names(_place(home))))
    return 0


def _place(home: Path) -> Place:
    keys = KeyRing.open_or_create(home / "keys")
    memory = int(os.environ.get("LAB_INGEST_MEMORY_MB", "2000"))
    return Place(_store(home), keys, home / "run" / "lake", memory)


def _ingest(given: argparse.Namespace, home: Path) -> int:
    contract = load_contract(given.contract)
    place = _place(home)
    delivery = Delivery(
        contract=contract,
        files=tuple(given.files),
        as_known=given.as_known or dt.datetime.now(tz=dt.UTC).date(),
        append=given.append,
        encoding=given.encoding,
        batch=given.batch,
    )
    outcome = ingest(delivery, place, _progress(contract.table))
    state = "stored" if outcome.changed else "was stored already, nothing done"
    print(f"{outcome.table} version {outcome.version}: {state}")
    print(json.dumps(outcome.report, ensure_ascii=False))
    return 0


def _tables(given: argparse.Namespace, home: Path) -> int:
    lake = Lake(_store(home), KeyRing.open(home / "keys"), home / "run" / "lake" / "cache")
    if given.json:
        told = {
            name: {
                "version": table.facts.version,
                "batches": [asdict(b) for b in lake.manifest(name).batches],
            }
            for name, table in lake.tables().items()
        }
        print(json.dumps(told, ensure_ascii=False, indent=1))
        return 0
    for name, table in lake.tables().items():
        kind = table.facts.unit_domain or "public"
        print(f"{name:<24} version {table.facts.version:<6} {kind}")
    return 0


def _store(home: Path) -> Store:
    url = os.environ.get("LAB_LAKE_URL") or (home / "lake").as_uri()
    if (home / "keys").as_uri().startswith(url.rstrip("/") + "/"):
        raise LakeError(f"{home / 'keys'} must lie outside the lake. Change LAB_LAKE_URL.")
    return open_store(url)


def _progress(table: str) -> Callable[[str], None]:
    began = time.monotonic()

    def say(step: str) -> None:
        print(f"{table}: {time.monotonic() - began:6.1f} s  {step}", file=sys.stderr, flush=True)

    return say


if __name__ == "__main__":
    sys.exit(main())
