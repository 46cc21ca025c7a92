"""Contracts: what is read from them, and what their owner has to change first."""

import datetime as dt
from pathlib import Path
from typing import Any

import pytest

from privacy.dp.types import DataType
from sandbox.lake.contract import load_contract, parse_contract
from sandbox.lake.errors import ContractError
from sandbox.lake.terms import DomainSource
from tests.support.lake import COLUMNS, PRIVACY, column, contract, document

POLICIES = Path(__file__).parents[2] / "policies" / "contracts"


def without(name: str) -> list[dict[str, Any]]:
    return [c for c in COLUMNS if c["name"] != name]


def changed(new: dict[str, Any]) -> list[dict[str, Any]]:
    return [new if c["name"] == new["name"] else c for c in COLUMNS]


def test_facts_hold_what_the_contract_says() -> None:
    facts = contract().facts("7", (2026,))
    assert (facts.name, facts.version, facts.cohorts) == ("tax", "7", (2026,))
    assert (facts.unit_domain, facts.unit_column) == ("enterprise", "uscc")
    assert (facts.max_rows_per_unit, facts.max_units) == (4, 10_000)
    assert facts.unique_keys == (("uscc", "period"),)
    amount = facts.column("amount")
    assert (amount.type, amount.low, amount.high, amount.scale) == (DataType.DOUBLE, 0, 1000, 2)
    assert facts.column("district_code").domain == ("370202", "370203")


def test_columns_of_grade_g4_are_no_facts() -> None:
    names = [c.name for c in contract().facts("1", ()).columns]
    assert not {"rep_name", "rep_id"} & set(names)


def test_a_numeric_key_domain_bounds_its_column() -> None:
    period = contract().facts("1", ()).column("period")
    assert (period.low, period.high) == (202601, 202604)


def test_a_domain_of_dates_is_read_from_text_and_from_yaml_dates() -> None:
    for days in (["2026-02-01", "2026-01-01"], [dt.date(2026, 2, 1), dt.date(2026, 1, 1)]):
        found = contract(columns=changed(column("data_date", "date/date", keyDomain=days)))
        assert found.field("data_date").domain == (dt.date(2026, 1, 1), dt.date(2026, 2, 1))


def test_a_domain_from_a_public_table_is_open_until_it_is_resolved() -> None:
    source = {"from": "districts.district_code"}
    terms = contract(columns=changed(column("district_code", "string/string", keyDomain=source)))
    assert terms.sources == {DomainSource("districts", "district_code")}
    resolved = terms.resolve(lambda _: ("a", "b"))
    assert resolved.facts("1", ()).column("district_code").domain == ("a", "b")
    assert resolved.digest != terms.digest


@pytest.mark.parametrize("path", sorted(POLICIES.glob("*.yaml")), ids=lambda p: p.stem)
def test_every_contract_of_the_city_can_be_used(path: Path) -> None:
    assert load_contract(path).table == path.stem


AMOUNT, STAFF, PERIOD, REP = (
    ("amount", "number/double"),
    ("staff", "integer/int"),
    ("period", "integer/int"),
    ("rep_name", "string/string"),
)

LENGTH = {"logicalTypeOptions": {"maxLength": 9}}


def text_of(length: object) -> dict[str, Any]:
    return {**column(*REP, grade="G1"), "logicalTypeOptions": {"maxLength": length}}


def test_a_text_is_as_long_as_its_column_says() -> None:
    facts = contract(columns=changed(text_of(20_000))).facts("1", ())
    assert facts.column("rep_name").max_length == 20_000
    assert facts.column("uscc").max_length == 1_000


