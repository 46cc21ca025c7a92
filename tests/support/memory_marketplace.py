"""A marketplace in memory with the client's interface: for the gateway's tests, and a reference.

It keeps the same promises by much shorter means, so histories can be replayed against both. It has
no log, no files and no processes; everything is gone with the object.
"""

import hashlib
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

from marketplace.client import (
    BudgetLeft,
    Committed,
    Grant,
    Held,
    HeldItem,
    MadeItem,
    MarketplaceProblem,
    SessionView,
    WantedItem,
)
from marketplace.releases.service import SMALL_ANSWER_BYTES
from privacy.dp.budget import epsilon_of, micro_rho_of

Allotments = Mapping[tuple[str, str], tuple[int, int]]
"""Tenant and domain to micro-rho and delta, for each cohort."""


@dataclass(slots=True)
class _Operation:
    question: tuple[object, ...]
    tenant: str
    tables: dict[str, str]
    items: tuple[WantedItem, ...]
    held: Held
    paid: frozenset[str]
    attempts: int = 1
    made: dict[str, MadeItem] = field(default_factory=dict)


class MemoryMarketplace:
    """Stands in for `marketplace.client.MarketplaceClient`."""

    def __init__(self, people: Mapping[str, SessionView], allotments: Allotments) -> None:
        """`people`: token to what it opens."""
        self.people = dict(people)
        self._allotments = allotments
        self._spent: dict[tuple[str, str, int], list[int]] = defaultdict(lambda: [0, 0])
        self._operations: dict[tuple[str, str], _Operation] = {}
        self._reservations: dict[str, _Operation] = {}
        self._releases: dict[str, tuple[str, WantedItem, bytes]] = {}
        self._versions: dict[str, str] = {}
        self._names = count(1)
        self.fields_used: Mapping[str, Collection[str]] = {}
        """Of the latest question that was reserved."""

    def close(self) -> None:
        """Do nothing, as there is nothing to close."""

    def session(self, token: str) -> SessionView:
        if token not in self.people:
            raise _problem("AUTHENTICATION", 401)
        return self.people[token]

    def reserve(
        self,
        *,
        operation_id: str,
        user: str,
        tenant: str,
        purpose: str,
        epsilon: str,
        tables: Mapping[str, str],
        plan_digest: str,
        items: Sequence[WantedItem],
        fields: Mapping[str, Collection[str]] | None = None,
    ) -> Held:
        self.fields_used = dict(fields or {})
        self._check_grants(user, tenant, purpose, epsilon, tables, items)
        known = self._operations.get((tenant, operation_id))
        question = (user, plan_digest, purpose, epsilon, dict(tables), tuple(items))
        if known is not None:
            return self._again(known, question)
        stored = {i.digest: self._stored(tenant, i) for i in items}
        new = [i for i in items if stored[i.digest] is None]
        self._charge(tenant, new)
        self._versions.update(tables)
        name = f"r{next(self._names)}"
        held = Held(
            name,
            f"{name}-1",
            "open" if new else "recorded",
            tuple(
                HeldItem(i.digest, stored[i.digest], i.micro_rho if i in new else 0) for i in items
            ),
        )
        paid = frozenset(i.digest for i in new)
        operation = _Operation(question, tenant, dict(tables), tuple(items), held, paid)
        self._operations[tenant, operation_id] = self._reservations[name] = operation
        return held

    def record(self, held: Held, made: Sequence[MadeItem], tables: Mapping[str, str]) -> Committed:
        operation = self._fenced(held)
        if operation.held.state == "recorded":
            if any(operation.made.get(m.digest) != m for m in made):
                raise _problem("ANSWER_DIFFERS", 409)
            return self.recorded(held.reservation_id)
        self._check_open(operation)
        current = {t: self._versions[t] for t in operation.tables}
        if not operation.tables == dict(tables) == current:
            operation.held = replace(operation.held, state="failed")
            raise _problem("VERSION_CHANGED", 409)
        if {m.digest for m in made} != operation.paid or len(made) != len(operation.paid):
            raise _problem("BAD_REQUEST", 422)
        wanted = {i.digest: i for i in operation.items}
        ids = {i.digest: i.release_id for i in operation.held.items}
        for m in made:
            ids[m.digest] = f"a{next(self._names)}"
            self._releases[ids[m.digest]] = (operation.tenant, wanted[m.digest], m.answer)
            operation.made[m.digest] = m
        items = tuple(replace(i, release_id=ids[i.digest]) for i in operation.held.items)
        operation.held = replace(operation.held, state="recorded", items=items)
        return self.recorded(held.reservation_id)

    def recorded(self, reservation_id: str) -> Committed:
        operation = self._reservations.get(reservation_id)
        if operation is None:
            raise _problem("NOT_FOUND", 404)
        if operation.held.state != "recorded":
            raise _problem("RESERVATION_CLOSED", 409)
        ids = {i.digest: str(i.release_id) for i in operation.held.items}
        name = hashlib.sha256("".join(sorted(ids.values())).encode()).hexdigest()[:16]
        receipt = {
            "receipt_id": name,
            "plan_digest": operation.question[1],
            "entry_index": len(self._releases),
            "leaf_hash": "0" * 64,
            "charged_micro_rho": sum(i.charged_micro_rho for i in operation.held.items),
            "time": "2026-11-01T00:00:00.000+00:00",
        }
        domains = {i.domain for i in operation.items}
        left = {d: self.budget(operation.tenant, d) for d in domains}
        proofs = dict.fromkeys(ids.values(), "c2sp.org/tlog-proof@v1\n")
        bytes_of = {i: self._releases[i][2] for i in ids.values()}
        small = {i: data for i, data in bytes_of.items() if len(data) <= SMALL_ANSWER_BYTES}
        return Committed(ids, receipt, left, proofs, small)

    def nothing_read(self, held: Held, attestation: str = "nothing was read") -> None:
        operation = self._fenced(held)
        if operation.held.state == "refunded":
            return
        self._check_open(operation)
        if operation.attempts > 1:
            raise _problem("REFUND_REFUSED", 409)
        for i in operation.items:
            for cohort in i.cohorts if i.digest in operation.paid else ():
                spent = self._spent[operation.tenant, i.domain, cohort]
                spent[0] -= i.micro_rho
                spent[1] -= i.delta_1e12
        operation.held = replace(operation.held, state="refunded")

    def failed(self, held: Held) -> None:
        operation = self._fenced(held)
        if operation.held.state == "open":
            operation.held = replace(operation.held, state="failed")

    def answer(self, tenant: str, release_id: str) -> bytes:
        owner, _, data = self._releases.get(release_id, ("", None, b""))
        if owner != tenant:
            raise _problem("NOT_FOUND", 404)
        return data

    def budget(self, tenant: str, domain: str) -> BudgetLeft:
        cap = self._allotments.get((tenant, domain), (0, 0))
        spent = {c: s for (t, d, c), s in self._spent.items() if (t, d) == (tenant, domain)}
        left = cap[0] - max((s[0] for s in spent.values()), default=0)
        delta = cap[1] - max((s[1] for s in spent.values()), default=0)
        cohorts = {c: cap[0] - s[0] for c, s in sorted(spent.items())}
        most = epsilon_of(cap[0] - left)
        return BudgetLeft(left, f"{epsilon_of(left):.4f}", delta, f"{most:.4f}", cohorts)

    def queries(self, token: str) -> tuple[Mapping[str, Any], ...]:
        person = self.session(token)
        return tuple(
            {
                "reservation_id": o.held.reservation_id,
                "operation_id": name,
                "state": o.held.state,
                "charged_micro_rho": sum(i.charged_micro_rho for i in o.held.items),
                "release_ids": [i.release_id for i in o.held.items if i.release_id],
            }
            for (tenant, name), o in reversed(self._operations.items())
            if (tenant, o.question[0]) == (person.tenant, person.user)
        )

    def _check_grants(
        self,
        user: str,
        tenant: str,
        purpose: str,
        epsilon: str,
        tables: Mapping[str, str],
        items: Sequence[WantedItem],
    ) -> None:
        known = [p for p in self.people.values() if (p.user, p.tenant) == (user, tenant)]
        if not known:
            raise _problem("GRANT_REVOKED", 403)
        for table in tables:
            grant: Grant | None = known[0].tables.get(table)
            if grant is None:
                raise _problem("GRANT_REVOKED", 403)
            if purpose and purpose not in grant.purposes:
                raise _problem("PURPOSE_REFUSED", 403)
            if float(epsilon) > grant.epsilon_max:
                raise _problem("EPSILON_TOO_LARGE", 422)
        if sum(i.micro_rho for i in items) > micro_rho_of(float(epsilon) + 1e-6):
            raise _problem("EPSILON_TOO_LARGE", 422)

    def _again(self, known: _Operation, question: tuple[object, ...]) -> Held:
        if known.question != question:
            raise _problem("OPERATION_MISMATCH", 409)
        if known.held.state in ("failed", "refunded"):
            raise _problem("RESERVATION_CLOSED", 409)
        if known.held.state == "open":
            known.attempts += 1
            token = f"{known.held.reservation_id}-{known.attempts}"
            known.held = replace(known.held, fencing_token=token)
        return known.held

    def _stored(self, tenant: str, item: WantedItem) -> str | None:
        for name, (owner, paid, _) in self._releases.items():
            same = (paid.digest, paid.mechanism) == (item.digest, item.mechanism)
            if owner == tenant and same and paid.micro_rho >= item.micro_rho:
                return name
        return None

    def _charge(self, tenant: str, items: Sequence[WantedItem]) -> None:
        after = {k: list(v) for k, v in self._spent.items()}
        for i in items:
            cap = self._allotments.get((tenant, i.domain), (0, 0))
            for cohort in i.cohorts:
                spent = after.setdefault((tenant, i.domain, cohort), [0, 0])
                spent[0] += i.micro_rho
                spent[1] += i.delta_1e12
                if spent[0] > cap[0] or spent[1] > cap[1]:
                    raise _problem("BUDGET_EXHAUSTED", 409)
        self._spent.update(after)

    def _fenced(self, held: Held) -> _Operation:
        found = self._reservations.get(held.reservation_id)
        if found is None or found.held.fencing_token != held.fencing_token:
            raise _problem("NOT_FOUND", 404)
        return found

    def _check_open(self, operation: _Operation) -> None:
        if operation.held.state != "open":
            raise _problem("RESERVATION_CLOSED", 409)


def _problem(code: str, status: int) -> MarketplaceProblem:
    return MarketplaceProblem(code, f"{code} in memory.", f"内存市场：{code}。", status)
