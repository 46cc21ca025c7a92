"""Versions, copies and other names of a table never make its units new: one unit, one budget."""

import datetime as dt
from pathlib import Path
from typing import Any

import pytest

from sandbox.lake.contract import Contract
from sandbox.lake.errors import ContractError, LakeError
from sandbox.lake.ingest import Delivery, check
from tests.support.lake import (
    COLUMNS,
    KNOWN,
    PRIVACY,
    SmallLake,
    column,
    contract,
    row,
    uscc,
    write,
)

LATER = dt.date(2027, 3, 1)


@pytest.fixture
def lake(tmp_path: Path) -> SmallLake:
    return SmallLake.at(tmp_path)


def of_domain(domain: str, *, table: str = "tax", types: str = "string/string") -> Contract:
    """Return the small contract with its units in another domain, or by ids of another type."""
    privacy = {
        **PRIVACY,
        "unitDomain": domain,
        "unitColumns": [{"column": "uscc", "domain": domain}],
    }
    columns = [column("uscc", types, required=True, grade="G1"), *COLUMNS[1:]]
    return contract(table=table, columns=columns, privacy=privacy)


def public(table: str = "tax") -> Contract:
    columns = [c for c in COLUMNS if c["name"] != "known_date"]
    privacy = {"visibility": "public", "basis": {"visibility": "published"}}
    return contract(table=table, columns=columns, privacy=privacy)


def units(lake: SmallLake, table: str = "tax") -> dict[str, tuple[int, int]]:
    return {r["uscc"]: (r["__unit"], r["__cohort"]) for r in lake.rows(table)}


def test_a_renamed_table_of_a_later_year_brings_no_new_units(lake: SmallLake) -> None:
    rows = [row(n) for n in range(5)]
    lake.deliver(rows)
    before = units(lake)
    lake.deliver(rows, contract(table="tax_renamed"), "renamed", as_known=LATER)
    lake.deliver(rows, name="again", as_known=LATER)
    assert units(lake, "tax_renamed") == units(lake) == before
    assert {cohort for _, cohort in before.values()} == {2026}


def test_a_unit_that_left_and_came_back_in_a_later_year_keeps_its_cohort(lake: SmallLake) -> None:
    lake.deliver([row(1), row(2)])
    before = units(lake)
    lake.deliver([row(2)], name="without")
    lake.deliver([row(1), row(2), row(3)], name="back", as_known=LATER)
    after = units(lake)
    assert {k: after[k] for k in before} == before
    assert after[uscc(3)][1] == 2027


@pytest.mark.parametrize(
    ("first", "then"),
    [
        (contract(), of_domain("applicant")),
        (contract(), public()),
        (of_domain("applicant"), of_domain("borrower")),
    ],
    ids=["another domain", "a public table", "another name for its domain"],
)
def test_no_version_moves_a_table_to_other_accounts(
    lake: SmallLake, first: Contract, then: Contract, tmp_path: Path
) -> None:
    rows = [row("loan-7") if first.unit and first.unit.domain != "enterprise" else row(7)]
    version = lake.deliver(rows, first).version
    file = write(tmp_path / "moved.parquet", rows)
    with pytest.raises(ContractError, match="charged to the same accounts"):
        lake.deliver(file, then)
    with pytest.raises(ContractError, match="charged to the same accounts"):
        check(Delivery(then, (file,), KNOWN), lake.place, lambda _: None)
    assert lake.reader().table("tax").facts.version == version


def test_a_domain_keeps_one_kind_of_id_so_that_no_unit_is_entered_twice(lake: SmallLake) -> None:
    lake.deliver([row("007")], of_domain("applicant"))
    numbers = of_domain("applicant", table="loans", types="integer/bigint")
    with pytest.raises(LakeError, match="by opaque ids, and this contract names them by number"):
        lake.deliver([row("7")], numbers, "numbers")
    lake.deliver([row("008")], of_domain("applicant", table="loans"), "texts")
    assert units(lake, "loans").keys() == {"008"}


def test_an_older_registry_learns_its_kind_from_the_next_delivery(
    lake: SmallLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as earlier:
        earlier.setattr("sandbox.lake.ingest.of_kind", lambda registry, _: registry)
        lake.deliver([row("007")], of_domain("applicant"))
    lake.deliver([row("007")], of_domain("applicant", table="loans"), "second")
    numbers = of_domain("applicant", table="third", types="integer/bigint")
    with pytest.raises(LakeError, match="would count twice"):
        lake.deliver([row("7")], numbers, "third")


def test_an_enterprise_cannot_be_a_unit_of_another_domain_as_well(lake: SmallLake) -> None:
    lake.deliver([row(1)])
    lower = " ".join(["", uscc(2).lower(), ""])
    lake.deliver([row(1), row(lower), row("loan-7")], of_domain("applicant", table="loans"), "b")
    assert units(lake, "loans").keys() == {"LOAN-7"}
    assert [r["reason"] for r in lake.rejects("loans")] == ["unit id invalid"] * 2


@pytest.mark.parametrize(
    ("domain", "stated", "types"),
    [
        ("enterprise", "opaque", "string/string"),
        ("applicant", "uscc", "string/string"),
        ("enterprise", "uscc", "integer/bigint"),
    ],
    ids=["firms by any text", "firms in another domain", "firms by numbers"],
)
def test_a_contract_names_enterprises_by_their_code_in_their_domain(
    domain: str, stated: str, types: str
) -> None:
    listed: list[dict[str, Any]] = [{"column": "uscc", "domain": domain, "format": stated}]
    privacy = {**PRIVACY, "unitDomain": domain, "unitColumns": listed}
    columns = [column("uscc", types, required=True, grade="G1"), *COLUMNS[1:]]
    with pytest.raises(ContractError, match="uscc"):
        contract(columns=columns, privacy=privacy)
