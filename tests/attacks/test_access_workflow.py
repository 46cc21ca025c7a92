"""Attacks on access over HTTP: E (revocation), F, H1, H9, H14, H15."""

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import select, update

from marketplace import db
from marketplace.access import grant_store
from marketplace.access.grant import from_text
from marketplace.access.model import State, Terms, Verdict
from marketplace.access.worker import Worker
from marketplace.errors import MarketplaceError
from marketplace.identity.model import SEEDED, Person
from marketplace.services import Services
from tests.support.desk import WANTED, Caller
from tests.support.marketplace import Running, ask, make_home, parts, running

EVERYBODY = [name for name, _, _ in SEEDED]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(make_home(tmp_path_factory.mktemp("market") / "home")) as process:
        yield process


@pytest.fixture
def market(tmp_path: Path) -> Iterator[Services]:
    with parts(make_home(tmp_path / "home")) as services:
        yield services


def asked(server: Running, user: str = "analyst", **more: Any) -> Any:
    return Caller(server, user).post("/access/requests", {**WANTED, **more})


def verdict(text: str, word: str = "agree") -> dict[str, str]:
    return {"verdict": word, "text_sha256": text}


def test_every_step_by_everybody_is_allowed_or_refused_as_written_here(server: Running) -> None:
    """H1: roles times steps times objects."""
    request = asked(server)
    path, text = f"/access/requests/{request['id']}", request["text_sha256"]
    grant = Caller(server, "analyst").get("/access/grants")[0]["id"]
    table_stop = {"scope": "table", "target": "bid_record", "reason": "x"}
    bodies: dict[tuple[str, str], tuple[Any, set[str]]] = {
        ("GET", path): (
            None,
            {
                "analyst",
                "regulator",
                "bureau-reviewer",
                "bureau-approver",
                "operator",
                "hr-provider",
                "audit-admin",
            },
        ),
        ("PUT", path): (WANTED, {"analyst"}),
        ("POST", f"{path}/approvals"): (verdict(text), set()),
        ("POST", f"{path}/reviews"): (verdict("0" * 64), set()),
        ("POST", "/access/stops"): (table_stop, {"bureau-approver", "operator", "security-admin"}),
        ("POST", f"/access/grants/{grant}/renewals"): ({"reason": "x"}, {"analyst"}),
        ("POST", "/funnel/somebody"): ({"stage": "active"}, set()),
        ("GET", "/access/requests/" + "0" * 32): (None, set()),
        ("POST", "/access/grants/" + "0" * 32 + "/revocation"): ({"reason": "x"}, set()),
        ("POST", "/access/stops/" + "0" * 32 + "/lift"): (None, set()),
        ("POST", "/contracts/" + "0" * 32 + "/exit"): (None, set()),
        ("POST", "/access/notices/" + "0" * 32 + "/read"): (None, set()),
    }
    for (method, where), (body, allowed) in bodies.items():
        for user in EVERYBODY:
            answer = Caller(server, user).call(method, where, body)
            assert answer.is_success == (user in allowed), (user, method, where, answer.text)
            assert answer.status_code < 500
            if not answer.is_success:
                assert answer.json()["code"] in {
                    "FORBIDDEN",
                    "NOT_FOUND",
                    "OWN_REQUEST",
                    "ROLE_REFUSED",
                    "TEXT_CHANGED",
                    "WRONG_STATE",
                }
    for method, where in bodies:
        assert httpx.request(method, f"{server.url}/api/v1{where}").status_code == 401


def test_one_tenants_things_are_not_there_for_another(server: Running) -> None:
    request = asked(server, table="ip_rights")
    bank = Caller(server, "bank-risk")
    for method, tail in (("GET", ""), ("PUT", ""), ("POST", "/withdrawal")):
        body = WANTED if method == "PUT" else None
        where = f"/access/requests/{request['id']}{tail}"
        assert bank.refused(method, where, body) == "NOT_FOUND"
    assert request["id"] not in {r["id"] for r in bank.get("/access/requests")}
    mine = {g["id"] for g in bank.get("/access/grants")}
    theirs = {g["id"] for g in Caller(server, "analyst").get("/access/grants")}
    assert not mine & theirs
    assert {d["tenant"] for d in bank.get("/contracts")} == {"demo-bank"}


