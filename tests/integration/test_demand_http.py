"""Demands over HTTP: each role its steps, the board, repetitions, the rate, the log, erasure."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import select

from marketplace import db
from marketplace.audit.openings import Basis, Ground
from marketplace.audit.people import People
from marketplace.demand import store
from marketplace.demand.model import Step, Wanted
from marketplace.errors import MarketplaceError
from marketplace.identity.model import SEEDED, Person
from marketplace.services import Services
from marketplace.settings import Settings
from tests.support.desk import Caller
from tests.support.marketplace import Running, make_home, parts, running

WANTED = {
    "title": "企业用电数据（按月）",
    "need": "Lending to firms of 50 to 200 people.",
    "purpose": "market-research",
    "lane": "dp",
}
PEOPLE = {name: Person(name, org, roles, "en") for name, org, roles in SEEDED}
STATED: dict[Step, dict[str, str]] = {
    Step.DISPATCH: {"provider": "tax-department"},
    Step.MATCH: {"table": "tax_summary"},
    Step.BLOCK: {"barrier": "quality"},
    Step.REJECT: {"rejection": "unclear"},
}
MAY: dict[Step, frozenset[str]] = {
    Step.SUBMIT: frozenset(),
    Step.DISPATCH: frozenset({"bureau-reviewer", "bureau-approver", "operator"}),
    Step.REJECT: frozenset({"bureau-reviewer", "bureau-approver", "operator"}),
    Step.MATCH: frozenset({"tax-provider"}),
    Step.BLOCK: frozenset({"tax-provider"}),
    Step.DELIVER: frozenset({"tax-provider"}),
    Step.DISPUTE: frozenset({"analyst"}),
    Step.WITHDRAW: frozenset({"analyst"}),
}
"""Who may take a step on a demand of the analyst's that was sent to the tax department."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(make_home(tmp_path_factory.mktemp("demand") / "home")) as one:
        yield one


@pytest.fixture
def home(tmp_path: Any) -> Settings:
    return make_home(tmp_path / "home")


@pytest.fixture
def market(home: Settings) -> Iterator[Services]:
    with parts(home) as services:
        yield services


def code_of(call: Any, *given: Any, **named: Any) -> str:
    with pytest.raises(MarketplaceError) as caught:
        call(*given, **named)
    return caught.value.code


def wanted(title: str = "企业用电数据", **other: str) -> Wanted:
    return Wanted(title, "need", "market-research", "dp", **other)


def test_a_demand_goes_its_way_over_http(server: Running) -> None:
    analyst, bureau = Caller(server, "analyst"), Caller(server, "bureau-reviewer")
    provider, bank = Caller(server, "tax-provider"), Caller(server, "bank-risk")
    made = analyst.post("/demands", WANTED)
    assert (made["state"], made["like"], made["tenant"]) == ("submitted", [], "demo-enterprise")
    assert made["due"]
    name = made["id"]
    assert analyst.refused("POST", "/demands", WANTED) == "ALREADY_DEMANDED"
    other = bank.post("/demands", {**WANTED, "title": "企业用电数据"})
    assert [d["id"] for d in other["like"]] == [name]
    seen = bank.get(f"/demands/{name}")
    assert (seen["title"], seen["tenant"], seen["need"]) == (WANTED["title"], None, None)
    assert bureau.post(f"/demands/{name}/dispatch", STATED[Step.DISPATCH])["state"] == "dispatched"
    assert provider.post(f"/demands/{name}/match", STATED[Step.MATCH])["state"] == "matched"
    assert provider.post(f"/demands/{name}/deliver", {})["state"] == "delivered"
    assert analyst.post(f"/demands/{name}/dispute", {"comment": "2025 lacks"})["state"] == "matched"
    assert provider.post(f"/demands/{name}/deliver", {})["state"] == "delivered"
    again = {"rejection": "repetition", "repeats": name}
    assert bureau.post(f"/demands/{other['id']}/reject", again)["state"] == "rejected"
    rate = bank.get("/demands/satisfaction")
    assert (rate["demand_satisfaction_rate"], rate["met"], rate["valid"]) == ("100.00", 1, 1)
    assert rate["demands"]["repetitions"] == [other["id"]]
    assert [d["id"] for d in bank.get("/demands?state=delivered")] == [name]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({**WANTED, "title": "？！"}, "BAD_REQUEST"),
        ({**WANTED, "table": "no_such_table"}, "UNKNOWN_TABLE"),
        ({**WANTED, "purpose": "WHERE uscc = 1"}, "BAD_REQUEST"),
        ({**WANTED, "title": "x" * 121}, "BAD_REQUEST"),
        ({**WANTED, "state": "delivered"}, "BAD_REQUEST"),
    ],
    ids=["no words", "table", "free purpose", "long", "more fields"],
)
def test_bad_demands_are_refused_and_nothing_is_stored(
    server: Running, body: dict[str, str], code: str
) -> None:
    analyst = Caller(server, "analyst")
    before = len(analyst.get("/demands"))
    assert analyst.refused("POST", "/demands", body) == code
    assert len(analyst.get("/demands")) == before


def brought_to(market: Services, step: Step) -> str:
    """Make a demand for which `step` is the next one."""
    shown, _ = market.demands.submit(PEOPLE["analyst"], wanted())
    way = {
        Step.MATCH: [Step.DISPATCH],
        Step.BLOCK: [Step.DISPATCH],
        Step.DELIVER: [Step.DISPATCH, Step.MATCH],
        Step.DISPUTE: [Step.DISPATCH, Step.MATCH, Step.DELIVER],
    }
    for each in way.get(step, []):
        who = PEOPLE[min(MAY[each])]
        market.demands.take(who, shown.demand.id, each, **STATED.get(each, {}))
    return shown.demand.id


