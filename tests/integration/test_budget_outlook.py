"""Calendar, remaining questions and datasets: right figures, and nobody else's."""

import datetime as dt
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from marketplace import db
from marketplace.app import assemble, build
from marketplace.budgets.calendar import Line, Phase
from marketplace.budgets.model import COHORT, Shares
from marketplace.errors import MarketplaceError
from marketplace.identity.model import SEEDED, Person
from marketplace.portal.language import words
from marketplace.releases.crash import nowhere
from marketplace.releases.model import Item
from marketplace.services import Services
from marketplace.settings import Settings
from privacy.dp.budget import Budget
from tests.support.marketplace import ask, digest, item, made, make_home, token
from tests.support.serving import serving

PEOPLE = {name: Person(name, org, roles, "en") for name, org, roles in SEEDED}
ANALYST, BANKER, REVIEWER = (PEOPLE[n] for n in ("analyst", "bank-risk", "bureau-reviewer"))
FIRM, BANK = "demo-enterprise", "demo-bank"


class Clock:
    """A clock that tests move."""

    def __init__(self) -> None:
        self.now = dt.datetime(2026, 11, 1, 9, tzinfo=dt.UTC)

    def __call__(self) -> dt.datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return make_home(tmp_path / "home")


@pytest.fixture
def market(settings: Settings, clock: Clock) -> Iterator[Services]:
    services = assemble(settings, nowhere, clock)
    yield services
    services.database.close()


@pytest.fixture
def visitor(market: Services, clock: Clock) -> Iterator[httpx.Client]:
    with serving(build(market, clock)) as url, httpx.Client(base_url=url) as client:
        yield client


def spend(
    market: Services,
    name: str,
    cost: int,
    cohorts: tuple[int, ...] = (2026,),
    *,
    tenant: str = FIRM,
    tables: dict[str, str] | None = None,
    record: bool = True,
) -> None:
    asked = ask(name, item(name, cost, cohorts), tenant=tenant, tables=tables)
    held = market.releases.reserve(asked)
    if record:
        answers = tuple(made(i) for i in asked.items)
        market.releases.record(held.id, held.fencing_token, answers, asked.tables)


def line(lines: list[Line], cohort: int, holder: str = FIRM) -> Line:
    (found,) = [x for x in lines if (x.cohort, x.holder) == (cohort, holder)]
    return found


def test_the_day_on_which_a_share_is_gone_follows_the_last_days_of_its_cohort(
    market: Services, clock: Clock
) -> None:
    for day in range(4):
        spend(market, f"q{day}", 100, (2025, 2026) if day else (2026,))
        clock.now += dt.timedelta(days=1)
    clock.now -= dt.timedelta(days=1)  # still the fourth day
    lines = market.outlook.calendar(ANALYST)
    both, later = line(lines, 2026), line(lines, 2025)
    assert (both.spent, both.left, both.lately) == (Budget(400), Budget(600, 50), 400)
    assert both.exhausted == dt.date(2026, 11, 4) + dt.timedelta(days=6)
    assert later.exhausted == dt.date(2026, 11, 4) + dt.timedelta(days=7)
    coming = line(lines, 2027)
    assert (coming.phase, coming.begins) == (Phase.COMING, dt.date(2027, 1, 1))
    assert (coming.exhausted, coming.left) == (None, Budget(1_000, 50))
    clock.now += dt.timedelta(days=40)
    assert line(market.outlook.calendar(ANALYST), 2026).exhausted is None
    spend(market, "rest", 600)
    assert line(market.outlook.calendar(ANALYST), 2026).phase is Phase.USED_UP


def test_what_is_paid_back_is_no_spending(market: Services) -> None:
    held = market.releases.reserve(ask("one", item("one", 300, (2026,))))
    market.releases.nothing_read(held.id, held.fencing_token, "-")
    found = line(market.outlook.calendar(ANALYST), 2026)
    assert (found.spent, found.by_day, found.exhausted) == (Budget(0), {}, None)
    assert market.outlook.datasets(ANALYST) == []


