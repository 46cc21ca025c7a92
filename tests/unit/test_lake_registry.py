"""Surrogates: a bijection that no unit's presence changes, even when integers collide."""

from collections.abc import Sequence

import duckdb
import pytest

from sandbox.lake.keys import KeyRing
from sandbox.lake.registry import SURROGATE_BITS, Registry, assign


class Domain:
    """A registry in memory that takes deliveries of ids."""

    def __init__(self, keys: KeyRing, bits: int = SURROGATE_BITS) -> None:
        self._keys, self._bits = keys, bits
        self._registry = Registry("enterprise", ())
        self._connection = duckdb.connect()
        self._connection.execute(
            "CREATE TEMP TABLE registry (token BLOB, unit BIGINT, cohort INTEGER)"
        )

    def deliver(self, ids: Sequence[str], year: int = 2026) -> dict[str, tuple[int, int]]:
        run = self._connection.execute
        run(
            "CREATE OR REPLACE TABLE ids AS SELECT lower(i) AS raw, i AS id FROM unnest(?) t(i)",
            [ids],
        )
        self._registry, _ = assign(
            self._connection, self._keys, self._registry, year, bits=self._bits
        )
        return {i: (u, c) for i, u, c in run("SELECT id, unit, cohort FROM units").fetchall()}


IDS = [f"U{n}" for n in range(200)]


@pytest.mark.parametrize("bits", [SURROGATE_BITS, 9])
def test_units_and_integers_are_one_to_one_over_all_deliveries(bits: int) -> None:
    domain = Domain(KeyRing.generate(), bits)
    first = domain.deliver(IDS[:120])
    second = domain.deliver(IDS[80:])
    assert {i: second[i] for i in IDS[80:120]} == {i: first[i] for i in IDS[80:120]}
    both = {**first, **second}
    assert len({unit for unit, _ in both.values()}) == len(IDS)
    assert all(0 <= unit < 2**62 for unit, _ in both.values())


def test_a_unit_changes_no_other_units_integer() -> None:
    keys = KeyRing.generate()
    everyone = Domain(keys).deliver(IDS)
    without = Domain(keys).deliver(IDS[1:])
    assert without == {i: everyone[i] for i in IDS[1:]}


def test_a_unit_is_known_by_a_token_that_needs_the_key() -> None:
    domain = Domain(KeyRing.generate())
    one = domain.deliver(IDS[:1])
    other = Domain(KeyRing.generate()).deliver(IDS[:1])
    assert one != other
    stored = domain._connection.execute("SELECT token FROM registry").fetchall()
    assert len(stored[0][0]) == 32
    assert b"U0" not in stored[0][0]


def test_a_cohort_is_the_year_of_the_first_delivery() -> None:
    domain = Domain(KeyRing.generate())
    domain.deliver(["A"], 2024)
    domain.deliver(["B"], 2025)
    assert {i: c for i, (_, c) in domain.deliver(["A", "B", "C"], 2026).items()} == {
        "A": 2024,
        "B": 2025,
        "C": 2026,
    }
    assert domain._registry.epochs == (2024, 2025, 2026)


def test_ways_to_write_an_id_share_its_entry() -> None:
    domain = Domain(KeyRing.generate())
    domain._connection.execute(
        "CREATE TABLE ids AS SELECT * FROM (VALUES ('a', 'A'), ('A ', 'A'), ('?', NULL)) t(raw, id)"
    )
    assign(domain._connection, domain._keys, domain._registry, 2026)
    found = domain._connection.execute("SELECT raw, unit FROM units ORDER BY raw").fetchall()
    assert [raw for raw, _ in found] == ["A ", "a"]
    assert found[0][1] == found[1][1]
