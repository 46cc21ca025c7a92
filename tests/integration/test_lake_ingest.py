"""Ingest: what is stored, what is quarantined, in which order, and what stays as it was."""

import datetime as dt
import json
import math
import random
from collections import defaultdict
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sandbox.lake.contract import Contract
from sandbox.lake.errors import LakeError
from sandbox.lake.keyed import KeyedHash
from sandbox.lake.manifest import number_of
from sandbox.lake.reading import Encoding
from sandbox.lake.rows import content_of
from tests.support.lake import (
    ARROW,
    COLUMNS,
    KNOWN,
    PERIODS,
    PRIVACY,
    SmallLake,
    column,
    contract,
    row,
    uscc,
    write,
)


@pytest.fixture
def lake(tmp_path: Path) -> SmallLake:
    return SmallLake.at(tmp_path)


def reasons(lake: SmallLake) -> list[str]:
    return sorted(r.get("reason") or "displaced" for r in lake.rejects())


def loose(**changes: Any) -> Contract:
    """Return the small contract without unique keys."""
    return contract(privacy={**PRIVACY, "uniqueKeys": [], **changes})


def test_a_row_is_stored_in_the_lakes_layout(lake: SmallLake) -> None:
    lake.deliver([row(1, amount=12.345, staff=7)])
    table = pq.read_table(lake.reader().local_files("tax")[0])
    assert table.schema.names == [
        *("__unit", "__rank", "__cohort", "uscc", "period", "district_code", "amount", "staff"),
        *("overdue", "data_date", "known_date", "rep_id"),
    ]
    assert [str(t) for t in table.schema.types[:3]] == ["int64", "int32", "int32"]
    stored = table.to_pylist()[0]
    assert stored["__rank"] == 1
    assert stored["__cohort"] == 2026
    assert (stored["uscc"], stored["amount"], stored["staff"]) == (uscc(1), 1235, 7)


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        (0.005, 1),  # floor(x * 100 + 0.5)
        (0.004, 0),
        (-0.005, 0),  # below the bound: clamped
        (1000.0, 100_000),
        (1e300, 100_000),
        (float("inf"), 100_000),
        (float("-inf"), 0),
        (float("nan"), None),
        (None, None),
    ],
)
def test_a_double_becomes_a_bounded_integer(
    lake: SmallLake, value: float | None, stored: int | None
) -> None:
    lake.deliver([row(1, amount=value)])
    assert [r["amount"] for r in lake.rows()] == [stored]


def test_a_value_outside_its_bounds_is_clamped_and_told_to_the_provider(lake: SmallLake) -> None:
    outcome = lake.deliver([row(1, staff=501), row(2, staff=-1), row(3)])
    assert sorted(r["staff"] for r in lake.rows()) == [0, 3, 500]
    assert outcome.report["clamped_rows"] == 2


FAULTS: list[tuple[str, dict[str, Any]]] = [
    ("unit id missing", {"uscc": None}),
    ("unit id missing", {"uscc": " "}),
    ("unit id invalid", {"uscc": uscc(1)[:-1] + "I"}),
    ("missing: period", {"period": None}),
    ("not in domain: period", {"period": 202605}),
    ("no int: period", {"period": 2**40}),
    ("missing: district_code", {"district_code": None}),
    ("missing: district_code", {"district_code": "  "}),
    ("not in domain: district_code", {"district_code": "370299"}),
    ("missing: data_date", {"data_date": None}),
]


@pytest.mark.parametrize(
    ("reason", "fault"), FAULTS, ids=[f"{r}-{i}" for i, (r, _) in enumerate(FAULTS)]
)
def test_a_bad_row_is_quarantined_with_its_reason(
    lake: SmallLake, reason: str, fault: dict[str, Any]
) -> None:
    outcome = lake.deliver([row(1), {**row(1, 202602), **fault}])
    assert len(lake.rows()) == 1
    assert [(r["file"], r["row"], r["reason"]) for r in lake.rejects()] == [
        ("batch.parquet", 2, reason)
    ]
    assert outcome.report["quarantined"] == {reason: 1}


def test_a_row_with_many_faults_has_one_reason(lake: SmallLake) -> None:
    lake.deliver([row(1, uscc=None, period=None, district_code="x")])
    assert reasons(lake) == ["unit id missing"]