def test_every_new_year_begins_a_cohort_and_own_figures_are_shown(
    market: Services, clock: Clock
) -> None:
    wanted = Shares(Budget(5_000), {FIRM: Budget(4_000)})
    found = market.proposals.propose(REVIEWER, "enterprise", 2028, wanted, "-")
    approver = PEOPLE["bureau-approver"]
    market.proposals.decide(approver, found.id, found.sha256, "", approve=True)
    lines = market.outlook.calendar(ANALYST)
    assert [x.cohort for x in lines] == [2026, 2027, 2028]
    assert (line(lines, 2028).share, line(lines, 2028).own_figures) == (Budget(4_000), True)
    bank = line(market.outlook.calendar(BANKER), 2028, BANK)
    assert (bank.share, bank.phase) == (Budget(0), Phase.NONE)
    clock.now = clock.now.replace(year=2027)
    assert line(market.outlook.calendar(ANALYST), 2027).phase is Phase.OPEN
    assert line(market.outlook.calendar(ANALYST), 2028).phase is Phase.COMING


def test_totals_of_all_tenants_add_up_to_the_accounts(market: Services) -> None:
    spend(market, "one", 300, (2025, 2026))
    spend(market, "two", 200, (2026,), tenant=BANK)
    lines = market.outlook.calendar(REVIEWER)
    with market.database.reading() as connection:
        rows = connection.execute(select(db.accounts)).all()
    for row in rows:
        found = line(lines, row.cohort, row.tenant)
        assert found.spent.micro_rho == row.spent_micro_rho == sum(found.by_day.values())
    assert line(lines, 2026, COHORT).spent == Budget(500)
    assert {x.holder for x in lines if x.cohort == 2027} == {COHORT, FIRM, BANK}


def seen(visitor: httpx.Client, settings: Settings, user: str, path: str) -> httpx.Response:
    return visitor.get(
        f"/api/v1/budget{path}", headers={"authorization": f"Bearer {token(settings, user)}"}
    )


PATHS = ("/calendar", "/questions", "/datasets", "/datasets/tax_summary", "/proposals")


def test_what_a_tenant_sees_is_the_same_whatever_others_ask(
    visitor: httpx.Client, market: Services, settings: Settings
) -> None:
    spend(market, "mine", 100, (2025, 2026))

    def everything() -> list[tuple[int, str]]:
        answers = [seen(visitor, settings, "analyst", path) for path in PATHS]
        return [(a.status_code, a.text) for a in answers]

    before = everything()
    for n in range(3):
        spend(market, f"theirs {n}", 300, (2024, 2026, 2027), tenant=BANK)
    assert everything() == before
    assert BANK not in "".join(text for _, text in before)
    codes = [seen(visitor, settings, "analyst", f"{p}?tenant={BANK}").status_code for p in PATHS]
    assert codes == [404, 422, 404, 404, 422]
    unknown = seen(visitor, settings, "analyst", "/calendar?tenant=nobody")
    known = seen(visitor, settings, "analyst", f"/calendar?tenant={BANK}")
    assert (unknown.status_code, unknown.text) == (known.status_code, known.text)


def test_who_oversees_budgets_sees_every_tenant_and_the_look_is_an_entry(
    visitor: httpx.Client, market: Services, settings: Settings, clock: Clock
) -> None:
    spend(market, "mine", 100)
    spend(market, "theirs", 300, tenant=BANK)
    for _ in range(3):
        shares = seen(visitor, settings, "bureau-reviewer", "/calendar").json()["shares"]
    figures = {(s["cohort"], s["tenant"]): s["spent_micro_rho"] for s in shares}
    assert figures[2026, None] == 400
    assert (figures[2026, FIRM], figures[2026, BANK]) == (100, 300)
    one = seen(visitor, settings, "regulator", f"/calendar?tenant={BANK}").json()["shares"]
    assert {s["tenant"] for s in one} == {BANK}
    assert seen(visitor, settings, "regulator", "/calendar?tenant=nobody").status_code == 404
    assert reads(market) == 2
    clock.now += dt.timedelta(minutes=16)
    seen(visitor, settings, "regulator", "/datasets")
    assert reads(market) == 3
    seen(visitor, settings, "analyst", "/calendar")
    assert reads(market) == 3


def reads(market: Services) -> int:
    with market.database.reading() as connection:
        rows = connection.execute(select(db.entries.c.bytes)).scalars()
        return sum(json.loads(bytes(r))["event"] == "budget:read" for r in rows)


