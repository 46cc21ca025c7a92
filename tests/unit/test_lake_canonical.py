"""Ids of protected units: one form for one unit, and check characters by the standards."""

import random

import duckdb
import pytest
from stdnum.cn import uscc as stdnum_uscc

from privacy.dp.types import DataType
from sandbox.lake.canonical import ALPHABET, canonical_ids
from sandbox.lake.terms import UnitFormat
from tests.support.lake import uscc

VECTORS = ["91370202MAYY000180", "91370211MAYY00026U", "92370285MAYY00034R", "93370283MAYY00042L"]
"""Source: made for this lab in a band that no authority gives out; valid in python-stdnum."""
REAL = "91110000600037341L"
"""Source: the example in python-stdnum's documentation of `stdnum.cn.uscc`."""


def canonical(
    *raw: str, form: UnitFormat = UnitFormat.USCC, type_: DataType = DataType.STRING
) -> list[str | None]:
    connection = duckdb.connect()
    connection.execute("CREATE TABLE texts (place INTEGER, raw VARCHAR)")
    connection.executemany("INSERT INTO texts VALUES (?, ?)", list(enumerate(raw)))
    canonical_ids(connection, "texts", form, type_).create("ids")
    found = dict(connection.sql("SELECT raw, id FROM ids").fetchall())
    assert set(found) == set(raw)
    return [found[text] for text in raw]


@pytest.mark.parametrize("code", [*VECTORS, REAL])
def test_valid_codes_stay_as_they_are(code: str) -> None:
    assert canonical(code) == [code]


@pytest.mark.parametrize(
    "text",
    [
        VECTORS[0].lower(),
        f"  {VECTORS[0]}\t",
        f"\u3000{VECTORS[0]}\u00a0",
        VECTORS[0].translate({i: i + 0xFEE0 for i in range(0x21, 0x7F)}),
        VECTORS[0].lower().translate({i: i + 0xFEE0 for i in range(0x21, 0x7F)}),
    ],
    ids=["lower case", "blanks", "wide blanks", "full width", "full width lower case"],
)
def test_ways_to_write_one_code_are_one_unit(text: str) -> None:
    assert canonical(text) == [VECTORS[0]]


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        VECTORS[0][:-1],
        VECTORS[0] + "0",
        VECTORS[0][:-1] + "1",
        VECTORS[0].replace("A", "I"),
        VECTORS[0][:2] + "Q70202" + VECTORS[0][8:],
        VECTORS[0][:9] + " " + VECTORS[0][10:],
        "法人",
    ],
)
def test_what_is_no_code_has_no_id(text: str) -> None:
    assert canonical(text) == [None]


def test_the_code_inside_the_code_is_checked_although_stdnum_does_not() -> None:
    broken = VECTORS[0][:16] + "9"
    broken += stdnum_uscc.calc_check_digit(broken)
    assert stdnum_uscc.is_valid(broken)
    assert canonical(broken) == [None]


def test_codes_of_villages_are_valid_although_stdnum_refuses_them() -> None:
    village = "N2370202" + VECTORS[0][8:17]
    village += stdnum_uscc.calc_check_digit(village)
    assert not stdnum_uscc.is_valid(village)
    assert canonical(village) == [village]


def test_the_outer_check_agrees_with_stdnum_on_changed_codes() -> None:
    rng = random.Random(2)
    texts = set()
    for number in range(300):
        code = list(uscc(number))
        code[rng.randrange(8)] = rng.choice("0123456789")
        texts.add("".join([*code[:17], rng.choice(ALPHABET)]))
        texts.add(uscc(number))
    cases = sorted(texts)
    expected = [code if stdnum_uscc.is_valid(code) else None for code in cases]
    assert canonical(*cases) == expected
    assert expected.count(None) > 100


def test_other_ids_may_be_any_short_printable_text() -> None:
    opaque = {"form": UnitFormat.OPAQUE}
    assert canonical("loan-7", "贷款７", **opaque) == ["LOAN-7", "贷款7"]
    assert canonical("", "a\x00b", "x" * 65, "a\u200bb", **opaque) == [None] * 4


def test_whole_numbers_are_one_id_however_they_are_written() -> None:
    number = {"form": UnitFormat.OPAQUE, "type_": DataType.INTEGER}
    assert canonical("7", "007", " 7 ", "７", **number) == ["7"] * 4
    assert canonical("7.5", "x", "99999999999", **number) == [None] * 3
