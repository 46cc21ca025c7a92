"""Risk desk and reports in a real Chromium: both languages, wide and narrow, without an error."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from marketplace.app import build
from marketplace.errors import MarketplaceError
from tests.support.chromium import NEEDS_CHROMIUM, SHOTS, launched, opened
from tests.support.marketplace import ask, item, made, make_home, parts, token
from tests.support.serving import serving

pytestmark = NEEDS_CHROMIUM


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with launched() as browser:
        yield browser


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, dict[str, str]]]:
    """A served marketplace with questions and findings, and tokens by user."""
    settings = make_home(tmp_path_factory.mktemp("risk") / "home")
    with parts(settings) as market:
        for n in range(9):
            wanted = item(f"q{n}")
            held = market.releases.reserve(ask(f"q{n}", wanted))
            market.releases.record(
                held.id, held.fencing_token, (made(wanted),), {"tax_summary": "v1"}
            )
        for n in range(31):
            with suppress(MarketplaceError):
                market.releases.reserve(ask(f"e{n}", tables={f"no_such_{n}": "v1"}))
        with suppress(MarketplaceError):
            market.releases.reserve(ask("purpose", purpose="curiosity"))
        market.watch.judge()
        with serving(build(market)) as url:
            users = ("regulator", "security-admin")
            yield url, {user: token(settings, user) for user in users}


@pytest.fixture(params=[(1280, 900), (390, 844)], ids=["wide", "narrow"])
def page(
    chromium: Browser, lab: tuple[str, dict[str, str]], request: pytest.FixtureRequest
) -> Iterator[Page]:
    with opened(chromium, lab[0], request.param, accept_downloads=True) as page:
        yield page


def sign_in(page: Page, secret: str) -> None:
    page.goto("/sign-in")
    page.get_by_label("Access token").fill(secret)
    page.keyboard.press("Enter")
    page.wait_for_url(lambda url: not url.endswith("/sign-in"))


def look(page: Page, name: str) -> None:
    """Check that a page has one head and fits, and keep its picture if pictures are wanted."""
    page.wait_for_load_state()
    page.locator("h1").wait_for()
    assert page.locator("h1").count() == 1
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), name
    if SHOTS is not None and page.viewport_size is not None:
        width = page.viewport_size["width"]
        page.screenshot(path=Path(SHOTS) / f"{name}-{width}.png", full_page=True)


def test_a_regulator_reads_desk_and_reports_in_both_languages(
    page: Page, lab: tuple[str, dict[str, str]]
) -> None:
    sign_in(page, lab[1]["regulator"])
    for language, other in (("en", "中文"), ("zh", "English")):
        page.get_by_role("link", name={"en": "Risk desk", "zh": "风险台"}[language]).click()
        look(page, f"{language}-risk")
        page.locator("tbody a").first.click()
        look(page, f"{language}-risk-event")
        assert page.locator("main form").count() == 0
        page.get_by_role("link", name={"en": "Reports", "zh": "报告"}[language], exact=True).click()
        look(page, f"{language}-reports")
        page.locator("form[action='/reports/ledger'] button").click()
        look(page, f"{language}-report")
        assert "demo-enterprise" in page.locator("tbody").inner_text()
        with page.expect_download() as started:
            page.get_by_role("link", name="PDF").click()
        assert started.value.suggested_filename.startswith("ledger_")
        page.get_by_role("button", name=other).click()
        page.wait_for_url("**/")


def test_an_administrator_takes_an_event_over_by_keyboard(
    page: Page, lab: tuple[str, dict[str, str]]
) -> None:
    sign_in(page, lab[1]["security-admin"])
    page.goto("/risk?state=open")
    page.locator("tbody a").first.focus()
    page.keyboard.press("Enter")
    page.get_by_label("Handler").select_option("security-admin")
    page.get_by_role("button", name="Assign").press("Enter")
    page.wait_for_selector("text=Assign: security-admin")
    page.locator("#comment-comment").fill("Called them.")
    page.locator("#comment-comment").press("Enter")
    page.wait_for_selector("text=Called them.")
    look(page, "en-risk-handled")
