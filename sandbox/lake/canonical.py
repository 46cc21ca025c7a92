"""Brings the ids of protected units to one form and checks them, on distinct values, in SQL.

One unit must have one id: full-width digits, lower case, blanks and compatibility forms are
undone before anything is counted. Sources: Unicode NFKC (UAX #15); GB 32100-2015 for the unified
social credit code (check character modulo 31), GB 11714-1997 for the organisation code inside it
(positions 9 to 17, check character modulo 11). The division in positions 3 to 8 is not checked:
divisions are dissolved while codes live on.

Ids of other kinds are any short text, but never an enterprise's code: under another domain's name
the same firm would be another unit, with a budget of its own.
"""

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from privacy.dp.types import DataType
from sandbox.lake.terms import UnitFormat

ALPHABET = "0123456789ABCDEFGHJKLMNPQRTUWXY"
"""31 characters: no I, O, S, V, Z. Source: GB 32100-2015, table 2."""
_CODE_WEIGHTS = (1, 3, 9, 27, 19, 26, 16, 17, 20, 29, 25, 13, 8, 24, 10, 30, 28)
"""3^(i-1) modulo 31."""
_BODY_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_BODY_WEIGHTS = (3, 7, 9, 10, 5, 8, 4, 2)
"""Of GB 11714-1997, for the eight characters before its check character."""
_BODY_START = 9


def canonical_ids(
    connection: duckdb.DuckDBPyConnection, raw: str, form: UnitFormat, type_: DataType
) -> duckdb.DuckDBPyRelation:
    """Return (raw, id) for every text of table `raw(raw)`; the id is null where it is invalid."""
    texts = connection.sql(
        f"SELECT raw FROM {raw} WHERE strlen(raw) != length(raw)"
    ).to_arrow_table()
    column = texts.column("raw").combine_chunks()
    unusual = pa.table({"raw": column, "text": pc.utf8_normalize(column, form="NFKC")})
    connection.register("unusual_ids", unusual)
    clean = "upper(trim(text, chr(32) || chr(9) || chr(10) || chr(13)))"
    valid = _uscc_is_valid("id") if form is UnitFormat.USCC else _opaque_is_valid("id")
    if type_.is_integral:
        valid = f"id IS NOT NULL AND NOT ({_is_enterprise('id')})"
        width = "INTEGER" if type_ is DataType.INTEGER else "BIGINT"
        digits = f"CASE WHEN regexp_full_match({clean}, '-?[0-9]+') THEN {clean} END"
        clean = f"TRY_CAST({digits} AS {width})::VARCHAR"
    return connection.sql(
        f"""
        WITH texts AS (
          SELECT raw, raw AS text FROM {raw} WHERE strlen(raw) = length(raw)
          UNION ALL SELECT raw, text FROM unusual_ids
        ), cleaned AS (SELECT raw, {clean} AS id FROM texts)
        SELECT raw, CASE WHEN {valid} THEN id END AS id FROM cleaned
        """
    )


def _opaque_is_valid(text: str) -> str:
    return f"regexp_full_match({text}, '[^\\p{{C}}]{{1,64}}') AND NOT ({_is_enterprise(text)})"


def _is_enterprise(text: str) -> str:
    """Whether an id is the code of a registered business, which is a unit of its own domain.

    Entered here too, the same firm would have a second budget. The registry of businesses gives out
    91, 92 and 93; other authorities' codes begin as other numbers of 18 digits may.
    """
    return f"substr({text}, 1, 2) IN ('91', '92', '93') AND {_uscc_is_valid(text)}"


def _uscc_is_valid(text: str) -> str:
    body, code = (
        _check_value(text, _BODY_ALPHABET, _BODY_WEIGHTS, _BODY_START),
        _check_value(text, ALPHABET, _CODE_WEIGHTS, 1),
    )
    body_check = f"substr('0123456789X0', 12 - ({body}) % 11, 1)"
    code_check = f"substr('{ALPHABET}', (31 - ({code}) % 31) % 31 + 1, 1)"
    return (
        f"regexp_full_match({text}, '[{ALPHABET}]{{2}}[0-9]{{6}}[{ALPHABET}]{{10}}') "
        f"AND substr({text}, 17, 1) = {body_check} AND substr({text}, 18, 1) = {code_check}"
    )


def _check_value(text: str, alphabet: str, weights: tuple[int, ...], start: int) -> str:
    return " + ".join(
        f"{weight} * (strpos('{alphabet}', substr({text}, {start + place}, 1)) - 1)"
        for place, weight in enumerate(weights)
    )
