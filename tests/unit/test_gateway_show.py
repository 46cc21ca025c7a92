"""Text tables agree with Spark's own, byte for byte (`tests/golden/show.json` names its source)."""

import datetime as dt
import json
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from sandbox.gateway.show import double_text, html_string, show_string

GOLDEN = json.loads(
    (Path(__file__).parents[1] / "golden" / "show.json").read_text(encoding="utf-8")
)
NAMES = ["b", "i", "l", "d", "名称", "t"]
LEAP = dt.date(2000, 2, 29)
ROWS: list[tuple[Any, ...]] = [
    (True, 1, 2**40, 1.0, "武汉市江岸区", dt.date(2026, 1, 31)),
    (None, None, None, None, None, None),
    (False, -5, -1, 1e-5, "a\tb\nc|d", dt.date(1, 1, 1)),
    (True, 0, 0, 12345678.9, "x" * 40, dt.date(9999, 12, 31)),
    (False, 7, 8, float("nan"), "<b>&\"'</b>", LEAP),
    (False, 7, 8, -0.0, "é⅓ｆｕｌｌ①½", LEAP),
    (False, 7, 8, float("-inf"), "", LEAP),
    (False, 7, 8, 123456.789, "😀한국어ｱ", LEAP),
]
TABLE = pa.table({name: [row[i] for row in ROWS] for i, name in enumerate(NAMES)})


@pytest.mark.parametrize("case", GOLDEN["show"], ids=range(len(GOLDEN["show"])))
def test_show_prints_as_spark_does(case: dict[str, Any]) -> None:
    shown = show_string(NAMES, TABLE, case["rows"], case["truncate"], vertical=case["vertical"])
    assert shown == case["text"]


@pytest.mark.parametrize("case", GOLDEN["html"], ids=lambda c: str(c["rows"]))
def test_html_is_as_spark_writes_it(case: dict[str, Any]) -> None:
    assert html_string(NAMES, TABLE, case["rows"], case["truncate"]) == case["text"]


@pytest.mark.parametrize("case", GOLDEN["empty"], ids=lambda c: str(c["vertical"]))
def test_an_empty_table_shows_as_in_spark(case: dict[str, Any]) -> None:
    shown = show_string(NAMES, TABLE.slice(0, 0), 20, 20, vertical=case["vertical"])
    assert shown == case["text"]


def test_a_table_without_columns_shows_its_rows_as_in_spark() -> None:
    (case,) = GOLDEN["zero"]
    assert show_string([], TABLE.select([]), 2, 20, vertical=False) == case["text"]


def test_doubles_are_written_as_java_writes_them() -> None:
    assert [double_text(float(text)) for text, _ in GOLDEN["doubles"]] == [
        java for _, java in GOLDEN["doubles"]
    ]


def test_written_doubles_read_back_as_themselves() -> None:
    rng = random.Random(1)
    for _ in range(2_000):
        value = rng.uniform(-1, 1) * 10 ** rng.randint(-300, 300)
        assert float(double_text(value)) == value
