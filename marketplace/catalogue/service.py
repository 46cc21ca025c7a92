"""Use cases of the catalogue: look for a resource, write one, have it reviewed, publish it.

Each act is one transaction with its log entry. The review itself belongs to whoever decides about
access; it calls `review`, which binds the digest of what was reviewed. Nothing else approves.
"""

import hashlib
import secrets
import uuid
from collections.abc import Callable, Iterable
from datetime import date, datetime

from sqlalchemy import Connection

from marketplace.audit import store as log
from marketplace.audit.entry import Event
from marketplace.catalogue import listing, refusals, store
from marketplace.catalogue.model import Resource
from marketplace.catalogue.page import SILENT, Grades, Page, Said
from marketplace.catalogue.search import Found, Query, Search, Searches
from marketplace.catalogue.states import (
    LAB,
    Act,
    Actor,
    State,
    Version,
)
from marketplace.catalogue.store import Content
from marketplace.db import Database
from marketplace.errors import MarketplaceError
from marketplace.grading.model import (
    Level,
    grade_of,
    lanes_of,
    table_level,
)
from marketplace.grading.negative_list import Scope, blocks
from marketplace.grading.policy import Policies
from marketplace.policy import store as decisions
from marketplace.policy.model import Decision
from marketplace.policy.model import digest as made_digest
from marketplace.stamp import unconditional


