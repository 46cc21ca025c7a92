"""The portal's pages by noun in a real Chromium: both languages, wide and narrow, by keyboard."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from marketplace.app import build
from tests.support.chromium import NEEDS_CHROMIUM, SHOTS, launched, opened
from tests.support.marketplace import make_home, parts, token
from tests.support.portal import filled
from tests.support.serving import serving

USERS = ("analyst", "hr-provider", "bureau-approver", "security-admin")

pytestmark = NEEDS_CHROMIUM

Lab = tuple[str, dict[str, str], dict[str, str]]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with launched() as browser:
        yield browser


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A served marketplace with something in every list: address, tokens, ids."""
    settings = make_home(tmp_path_factory.mktemp("pages") / "home")
    with parts(settings) as market:
        ids = filled(market)
        market.watch.judge()
        with serving(build(market)) as url:
            yield url, {user: token(settings, user) for user in USERS}, ids


@pytest.fixture(params=[(1280, 900), (400, 844)], ids=["wide", "narrow"])
def page(chromium: Browser, lab: Lab, request: pytest.FixtureRequest) -> Iterator[Page]:
    with opened(chromium, lab[0], request.param, color_scheme="light") as page:
        yield page


@pytest.fixture
def shots(tmp_path: Path) -> Path:
    return Path(SHOTS) if SHOTS is not None else tmp_path


def sign_in(page: Page, secret: str) -> None:
    page.goto("/sign-in")
    page.locator("#token").fill(secret)
    page.keyboard.press("Enter")
    page.wait_for_url(lambda url: not url.endswith("/sign-in"))


def speak(page: Page, language: str) -> None:
    """Let the pages be in a language."""
    if page.locator("html").get_attribute("lang") != {"en": "en", "zh": "zh-CN"}[language]:
        page.locator("form[action='/language'] button").click()
        page.wait_for_load_state()


def look(page: Page, folder: Path, name: str) -> None:
    """Check that a page has one head, fits, and names its controls; keep its picture."""
    assert page.locator("h1").count() == 1, name
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), name
    nameless = page.evaluate(
        "[...document.querySelectorAll('input:not([type=hidden]), select, textarea')]"
        ".filter(e => !e.labels.length && !e.ariaLabel).map(e => e.outerHTML)"
    )
    assert nameless == [], name
    width = page.viewport_size["width"] if page.viewport_size else 0
    page.screenshot(path=folder / f"{name}-{width}.png", full_page=True)


def paths(user: str, ids: dict[str, str]) -> dict[str, str]:
    """Return the pages that a user looks at, by a name for the picture."""
    shared = {"home": "/", "grants": "/grants", "demand": f"/demands/{ids['demand']}"}
    return {
        "analyst": {
            **shared,
            "catalogue": "/catalogue",
            "catalogue-chosen": "/catalogue?q=%E4%BC%81%E4%B8%9A&grade=G3&page=1",
            "resource": f"/catalogue/{ids['resource']}",
            "request-form": "/access/requests/new?table=tax_summary&code=FIELD_REFUSED",
            "request": f"/access/requests/{ids['request']}",
            "requests": "/access",
            "contracts": "/contracts",
            "contract": f"/contracts/{ids['contract']}",
            "demands": "/demands",
            "demand-form": "/demands/new",
            "negative": "/negative-list",
        },
        "hr-provider": {"inbox-provider": "/inbox", "grants-provider": "/grants"},
        "bureau-approver": {
            "home-approver": "/",
            "inbox": "/inbox",
            "examinations": "/examinations",
            "grading": "/grading",
            "bureau": "/bureau",
            "funnel": "/funnel",
            "requests-all": "/access?whose=all",
            "demand-bureau": f"/demands/{ids['other']}",
        },
        "security-admin": {"stops": "/stops", "home-security": "/"},
    }[user]


@pytest.mark.parametrize("user", USERS)
def test_pages_fit_and_read_well_in_both_languages(
    page: Page, lab: Lab, shots: Path, user: str
) -> None:
    sign_in(page, lab[1][user])
    for language in ("en", "zh"):
        speak(page, language)
        for name, path in paths(user, lab[2]).items():
            page.goto(path)
            look(page, shots, f"{language}-{name}")


def test_a_request_is_written_by_keyboard_alone(page: Page, lab: Lab, shots: Path) -> None:
    sign_in(page, lab[1]["analyst"])
    speak(page, "en")
    page.goto("/access/requests/new?table=social_insurance")
    page.locator("#purposes").focus()
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.type("market-research")
    reached = []
    for _ in range(7):
        page.keyboard.press("Tab")
        reached.append(
            page.evaluate("document.activeElement.name || document.activeElement.tagName")
        )
    fields = [name for name in reached if not name.startswith("lane:")]
    assert len(fields) < len(reached)
    assert fields[:4] == ["SUMMARY", "epsilon_default", "epsilon_max", "days"]
    page.locator("#reason").focus()
    page.keyboard.type("Employment by district, by keyboard.")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.tagName") == "BUTTON"
    page.keyboard.press("Enter")
    page.locator(".chip-review").wait_for()
    look(page, shots, "en-request-sent")


def test_a_judge_reads_the_digest_and_agrees(page: Page, lab: Lab) -> None:
    sign_in(page, lab[1]["hr-provider"])
    speak(page, "en")
    page.goto("/inbox")
    waiting = page.locator("article").count()
    page.get_by_role("button", name="Agree").first.press("Enter")
    gone = "n => document.querySelectorAll('article').length === n"
    page.wait_for_function(gone, arg=waiting - 1)