def test_one_units_ways_to_write_its_id_are_one_unit(lake: SmallLake) -> None:
    wide = uscc(1).translate({i: i + 0xFEE0 for i in range(0x21, 0x7F)})
    lake.deliver([row(1), row(f" {uscc(1).lower()}", 202602), row(wide, 202603), row(2)])
    stored = [r for r in lake.rows() if r["uscc"] == uscc(1)]
    assert [r["__rank"] for r in stored] == [1, 2, 3]
    assert len({r["__unit"] for r in stored}) == 1


def test_ranks_follow_the_keyed_hash_of_the_rows_content(lake: SmallLake) -> None:
    lake.deliver([row(u, p, amount=float(u)) for u in range(20) for p in PERIODS])
    terms = contract()
    connection = duckdb.connect()
    ring = lake.place.keys
    tag = KeyedHash(connection, "rank", ring.subkey("rank/tax")).hex(content_of(terms))
    tagged = lake.reader().local_files("tax")[0]
    found = connection.read_parquet(str(tagged)).select("__unit", "__rank")
    assert found.fetchall() == sorted(found.fetchall())
    query = f"SELECT __unit, __rank, {tag} FROM '{tagged}' ORDER BY __unit, 3"
    ranks = defaultdict(list)
    for unit, rank, _ in connection.execute(query).fetchall():
        ranks[unit].append(rank)
    assert all(r == [1, 2, 3, 4] for r in ranks.values())
    orders = {tuple(r["period"] for r in lake.rows() if r["__unit"] == unit) for unit in ranks}
    assert len(orders) > 5  # no order of the file, and not one order for all


def test_the_order_of_rows_and_files_decides_nothing(tmp_path: Path) -> None:
    rows = [row(u, p, amount=a) for u in range(9) for p in PERIODS for a in (1.0, 2.0)]
    one = SmallLake.at(tmp_path / "one")
    two = SmallLake.at(tmp_path / "two", keys=one.place.keys)
    one.deliver(rows)
    two.deliver(random.Random(1).sample(rows, len(rows)))
    assert one.rows() == two.rows()
    assert sorted(map(str, one.rejects())) == sorted(map(str, two.rejects()))


def test_rows_over_the_cap_stay_and_are_told_to_the_provider(lake: SmallLake) -> None:
    rows = [row(1, p, amount=a) for p in PERIODS for a in (1.0, 2.0)]
    outcome = lake.deliver(rows, loose())
    assert [r["__rank"] for r in lake.rows()] == list(range(1, 9))
    assert outcome.report["rows_over_cap"] == 4


def test_equal_rows_are_all_kept_where_no_key_forbids_it(lake: SmallLake) -> None:
    lake.deliver([row(1)] * 3, loose())
    assert [r["__rank"] for r in lake.rows()] == [1, 2, 3]


def test_of_rows_with_one_key_the_one_with_the_lowest_tag_stays(lake: SmallLake) -> None:
    rows = [row(1, amount=float(a)) for a in range(10)]
    outcome = lake.deliver([*rows, row(2)])
    winner = [r["amount"] for r in lake.rows() if r["uscc"] == uscc(1)]
    assert len(winner) == 1
    assert outcome.report["quarantined"] == {"duplicate key": 9}
    # Without the winner another stays; without a loser the winner stays.
    fewer = [r for r in rows if r["amount"] * 100 != winner[0]]
    lake.deliver([*fewer, row(2)])
    assert [r["amount"] for r in lake.rows() if r["uscc"] == uscc(1)] != winner
    lake.deliver([r for r in rows if r["amount"] * 100 == winner[0] or r["amount"] > 5])
    assert [r["amount"] for r in lake.rows()] == winner


def test_two_units_with_one_number_are_both_stored_and_reported(lake: SmallLake) -> None:
    numbered = column("staff", "integer/int", low=0, high=500)
    terms = contract(
        columns=[{**numbered, "unique": True} if c["name"] == "staff" else c for c in COLUMNS]
    )
    outcome = lake.deliver([row(1, staff=7), row(2, staff=7), row(3, staff=8)], terms)
    assert len(lake.rows()) == 3
    assert outcome.report["shared_between_units"] == {"staff": 1}


def test_fields_of_grade_g4_are_dropped_or_tokens_and_nowhere_in_the_clear(lake: SmallLake) -> None:
    bad = row(3, period=1, rep_name="李四")
    lake.deliver([row(1), row(2, rep_id=" 37020219750101000x "), row(4, rep_id=None), bad])
    stored = {r["uscc"]: r for r in lake.rows()}
    assert "rep_name" not in stored[uscc(1)]
    assert stored[uscc(1)]["rep_id"] == stored[uscc(2)]["rep_id"]
    assert len(stored[uscc(1)]["rep_id"]) == 64
    assert stored[uscc(4)]["rep_id"] is None
    assert "rep_id" not in {c.name for c in lake.reader().table("tax").facts.columns}
    assert not {"rep_id", "rep_name"} & set(lake.rejects()[0])


