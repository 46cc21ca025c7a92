"""The policy decision point of questions: gathers what policies see, inside the transaction.

Asked when a budget is reserved and again before an answer is recorded, on the state of that very
transaction, so a grant that is revoked or a stop that is pulled binds the next step.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import ROUND_CEILING, Decimal
from typing import Any

from sqlalchemy import Connection

from marketplace.access import grant_store
from marketplace.access.grant import MICRO
from marketplace.access.grant_store import ACTIVE, Held
from marketplace.budgets.model import GrantPolicy
from marketplace.contracts import store as contract_store
from marketplace.contracts.model import ANY, Contract
from marketplace.contracts.model import State as ContractState
from marketplace.db import Database
from marketplace.errors import AccessDeniedError
from marketplace.identity.model import Person
from marketplace.policy.book import PolicyBook
from marketplace.policy.facts import FactsSource
from marketplace.policy.model import Decision, Inputs, ResourceFacts, rank

LANE = "dp"
"""The lane of reservations."""


@dataclass(frozen=True, slots=True)
class Question:
    """What policies need to know of a reservation."""

    tenant: str
    tables: tuple[str, ...]
    purpose: str
    """Empty: the first purpose that all its grants share."""
    epsilon: str
    micro_rho: int
    """What it would be charged now; 0 when everything is stored."""
    known: bool = False
    """Whether the same operation was counted before."""
    fields: Mapping[str, tuple[str, ...]] | None = None
    """Fields used of each table, where the gateway says so."""


@dataclass(frozen=True, slots=True)
class Passed:
    """Decisions that allowed, and the contracts that they counted on."""

    decisions: tuple[Decision, ...]
    contracts: frozenset[str]


class Gate:
    """Judges questions."""

    def __init__(self, book: PolicyBook, facts: FactsSource, clock: Callable[[], datetime]) -> None:
        """`facts` say what grading, catalogue and negative list know of a table."""
        self.book, self.facts, self._clock = book, facts, clock

    def check(self, connection: Connection, person: Person, question: Question) -> Passed:
        """Return the decisions on every table; `AccessDeniedError` with the first denial."""
        return self._judge(connection, person, question, "ask")

    def recheck(self, connection: Connection, person: Person, question: Question) -> Passed:
        """Judge again before an answer is recorded: revocations, stops and regrading bind at once.

        A term that ended meanwhile does not: the question was asked in it.
        """
        return self._judge(connection, person, question, "record")

    def granted(self, database: Database, tenant: str) -> dict[str, GrantPolicy]:
        """Return what an organisation may ask now, by table."""
        now = int(self._clock().timestamp())
        with database.reading() as connection:
            live = {
                h.grant.table: h.grant
                for h in reversed(grant_store.of_tenant(connection, tenant))
                if h.state == ACTIVE and h.grant.is_live(now)
            }
            contracts = [
                c
                for c in contract_store.of_tenant(connection, tenant)
                if c.state is ContractState.ACTIVE and c.terms.starts <= now < c.terms.ends
            ]
            closed = grant_store.stopped(connection, tenant, sorted(live))
        return {
            table: grant.policy()
            for table, grant in sorted(live.items())
            if table not in closed and any(c.terms.covers(table) for c in contracts)
        }

    def _judge(
        self, connection: Connection, person: Person, question: Question, action: str
    ) -> Passed:
        # What is read here holds until the commit: whoever revokes or stops is a writer too.
        now = int(self._clock().timestamp())
        tables = sorted(question.tables)
        held = grant_store.best(connection, question.tenant, tables, now)
        closed = grant_store.stopped(connection, question.tenant, tables)
        contracts = contract_store.of_tenant(connection, question.tenant)
        purpose = question.purpose or _shared_purpose(held.values())
        made: list[Decision] = []
        counted: set[str] = set()
        for table in tables:
            contract = _covering(contracts, table, purpose, now)
            context = _context(question, table, purpose, now)
            context["stopped"] = table in closed
            if table in held:
                context["grant"] = _grant(held[table])
            if contract is not None:
                context["contract"] = _contract(contract, table, known=question.known)
                counted.add(contract.id)
            facts = self.facts(table, connection)
            words = _words(question, table, facts, held.get(table))
            inputs = Inputs(
                action,
                person.user,
                attributes(person),
                "Table",
                table,
                resource(facts, question.tenant, context.get("fields", ())),
                context,
                words,
            )
            made.append(self.book.decide(inputs))
        denied = [d for d in made if not d.allowed]
        if denied:
            raise AccessDeniedError(denied[0], tuple(made))
        return Passed(tuple(made), frozenset(counted))


def attributes(person: Person) -> dict[str, Any]:
    """Return what policies see of a person."""
    return {
        "name": person.user,
        "organisation": person.tenant,
        "roles": sorted(person.roles),
    }


def resource(
    facts: ResourceFacts | None, audience: str = "", named: Collection[str] = ()
) -> dict[str, Any]:
    """Return what policies see of a table; one that is not offered is ungraded, hence closed.

    `audience` names some fields of it; none means any.
    """
    closed: set[str] = set()
    if facts is not None:
        reached = named or facts.fields
        limits = [limit for limit in facts.limits if limit.closes(audience, reached)]
        closed = {*facts.negative, *(scope for limit in limits for scope in limit.scopes)}
    return {
        "provider": "" if facts is None else facts.provider,
        "graded": facts is not None and rank(facts) > 0,
        "gradeRank": 0 if facts is None else rank(facts),
        "shareType": "none" if facts is None else facts.share_type,
        "openType": "none" if facts is None else facts.open_type,
        "operateLanes": [] if facts is None else sorted(facts.operate_lanes),
        "negative": sorted(closed),
        "authorityLevel": "city" if facts is None else facts.authority_level,
        "returnFlow": facts is not None and facts.return_flow,
    }


def _shared_purpose(held: Iterable[Held]) -> str:
    all_held = [h.grant.purposes for h in held]
    shared = [p for p in all_held[0] if all(p in o for o in all_held)] if all_held else []
    return shared[0] if shared else ""


def _covering(contracts: list[Contract], table: str, purpose: str, now: int) -> Contract | None:
    """Return the contract that decides: one in force for this purpose if any, else the nearest."""
    covering = [c for c in contracts if c.terms.covers(table)]

    def fitness(c: Contract) -> tuple[bool, bool, bool, bool]:
        return (
            c.state is ContractState.ACTIVE,
            c.terms.starts <= now < c.terms.ends,
            purpose in c.terms.purposes,
            c.calls_used < c.terms.calls,
        )

    return max(covering, key=fitness, default=None)


def _context(question: Question, table: str, purpose: str, now: int) -> dict[str, Any]:
    exact = (Decimal(question.epsilon) * MICRO).to_integral_value(ROUND_CEILING)
    known = question.fields or {}
    used = {"fields": sorted(known[table])} if table in known else {}
    return {
        "now": now,
        "purpose": purpose,
        "lane": LANE,
        **used,
        "epsilonMicro": int(exact),
        "microRho": question.micro_rho,
    }


def _grant(held: Held) -> dict[str, Any]:
    g = held.grant
    return {
        "state": held.state,
        "starts": g.starts,
        "ends": g.ends,
        "purposes": sorted(g.purposes),
        "lanes": sorted(g.lanes),
        "fields": sorted(g.fields),
        "epsilonMaxMicro": g.epsilon_max_micro,
    }


def _contract(contract: Contract, table: str, *, known: bool) -> dict[str, Any]:
    t = contract.terms
    return {
        "state": contract.state.value,
        "starts": t.starts,
        "ends": t.ends,
        "purposes": sorted(t.purposes),
        "lanes": sorted(t.lanes),
        "fields": sorted(t.fields(table)),
        "coversTable": t.covers(table),
        # A repeated operation was counted when it was first asked.
        "callsLeft": t.calls - contract.calls_used + int(known),
        "microRhoLeft": t.micro_rho - contract.micro_rho_used,
    }


def _words(
    question: Question, table: str, facts: ResourceFacts | None, held: Held | None
) -> dict[str, str]:
    known = {
        "table": table,
        "purpose": question.purpose,
        "epsilon": question.epsilon,
        "lane": LANE,
        "provider": facts.provider if facts else "its provider",
        "grade": (facts.grade if facts else "") or "-",
        "lanes": ", ".join(facts.operate_lanes) if facts else "",
    }
    if held is not None:
        g = held.grant
        known |= {
            "purposes": ", ".join(g.purposes),
            "most": f"{g.epsilon_max_micro / MICRO:g}",
            "until": day(g.ends),
            "fields": ", ".join(g.fields) or ANY,
        }
    return known


def day(seconds: int) -> str:
    """Return a time as people read it."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="minutes")
