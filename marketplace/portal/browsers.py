"""Signing in and out: an opaque cookie of 256 random bits, kept as its hash.

Whose it is stands in the identity file, which is asked at every request: a revoked token ends its
browsers at once. Idle browsers end after half an hour, all after eight hours (OWASP's figures for
sensitive applications: https://cheatsheetseries.owasp.org/cheatsheets/Session_Management_Cheat_Sheet.html).
"""

import datetime as dt
import secrets
from collections.abc import Callable
from dataclasses import dataclass

from marketplace.db import Database
from marketplace.errors import MarketplaceError
from marketplace.identity.model import Person, token_hash
from marketplace.identity.service import Sessions
from marketplace.identity.store import Directory
from marketplace.portal import store
from marketplace.portal.store import StoredBrowser

IDLE = dt.timedelta(minutes=30)
LONGEST = dt.timedelta(hours=8)
_SEEN_STEP = dt.timedelta(minutes=1)
"""A browser's last sight is written at most this often."""


@dataclass(frozen=True, slots=True)
class Browser:
    """A signed-in browser and its user."""

    person: Person
    csrf: str
    language: str


class Browsers:
    """All signed-in browsers."""

    def __init__(
        self,
        database: Database,
        directory: Directory,
        sessions: Sessions,
        clock: Callable[[], dt.datetime],
    ) -> None:
        """`sessions` logs every opening and refusal."""
        self._database, self._directory = database, directory
        self._sessions, self._clock = sessions, clock

    def sign_in(self, token: str) -> str:
        """Return a new cookie for the holder of `token`; AUTHENTICATION if nobody holds it."""
        person = self._sessions.open(token).person
        cookie, now = secrets.token_urlsafe(32), self._clock()
        stored = StoredBrowser(
            token_hash(token), secrets.token_urlsafe(32), person.language, now, now
        )
        with self._database.writing() as connection:
            store.remove_older(connection, now - IDLE)
            store.add(connection, token_hash(cookie), stored)
        return cookie

    def find(self, cookie: str) -> Browser:
        """Return the browser that holds `cookie`; AUTHENTICATION if it is not signed in."""
        name, now = token_hash(cookie), self._clock()
        with self._database.reading() as connection:
            stored = store.find(connection, name)
        person = None if stored is None else self._directory.holder(stored.token_sha256)
        if stored is None or person is None or _is_over(stored, now):
            raise MarketplaceError("AUTHENTICATION", "Please sign in.", "请先登录。")
        if now - stored.seen > _SEEN_STEP:
            with self._database.writing() as connection:
                store.touch(connection, name, now)
        return Browser(person, stored.csrf, stored.language)

    def speak(self, cookie: str, language: str) -> None:
        """Let a browser's pages be in another language."""
        with self._database.writing() as connection:
            store.speak(connection, token_hash(cookie), language)

    def sign_out(self, cookie: str) -> None:
        """Forget a browser: its cookie opens nothing any more."""
        with self._database.writing() as connection:
            store.remove(connection, token_hash(cookie))


def _is_over(stored: StoredBrowser, now: dt.datetime) -> bool:
    return now - stored.seen > IDLE or now - stored.created > LONGEST
