"""Random histories against the ledger on disk and against the short one in memory."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from marketplace import db
from marketplace.budgets.replay import replay
from marketplace.client import Grant, Held, MadeItem, MarketplaceProblem, SessionView, WantedItem
from marketplace.errors import MarketplaceError
from marketplace.releases.model import Ask, Item, Made
from marketplace.services import Services
from privacy.dp.budget import Budget
from tests.support.marketplace import digest, draws, make_home, parts
from tests.support.memory_marketplace import MemoryMarketplace

TENANTS = {"demo-enterprise": "analyst", "demo-bank": "bank-risk"}

questions = st.lists(
    st.tuples(
        st.sampled_from("abcd"),
        st.sampled_from([50, 100, 400]),
        st.sampled_from([(2024,), (2025,), (2024, 2025)]),
        st.sampled_from([0, 0, 20]),
    ),
    min_size=1,
    max_size=3,
    unique_by=lambda part: part[0],
)
steps = st.lists(
    st.one_of(
        st.tuples(
            st.just("reserve"),
            st.sampled_from(sorted(TENANTS)),
            st.sampled_from(["op1", "op2", "op3", "op4"]),
            questions,
            st.sampled_from(["v1", "v1", "v1", "v2"]),
        ),
        st.tuples(
            st.sampled_from(["record", "record", "refund", "fail"]),
            st.integers(0, 7),
            st.sampled_from([b"one draw", b"another"]),
        ),
    ),
    max_size=14,
)


def outcome(call: Callable[[], Any]) -> Any:
    """Return a value, or the code of the refusal."""
    try:
        return call()
    except (MarketplaceError, MarketplaceProblem) as refusal:
        return refusal.code


class OnDisk:
    """The service, with the arguments of the histories."""

    def __init__(self, market: Services) -> None:
        self.releases = market.releases
        self.held: list[tuple[Any, Ask]] = []

    def reserve(self, tenant: str, operation: str, parts_of: Any, version: str) -> Any:
        items = tuple(
            Item(digest((n, version)), "enterprise", cohorts, Budget(cost, delta))
            for n, cost, cohorts, delta in parts_of
        )
        ask = Ask(
            operation_id=operation,
            user=TENANTS[tenant],
            tenant=tenant,
            purpose="",
            epsilon="1",
            tables={"tax_summary": version},
            plan_digest=digest([i.digest for i in items]),
            items=items,
        )
        held = self.releases.reserve(ask)
        self.held.append((held, ask))
        return held.state.value, [(i.release_id is None, i.charged_micro_rho) for i in held.items]

    def close(self, how: str, index: int, data: bytes) -> Any:
        held, ask = self.held[index % len(self.held)]
        match how:
            case "refund":
                self.releases.nothing_read(held.id, held.fencing_token, "-")
            case "fail":
                self.releases.failed(held.id, held.fencing_token)
            case _:
                missing = {i.digest for i in held.items if i.release_id is None}
                made = tuple(
                    Made(i.digest, data, draws(i.cost.micro_rho))
                    for i in ask.items
                    if i.digest in missing
                )
                done = self.releases.record(held.id, held.fencing_token, made, ask.tables)
                return [self.releases.answer(r, ask.tenant) for r in done.release_ids.values()]
        return None


class InMemory:
    """The stand-in, with the same arguments."""

    def __init__(self) -> None:
        grant = {"tax_summary": Grant(("any",), 0.5, 1.0)}
        people = {u: SessionView(u, t, (), "en", grant) for t, u in TENANTS.items()}
        self.market = MemoryMarketplace(people, {(t, "enterprise"): (1000, 50) for t in TENANTS})
        self.held: list[tuple[Held, str, list[WantedItem], dict[str, str]]] = []

    def reserve(self, tenant: str, operation: str, parts_of: Any, version: str) -> Any:
        items = [
            WantedItem(digest((n, version)), "enterprise", cohorts, cost, delta)
            for n, cost, cohorts, delta in parts_of
        ]
        tables = {"tax_summary": version}
        held = self.market.reserve(
            operation_id=operation,
            user=TENANTS[tenant],
            tenant=tenant,
            purpose="",
            epsilon="1",
            tables=tables,
            plan_digest=digest([i.digest for i in items]),
            items=items,
        )
        self.held.append((held, tenant, items, tables))
        return held.state, [(i.release_id is None, i.charged_micro_rho) for i in held.items]

    def close(self, how: str, index: int, data: bytes) -> Any:
        held, tenant, items, tables = self.held[index % len(self.held)]
        match how:
            case "refund":
                self.market.nothing_read(held)
            case "fail":
                self.market.failed(held)
            case _:
                missing = {i.digest for i in held.items if i.release_id is None}
                made = [
                    MadeItem(i.digest, data, draws(i.micro_rho))
                    for i in items
                    if i.digest in missing
                ]
                done = self.market.record(held, made, tables)
                return [self.market.answer(tenant, r) for r in done.releases.values()]
        return None


@given(steps)
def test_any_history_ends_alike_on_disk_and_in_memory_and_adds_up(history: list[Any]) -> None:
    with tempfile.TemporaryDirectory() as folder, parts(make_home(Path(folder) / "home")) as market:
        disk, memory = OnDisk(market), InMemory()
        for step in history:
            if step[0] == "reserve":
                found, wanted = (
                    outcome(lambda s=s, step=step: s.reserve(*step[1:])) for s in (disk, memory)
                )
            elif disk.held:
                found, wanted = (
                    outcome(lambda s=s, step=step: s.close(*step)) for s in (disk, memory)
                )
            else:
                continue
            assert found == wanted
        recount = replay(market.database)
        assert recount.findings == ()
        with market.database.reading() as connection:
            rows = connection.execute(select(db.releases.c.tenant, db.releases.c.micro_rho)).all()
            accounts = connection.execute(select(db.accounts)).all()
        for tenant in TENANTS:
            left = market.releases.left(tenant, "enterprise")
            assert left.budget.micro_rho == memory.market.budget(tenant, "enterprise").micro_rho
            assert left.budget.delta_1e12 == memory.market.budget(tenant, "enterprise").delta_1e12
            spent = sum(a.spent_micro_rho for a in accounts if a.tenant == tenant)
            assert spent >= sum(r.micro_rho for r in rows if r.tenant == tenant)
        for account in accounts:
            assert 0 <= account.spent_micro_rho <= account.cap_micro_rho
            assert 0 <= account.spent_delta_1e12 <= account.cap_delta_1e12
        for cohort in {a.cohort for a in accounts}:
            by = {a.tenant: a.spent_micro_rho for a in accounts if a.cohort == cohort}
            assert by.pop("") == sum(by.values())
