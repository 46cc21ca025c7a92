"""What the web does to a service: forged forms, hostile texts, odd bytes, other hosts (H1–H10)."""

import csv
import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from fastapi.routing import APIRoute

from marketplace.app import build
from marketplace.http import MAX_BODY_BYTES
from marketplace.reports.kinds import KINDS
from tests.support.every_route import BODIES, bearer, objects, operations
from tests.support.portal import HOSTILE, Lab, opened, published, sound

PAGES = 120
"""Pages that each person's walk opens at most."""
SIGN_IN = ("/sign-in", "/language")
"""Forms of pages for whoever looks; they change nothing but the own browser."""


@dataclass(frozen=True, slots=True)
class Filled:
    lab: Lab
    present: dict[str, str]


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Filled]:
    with opened(tmp_path_factory.mktemp("web") / "home") as lab:
        yield Filled(lab, objects(lab))


@pytest.fixture(scope="module")
def client(filled: Filled) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=filled.lab.url, timeout=60) as found:
        yield found


def is_problem(answer: httpx.Response, *statuses: int) -> bool:
    told = answer.headers["content-type"] == "application/problem+json"
    return told and answer.status_code in statuses and "code" in answer.json()


def test_a_field_that_nobody_asked_for_is_refused_by_every_route(
    filled: Filled, client: httpx.Client
) -> None:
    """Mass assignment: `state`, `tenant`, `grade` and the like are never taken from a body."""
    tried = 0
    for operation in operations(client):
        if operation.path not in BODIES or operation.method == "GET":
            continue
        before = filled.lab.entries()
        for name in ("state", "tenant_", "id", "__proto__", "constructor"):
            body = {**BODIES[operation.path], name: "granted"}
            address = "/api/v1" + operation.path.format(**filled.present)
            answers = [
                client.request(operation.method, address, json=body, headers=headers)
                for headers in (bearer(filled.lab, "tax-provider"), bearer(filled.lab, "gateway"))
            ]
            assert any(is_problem(a, 422) for a in answers), (operation.label, name)
            assert all(is_problem(a, 401, 403, 422) for a in answers), (operation.label, name)
            tried += 1
        assert filled.lab.entries() == before, operation.label
    assert tried > 150


def routes_of_pages(filled: Filled) -> list[str]:
    app = build(filled.lab.market, filled.lab.clock)
    pages = app.router.routes[-1].app  # type: ignore[attr-defined]  # the portal is mounted last
    return [
        route.path
        for route in pages.routes
        if isinstance(route, APIRoute) and "POST" in route.methods
    ]


def test_no_form_is_taken_without_the_secret_of_its_page(filled: Filled) -> None:
    paths = [p for p in routes_of_pages(filled) if p not in SIGN_IN]
    assert len(paths) > 20
    with filled.lab.visit("bureau-approver") as browser:
        before = filled.lab.entries()
        for path in paths:
            address = re.sub(r"\{\w+\}", "0" * 32, path)
            for data in ({}, {"csrf": "guess"}, {"csrf": "猜"}):
                assert browser.post(address, data=data).status_code in (403, 404, 422), path
                strange = {"origin": "https://evil.example"}
                sent = browser.post(address, data=data, headers=strange)
                assert sent.status_code in (403, 404, 422), path
        assert filled.lab.entries() == before


def test_a_browsers_cookie_opens_no_route_of_the_api(filled: Filled) -> None:
    """So no site can make a browser ask the API in its user's name."""
    with filled.lab.visit("bureau-approver") as browser:
        for operation in operations(browser):
            answer = operation.send(browser, filled.present, {})
            assert answer.status_code == (200 if operation.path.startswith("/log/") else 401) or (
                operation.path in ("/log/openings", "/log/erasures", "/log/purges")
                and answer.status_code == 401
            ), operation.label


