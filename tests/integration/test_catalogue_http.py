"""A provider's way to a published resource, over HTTP where it is HTTP, and who may do what."""

from pathlib import Path

import httpx
import pytest

from marketplace.app import build
from marketplace.catalogue.search import Query
from marketplace.catalogue.states import Actor
from marketplace.grading.model import Lane, Level
from tests.support.catalogue import BUREAU
from tests.support.marketplace import Clock, make_home, parts, token
from tests.support.serving import serving

ITEMS = [
    {
        "name": "uscc",
        "title_zh": "统一社会信用代码",
        "title_en": "Unified social credit code",
        "logical_type": "string",
        "impacts": [{"object": "organisation", "degree": "none"}],
    },
    {
        "name": "paid",
        "title_zh": "已缴金额",
        "title_en": "Paid",
        "logical_type": "number",
        "unit": "元",
        "impacts": [{"object": "organisation", "degree": "serious"}],
    },
]
BODY = {
    "code": "302009/000001",
    "title_zh": "车船税缴纳信息",
    "title_en": "Vehicle and vessel tax",
    "theme": "tax",
    "update_cycle": "monthly",
    "share_type": "conditional",
    "open_type": "not",
    "items": ITEMS,
    "lanes": ["dp", "download"],
}
ALL = "/api/v1/catalogue/resources"


@pytest.fixture
def market(tmp_path: Path):
    settings = make_home(tmp_path / "home")
    with parts(settings) as services, serving(build(services, Clock())) as url:

        def call(user, method, path="", **body):
            headers = {"authorization": f"Bearer {token(settings, user)}"}
            given = {"json": body} if method in ("POST", "PUT") else {"params": body}
            return httpx.request(method, url + ALL + path, headers=headers, **given)

        yield call, services


def code_of(answer, status):
    assert answer.status_code == status, answer.text
    assert answer.json()["detail_zh"]
    return answer.json()["code"]


def test_a_provider_registers_submits_and_publishes_what_another_approved(market):
    call, services = market
    made = call("tax-provider", "POST", **BODY).json()
    where = f"/{made['id']}/versions/1"
    seen = {"digest": made["digest"]}

    assert (made["state"], made["grade"], made["open_lanes"]) == ("draft", "G3", ["dp"])
    assert code_of(call("analyst", "GET", f"/{made['id']}"), 404) == "NOT_FOUND"
    assert code_of(call("tax-provider", "POST", f"{where}/publish", **seen), 409) == "WRONG_STATE"
    assert call("tax-provider", "POST", f"{where}/submit", **seen).json()["state"] == "submitted"
    assert code_of(call("tax-provider", "PUT", where, **BODY), 409) == "WRONG_STATE"
    services.catalogue.review(BUREAU, made["id"], 1, made["digest"], approve=True)
    assert call("analyst", "GET", q="车船").json()["total"] == 0
    assert call("tax-provider", "POST", f"{where}/publish", **seen).status_code == 200
    found = call("analyst", "GET", q="车船").json()
    assert [hit["resource"] for hit in found["hits"]] == [made["id"]]
    assert [a["act"] for a in call("tax-provider", "GET", f"/{made['id']}/history").json()] == [
        *("edit", "submit", "approve", "publish")
    ]
    assert [a["act"] for a in call("analyst", "GET", f"/{made['id']}/history").json()] == [
        "publish"
    ]
    assert call("tax-provider", "POST", f"{where}/withdraw", **seen).status_code == 200
    assert call("analyst", "GET", q="车船").json()["total"] == 0


def test_a_new_version_replaces_the_old_one_and_lowers_no_grade(market):
    call, services = market

    def publish(number, made):
        where, seen = f"/{made['id']}/versions/{number}", {"digest": made["digest"]}
        assert call("tax-provider", "POST", f"{where}/submit", **seen).status_code == 200
        services.catalogue.review(BUREAU, made["id"], number, made["digest"], approve=True)
        return call("tax-provider", "POST", f"{where}/publish", **seen)

    made = call("tax-provider", "POST", **BODY).json()
    assert publish(1, made).json()["grade"] == "G3"
    lower = [ITEMS[0], {**ITEMS[1], "impacts": [{"object": "organisation", "degree": "none"}]}]
    second = call(
        "tax-provider", "POST", f"/{made['id']}/versions", **{**BODY, "items": lower}
    ).json()
    assert call("analyst", "GET", f"/{made['id']}").json()["version"] == 1
    assert publish(2, second).json()["grade"] == "G3"
    assert call("analyst", "GET", f"/{made['id']}").json()["version"] == 2
    assert call("analyst", "GET", f"/{made['id']}/versions/1").json()["state"] == "superseded"
    page = services.catalogue.page(BUREAU, made["id"])
    assert (page.level, page.lanes) == (Level.G3, frozenset({Lane.DP}))


