"""Files that providers deliver with a version: checked when they come, live when it is published.

What was delivered lies sealed in the lake until its version is published, is delivered anew, or
changes. Its digest enters that of the version, so an examination binds the file too. The report is
the provider's alone.
"""

import hashlib
import json
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import (
    Column,
    Connection,
    ForeignKey,
    Integer,
    LargeBinary,
    String,
    Table,
    delete,
    insert,
    select,
    update,
)

from marketplace.access.desk import Desk
from marketplace.audit.entry import Event, Plain
from marketplace.audit.people import People
from marketplace.catalogue import refusals, store
from marketplace.catalogue.lake import Encoding, Form, Lake
from marketplace.catalogue.page import Page
from marketplace.catalogue.service import Catalogue
from marketplace.catalogue.states import OPEN, Actor
from marketplace.db import metadata
from marketplace.errors import MarketplaceError

deliveries = Table(
    "catalogue_deliveries",
    metadata,
    Column("resource", String(32), ForeignKey("catalogue_resources.id"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("name", String(32), nullable=False, comment="under which the lake holds it"),
    Column("digest", String(64), nullable=False, comment="of the version with it"),
    Column("user", String(64), nullable=False, comment="opaque id"),
    Column("report", LargeBinary, nullable=False, comment="sealed JSON, for who delivered"),
    Column("time", String(32), nullable=False),
)


@dataclass(frozen=True, slots=True)
class Delivered:
    """A delivery as its provider sees it."""

    resource: str
    version: int
    digest: str
    """Of the version with this file."""
    report: dict[str, Any] | None
    """None once who delivered it was erased."""
    time: str


class Deliveries:
    """Takes files in, and lets them become tables."""

    def __init__(
        self,
        desk: Desk,
        catalogue: Catalogue,
        lake: Lake,
        contract: Callable[[str], Path | None],
        spool: Path,
    ) -> None:
        """`contract` finds a table's contract; `spool` takes files for as long as they are read."""
        self._desk, self._catalogue, self._lake = desk, catalogue, lake
        self._contract, self._spool = contract, spool
        self._lock = threading.Lock()

    def spool(self, actor: Actor, id_: str, number: int, form: Form) -> Path:
        """Return where to write a file that this person may deliver now; refuse before reading."""
        page = self._catalogue.page(actor, id_, number)
        self._check(page, actor)
        self._spool.mkdir(mode=0o700, parents=True, exist_ok=True)
        return self._spool / f"{secrets.token_hex(16)}.{form.value}"

    def deliver(
        self, actor: Actor, id_: str, number: int, file: Path, encoding: Encoding
    ) -> Delivered:
        """Check a spooled file and keep it with the version; a refused one changes nothing."""
        with self._lock:  # one at a time: a check takes the memory of an ingest
            contract = self._check(self._catalogue.page(actor, id_, number), actor)
            name = secrets.token_hex(16)
            report = self._lake.hold(name, contract, file, encoding)
            try:
                with file.open("rb") as content:
                    hashed = hashlib.file_digest(content, "sha256").hexdigest()
                with self._desk.database.writing() as connection:
                    digest = self._catalogue.delivered(
                        connection, actor, id_, number, f"{name}:{hashed}"
                    )
                    made = Delivered(id_, number, digest, report, self._desk.time())
                    _write(connection, made, name, actor.user)
            except BaseException:
                self._lake.drop([name])
                raise
            self._sweep()
        return made

    def report(self, actor: Actor, id_: str, number: int) -> Delivered:
        """Return the report of what was delivered, to its provider only."""
        page = self._catalogue.page(actor, id_, number)
        with self._desk.database.reading() as connection:
            found = _read(connection, id_, number)
        if found is None or actor.organisation != page.version.provider:
            raise MarketplaceError(
                "NOT_FOUND", "No file was delivered with this version.", "该版本未交付文件。"
            )
        return found

    def publish(self, actor: Actor, id_: str, number: int, digest: str) -> Page:
        """Publish a version; what was delivered with it becomes its table's version first.

        Both may be asked again: a table that has the file already is left as it is, so whoever was
        interrupted in between publishes by asking again.
        """
        with self._lock:
            page = self._catalogue.may_publish(actor, id_, number, digest)
            with self._desk.database.reading() as connection:
                name = _name(connection, id_, number, page.version.digest)
            if name is None:
                return self._catalogue.publish(actor, id_, number, digest)
            table = page.resource.table_name
            version = self._lake.take(name, self._required(table))

            def enter(connection: Connection) -> None:
                facts: dict[str, Plain] = {
                    "table": table,
                    "version": version,
                    "resource": id_,
                    "number": number,
                }
                bound = {"subject": actor.user}
                self._desk.enter(connection, Event.TABLE_INGESTED, facts, bound)
                # The report stays; the file is the table's now.
                connection.execute(update(deliveries).where(_is(id_, number)).values(name=""))

            page = self._catalogue.publish(actor, id_, number, digest, also=enter)
            self._lake.drop([name])
            return page

    def tidy(self) -> int:
        """Due work: let go of files whose version was changed or withdrawn. Return how many."""
        with self._lock:
            with self._desk.database.reading() as connection:
                stale = sorted(_all_names(connection) - _names(connection))
            if stale:
                self._lake.drop(stale)
                with self._desk.database.writing() as connection:
                    gone = deliveries.c.name.in_(stale)
                    connection.execute(update(deliveries).where(gone).values(name=""))
        return len(stale)

    def _check(self, page: Page, actor: Actor) -> Path:
        """Return the contract under which a file of this version is read; refuse what has none."""
        version, table = page.version, page.resource.table_name
        if version.provider != actor.organisation:
            raise refusals.not_found()
        if version.state not in OPEN:
            raise MarketplaceError(
                "WRONG_STATE",
                f"This version is {version.state}. A file is delivered with a draft.",
                f"该版本处于“{version.state}”状态，仅草稿可交付文件。",
            )
        return self._required(table)

    def _required(self, table: str) -> Path:
        found = self._contract(table) if table else None
        if found is None:
            raise MarketplaceError(
                "NO_CONTRACT",
                f"There is no contract for the table {table or '(none named)'}, so nobody knows "
                "how to read and bound its rows. Name a table whose contract the bureau put in "
                "force.",
                "该资源未关联有效的数据合约，无法接收文件，请先由大数据局发布数据合约。",
            )
        return found

    def _sweep(self) -> None:
        """Let go of what no version holds any more: an earlier file, or a run that was killed."""
        with self._desk.database.reading() as connection:
            known = _names(connection)
        self._lake.drop([name for name in self._lake.held() if name not in known])


def _is(resource: str, number: int) -> Any:  # noqa: ANN401  # SQLAlchemy's expression
    return (deliveries.c.resource == resource) & (deliveries.c.number == number)


def _write(connection: Connection, made: Delivered, name: str, user: str) -> None:
    people = People(connection)
    who = people.enrol(user)
    connection.execute(delete(deliveries).where(_is(made.resource, made.version)))
    place = _place(made.resource, made.version)
    connection.execute(
        insert(deliveries).values(
            resource=made.resource,
            number=made.version,
            name=name,
            digest=made.digest,
            user=who,
            report=people.seal(who, place, json.dumps(made.report)),
            time=made.time,
        )
    )


def _read(connection: Connection, resource: str, number: int) -> Delivered | None:
    row = connection.execute(select(deliveries).where(_is(resource, number))).first()
    if row is None:
        return None
    said = People(connection).read(row.user, _place(resource, number), bytes(row.report))
    report = None if said is None else json.loads(said)
    return Delivered(resource, number, row.digest, report, row.time)


def _name(connection: Connection, resource: str, number: int, digest: str) -> str | None:
    """Return the name of the file that belongs to exactly this content, if it is held."""
    c = deliveries.c
    wanted = select(c.name).where(_is(resource, number), c.digest == digest, c.name != "")
    return connection.execute(wanted).scalar_one_or_none()


def _names(connection: Connection) -> set[str]:
    """Return the files that versions wait for: of content that is still the version's."""
    v, d = store.versions.c, deliveries.c
    same = (v.resource == d.resource) & (v.number == d.number) & (v.digest == d.digest)
    live = v.state.not_in(["withdrawn", "superseded", "published"])
    wanted = select(d.name).join(store.versions, same).where(d.name != "", live)
    return set(connection.execute(wanted).scalars())


def _all_names(connection: Connection) -> set[str]:
    wanted = select(deliveries.c.name).where(deliveries.c.name != "")
    return set(connection.execute(wanted).scalars())


def _place(resource: str, number: int) -> str:
    return f"catalogue_deliveries/{resource}/{number}"