COLUMN_FAULTS = [
    ("a bound without basis", column(*AMOUNT, low=0, high=1, basis=None), "basis"),
    ("an observed bound", column(*AMOUNT, low=0, high=1, basis="observed"), "obs"),
    (
        "one observed bound of two",
        column(*AMOUNT, low=0, high=1, basis={"low": "statute", "high": "observed"}),
        "observed",
    ),
    ("a basis for one bound", column(*STAFF, low=0, high=1, basis={"low": "statute"}), "basis"),
    ("an observed domain", column(*PERIOD, required=True, keyDomain=[1], basis="observed"), "obs"),
    ("an infinite bound", column(*AMOUNT, low=0, high=float("inf")), "finite"),
    ("a bound that is no number", column(*AMOUNT, low=0, high=True), "finite"),
    ("one bound alone", column(*AMOUNT, low=0), "both"),
    ("crossed bounds", column(*AMOUNT, low=2, high=1), "not above"),
    ("a bound finer than the scale", column(*AMOUNT, low=0, high=0.001, scale=2), "digits"),
    ("a bound beyond the type", column(*STAFF, low=0, high=2**31), "fit its type"),
    ("a scaled integer", column(*STAFF, low=0, high=1, scale=2), "scale"),
    ("too fine a scale", column(*AMOUNT, low=0, high=1, scale=9), "scale"),
    ("a default outside the bounds", column(*STAFF, low=0, high=1, nullDefault=2), "nullDefault"),
    ("a step of zero", column(*STAFF, low=0, high=1, quantileStep=0), "quantileStep"),
    ("a domain of doubles", column(*AMOUNT, keyDomain=[1.0]), "domain"),
    ("a domain of another type", column(*PERIOD, required=True, keyDomain=["1"]), "type"),
    ("a domain with a value twice", column(*PERIOD, required=True, keyDomain=[1, 1]), "different"),
    ("an empty domain", column(*PERIOD, required=True, keyDomain=[]), "different"),
    ("a domain read off a file", column(*PERIOD, required=True, keyDomain={"from": "x"}), "from"),
    ("a G4 column without disposition", column(*REP, grade="G4"), "G4"),
    ("an unknown disposition", column(*REP, grade="G4", disposition="hide"), "disposition"),
    ("a tokenised number", column(*STAFF, grade="G4", disposition="tokenise"), "tokenised"),
    ("an empty text", text_of(0), "maxLength"),
    ("an endless text", text_of(20_001), "maxLength"),
    ("a text as long as it says", text_of("9"), "maxLength"),
    ("a long number", {**column(*STAFF), **LENGTH}, "only text"),
    ("a type of its own", column("staff", "integer/string"), "types"),
    ("a decimal", column("amount", "number/decimal"), "types"),
    ("no grade", column(*STAFF, grade=None), "classification"),
    ("an optional unit", column("uscc", "string/string"), "required"),
    (
        "a unit of grade G4",
        column("uscc", "string/string", required=True, grade="G4", disposition="tokenise"),
        "G4",
    ),
    ("an optional key column", column(*PERIOD, keyDomain=[1]), "required"),
]


@pytest.mark.parametrize(
    ("new", "words"), [c[1:] for c in COLUMN_FAULTS], ids=[c[0] for c in COLUMN_FAULTS]
)
def test_a_column_is_refused_with_(new: dict[str, Any], words: str) -> None:
    with pytest.raises(ContractError, match=words) as error:
        contract(columns=changed(new))
    assert new["name"] in str(error.value)


PRIVACY_FAULTS = [
    ("an unknown visibility", {"visibility": "shared"}, "visibility"),
    ("an unknown entry", {"maxRows": 3}, "maxRows"),
    (
        "no basis of visibility",
        {"basis": {"maxRowsPerUnit": "statute", "maxUnits": "statute"}},
        "visibility",
    ),
    (
        "observed rows per unit",
        {"basis": {**PRIVACY["basis"], "maxRowsPerUnit": "observed"}},
        "observed",
    ),
    ("no cap on units", {"maxUnits": None}, "maxUnits"),
    ("a cap of zero", {"maxRowsPerUnit": 0}, "maxRowsPerUnit"),
    ("no unit column", {"unitColumns": []}, "0 columns"),
    (
        "two unit columns",
        {"unitColumns": [*PRIVACY["unitColumns"], {"column": "rep_id", "domain": "person"}]},
        "2 columns",
    ),
    ("a key without the unit", {"uniqueKeys": [["period"]]}, "unit column"),
    ("a key of an unknown column", {"uniqueKeys": [["uscc", "month"]]}, "month"),
    ("a dropped key column", {"uniqueKeys": [["uscc", "rep_name"]]}, "rep_name"),
    ("a double key column", {"uniqueKeys": [["uscc", "amount"]]}, "amount"),
    ("a public table with a unit", {"visibility": "public"}, "public"),
]


@pytest.mark.parametrize(
    ("change", "words"), [c[1:] for c in PRIVACY_FAULTS], ids=[c[0] for c in PRIVACY_FAULTS]
)
def test_a_table_is_refused_with_(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ContractError, match=words):
        contract(privacy={**PRIVACY, **change})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"apiVersion": "v2.2.0"}, "apiVersion"),
        ({"kind": "Data"}, "kind"),
        ({"status": None}, "status"),
        ({"schema": []}, "0 tables"),
        ({"shema": []}, "ODCS"),
    ],
)
def test_a_document_is_refused_with_(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ContractError, match=words):
        parse_contract(document(**change))


def test_a_file_that_is_no_yaml_is_refused_with_its_name(tmp_path: Path) -> None:
    path = tmp_path / "tax.yaml"
    path.write_text("a: [")
    with pytest.raises(ContractError, match=r"tax\.yaml"):
        load_contract(path)
