"""One unit less in the raw files leaves every other unit's stored rows, ranks and integers alone.

This is the ingest part of the neighbour test (soundness H): duplicates, bad rows, appended batches,
several tables and both file formats are in the raw files, and the unit is taken out of all of them.
"""

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox.lake.keys import KeyRing
from tests.support.lake import ARROW, DISTRICTS, PERIODS, PRIVACY, SmallLake, contract, row, uscc

KEYS = KeyRing(b"k" * 32, KeyRing.generate().identity)
UNITS = range(4)
TABLES = {
    "tax": contract(),
    "free": contract(table="free", privacy={**PRIVACY, "uniqueKeys": []}),
    "single": contract(table="single", privacy={**PRIVACY, "uniqueKeys": [["uscc"]]}),
}

rows = st.builds(
    lambda unit, spelled, **values: (unit, row(SPELLINGS[spelled](uscc(unit)), **values)),
    unit=st.sampled_from(UNITS),
    spelled=st.integers(0, 3),
    period=st.sampled_from([*PERIODS[:2], 1, None]),
    district_code=st.sampled_from([*DISTRICTS, "x"]),
    amount=st.sampled_from([0.0, 1.0, -5.0, 1e12, None, float("nan")]),
    rep_name=st.sampled_from(
        ["a", 'say "x"', 'open" quote', 'Li "Old, "Zhang', '"', "line\nfeed", "b,c", "存续"]
    ),
)
SPELLINGS = [
    lambda code: code,
    lambda code: f" {code.lower()}",
    lambda code: code.translate({i: i + 0xFEE0 for i in range(0x21, 0x7F)}),
    lambda code: code[:-1] + ("0" if code[-1] != "0" else "1"),
]
deliveries = st.lists(
    st.tuples(st.sampled_from(sorted(TABLES)), st.booleans(), st.lists(rows, max_size=14)),
    min_size=1,
    max_size=3,
)


def csv(rows: list[dict[str, Any]]) -> bytes:
    """Write rows as careless exporters do: quotes are not doubled, line feeds are not escaped."""
    lines = [ARROW.names, *([("" if v is None else str(v)) for v in r.values()] for r in rows)]
    return "".join(",".join(line) + "\n" for line in lines).encode()


def lake_of(
    folder: Path, parts: list[tuple[str, bool, list[tuple[int, dict[str, Any]]]]]
) -> SmallLake:
    lake = SmallLake.at(folder, keys=KEYS)
    for number, (table, as_csv, found) in enumerate(parts):
        batch: Any = [r for _, r in found]
        if as_csv:
            path = folder / f"batch{number}.csv"
            path.write_bytes(csv(batch))
            batch = path
        lake.deliver(batch, TABLES[table], name=f"batch{number}", append=True)
    return lake


@settings(max_examples=settings.default.max_examples // 6)
@given(parts=deliveries, gone=st.sampled_from(UNITS))
def test_a_unit_that_is_gone_changes_no_other_unit(
    parts: list[tuple[str, bool, list[tuple[int, dict[str, Any]]]]], gone: int
) -> None:
    less = [(t, c, [(u, r) for u, r in found if u != gone]) for t, c, found in parts]
    with tempfile.TemporaryDirectory() as folder:
        whole = lake_of(Path(folder) / "whole", parts)
        without = lake_of(Path(folder) / "without", less)
        for table in {table for table, _, _ in parts}:
            others = [r for r in whole.rows(table) if r["uscc"] != uscc(gone)]
            assert without.rows(table) == others
            facts = [lake.reader().table(table).facts for lake in (whole, without)]
            # The version's random part depends on nothing.
            assert replace(facts[0], version="") == replace(facts[1], version="")