class Catalogue:
    """The catalogue of one marketplace."""

    def __init__(
        self,
        database: Database,
        policies: Policies,
        clock: Callable[[], datetime],
        new_id: Callable[[], str] = lambda: uuid.uuid4().hex,
        owns: Callable[[str, str], bool] = lambda _organisation, _table: True,
        tell: Callable[[Connection, Act, Page], None] = lambda _connection, _act, _page: None,
    ) -> None:
        """Keep the parts; `new_id` names resources, `owns` says whose a table of the lab is.

        `tell` lets people know of an act, in its transaction.
        """
        self._database, self.policies = database, policies
        self._clock, self._new_id, self._owns = clock, new_id, owns
        self._tell = tell
        self._search = Search(database)
        self._searches = Searches(database, clock)

    def search(self, actor: Actor, query: Query) -> Found:
        """Return what is published and matches; the log learns who searched, not what was found."""
        self._searches.note(actor, query)
        return self._search.find(query)

    def page(self, actor: Actor, id_: str, number: int | None = None) -> Page:
        """Return a version: anybody's if it is or was published, else only the provider's own."""
        with self._database.reading() as connection:
            if number is None:
                number = store.published_number(connection, id_)
            found = store.find(connection, id_, number)
        if found is None or not refusals.may_see(actor, found[0]):
            raise refusals.not_found()
        return self.shown(*found)

    def history(self, actor: Actor, id_: str) -> list[dict[str, object]]:
        """Return the acts on a resource that the caller may see."""
        page = self.page(actor, id_)
        with self._database.reading() as connection:
            acts = store.history_of(connection, id_)
        own = actor.organisation == page.version.provider
        if own:
            return acts
        shown = [a for a in acts if a["act"] in (Act.PUBLISH, Act.SUPERSEDE, Act.WITHDRAW)]
        return [{k: v for k, v in a.items() if k not in ("user", "comment")} for a in shown]

    def create(self, actor: Actor, resource: Resource) -> Page:
        """Register a new resource of the caller's organisation, as a draft."""
        grades = self._checked(actor, resource)
        with self._database.writing() as connection:
            if store.code_is_taken(connection, resource.code):
                raise MarketplaceError(
                    "CODE_TAKEN",
                    f"Another resource has the code {resource.code}. Choose the next number.",
                    f"资源代码 {resource.code} 已被使用，请换一个序号。",
                )
            id_ = self._new_id()
            store.add_resource(connection, id_, resource)
            return self._write(connection, actor, id_, 1, resource, grades)

    def revise(self, actor: Actor, id_: str, resource: Resource) -> Page:
        """Begin the next version; what is published stays until the new version replaces it."""
        grades = self._checked(actor, resource)
        with self._database.writing() as connection:
            last, before, _ = self._own(connection, actor, id_)
            if last.state not in (State.PUBLISHED, State.WITHDRAWN):
                raise refusals.wrong_state(last)
            refusals.same_code(before, resource)
            return self._write(connection, actor, id_, last.number + 1, resource, grades)

    def edit(  # one edit
        self,
        actor: Actor,
        id_: str,
        number: int,
        resource: Resource,
        expect: Callable[[str], None] = unconditional,
    ) -> Page:
        """Replace the content of a draft; a review of the old content counts no more.

        `expect` may refuse the present version's stamp.
        """
        grades = self._checked(actor, resource)
        with self._database.writing() as connection:
            version, before, _ = self._own(connection, actor, id_, number)
            expect(version.stamp)
            refusals.same_code(before, resource)
            content = Content(resource, grades, secrets.token_hex(16))
            digest = store.digest_of(resource, content.salt)
            moved = refusals.step(version, Act.EDIT, actor, digest)
            store.write(connection, moved, content)
            self._note(connection, moved, Act.EDIT, actor)
        return self.shown(moved, resource, grades)

    def submit(self, actor: Actor, id_: str, number: int, digest: str) -> Page:
        """Ask for a review of exactly this content."""
        with self._database.writing() as connection:
            found = self._own(connection, actor, id_, number)
            return self._move(connection, found, Act.SUBMIT, actor, digest)

    def review(  # one judgement
        self,
        actor: Actor,
        id_: str,
        number: int,
        digest: str,
        *,
        approve: bool,
        comment: str = "",
        made: tuple[Decision, ...] = (),
    ) -> Page:
        """Approve or return a submitted version. Whether `actor` may is the caller's to know.

        That the reviewer is another person of another organisation is checked here. `made` are the
        decisions by which the caller knows.
        """
        with self._database.writing() as connection:
            found = store.find(connection, id_, number)
            if found is None:
                raise refusals.not_found()
            act = Act.APPROVE if approve else Act.RETURN
            return self._move(connection, found, act, actor, digest, Said(comment, made))

    def delivered(
        self, connection: Connection, actor: Actor, id_: str, number: int, file: str
    ) -> str:
        """Bind a checked file to a draft, in the caller's transaction; return the new digest."""
        found = self._own(connection, actor, id_, number)
        digest = hashlib.sha256(f"{found[0].digest}:{file}".encode()).hexdigest()
        page = self._move(connection, found, Act.UPLOAD, actor, digest)
        found = (page.version, page.resource, page.grades)
        self._move(connection, found, Act.PASS, LAB, digest)
        return digest

    def may_publish(self, actor: Actor, id_: str, number: int, digest: str) -> Page:
        """Return the version if `publish` would publish it now; refuse as it would."""
        with self._database.reading() as connection:
            found = self._own(connection, actor, id_, number)
        refusals.step(found[0], Act.PUBLISH, actor, digest)
        return self.shown(*found)

    def publish(
        self,
        actor: Actor,
        id_: str,
        number: int,
        digest: str,
        also: Callable[[Connection], None] = lambda _connection: None,
    ) -> Page:
        """Publish an approved version in place of the one before; no grade falls by it.

        `also` is done in the same transaction.
        """
        with self._database.writing() as connection:
            found = self._own(connection, actor, id_, number)
            earlier = store.published_number(connection, id_)
            # A grade falls only by a person's own decision about it, never with new content.
            last = store.last_grades(connection, id_)
            grades = {k: refusals.not_below(v, last.get(k)) for k, v in found[2].items()}
            if earlier is not None:
                before = store.find(connection, id_, earlier)
                if before is None:
                    raise AssertionError("a published version has a row")
                self._move(connection, before, Act.SUPERSEDE, LAB, before[0].digest)
            page = self._move(connection, (found[0], found[1], grades), Act.PUBLISH, actor, digest)
            store.save(connection, page.version, grades=grades)
            listing.unlist(connection, id_)
            self._enlist(connection, [(id_, page)])
            also(connection)
        return page

    def withdraw(self, actor: Actor, id_: str, number: int, digest: str) -> Page:
        """Take a published version out of the catalogue."""
        with self._database.writing() as connection:
            found = self._own(connection, actor, id_, number)
            page = self._move(connection, found, Act.WITHDRAW, actor, digest)
            listing.unlist(connection, id_)
        return page

    def set_grade(self, connection: Connection, page: Page, field: str, level: Level) -> None:
        """Give a field of a published version another grade, in the caller's transaction."""
        version, resource = page.version, page.resource
        grades = {**page.grades, field: level}
        store.save(connection, version, grades)
        listing.unlist(connection, version.resource)
        self._enlist(connection, [(version.resource, self.shown(version, resource, grades))])

    def load(self, listed: Iterable[tuple[str, Resource]]) -> int:
        """Publish made-up metadata at once, in an empty catalogue; return how many."""
        pages = []
        with self._database.writing() as connection:
            if listing.revision_of(connection):
                return 0
            for id_, resource in listed:
                if resource.origin != "synthetic":
                    raise ValueError("only synthetic metadata may skip the review")
                grades = self._grades(resource)
                digest = store.digest_of(resource, "")
                version = Version(id_, 1, resource.provider, digest, State.PUBLISHED)
                store.add_resource(connection, id_, resource)
                store.write(connection, version, Content(resource, grades))
                pages.append((id_, self.shown(version, resource, grades)))
            self._enlist(connection, pages)
            log.append(connection, Event.CATALOGUE_LOADED, self._clock(), {"resources": len(pages)})
        return len(pages)

    def shown(self, version: Version, resource: Resource, grades: Grades) -> Page:
        """Return what may be shown of a version."""
        level = table_level(grades.values())
        today = self.today()
        entries = self.policies.negative_list.entries
        # Nobody is excepted here: a page shows what is closed in general.
        closed = {
            entry.entry_id: entry
            for item in resource.items
            if (entry := blocks(entries, resource.code, item.name, Scope.OPERATE, "", today))
        }
        grading, offered = self.policies.grading, frozenset(resource.lanes)
        lanes = lanes_of(grading, level) & offered
        each = {name: lanes_of(grading, found) & offered for name, found in grades.items()}
        return Page(version, resource, grades, level, lanes, each, tuple(closed.values()))

    def _grades(self, resource: Resource) -> Grades:
        matrix = self.policies.grading.matrix
        return {item.name: grade_of(matrix, item.impacts) for item in resource.items}

    def _checked(self, actor: Actor, resource: Resource) -> Grades:
        """Return the grades of what a provider wrote; refuse what is not its own to write."""
        if (
            actor.organisation != resource.provider
            or actor.organisation not in self.policies.bodies
        ):
            raise MarketplaceError(
                "FORBIDDEN",
                "Only an organisation in the register of bodies writes, and only its own "
                "resources. Ask the bureau to enter it.",
                "仅登记在册的供数单位可编写本单位的资源，请联系大数据局登记。",
            )
        if resource.origin != "provider":
            raise MarketplaceError(
                "BAD_REQUEST", "origin: a provider writes `provider`.", "origin 应为 provider。"
            )
        if resource.table_name and not self._owns(actor.organisation, resource.table_name):
            raise MarketplaceError(
                "FORBIDDEN",
                f"The table {resource.table_name} is another organisation's. Name your own, or "
                "none.",
                f"数据表 {resource.table_name} 属于其他单位，请填写本单位的数据表或留空。",
            )
        grades = self._grades(resource)
        refused = self.policies.grading.not_admitted
        if found := sorted(name for name, level in grades.items() if level in refused):
            raise MarketplaceError(
                "GRADE_NOT_ADMITTED",
                f"Important or core data does not enter the lab: {', '.join(found)}. Leave these "
                "fields out, or ask the bureau about the lawful way.",
                f"重要数据、核心数据不得进入实验室：{'、'.join(found)}。请删除这些信息项。",
            )
        return grades

    def _own(
        self, connection: Connection, actor: Actor, id_: str, number: int | None = None
    ) -> tuple[Version, Resource, Grades]:
        found = store.find(connection, id_, number)
        if found is None or found[0].provider != actor.organisation:
            raise refusals.not_found()
        return found

    def _write(
        self,
        connection: Connection,
        actor: Actor,
        id_: str,
        number: int,
        resource: Resource,
        grades: Grades,
    ) -> Page:
        content = Content(resource, grades, secrets.token_hex(16))
        digest = store.digest_of(resource, content.salt)
        version = Version(id_, number, resource.provider, digest, author=actor.user)
        store.write(connection, version, content)
        self._note(connection, version, Act.EDIT, actor)
        return self.shown(version, resource, grades)

    def _move(
        self,
        connection: Connection,
        found: tuple[Version, Resource, Grades],
        act: Act,
        actor: Actor,
        digest: str,
        said: Said = SILENT,
    ) -> Page:
        moved = refusals.step(found[0], act, actor, digest)
        store.save(connection, moved)
        self._note(connection, moved, act, actor, said)
        page = self.shown(moved, found[1], found[2])
        self._tell(connection, act, page)
        return page

    def _note(  # one line of history
        self,
        connection: Connection,
        version: Version,
        act: Act,
        actor: Actor,
        said: Said = SILENT,
    ) -> None:
        now = self._clock()
        bound = {"subject": actor.user}
        if said.made:
            bound["decisions"] = made_digest(said.made)
        entry = log.append(
            connection,
            Event.RESOURCE_MOVED,
            now,
            {
                "resource": version.resource,
                "number": version.number,
                "act": act.value,
                "state": version.state.value,
                "digest": version.digest,
                "organisation": actor.organisation,
            },
            bound,
        )
        decisions.save(connection, entry.index, now, said.made)
        store.note(
            connection,
            actor.user,
            said.comment,
            resource=version.resource,
            number=version.number,
            act=act.value,
            organisation=actor.organisation,
            digest=version.digest,
            time=now.isoformat(timespec="milliseconds"),
            entry_index=entry.index,
        )

    def _enlist(self, connection: Connection, pages: Iterable[tuple[str, Page]]) -> None:
        bodies = self.policies.bodies
        listing.enlist(
            connection,
            (
                (id_, p.resource, p.level, p.lanes, f"{b.name_zh} {b.name_en}" if b else "")
                for id_, p in pages
                for b in (bodies.get(p.resource.provider),)
            ),
        )

    def today(self) -> date:
        """Return the day by the marketplace's clock."""
        return self._clock().date()
