"""Taking note of what the lake holds, so that nobody's data changes without an entry."""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

from sqlalchemy import Connection

from marketplace.audit import store as log
from marketplace.audit.entry import Event, Plain
from marketplace.db import Database
from marketplace.errors import MarketplaceError
from marketplace.ingests import store
from marketplace.ingests.store import Stored


class Ingests:
    """Versions of the lake's tables, as entries."""

    def __init__(self, database: Database, clock: Callable[[], datetime]) -> None:
        """Write through `database`."""
        self._database, self._clock = database, clock

    def report(self, seen: Sequence[Stored]) -> int:
        """Log versions that are new; the same report again changes nothing. Return how many.

        VERSION_CONTRADICTED, logged too, if a version was reported before with other contents: a
        version never changes, so somebody exchanged it.
        """
        with self._database.reading() as connection:
            missing = _missing(connection, seen)
        if not missing:
            return 0
        with self._database.writing() as connection:
            missing = _missing(connection, seen)
            other = next((s for s in missing if _is_known(connection, s)), None)
            for one in missing if other is None else ():
                entry = log.append(connection, Event.VERSION_SEEN, self._clock(), _facts(one))
                store.add(connection, one, entry.index)
            if other is not None:
                log.append(connection, Event.VERSION_CONTRADICTED, self._clock(), _facts(other))
        if other is not None:
            raise MarketplaceError(
                "VERSION_CONTRADICTED",
                f"Version {other.version} of {other.table} is not the one that was logged, so "
                "nothing is answered from it. Ingest the table again, and ask the audit "
                "administrator.",
                f"数据表 {other.table} 的版本 {other.version} 与日志所记不一致，因此不作任何回答。"
                "请重新导入该表，并联系审计管理员。",
            )
        return len(missing)


def check_reported(connection: Connection, tables: Iterable[tuple[str, str]]) -> None:
    """Raise VERSION_UNREPORTED for a version, of a table with reported ones, that is not one."""
    asked = list(tables)
    known = store.known(connection, (table for table, _ in asked))
    for table, version in asked:
        if table in known and version not in known[table]:
            raise MarketplaceError(
                "VERSION_UNREPORTED",
                f"The log does not know the version of {table} that this question would read, so "
                "it is not asked and nothing was charged. Ask again in a moment; if that does not "
                "help, tell the operator.",
                f"日志尚未记录此问题将读取的 {table} 的版本，因此未提问，也未扣费。请稍后重试；"
                "若仍如此，请联系运营方。",
            )


def _missing(connection: Connection, seen: Sequence[Stored]) -> list[Stored]:
    known = store.known(connection, (s.table for s in seen))
    return sorted(
        {s for s in seen if known.get(s.table, {}).get(s.version) != s},
        key=lambda s: (s.table, s.version),
    )


def _is_known(connection: Connection, stored: Stored) -> bool:
    return stored.version in store.known(connection, [stored.table]).get(stored.table, {})


def _facts(stored: Stored) -> dict[str, Plain]:
    return {
        "table": stored.table,
        "version": stored.version,
        "contract_digest": stored.contract_digest,
        "manifest_digest": stored.manifest_digest,
    }
