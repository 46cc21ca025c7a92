"""Who examines what a provider submits, how grades change, and who is told of laws that end."""

import datetime as dt
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from sqlalchemy import select

from marketplace.access.store import notices
from marketplace.app import build
from marketplace.audit import store as log
from marketplace.audit.people import People
from marketplace.identity.model import SEEDED
from marketplace.services import Services
from marketplace.settings import POLICIES
from tests.integration.test_catalogue_http import BODY, ITEMS
from tests.support.marketplace import Clock, make_home, parts, token
from tests.support.serving import serving

Call = Callable[..., httpx.Response]
EVERYBODY = [name for name, _, _ in SEEDED]
UP = {"field": "paid", "event": "joined_on_unit", "facts": {"g3_tables": 2}, "evidence": "memo 7"}
DOWN = {"field": "paid", "event": "k_anonymous", "facts": {"k": 10, "l": 2}, "evidence": "memo 8"}


@pytest.fixture
def market(tmp_path: Path) -> Iterator[tuple[Call, Services]]:
    settings = make_home(tmp_path / "home")
    with parts(settings) as services, serving(build(services, Clock())) as url:

        def call(user: str, method: str, path: str, **body: Any) -> httpx.Response:
            headers = {"authorization": f"Bearer {token(settings, user)}"}
            given: dict[str, Any] = {"json": body} if method in ("POST", "PUT") else {}
            return httpx.request(method, f"{url}/api/v1{path}", headers=headers, **given)

        yield call, services


def submitted(call: Call, **change: Any) -> dict[str, Any]:
    made: dict[str, Any] = call(
        "tax-provider", "POST", "/catalogue/resources", **{**BODY, **change}
    ).json()
    where = f"/catalogue/resources/{made['id']}/versions/1/submit"
    assert call("tax-provider", "POST", where, digest=made["digest"]).is_success
    return made


def published(call: Call) -> str:
    made = submitted(call)
    where, seen = f"/catalogue/resources/{made['id']}/versions/1", {"digest": made["digest"]}
    assert call("bureau-reviewer", "POST", f"{where}/examination", **seen, approve=True).is_success
    assert call("tax-provider", "POST", f"{where}/publish", **seen).is_success
    return str(made["id"])


def told(services: Services, user: str) -> set[str]:
    with services.database.reading() as connection:
        wanted = select(notices.c.event).where(notices.c.user == People(connection).find(user))
        return set(connection.execute(wanted).scalars())


def test_the_bureau_examines_exactly_what_was_submitted_and_its_provider_learns_it(
    market: tuple[Call, Services],
) -> None:
    call, services = market
    made = submitted(call)
    where = f"/catalogue/resources/{made['id']}/versions/1"
    waiting = call("bureau-reviewer", "GET", "/catalogue/examinations").json()
    assert [w["digest"] for w in waiting] == [made["digest"]]
    assert call("tax-provider", "GET", "/catalogue/examinations").json() == []
    assert "resource:submit" in told(services, "bureau-reviewer")

    stale = call("bureau-reviewer", "POST", f"{where}/examination", digest="0" * 64, approve=True)
    assert (stale.status_code, stale.json()["code"]) == (409, "CONTENT_CHANGED")
    body = {"digest": made["digest"], "approve": False, "comment": "Grade `paid`, please."}
    back = call("bureau-reviewer", "POST", f"{where}/examination", **body)
    assert (back.status_code, back.json()["state"]) == (200, "returned")
    assert "resource:return" in told(services, "tax-provider")
    history = call("tax-provider", "GET", f"/catalogue/resources/{made['id']}/history").json()
    assert (history[-1]["act"], history[-1]["user"], history[-1]["comment"]) == (
        *("return", "bureau-reviewer", "Grade `paid`, please."),
    )


def test_nobody_but_the_bureau_examines_and_each_refusal_is_an_entry(
    market: tuple[Call, Services],
) -> None:
    call, services = market
    made = submitted(call)
    where = f"/catalogue/resources/{made['id']}/versions/1/examination"
    for user in EVERYBODY:
        if user in ("bureau-reviewer", "bureau-approver"):
            continue
        before = size(services)
        answer = call(user, "POST", where, digest=made["digest"], approve=True)
        assert (answer.status_code, answer.json()["code"]) in {
            (403, "ROLE_REFUSED"),
            (403, "OWN_REQUEST"),
        }, user
        assert size(services) > before, user
    shown = call("tax-provider", "GET", f"/catalogue/resources/{made['id']}/versions/1").json()
    assert shown["state"] == "submitted"