def test_nobody_approves_the_own_request_or_approves_alone(server: Running) -> None:
    """H9 and the journey of refusals: each refusal is an entry."""
    request = asked(server, table="tax_summary")
    path, agree = f"/access/requests/{request['id']}", verdict(request["text_sha256"])
    before = size(server)
    assert Caller(server, "analyst").refused("POST", f"{path}/reviews", agree) == "ROLE_REFUSED"
    Caller(server, "tax-provider").judge(request, "reviews")
    for user, code in (
        ("analyst", "ROLE_REFUSED"),
        ("tax-provider", "ROLE_REFUSED"),
        ("bureau-reviewer", "ROLE_REFUSED"),
        ("audit-admin", "ROLE_REFUSED"),
    ):
        assert Caller(server, user).refused("POST", f"{path}/approvals", agree) == code
    Caller(server, "bureau-approver").judge(request, "approvals")
    again = Caller(server, "bureau-approver").refused("POST", f"{path}/approvals", agree)
    assert again in {"SAME_ORGANISATION", "SAME_PERSON"}
    assert size(server) == before + 8


def test_a_stand_in_is_the_same_person_and_acts_under_the_own_name(market: Services) -> None:
    """H14: there is no acting as somebody else without a trace."""
    people = {p.user: p for p in market.directory.people()}
    requests, inbox, agree = market.access.requests, market.access.inbox, Verdict.AGREE
    with pytest.raises(MarketplaceError):
        inbox.name_stand_in(people["bureau-approver"], "operator", 3)
    inbox.name_stand_in(people["bureau-approver"], "bureau-reviewer", 3)
    first = requests.submit(people["analyst"], from_wanted())
    colleague = people["bureau-reviewer"]
    requests.review(colleague, first.id, agree, first.sha256, "")
    assert inbox.waiting(colleague) == []
    with pytest.raises(MarketplaceError) as caught:
        requests.approve(colleague, first.id, agree, first.sha256, "")
    assert caught.value.code == "SAME_PERSON"

    inbox.name_stand_in(people["bureau-reviewer"], "bureau-approver", 3)
    second = requests.submit(people["analyst"], from_wanted())
    requests.review(people["bureau-approver"], second.id, agree, second.sha256, "")
    _, history = inbox.request(people["regulator"], second.id)
    assert (history[-1].actor.user, history[-1].actor.for_user) == (
        "bureau-approver",
        "bureau-reviewer",
    )
    for who in ("bureau-approver", "bureau-reviewer"):
        with pytest.raises(MarketplaceError) as caught:
            requests.approve(people[who], second.id, agree, second.sha256, "")
        assert caught.value.code == "SAME_PERSON"


def test_an_edit_takes_every_vote_back_and_old_words_do_not_count(server: Running) -> None:
    """H9: the approved text is the executed text; approvals are not replayed."""
    first = asked(server, table="annual_report")
    path = f"/access/requests/{first['id']}"
    reviewer, approver = Caller(server, "bureau-reviewer"), Caller(server, "bureau-approver")
    reviewer.judge(first, "reviews")
    approver.judge(first, "approvals")
    wider = {**WANTED, "table": "annual_report", "epsilon_max": "50", "days": 300}
    edited = Caller(server, "analyst").call("PUT", path, wider).json()
    assert (edited["state"], edited["approvals"]) == ("review", 0)
    old = verdict(first["text_sha256"])
    assert Caller(server, "operator").refused("POST", f"{path}/approvals", old) == "WRONG_STATE"
    assert reviewer.refused("POST", f"{path}/reviews", old) == "TEXT_CHANGED"
    back = {**WANTED, "table": "annual_report"}
    restored = Caller(server, "analyst").call("PUT", path, back).json()
    assert restored["text_sha256"] != first["text_sha256"]
    assert reviewer.refused("POST", f"{path}/reviews", old) == "TEXT_CHANGED"


def test_of_an_edit_and_an_approval_at_once_only_one_wins(server: Running) -> None:
    request = asked(server, table="env_credit")
    path = f"/access/requests/{request['id']}"
    Caller(server, "bureau-reviewer").judge(request, "reviews")
    wider = {**WANTED, "table": "env_credit", "epsilon_max": "50"}
    agree = verdict(request["text_sha256"])
    with ThreadPoolExecutor(2) as threads:
        edit = threads.submit(Caller(server, "analyst").call, "PUT", path, wider)
        approve = threads.submit(
            Caller(server, "bureau-approver").call, "POST", f"{path}/approvals", agree
        )
        assert edit.result().is_success != approve.result().is_success
    wide = [g for g in Caller(server, "analyst").get("/access/grants") if g["epsilon_max"] == "50"]
    assert wide == []