@pytest.mark.parametrize(
    "user", ["analyst", "tax-provider", "bureau-approver", "regulator", "operator", "firm-owner"]
)
def test_a_walk_over_all_pages_finds_hostile_texts_as_texts_only(filled: Filled, user: str) -> None:
    """Follow every link from the first page: each page is there, and runs nothing of anybody's."""
    seen, queue, shown = {"/"}, ["/"], 0
    with filled.lab.visit(user) as browser:
        while queue and len(seen) < PAGES + len(queue):
            page = browser.get(queue.pop(0))
            assert page.status_code in (200, 404), page.url
            if "text/html" not in page.headers["content-type"] or page.status_code != 200:
                continue
            text = sound(page)
            shown += "&lt;img src=x" in text
            for href in re.findall(r'href="([^"]+)"', text):
                parts = urlsplit(href.replace("&amp;", "&"))
                assert not parts.scheme, href
                assert not parts.netloc, href
                way = parts.path + (f"?{parts.query}" if parts.query else "")
                if way.startswith("/") and parts.path not in {urlsplit(s).path for s in seen}:
                    seen.add(way)
                    queue.append(way)
    assert len(seen) > 8
    assert shown > 0 or user in ("firm-owner", "operator")


@pytest.mark.parametrize("formula", ['=HYPERLINK("x")', "+1", "-1", "@SUM(1)", "\t=1"])
def test_no_cell_that_leaves_as_csv_is_a_formula(tmp_path: Path, formula: str) -> None:
    title = formula.strip() if formula.startswith("\t") else formula
    with opened(tmp_path / "home") as lab:
        published(lab.market, title_zh=title, title_en=title)
        with httpx.Client(base_url=lab.url) as client:
            for user, path in (
                ("analyst", "/api/v1/catalogue/resources.csv"),
                *(("regulator", f"/api/v1/reports/{name}?form=csv") for name in KINDS),
            ):
                answer = client.get(path, headers=bearer(lab, user))
                if answer.status_code != 200:
                    continue
                assert "attachment" in answer.headers["content-disposition"]
                for row in csv.reader(io.StringIO(answer.text.removeprefix("\ufeff"))):
                    for cell in row:
                        number = re.fullmatch(r"-?[\d.,]+", cell)
                        assert number or not cell.lstrip().startswith(("=", "+", "-", "@")), cell


def test_no_answer_repeats_the_host_that_a_caller_claims(
    filled: Filled, client: httpx.Client
) -> None:
    claimed = "elsewhere.example"
    lie = {"host": claimed, "x-forwarded-host": claimed, "forwarded": f"host={claimed}"}
    for operation in operations(client):
        if operation.method == "GET":
            headers = bearer(filled.lab, "analyst") | lie
            answer = operation.send(client, filled.present, headers)
            whole = answer.text + str(dict(answer.headers))
            assert claimed not in whole, operation.label
    for path in ("/", "/catalogue/", "/api/v1/access/requests/", "//elsewhere/", "/sign-in"):
        answer = client.get(path, headers=lie)
        assert claimed not in str(dict(answer.headers)), path


def test_signing_in_leads_to_the_own_pages_only(filled: Filled) -> None:
    lab = filled.lab
    secret = {"token": bearer(lab, "analyst")["authorization"].removeprefix("Bearer ")}
    for target in ("https://evil.example/", "//evil.example", "/\\evil.example", "javascript:x"):
        for name in ("next", "return", "url", "back"):
            with httpx.Client(base_url=lab.url) as browser:
                sent = browser.post(f"/sign-in?{name}={target}", data={**secret, name: target})
                assert sent.headers["location"] == "/"
                page = browser.get("/")
                again = browser.post(
                    "/language",
                    data={"csrf": re.findall(r'name="csrf" value="([^"]+)"', page.text)[0]},
                    headers={"referer": target},
                )
                assert "evil" not in again.headers.get("location", "")
                assert "javascript" not in again.headers.get("location", "")


