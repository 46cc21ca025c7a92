"""The life of contracts and the way of tenants, each step one transaction with its log entry."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from marketplace.access.desk import Desk, not_found
from marketplace.audit.entry import Event, Plain
from marketplace.contracts import model, store
from marketplace.contracts.model import Contract, Stage, Terms
from marketplace.contracts.store import Reached
from marketplace.errors import MarketplaceError
from marketplace.identity.model import Person
from marketplace.policy.model import Decision

Step = Callable[[Contract], Contract]


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a tenant stands and how long each stage took or has lasted, in seconds."""

    tenant: str
    stage: Stage
    seconds: dict[str, int]


class Contracts:
    """Draft, sign, exit, certify; and the tenant funnel."""

    def __init__(self, desk: Desk) -> None:
        """Share the desk of the access workflow."""
        self._desk = desk

    def draft(self, person: Person, terms: Terms) -> Contract:
        """Write a contract that its parties can sign."""
        try:
            with self._desk.database.writing() as connection:
                made = self._permit(person, "draft", terms)
                contract = Contract(secrets.token_hex(16), terms, model.State.DRAFT)
                store.add(connection, contract, self._desk.time())
                self._log(connection, Event.CONTRACT_DRAFTED, contract, person, made)
        except MarketplaceError as denial:
            self._desk.refuse(person, "draft", terms.tenant, denial)
            raise
        return contract

    def sign(self, person: Person, contract_id: str, sha256: str) -> Contract:
        """Sign the text with this digest for one's organisation."""

        def step(before: Contract) -> Contract:
            return model.sign(before, person.tenant, person.user, sha256, self._desk.time())

        return self._step(person, contract_id, "sign", Event.CONTRACT_SIGNED, step)

    def leave(self, person: Person, contract_id: str) -> Contract:
        """End a contract: access under it ends at once."""
        return self._step(person, contract_id, "exit", Event.CONTRACT_EXITED, model.leave)

    def certify(self, person: Person, contract_id: str, certificate: str) -> Contract:
        """Put the digest of the destruction certificate on an exited contract."""

        def step(before: Contract) -> Contract:
            return model.destroy(before, certificate)

        return self._step(person, contract_id, "certify", Event.CONTRACT_DESTROYED, step)

    def visible(self, person: Person) -> list[Contract]:
        """Return the contracts of which one's organisation is a party, or all to overseers."""
        sees_all = self._desk.oversees(person)
        with self._desk.database.reading() as connection:
            found = store.everything(connection)
        return [c for c in found if sees_all or person.tenant in c.terms.parties]

    def open_steps(self, person: Person, contract: Contract) -> tuple[str, ...]:
        """Return what of sign, exit and certify follows now and policy lets a person do."""
        signed = {s.organisation for s in contract.signatures}
        follows = {
            "sign": contract.state is model.State.DRAFT and person.tenant not in signed,
            "exit": contract.state is model.State.ACTIVE,
            "certify": contract.state is model.State.EXITED,
        }
        return tuple(s for s, may in follows.items() if may and self._may(person, s, contract))

    def next_stage(self, person: Person, standing: Standing) -> Stage | None:
        """Return the stage to which a person may move a tenant, if any."""
        try:
            self._desk.decide(person, "stage", "Tenant", standing.tenant, {"party": False})
        except MarketplaceError:
            return None
        return model.following(standing.stage)

    def _may(self, person: Person, action: str, contract: Contract) -> bool:
        try:
            self._permit(person, action, contract.terms)
        except MarketplaceError:
            return False
        return True

    def advance(self, person: Person, tenant: str, to: Stage) -> Standing:
        """Move a tenant to its next stage."""
        try:
            with self._desk.database.writing() as connection:
                made = self._desk.decide(person, "stage", "Tenant", tenant, {"party": False})
                before = store.stage(connection, tenant)
                model.advance(before[-1].stage if before else None, to)
                reached = Reached(tenant, to, self._desk.time(), person.user)
                store.reach(connection, reached)
                facts: dict[str, Plain] = {"tenant": tenant, "stage": to.value}
                bound = {"subject": person.user}
                self._desk.enter(connection, Event.TENANT_STAGED, facts, bound, (made,))
                return _standing([*before, reached], self._desk.clock())
        except MarketplaceError as denial:
            self._desk.refuse(person, "stage", tenant, denial)
            raise

    def funnel(self, person: Person) -> list[Standing]:
        """Return where every tenant stands, to overseers; to others their own."""
        sees_all = self._desk.oversees(person)
        with self._desk.database.reading() as connection:
            found = store.all_stages(connection)
        by_tenant: dict[str, list[Reached]] = {}
        for reached in found:
            if sees_all or reached.tenant == person.tenant:
                by_tenant.setdefault(reached.tenant, []).append(reached)
        now = self._desk.clock()
        return [_standing(way, now) for way in by_tenant.values()]

    def _step(
        self, person: Person, contract_id: str, action: str, event: Event, step: Step
    ) -> Contract:
        try:
            with self._desk.database.writing() as connection:
                before = store.get(connection, contract_id)
                if before is None or not self._knows(person, before):
                    raise not_found()
                made = self._permit(person, action, before.terms)
                contract = step(before)
                store.save(connection, contract)
                self._log(connection, event, contract, person, made)
        except MarketplaceError as denial:
            self._desk.refuse(person, action, contract_id, denial)
            raise
        return contract

    def _knows(self, person: Person, contract: Contract) -> bool:
        return person.tenant in contract.terms.parties or self._desk.oversees(person)

    def _permit(self, person: Person, action: str, terms: Terms) -> Decision:
        party = person.tenant in terms.parties
        return self._desk.decide(person, action, "Tenant", terms.tenant, {"party": party})

    def _log(
        self,
        connection: Connection,
        event: Event,
        contract: Contract,
        person: Person,
        made: Decision,
    ) -> None:
        facts: dict[str, Plain] = {
            "tenant": contract.terms.tenant,
            "contract": contract.id,
            "contract_sha256": contract.sha256,
            "state": contract.state.value,
            "organisation": person.tenant,
        }
        if contract.certificate:
            facts["certificate_sha256"] = contract.certificate
        self._desk.enter(connection, event, facts, {"subject": person.user}, (made,))


def _standing(way: list[Reached], now: datetime) -> Standing:
    times = [datetime.fromisoformat(r.since) for r in way] + [now]
    seconds = {
        r.stage.value: int((times[i + 1] - times[i]).total_seconds()) for i, r in enumerate(way)
    }
    return Standing(way[-1].tenant, way[-1].stage, seconds)
