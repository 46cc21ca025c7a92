"""The SQL that reads delivered rows under a contract: typed values, and one reason for a bad row.

Everything here is a function of a single row, so no unit decides about another's rows.
"""

import datetime as dt

from privacy.dp.types import DataType, Value
from sandbox.lake.contract import FIXED_LIMIT
from sandbox.lake.keyed import KeyedHash
from sandbox.lake.reading import Source
from sandbox.lake.terms import Contract, Disposition, Field

_SQL_TYPES = {
    DataType.BOOLEAN: "BOOLEAN",
    DataType.INTEGER: "INTEGER",
    DataType.LONG: "BIGINT",
    DataType.DOUBLE: "DOUBLE",
    DataType.STRING: "VARCHAR",
    DataType.DATE: "DATE",
}
_TRUE, _FALSE = "('true', 't', '1', 'yes', 'y', '是')", "('false', 'f', '0', 'no', 'n', '否')"
KNOWN_DATE = "known_date"
"""Column that says when the city knew a row; ingest fills it where a file does not have it."""
_FIRST_TIME = "TIMESTAMP '0001-01-01'"
_LAST_TIME = "TIMESTAMP '9999-12-31 23:59:59.999999'"
_DASHED, _PLAIN = "[0-9]{4}[-/][0-9]{1,2}[-/][0-9]{1,2}", "[0-9]{8}"


