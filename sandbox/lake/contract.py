"""Reads what a table's owner attests: columns, grades, bounds, domains, unit, and on what basis.

A contract is an ODCS v3.1.0 document, read by the standard's own pydantic model. The privacy facts
stand in `customProperties`; each names the basis it rests on, and a fact that was read off the data
("observed") is refused, because it would say something about a unit before any budget is charged.
"""

import datetime as dt
import json
import math
import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, NoReturn, TypeGuard

import pydantic
import yaml
from open_data_contract_standard.model import (
    CustomProperty,
    Description,
    OpenDataContractStandard,
    SchemaProperty,
)

from privacy.dp.facts import MAX_TEXT
from privacy.dp.types import INT_MAX, INT_MIN, LONG_MAX, LONG_MIN, DataType, Value
from sandbox.lake.errors import ContractError
from sandbox.lake.terms import Contract, Disposition, DomainSource, Field, Unit, UnitFormat

__all__ = ["Contract", "DomainSource", "Field", "Unit", "load_contract", "parse_contract"]

API_VERSION = "v3.1.0"
BASES = frozenset({"statute", "published", "a-priori", "dp-release"})
"""What a privacy fact may rest on. Source: soundness rule D.27."""
GRADES = frozenset({"G1", "G2", "G3", "G4"})
MAX_SCALE = 6
FIXED_LIMIT = 9 * 10**15
"""Largest fixed-point integer: below 2^53, so a double holds it exactly."""
LONGEST_TEXT = 20_000
"""Largest `maxLength` of a column: what questions make of texts is bounded too."""
MAX_DOMAIN = 200_000
"""Values of one key domain; an answer has at most as many cells."""

_TYPES: dict[tuple[str, str], DataType] = {
    ("string", "string"): DataType.STRING,
    ("integer", "int"): DataType.INTEGER,
    ("integer", "bigint"): DataType.LONG,
    ("number", "double"): DataType.DOUBLE,
    ("boolean", "boolean"): DataType.BOOLEAN,
    ("date", "date"): DataType.DATE,
}
_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
_RANGES = {DataType.INTEGER: (INT_MIN, INT_MAX), DataType.LONG: (LONG_MIN, LONG_MAX)}
_PRIVACY = frozenset(
    {
        *("visibility", "visibilityBasis", "unitDomain", "unitColumns", "uniqueKeys"),
        *("maxRowsPerUnit", "maxUnits", "basis"),
    }
)


def load_contract(path: Path) -> Contract:
    """Return the contract in a YAML file; `ContractError` says what its owner must change."""
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ContractError(str(path), f"cannot be read as YAML: {error}") from error
    return parse_contract(document, source=path.name)


def parse_contract(document: object, source: str = "contract") -> Contract:
    """Return the contract of a parsed document."""
    if not isinstance(document, Mapping):
        raise ContractError(source, "is not a mapping; write an ODCS v3.1.0 document")
    try:
        model = OpenDataContractStandard.model_validate(document)
    except pydantic.ValidationError as error:
        raise ContractError(source, f"is not valid ODCS: {error}") from error
    return _Reader(source, model).contract()


