"""The portal over HTTP: signing in, forms that nobody forges, pages that hold texts and no code."""

import datetime as dt
import json
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from marketplace.app import assemble, build
from marketplace.portal.frame import COOKIE, HERE, MAX_FORM_BYTES
from marketplace.portal.language import LANGUAGES, words
from marketplace.releases.crash import nowhere
from marketplace.services import Services
from marketplace.settings import Settings
from tests.support.marketplace import COST, TABLES, ask, made, make_home, token
from tests.support.serving import serving

PAGES = ("/", "/budget", "/questions")


class Clock:
    """A clock that tests move."""

    def __init__(self) -> None:
        self.now = dt.datetime(2026, 11, 23, 9, tzinfo=dt.UTC)

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


@pytest.fixture
def analyst(visitor: httpx.Client, settings: Settings) -> httpx.Client:
    assert sign_in(visitor, token(settings, "analyst")).status_code == 303
    return visitor


def sign_in(visitor: httpx.Client, secret: str, **headers: str) -> httpx.Response:
    return visitor.post("/sign-in", data={"token": secret}, headers=headers)


def csrf(page: httpx.Response) -> str:
    found = re.search(r'name="csrf" value="([^"]+)"', page.text)
    assert found is not None
    return found[1]


def answered(market: Services, operation: str) -> str:
    held = market.releases.reserve(ask(operation))
    one = made(ask(operation).items[0])
    done = market.releases.record(held.id, held.fencing_token, (one,), TABLES)
    return str(done.receipt["receipt_id"])


def test_every_page_asks_to_sign_in_first(visitor: httpx.Client) -> None:
    for path in (*PAGES, "/receipts/x", "/receipts/x/proof.json"):
        answer = visitor.get(path)
        assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in")


def test_a_wrong_token_is_told_in_the_browsers_language_and_opens_nothing(
    visitor: httpx.Client,
) -> None:
    answer = sign_in(visitor, "wrong", **{"accept-language": "zh-CN"})
    assert answer.status_code == 401
    assert "令牌无效" in answer.text
    assert COOKIE not in visitor.cookies
    assert "wrong" not in re.sub("<[^>]+>", "", answer.text)


def test_a_signed_in_user_sees_the_own_tables_budget_and_questions(
    analyst: httpx.Client, market: Services
) -> None:
    receipt = answered(market, "one")
    home, budget, questions = (analyst.get(path).text for path in PAGES)
    assert "tax_summary" in home
    assert f"{1000 - COST:,} micro-rho" in budget
    assert receipt in questions
    proven = analyst.get(f"/receipts/{receipt}").text
    assert words("en")["receipt.verified"] in proven
    found = analyst.get(f"/receipts/{receipt}/proof.json").json()
    assert found["releases"][0]["micro_rho"] == COST


