"""Random proposals, decisions and questions: what a charged cohort may lose never moves."""

import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from marketplace import db
from marketplace.budgets.model import COHORT, Shares
from marketplace.budgets.replay import replay
from marketplace.errors import MarketplaceError
from marketplace.identity.model import SEEDED, Person
from marketplace.services import Services
from privacy.dp.budget import Budget
from tests.support.marketplace import Clock, ask, item, make_home, parts

PEOPLE = {name: Person(name, org, roles, "en") for name, org, roles in SEEDED}
COHORTS = [2026, 2027, 2028]
BUREAU = ["bureau-reviewer", "bureau-approver"]
REFUSALS = {
    *("BUDGET_FIXED", "BUDGET_EXHAUSTED", "BAD_REQUEST", "SAME_PERSON", "WRONG_STATE"),
    *("ROLE_REFUSED", "FORBIDDEN", "EPSILON_TOO_LARGE", "GRANT_EXPIRED", "CONTRACT_REFUSED"),
}

FIGURES = (
    st.sampled_from(COHORTS),
    st.sampled_from([100, 2_000, 9_000]),
    st.sampled_from([(1.0, 0.0), (0.5, 0.5), (0.0, 0.4), (0.9, 0.2)]),
)

steps = st.lists(
    st.one_of(
        st.tuples(st.just("settle"), *FIGURES),
        st.tuples(st.just("propose"), st.sampled_from(BUREAU), *FIGURES),
        st.tuples(st.just("decide"), st.sampled_from(BUREAU), st.integers(0, 5), st.booleans()),
        st.tuples(
            st.just("ask"),
            st.sampled_from(["demo-enterprise", "demo-bank"]),
            st.lists(st.sampled_from(COHORTS), min_size=1, max_size=3, unique=True),
            st.sampled_from([50, 400, 900, 4_000]),
            st.sampled_from(["keep", "keep", "refund"]),
        ),
        st.sampled_from([("year",)]),
    ),
    min_size=3,
    max_size=20,
)


def take(market: Services, number: int, step: Any, made: list[str]) -> None:
    """Take one step; refusals are part of the history."""
    match step:
        case ("settle", *figures):
            take(market, number, ("propose", "bureau-reviewer", *figures), made)
            take(market, number, ("decide", "bureau-approver", len(made) - 1, True), made)
        case ("propose", who, cohort, cap, (firm, bank)):
            shares = {
                "demo-enterprise": Budget(int(cap * firm)),
                "demo-bank": Budget(int(cap * bank)),
            }
            wanted = Shares(Budget(cap, 10), shares)
            found = market.proposals.propose(PEOPLE[who], "enterprise", cohort, wanted, "-")
            made.append(found.id)
        case ("decide", who, index, approve) if made:
            chosen = made[index % len(made)]
            text = {p.id: p.sha256 for p in market.proposals.listed(PEOPLE["regulator"])}[chosen]
            market.proposals.decide(PEOPLE[who], chosen, text, "", approve=approve)
        case ("ask", tenant, cohorts, cost, end):
            operation = f"op{number}"
            asked = ask(operation, item(operation, cost, cohorts), tenant=tenant, epsilon="1")
            held = market.releases.reserve(asked)
            if end == "refund":
                market.releases.nothing_read(held.id, held.fencing_token, "-")


def caps(market: Services) -> dict[tuple[int, str], int]:
    """Return what each charged account may spend."""
    with market.database.reading() as connection:
        rows = connection.execute(select(db.accounts)).all()
    return {(r.cohort, r.tenant): r.cap_micro_rho for r in rows}


@given(steps)
def test_no_sequence_of_proposals_moves_what_a_charged_cohort_may_lose(history: list[Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        settings, made, fixed, codes = make_home(home), [], {}, set()
        with parts(settings) as market:
            for number, step in enumerate(history):
                if step == ("year",):
                    clock = market.proposals.desk.clock
                    assert isinstance(clock, Clock)
                    clock.now = clock.now.replace(year=clock.now.year + 1)
                    continue
                try:
                    take(market, number, step, made)
                except MarketplaceError as refusal:
                    codes.add(refusal.code)
                now = caps(market)
                for cohort in {c for c, _ in now}:
                    fixed.setdefault(cohort, now[cohort, COHORT])
                    assert now[cohort, COHORT] == fixed[cohort]
                    tenants = [v for (c, t), v in now.items() if c == cohort and t != COHORT]
                    assert sum(tenants) <= fixed[cohort]
            assert codes <= REFUSALS
            found = replay(market.database)
            assert found.findings == ()
            for (domain, cohort, holder), spent in found.spent.items():
                assert spent[0] <= found.caps[domain, cohort, holder][0]
                if holder == COHORT:
                    assert found.caps[domain, cohort, COHORT][0] == fixed[cohort]
            now = caps(market)
        with parts(settings) as market:  # a start finds nothing, and takes nothing back
            assert caps(market) == now