def test_no_byte_of_a_row_lies_in_the_lake_unsealed(lake: SmallLake) -> None:
    lake.deliver([row(1), row(2, period=1)])
    files = [p for p in (lake.folder / "lake").rglob("*") if p.is_file()]
    assert len(files) >= 6
    for path in files:
        data = path.read_bytes()
        sealed = data.startswith(b"age-encryption.org/v1")
        assert sealed or json.loads(data), path
        assert b"MAYY" not in data
        assert sealed or path.name == "current" or path.parent.name == "current"


def test_a_delivery_leaves_nothing_in_the_clear_but_the_cache(lake: SmallLake) -> None:
    lake.deliver([row(1)])
    work = lake.folder / "work"
    left = {p.relative_to(work).parts[0] for p in work.rglob("*") if p.is_file()}
    assert left == {"locks", "cache"}
    assert work.stat().st_mode & 0o777 == 0o700


def test_a_csv_is_stored_as_the_same_parquet_is(tmp_path: Path) -> None:
    rows = [row(u, p, amount=1.5 * u) for u in range(5) for p in PERIODS]
    one = SmallLake.at(tmp_path / "one")
    two = SmallLake.at(tmp_path / "two", keys=one.place.keys)
    one.deliver(rows)
    lines = [",".join(ARROW.names), *(",".join(str(v) for v in r.values()) for r in rows)]
    (tmp_path / "rows.csv").write_bytes("\n".join(lines).encode("gb18030"))
    two.deliver(tmp_path / "rows.csv", encoding=Encoding.GB18030)
    assert one.rows() == two.rows()


def test_a_bad_csv_is_accounted_line_by_line(lake: SmallLake) -> None:
    texts = ["uscc,period,district_code,amount,staff,overdue,data_date,rep_name,rep_id"]
    good = f"{uscc(1)},202601,370202,1.5,3,false,2026-06-30,a,b"
    texts += [good, good.replace("1.5", "1.5.0"), good.replace("2026-06-30", "2026-02-30")]
    texts += [good.replace("false", "maybe"), good.replace(",3,", ",3.5,"), '"', good + ",x"]
    path = lake.folder / "rows.csv"
    path.write_text("\n".join(texts))
    outcome = lake.deliver(path)
    assert outcome.report["rows_in"] == 7
    assert [(r["known_date"], r["overdue"]) for r in lake.rows()] == [(KNOWN, False)]
    assert outcome.report["quarantined"] == {
        "no boolean: overdue": 1,
        "no date: data_date": 1,
        "no double: amount": 1,
        "no int: staff": 1,
        "no readable record": 2,
    }


def test_a_text_longer_than_its_column_is_quarantined(lake: SmallLake) -> None:
    note = column("note", "string/string") | {"logicalTypeOptions": {"maxLength": 3}}
    path = lake.folder / "notes.parquet"
    table = pa.Table.from_pylist([row(n) for n in range(3)], schema=ARROW)
    pq.write_table(table.append_column("note", pa.array(["龘𠮷x", "龘𠮷xy", None])), path)
    lake.deliver(path, contract(columns=[*COLUMNS, note]))
    assert {r["note"] for r in lake.rows()} == {"龘𠮷x", None}
    assert [(r["row"], r["reason"]) for r in lake.rejects()] == [(2, "text too long: note")]


def test_a_column_of_nested_values_is_refused_by_name(lake: SmallLake) -> None:
    path = lake.folder / "nested.parquet"
    table = pa.Table.from_pylist([row(1)], schema=ARROW)
    at = ARROW.get_field_index("amount")
    pq.write_table(table.set_column(at, "amount", pa.array([[1.0]])), path)
    with pytest.raises(LakeError, match=r"no single values in amount \(DOUBLE\[\]\)"):
        lake.deliver(path)


def test_a_file_without_a_column_is_refused_and_nothing_changes(lake: SmallLake) -> None:
    lake.deliver([row(1)])
    path = lake.folder / "less.parquet"
    pq.write_table(pa.table({"uscc": [uscc(2)], "period": [202601]}), path)
    with pytest.raises(LakeError, match=r"less\.parquet lacks the columns district_code"):
        lake.deliver(path)
    assert number_of(lake.reader().table("tax").facts.version) == 1


