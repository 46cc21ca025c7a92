"""Risk desk and reports in the portal over HTTP: who sees them, and forms that nobody forges."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from marketplace.app import assemble, build
from marketplace.errors import MarketplaceError
from marketplace.portal.language import words
from marketplace.reports.kinds import KINDS, NOT_AVAILABLE
from marketplace.risk import store
from marketplace.risk.model import Action, Disposal, Severity, State, Step
from marketplace.risk.policy import FORMS
from marketplace.services import Services
from marketplace.settings import Settings
from marketplace.window import Window
from tests.support.marketplace import Clock, ask, make_home, token
from tests.support.serving import serving

WATCHERS = {"security-admin", "audit-admin", "regulator", "bureau-reviewer", "bureau-approver"}
READERS = {*WATCHERS, "operator"}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return make_home(tmp_path / "home")


@pytest.fixture
def market(settings: Settings) -> Iterator[Services]:
    services = assemble(settings, clock=Clock(settings.home))
    with pytest.raises(MarketplaceError):
        services.releases.reserve(ask("one", purpose="<b>curiosity</b>"))
    services.watch.judge()
    yield services
    services.database.close()


@pytest.fixture
def event_id(market: Services) -> str:
    with market.database.reading() as connection:
        return store.latest(connection, None, Window(1, 1))[0].id


@pytest.fixture
def url(market: Services) -> Iterator[str]:
    with serving(build(market)) as address:
        yield address


@contextmanager
def visit(url: str, settings: Settings, user: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=url, headers={"accept-language": "en"}) as client:
        done = client.post("/sign-in", data={"token": token(settings, user)})
        assert done.status_code == 303
        yield client


def csrf(page: httpx.Response) -> str:
    found = re.search(r'name="csrf" value="([^"]+)"', page.text)
    assert found is not None
    return found[1]


@pytest.mark.parametrize(
    "user",
    ["regulator", "security-admin", "bureau-reviewer", "operator", "analyst", "tax-provider"],
)
def test_pages_and_their_links_are_shown_to_who_may_read_them(
    url: str, settings: Settings, event_id: str, user: str
) -> None:
    with visit(url, settings, user) as client:
        home = client.get("/").text
        assert ('href="/risk"' in home) == (user in WATCHERS)
        assert ('href="/reports"' in home) == (user in READERS)
        for path, may in (
            ("/risk", WATCHERS),
            (f"/risk/{event_id}", WATCHERS),
            ("/reports", READERS),
            ("/reports/ledger", {"regulator"}),
            ("/reports/ledger/csv", {"regulator"}),
        ):
            assert client.get(path).status_code == (200 if user in may else 403), path


def test_an_event_is_dealt_with_by_forms_of_the_own_page_only(
    url: str, settings: Settings, event_id: str
) -> None:
    with visit(url, settings, "security-admin") as client:
        page = client.get(f"/risk/{event_id}")
        assert "<b>" not in page.text
        form = {"csrf": csrf(page), "comment": "<script>alert(1)</script>"}
        for forged in ({**form, "csrf": "x"}, {"comment": "x"}):
            assert client.post(f"/risk/{event_id}/comment", data=forged).status_code == 403
        strange = {"sec-fetch-site": "cross-site"}
        sent = client.post(f"/risk/{event_id}/comment", data=form, headers=strange)
        assert sent.status_code == 403
        assert client.post(f"/risk/{event_id}/comment", data=form).status_code == 303
        handler = {"csrf": form["csrf"], "handler": "bureau-reviewer"}
        assert client.post(f"/risk/{event_id}/assign", data=handler).status_code == 303
        shown = client.get(f"/risk/{event_id}").text
        assert "&lt;script&gt;" in shown
        assert "bureau-reviewer" in shown
        for step, more in (("close", {"disposal": "gone"}), ("stop", {"comment": " "}), ("x", {})):
            sent = client.post(f"/risk/{event_id}/{step}", data={**form, **more})
            assert sent.status_code == 422, step
        closing = {**form, "disposal": "confirmed"}
        assert client.post(f"/risk/{event_id}/close", data=closing).status_code == 303
        assert "/close" not in client.get(f"/risk/{event_id}").text


def test_a_regulator_looks_and_does_nothing(url: str, settings: Settings, event_id: str) -> None:
    with visit(url, settings, "regulator") as client:
        page = client.get(f"/risk/{event_id}")
        assert 'action="/risk/' not in page.text
        form = {"csrf": csrf(page), "comment": "x"}
        assert client.post(f"/risk/{event_id}/comment", data=form).status_code == 403


def test_every_report_is_a_page_with_its_files(url: str, settings: Settings) -> None:
    with visit(url, settings, "regulator") as client:
        assert all(f'action="/reports/{name}"' in client.get("/reports").text for name in KINDS)
        page = client.get("/reports/table-use?table=tax_summary&first=&last=")
        assert (page.status_code, page.text.count("<h1>")) == (200, 1)
        links = re.findall(r'href="(/reports/table-use/[^"]+)"', page.text)
        assert [link.partition("?")[0][-4:] for link in links] == ["json", "/csv", "/pdf"]
        for link in links:
            assert client.get(link.replace("&amp;", "&")).status_code == 200, link
        for query in ("first=30.11.2026", "table=a%20b", "table="):
            assert client.get(f"/reports/table-use?{query}").status_code == 422, query
        assert client.get("/reports/ledger/xml").status_code == 404


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_code_has_its_word(language: str) -> None:
    known = words(language)
    for prefix, codes in (
        ("risk.rule", FORMS),
        ("risk.severity", Severity),
        ("risk.action", Action),
        ("risk.state", State),
        ("risk.step", Step),
        ("risk.disposal", Disposal),
        ("reports.missing", NOT_AVAILABLE),
        ("reports.filter", {f for kind in KINDS.values() for f in kind.takes}),
    ):
        assert [c for c in codes if f"{prefix}.{c}" not in known] == []
