"""`spark.catalog`: one catalogue with one database, the granted tables and the session's views.

Clients read the answers by column position.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import pyarrow as pa

from privacy.errors import Refusal
from sandbox.gateway.answering import Answering, Asker, TableSummary
from sandbox.gateway.decode import table_name
from sandbox.gateway.fields import Fields, check_text
from sandbox.gateway.session import Session

Proto = Any
"""A message of the client's protocol: its generated classes have no usable annotations."""

CATALOG: Final = "spark_catalog"
DATABASE: Final = "default"

_TEXTS: Final = pa.list_(pa.string())
_TABLE: Final = (
    ("name", pa.string()),
    ("catalog", pa.string()),
    ("namespace", _TEXTS),
    ("description", pa.string()),
    ("tableType", pa.string()),
    ("isTemporary", pa.bool_()),
)
_COLUMN: Final = (
    ("name", pa.string()),
    ("description", pa.string()),
    ("dataType", pa.string()),
    ("nullable", pa.bool_()),
    ("isPartition", pa.bool_()),
    ("isBucket", pa.bool_()),
    ("isCluster", pa.bool_()),
)
_DATABASE: Final = (
    ("name", pa.string()),
    ("catalog", pa.string()),
    ("description", pa.string()),
    ("locationUri", pa.string()),
)
_CATALOG: Final = (("name", pa.string()), ("description", pa.string()))

Columns = Sequence[tuple[str, pa.DataType]]


class Catalog:
    """Answers one request about the catalogue."""

    def __init__(self, answering: Answering, session: Session, asker: Asker) -> None:
        """Ask as `asker`, with the views of `session`."""
        self._answering, self._session, self._asker = answering, session, asker

    def answer(self, message: Proto) -> pa.Table:
        """Return the rows for one catalogue message; refuse kinds that change anything real."""
        kind = message.WhichOneof("cat_type")
        handler = HANDLERS.get(kind)
        if handler is None:
            raise Refusal(
                "UNSUPPORTED",
                f"spark.catalog `{kind or 'empty'}` is not supported here. "
                "The catalogue can be read: listTables, listColumns, tableExists, getTable.",
                f"此处不支持 spark.catalog 的 `{kind or 'empty'}`。"
                "目录只读：listTables、listColumns、tableExists、getTable。",
            )
        fields = Fields(getattr(message, kind), f"catalog.{kind}")
        rows = handler(self, fields)
        fields.finish()
        return rows

    def current_database(self, _: Fields) -> pa.Table:
        """Return the one database."""
        return _text(DATABASE)

    def set_current_database(self, fields: Fields) -> pa.Table:
        """Accept the one database."""
        _require_database(fields.take("db_name", ""))
        return nothing()

    def current_catalog(self, _: Fields) -> pa.Table:
        """Return the one catalogue."""
        return _text(CATALOG)

    def set_current_catalog(self, fields: Fields) -> pa.Table:
        """Accept the one catalogue."""
        if fields.take("catalog_name", "") != CATALOG:
            raise _unknown("catalog")
        return nothing()

    def list_catalogs(self, fields: Fields) -> pa.Table:
        """Return the one catalogue."""
        rows = [(CATALOG, None)] if _matches(CATALOG, fields.take("pattern")) else []
        return _rows(_CATALOG, rows)

    def list_databases(self, fields: Fields) -> pa.Table:
        """Return the one database."""
        rows = [_database_row()] if _matches(DATABASE, fields.take("pattern")) else []
        return _rows(_DATABASE, rows)

    def get_database(self, fields: Fields) -> pa.Table:
        """Return the one database."""
        _require_database(fields.take("db_name", ""))
        return _rows(_DATABASE, [_database_row()])

    def database_exists(self, fields: Fields) -> pa.Table:
        """Return whether it is the one database."""
        name = fields.take("db_name", "")
        return _flag(name in (DATABASE, f"{CATALOG}.{DATABASE}"))

    def list_tables(self, fields: Fields) -> pa.Table:
        """Return tables and views."""
        _require_database(fields.take("db_name"))
        pattern = fields.take("pattern")
        rows = [_table_row(each) for each in self._answering.tables(self._asker)]
        return _rows(_TABLE, _chosen(rows + self._view_rows(), pattern))

    def list_views(self, fields: Fields) -> pa.Table:
        """Return the session's views."""
        _require_database(fields.take("db_name"))
        return _rows(_TABLE, _chosen(self._view_rows(), fields.take("pattern")))

    def get_table(self, fields: Fields) -> pa.Table:
        """Return one table or view."""
        name = _name(fields)
        row = self._row(name)
        if row is None:
            raise Refusal(
                "UNKNOWN_TABLE",
                f"There is no table `{name}`, or it is not granted to you. "
                "See spark.catalog.listTables().",
                f"没有表 `{name}`，或未授权给您。请见 spark.catalog.listTables()。",
            )
        return _rows(_TABLE, [row])

    def table_exists(self, fields: Fields) -> pa.Table:
        """Return whether the asker may name a table."""
        return _flag(self._row(_name(fields)) is not None)

    def list_columns(self, fields: Fields) -> pa.Table:
        """Return the columns of a table or view, with their comments."""
        name = _name(fields)
        view = self._session.views().get(name.lower())
        if view is not None:
            asker = replace(self._asker, frames=view.frames)
            schema = self._answering.schema(asker, view.query)
        else:
            schema = self._answering.table_columns(self._asker, name)
        rows = [
            (
                each.name,
                each.metadata.get("comment"),
                each.type.value,
                each.nullable,
                False,
                False,
                False,
            )
            for each in schema
        ]
        return _rows(_COLUMN, rows)

    def drop_temp_view(self, fields: Fields) -> pa.Table:
        """Forget a view."""
        return _flag(self._session.drop_view(fields.take("view_name", "")))

    def is_cached(self, fields: Fields) -> pa.Table:
        """Return false: nothing is cached on request."""
        _name(fields)
        return _flag(value=False)

    def no_effect(self, fields: Fields) -> pa.Table:
        """Do nothing: answers are stored anyway, and tables are always current."""
        fields.take("table_name")
        fields.take("storage_level")
        return nothing()

    def _row(self, name: str) -> tuple[object, ...] | None:
        for row in self._view_rows():
            if str(row[0]).lower() == name.lower():
                return row
        for each in self._answering.tables(self._asker):
            if each.name.lower() == name.lower():
                return _table_row(each)
        return None

    def _view_rows(self) -> list[tuple[object, ...]]:
        return [(name, None, [], None, "TEMPORARY", True) for name in self._session.views()]