def test_a_new_delivery_is_a_new_version_and_the_same_one_is_not(lake: SmallLake) -> None:
    assert number_of(lake.deliver([row(1)]).version) == 1
    again = lake.deliver([row(1)])
    assert (number_of(again.version), again.changed) == (1, False)
    assert number_of(lake.deliver([row(2)]).version) == 2
    assert [r["uscc"] for r in lake.rows()] == [uscc(2)]


def test_the_version_before_is_kept_for_its_readers_and_older_ones_go(lake: SmallLake) -> None:
    reader = lake.reader()
    versions = []
    for number in range(1, 5):
        versions.append(lake.deliver([row(number)]).version)
        reader.local_files("tax")
    for place in ("lake/tables/tax", "cache"):
        files = (lake.folder / place).rglob("*.*")
        kept = {f.parent.name.rpartition(".")[2][:6] for f in files if f.is_file()}
        assert kept == {"000003", "000004"}
    assert reader.local_files("tax", versions[2]) != reader.local_files("tax")


def test_a_changed_contract_makes_a_new_version_of_the_same_file(lake: SmallLake) -> None:
    lake.deliver([row(1)])
    outcome = lake.deliver([row(1)], contract(version="1.1.0"))
    assert (number_of(outcome.version), outcome.changed) == (2, True)


@pytest.mark.parametrize(
    "keys", [[["uscc", "period"]], [], [["uscc", "period"], ["uscc", "staff"]]]
)
def test_adding_gives_what_delivering_all_at_once_gives(
    tmp_path: Path, keys: list[list[str]]
) -> None:
    staff = column("staff", "integer/int", required=True, low=0, high=500)
    columns = [staff if c["name"] == "staff" else c for c in COLUMNS]
    terms = contract(columns=columns, privacy={**PRIVACY, "uniqueKeys": keys})
    rng = random.Random(3)
    batches = [
        [
            row(rng.randrange(12), rng.choice([*PERIODS, 1]), staff=rng.randrange(4))
            for _ in range(40)
        ]
        for _ in range(3)
    ]
    one = SmallLake.at(tmp_path / "one")
    two = SmallLake.at(tmp_path / "two", keys=one.place.keys)
    at_once = one.deliver([r for batch in batches for r in batch], terms)
    for number, batch in enumerate(batches):
        added = two.deliver(batch, terms, name=f"batch{number}", append=True)
    assert one.rows() == two.rows()
    assert at_once.report == added.report
    assert added.report["quarantined"]["not in domain: period"] > 0
    assert (added.report["quarantined"].get("duplicate key", 0) > 0) == bool(keys)


def test_a_delivery_is_added_once(lake: SmallLake) -> None:
    lake.deliver([row(1)], append=True)
    lake.deliver([row(2)], name="second", append=True)
    again = lake.deliver([row(2)], name="second", append=True)
    assert (number_of(again.version), again.changed, len(lake.rows())) == (2, False, 2)


def test_other_contents_under_a_known_name_need_a_name_of_their_own(lake: SmallLake) -> None:
    lake.deliver([row(1)])
    with pytest.raises(LakeError, match="--batch"):
        lake.deliver([row(2)], append=True)
    assert number_of(lake.deliver([row(2)], append=True, batch="july").version) == 2


def test_rows_are_not_added_under_another_contract(lake: SmallLake) -> None:
    lake.deliver([row(1)])
    with pytest.raises(LakeError, match="contract"):
        lake.deliver([row(2)], contract(version="2.0.0"), append=True, batch="july")


def test_a_unit_keeps_its_integer_and_cohort_in_all_tables_and_years(lake: SmallLake) -> None:
    lake.deliver([row(1), row(2)], as_known=dt.date(2025, 3, 1))
    other = contract(table="customs")
    lake.deliver([row(2), row(3)], other, as_known=dt.date(2026, 3, 1))
    first = {r["uscc"]: (r["__unit"], r["__cohort"]) for r in lake.rows()}
    second = {r["uscc"]: (r["__unit"], r["__cohort"]) for r in lake.rows("customs")}
    assert first[uscc(2)] == second[uscc(2)]
    assert [second[uscc(n)][1] for n in (2, 3)] == [2025, 2026]
    assert lake.reader().table("customs").facts.cohorts == (2025, 2026)
    # Gone from all tables, a unit is still known: it comes back as the one it was.
    lake.deliver([row(3)], name="later", as_known=dt.date(2027, 3, 1))
    lake.deliver([row(1)], name="again", as_known=dt.date(2028, 3, 1))
    assert {r["uscc"]: (r["__unit"], r["__cohort"]) for r in lake.rows()} == {
        uscc(1): first[uscc(1)]
    }