def size(services: Services) -> int:
    with services.database.reading() as connection:
        return log.size(connection)


def test_an_upgrade_holds_at_once_and_a_downgrade_waits_for_another_organisation(
    market: tuple[Call, Services],
) -> None:
    call, _ = market
    id_ = published(call)
    where = f"/catalogue/resources/{id_}"
    up = call("tax-provider", "POST", f"{where}/regradings", **UP).json()
    assert (up["before"], up["after"], up["outcome"]) == ("G3", "G4", "applied")
    page = call("analyst", "GET", where).json()
    assert (page["grade"], page["open_lanes"]) == ("G4", [])
    found = call("analyst", "GET", "/catalogue/resources?grade=G4").json()
    assert [hit["resource"] for hit in found["hits"]] == [id_], "search shows it at once"

    down = call("tax-provider", "POST", f"{where}/regradings", **DOWN).json()
    assert (down["before"], down["after"], down["outcome"]) == ("G4", "G3", "waiting")
    assert call("analyst", "GET", where).json()["grade"] == "G4"
    decide = f"/catalogue/regradings/{down['id']}/decision"
    for user in EVERYBODY:
        if user != "bureau-approver":
            answer = call(user, "POST", decide, approve=True)
            assert answer.status_code == 403, user
    assert [r["id"] for r in call("bureau-approver", "GET", "/catalogue/regradings").json()] == [
        down["id"]
    ]
    done = call("bureau-approver", "POST", decide, approve=True, comment="k is shown").json()
    assert (done["outcome"], done["decided_by"]) == ("applied", "bureau-approver")
    assert call("analyst", "GET", where).json()["grade"] == "G3"
    again = call("bureau-approver", "POST", decide, approve=True)
    assert (again.status_code, again.json()["code"]) == (409, "WRONG_STATE")


def test_who_asks_for_a_downgrade_does_not_decide_it(market: tuple[Call, Services]) -> None:
    call, _ = market
    where = f"/catalogue/resources/{published(call)}"
    for user, code in (
        ("bureau-approver", "SAME_PERSON"),
        ("bureau-reviewer", "SAME_ORGANISATION"),
    ):
        down = call(user, "POST", f"{where}/regradings", **DOWN).json()
        decide = f"/catalogue/regradings/{down['id']}/decision"
        answer = call("bureau-approver", "POST", decide, approve=True)
        assert (answer.status_code, answer.json()["code"]) == (403, code)
    assert call("analyst", "GET", where).json()["grade"] == "G3"
    assert call("bureau-approver", "GET", "/catalogue/regradings").json() == []


@pytest.mark.parametrize("approve", [False, True])
def test_a_downgrade_of_a_grade_that_moved_meanwhile_lowers_nothing(
    market: tuple[Call, Services], *, approve: bool
) -> None:
    call, _ = market
    where = f"/catalogue/resources/{published(call)}"
    down = call("tax-provider", "POST", f"{where}/regradings", **DOWN).json()
    call("tax-provider", "POST", f"{where}/regradings", **UP)
    decide = f"/catalogue/regradings/{down['id']}/decision"
    done = call("bureau-approver", "POST", decide, approve=approve).json()
    assert done["outcome"] == ("void" if approve else "declined")
    assert call("analyst", "GET", where).json()["grade"] == "G4"


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"event": "wishful_thinking"}, 422, "BAD_REQUEST"),
        ({"field": "nowhere"}, 422, "BAD_REQUEST"),
        ({"facts": {"g3_tables": 1}}, 409, "GRADE_UNCHANGED"),
        ({"facts": {}}, 409, "GRADE_UNCHANGED"),
        ({"facts": {"g3_tables": True}}, 409, "GRADE_UNCHANGED"),
        ({"facts": {"g3_tables": "2"}}, 422, "BAD_REQUEST"),
        ({"evidence": ""}, 422, "BAD_REQUEST"),
        ({"evidence": "two\nlines"}, 422, "BAD_REQUEST"),
        ({"after": "G1"}, 422, "BAD_REQUEST"),
    ],
    ids=str,
)
def test_what_no_rule_says_changes_no_grade(
    market: tuple[Call, Services], change: dict[str, Any], status: int, code: str
) -> None:
    call, _ = market
    where = f"/catalogue/resources/{published(call)}"
    answer = call("tax-provider", "POST", f"{where}/regradings", **{**UP, **change})
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.json()["detail_zh"]
    assert call("analyst", "GET", where).json()["grade"] == "G3"
    assert call("tax-provider", "GET", f"{where}/regradings").json() == []


