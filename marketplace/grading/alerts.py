"""Tells the bureau of entries of the negative list that end soon or have ended, each once."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date

from sqlalchemy import Column, Connection, Integer, String, Table, insert, select

from marketplace.access.desk import Desk, Said
from marketplace.db import metadata
from marketplace.grading.negative_list import Alert, NegativeList, alerts

ROLES = ("reviewer", "approver")

warned = Table(
    "negative_list_warned",
    metadata,
    Column("entry_id", String(64), primary_key=True),
    Column("valid_until", String(10), primary_key=True, comment="a renewed entry is told anew"),
    Column("lapsed", Integer, primary_key=True, autoincrement=False, comment="0 soon, 1 ended"),
    Column("told", String(32), nullable=False),
)


@dataclass(frozen=True, slots=True)
class Warnings:
    """Due work: an entry whose end nobody notices would open what law closes."""

    desk: Desk
    listed: NegativeList
    today: Callable[[], date]

    def tell(self) -> int:
        """Tell the bureau what ends, once before and once after. Return how many were told."""
        found = alerts(self.listed, self.today())
        if not found:
            return 0
        with self.desk.database.writing() as connection:
            new = [alert for alert in found if not self._is_told(connection, alert)]
            for alert in new:
                self._tell(connection, alert)
        return len(new)

    def _is_told(self, connection: Connection, alert: Alert) -> bool:
        c, key = warned.c, _key(alert)
        wanted = select(c.told).where(*(c[name] == value for name, value in key.items()))
        return connection.execute(wanted).first() is not None

    def _tell(self, connection: Connection, alert: Alert) -> None:
        entry, until = alert.entry, alert.entry.valid_until.isoformat()
        said = Said(
            f"Entry {entry.entry_id} of the negative list ended on {until}: {entry.resource_code} "
            "is open again unless it is renewed.",
            f"负面清单条目 {entry.entry_id} 已于 {until} 到期，"
            f"如不续期，{entry.resource_code} 不再受限。",
        )
        if not alert.lapsed:
            said = Said(
                f"Entry {entry.entry_id} of the negative list ends on {until}. Renew it, or let it "
                "go.",
                f"负面清单条目 {entry.entry_id} 将于 {until} 到期，请续期或确认失效。",
            )
        people = [user for role in ROLES for user in self.desk.holders(role)]
        self.desk.tell(connection, people, "negative-list:ending", entry.entry_id, said)
        row = {**_key(alert), "told": self.desk.time()}
        connection.execute(insert(warned).values(**row))


def _key(alert: Alert) -> dict[str, str | int]:
    entry = alert.entry
    return {
        "entry_id": entry.entry_id,
        "valid_until": entry.valid_until.isoformat(),
        "lapsed": int(alert.lapsed),
    }