def test_more_units_than_attested_are_refused(lake: SmallLake) -> None:
    terms = contract(privacy={**PRIVACY, "maxUnits": 2})
    lake.deliver([row(1), row(2)], terms)
    with pytest.raises(LakeError, match="more than the 2 units"):
        lake.deliver([row(2), row(3)], terms)


def test_a_public_table_keeps_its_columns_alone(lake: SmallLake) -> None:
    terms = contract(
        table="districts",
        columns=[
            column("code", "string/string", required=True),
            column("area", "number/double", low=0, high=100),
        ],
        privacy={
            "visibility": "public",
            "uniqueKeys": [["code"]],
            "basis": {"visibility": "published"},
        },
    )
    schema = pa.schema([("code", pa.string()), ("area", pa.float64())])
    path = write(
        lake.folder / "districts.parquet",
        [{"code": "b", "area": 1.25}, {"code": "a", "area": 200.0}, {"code": None, "area": 1.0}],
        schema,
    )
    outcome = lake.deliver(path, terms)
    assert lake.rows("districts") == [{"code": "a", "area": 100.0}, {"code": "b", "area": 1.25}]
    assert outcome.report["quarantined"] == {"missing: code": 1}
    facts = lake.reader().table("districts").facts
    assert (facts.is_private, facts.cohorts, facts.max_units) == (False, (), None)


def test_a_domain_is_taken_from_a_public_table_and_never_from_a_private_one(
    lake: SmallLake,
) -> None:
    public = contract(
        table="districts",
        columns=[column("code", "string/string", required=True)],
        privacy={"visibility": "public", "basis": {"visibility": "published"}},
    )
    path = write(
        lake.folder / "districts.parquet",
        [{"code": "370211"}, {"code": "370202"}],
        pa.schema([("code", pa.string())]),
    )
    lake.deliver(path, public)

    def drawn(source: str) -> Contract:
        new = column("district_code", "string/string", required=True, keyDomain={"from": source})
        return contract(columns=[new if c["name"] == "district_code" else c for c in COLUMNS])

    lake.deliver([row(1), row(2, district_code="370203")], drawn("districts.code"))
    assert reasons(lake) == ["not in domain: district_code"]
    facts = lake.reader().table("tax").facts
    assert facts.column("district_code").domain == ("370202", "370211")
    with pytest.raises(LakeError, match="no column of a public table"):
        lake.deliver([row(1)], drawn("tax.district_code"))
    with pytest.raises(LakeError, match="holds no table nowhere"):
        lake.deliver([row(1)], drawn("nowhere.code"))


def test_two_lakes_of_the_same_rows_have_different_versions(tmp_path: Path) -> None:
    """Else an answer stored for the one would be given for the other."""
    first, second = SmallLake.at(tmp_path / "a"), SmallLake.at(tmp_path / "b")
    versions = {lake.deliver([row(1)]).version for lake in (first, second)}
    assert [number_of(v) for v in versions] == [1, 1]


@pytest.mark.parametrize("company", [[], [row(2, amount=-1e300)], [row(2, amount=5.0)]])
def test_nan_is_nothing_whatever_other_rows_hold(
    lake: SmallLake, company: list[dict[str, Any]]
) -> None:
    lake.deliver([row(1, amount=math.nan), *company])
    assert [r["amount"] for r in lake.rows() if r["uscc"] == uscc(1)] == [None]


def test_text_that_is_not_utf_8_costs_its_own_row_and_no_other(lake: SmallLake) -> None:
    rows = [row(1), row(2), row(3)]
    path = write(lake.folder / "batch.parquet", rows)
    table = pq.read_table(path)
    names = [b"ok", b"\xff\xfe", None]
    buffers = pa.array(names, pa.binary()).buffers()
    broken = pa.Array.from_buffers(pa.string(), 3, buffers)
    at = table.schema.get_field_index("rep_name")
    pq.write_table(table.set_column(at, "rep_name", broken), path)
    outcome = lake.deliver(path)
    assert {r["uscc"] for r in lake.rows()} == {uscc(1), uscc(3)}
    assert outcome.report["rows_in"] == 3
    assert outcome.report["quarantined"] == {"no readable record": 1}