@pytest.mark.parametrize("step", list(MAY), ids=str)
def test_every_role_takes_its_own_steps_and_no_other(market: Services, step: Step) -> None:
    name = brought_to(market, step)
    for user in sorted(set(PEOPLE) - MAY[step]):
        refused = code_of(market.demands.take, PEOPLE[user], name, step, **STATED.get(step, {}))
        assert refused == ("NOT_FOUND" if step is Step.SUBMIT else "ROLE_REFUSED"), user
    kept = market.demands.one(PEOPLE["regulator"], name).demand
    assert kept.latest.step is not step or step is Step.SUBMIT
    for user in sorted(MAY[step])[:1]:
        market.demands.take(PEOPLE[user], name, step, **STATED.get(step, {}))


def test_who_may_demand(market: Services) -> None:
    for user, person in PEOPLE.items():
        may = user in {"analyst", "bank-risk", "credit-agency"}
        if may:
            market.demands.submit(person, wanted(f"数据 {user}"))
        else:
            assert code_of(market.demands.submit, person, wanted(f"数据 {user}")) == "ROLE_REFUSED"


def test_nothing_is_delivered_without_a_grant(market: Services) -> None:
    shown, _ = market.demands.submit(PEOPLE["credit-agency"], wanted())
    name, demands = shown.demand.id, market.demands
    demands.take(PEOPLE["operator"], name, Step.DISPATCH, **STATED[Step.DISPATCH])
    demands.take(PEOPLE["tax-provider"], name, Step.MATCH, **STATED[Step.MATCH])
    assert code_of(demands.take, PEOPLE["tax-provider"], name, Step.DELIVER) == "NOT_GRANTED"
    assert demands.satisfaction().rate == "0.00"


def test_a_provider_matches_tables_of_its_own_only(market: Services) -> None:
    name = brought_to(market, Step.MATCH)
    stated = {"table": "social_insurance"}
    refused = code_of(market.demands.take, PEOPLE["tax-provider"], name, Step.MATCH, **stated)
    assert refused == "BAD_REQUEST"


def test_a_provider_who_answers_for_nothing_is_not_sent_anything(market: Services) -> None:
    name = brought_to(market, Step.DISPATCH)
    for provider in ("nobody", "demo-bank"):
        stated = {"provider": provider}
        refused = code_of(market.demands.take, PEOPLE["operator"], name, Step.DISPATCH, **stated)
        assert refused == "BAD_REQUEST"


def test_each_step_is_an_entry_and_a_refused_one_too(market: Services) -> None:
    name = brought_to(market, Step.MATCH)
    code_of(market.demands.take, PEOPLE["hr-provider"], name, Step.MATCH, **STATED[Step.MATCH])
    with market.database.reading() as connection:
        rows = connection.execute(select(db.entries.c.bytes).order_by(db.entries.c.index)).all()
    entries = [json.loads(bytes(r[0])) for r in rows]
    steps = [e["facts"] for e in entries if e["event"] == "demand:step"]
    assert [(s["step"], s["state"], s["demand"] == name) for s in steps] == [
        ("submit", "submitted", True),
        ("dispatch", "dispatched", True),
    ]
    refused = [e["facts"] for e in entries if e["event"] == "access:deny"]
    assert (refused[-1]["step"], refused[-1]["code"]) == ("match", "ROLE_REFUSED")
    text = json.dumps(entries, ensure_ascii=False)
    assert not any(word in text for word in ("企业用电数据", "analyst", "tax_summary"))


def test_people_are_told_of_what_concerns_them(market: Services) -> None:
    name = brought_to(market, Step.DELIVER)
    with market.database.reading() as connection:
        told = [n for n in _notices(connection) if n[1] == name]
    assert ("bureau-reviewer", name, "demand") in told
    assert ("tax-provider", name, "demand-dispatch") in told
    assert ("analyst", name, "demand-match") in told
    assert all(user in {"analyst", "tax-provider", *_bureau()} for user, _, _ in told)


def _bureau() -> set[str]:
    return {p.user for p in PEOPLE.values() if {"reviewer", "approver"} & set(p.roles)}


def _notices(connection: Any) -> list[tuple[str, str, str]]:
    from marketplace.access.store import notices  # noqa: PLC0415  # beside its only use

    people = People(connection)
    rows = connection.execute(select(notices.c.user, notices.c.about, notices.c.event))
    return [(people.name(r.user), r.about, r.event) for r in rows]


def test_erasure_takes_words_and_names_and_leaves_the_way(market: Services) -> None:
    name = brought_to(market, Step.DELIVER)
    told = Ground(Basis.SUBJECT_REQUEST, "case 2026-19")
    market.openings.erase(PEOPLE["audit-admin"], told, "analyst")
    left = market.demands.one(PEOPLE["regulator"], name).demand
    assert (left.wanted.title, left.wanted.need) == (store.ERASED, store.ERASED)
    assert left.user != "analyst"
    assert [s.step for s in left.steps] == [Step.SUBMIT, Step.DISPATCH, Step.MATCH]
    assert market.demands.satisfaction().unmet == (name,)


def test_no_name_and_no_word_stands_in_the_files(market: Services, home: Settings) -> None:
    name = brought_to(market, Step.DISPATCH)
    market.demands.take(
        PEOPLE["operator"], name, Step.DISPATCH, provider="tax-department", comment="Li Si called"
    )
    data = b"".join(f.read_bytes() for f in home.home.glob("marketplace.db*"))
    for word in ("企业用电数据", "Li Si called"):
        assert word.encode() not in data