class _Reader:
    """Reads one document; keeps its name and the current place for the messages."""

    def __init__(self, source: str, model: OpenDataContractStandard) -> None:
        self._source, self._model = source, model

    def contract(self) -> Contract:
        model = self._model
        for name, wanted in (("apiVersion", API_VERSION), ("kind", "DataContract")):
            if getattr(model, name) != wanted:
                self._fail(f"{name} must be {wanted}")
        for name in ("id", "name", "version", "status", "domain", "tenant"):
            if not getattr(model, name):
                self._fail(f"{name} is missing")
        schemas = model.schema_ or []
        if len(schemas) != 1:
            self._fail(f"describes {len(schemas)} tables; write one contract for each table")
        table = schemas[0].name or ""
        if not _NAME.fullmatch(table):
            self._fail(f"table name {table!r} must be lower-case letters, digits and _")
        fields = tuple(self._field(p) for p in schemas[0].properties or [])
        names = [f.name for f in fields]
        if not fields or len(set(names)) != len(names):
            self._fail("needs properties with different names")
        privacy = _custom(schemas[0].customProperties).get("privacy")
        if not isinstance(privacy, Mapping):
            self._fail("schema needs the custom property `privacy`")
        if unknown := sorted(set(privacy) - _PRIVACY):
            self._fail(f"privacy has unknown entries {unknown}; known are {sorted(_PRIVACY)}")
        private = self._private(privacy)
        unit = self._unit(privacy, fields) if private else None
        contract = Contract(
            table=table,
            fields=fields,
            unit=unit,
            unique_keys=self._unique_keys(privacy, fields, unit),
            description=_described(model.description, schemas[0].description),
            document=json.dumps(
                model.model_dump(by_alias=True, exclude_none=True, mode="json"),
                ensure_ascii=False,
                sort_keys=True,
            ),
        )
        if not any(f.disposition is Disposition.KEEP for f in fields):
            self._fail("no column is left after dropping and tokenising")
        return contract

    def _private(self, privacy: Mapping[str, Any]) -> bool:
        visibility = privacy.get("visibility")
        if visibility not in ("private", "public"):
            self._fail("privacy.visibility must be private or public")
        self._basis(_bases(privacy, "visibility"), "privacy.visibility")
        if visibility == "public":
            for name in ("unitDomain", "unitColumns", "maxRowsPerUnit", "maxUnits"):
                if privacy.get(name):
                    self._fail(f"a public table has no privacy.{name}")
        return bool(visibility == "private")

    def _unit(self, privacy: Mapping[str, Any], fields: tuple[Field, ...]) -> Unit:
        listed = privacy.get("unitColumns")
        domain = privacy.get("unitDomain")
        if not isinstance(domain, str) or not _NAME.fullmatch(domain):
            self._fail("privacy.unitDomain must name the domain of the protected unit")
        if not isinstance(listed, list) or not all(isinstance(u, Mapping) for u in listed):
            self._fail("privacy.unitColumns must list {column, domain}")
        if len(listed) != 1 or listed[0].get("domain") != domain:
            self._fail(
                f"privacy.unitColumns lists {len(listed)} columns; this version stores tables "
                "whose rows name one, of privacy.unitDomain. Split the table by role."
            )
        name = listed[0].get("column")
        column = next((f for f in fields if f.name == name), None)
        kinds = (DataType.STRING, DataType.INTEGER, DataType.LONG)
        if column is None or not column.required or column.type not in kinds:
            self._fail(f"unit column {name} must be a required string or integer property")
        if column.grade == "G4" or column.disposition is not Disposition.KEEP:
            self._fail(f"unit column {name} must be below grade G4 and kept; use a token as id")
        default = UnitFormat.USCC if domain == "enterprise" else UnitFormat.OPAQUE
        form = listed[0].get("format", default.value)
        if form not in list(UnitFormat):
            self._fail(f"format of unit column {name} must be one of {[*UnitFormat]}")
        if (form == UnitFormat.USCC) != (domain == "enterprise"):
            self._fail(
                f"unit column {name}: domain enterprise, and no other, is known by ids of format "
                "uscc; in a domain of its own the same firm would have a second budget"
            )
        if form == UnitFormat.USCC and column.type is not DataType.STRING:
            self._fail(f"unit column {name} of format uscc must be a string")
        for fact in ("maxRowsPerUnit", "maxUnits"):
            value = privacy.get(fact)
            if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= 10**9:
                self._fail(f"privacy.{fact} must be a whole number from 1 to 10^9")
            self._basis(_bases(privacy, fact), f"privacy.{fact}")
        return Unit(
            domain, str(name), UnitFormat(form), privacy["maxRowsPerUnit"], privacy["maxUnits"]
        )

    def _unique_keys(
        self, privacy: Mapping[str, Any], fields: tuple[Field, ...], unit: Unit | None
    ) -> tuple[tuple[str, ...], ...]:
        keys = privacy.get("uniqueKeys") or []
        if not isinstance(keys, list) or not all(isinstance(k, list) and k for k in keys):
            self._fail("privacy.uniqueKeys must be lists of column names")
        by_name = {f.name: f for f in fields}
        for key in keys:
            if len(set(key)) != len(key) or not set(key) <= set(by_name):
                self._fail(f"unique key {key} must name different columns of the table")
            if unit and unit.column not in key:
                self._fail(f"unique key {key} must contain the unit column {unit.column}")
            for column in (by_name[name] for name in key):
                if not column.required or column.type is DataType.DOUBLE:
                    self._fail(f"{column.name} of a unique key must be required and no double")
                if column.disposition is not Disposition.KEEP:
                    self._fail(f"{column.name} of a unique key must be kept")
        return tuple(tuple(key) for key in keys)

    def _field(self, found: SchemaProperty) -> Field:
        name = found.name or ""
        if not _NAME.fullmatch(name):
            self._fail(f"property name {name!r} must be lower-case letters, digits and _")
        type_ = _TYPES.get((found.logicalType or "", found.physicalType or ""))
        if type_ is None:
            self._fail(
                f"{name} has types {found.logicalType}/{found.physicalType}; "
                f"known are {', '.join('/'.join(pair) for pair in _TYPES)}"
            )
        if found.classification not in GRADES:
            self._fail(f"{name} needs a classification G1 to G4")
        custom = _custom(found.customProperties)
        disposition = self._disposition(name, type_, str(found.classification), custom)
        scale = custom.get("scale", 0)
        if type(scale) is not int or not 0 <= scale <= (
            MAX_SCALE if type_ is DataType.DOUBLE else 0
        ):
            self._fail(f"scale of {name} must be 0 to {MAX_SCALE} digits, and 0 unless a double")
        low, high = self._bounds(name, type_, scale, custom)
        domain = self._domain(name, type_, custom)
        if domain is not None and low is not None:
            self._fail(f"{name} has both bounds and a key domain; the domain alone bounds it")
        if low is not None:
            self._basis(_column_bases(custom, "low", "high"), f"bounds of {name}")
        if domain is not None:
            self._basis(_column_bases(custom, "keyDomain"), f"keyDomain of {name}")
        step = custom.get("quantileStep")
        if step is not None and not (_number(step) and step > 0 and low is not None):
            self._fail(f"quantileStep of {name} must be positive and needs bounds")
        default = custom.get("nullDefault")
        if default is not None and (
            low is None or high is None or not (_number(default) and low <= default <= high)
        ):
            self._fail(f"nullDefault of {name} must lie inside its bounds")
        return Field(
            name=name,
            type=type_,
            max_length=self._max_length(name, type_, found),
            required=bool(found.required),
            grade=str(found.classification),
            description=found.description or "",
            unit=str(custom.get("unitOfMeasure") or ""),
            low=low,
            high=high,
            scale=scale,
            domain=domain,
            step=step,
            disposition=disposition,
            source=(found.physicalName or name).strip().lower(),
            unique=bool(found.unique),
        )

    def _max_length(self, name: str, type_: DataType, found: SchemaProperty) -> int:
        options = found.logicalTypeOptions or {}
        if "maxLength" not in options:
            return MAX_TEXT
        said = options["maxLength"]
        if type_ is not DataType.STRING or type(said) is not int or not 1 <= said <= LONGEST_TEXT:
            self._fail(f"maxLength of {name} must be 1 to {LONGEST_TEXT}, and only text has one")
        return said

    def _disposition(
        self, name: str, type_: DataType, grade: str, custom: Mapping[str, Any]
    ) -> Disposition:
        said = custom.get("disposition")
        if said is None:
            if grade == "G4":
                self._fail(f"{name} has grade G4; set its disposition to drop or tokenise")
            return Disposition.KEEP
        if said not in (Disposition.DROP, Disposition.TOKENISE):
            self._fail(f"disposition of {name} must be drop or tokenise")
        if said == Disposition.TOKENISE and type_ is not DataType.STRING:
            self._fail(f"{name} cannot be tokenised: declare it as string/string")
        return Disposition(said)

    def _bounds(
        self, name: str, type_: DataType, scale: int, custom: Mapping[str, Any]
    ) -> tuple[int | float | None, int | float | None]:
        low, high = custom.get("low"), custom.get("high")
        if low is None and high is None:
            return None, None
        if not type_.is_numeric:
            self._fail(f"{name} is no number; only numbers have low and high")
        if not _number(low) or not _number(high) or low > high:
            self._fail(f"{name} needs both low and high, finite, low not above high")
        for bound in (low, high):
            fixed = Decimal(str(bound)) * 10**scale  # the decimal that the owner wrote
            smallest, largest = _RANGES.get(type_, (-FIXED_LIMIT, FIXED_LIMIT))
            if fixed != fixed.to_integral_value() or not smallest <= fixed <= largest:
                self._fail(f"bounds of {name} must fit its type and have {scale} decimal digits")
        return low, high

    def _domain(
        self, name: str, type_: DataType, custom: Mapping[str, Any]
    ) -> tuple[Value, ...] | DomainSource | None:
        said = custom.get("keyDomain")
        if said is None:
            return None
        if type_ is DataType.DOUBLE:
            self._fail(f"{name} is a double and cannot have a key domain")
        if isinstance(said, Mapping):
            table, _, column = str(said.get("from", "")).partition(".")
            if set(said) != {"from"} or not _NAME.fullmatch(table) or not _NAME.fullmatch(column):
                self._fail(f"keyDomain of {name} must be a list or {{from: table.column}}")
            return DomainSource(table, column)
        values = [_domain_value(v, type_) for v in said] if isinstance(said, list) else []
        if not values or None in values or len(set(values)) != len(values):
            self._fail(f"keyDomain of {name} must be different values of type {type_}")
        if len(values) > MAX_DOMAIN:
            self._fail(f"keyDomain of {name} has {len(values)} values; at most {MAX_DOMAIN} work")
        return tuple(sorted(values, key=_order))

    def _basis(self, bases: Iterable[object], fact: str) -> None:
        said = list(bases)
        if not said or None in said:
            self._fail(f"{fact} has no basis; give one of {sorted(BASES)}")
        for basis in said:
            if basis not in BASES:
                self._fail(
                    f"{fact} rests on {basis!r}; a fact must be {sorted(BASES)} and never be read "
                    "off the data"
                )

    def _fail(self, fault: str) -> NoReturn:
        raise ContractError(self._source, fault)