def test_a_body_that_is_too_large_is_read_by_nobody(filled: Filled, client: httpx.Client) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(MAX_BODY_BYTES // 2**20 + 2):
            yield b"x" * 2**20

    headers = bearer(filled.lab, "analyst") | {"content-type": "application/json"}
    for more in ({}, {"idempotency-key": "b7e2a6d0-large-body"}):
        answer = client.post(
            "/api/v1/access/requests", content=chunks(), headers={**headers, **more}
        )
        assert is_problem(answer, 413), answer.text
        assert answer.json()["code"] == "BODY_TOO_LARGE"


ODD = {
    "no JSON": b"{",
    "nothing": b"",
    "not UTF-8": b'{"reason": "\xff\xfe"}',
    "UTF-16": '{"reason": "x"}'.encode("utf-16"),
    "a list": b"[]",
    "null": b"null",
    "deep": b"[" * 100_000,
    "deeper": b'{"a":' * 100_000,
    "a long number": b'{"days": ' + b"9" * 100_000 + b"}",
    "no number": b'{"days": NaN}',
    "infinite": b'{"days": Infinity}',
}


@pytest.mark.parametrize("kind", ODD)
def test_bytes_that_are_no_request_are_a_problem_of_the_sender(
    filled: Filled, client: httpx.Client, kind: str
) -> None:
    before = filled.lab.entries()
    headers = bearer(filled.lab, "analyst")
    for form in ("application/json", "application/json; charset=utf-16", "text/plain"):
        for key in ({}, {"idempotency-key": "odd-bytes-0123456789"}):
            sent = {**headers, "content-type": form, **key}
            answer = client.post("/api/v1/access/requests", content=ODD[kind], headers=sent)
            assert is_problem(answer, 400, 413, 415, 422), (form, answer.status_code, answer.text)
    assert filled.lab.entries() == before


@pytest.mark.parametrize(
    "text",
    ["\ud800", "a\udfffb", "x\0y", "\u2028\u2029", "\u202eevil", "</script>", "a" * 2_001],
    ids=["high", "low", "nul", "separators", "bidi", "markup", "long"],
)
def test_texts_that_are_hard_to_keep_are_kept_whole_or_refused(
    filled: Filled, client: httpx.Client, text: str
) -> None:
    headers = bearer(filled.lab, "analyst") | {"content-type": "application/json"}
    for path in ("/access/requests", "/demands"):
        body = dict(BODIES[path])
        if path == "/demands":
            body["title"] = f"Data {ascii(text)[1:20]}"
        body["reason" if path == "/access/requests" else "need"] = text
        content = json.dumps(body).encode()  # lone surrogates travel as \\ud800
        answer = client.post(f"/api/v1{path}", content=content, headers=headers)
        if answer.status_code == 201:
            assert text.encode()
            assert text in json.dumps(answer.json(), ensure_ascii=False)
        else:
            assert is_problem(answer, 422), answer.text
            assert text not in answer.text or text == "</script>"


def test_addresses_that_are_hard_to_read_are_nobodys(filled: Filled, client: httpx.Client) -> None:
    headers = bearer(filled.lab, "analyst")
    for address in (
        "/api/v1/access/requests/%00",
        "/api/v1/access/requests/%ff%fe",
        "/api/v1/access/requests/..%2f..%2fgrants",
        "/api/v1/catalogue/resources/%2e%2e/%2e%2e/policy",
        "/api/v1/access/requests/" + "a" * 6_000,
        "/static/..%2fframe.py",
        "/static/../frame.py",
        "/log/..%2f..%2fmarketplace.db",
        "/log/%2e%2e/marketplace.db",
    ):
        answer = client.get(address, headers=headers)
        assert answer.status_code in (307, 400, 404, 414, 422), (address, answer.status_code)
        assert b"SQLite" not in answer.content


def test_every_answer_says_that_it_is_what_it_says(filled: Filled, client: httpx.Client) -> None:
    for path in ("/api/v1/policy", "/api/v1/nothing", "/api/openapi.json", "/", "/log/checkpoint"):
        answer = client.get(path, headers=bearer(filled.lab, "analyst"))
        assert answer.headers["x-content-type-options"] == "nosniff", path
    assert HOSTILE not in client.get("/").text
