"""A small private table, its contract, and a lake in a temporary folder."""

import copy
import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from stdnum.cn import uscc as stdnum_uscc

from sandbox.lake.catalogue import Lake
from sandbox.lake.contract import Contract, parse_contract
from sandbox.lake.ingest import Delivery, Outcome, Place, ingest
from sandbox.lake.keys import KeyRing
from sandbox.lake.store import LocalStore, Store

KNOWN = dt.date(2026, 7, 15)
PERIODS = [202601, 202602, 202603, 202604]
DISTRICTS = ["370202", "370203"]

_BODY_WEIGHTS = (3, 7, 9, 10, 5, 8, 4, 2)


def uscc(number: int) -> str:
    """Return a valid code of the band that no authority gives out."""
    body = f"MAYY{number:04d}"
    total = sum(w * int(c, 36) for w, c in zip(_BODY_WEIGHTS, body, strict=True))
    code = f"91370202{body}{'0123456789X0'[11 - total % 11]}"
    return code + stdnum_uscc.calc_check_digit(code)


def column(name: str, types: str, *, required: bool = False, **facts: Any) -> dict[str, Any]:
    """Return an ODCS property; facts are custom properties, with a basis where one is needed."""
    logical, physical = types.split("/")
    grade = facts.pop("grade", "G2")
    if facts and "basis" not in facts:
        facts["basis"] = "a-priori"
    return {
        "name": name,
        "logicalType": logical,
        "physicalType": physical,
        "required": required,
        "classification": grade,
        "customProperties": [{"property": k, "value": v} for k, v in facts.items()],
    }


COLUMNS = [
    column("uscc", "string/string", required=True, grade="G1"),
    column("period", "integer/int", required=True, keyDomain=PERIODS),
    column("district_code", "string/string", required=True, keyDomain=DISTRICTS),
    column("amount", "number/double", low=0, high=1000, scale=2),
    column("staff", "integer/int", low=0, high=500),
    column("overdue", "boolean/boolean"),
    column("data_date", "date/date", required=True),
    column("known_date", "date/date", required=True),
    column("rep_name", "string/string", grade="G4", disposition="drop"),
    column("rep_id", "string/string", grade="G4", disposition="tokenise"),
]

PRIVACY = {
    "visibility": "private",
    "unitDomain": "enterprise",
    "unitColumns": [{"column": "uscc", "domain": "enterprise"}],
    "uniqueKeys": [["uscc", "period"]],
    "maxRowsPerUnit": 4,
    "maxUnits": 10_000,
    "basis": {"visibility": "statute", "maxRowsPerUnit": "a-priori", "maxUnits": "published"},
}


def document(
    table: str = "tax",
    columns: Sequence[Mapping[str, Any]] = COLUMNS,
    privacy: Mapping[str, Any] = PRIVACY,
    **top: Any,
) -> dict[str, Any]:
    """Return an ODCS document; a top entry of None is left out."""
    whole = {
        "apiVersion": "v3.1.0",
        "kind": "DataContract",
        "id": "5c3a4d9e-0000-4000-8000-000000000001",
        "name": table,
        "version": "1.0.0",
        "status": "active",
        "domain": "enterprise",
        "tenant": "税务局",
        "schema": [
            {
                "name": table,
                "customProperties": [{"property": "privacy", "value": dict(privacy)}],
                "properties": [dict(c) for c in columns],
            }
        ],
    }
    return copy.deepcopy({k: v for k, v in {**whole, **top}.items() if v is not None})


def contract(**changes: Any) -> Contract:
    """Return the small table's contract, changed as `document` takes it."""
    return parse_contract(document(**changes))


def row(unit: int | str, period: int = 202601, **values: Any) -> dict[str, Any]:
    """Return a good row of a unit, except for what is given."""
    return {
        "uscc": uscc(unit) if isinstance(unit, int) else unit,
        "period": period,
        "district_code": "370202",
        "amount": 10.0,
        "staff": 3,
        "overdue": False,
        "data_date": dt.date(2026, 6, 30),
        "known_date": KNOWN,
        "rep_name": "张三",
        "rep_id": "37020219750101000X",
        **values,
    }


ARROW = pa.schema(
    [
        ("uscc", pa.string()),
        ("period", pa.int64()),
        ("district_code", pa.string()),
        ("amount", pa.float64()),
        ("staff", pa.int64()),
        ("overdue", pa.bool_()),
        ("data_date", pa.date32()),
        ("known_date", pa.date32()),
        ("rep_name", pa.string()),
        ("rep_id", pa.string()),
    ]
)


def write(path: Path, rows: Iterable[Mapping[str, Any]], schema: pa.Schema = ARROW) -> Path:
    """Write rows as a delivered Parquet file."""
    pq.write_table(pa.Table.from_pylist([dict(r) for r in rows], schema=schema), path)
    return path


@dataclass(frozen=True)
class SmallLake:
    """A lake in a folder: what ingest writes to and what a gateway reads."""

    folder: Path
    place: Place

    @classmethod
    def at(
        cls, folder: Path, store: Store | None = None, keys: KeyRing | None = None
    ) -> "SmallLake":
        folder.mkdir(exist_ok=True, parents=True)
        ring = keys or KeyRing.open_or_create(folder / "keys")
        store = store or LocalStore(folder / "lake")
        return cls(folder, Place(store, ring, folder / "work", memory_mb=500))

    def reader(self) -> Lake:
        return Lake(self.place.store, self.place.keys, self.folder / "cache")

    def deliver(
        self,
        rows: Iterable[Mapping[str, Any]] | Path,
        terms: Contract | None = None,
        name: str = "batch",
        **options: Any,
    ) -> Outcome:
        """Ingest rows, or a file, under the small contract or another."""
        path = rows if isinstance(rows, Path) else write(self.folder / f"{name}.parquet", rows)
        delivery = Delivery(
            contract=terms or contract(),
            files=(path,),
            **{"as_known": KNOWN, **options},
        )
        return ingest(delivery, self.place, lambda _: None)

    def rows(self, table: str = "tax") -> list[dict[str, Any]]:
        """Return the stored rows of the current version, in stored order."""
        files = self.reader().local_files(table)
        return [r for file in files for r in pq.read_table(file).to_pylist()]

    def rejects(self, table: str = "tax") -> list[dict[str, Any]]:
        """Return the quarantined rows of the current version."""
        lake = self.reader()
        manifest = lake.manifest(table)
        kept = pq.read_table(lake.local_file(manifest.quarantine)).to_pylist()
        lost = manifest.displaced
        return kept + (pq.read_table(lake.local_file(lost)).to_pylist() if lost else [])
