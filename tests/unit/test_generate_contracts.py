"""The sample contracts: valid by the standard's own model, complete, honest about their basis."""

from pathlib import Path

import pyarrow as pa
import pytest
import yaml
from open_data_contract_standard.model import OpenDataContractStandard, SchemaObject

from sandbox.lake.contract import load_contract
from sandbox.lake.generate.city import make_city
from sandbox.lake.generate.loans import loans_full_schema
from sandbox.lake.generate.market import market_regulation
from sandbox.lake.generate.rows import Part
from sandbox.lake.generate.tables import CODE_LISTS, ENTERPRISE_TABLES, MARKET_REGULATION, TABLES
from sandbox.lake.terms import Disposition

FOLDER = Path(__file__).parents[2] / "policies" / "contracts"
BASES = {"statute", "published", "a-priori", "dp-release"}
PHYSICAL = {
    "string": pa.string(),
    "int": pa.int32(),
    "bigint": pa.int64(),
    "double": pa.float64(),
    "boolean": pa.bool_(),
    "date": pa.date32(),
}


def model_of(table: str) -> OpenDataContractStandard:
    return OpenDataContractStandard.from_file(str(FOLDER / f"{table}.yaml"))


def schema_of(table: str) -> SchemaObject:
    (schema,) = model_of(table).schema_ or []
    return schema


@pytest.fixture(scope="module")
def part() -> Part:
    return Part(make_city(400, 3), 0, 3, full=True)


def rows_of(table: str, part: Part) -> pa.Table:
    if table in CODE_LISTS:
        return CODE_LISTS[table]()
    if table in ENTERPRISE_TABLES:
        return ENTERPRISE_TABLES[table](part)
    if table == MARKET_REGULATION:
        return market_regulation(0, 10, part.random(table))
    return loans_full_schema()


def test_every_table_has_a_contract_and_every_contract_a_table() -> None:
    assert {path.stem for path in FOLDER.glob("*.yaml")} == set(TABLES)


@pytest.mark.parametrize("table", TABLES)
def test_contract_is_valid_odcs_and_says_that_it_is_a_sample(table: str) -> None:
    model = model_of(table)
    assert (model.apiVersion, model.kind, model.status) == ("v3.1.0", "DataContract", "active")
    assert model.name == table == schema_of(table).name
    assert model.description is not None
    assert "Sample contract 示例合约" in (model.description.limitations or "")


@pytest.mark.parametrize("table", TABLES)
def test_ingest_accepts_the_contract(table: str) -> None:
    contract = load_contract(FOLDER / f"{table}.yaml")
    assert contract.table == table
    assert (contract.unit is None) == (table in CODE_LISTS or table == MARKET_REGULATION)


@pytest.mark.parametrize("table", TABLES)
def test_columns_are_those_of_the_raw_file_in_order(table: str, part: Part) -> None:
    promised = [(p.name, PHYSICAL[p.physicalType or ""]) for p in schema_of(table).properties or []]
    made = rows_of(table, part).schema
    assert promised == list(zip(made.names, made.types, strict=True))


@pytest.mark.parametrize("table", TABLES)
def test_every_privacy_fact_names_a_basis(table: str) -> None:
    for prop in schema_of(table).properties or []:
        facts = {p.property: p.value for p in prop.customProperties or []}
        if {"low", "high", "keyDomain"} & facts.keys():
            assert facts["basis"] in BASES, prop.name
    (privacy,) = [
        p.value for p in schema_of(table).customProperties or [] if p.property == "privacy"
    ]
    assert set(privacy["basis"].values()) <= BASES


@pytest.mark.parametrize("table", TABLES)
def test_every_column_is_described_in_english_and_chinese(table: str) -> None:
    for prop in schema_of(table).properties or []:
        assert prop.businessName, prop.name
        english, _, chinese = (prop.description or "").partition(". ")
        assert english.isprintable()
        assert any("\u4e00" <= character <= "\u9fff" for character in chinese), prop.name


def test_names_and_numbers_of_persons_never_reach_a_notebook() -> None:
    for table, columns in (
        ("ent_registration", ("legal_rep_name", "legal_rep_id_token")),
        ("ent_change", ("shareholder_name", "before", "after")),
        ("loans_full_schema", ("emp_title",)),
    ):
        contract = load_contract(FOLDER / f"{table}.yaml")
        for column in columns:
            assert contract.field(column).disposition is not Disposition.KEEP


def test_contracts_hold_no_two_equal_ids() -> None:
    ids = [yaml.safe_load(path.read_text())["id"] for path in FOLDER.glob("*.yaml")]
    assert len(set(ids)) == len(ids)
