"""The portal in a real Chromium: both languages, wide and narrow, by keyboard, without an error."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from marketplace.app import build
from marketplace.services import Services
from tests.support.chromium import NEEDS_CHROMIUM, SHOTS, launched, opened
from tests.support.marketplace import ask, item, made, make_home, parts, token
from tests.support.serving import serving

PAGES = ("/", "/budget", "/budget/calendar", "/budget/datasets/tax_summary", "/questions")

pytestmark = NEEDS_CHROMIUM


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with launched() as browser:
        yield browser


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """A served marketplace with some questions, and the analyst's token."""
    settings = make_home(tmp_path_factory.mktemp("portal") / "home")
    with parts(settings) as market:
        for n in range(6):
            spend(market, f"question {n}", 40 + 10 * n)
        with serving(build(market)) as url:
            yield url, token(settings, "analyst")


def spend(market: Services, operation: str, cost: int) -> None:
    wanted = item(operation, cost)
    held = market.releases.reserve(ask(operation, wanted))
    market.releases.record(held.id, held.fencing_token, (made(wanted),), {"tax_summary": "v1"})


@pytest.fixture(params=[(1280, 900), (390, 844)], ids=["wide", "narrow"])
def page(chromium: Browser, lab: tuple[str, str], request: pytest.FixtureRequest) -> Iterator[Page]:
    with opened(chromium, lab[0], request.param) as page:
        yield page


def sign_in(page: Page, secret: str) -> None:
    page.goto("/")
    page.wait_for_function("document.activeElement?.id === 'token'")
    page.get_by_label("Access token").fill(secret)
    page.keyboard.press("Enter")
    page.wait_for_url(lambda url: not url.endswith("/sign-in"))


def shot(page: Page, name: str) -> None:
    if SHOTS is not None:
        width = page.viewport_size["width"] if page.viewport_size else 0
        page.screenshot(path=Path(SHOTS) / f"{name}-{width}.png", full_page=True)


def fits(page: Page) -> bool:
    """Whether nothing but a marked region has to be scrolled sideways."""
    return bool(page.evaluate("document.documentElement.scrollWidth <= innerWidth"))


def test_a_user_reads_budget_and_receipts_in_both_languages(
    page: Page, lab: tuple[str, str]
) -> None:
    page.goto("/sign-in")
    shot(page, "sign-in")
    sign_in(page, lab[1])
    for language, other in (("en", "中文"), ("zh", "English")):
        assert page.locator("html").get_attribute("lang") == {"en": "en", "zh": "zh-CN"}[language]
        for path in PAGES:
            page.goto(path)
            assert page.locator("h1").count() == 1
            assert fits(page), path
            shot(page, f"{language}{path.replace('/', '-')}")
        page.goto("/questions")
        page.locator("tbody a").first.click()
        assert page.locator("[role=status]").inner_text().startswith("✓")
        assert fits(page)
        shot(page, f"{language}-receipt")
        page.get_by_role("button", name=other).click()
        page.wait_for_url("**/")


def test_the_plot_shows_spending_and_the_table_says_the_same(
    page: Page, lab: tuple[str, str]
) -> None:
    sign_in(page, lab[1])
    page.goto("/budget")
    plot = page.locator(".plot")
    plot.locator("canvas").wait_for()
    drawn = plot.locator("canvas").evaluate(
        "c => { const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;"
        " let n = 0; for (let i = 0; i < d.length; i += 4)"
        " if (d[i] < 60 && d[i + 2] > 120 && d[i + 3] > 200) n++; return n; }"
    )
    assert drawn > 50, "the line of spending is drawn in blue"
    page.get_by_text("Spending by day").click()
    assert "390" in page.locator("details table").first.inner_text()


def test_the_calendar_draws_spending_and_forecast(page: Page, lab: tuple[str, str]) -> None:
    sign_in(page, lab[1])
    page.goto("/budget/calendar")
    page.locator(".plot canvas").wait_for()
    plot = json.loads(page.locator(".plot").get_attribute("data-plot") or "")
    assert (plot["points"][-1][1], plot["cap"], plot["forecast"][-1][1]) == (390, 1000, 1000)
    row = page.locator("tbody tr").filter(has_text="2026").first
    assert plot["forecast"][-1][0] in row.inner_text()
    assert fits(page)


def test_everything_is_reached_by_keyboard(page: Page, lab: tuple[str, str]) -> None:
    sign_in(page, lab[1])
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.getAttribute('href')") == "#main"
    reached = []
    for _ in range(25):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.textContent.trim()"))
    for name in ("Home", "Budget", "Calendar", "Questions", "中文", "Sign out"):
        assert name in reached
    page.get_by_role("button", name="Sign out").press("Enter")
    page.wait_for_url("**/sign-in")
