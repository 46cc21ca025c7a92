"""Requests and grants of all organisations, for overseers by policy; their looks are entries."""

from marketplace.access import grant_store, store
from marketplace.access.desk import Desk
from marketplace.access.grant_store import Held
from marketplace.access.store import Kept
from marketplace.audit.entry import Event
from marketplace.audit.looks import Looks
from marketplace.errors import MarketplaceError
from marketplace.identity.model import Person


class Overview:
    """The bureau's view, and the regulator's."""

    def __init__(self, desk: Desk) -> None:
        """Share the desk of the package; remember looks in this process only."""
        self._desk = desk
        self._looks = Looks(desk.clock)

    def requests(self, person: Person) -> list[Kept]:
        """Return all requests, the longest in their state first; ROLE_REFUSED to others."""
        self._note(person)
        with self._desk.database.reading() as connection:
            return store.in_states(connection)

    def grants(self, person: Person) -> list[Held]:
        """Return all grants, the latest end first; ROLE_REFUSED to others."""
        self._note(person)
        with self._desk.database.reading() as connection:
            return grant_store.everything(connection)

    def oversees(self, person: Person) -> bool:
        """Whether policy lets a person see what all organisations do."""
        return self._desk.oversees(person)

    def _note(self, person: Person) -> None:
        try:
            made = self._desk.decide(person, "oversee", "Lab", "lab", {})
        except MarketplaceError as denial:
            self._desk.refuse(person, "oversee", "lab", denial)
            raise
        if not self._looks.is_entry(person.user):
            return
        with self._desk.database.writing() as connection:
            facts = {"organisation": person.tenant}
            bound = {"subject": person.user}
            self._desk.enter(connection, Event.OVERVIEW_READ, {**facts}, bound, (made,))