@pytest.mark.parametrize(
    ("user", "change", "status", "code"),
    [
        ("analyst", {}, 403, "FORBIDDEN"),
        ("regulator", {}, 403, "FORBIDDEN"),
        ("tax-provider", {"provider": "hr-department"}, 422, "BAD_REQUEST"),
        ("tax-provider", {"grade": "G1"}, 422, "BAD_REQUEST"),
        ("tax-provider", {"state": "published"}, 422, "BAD_REQUEST"),
        ("tax-provider", {"origin": "synthetic"}, 422, "BAD_REQUEST"),
        ("tax-provider", {"code": "../../etc"}, 422, "BAD_REQUEST"),
        ("tax-provider", {"title_zh": "税\n伪造的日志行"}, 422, "BAD_REQUEST"),
        ("tax-provider", {"title_zh": "税\u202e反转"}, 422, "BAD_REQUEST"),
        ("tax-provider", {"title_zh": ""}, 422, "BAD_REQUEST"),
        ("tax-provider", {"licence": "javascript:alert(1)"}, 422, "BAD_REQUEST"),
        ("tax-provider", {"price_fen": -1}, 422, "BAD_REQUEST"),
        ("tax-provider", {"price_fen": 1.5}, 422, "BAD_REQUEST"),
        ("tax-provider", {"items": []}, 422, "BAD_REQUEST"),
        ("tax-provider", {"items": [ITEMS[0], ITEMS[0]]}, 422, "BAD_REQUEST"),
        ("tax-provider", {"items": [ITEMS[0]] * 501}, 422, "BAD_REQUEST"),
    ],
    ids=str,
)
def test_what_is_not_the_callers_to_say_is_refused_and_nothing_is_kept(
    market, user, change, status, code
):
    call, services = market
    before = services.catalogue.search(BUREAU, Query())

    assert code_of(call(user, "POST", **{**BODY, **change}), status) == code
    assert call("tax-provider", "POST", **BODY).status_code == 201, "the code is still free"
    assert services.catalogue.search(BUREAU, Query()) == before


@pytest.mark.parametrize("degree", ["general", "serious", "extreme"])
def test_important_and_core_data_cannot_be_registered(market, degree):
    call, _ = market
    harm = {"impacts": [{"object": "national_security", "degree": degree}]}
    answer = call("tax-provider", "POST", **{**BODY, "items": [{**ITEMS[0], **harm}]})

    assert code_of(answer, 422) == "GRADE_NOT_ADMITTED"


def test_no_one_moves_or_reads_the_draft_of_another_organisation(market):
    call, services = market
    made = call("tax-provider", "POST", **BODY).json()
    where, seen = f"/{made['id']}/versions/1", {"digest": made["digest"]}

    for method, path, body in (
        ("GET", f"/{made['id']}", {}),
        ("GET", where, {}),
        ("GET", f"/{made['id']}/odcs", {}),
        ("GET", f"/{made['id']}/dcat", {}),
        ("GET", f"/{made['id']}/history", {}),
        ("PUT", where, BODY),
        ("POST", f"{where}/submit", seen),
        ("POST", f"{where}/withdraw", seen),
    ):
        answer = call("hr-provider", method, path, **body)
        assert answer.status_code in (403, 404), (method, path)
    assert services.catalogue.page(Actor("x", "tax-department"), made["id"]).version.number


def test_an_approval_of_other_content_does_not_count(market):
    call, services = market
    made = call("tax-provider", "POST", **BODY).json()
    where = f"/{made['id']}/versions/1"
    changed = call("tax-provider", "PUT", where, **{**BODY, "title_zh": "另一标题"}).json()
    assert call("tax-provider", "POST", f"{where}/submit", digest=changed["digest"]).is_success

    with pytest.raises(Exception, match="changed since"):
        services.catalogue.review(BUREAU, made["id"], 1, made["digest"], approve=True)
    with pytest.raises(Exception, match="never reviews"):
        services.catalogue.review(
            Actor("tax-boss", "tax-department"),
            made["id"],
            1,
            changed["digest"],
            approve=True,
        )


def test_titles_come_back_as_they_were_sent_and_never_as_a_page(market):
    call, _ = market
    title = '<img src=x onerror=alert(1)></script>{{7*7}}"\u4e2d'
    made = call("tax-provider", "POST", **{**BODY, "title_en": title}).json()

    assert made["title_en"] == title
    for path in ("", "/odcs", "/dcat"):
        answer = call("tax-provider", "GET", f"/{made['id']}{path}")
        assert answer.headers["content-type"] in ("application/json", "application/ld+json")


def test_the_negative_list_says_what_is_closed_on_which_basis(tmp_path):
    settings = make_home(tmp_path / "home")
    headers = {"authorization": f"Bearer {token(settings, 'regulator')}"}
    with parts(settings) as services, serving(build(services, Clock())) as url:
        assert httpx.get(f"{url}/api/v1/negative-list").status_code == 401
        listed = httpx.get(f"{url}/api/v1/negative-list", headers=headers).json()
        ending = httpx.get(f"{url}/api/v1/negative-list/alerts", headers=headers).json()
    assert {e["standing"] for e in listed} == {"in-force"}
    assert all(e["legal_basis"]["title"] and e["approval_no"] for e in listed)
    assert ending == []