def test_a_changed_entry_is_seen_on_the_receipt(
    analyst: httpx.Client, market: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    receipt = answered(market, "one")
    whole = analyst.get(f"/receipts/{receipt}/proof.json").json()
    whole["releases"][0]["proof"] = ["00" * 32 for _ in whole["releases"][0]["proof"]]
    monkeypatch.setattr("marketplace.portal.pages.reading.receipt", lambda *_: whole)
    assert words("en")["receipt.broken"] in analyst.get(f"/receipts/{receipt}").text


def test_another_organisations_receipt_is_not_there(
    analyst: httpx.Client, market: Services
) -> None:
    held = market.releases.reserve(ask("theirs", tenant="demo-bank"))
    one = made(ask("theirs", tenant="demo-bank").items[0])
    done = market.releases.record(held.id, held.fencing_token, (one,), TABLES)
    answer = analyst.get(f"/receipts/{done.receipt['receipt_id']}")
    assert answer.status_code == 404


def test_pages_come_in_both_languages_and_the_choice_stays(analyst: httpx.Client) -> None:
    assert '<html lang="en">' in analyst.get("/budget").text
    answer = analyst.post("/language", data={"csrf": csrf(analyst.get("/"))})
    assert answer.status_code == 303
    page = analyst.get("/budget").text
    assert '<html lang="zh-CN">' in page
    assert words("zh")["budget.title"] in page


@pytest.mark.parametrize("path", ["/sign-out", "/language"])
@pytest.mark.parametrize(
    ("form", "headers"),
    [
        ({}, {}),
        ({"csrf": "guess"}, {}),
        (None, {"origin": "https://evil.example"}),
        (None, {"sec-fetch-site": "cross-site"}),
        (None, {"sec-fetch-site": "same-site"}),
    ],
)
def test_a_form_from_elsewhere_changes_nothing(
    analyst: httpx.Client, path: str, form: dict[str, str] | None, headers: dict[str, str]
) -> None:
    given = form if form is not None else {"csrf": csrf(analyst.get("/"))}
    assert analyst.post(path, data=given, headers=headers).status_code == 403
    assert '<html lang="en">' in analyst.get("/").text


def test_nobody_is_signed_in_by_a_form_of_another_site(
    visitor: httpx.Client, settings: Settings
) -> None:
    answer = sign_in(visitor, token(settings, "analyst"), origin="https://evil.example")
    assert answer.status_code == 403
    assert COOKIE not in visitor.cookies


def test_a_session_ends_with_sign_out_and_its_cookie_opens_nothing(analyst: httpx.Client) -> None:
    cookie = analyst.cookies[COOKIE]
    analyst.post("/sign-out", data={"csrf": csrf(analyst.get("/"))})
    analyst.cookies.set(COOKIE, cookie)
    assert analyst.get("/").status_code == 303


@pytest.mark.parametrize(("idle", "times"), [(31, 1), (29, 17)])
def test_a_session_ends_when_idle_and_after_a_working_day(
    analyst: httpx.Client, clock: Clock, idle: int, times: int
) -> None:
    seen = []
    for _ in range(times):
        clock.now += dt.timedelta(minutes=idle)
        seen.append(analyst.get("/").status_code)
    assert seen == [200] * (times - 1) + [303]


def test_a_revoked_token_ends_its_sessions_at_once(
    analyst: httpx.Client, settings: Settings
) -> None:
    path = settings.home / "identity.json"
    data = json.loads(path.read_text())
    next(u for u in data["users"] if u["name"] == "analyst")["revoked"] = True
    path.write_text(json.dumps(data))
    assert analyst.get("/").status_code == 303


def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(
    visitor: httpx.Client, settings: Settings
) -> None:
    given = sign_in(visitor, token(settings, "analyst")).headers["set-cookie"].lower()
    assert "httponly" in given
    assert "samesite=strict" in given


def test_every_answer_says_that_nothing_from_elsewhere_may_run(analyst: httpx.Client) -> None:
    for path in (*PAGES, "/sign-in", "/nowhere", "/static/portal.css"):
        headers = analyst.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"


def test_no_page_holds_inline_code(analyst: httpx.Client, market: Services) -> None:
    answered(market, "one")
    for path in PAGES:
        text = analyst.get(path).text
        assert re.findall(r"<script(?![^>]* src=)", text) == []
        assert re.findall(r"\son\w+=|\sstyle=|javascript:", text) == []


def test_names_are_texts_and_never_markup(analyst: httpx.Client, settings: Settings) -> None:
    path = settings.home / "identity.json"
    data = json.loads(path.read_text())
    person = next(u for u in data["users"] if u["name"] == "analyst")
    person["roles"] = ['<img src=x onerror="alert(1)">']
    path.write_text(json.dumps(data))
    assert "<img" not in analyst.get("/").text


def test_a_form_that_is_too_long_is_not_read(analyst: httpx.Client) -> None:
    answer = analyst.post("/sign-in", data={"token": "x" * MAX_FORM_BYTES})
    assert answer.status_code == 413


def test_a_host_header_of_ones_own_leads_nowhere_else(visitor: httpx.Client) -> None:
    answer = visitor.get("/", headers={"host": "evil.example"})
    assert answer.headers["location"] == "/sign-in"


def test_unknown_paths_of_the_api_answer_as_the_api_does(visitor: httpx.Client) -> None:
    answer = visitor.get("/api/v1/nothing")
    assert (answer.status_code, answer.json()["code"]) == (404, "NOT_FOUND")


def test_both_catalogues_hold_the_same_keys_and_the_same_values() -> None:
    assert set(words("en")) == set(words("zh"))
    for key, english in words("en").items():
        values = [set(re.findall(r"{(\w+)}", words(each)[key])) for each in LANGUAGES]
        assert values[0] == values[1], key
        assert english.strip()


def test_every_key_that_templates_use_is_in_the_catalogue() -> None:
    for template in (HERE / "templates").glob("*.html"):
        for key in re.findall(r"\bt\('([a-z_.]+)'[,)]", template.read_text(encoding="utf-8")):
            assert key in words("en"), (template.name, key)
