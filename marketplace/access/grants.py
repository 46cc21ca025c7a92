"""Grants after they were made, and the stops above all of them: revoke, stop, lift."""

import secrets
from datetime import timedelta

from sqlalchemy import Connection

from marketplace.access import grant_store
from marketplace.access.desk import Desk, Said, not_found
from marketplace.access.grant_store import LAB, REVOKED, TABLE, TENANT, Held, Stop
from marketplace.audit.entry import Event
from marketplace.errors import MarketplaceError
from marketplace.identity.model import Person

WARN_DAYS = 7
"""How long before its end the holder of a grant is told."""

KINDS = {TABLE: "Table", TENANT: "Tenant", LAB: "Lab"}


class Grants:
    """What can still happen to a grant."""

    def __init__(self, desk: Desk) -> None:
        """Share the desk of the package."""
        self._desk = desk

    def visible(self, person: Person) -> list[Held]:
        """Return one's organisation's grants, and those of tables that it provides."""
        provided = [t for t in self._desk.tables() if self._provider(t) == person.tenant]
        with self._desk.database.reading() as connection:
            mine = grant_store.of_tenant(connection, person.tenant)
            others = grant_store.of_tables(connection, provided)
        known = {h.grant.id for h in mine}
        return [*mine, *(h for h in others if h.grant.id not in known)]

    def revoke(self, person: Person, grant_id: str, reason: str) -> Held:
        """Take a grant away at once: the next reservation under it is refused."""
        held: Held | None = None
        try:
            with self._desk.database.writing() as connection:
                held = grant_store.get(connection, grant_id)
                if held is None:
                    raise not_found()
                context = {
                    "holder": held.grant.tenant,
                    "provider": self._provider(held.grant.table),
                }
                made = self._desk.decide(person, "revoke", "Table", held.grant.table, context)
                if held.state == REVOKED:
                    return held
                grant_store.revoke(connection, grant_id, self._desk.time())
                facts = {"tenant": held.grant.tenant, "grant": grant_id}
                bound = {"subject": person.user, "table": held.grant.table, "reason": reason}
                self._desk.enter(connection, Event.GRANT_REVOKED, {**facts}, bound, (made,))
                said = Said(
                    f"Your organisation's grant for {held.grant.table} was revoked.",
                    f"贵机构对 {held.grant.table} 的授权已被撤销。",
                )
                self._tell(connection, held.grant.tenant, "grant:revoked", grant_id, said)
        except MarketplaceError as denial:
            self._desk.refuse(person, "revoke", grant_id, denial)
            if held is not None and not self._may_see(person, held):
                raise not_found() from denial
            raise
        return Held(held.grant, REVOKED)

    def stop(self, person: Person, scope: str, target: str, reason: str) -> Stop:
        """Stop access to a table, of a tenant, or all of it, from the next step on."""
        try:
            if not self._is_there(scope, target):
                raise not_found()
            with self._desk.database.writing() as connection:
                made = self._desk.decide(person, "stop", KINDS[scope], target or LAB, {})
                stop = Stop(
                    secrets.token_hex(16), scope, target, reason, person.user, self._desk.time()
                )
                grant_store.pull(connection, stop)
                bound = {"subject": person.user, "target": target, "reason": reason}
                facts = {"stop": stop.id, "scope": scope, "organisation": person.tenant}
                self._desk.enter(connection, Event.ACCESS_STOPPED, {**facts}, bound, (made,))
                said = Said(
                    f"Access was stopped ({scope} {target}).",
                    f"访问已紧急停止（{scope} {target}）。",
                )
                told = [*self._desk.holders("security-admin"), *self._desk.holders("approver")]
                self._desk.tell(connection, told, "access:stopped", stop.id, said)
                if scope == TENANT:
                    self._tell(connection, target, "access:stopped", stop.id, said)
        except MarketplaceError as denial:
            self._desk.refuse(person, "stop", f"{scope} {target}", denial)
            raise
        return stop

    def lift(self, person: Person, stop_id: str) -> Stop:
        """End a stop; another person than who pulled it."""
        try:
            with self._desk.database.writing() as connection:
                stop = grant_store.stop(connection, stop_id)
                if stop is None:
                    raise not_found()
                context = {"stoppedBy": stop.by}
                kind, target = KINDS[stop.scope], stop.target or LAB
                made = self._desk.decide(person, "lift", kind, target, context)
                if stop.lifted is not None:
                    return stop
                grant_store.lift(connection, stop_id, person.user, self._desk.time())
                facts = {"stop": stop.id, "scope": stop.scope, "organisation": person.tenant}
                bound = {"subject": person.user, "target": stop.target}
                self._desk.enter(connection, Event.ACCESS_RESUMED, {**facts}, bound, (made,))
                found = grant_store.stop(connection, stop_id)
        except MarketplaceError as denial:
            self._desk.refuse(person, "lift", stop_id, denial)
            if stop_id not in (s.id for s in self.stops(person)):
                raise not_found() from denial
            raise
        return found or stop

    def stops(self, person: Person) -> list[Stop]:
        """Return stops, newest first: those of an organisation to it and to who may stop it."""
        with self._desk.database.reading() as connection:
            found = grant_store.all_stops(connection)
        sees_all = self._may(person, "oversee", "Lab", LAB)
        return [
            s
            for s in found
            if s.scope != TENANT
            or s.target == person.tenant
            or sees_all
            or self._may(person, "stop", "Tenant", s.target)
        ]

    def _may_see(self, person: Person, held: Held) -> bool:
        sides = (held.grant.tenant, self._provider(held.grant.table))
        return person.tenant in sides or self._desk.oversees(person)

    def renewable(self, person: Person, grant_id: str) -> Held:
        """Return an own grant that a new request may follow; revoked ones are asked for anew."""
        with self._desk.database.reading() as connection:
            held = grant_store.get(connection, grant_id)
        if held is None or held.grant.tenant != person.tenant:
            raise not_found()
        if held.state == REVOKED:
            raise not_renewable()
        return held

    def warn(self) -> int:
        """Tell holders of grants that end soon, each once. Return how many."""
        now = self._desk.clock()
        soon = int((now + timedelta(days=WARN_DAYS)).timestamp())
        with self._desk.database.writing() as connection:
            ending = grant_store.to_warn(connection, int(now.timestamp()), soon)
            for grant in ending:
                said = Said(
                    f"Your organisation's grant for {grant.table} ends soon; ask for a renewal.",
                    f"贵机构对 {grant.table} 的授权即将到期，请申请续期。",
                )
                self._tell(connection, grant.tenant, "grant:ending", grant.id, said)
                grant_store.warned(connection, grant.id, self._desk.time())
        return len(ending)

    def may_revoke(self, person: Person, held: Held) -> bool:
        """Whether policy lets a person take a grant away that was not taken away yet."""
        table = held.grant.table
        context = {"holder": held.grant.tenant, "provider": self._provider(table)}
        return held.state != REVOKED and self._may(person, "revoke", "Table", table, context)

    def stoppable(self, person: Person) -> list[tuple[str, str]]:
        """Return what policy lets a person stop: scopes and targets."""
        tables = [(TABLE, name) for name in self._desk.tables()]
        tenants = [(TENANT, name) for name in sorted({p.tenant for p in self._desk.people()})]
        return [
            (scope, target)
            for scope, target in ((LAB, ""), *tenants, *tables)
            if self._may(person, "stop", KINDS[scope], target or LAB)
        ]

    def may_lift(self, person: Person, stop: Stop) -> bool:
        """Whether policy lets a person end a stop that is in force."""
        kind, target = KINDS[stop.scope], stop.target or LAB
        context = {"stoppedBy": stop.by}
        return stop.lifted is None and self._may(person, "lift", kind, target, context)

    def _may(
        self,
        person: Person,
        action: str,
        kind: str,
        name: str,
        context: dict[str, str] | None = None,
    ) -> bool:
        try:
            self._desk.decide(person, action, kind, name, context or {})
        except MarketplaceError:
            return False
        return True

    def _is_there(self, scope: str, target: str) -> bool:
        """Whether there is something to stop: a misspelt name would stop nothing, unnoticed."""
        match scope:
            case "table":
                return self._desk.facts(target) is not None
            case "tenant":
                return any(p.tenant == target for p in self._desk.people())
            case _:
                return True

    def _provider(self, table: str) -> str:
        facts = self._desk.facts(table)
        return "" if facts is None else facts.provider

    def _tell(
        self, connection: Connection, tenant: str, event: str, about: str, said: Said
    ) -> None:
        users = [p.user for p in self._desk.people() if p.tenant == tenant]
        self._desk.tell(connection, users, event, about, said)


def not_renewable() -> MarketplaceError:
    """Refuse to follow a grant that was taken away."""
    return MarketplaceError(
        "WRONG_STATE",
        "This grant was revoked, so it is not renewed. Make a new request.",
        "该授权已被撤销，不能续期，请重新申请。",
    )
