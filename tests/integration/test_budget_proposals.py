"""Other figures for a later cohort: two persons of the bureau, in force, logged, recounted."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import delete, insert, select, update

from marketplace import db
from marketplace.app import LedgerBehindLogError
from marketplace.audit.people import People
from marketplace.budgets.model import Shares
from marketplace.budgets.proposal import Proposal, State
from marketplace.budgets.proposal_store import cohort_caps, proposals
from marketplace.budgets.replay import replay
from marketplace.errors import MarketplaceError
from marketplace.identity.model import SEEDED, Person
from marketplace.services import Services
from marketplace.settings import Settings
from privacy.dp.budget import Budget
from tests.support.databases import environment, without_foreign_keys
from tests.support.marketplace import POLICY, Clock, ask, item, make_home, parts

PEOPLE = {name: Person(name, org, roles, "en") for name, org, roles in SEEDED}
REVIEWER, APPROVER = PEOPLE["bureau-reviewer"], PEOPLE["bureau-approver"]
FIRM, BANK = "demo-enterprise", "demo-bank"
WANTED = Shares(Budget(5_000, 90), {FIRM: Budget(3_000, 40), BANK: Budget(1_500, 50)})


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return make_home(tmp_path / "home")


@pytest.fixture
def market(settings: Settings) -> Iterator[Services]:
    with parts(settings) as services:
        yield services


def propose(
    market: Services, shares: Shares = WANTED, cohort: int = 2027, person: Person = REVIEWER
) -> Proposal:
    return market.proposals.propose(person, "enterprise", cohort, shares, "more demand")


def decide(
    market: Services, found: Proposal, person: Person = APPROVER, *, approve: bool = True
) -> Proposal:
    return market.proposals.decide(person, found.id, found.sha256, "read", approve=approve)


def refused(call: object, *arguments: object, **named: object) -> MarketplaceError:
    with pytest.raises(MarketplaceError) as caught:
        call(*arguments, **named)  # type: ignore[operator]
    assert caught.value.zh
    return caught.value


def spend(market: Services, name: str, cost: int, cohort: int, tenant: str = FIRM) -> None:
    market.releases.reserve(ask(name, item(name, cost, (cohort,)), tenant=tenant))


def logged(market: Services, event: str) -> list[dict[str, object]]:
    with market.database.reading() as connection:
        rows = connection.execute(select(db.entries.c.bytes).order_by("index")).scalars()
        bodies = [json.loads(bytes(r)) for r in rows]
    return [b["facts"] for b in bodies if b["event"] == event]


def test_two_persons_give_a_later_cohort_other_figures_and_others_keep_theirs(
    market: Services,
) -> None:
    found = propose(market)
    assert found.before.cap == Budget(2_000, 100)
    spend(market, "before", 900, 2026)
    assert refused(spend, market, "over", 200, 2026).code == "BUDGET_EXHAUSTED"
    assert decide(market, found).state is State.IN_FORCE
    for part in range(3):
        spend(market, f"new {part}", 1_000, 2027)
    assert refused(spend, market, "over", 1, 2027).code == "BUDGET_EXHAUSTED"
    assert refused(spend, market, "still", 200, 2026).code == "BUDGET_EXHAUSTED"
    left = market.releases.left(FIRM, "enterprise")
    assert left.cohorts == {2026: Budget(100, 50), 2027: Budget(0, 40)}
    assert left.budget == Budget(0, 40)
    recount = replay(market.database)
    assert recount.findings == ()
    assert recount.caps["enterprise", 2027, FIRM] == (3_000, 40)
    assert recount.caps["enterprise", 2027, ""] == (5_000, 90)
    assert recount.caps["enterprise", 2026, ""] == (2_000, 100)


def test_who_decides_and_who_proposed_are_told(market: Services) -> None:
    decide(market, propose(market), approve=False)
    inbox = market.access.inbox
    events = [[n.event for n in inbox.notices(who)] for who in (APPROVER, REVIEWER)]
    assert events == [["budget:propose"], ["budget:decide"]]


def test_every_step_is_an_entry_that_names_figures_and_hides_people(market: Services) -> None:
    decide(market, propose(market))
    (pinned,), (proposed,), (decided,) = (
        logged(market, f"budget:{step}") for step in ("pin", "propose", "decide")
    )
    assert {(r["holder"], r["micro_rho"]) for r in pinned["shares"]} == {  # type: ignore[attr-defined]
        *(("", 2_000), (FIRM, 1_000), (BANK, 1_000))
    }
    assert proposed["shares"] == decided["shares"]
    assert (decided["state"], decided["cohort"]) == ("in-force", 2027)
    assert "bureau-" not in json.dumps([proposed, decided])


def test_a_cohort_that_was_charged_is_refused_with_its_numbers(market: Services) -> None:
    spend(market, "early", 300, 2027)
    error = refused(propose, market)
    assert error.code == "BUDGET_FIXED"
    for number in ("300", "2000", "0e-12", "100e-12"):
        assert number in error.en
    assert "300" in error.zh
    assert logged(market, "budget:propose") == []


def test_a_charge_between_proposal_and_decision_keeps_the_old_figures(market: Services) -> None:
    found = propose(market)
    held = market.releases.reserve(ask("early", item("early", 300, (2027,))))
    market.releases.nothing_read(held.id, held.fencing_token, "nothing was read")
    assert refused(decide, market, found).code == "BUDGET_FIXED"
    assert market.proposals.listed(REVIEWER)[0].state is State.WAITING
    assert decide(market, found, approve=False).state is State.DECLINED
    spend(market, "again", 1_000, 2027)
    assert refused(spend, market, "more", 1, 2027).code == "BUDGET_EXHAUSTED"


@pytest.mark.parametrize("cohort", [1999, 2025, 2026])
def test_a_cohort_that_has_begun_is_refused(market: Services, cohort: int) -> None:
    error = refused(propose, market, cohort=cohort)
    assert error.code == "BUDGET_FIXED"
    assert "2027" in error.en


def test_a_cohort_has_begun_when_its_year_has_anywhere(market: Services) -> None:
    clock = market.proposals.desk.clock
    assert isinstance(clock, Clock)
    clock.now = datetime(2026, 12, 31, 9, 59, tzinfo=UTC)
    found = propose(market)
    clock.now = datetime(2026, 12, 31, 10, 0, tzinfo=UTC)
    assert refused(decide, market, found).code == "BUDGET_FIXED"
    assert refused(propose, market).code == "BUDGET_FIXED"


@pytest.mark.parametrize(
    ("shares", "said"),
    [
        (Shares(Budget(100), {FIRM: Budget(60), BANK: Budget(41)}), "101"),
        (Shares(Budget(100, 5), {FIRM: Budget(1, 3), BANK: Budget(1, 3)}), "6e-12"),
        (Shares(Budget(100, 1_000), {FIRM: Budget(1)}), "1000e-12"),
        (Shares(Budget(100), {"demo-enterprize": Budget(1)}), "demo-enterprize"),
    ],
    ids=["rho over the cap", "delta over the cap", "delta too large to state", "nobody"],
)
def test_figures_that_promise_too_much_are_refused(
    market: Services, shares: Shares, said: str
) -> None:
    error = refused(propose, market, shares)
    assert error.code == "BAD_REQUEST"
    assert said in error.en


def test_the_proposer_never_decides_whatever_the_roles(market: Services) -> None:
    both = Person("bureau-approver", "bureau", ("reviewer", "approver"), "en")
    found = propose(market, person=both)
    assert refused(decide, market, found, both).code == "SAME_PERSON"
    other = Person("second-approver", "bureau", ("approver",), "en")
    assert decide(market, found, other).state is State.IN_FORCE


@pytest.mark.parametrize("name", sorted(set(PEOPLE) - {"bureau-reviewer", "bureau-approver"}))
def test_nobody_outside_the_bureau_proposes_or_decides(market: Services, name: str) -> None:
    found = propose(market)
    assert refused(propose, market, person=PEOPLE[name]).code in ("FORBIDDEN", "ROLE_REFUSED")
    assert refused(decide, market, found, PEOPLE[name]).code in ("FORBIDDEN", "ROLE_REFUSED")
    assert refused(market.proposals.withdraw, PEOPLE[name], found.id)
    assert market.proposals.listed(REVIEWER)[0].state is State.WAITING


def test_an_approver_of_another_organisation_is_refused_by_code_too(
    market: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = propose(market)
    outsider = Person("second", "tax-department", ("approver",), "en")
    permitted = market.proposals.desk.decide(
        APPROVER, "decideBudget", "Lab", "lab", {"bureau": "bureau"}
    )
    monkeypatch.setattr(type(market.proposals.desk), "decide", lambda *_, **__: permitted)
    assert refused(decide, market, found, outsider).code == "ROLE_REFUSED"


def test_a_reviewer_proposes_and_does_not_decide(market: Services) -> None:
    found = propose(market, person=APPROVER)
    assert refused(decide, market, found, REVIEWER).code in ("FORBIDDEN", "ROLE_REFUSED")


def test_a_word_counts_for_the_text_that_was_read_and_once(market: Services) -> None:
    found = propose(market)
    wrong = refused(market.proposals.decide, APPROVER, found.id, "0" * 64, "", approve=True)
    assert wrong.code == "TEXT_CHANGED"
    decide(market, found)
    for approve in (True, False):
        assert refused(decide, market, found, approve=approve).code == "WRONG_STATE"
    assert refused(market.proposals.withdraw, REVIEWER, found.id).code == "WRONG_STATE"


def test_a_proposal_that_replaces_other_figures_than_it_says_is_refused(market: Services) -> None:
    first, second = propose(market), propose(market, Shares(Budget(50), {FIRM: Budget(50)}))
    decide(market, first)
    assert refused(decide, market, second).code == "WRONG_STATE"
    third = propose(market, Shares(Budget(50), {FIRM: Budget(50)}))
    decide(market, third)
    states = {p.id: p.state for p in market.proposals.listed(REVIEWER)}
    assert states[first.id] is State.REPLACED
    assert refused(spend, market, "theirs", 1, 2027, BANK).code == "BUDGET_EXHAUSTED"
    assert replay(market.database).findings == ()


def test_only_who_made_it_takes_it_back(market: Services) -> None:
    found = propose(market)
    assert refused(market.proposals.withdraw, APPROVER, found.id).code == "FORBIDDEN"
    assert market.proposals.withdraw(REVIEWER, found.id).state is State.WITHDRAWN
    assert refused(decide, market, found).code == "WRONG_STATE"
    assert replay(market.database).findings == ()


def test_proposals_are_seen_by_the_bureau_and_its_auditors(market: Services) -> None:
    propose(market)
    for name in ("bureau-reviewer", "bureau-approver", "regulator", "audit-admin"):
        assert len(market.proposals.listed(PEOPLE[name])) == 1
    for name in ("analyst", "bank-risk", "tax-provider", "operator"):
        assert refused(market.proposals.listed, PEOPLE[name])


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (update(cohort_caps).values(micro_rho=10**6), "the cohort's own budget of"),
        (delete(cohort_caps), "the cohort's own budget of"),
        (
            insert(cohort_caps).values(
                domain="enterprise", cohort=2028, tenant="", micro_rho=1, delta_1e12=0
            ),
            "the cohort's own budget of",
        ),
        (update(db.caps).values(micro_rho=10**6), "the budget of"),
        (update(db.accounts).values(cap_micro_rho=10**6), "the log allows"),
        (update(proposals).values(state="waiting"), "differ on whether it came into force"),
    ],
    ids=[
        "a cohort's own figures raised",
        "a cohort's own figures lost",
        "a cohort given figures below the service",
        "figures of all cohorts raised",
        "an account's cap raised",
        "a decision taken back",
    ],
)
def test_a_difference_that_was_planted_is_found_and_stops_the_start(
    settings: Settings, damage: object, said: str
) -> None:
    with parts(settings) as market:
        decide(market, propose(market))
        spend(market, "one", 500, 2027)
        assert replay(market.database).findings == ()
        with market.database.engine.connect() as connection:
            without_foreign_keys(connection)
            connection.execute(damage)  # type: ignore[call-overload]
            connection.commit()
        findings = replay(market.database).findings
    assert any(said in f for f in findings), findings
    with pytest.raises(LedgerBehindLogError, match="differences"), parts(settings):
        pass


def test_the_command_reports_caps_and_a_planted_difference(settings: Settings) -> None:
    with parts(settings) as market:
        decide(market, propose(market))
        spend(market, "one", 500, 2027)
    told = recounted(settings)
    assert (told.returncode, "0 differences" in told.stdout) == (0, True)
    assert f"enterprise 2027 {FIRM}: 500 micro-rho, 0e-12 delta; of 3000 and 40e-12" in told.stdout
    assert "enterprise 2027 has a budget of its own: 5000 micro-rho" in told.stdout
    database = db.open_database(settings.database_url)
    with database.writing() as connection:
        connection.execute(update(cohort_caps).values(micro_rho=9_000))
    database.close()
    told = recounted(settings)
    assert (told.returncode, "3 differences" in told.stdout) == (1, True)
    assert "DIFFERENCE the cohort's own budget of ('enterprise', 2027, '')" in told.stdout


def recounted(settings: Settings) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "marketplace", "replay", "--home", str(settings.home)],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, **environment(settings.home)},
    )


def test_the_recount_finds_what_a_service_without_its_checks_lets_through(
    market: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    spend(market, "early", 300, 2027)
    for check in ("check_cohort", "check_shares"):
        monkeypatch.setattr(f"marketplace.budgets.proposals.{check}", lambda *_: None)
    decide(market, propose(market, Shares(Budget(10), {FIRM: Budget(11)})))
    decide(market, propose(market, cohort=2026))
    findings = " ".join(replay(market.database).findings)
    assert "2027 changed after it was charged" in findings
    assert "2027 has allotments that exceed the cap" in findings
    assert "2026 changed after it had begun" in findings


def test_the_recount_finds_spending_over_what_the_log_allows(
    market: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    generous = Shares(Budget(10**6), {FIRM: Budget(10**6)})
    monkeypatch.setattr("marketplace.budgets.store.shares_of", lambda *_: generous)
    spend(market, "one", 1_500, 2026)
    assert any(
        "the log spent (1500, 0) of (1000, 50)" in f for f in replay(market.database).findings
    )


def test_a_home_from_before_caps_were_logged_gets_them_at_its_next_start(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without_log(database: db.Database, *_: object) -> None:
        with database.writing() as connection:
            rows = [("", 2_000, 100), (FIRM, 1_000, 50), (BANK, 1_000, 50)]
            connection.execute(
                insert(db.caps),
                [
                    {"domain": "enterprise", "tenant": t, "micro_rho": m, "delta_1e12": d}
                    for t, m, d in rows
                ],
            )

    with monkeypatch.context() as earlier:
        earlier.setattr("marketplace.app.pin", without_log)
        with parts(settings) as market:
            spend(market, "one", 300, 2026)
            found = replay(market.database)
            assert (found.findings, found.caps) == ((), {})
    with parts(settings) as market:
        found = replay(market.database)
    assert found.findings == ()
    assert found.caps["enterprise", 2026, FIRM] == (1_000, 50)
    with parts(settings) as market:
        assert len(logged(market, "budget:pin")) == 1


def test_a_tenant_that_the_policy_adds_is_logged_and_gets_nothing_of_a_settled_cohort(
    settings: Settings,
) -> None:
    roomy = POLICY.replace("cap: {micro_rho: 2000", "cap: {micro_rho: 3000")
    (settings.home / "budgets.yaml").write_text(roomy)
    with parts(settings) as market:
        decide(market, propose(market, Shares(Budget(100), {FIRM: Budget(100)})))
    added = "      bureau: {micro_rho: 500, delta_1e12: 0}\ngrants:"
    (settings.home / "budgets.yaml").write_text(roomy.replace("grants:", added))
    with parts(settings) as market:
        assert len(logged(market, "budget:pin")) == 2
        found = replay(market.database)
        assert found.findings == ()
        assert found.pinned["enterprise", "bureau"] == (500, 0)
        assert "bureau" not in found.own["enterprise", 2027]


def test_words_of_somebody_erased_are_gone_and_the_proposal_cannot_be_decided(
    market: Services,
) -> None:
    propose(market)
    with market.database.writing() as connection:
        assert People(connection).forget("bureau-reviewer")
    (seen,) = market.proposals.listed(APPROVER)
    assert (seen.reason, "reviewer" in seen.by) == ("erased", False)
    for approve in (True, False):
        assert refused(decide, market, seen, approve=approve).code == "WRONG_STATE"