def test_a_question_can_be_asked_again_as_often_as_its_first_cohort_allows(
    visitor: httpx.Client, market: Services, settings: Settings, clock: Clock
) -> None:
    spend(market, "narrow", 300, (2026,))
    clock.now += dt.timedelta(seconds=1)
    spend(market, "wide", 100, (2025, 2026))
    newest, oldest = seen(visitor, settings, "analyst", "/questions").json()
    assert (newest["operation_id"], newest["more"]) == ("wide", 6)
    assert newest["limit"] == {"domain": "enterprise", "cohort": 2026, "by": "micro_rho"}
    assert (oldest["operation_id"], oldest["more"]) == ("narrow", 2)
    for n in range(oldest["more"]):
        spend(market, f"again {n}", 300, (2026,))
    with pytest.raises(MarketplaceError, match="This answer costs 300"):
        spend(market, "once too often", 300, (2026,))
    again = seen(visitor, settings, "analyst", "/questions").json()
    assert {q["operation_id"]: q["more"] for q in again}["narrow"] == 0
    assert seen(visitor, settings, "bank-risk", "/questions").json() == []


def test_a_question_of_several_releases_is_priced_as_a_whole_and_delta_counts(
    market: Services, clock: Clock
) -> None:
    two = (item("a", 100, (2026,)), item("b", 50, (2025, 2026)))
    market.releases.reserve(ask("both", *two))
    (asked,) = market.outlook.asked(ANALYST)
    assert asked.price == {("enterprise", 2025): Budget(50), ("enterprise", 2026): Budget(150)}
    assert asked.more is not None
    assert (asked.more.times, asked.more.cohort) == (850 // 150, 2026)
    clock.now += dt.timedelta(seconds=1)
    keys = Item(digest("keys"), "enterprise", (2026,), Budget(10, 20))
    market.releases.reserve(ask("keys", keys))
    newest = market.outlook.asked(ANALYST)[0]
    assert newest.more is not None
    assert (newest.more.times, newest.more.by_delta) == (1, True)


@pytest.mark.parametrize(
    "tables",
    [{"tax_summary": "v2"}, {"tax_summary_renamed": "v1"}, {"tax_copy": "9"}],
    ids=["a new version", "another name", "a copy"],
)
def test_a_new_version_or_another_name_of_a_table_brings_no_new_budget(
    market: Services, tables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    spend(market, "all", 1_000, (2025, 2026))
    # What is asked here is the ledger alone: whether the name was granted is not its matter.
    monkeypatch.setattr(type(market.gate), "check", lambda *_, **__: type("Passed", (), PASSED)())
    for cohorts in ((2025,), (2026,), (2025, 2026)):
        with pytest.raises(MarketplaceError) as caught:
            spend(market, f"more {cohorts}", 1, cohorts, tables=tables)
        assert caught.value.code == "BUDGET_EXHAUSTED"


PASSED: dict[str, Any] = {"contracts": (), "decisions": ()}


def test_a_dataset_is_one_lineage_of_versions_with_one_set_of_accounts(
    visitor: httpx.Client, market: Services, settings: Settings, clock: Clock
) -> None:
    spend(market, "one", 100, (2025, 2026))
    clock.now += dt.timedelta(days=1)
    spend(market, "two", 150, (2026,), tables={"tax_summary": "v2"})
    spend(market, "lost", 50, (2026,), tables={"tax_summary": "v2"}, record=False)
    spend(market, "theirs", 500, (2026,), tenant=BANK, tables={"tax_summary": "v2"})
    found = seen(visitor, settings, "analyst", "/datasets/tax_summary").json()
    assert (found["versions"], found["cohorts"]) == (["v1", "v2"], [2025, 2026])
    assert (found["releases"], found["charged_micro_rho"]) == (2, 300)
    accounts = {a["cohort"]: a["left_micro_rho"] for a in found["accounts"]}
    assert accounts == {2025: 900, 2026: 700}
    every = seen(visitor, settings, "regulator", "/datasets/tax_summary").json()
    assert (every["releases"], every["charged_micro_rho"]) == (3, 800)
    assert {u["tenant"] for u in every["uses"]} == {FIRM, BANK}
    bank = seen(visitor, settings, "regulator", f"/datasets/tax_summary?tenant={BANK}").json()
    assert (bank["releases"], bank["versions"]) == (1, ["v2"])
    assert seen(visitor, settings, "analyst", "/datasets/social_insurance").status_code == 404


def sign_in(visitor: httpx.Client, settings: Settings, user: str) -> None:
    visitor.cookies.clear()
    answer = visitor.post("/sign-in", data={"token": token(settings, user)})
    assert answer.status_code == 303


def csrf(page: httpx.Response) -> str:
    found = re.search(r'name="csrf" value="([^"]+)"', page.text)
    assert found is not None
    return found[1]


def test_every_page_asks_to_sign_in_first(visitor: httpx.Client) -> None:
    for path in ("calendar", "proposals", f"tenants/{BANK}", "datasets/tax_summary"):
        answer = visitor.get(f"/budget/{path}")
        assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in")


def test_pages_show_the_same_figures_and_nobody_elses(
    visitor: httpx.Client, market: Services, settings: Settings
) -> None:
    spend(market, "mine", 123)
    spend(market, "theirs", 321, tenant=BANK)
    sign_in(visitor, settings, "analyst")
    page = visitor.get("/budget/calendar").text
    for figure in ("877", "123", "2027-01-01", ">7<"):
        assert figure in page
    assert "321" not in page
    assert BANK not in page
    table = visitor.get("/budget/datasets/tax_summary").text
    assert "<code>v1</code>" in table
    assert "321" not in table
    for path in (f"/budget/tenants/{BANK}", f"/budget/datasets/tax_summary?tenant={BANK}"):
        assert visitor.get(path).status_code == 404
    assert visitor.get("/budget/proposals").status_code == 403
    sign_in(visitor, settings, "bureau-reviewer")
    assert "444" in visitor.get("/budget/calendar").text
    theirs = visitor.get(f"/budget/tenants/{BANK}").text
    assert "321" in theirs
    assert "123" not in theirs
    for path in ("/budget/calendar", "/budget/proposals", "/budget/datasets/tax_summary"):
        text = visitor.get(path).text
        assert re.findall(r"<script(?![^>]* src=)", text) == []
        assert re.findall(r"\son\w+=|\sstyle=|javascript:", text) == []


def test_a_cohorts_budget_is_proposed_and_decided_on_the_page(
    visitor: httpx.Client, market: Services, settings: Settings
) -> None:
    sign_in(visitor, settings, "bureau-reviewer")
    form = {
        "csrf": csrf(visitor.get("/budget/proposals")),
        "domain": "enterprise",
        "cohort": "2027",
        "rho:": "5,000",
        "delta:": "90",
        f"rho:{FIRM}": "4000",
        f"delta:{FIRM}": "10",
        f"rho:{BANK}": "0",
        "reason": "<b>more</b> demand",
    }
    assert visitor.post("/budget/proposals", data={**form, "csrf": "guess"}).status_code == 403
    for wrong in ({"rho:": "-1"}, {"rho:": "1.5"}, {"cohort": "20270"}, {"reason": " "}):
        assert visitor.post("/budget/proposals", data={**form, **wrong}).status_code == 422
    assert visitor.post("/budget/proposals", data=form).status_code == 303
    (found,) = market.proposals.listed(REVIEWER)
    assert found.shares == Shares(Budget(5_000, 90), {FIRM: Budget(4_000, 10)})
    page = visitor.get("/budget/proposals").text
    assert "&lt;b&gt;more" in page
    assert words("en")["proposals.approve"] not in page
    decision = f"/budget/proposals/{found.id}/decision"
    own = {"csrf": form["csrf"], "text_sha256": found.sha256, "verdict": "approve"}
    assert visitor.post(decision, data=own).status_code == 403
    sign_in(visitor, settings, "bureau-approver")
    page = visitor.get("/budget/proposals")
    given = {"csrf": csrf(page), "text_sha256": found.sha256, "verdict": "approve"}
    assert found.sha256 in page.text
    assert visitor.post(decision, data=given).status_code == 303
    page = visitor.get("/budget/proposals")
    assert words("en")["proposals.state.in-force"] in page.text
    drafted = dict(re.findall(r'name="((?:rho|delta):[^"]*)".* value="(\d+)"', page.text))
    assert (drafted["rho:"], drafted[f"rho:{FIRM}"], drafted[f"rho:{BANK}"]) == (
        "5000",
        "4000",
        "0",
    )
    assert line(market.outlook.calendar(ANALYST), 2027).share == Budget(4_000, 10)
