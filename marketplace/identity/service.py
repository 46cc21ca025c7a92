"""Who holds a token and what that organisation may ask; openings and refusals are logged.

The gateway asks every few seconds, so one entry stands for all look-ups of a user with the same
answer within `QUIET_SECONDS`, and one for all refusals within it, with their number: a flood of
wrong tokens must not be able to fill the log.
"""

import hashlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from marketplace.audit import store as log
from marketplace.audit.entry import Event, Plain
from marketplace.budgets.model import GrantPolicy
from marketplace.db import Database
from marketplace.errors import MarketplaceError
from marketplace.identity.model import Person
from marketplace.identity.store import Directory

QUIET_SECONDS = 900


@dataclass(frozen=True, slots=True)
class Session:
    """What the gateway needs to know of a caller."""

    person: Person
    grants: dict[str, GrantPolicy]
    etag: str
    """Changes when anything of the above does."""


class Sessions:
    """Opens sessions."""

    def __init__(
        self,
        database: Database,
        directory: Directory,
        granted: Callable[[Database, str], dict[str, GrantPolicy]],
        clock: Callable[[], datetime],
    ) -> None:
        """`granted` is asked anew each time, so that a revoked grant is gone at once."""
        self._database, self._directory = database, directory
        self._granted, self._clock = granted, clock
        self._lock = threading.Lock()
        self._logged: dict[str, datetime] = {}
        self._refused = 0
        self._refusal_logged: datetime | None = None

    def open(self, token: str) -> Session:
        """Return who holds `token`; AUTHENTICATION if nobody does."""
        person = self._directory.person(token)
        if person is None:
            self._note_refusal()
            raise unknown_token()
        grants = self._granted(self._database, person.tenant)
        shown = repr((person, sorted(grants.items())))
        etag = hashlib.sha256(shown.encode()).hexdigest()[:32]
        self._note_opening(person, etag)
        return Session(person, grants, etag)

    def _note_opening(self, person: Person, etag: str) -> None:
        now = self._clock()
        with self._lock:
            before = self._logged.get(etag)
            if before is not None and (now - before).total_seconds() < QUIET_SECONDS:
                return
            self._logged[etag] = now
        facts: dict[str, Plain] = {"tenant": person.tenant, "roles": list(person.roles)}
        with self._database.writing() as connection:
            log.append(connection, Event.SESSION_OPENED, now, facts, {"subject": person.user})

    def _note_refusal(self) -> None:
        now = self._clock()
        with self._lock:
            self._refused += 1
            before = self._refusal_logged
            if before is not None and (now - before).total_seconds() < QUIET_SECONDS:
                return
            count, self._refused, self._refusal_logged = self._refused, 0, now
        with self._database.writing() as connection:
            log.append(connection, Event.SESSION_DENIED, now, {"refused": count})


def unknown_token() -> MarketplaceError:
    """Return the refusal of a token that nobody holds."""
    return MarketplaceError(
        "AUTHENTICATION", "The token is not valid, or it was revoked.", "令牌无效或已被吊销。"
    )
