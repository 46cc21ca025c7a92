"""Ledgers of grades and of the negative list in the portal."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from marketplace.audit.entry import Event
from marketplace.portal.language import words
from tests.support.portal import (
    HOSTILE,
    PEOPLE,
    Lab,
    answered,
    forged,
    opened,
    published,
    send,
    sound,
)


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with opened(tmp_path / "home") as found:
        answered(found.market)
        yield found


@pytest.fixture
def resource(lab: Lab) -> str:
    """A published resource of which a downgrade waits."""
    id_ = published(lab.market, title_en=f"Vessel {HOSTILE}")
    lab.market.publishing.regradings.report(
        PEOPLE["tax-provider"], id_, "paid", "k_anonymous", {"k": 12, "l": 3}, f"See {HOSTILE}"
    )
    return id_


@pytest.mark.parametrize("language", ["en", "zh"])
def test_each_field_stands_with_its_grade_and_why(lab: Lab, resource: str, language: str) -> None:
    known = words(language)
    with lab.visit("analyst", language) as client:
        text = sound(client.get("/grading"))
        assert f"/catalogue/{resource}" in text
        row = text[text.index("<code>paid</code></th>") :].partition("</tr>")[0]
        assert known["grade.G3"] in row
        assert f"{known['harmed.organisation']}: {known['degree.serious']}" in row
        assert known["grading.none_waiting"] in text
        assert "See" not in text, "evidence is for the two sides"
        assert known["event.many_people"] in text
        assert known["catalogue.none"] in sound(client.get("/grading?q=zzzz&page=x"))


@pytest.mark.parametrize(("verdict", "grade"), [("approve", "G2"), ("decline", "G3")])
def test_a_downgrade_is_decided_by_another_organisation(
    lab: Lab, resource: str, verdict: str, grade: str
) -> None:
    with lab.visit("bureau-approver") as client:
        text = sound(client.get("/grading"))
        assert "G3 → G2" in text
        assert "See &lt;img" in text
        path = re.findall(r'action="(/grading/[0-9a-f]{32}/decision)"', text)[0]
        before = lab.entries()
        assert forged(client, path, verdict=verdict) == [403, 403, 403]
        assert lab.entries() == before
        done = send(client, path, verdict=verdict, comment="Read.")
        assert done.headers["location"] == "/grading#waiting"
        assert words("en")["grading.none_waiting"] in sound(client.get("/grading"))
        assert send(client, path, verdict=verdict).status_code == 409
        text = sound(client.get(f"/catalogue/{resource}"))
        row = text[text.index("<code>paid</code></th>") :].partition("</tr>")[0]
        assert words("en")[f"grade.{grade}"] in row


@pytest.mark.parametrize("user", ["tax-provider", "analyst", "bureau-reviewer", "regulator"])
def test_nobody_else_lowers_a_grade(lab: Lab, resource: str, user: str) -> None:
    waiting = lab.market.publishing.regradings.waiting(PEOPLE["bureau-approver"])
    assert waiting[0].resource == resource
    with lab.visit(user) as client:
        assert words("en")["grading.none_waiting"] in sound(client.get("/grading"))
        denied = lab.events(Event.ACCESS_DENIED)
        sent = send(client, f"/grading/{waiting[0].id}/decision", verdict="approve")
        assert sent.status_code == 403
        assert lab.events(Event.ACCESS_DENIED) == denied + 1


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_negative_list_shows_basis_approver_validity_and_what_ends(
    lab: Lab, language: str
) -> None:
    known = words(language)
    with lab.visit("analyst", language) as client:
        text = sound(client.get("/negative-list"))
        for shown in ("NL-SAMPLE-001", "中华人民共和国个人信息保护法", "示例市大数据局"):
            assert shown in text
        assert "2026-10-15 – 2027-10-14" in text
        assert known["standing.in-force"] in text
        before = text.count('class="wrong"')
    lab.clock.now = datetime(2027, 10, 1, tzinfo=UTC)
    with lab.visit("analyst", language) as client:
        text = sound(client.get("/negative-list"))
        assert known["negative.ends"].format(n=14) in text
        assert text.count('class="wrong"') > before
    lab.clock.now = datetime(2027, 10, 20, tzinfo=UTC)
    with lab.visit("analyst", language) as client:
        assert known["negative.lapsed"] in sound(client.get("/negative-list"))
