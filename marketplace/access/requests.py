"""The life of an access request, each step one transaction with its log entry."""

import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection

from marketplace.access import grant_store, model, store
from marketplace.access.desk import Desk, Said, Within, not_found
from marketplace.access.grant import Grant
from marketplace.access.grants import not_renewable
from marketplace.access.model import AccessRequest, Actor, State, Terms, Verdict
from marketplace.access.store import Kept, Step
from marketplace.audit.entry import Event, Plain
from marketplace.audit.people import People
from marketplace.contracts.model import wrong_state
from marketplace.errors import MarketplaceError
from marketplace.grading.barrier import Barrier
from marketplace.identity.model import Person
from marketplace.policy.model import Decision, rank
from marketplace.stamp import unconditional

CODE = re.compile(r"[a-z][a-z0-9_-]{0,63}\Z")
Barriers = Callable[[Connection, str, tuple[str, ...], str], Barrier | None]
"""What keeps a bureau from approving some fields of a table for an organisation, if anything."""
FIELD = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}\Z")


class Requests:
    """Submit, edit, review, approve, withdraw, lapse."""

    def __init__(
        self, desk: Desk, limits: Mapping[str, Any], bureau: str, barrier: Barriers
    ) -> None:
        """`limits` is the part `requests` of `access.yaml`; `barrier` says what law forbids."""
        self._desk, self._limits, self._bureau = desk, limits, bureau
        self._barrier = barrier

    def submit(self, person: Person, terms: Terms, renews: str = "") -> AccessRequest:
        """Ask for access; the provider's reviewers are told."""
        try:
            self._check_terms(terms)
            with self._desk.database.writing() as connection:
                made = self.permit(connection, person, "request", person.tenant, terms)
                most = self._limits["open_per_organisation"]
                if store.count_open(connection, person.tenant) >= most:
                    raise _too_many(most)
                name = secrets.token_hex(16)
                rank_now = self._rank(connection, terms.table)
                request = AccessRequest(name, person.tenant, person.user, terms, rank_now, _salt())
                if renews:
                    request = self._renewal(connection, request, renews)
                store.add(connection, request, self._desk.time())
                self._step(connection, request, "submit", "", Actor(person.user, person.tenant))
                self._log(connection, Event.REQUEST_SUBMITTED, request, person, "", made)
                self._tell_judges(connection, request)
        except MarketplaceError as denial:
            self._desk.refuse(person, "request", terms.table, denial)
            raise
        return request

    def edit(
        self,
        person: Person,
        request_id: str,
        terms: Terms,
        expect: Callable[[str], None] = unconditional,
    ) -> AccessRequest:
        """Replace the text; all votes are taken back. `expect` may refuse the present stamp."""
        try:
            self._check_terms(terms)
            with self._desk.database.writing() as connection:
                before = self._own(connection, person, request_id)
                expect(before.stamp)
                made = self.permit(connection, person, "request", person.tenant, terms)
                rank_now = self._rank(connection, terms.table)
                request = model.edit(before.request, person.user, terms, rank_now, _salt())
                store.rewrite(connection, request, self._desk.time())
                self._step(connection, request, "edit", "", Actor(person.user, person.tenant))
                self._log(connection, Event.REQUEST_EDITED, request, person, "", made)
                self._tell_judges(connection, request)
        except MarketplaceError as denial:
            self._desk.refuse(person, "edit", request_id, denial)
            raise
        return request

    def review(
        self, person: Person, request_id: str, verdict: Verdict, sha256: str, comment: str
    ) -> AccessRequest:
        """Give the provider's word on the text with this digest."""
        return self._judge(person, request_id, State.REVIEW, verdict, sha256, comment)

    def approve(
        self, person: Person, request_id: str, verdict: Verdict, sha256: str, comment: str
    ) -> AccessRequest:
        """Give one approval of the text with this digest; the last one makes the grant."""
        return self._judge(person, request_id, State.APPROVAL, verdict, sha256, comment)

    def withdraw(self, person: Person, request_id: str) -> AccessRequest:
        """Take an own request back."""
        try:
            with self._desk.database.writing() as connection:
                before = self._own(connection, person, request_id)
                request = model.withdraw(before.request, person.user)
                actor = Actor(person.user, person.tenant)
                self._save(connection, request, "withdraw", "", actor, "")
                self._log(connection, Event.REQUEST_CLOSED, request, person, "withdraw", ())
        except MarketplaceError as denial:
            self._desk.refuse(person, "withdraw", request_id, denial)
            raise
        return request

    def lapse(self) -> int:
        """Close requests that nobody decided in time; safe to repeat. Return how many."""
        oldest = self._desk.clock() - timedelta(days=self._limits["lapse_days"])
        limit = oldest.isoformat(timespec="milliseconds")
        count = 0
        with self._desk.database.writing() as connection:
            for kept in store.in_states(connection, model.OPEN):
                if kept.since >= limit:
                    continue
                count += 1
                request = model.lapse(kept.request)
                self._save(connection, request, "lapse", "", Actor("", ""), "")
                facts = _facts(request, "lapse")
                self._desk.enter(connection, Event.REQUEST_CLOSED, facts, {"request": request.id})
                self._tell_author(connection, request)
        return count

    def places(self, connection: Connection, person: Person) -> list[tuple[Actor, Person]]:
        """Return as whom a person may act: as oneself, and for colleagues who are away."""
        colleagues = {p.user: p for p in self._desk.people() if p.tenant == person.tenant}
        taken = store.places_taken(connection, person.user, self._desk.time())
        return [
            (Actor(person.user, person.tenant), person),
            *(
                (Actor(person.user, person.tenant, t.user), colleagues[t.user])
                for t in taken
                if t.user in colleagues
            ),
        ]

    def _contexts(self, connection: Connection, request: AccessRequest) -> list[dict[str, Any]]:
        """Return what policies see of a request in each of its lanes."""
        context = self._context(connection, request.tenant, request.terms, request.rank)
        context |= {"approvals": len(request.approvals)}
        return [context | {"lane": lane} for lane in request.terms.lanes]

    def judge_as(
        self, connection: Connection, person: Person, request: AccessRequest
    ) -> tuple[Actor, tuple[Decision, ...]]:
        """Return as whom a person may judge a request at its stage, in all of its lanes.

        Raise the first denial where there is nobody.
        """
        action = "review" if request.state is State.REVIEW else "approve"
        table, contexts = request.terms.table, self._contexts(connection, request)
        denial: MarketplaceError | None = None
        for actor, place in self.places(connection, person):
            try:
                made = tuple(
                    self._desk.decide(
                        person,
                        action,
                        "Table",
                        table,
                        context,
                        roles=person.roles + place.roles,
                        within=Within(connection, request.terms.fields),
                    )
                    for context in contexts
                )
            except MarketplaceError as refused:
                denial = denial or refused
            else:
                return actor, made
        raise denial or not_found()

    def _judge(  # one judgement
        self,
        person: Person,
        request_id: str,
        stage: State,
        verdict: Verdict,
        sha256: str,
        comment: str,
    ) -> AccessRequest:
        step = "review" if stage is State.REVIEW else "approve"
        before: AccessRequest | None = None
        try:
            with self._desk.database.writing() as connection:
                kept = store.get(connection, request_id)
                if kept is None:
                    raise not_found()
                before = kept.request
                if before.state is not stage:
                    raise wrong_state(before.state)
                actor, made = self.judge_as(connection, person, before)
                if stage is State.REVIEW:
                    request = model.review(before, actor, verdict, sha256)
                else:
                    if verdict is Verdict.AGREE:
                        self._check_law(connection, before)
                    rank_now = self._rank(connection, before.terms.table)
                    request = model.approve(before, actor, verdict, sha256, rank_now)
                self._save(connection, request, step, verdict, actor, comment)
                event = Event.REQUEST_REVIEWED
                if stage is State.APPROVAL:
                    event = Event.REQUEST_APPROVED
                self._log(connection, event, request, person, verdict, made, actor)
                if request.state is State.GRANTED:
                    self._grant(connection, request)
                if request.state is State.APPROVAL:
                    self._tell_judges(connection, request)
                else:
                    self._tell_author(connection, request)
        except MarketplaceError as denial:
            self._desk.refuse(person, step, request_id, denial)
            if before is not None and not self.may_see(person, before):
                raise not_found() from denial
            raise
        return request

    def may_see(self, person: Person, request: AccessRequest) -> bool:
        """Say whether a request may be shown: to its organisation, its judges and overseers."""
        facts = self._desk.facts(request.terms.table)
        if person.tenant == request.tenant:
            return True
        if facts is not None and person.tenant == facts.provider and "provider" in person.roles:
            return True
        return self._desk.oversees(person)

    def _check_law(self, connection: Connection, request: AccessRequest) -> None:
        """Refuse an approval that no policy file may allow: the law is not the bureau's to change.

        Policies refuse the same, and say it first; this holds where somebody edits them.
        """
        terms = request.terms
        found = self._barrier(connection, terms.table, terms.fields, request.tenant)
        if found is not None:
            raise MarketplaceError(found.code, found.en, found.zh)

    def _grant(self, connection: Connection, request: AccessRequest) -> None:
        """Make the grant out of nothing but the approved text."""
        now = self._desk.clock()
        starts, t = int(now.timestamp()), request.terms
        grant = Grant(
            id=secrets.token_hex(16),
            tenant=request.tenant,
            table=t.table,
            purposes=t.purposes,
            lanes=t.lanes,
            fields=t.fields,
            epsilon_default_micro=t.epsilon_default_micro,
            epsilon_max_micro=t.epsilon_max_micro,
            starts=starts,
            ends=starts + t.days * 86_400,
            basis=request.sha256,
        )
        grant_store.add(connection, grant)
        facts: dict[str, Plain] = {
            "tenant": grant.tenant,
            "grant": grant.id,
            "grant_sha256": grant.sha256,
            "request": request.id,
            "request_sha256": request.sha256,
            "organisations": [*sorted({v.actor.organisation for v in request.votes})],
        }
        self._desk.enter(connection, Event.GRANT_ISSUED, facts, {"table": grant.table})

    def permit(
        self, connection: Connection, person: Person, action: str, tenant: str, terms: Terms
    ) -> tuple[Decision, ...]:
        """Return the decisions that permit a step in each lane; raise the first denial."""
        table = terms.table
        if self._desk.facts(table) is None:
            raise MarketplaceError(
                "UNKNOWN_TABLE",
                f"No table called {table} is offered. The catalogue lists all tables.",
                f"没有名为 {table} 的数据表，请查看目录。",
            )
        rank_now = self._rank(connection, table)
        return tuple(
            self._desk.decide(
                person,
                action,
                "Table",
                table,
                self._context(connection, tenant, terms, rank_now) | {"lane": lane},
                within=Within(connection, terms.fields),
            )
            for lane in terms.lanes
        )

    def _context(
        self, connection: Connection, tenant: str, terms: Terms, rank_before: int
    ) -> dict[str, Any]:
        table, facts = terms.table, self._desk.facts(terms.table)
        provider = "" if facts is None else facts.provider
        reviewers = [u for u in self._desk.holders("provider", provider) if provider != tenant]
        return {
            "now": int(self._desk.clock().timestamp()),
            "requester": tenant,
            "lane": terms.lanes[0],
            "stopped": bool(grant_store.stopped(connection, tenant, [table])),
            "providerHasReviewers": bool(reviewers),
            "needed": model.needed(max(rank_before, self._rank(connection, table))),
            "approvals": 0,
        }

    def _renewal(
        self, connection: Connection, request: AccessRequest, grant_id: str
    ) -> AccessRequest:
        held = grant_store.get(connection, grant_id)
        if held is None or (held.grant.tenant, held.grant.table) != (
            request.tenant,
            request.terms.table,
        ):
            raise not_found()
        if held.state == grant_store.REVOKED:
            raise not_renewable()
        return replace(request, renews=grant_id)

    def _check_terms(self, terms: Terms) -> None:
        most = self._limits["days_most"]
        if terms.days > most:
            raise MarketplaceError(
                "BAD_REQUEST",
                f"Access is granted for at most {most} days at a time. Ask for fewer, then renew.",
                f"一次最多授权 {most} 天，请缩短期限，到期后续期。",
            )
        if not all(map(CODE.match, (*terms.purposes, *terms.lanes))):
            raise MarketplaceError(
                "BAD_REQUEST",
                "Purposes and lanes are codes: small letters, digits, - and _. The reason is free.",
                "用途与通道为代码：小写字母、数字、连字符和下划线；说明请写入申请理由。",
            )
        if not all(map(FIELD.match, terms.fields)):
            raise MarketplaceError(
                "BAD_REQUEST",
                "Fields are named as the table's contract names them.",
                "字段名须与数据合约一致。",
            )

    def _rank(self, connection: Connection, table: str) -> int:
        facts = self._desk.facts(table, connection)
        return 0 if facts is None else rank(facts)

    def _own(self, connection: Connection, person: Person, request_id: str) -> Kept:
        kept = store.get(connection, request_id)
        if kept is None or kept.request.tenant != person.tenant:
            raise not_found()
        return kept

    def _save(  # one step
        self,
        connection: Connection,
        request: AccessRequest,
        step: str,
        verdict: str,
        actor: Actor,
        comment: str,
    ) -> None:
        store.save(connection, request, self._desk.time())
        self._step(connection, request, step, verdict, actor, comment)

    def _step(  # one step
        self,
        connection: Connection,
        request: AccessRequest,
        step: str,
        verdict: str,
        actor: Actor,
        comment: str = "",
    ) -> None:
        made = Step(
            step, verdict, request.state.value, actor, request.sha256, comment, self._desk.time()
        )
        store.add_step(connection, request.id, made)

    def _log(  # one entry
        self,
        connection: Connection,
        event: Event,
        request: AccessRequest,
        person: Person,
        verdict: str,
        made: tuple[Decision, ...],
        actor: Actor | None = None,
    ) -> None:
        bound = {"subject": person.user}
        if person.user == request.user:  # a judge's entry holds no words of the author
            bound["text"] = request.text()
        if actor is not None and actor.for_user:
            bound["for"] = People(connection).enrol(actor.for_user)
        facts = _facts(request, verdict) | {"organisation": person.tenant}
        self._desk.enter(connection, event, facts, bound, made)

    def _tell_judges(self, connection: Connection, request: AccessRequest) -> None:
        facts = self._desk.facts(request.terms.table)
        provider = "" if facts is None else facts.provider
        if request.state is State.REVIEW:
            judges = self._desk.holders("provider", provider)
            judges = judges or self._desk.holders("reviewer", self._bureau)
        else:
            judges = [*self._desk.holders("approver"), *self._desk.holders("operator")]
        said = Said(
            f"A request for {request.terms.table} waits for your {request.state.value}.",
            f"有一项对 {request.terms.table} 的访问申请待您处理。",
        )
        self._desk.tell(connection, judges, f"request:{request.state.value}", request.id, said)

    def _tell_author(self, connection: Connection, request: AccessRequest) -> None:
        state, table = request.state.value, request.terms.table
        said = Said(f"Your request for {table} is {state}.", f"您对 {table} 的申请状态：{state}。")
        self._desk.tell(connection, [request.user], f"request:{state}", request.id, said)


def _salt() -> str:
    return secrets.token_hex(16)


def _facts(request: AccessRequest, verdict: str) -> dict[str, Plain]:
    return {
        "request": request.id,
        "revision": request.revision,
        "tenant": request.tenant,
        "state": request.state.value,
        "text_sha256": request.sha256,
        "verdict": str(verdict),
    }


def _too_many(most: int) -> MarketplaceError:
    return MarketplaceError(
        "TOO_MANY_REQUESTS",
        f"Your organisation has {most} open requests. Wait for decisions, or withdraw some.",
        f"贵机构已有 {most} 项未决申请，请等待处理或撤回部分申请。",
    )
