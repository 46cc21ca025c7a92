"""The first page of each role, the menu, and the figures of those who oversee."""

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from marketplace.audit.entry import Event
from marketplace.portal.language import words
from marketplace.portal.navigation import GROUPS
from tests.support.portal import PEOPLE, Lab, filled, opened, send, sound

TILE = r'<li><a href="([^"]+)"[^>]*><strong>([^<]+)</strong> <span>([^<]*)</span>'
LISTS = {
    "/access": r'href="/access/requests/[0-9a-f]{32}"',
    "/grants": r"<article",
    "/demands": r'<th scope="row"><a href="/demands/',
    "/contracts": r'<th scope="row"><a href="/contracts/',
    "/examinations": r"<article",
    "/negative-list": r"<article",
    "/funnel": r'<th scope="row">',
    "/risk": r'<a href="/risk/[0-9a-f]',
    "/inbox": r'<article aria-labelledby="w-',
    "/grading": r'<article aria-labelledby="w-',
}
"""What stands once for each line of a list."""


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with opened(tmp_path / "home") as found:
        filled(found.market, 25)
        found.market.watch.judge()
        yield found


def tiles(text: str) -> list[tuple[str, str, str]]:
    return [(h.replace("&amp;", "&"), n, s) for h, n, s in re.findall(TILE, text)]


def counted(client: httpx.Client, href: str) -> int:
    """Return how many lines the list behind a figure has."""
    text = sound(client.get(href))
    path = href.partition("?")[0].partition("#")[0]
    if path == "/catalogue":
        found = re.search(r'role="status">\D*(\d+)', text)
        assert found is not None
        return int(found[1])
    if href.endswith("#notices"):
        return text.count('<li class="new">')
    if path == "/risk":
        text = text.partition("<tbody>")[2].partition("</tbody>")[0]
    return len(re.findall(LISTS[path], text))


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("user", ["bureau-approver", "regulator", "operator"])
def test_every_figure_is_the_length_of_the_list_it_opens(
    lab: Lab, user: str, language: str
) -> None:
    with lab.visit(user, language) as client:
        text = sound(client.get("/bureau"))
        found = tiles(text)
        assert len(found) > 20
        assert text.count(words(language)["as_of"].partition("{")[0]) >= len(found)
        for href, number, what in found:
            if "%" in number or "micro-rho" in number:
                assert client.get(href).status_code == 200
            else:
                assert counted(client, href) == int(number.replace(",", "")), (href, what)


def test_the_rate_stands_with_its_denominator_and_the_spending_is_of_all(lab: Lab) -> None:
    with lab.visit("bureau-approver") as client:
        values = [n for _, n, _ in tiles(sound(client.get("/bureau")))]
        assert "0.00 % (0/2)" in values
        assert "200 micro-rho" in values, "two cohorts paid 100 each"
    with lab.visit("operator") as client:
        assert "micro-rho" not in sound(client.get("/bureau")), "only the bureau sees all budgets"


@pytest.mark.parametrize("user", ["analyst", "tax-provider", "security-admin", "firm-owner"])
def test_figures_are_for_those_who_oversee(lab: Lab, user: str) -> None:
    with lab.visit(user) as client:
        denied = lab.events(Event.ACCESS_DENIED)
        assert client.get("/bureau").status_code == 403
        assert lab.events(Event.ACCESS_DENIED) == denied + 1
        assert 'href="/bureau"' not in sound(client.get("/"))


def test_a_look_at_the_figures_is_one_entry_in_a_quarter_of_an_hour(lab: Lab) -> None:
    with lab.visit("regulator") as client:
        for _ in range(3):
            client.get("/bureau")
    assert lab.events(Event.OVERVIEW_READ) == 1


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("user", sorted(PEOPLE))
def test_home_counts_what_waits_and_the_menu_leads_to_pages_that_open(
    lab: Lab, user: str, language: str
) -> None:
    with lab.visit(user, language) as client:
        text = sound(client.get("/"))
        for href, number, what in tiles(text):
            if href != "/budget":
                assert counted(client, href) == int(number), (href, what)
        menu = text[text.index("<nav") : text.index("</nav>")]
        links = re.findall(r'<a href="([^"]+)"', menu)
        assert 'href="/" aria-current="page"' in menu
        for link in links:
            page = client.get(link)
            assert page.status_code == 200, link
            assert f'href="{link}" aria-current="page"' in page.text, link


def test_the_menu_is_grouped_and_holds_what_roles_are_for(lab: Lab) -> None:
    every = {p.href for _, places in GROUPS for p in places}
    seen: dict[str, set[str]] = {}
    for user in ("analyst", "tax-provider", "bureau-approver", "regulator", "system-admin"):
        with lab.visit(user) as client:
            text = client.get("/").text
        menu = text[text.index("<nav") : text.index("</nav>")]
        seen[user] = set(re.findall(r'<a href="([^"]+)"', menu))
        assert menu.count('role="group"') >= 3
    assert {"/questions", "/budget", "/access"} <= seen["analyst"]
    assert not {"/bureau", "/risk", "/stops", "/examinations"} & seen["analyst"]
    assert "/stops" in seen["tax-provider"]
    assert {"/bureau", "/examinations", "/risk"} <= seen["bureau-approver"]
    assert not {"/questions", "/examinations", "/stops"} & seen["regulator"]
    assert not {"/access", "/bureau", "/risk", "/grants"} & seen["system-admin"]
    assert set().union(*seen.values()) == every


def test_a_refusal_is_said_in_the_language_that_was_chosen_under_the_own_menu(lab: Lab) -> None:
    with lab.visit("analyst", "zh") as client:
        client.headers["accept-language"] = "en"
        answer = client.get("/bureau")
        assert '<html lang="zh-CN">' in answer.text
        assert 'href="/catalogue"' in answer.text
        missing = client.get("/catalogue/not-an-id")
        assert (missing.status_code, words("zh")["error.address"] in missing.text) == (404, True)
        refused = client.post("/language", data={"csrf": "guess"})
        assert words("zh")["error.CSRF"] in refused.text


def test_a_notice_that_was_read_is_counted_no_more(lab: Lab) -> None:
    with lab.visit("tax-provider") as client:
        notice = re.findall(r'action="(/inbox/notices/[0-9a-f]{32})"', client.get("/inbox").text)[0]
        figure = next(int(n) for h, n, _ in tiles(client.get("/").text) if h == "/inbox#notices")
        send(client, notice)
        left = next(int(n) for h, n, _ in tiles(client.get("/").text) if h == "/inbox#notices")
        assert left == figure - 1


def test_the_budget_left_of_an_organisation_stands_on_its_first_page(lab: Lab) -> None:
    with lab.visit("analyst") as client:
        assert ("/budget", "900") in [(h, n) for h, n, _ in tiles(sound(client.get("/")))]
        assert send(client, "/language").status_code == 303
