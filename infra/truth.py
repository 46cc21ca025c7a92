"""What the demo's questions would say without noise, computed outside the product.

It reads the synthetic files from before ingest, which exist only because this city is invented,
and the generator's own list of planted faults: rows that ingest must quarantine are left out, ids
that it can put right are put right (an orphan is another valid id, so it stays one). Nobody could
compute this for a real city.
"""

from collections.abc import Mapping
from pathlib import Path

import duckdb

FAULTS = "_faults.parquet"

_VIEW = """
    CREATE VIEW {table} AS
    SELECT * EXCLUDE (uscc), coalesce(_right.code, uscc) AS uscc
    FROM read_parquet('{file}', file_row_number = true) AS _raw
    LEFT JOIN (
        SELECT
            row AS _row,
            any_value(faults.uscc) FILTER (fault <> 'orphan') AS code,
            bool_or(expected = 'quarantine') AS out
        FROM read_parquet('{faults}') AS faults WHERE faults."table" = '{table}' GROUP BY row
    ) AS _right ON _right._row = _raw.file_row_number
    WHERE NOT coalesce(_right.out, false)
"""

_STATEMENTS: Mapping[tuple[str, str], str] = {
    ("districts", "count"): """
        SELECT district_code, count(*) FROM ent_registration
        WHERE biz_status = '存续' GROUP BY 1""",
    ("revenue", "revenue"): """
        SELECT section, sum(greatest(least(revenue, 10_000_000), 0)) FROM annual_report
        JOIN ent_registration USING (uscc) JOIN industries USING (industry_code)
        WHERE year = 2025 GROUP BY 1""",
    ("tax", "sales"): """
        SELECT district_code, sum(greatest(least(vat_sales, 2_000_000), 0)) FROM tax_summary
        JOIN ent_registration USING (uscc) WHERE tax_period = 202606 GROUP BY 1""",
    ("tax", "mean_sales"): """
        SELECT district_code, avg(greatest(least(vat_sales, 2_000_000), 0)) FROM tax_summary
        JOIN ent_registration USING (uscc) WHERE tax_period = 202606 GROUP BY 1""",
    ("median", "median_revenue"): """
        SELECT district_code, median(revenue) FROM annual_report
        JOIN ent_registration USING (uscc) WHERE year = 2025 GROUP BY 1""",
    ("open", "firms"): """
        SELECT year(est_date), count(*) FROM ent_registration GROUP BY 1""",
    ("loans", "loans"): """
        SELECT homeownership, count(*) FROM loans_full_schema GROUP BY 1""",
    ("loans", "mean_rate"): """
        SELECT homeownership, avg(interest_rate) FROM loans_full_schema GROUP BY 1""",
    ("spark", "firms"): """
        SELECT section, count(*) FROM ent_registration JOIN industries USING (industry_code)
        GROUP BY 1""",
}
"""The literals are those of `notebooks/demo_analyst.py`, which shares no code with this side."""


def truth(raw: Path) -> dict[tuple[str, str], dict[str, float]]:
    """Return, for each (question, column), the value of every key."""
    with duckdb.connect() as connection:
        for file in raw.glob("[!_]*.parquet"):
            columns = connection.read_parquet(str(file)).columns
            if "uscc" in columns:
                names = {"table": file.stem, "file": file, "faults": raw / FAULTS}
                connection.execute(_VIEW.format(**names))
            else:
                connection.read_parquet(str(file)).create_view(file.stem)
        return {asked: _answer(connection, text) for asked, text in _STATEMENTS.items()}


def _answer(connection: duckdb.DuckDBPyConnection, statement: str) -> dict[str, float]:
    rows = connection.execute(statement).fetchall()
    return {str(key): float(value) for key, value in rows if value is not None}