class RowReader:
    """Writes the SQL that reads files of one contract."""

    def __init__(self, contract: Contract, token: KeyedHash, as_known: dt.date) -> None:
        """`token` keys tokenised columns; `as_known` fills `known_date` where a file lacks it."""
        self._contract, self._token, self._as_known = contract, token, as_known
        unit = contract.unit
        self._unit = contract.field(unit.column) if unit else None
        self._others = tuple(f for f in contract.stored if f is not self._unit)
        self._keys = {name for key in contract.unique_keys for name in key}

    def stored_type(self, field: Field) -> str:
        """Return the DuckDB type that a column has in the lake."""
        if field.type is DataType.DOUBLE and self._contract.unit:
            return "BIGINT"
        return _SQL_TYPES[field.type]

    def missing(self, source: Source) -> list[str]:
        """Return the columns of the contract that a file lacks."""
        wanted = (f for f in self._contract.stored if not self._is_stamped(f, source))
        return [f.source for f in wanted if f.source not in source.columns]

    def nested(self, source: Source) -> list[str]:
        """Return the columns of the contract that hold more than single values in a file."""
        return [
            f"{f.source} ({source.columns[f.source]})"
            for f in self._contract.stored
            if f.source in source.columns and not source.is_simple(f.source)
        ]

    def unit_texts(self, source: Source) -> str:
        """Return SQL of the file's different unit ids as delivered, as column `raw`."""
        if self._unit is None:
            raise AssertionError("a public table has no units")
        return f"SELECT DISTINCT {_text(self._unit, source)} AS raw FROM {_scan(source)}"

    def valid(self, source: Source, bad: str = "") -> str:
        """Return SQL of a file's good rows: `unit`, `cohort` and the stored columns.

        `bad` is SQL of the numbers of its bad rows, if it has any.
        """
        rows = f"SELECT unit, cohort, {columns_of(self._contract)} FROM ({self._rows(source)})"
        return f"{rows} WHERE row NOT IN ({bad})" if bad else rows

    def keys(self, source: Source, columns: str) -> str:
        """Return SQL of some columns of all rows that have a unit, bad ones included."""
        return f"SELECT {columns} FROM ({self._rows(source)}) WHERE unit IS NOT NULL"

    def faults(self, source: Source) -> str:
        """Return SQL of each `reason`, the numbers of its `rows`, and the `clamped` among them.

        The row with reason null counts the good rows. Grouping makes the engine judge a row once;
        a filter on the reason would be pushed down and judge it again.
        """
        return (
            "SELECT reason, list(row) FILTER (reason IS NOT NULL) AS rows, "
            f"count_if(clamped) AS clamped FROM ({self._rows(source)}) GROUP BY reason"
        )

    def _rows(self, source: Source) -> str:
        """Return SQL in three layers: as delivered, typed, bounded and judged.

        The engine computes only the columns that the query around it uses.
        """
        numbered = list(enumerate(self._others))
        stamped = {i for i, f in numbered if self._is_stamped(f, source)}
        raw = "".join(
            f", {literal(self._as_known) if i in stamped else quote(f.source)} AS r{i}"
            for i, f in numbered
        )
        types = {i: "DATE" if i in stamped else source.columns[f.source] for i, f in numbered}
        typed = "".join(f", {self._typed(f, f'r{i}', types[i])} AS v{i}" for i, f in numbered)
        given = "".join(f", {_given(f, f'r{i}', types[i])} AS g{i}" for i, f in numbered)
        bounded = "".join(f", {self._bounded(f, f'v{i}')} AS {quote(f.name)}" for i, f in numbered)
        outside = " OR ".join(
            f"(v{i} NOT BETWEEN {bounds[0]} AND {bounds[1]})"
            for i, f in numbered
            if (bounds := self._stored_bounds(f))
        )
        unit, text, join, own = "0::BIGINT", "''", "", ""
        if self._unit is not None:
            unit, text = "units.unit", _text(self._unit, source)
            join = "LEFT JOIN units ON units.raw = delivered.unit_text"
            own = f", id::{self.stored_type(self._unit)} AS {quote(self._unit.name)}"
        entry = "units.id, units.cohort" if join else "NULL AS id, 0 AS cohort"
        return (
            f"SELECT row, unit, cohort{own}{bounded}, {self._reason()} AS reason, "
            f"coalesce({outside or 'false'}, false) AS clamped FROM ("
            f"SELECT row, unit_text, {unit} AS unit, {entry}{typed}{given} FROM ("
            f"SELECT file_row_number + 1 AS row, {text} AS unit_text{raw} FROM {_scan(source)}"
            f") AS delivered {join})"
        )

    def _reason(self) -> str:
        cases = []
        if self._unit is not None:
            cases.append("WHEN unit IS NULL AND trim(coalesce(unit_text, '')) = '' ")
            cases.append("THEN 'unit id missing' WHEN unit IS NULL THEN 'unit id invalid' ")
        for i, field in enumerate(self._others):
            cases.append(f"WHEN v{i} IS NULL AND g{i} THEN 'no {field.type}: {field.name}' ")
            if field.required:
                cases.append(f"WHEN v{i} IS NULL THEN 'missing: {field.name}' ")
            if field.type is DataType.STRING and field.disposition is Disposition.KEEP:
                cases.append(f"WHEN length(v{i}) > {field.max_length} ")
                cases.append(f"THEN 'text too long: {field.name}' ")
            if isinstance(field.domain, tuple):
                values = ", ".join(literal(v) for v in field.domain)
                cases.append(f"WHEN v{i} NOT IN ({values}) THEN 'not in domain: {field.name}' ")
        return f"CASE {''.join(cases)} END" if cases else "NULL"

    def _is_stamped(self, field: Field, source: Source) -> bool:
        """Whether ingest itself says when a file's rows were known."""
        absent = field.source not in source.columns
        return absent and field.name == KNOWN_DATE and field.type is DataType.DATE

    def _typed(self, field: Field, raw: str, type_: str) -> str:
        """Return SQL of a delivered value in its lake type, null where it has none."""
        text = type_ == "VARCHAR"
        value = f"trim({raw})" if text else raw
        if field.disposition is Disposition.TOKENISE:
            clean = f"nullif(upper(trim(nfc_normalize({_whole_text(raw, type_)}))), '')"
            return f"CASE WHEN {clean} IS NOT NULL THEN {self._token.hex(f'encode({clean})')} END"
        match field.type:
            case DataType.STRING if field.domain is not None or field.name in self._keys:
                return f"nullif(trim(nfc_normalize({_whole_text(raw, type_)})), '')"
            case DataType.STRING:
                return _whole_text(raw, type_)
            case DataType.INTEGER | DataType.LONG:
                target = _SQL_TYPES[field.type]
                if text:
                    whole = f"regexp_full_match({value}, '[+-]?[0-9]+')"
                elif type_ in ("DOUBLE", "FLOAT") or type_.startswith("DECIMAL"):
                    whole = f"{raw} = trunc({raw})"
                else:
                    return f"TRY_CAST({raw} AS {target})"
                return f"CASE WHEN {whole} THEN TRY_CAST({value} AS {target}) END"
            case DataType.DOUBLE:
                return self._double(f"TRY_CAST({value} AS DOUBLE)", field)
            case DataType.BOOLEAN if text:
                low = f"lower({value})"
                return f"CASE WHEN {low} IN {_TRUE} THEN true WHEN {low} IN {_FALSE} THEN false END"
            case DataType.BOOLEAN:
                low = f"{raw}::VARCHAR"
                return f"CASE WHEN {low} IN {_TRUE} THEN true WHEN {low} IN {_FALSE} THEN false END"
            case DataType.DATE:
                return _date(value, type_)
        raise AssertionError(f"no column has type {field.type}")

    def _double(self, value: str, field: Field) -> str:
        """Return SQL of a double; in private tables as floor(x · 10^scale + 0.5)."""
        if self._contract.unit is None:
            return f"CASE WHEN NOT isnan({value}) THEN {value} END"
        limit, scale = f"{FIXED_LIMIT}::DOUBLE", 10**field.scale
        scaled = f"least(greatest({value} * {scale}::DOUBLE, -{limit}), {limit})"
        return f"CASE WHEN NOT isnan({value}) THEN floor({scaled} + 0.5)::BIGINT END"

    def _stored_bounds(self, field: Field) -> tuple[float, float] | None:
        """Return a column's bounds as the lake's numbers."""
        if field.low is None or field.high is None:
            return None
        if self._contract.unit is None:
            return field.low, field.high
        return field.fixed(field.low), field.fixed(field.high)

    def _bounded(self, field: Field, value: str) -> str:
        """Return SQL of a value inside its bounds: what interval arithmetic relies on is then true.

        A value outside is not a reason to refuse a row (soundness D.26): it is clamped.
        """
        bounds = self._stored_bounds(field)
        if bounds is None:
            return value
        clamped = f"least(greatest({value}, {bounds[0]}), {bounds[1]})::{self.stored_type(field)}"
        return f"CASE WHEN {value} IS NOT NULL THEN {clamped} END"