def test_a_vertical_bodys_data_is_not_approved_by_the_city_alone(server: Running) -> None:
    request = asked(server, table="customs_credit")
    path, agree = f"/access/requests/{request['id']}", verdict(request["text_sha256"])
    code = Caller(server, "bureau-reviewer").refused("POST", f"{path}/reviews", agree)
    assert code == "ROLE_REFUSED"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"table": "no_such_table"}, "UNKNOWN_TABLE"),
        ({"lanes": ["download"]}, "TYPE_REFUSED"),
        ({"days": 366}, "BAD_REQUEST"),
        ({"epsilon_default": "2"}, "BAD_REQUEST"),
        ({"epsilon_max": "NaN"}, "BAD_REQUEST"),
        ({"epsilon_max": "-1"}, "BAD_REQUEST"),
        ({"state": "granted"}, "BAD_REQUEST"),
        ({"tenant": "demo-bank"}, "BAD_REQUEST"),
        ({"purposes": []}, "BAD_REQUEST"),
        ({"reason": "x" * 2001}, "BAD_REQUEST"),
    ],
)
def test_a_request_that_cannot_be_is_refused_whole(
    server: Running, body: dict[str, Any], code: str
) -> None:
    """F: units and bounds; H: mass assignment."""
    analyst = Caller(server, "analyst")
    before = len(analyst.get("/access/requests"))
    assert analyst.refused("POST", "/access/requests", {**WANTED, **body}) == code
    assert len(analyst.get("/access/requests")) == before


def test_rotating_users_gains_no_requests(market: Services) -> None:
    """H15: the limit is the organisation's."""
    market.access.requests._limits = {**market.access.requests._limits, "open_per_organisation": 2}
    terms = from_wanted()
    people = {p.user: p for p in market.directory.people()}
    twin = type(people["analyst"])("analyst-two", "demo-enterprise", ("analyst",), "en")
    codes = []
    for person in (people["analyst"], twin, people["analyst"], twin):
        try:
            market.access.requests.submit(person, terms)
        except MarketplaceError as denial:
            codes.append(denial.code)
    assert codes == ["TOO_MANY_REQUESTS"] * 2
    market.access.requests.submit(people["bank-risk"], terms)


def from_wanted() -> Terms:
    return Terms("bid_record", ("p",), ("dp",), (), 500_000, 1_000_000, 30, "why")


@pytest.mark.parametrize("change", ["text", "text and digest", "row"])
def test_a_grant_that_was_changed_in_the_database_grants_nothing(
    market: Services, change: str
) -> None:
    """H9: what is executed is the text whose digest was approved and logged."""
    market.releases.reserve(ask("before"))
    table = grant_store.grants
    with market.database.writing() as connection:
        row = connection.execute(select(table).where(table.c.tenant == "demo-enterprise")).one()
        wider = from_text(row.text.replace('"epsilon_max_micro":1000000', '"epsilon_max_micro":9'))
        values: dict[str, Any] = {"text": wider.text()}
        if change == "text and digest":
            values = {"text": wider.text().replace(row.id, "f" * 32)}
            values["sha256"] = from_text(values["text"]).sha256
        if change == "row":
            values = {"table": "bid_record"}
        connection.execute(update(table).where(table.c.id == row.id).values(**values))
    tables = {"bid_record": "v1"} if change == "row" else None
    with pytest.raises(MarketplaceError) as caught:
        market.releases.reserve(ask("after", tables=tables))
    assert caught.value.code == "GRANT_REVOKED"


def test_a_revoked_grant_and_a_stop_bind_the_next_step_of_everybody(server: Running) -> None:
    """E: revocation takes effect at once, and only who may can revoke or lift."""
    security, operator = Caller(server, "security-admin"), Caller(server, "operator")
    stop = {"scope": "tenant", "target": "demo-bank", "reason": "drill"}
    assert Caller(server, "bank-risk").refused("POST", "/access/stops", stop) == "ROLE_REFUSED"
    pulled = security.post("/access/stops", stop)
    lift = f"/access/stops/{pulled['id']}/lift"
    assert security.refused("POST", lift) == "SAME_PERSON"
    assert operator.refused("POST", lift) == "ROLE_REFUSED"
    wanted = {**WANTED, "table": "bid_record"}
    refused = Caller(server, "bank-risk").refused("POST", "/access/requests", wanted)
    assert refused == "ACCESS_STOPPED"
    Caller(server, "bureau-approver").post(lift)
    grant = Caller(server, "bank-risk").get("/access/grants")[0]["id"]
    where = f"/access/grants/{grant}/revocation"
    assert Caller(server, "analyst").refused("POST", where, {"reason": "x"}) == "NOT_FOUND"
    assert Caller(server, "bank-risk").post(where, {"reason": "x"})["state"] == "revoked"
    renewal = f"/access/grants/{grant}/renewals"
    assert Caller(server, "bank-risk").refused("POST", renewal, {"reason": "x"}) == "WRONG_STATE"