def test_a_stranger_regrades_nothing_and_reads_neither_words_nor_counts(
    market: tuple[Call, Services],
) -> None:
    call, _ = market
    where = f"/catalogue/resources/{published(call)}"
    for user in ("analyst", "hr-provider", "regulator", "system-admin"):
        assert call(user, "POST", f"{where}/regradings", **UP).status_code == 403
    call("tax-provider", "POST", f"{where}/regradings", **UP)
    mine = call("tax-provider", "GET", f"{where}/regradings").json()[0]
    theirs = call("analyst", "GET", f"{where}/regradings").json()[0]
    assert (mine["evidence"], mine["by"], mine["facts"]) == (
        *("memo 7", "tax-provider", {"g3_tables": 2}),
    )
    assert (theirs["evidence"], theirs["by"], theirs["facts"]) == ("", "", {})
    assert theirs["after"] == "G4"


def test_taking_a_resource_out_and_in_again_lowers_no_grade(
    market: tuple[Call, Services],
) -> None:
    call, _ = market
    id_ = published(call)
    where = f"/catalogue/resources/{id_}"
    page = call("tax-provider", "GET", where).json()
    assert call(
        "tax-provider", "POST", f"{where}/versions/1/withdraw", digest=page["digest"]
    ).is_success
    lower = [ITEMS[0], {**ITEMS[1], "impacts": [{"object": "organisation", "degree": "none"}]}]
    made = call("tax-provider", "POST", f"{where}/versions", **{**BODY, "items": lower}).json()
    seen = {"digest": made["digest"]}
    call("tax-provider", "POST", f"{where}/versions/2/submit", **seen)
    call("bureau-reviewer", "POST", f"{where}/versions/2/examination", **seen, approve=True)
    again = call("tax-provider", "POST", f"{where}/versions/2/publish", **seen).json()
    assert again["grade"] == "G3"


def test_a_field_says_its_class_its_grade_and_its_lanes(market: tuple[Call, Services]) -> None:
    call, _ = market
    items = [ITEMS[0], {**ITEMS[1], "data_class": "personal"}]
    made = submitted(call, items=items, lanes=["dp", "download"])
    assert [(i["name"], i["data_class"], i["grade"], i["open_lanes"]) for i in made["items"]] == [
        ("uscc", "organisation", "G1", ["download", "dp"]),
        ("paid", "personal", "G3", ["dp"]),
    ]


def test_sixty_classes_are_named_and_those_with_sample_rows_marked(
    market: tuple[Call, Services],
) -> None:
    call, _ = market
    classes = call("analyst", "GET", "/catalogue/classes").json()
    contracts = {p.stem for p in (POLICIES / "contracts").glob("*.yaml")}
    marked = {c["sample_table"] for c in classes} - {""}
    assert len({c["code"] for c in classes}) == len({c["zh"] for c in classes}) == 60
    assert all(c["zh"] and c["en"] for c in classes)
    assert marked <= contracts
    assert len(marked) > 10


def test_the_bureau_is_told_once_before_and_once_after_an_entry_ends(tmp_path: Path) -> None:
    settings = make_home(tmp_path / "home")
    listed = yaml.safe_load((POLICIES / "negative_list.yaml").read_text(encoding="utf-8"))
    listed["entries"] = [{**listed["entries"][0], "valid_until": dt.date(2026, 11, 2)}]
    text = yaml.safe_dump(listed, allow_unicode=True)
    (settings.home / "negative_list.yaml").write_text(text, encoding="utf-8")

    def count(services: Services) -> int:
        with services.database.reading() as connection:
            me = People(connection).find("bureau-approver")
            wanted = select(notices).where(
                notices.c.user == me, notices.c.event == "negative-list:ending"
            )
            return len(connection.execute(wanted).all())

    seen = []
    for day in (1, 1, 2, 3, 4):
        Clock.latest[settings.home] = dt.datetime(2026, 11, day, tzinfo=dt.UTC)
        with parts(settings) as services:
            services.worker.turn()
            services.worker.turn()
            seen.append(count(services))
    assert seen == [1, 1, 1, 2, 2]