def columns_of(contract: Contract) -> str:
    """Return the stored columns in the contract's order, as SQL."""
    return ", ".join(quote(f.name) for f in contract.stored)


def content_of(contract: Contract) -> str:
    """Return SQL of a row's canonical content: one injective, typed encoding of all its columns."""
    pairs = ", ".join(f"{quote(f.name)}, 'ASC NULLS FIRST'" for f in contract.stored)
    return f"create_sort_key({pairs})"


def quote(name: str) -> str:
    """Return a name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(value: Value) -> str:
    """Return a domain's value as an SQL literal."""
    if isinstance(value, dt.date):
        return f"DATE '{value.isoformat()}'"
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _scan(source: Source) -> str:
    path = str(source.path).replace("'", "''")
    # Parquet's statistics leave NaN out, and DuckDB would read them as proof that there is none: a
    # NaN would be clamped to a bound or not, as other units' rows have it (duckdb issue 25521).
    return f"read_parquet('{path}', file_row_number = true, can_have_nan = true)"


def _text(field: Field, source: Source) -> str:
    return _whole_text(quote(field.source), source.columns[field.source])


def _whole_text(raw: str, type_: str) -> str:
    """Return SQL of a value as text; a whole number delivered as a double is whole again."""
    if type_ in ("DOUBLE", "FLOAT"):
        return f"CASE WHEN {raw} = trunc({raw}) THEN TRY_CAST({raw} AS BIGINT) END::VARCHAR"
    if type_.startswith("TIMESTAMP"):
        # The least time of all is one that the engine cannot write.
        return f"CASE WHEN {raw} BETWEEN {_FIRST_TIME} AND {_LAST_TIME} THEN {raw}::VARCHAR END"
    return raw if type_ == "VARCHAR" else f"{raw}::VARCHAR"


def _given(field: Field, raw: str, type_: str) -> str:
    """Return SQL of whether anything was delivered: null, NaN and blank text are nothing."""
    if type_ in ("DOUBLE", "FLOAT"):
        return f"({raw} IS NOT NULL AND NOT isnan({raw}))"
    if type_ == "VARCHAR" and field.type is DataType.DOUBLE:
        return f"(trim({raw}) != '' AND lower(trim({raw})) != 'nan')"
    return f"trim({raw}) != ''" if type_ == "VARCHAR" else f"{raw} IS NOT NULL"


def _date(value: str, type_: str) -> str:
    if type_ == "DATE" or type_.startswith("TIMESTAMP"):
        date = f"TRY_CAST({value} AS DATE)"
    else:
        text = f"{value}::VARCHAR"
        date = (
            f"CASE WHEN regexp_full_match({text}, '{_DASHED}') "
            f"THEN TRY_CAST(replace({text}, '/', '-') AS DATE) "
            f"WHEN regexp_full_match({text}, '{_PLAIN}') "
            f"THEN TRY_STRPTIME({text}, '%Y%m%d')::DATE END"
        )
    return f"CASE WHEN {date} BETWEEN DATE '0001-01-01' AND DATE '9999-12-31' THEN {date} END"
