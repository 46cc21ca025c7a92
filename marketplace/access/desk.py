"""What all services of this package share: judging a step, logging it, telling people."""

import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from marketplace.access import store
from marketplace.access.gate import attributes, resource
from marketplace.access.store import Notice
from marketplace.audit import store as log
from marketplace.audit.entry import Event, Plain
from marketplace.db import Database
from marketplace.errors import AccessDeniedError, MarketplaceError
from marketplace.identity.model import Person
from marketplace.policy import store as decisions
from marketplace.policy.book import PolicyBook
from marketplace.policy.facts import FactsSource
from marketplace.policy.model import Decision, Inputs, digest


@dataclass(frozen=True, slots=True)
class Within:
    """What of a table a step is about, and as of when."""

    connection: Connection | None = None
    """Without one: as files state it."""
    fields: tuple[str, ...] = ()
    """Empty: all of them."""


@dataclass(frozen=True, slots=True)
class Desk:
    """One place that decides, logs and tells."""

    database: Database
    book: PolicyBook
    facts: FactsSource
    people: Callable[[], tuple[Person, ...]]
    clock: Callable[[], datetime]

    def tables(self) -> list[str]:
        """Return the names of all tables that facts are known of."""
        return sorted(getattr(self.facts, "names", ()))

    def decide(
        self,
        person: Person,
        action: str,
        kind: str,
        name: str,
        context: Mapping[str, Any],
        *,
        roles: tuple[str, ...] | None = None,
        within: "Within | None" = None,
    ) -> Decision:
        """Return the decision that permits a step; `AccessDeniedError` if there is none.

        `roles`, for a stand-in, are those of both persons: what either may not do stays forbidden.
        `within`: judge a table on the state of a transaction, and some of its fields only.
        """
        within = within or Within()
        facts = self.facts(name, within.connection) if kind == "Table" else None
        shown = attributes(person) | ({} if roles is None else {"roles": sorted(set(roles))})
        audience = str(context.get("requester", ""))
        about = resource(facts, audience, within.fields) if kind == "Table" else {}
        words = {
            "table": name,
            "grade": (facts.grade if facts else "") or "-",
            "lane": str(context.get("lane", "")),
            "lanes": ", ".join(facts.operate_lanes) if facts else "",
            "provider": facts.provider if facts else "",
        }
        if facts is not None and facts.gap[0]:
            words |= {"gap_en": facts.gap[0], "gap_zh": facts.gap[1]}
        made = self.book.decide(
            Inputs(action, person.user, shown, kind, name, about, dict(context), words)
        )
        if not made.allowed:
            raise AccessDeniedError(made)
        return made

    def oversees(self, person: Person) -> bool:
        """Whether policy lets a person see what all organisations do."""
        try:
            self.decide(person, "oversee", "Lab", "lab", {})
        except AccessDeniedError:
            return False
        return True

    def enter(
        self,
        connection: Connection,
        event: Event,
        facts: dict[str, Plain],
        bound: dict[str, str],
        made: tuple[Decision, ...] = (),
    ) -> None:
        """Append the entry of a step, with the decisions behind it."""
        now = self.clock()
        if made:
            bound = {**bound, "decisions": digest(made)}
        entry = log.append(connection, event, now, facts, bound)
        decisions.save(connection, entry.index, now, made)

    def refuse(self, person: Person, what: str, about: str, denial: MarketplaceError) -> None:
        """Log a step that was refused, in a transaction of its own."""
        made: tuple[Decision, ...] = ()
        facts: dict[str, Plain] = {"step": what, "tenant": person.tenant, "code": denial.code}
        if isinstance(denial, AccessDeniedError):
            made = denial.made
            facts["policy"] = denial.denial.policy
        with self.database.writing() as connection:
            bound = {"subject": person.user, "about": about}
            self.enter(connection, Event.ACCESS_DENIED, facts, bound, made)

    def tell(
        self, connection: Connection, users: Iterable[str], event: str, about: str, said: "Said"
    ) -> None:
        """Write a notice for each of some people."""
        for user in sorted(set(users)):
            name = secrets.token_hex(16)
            notice = Notice(name, user, event, about, said.en, said.zh, self.time())
            store.tell(connection, notice)

    def holders(self, role: str, organisation: str | None = None) -> list[str]:
        """Return the people with a role, of one organisation or of all."""
        return [
            p.user for p in self.people() if role in p.roles and organisation in (None, p.tenant)
        ]

    def time(self) -> str:
        """Return the present time as it is stored."""
        return self.clock().isoformat(timespec="milliseconds")


@dataclass(frozen=True, slots=True)
class Said:
    """A notice in both languages."""

    en: str
    zh: str


def not_found() -> MarketplaceError:
    """Refuse what is not there, or not for the caller: both sound the same (attack H1)."""
    return MarketplaceError(
        "NOT_FOUND",
        "There is no such thing, or it is not yours to see.",
        "没有该对象，或您无权查看。",
    )
