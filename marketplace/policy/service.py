"""Policies and decisions as people read them; who reads others' decisions is logged."""

from datetime import datetime

from marketplace.access.desk import Desk
from marketplace.audit import store as log
from marketplace.audit.entry import Event, Plain
from marketplace.db import Database
from marketplace.errors import MarketplaceError
from marketplace.identity.model import Person
from marketplace.policy import store
from marketplace.policy.book import PolicyBook, Rule
from marketplace.policy.store import Kept
from marketplace.window import NEWEST, Window


def put_in_force(database: Database, book: PolicyBook, now: datetime) -> bool:
    """Log and keep policies that differ from those of the last start; say whether they did."""
    with database.reading() as connection:
        if store.in_force(connection) == book.version:
            return False
    with database.writing() as connection:
        facts: dict[str, Plain] = {"version": book.version, "policies": len(book.rules)}
        entry = log.append(connection, Event.POLICY_IN_FORCE, now, facts)
        store.enforce(connection, book, entry.index, now)
    return True


class Decisions:
    """Readings."""

    def __init__(self, desk: Desk) -> None:
        """Share the desk of the access workflow."""
        self._desk = desk

    @property
    def rules(self) -> tuple[Rule, ...]:
        """Return the policies in force."""
        return self._desk.book.rules

    @property
    def version(self) -> str:
        """Return the digest of the policies in force."""
        return self._desk.book.version

    def latest(self, person: Person, window: Window = NEWEST) -> list[Kept]:
        """Return the newest decisions: all to overseers, who are logged; else the own ones."""
        try:
            made = self._desk.decide(person, "oversee", "Lab", "lab", {})
        except MarketplaceError:
            with self._desk.database.reading() as connection:
                return store.latest(connection, person.tenant, window)
        with self._desk.database.writing() as connection:
            facts = {"organisation": person.tenant}
            bound = {"subject": person.user}
            self._desk.enter(connection, Event.DECISIONS_READ, {**facts}, bound, (made,))
            return store.latest(connection, None, window)