def test_every_step_is_an_entry_that_names_nobody(server: Running, market: Services) -> None:
    people = {p.user: p for p in market.directory.people()}
    request = market.access.requests.submit(people["analyst"], from_wanted())
    market.access.grants.stop(people["operator"], "lab", "", "secret reason")
    with market.database.reading() as connection:
        entries = [json.loads(bytes(r.bytes)) for r in connection.execute(select(db.entries))]
    text = json.dumps(entries)
    assert request.sha256 in text
    for secret in ("analyst", "secret reason", "bid_record", '"why"'):
        assert secret not in text


def test_one_task_that_fails_does_not_end_the_others() -> None:
    """A row that cannot be read must not keep requests from lapsing, or mails from leaving."""
    done = []

    def broken() -> int:
        raise ValueError("a row that cannot be read")

    def sound() -> int:
        done.append(1)
        return 1

    worker = Worker((broken, sound), pause_seconds=0.01)
    worker.start()
    deadline = time.monotonic() + 10
    while len(done) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    worker.stop()
    assert len(done) >= 3


def size(server: Running) -> int:
    return int(httpx.get(f"{server.url}/api/v1/log/checkpoint").json()["size"])


def test_the_bureau_approves_first_and_cannot_be_left_out(market: Services) -> None:
    """Two operators of two organisations are two organisations, and not the bureau."""
    people = {p.user: p for p in market.directory.people()}
    requests, agree = market.access.requests, Verdict.AGREE
    terms = Terms("social_insurance", ("p",), ("dp",), (), 500_000, 1_000_000, 30, "why")
    request = requests.submit(people["analyst"], terms)
    requests.review(people["hr-provider"], request.id, agree, request.sha256, "")
    others = (people["operator"], Person("second-operator", "utility", ("operator",), "en"))
    for person in others:
        with pytest.raises(MarketplaceError) as caught:
            requests.approve(person, request.id, agree, request.sha256, "")
        assert caught.value.code == "ROLE_REFUSED"
    requests.approve(people["bureau-approver"], request.id, agree, request.sha256, "")
    granted = requests.approve(others[0], request.id, agree, request.sha256, "")
    assert granted.state is State.GRANTED


def test_a_stop_of_an_organisation_that_is_not_there_is_told_to_who_pulls_it(
    market: Services,
) -> None:
    """A misspelt name would stop nothing, and look like a stop."""
    people = {p.user: p for p in market.directory.people()}
    with pytest.raises(MarketplaceError) as caught:
        market.access.grants.stop(people["security-admin"], "tenant", "demo-bnak", "x")
    assert caught.value.code == "NOT_FOUND"
    assert market.access.grants.stop(people["security-admin"], "tenant", "demo-bank", "x").id


def test_why_an_organisation_was_stopped_is_not_told_to_its_competitors(server: Running) -> None:
    """H1: one tenant's things are not there for another."""
    stop = {"scope": "tenant", "target": "demo-bank", "reason": "an inquiry"}
    pulled = Caller(server, "security-admin").post("/access/stops", stop)
    for user in EVERYBODY:
        seen = {s["id"] for s in Caller(server, user).get("/access/stops")}
        others = {"analyst", "firm-owner", "credit-agency", "tax-provider", "hr-provider"}
        assert (pulled["id"] in seen) == (user not in others | {"system-admin"}), user
    Caller(server, "bureau-approver").post(f"/access/stops/{pulled['id']}/lift")


def test_a_grant_that_is_revoked_is_not_renewed_by_a_wish_made_before(market: Services) -> None:
    people = {p.user: p for p in market.directory.people()}
    held = market.access.grants.renewable(
        people["analyst"], market.access.grants.visible(people["analyst"])[0].grant.id
    )
    market.access.grants.revoke(people["bureau-approver"], held.grant.id, "x")
    g = held.grant
    terms = Terms(g.table, g.purposes, g.lanes, g.fields, 1, 2, 30, "why")
    with pytest.raises(MarketplaceError) as caught:
        market.access.requests.submit(people["analyst"], terms, renews=g.id)
    assert caught.value.code == "WRONG_STATE"


def test_words_in_the_place_of_codes_are_refused(server: Running) -> None:
    """K18: a grant keeps its purposes in clear, so no sentence gets there."""
    analyst = Caller(server, "analyst")
    for body in (
        {"purposes": ["where uscc = '9'"]},
        {"purposes": ["Li Si"]},
        {"lanes": ["call 13812345678"]},
        {"fields": ["a b"]},
        {"purposes": ["p\n"]},
    ):
        assert analyst.refused("POST", "/access/requests", {**WANTED, **body}) == "BAD_REQUEST"
