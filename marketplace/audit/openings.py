"""The audit administrator's acts: open, erase, purge. Each is an entry before it has an effect.

Opening takes the administrator's own key, which the service sees for one request and never keeps.
Erasing and purging drop salts and texts; commitments, and so the tree, stay as they are. What is
opened of one subject is complete, and whoever holds the log can check that (`verifier`).

Retention, sample periods after domain practice: three years for records of processing, five for
releases (个人信息保护法 第五十六条; 网络数据安全管理条例 第十二条). Texts are not purged earlier.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import Connection, select

from marketplace.audit import store
from marketplace.audit.entry import Event, Plain
from marketplace.audit.people import People
from marketplace.audit.published import Log
from marketplace.audit.readings import administrator
from marketplace.audit.vault import Opener, Vault, proof_base64
from marketplace.db import Database
from marketplace.errors import MarketplaceError
from marketplace.identity.model import Person

FORM = "digital-lab/opening/1"
MOST = 1_000
"""Entries opened by one request that names them."""

YEARS = 3
YEARS_OF: Mapping[str, int] = {Event.RELEASE_RECORDED: 5}
"""Years for which texts are kept at least: all, and events with a longer time. Samples, not law."""

DAYS_OF_A_YEAR = 366


class Basis(StrEnum):
    """Why something may be opened, erased or purged."""

    SUBJECT_REQUEST = "subject-request"
    REGULATOR_REQUEST = "regulator-request"
    COURT_ORDER = "court-order"
    INCIDENT = "incident"
    RETENTION = "retention"


@dataclass(frozen=True, slots=True)
class Ground:
    """A stated basis: its kind in clear, its reference (a case number) as a commitment."""

    basis: Basis
    reference: str


class Openings:
    """What the audit administrator may do with sealed texts."""

    def __init__(
        self, database: Database, log: Log, vault: Vault, clock: Callable[[], datetime]
    ) -> None:
        """Work on the log of one home."""
        self._database, self._log, self._vault, self._clock = database, log, vault, clock

    def open_entries(
        self, person: Person, ground: Ground, identity: str, indexes: Sequence[int]
    ) -> list[dict[str, Plain]]:
        """Return the texts of some entries; erased and purged ones come back without."""
        administrator(person)
        if not 0 < len(indexes) <= MOST:
            raise _bad(f"name 1 to {MOST} entries", f"请指定 1 至 {MOST} 个条目")
        opener = self._opener(identity)
        self._note(Event.LOG_OPENED, person, ground, {"entries": [*sorted(indexes)]})
        with self._database.reading() as connection:
            return self._texts(connection, opener, sorted(set(indexes)))

    def open_subject(
        self, person: Person, ground: Ground, identity: str, subject: str
    ) -> dict[str, Plain]:
        """Return all entries of one subject, with what shows that none is left out."""
        administrator(person)
        opener, tag = self._opener(identity), self._vault.tag(subject)
        with self._database.reading() as connection:
            if store.subject_key(connection, self._vault, tag) is None:
                raise _unknown_subject()
        self._note(Event.LOG_OPENED, person, ground, {}, subject)
        with self._database.reading() as connection:
            known = store.subject_key(connection, self._vault, tag)
            if known is None:
                raise _unknown_subject()
            size, indexes = store.size(connection), store.entries_about(connection, tag)
            texts = self._texts(connection, opener, indexes)
        key, salt = known
        return {
            "form": FORM,
            "origin": self._log.key.name,
            "size": size,
            "basis": ground.basis.value,
            "subject": subject,
            "subjects_key": self._vault.subjects_pem,
            "proof": proof_base64(self._vault.proof(subject)),
            "key": key.hex(),
            "key_salt": salt.hex(),
            "entries": [*texts],
        }

    def erase(self, person: Person, ground: Ground, subject: str) -> int:
        """Drop a subject's salts, texts and keys, and the name; return of how many entries.

        The bytes are gone from the database's files when this returns, or as soon as whoever reads
        there has done.
        """
        administrator(person)
        tag = self._vault.tag(subject)
        with self._database.writing() as connection:
            logged = store.subject_key(connection, self._vault, tag) is not None
            if not People(connection).forget(subject) and not logged:
                raise _unknown_subject()
            indexes = store.entries_about(connection, tag)
            erased: dict[str, Plain] = {"subject_erased": tag, "entries": len(indexes)}
            self._append(connection, Event.SUBJECT_ERASED, person, ground, erased)
            store.erase(connection, tag, indexes)
        self._database.scrub()
        return len(indexes)

    def purge(self, person: Person, ground: Ground) -> int:
        """Drop salts and texts whose time is over; return of how many entries."""
        administrator(person)
        now = self._clock()
        with self._database.writing() as connection:
            due = _due(connection, now)
            periods: dict[str, Plain] = {"years": YEARS, "entries": len(due)}
            self._append(connection, Event.LOG_PURGED, person, ground, periods)
            store.purge(connection, due)
        self._database.scrub()
        return len(due)

    def _opener(self, identity: str) -> Opener:
        with self._database.reading() as connection:
            wrapped = store.wrapped_keys(connection)
        try:
            return Opener(identity, wrapped)
        except ValueError as error:
            raise MarketplaceError(
                "FORBIDDEN",
                "The key is not the audit administrator's, so nothing can be opened with it.",
                "该密钥不是审计管理员的密钥，无法用于开示。",
            ) from error

    def _texts(
        self, connection: Connection, opener: Opener, indexes: Sequence[int]
    ) -> list[dict[str, Plain]]:
        fields: dict[int, list[Plain]] = {index: [] for index in indexes}
        for row in store.sealed(connection, indexes):
            salt, text = opener.open(row.run_key, row.sealed, row.entry_index, row.field)
            one: dict[str, Plain] = {"field": row.field, "salt": salt.hex(), "text": text}
            fields[row.entry_index].append(one)
        return [{"index": index, "fields": found} for index, found in fields.items()]

    def _note(
        self,
        event: Event,
        person: Person,
        ground: Ground,
        facts: dict[str, Plain],
        opened: str = "",
    ) -> None:
        with self._database.writing() as connection:
            # By id: the entry is the administrator's, and outlives whom it is about.
            bound = {"opened": People(connection).enrol(opened)} if opened else {}
            self._append(connection, event, person, ground, facts, bound)

    def _append(
        self,
        connection: Connection,
        event: Event,
        person: Person,
        ground: Ground,
        facts: dict[str, Plain],
        bound: dict[str, str] | None = None,
    ) -> None:
        stated: dict[str, Plain] = {"basis": ground.basis.value, "tenant": person.tenant, **facts}
        hidden = {"subject": person.user, "reference": ground.reference, **(bound or {})}
        store.append(connection, event, self._clock(), stated, hidden)


def _due(connection: Connection, now: datetime) -> list[int]:
    """Return the entries with sealed texts whose period is over, oldest first."""
    texts = store.sealed_texts.c
    held = select(texts.entry_index).where(texts.sealed.is_not(None)).distinct()
    due = []
    for index in connection.execute(held.order_by(texts.entry_index)).scalars():
        body = json.loads(store.entry(connection, index))
        age = now - datetime.fromisoformat(body["time"])
        if age <= timedelta(days=YEARS * DAYS_OF_A_YEAR):
            break  # entries are in order of time
        if age > timedelta(days=YEARS_OF.get(body["event"], YEARS) * DAYS_OF_A_YEAR):
            due.append(index)
    return due


def _unknown_subject() -> MarketplaceError:
    return MarketplaceError(
        "NOT_FOUND",
        "The log holds no entries of this subject that can be found: none was made, or they were "
        "erased.",
        "日志中没有可查的该主体条目：从未产生，或已被清除。",
    )


def _bad(en: str, zh: str) -> MarketplaceError:
    return MarketplaceError("BAD_REQUEST", f"{en}.", f"{zh}。")