HANDLERS: Final[Mapping[str | None, Callable[[Catalog, Fields], pa.Table]]] = {
    "current_database": Catalog.current_database,
    "set_current_database": Catalog.set_current_database,
    "current_catalog": Catalog.current_catalog,
    "set_current_catalog": Catalog.set_current_catalog,
    "list_catalogs": Catalog.list_catalogs,
    "list_databases": Catalog.list_databases,
    "get_database": Catalog.get_database,
    "database_exists": Catalog.database_exists,
    "list_tables": Catalog.list_tables,
    "list_views": Catalog.list_views,
    "get_table": Catalog.get_table,
    "table_exists": Catalog.table_exists,
    "list_columns": Catalog.list_columns,
    "drop_temp_view": Catalog.drop_temp_view,
    "is_cached": Catalog.is_cached,
    "cache_table": Catalog.no_effect,
    "uncache_table": Catalog.no_effect,
    "clear_cache": Catalog.no_effect,
    "refresh_table": Catalog.no_effect,
}
"""Catalogue kinds that are answered. All others are refused by name."""


def nothing() -> pa.Table:
    """Return the answer of a call that returns nothing."""
    return pa.table({})


def _rows(columns: Columns, rows: Sequence[Sequence[object]]) -> pa.Table:
    values = list(zip(*rows, strict=True)) if rows else [()] * len(columns)
    arrays = [pa.array(v, type_) for v, (_, type_) in zip(values, columns, strict=True)]
    return pa.Table.from_arrays(arrays, names=[name for name, _ in columns])


def _text(value: str) -> pa.Table:
    return pa.table({"value": pa.array([value], pa.string())})


def _flag(value: bool) -> pa.Table:  # noqa: FBT001  # the answer itself
    return pa.table({"value": pa.array([value], pa.bool_())})


def _table_row(table: TableSummary) -> tuple[object, ...]:
    kind = "PRIVATE" if table.private else "PUBLIC"
    return (table.name, CATALOG, [DATABASE], table.description, kind, False)


def _database_row() -> tuple[object, ...]:
    return (DATABASE, CATALOG, "the tables of the lab", "")


def _chosen(rows: list[tuple[object, ...]], pattern: str | None) -> list[tuple[object, ...]]:
    return sorted(
        (row for row in rows if _matches(str(row[0]), pattern)), key=lambda row: str(row[0])
    )


def _matches(name: str, pattern: str | None) -> bool:
    """Return whether `name` fits Spark's pattern: `*` for any text, `|` between alternatives."""
    if pattern is None:
        return True
    alternatives = check_text(pattern).lower().split("|")
    return any(_fits(name.lower(), each.strip().split("*")) for each in alternatives)


def _fits(name: str, parts: list[str]) -> bool:
    """Match from the left without backtracking: a regular expression could take for ever."""
    if len(parts) == 1:
        return name == parts[0]
    first, *middle, last = parts
    if not name.startswith(first):
        return False
    position = len(first)
    for part in middle:
        found = name.find(part, position)
        if found < 0:
            return False
        position = found + len(part)
    return len(name) - len(last) >= position and name.endswith(last)


def _name(fields: Fields) -> str:
    _require_database(fields.take("db_name"))
    parts = table_name(fields.text("table_name"))
    if len(parts) != 1:
        raise _unknown("database")
    return parts[0]


def _require_database(name: str | None) -> None:
    if name not in (None, DATABASE, f"{CATALOG}.{DATABASE}"):
        raise _unknown("database")


def _unknown(what: str) -> Refusal:
    return Refusal(
        "UNSUPPORTED",
        f"The lab has one {what}: `{DATABASE if what == 'database' else CATALOG}`.",
        f"实验室只有一个{'数据库' if what == 'database' else '目录'}："
        f"`{DATABASE if what == 'database' else CATALOG}`。",
    )