def _custom(properties: list[CustomProperty] | None) -> dict[str, Any]:
    return {str(p.property): p.value for p in properties or []}


def _bases(privacy: Mapping[str, Any], fact: str) -> list[object]:
    bases = privacy.get("basis")
    return [bases[fact]] if isinstance(bases, Mapping) and fact in bases else []


def _column_bases(custom: Mapping[str, Any], *facts: str) -> list[object]:
    """One basis for all facts of the column, or one for each."""
    said = custom.get("basis")
    if isinstance(said, Mapping):
        return [said.get(fact) for fact in facts]
    return [] if said is None else [said]


def _number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and type(value) is not bool and math.isfinite(value)


def _domain_value(value: object, type_: DataType) -> Value:
    """Return a value of a domain in its column's type, or None if it is of another type."""
    match type_, value:
        case DataType.STRING, str() if value and value == value.strip():
            return value
        case DataType.BOOLEAN, bool():
            return value
        case ((DataType.INTEGER | DataType.LONG), int()) if type(value) is not bool:
            low, high = _RANGES[type_]
            return value if low <= value <= high else None
        case DataType.DATE, dt.date():
            return value
        case DataType.DATE, str():
            try:
                return dt.date.fromisoformat(value)
            except ValueError:
                return None
    return None


def _order(value: Value) -> Any:  # noqa: ANN401 - values of one domain share one ordered type
    return value


def _described(description: Description | None, own: str | None) -> str:
    purpose = description.purpose if description else None
    return own or purpose or ""
