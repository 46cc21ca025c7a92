"""Who may look into the log, and that they did.

Auditors read entries, nobody else does. Not every reading is an entry, so that a full verification
does not double the log.
"""

from collections.abc import Callable
from datetime import datetime

from marketplace.audit import store as log
from marketplace.audit.entry import Event, Plain
from marketplace.audit.looks import Looks
from marketplace.db import Database
from marketplace.errors import MarketplaceError
from marketplace.identity.model import Person

AUDITORS = frozenset({"auditor", "audit-admin"})
ADMINISTRATOR = "audit-admin"


class Readings:
    """The door to entries."""

    def __init__(self, database: Database, clock: Callable[[], datetime]) -> None:
        """Log through `database`."""
        self._database, self._clock = database, clock
        self._looks = Looks(clock)

    def entries(self, person: Person) -> None:
        """Let an auditor pass and note it; FORBIDDEN for everyone else."""
        if not AUDITORS & set(person.roles):
            raise MarketplaceError(
                "FORBIDDEN",
                "Entries are read by auditors. Checkpoint, keys and hashes are open to everyone.",
                "条目仅供审计人员读取；检查点、密钥与哈希对所有人公开。",
            )
        if not self._looks.is_entry(person.user):
            return
        facts: dict[str, Plain] = {"tenant": person.tenant, "roles": list(person.roles)}
        with self._database.writing() as connection:
            log.append(connection, Event.LOG_READ, self._clock(), facts, {"subject": person.user})


def administrator(person: Person) -> None:
    """Raise FORBIDDEN unless the caller is the audit administrator."""
    if ADMINISTRATOR not in person.roles:
        raise MarketplaceError(
            "FORBIDDEN",
            "Only the audit administrator opens, erases or purges.",
            "仅审计管理员可开示、清除或到期删除。",
        )
