"""The catalogue's pages: search with facets and pages, a resource, examination by forms."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from marketplace.audit.entry import Event
from marketplace.catalogue.synthetic import generate
from marketplace.portal.language import words
from tests.support.portal import (
    HOSTILE,
    Lab,
    answered,
    forged,
    opened,
    published,
    send,
    sound,
    submitted,
)


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with opened(tmp_path / "home") as found:
        found.market.catalogue.load(generate(found.market.publishing.classes, 60, 1))
        answered(found.market)
        yield found


def hits(text: str) -> list[str]:
    return re.findall(r'<h3><a href="/catalogue/([0-9a-f]{32})">', text)


def total(text: str) -> int:
    found = re.search(r'role="status">\D*(\d+)', text)
    assert found is not None
    return int(found[1])


def test_the_search_pages_through_all_resources_without_losing_one(lab: Lab) -> None:
    with lab.visit("analyst") as client:
        pages = [sound(client.get(f"/catalogue?page={n}")) for n in (1, 2, 3)]
        assert [len(hits(p)) for p in pages] == [20, 20, 20]
        assert len({h for p in pages for h in hits(p)}) == 60
        assert [("rel=" + '"prev"' in p, "rel=" + '"next"' in p) for p in pages] == [
            *((False, True), (True, True), (True, False)),
        ]
        assert words("en")["catalogue.past"] in sound(client.get("/catalogue?page=9999"))
        for strange in ("x", "-1", "0", "99999999999999999999"):
            assert client.get(f"/catalogue?page={strange}").status_code == 200


@pytest.mark.parametrize(
    "query", ["q=shehui", "q=社会", "q=shbx", "q=Social"], ids=["pinyin", "zh", "initials", "en"]
)
def test_a_resource_is_found_however_it_is_written(lab: Lab, query: str) -> None:
    with lab.visit("analyst", "zh") as client:
        assert "社会保险缴纳信息" in sound(client.get(f"/catalogue?{query}"))


def test_facets_narrow_and_stay_chosen_on_the_next_page(lab: Lab) -> None:
    with lab.visit("analyst") as client:
        every = total(sound(client.get("/catalogue")))
        strict = sound(client.get("/catalogue?grade=G1&grade=G2"))
        assert 0 < total(strict) < every
        assert 'value="G1" checked' in strict
        assert 'value="G3" checked' not in strict
        assert 'href="/catalogue?grade=G1&amp;grade=G2&amp;page=2"' in strict.replace(
            "?grade=G1&grade=G2&amp;", "?grade=G1&amp;grade=G2&amp;"
        )
        both = total(sound(client.get("/catalogue?grade=G1&provider=tax-department")))
        assert 0 < both < total(strict)


def test_nothing_found_leads_to_a_demand(lab: Lab) -> None:
    with lab.visit("analyst") as client:
        text = sound(client.get("/catalogue", params={"q": f"nothing {HOSTILE}"}))
        assert words("en")["catalogue.none"] in text
        assert "/demands/new?title=nothing" in text


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_resource_shows_class_grade_lane_price_versions_and_provider(
    lab: Lab, language: str
) -> None:
    titles = {"title_en": f"Vessel tax {HOSTILE}", "title_zh": f"车船税 {HOSTILE}"}
    id_ = published(lab.market, **titles)
    with lab.visit("bank-risk", language) as client:
        text = sound(client.get(f"/catalogue/{id_}"))
        known = words(language)
        for word in ("class.organisation", "grade.G3", "grade.G1", "lane.dp", "lane.download"):
            assert known[word] in text
        assert known["price.each"].format(amount="2.50") in text
        assert known["catalogue.wait"].format(n=5) in text
        assert {"en": "Sample tax department", "zh": "示例税务部门"}[language] in text
        assert "&lt;img src=x" in text
        assert known["catalogue.request"] not in text, "no table of the lab belongs to it"
        assert sound(client.get(f"/catalogue/{id_}/versions/1"))
        assert client.get(f"/catalogue/{id_}/versions/2").status_code == 404


def test_sample_data_and_synthetic_metadata_are_marked_and_access_is_offered(lab: Lab) -> None:
    with lab.visit("analyst") as client, lab.visit("regulator") as other:
        id_ = hits(client.get("/catalogue?q=社会保险缴纳").text)[0]
        text = sound(client.get(f"/catalogue/{id_}"))
        for word in ("catalogue.sample", "catalogue.synthetic"):
            assert words("en")[word] in text
        link = 'href="/access/requests/new?table=social_insurance"'
        assert link in text
        assert link not in sound(other.get(f"/catalogue/{id_}"))


def test_a_draft_is_seen_by_its_provider_alone(lab: Lab) -> None:
    id_ = submitted(lab.market)
    for user, status in (("tax-provider", 200), ("hr-provider", 404), ("analyst", 404)):
        with lab.visit(user) as client:
            assert client.get(f"/catalogue/{id_}").status_code == status, user


def test_examiners_judge_the_digest_that_they_read_by_forms_of_the_own_page(lab: Lab) -> None:
    id_ = submitted(lab.market, title_en=f"Second {HOSTILE}")
    path = f"/examinations/{id_}/1"
    with lab.visit("bureau-reviewer") as client:
        text = sound(client.get("/examinations"))
        digest = re.findall(r'name="digest" value="([0-9a-f]{64})"', text)[0]
        given = {"digest": digest, "verdict": "approve", "comment": HOSTILE}
        before = lab.entries()
        assert forged(client, path, **given) == [403, 403, 403]
        assert lab.entries() == before
        assert send(client, path, **{**given, "digest": "0" * 64}).status_code == 409
        assert send(client, path, **{**given, "digest": "short"}).status_code == 422
        assert send(client, path, **given).headers["location"] == "/examinations"
        assert words("en")["examinations.none"] in sound(client.get("/examinations"))
    with lab.visit("tax-provider") as client:
        assert words("en")["resource.state.approved"] in sound(client.get(f"/catalogue/{id_}"))


@pytest.mark.parametrize("user", ["analyst", "tax-provider", "operator", "regulator"])
def test_nobody_else_examines(lab: Lab, user: str) -> None:
    id_ = submitted(lab.market)
    with lab.visit(user) as client:
        assert words("en")["examinations.none"] in sound(client.get("/examinations"))
        denied = lab.events(Event.ACCESS_DENIED)
        sent = send(client, f"/examinations/{id_}/1", digest="0" * 64, verdict="approve")
        assert sent.status_code == 403
        assert lab.events(Event.ACCESS_DENIED) == denied + 1
