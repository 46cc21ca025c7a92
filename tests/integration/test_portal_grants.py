"""Grants and stops in the portal: ends, renewal, revocation, and the kill switch."""

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from marketplace.audit.entry import Event
from marketplace.portal.language import words
from tests.support.portal import HOSTILE, PEOPLE, Lab, answered, forged, opened, send, sound


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with opened(tmp_path / "home") as found:
        answered(found.market)
        yield found


def own_grant(lab: Lab, user: str = "analyst") -> str:
    held = lab.market.access.grants.visible(PEOPLE[user])
    return next(h.grant.id for h in held if h.grant.tenant == PEOPLE[user].tenant)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_grant_is_shown_with_its_term_and_the_days_left(lab: Lab, language: str) -> None:
    with lab.visit("analyst", language) as client:
        text = sound(client.get("/grants"))
        known = words(language)
        assert known["grants.term"].format(starts="2026-11-01", ends="2027-11-01") in text
        assert known["grants.left"].format(n=365) in text
        assert "demo-bank" not in text


def test_a_grant_that_ends_soon_is_marked_and_an_ended_one_too(lab: Lab) -> None:
    for days, state in ((340, "expiring"), (30, "expired")):
        lab.clock.now += timedelta(days=days)
        with lab.visit("analyst") as client:
            assert f"chip-{state}" in sound(client.get(f"/grants?state={state}"))
            assert "<article" not in sound(client.get("/grants?state=revoked"))


def test_a_renewal_is_a_request_like_any_other(lab: Lab) -> None:
    grant = own_grant(lab)
    with lab.visit("analyst") as client:
        path, given = f"/grants/{grant}/renewals", {"days": "60", "reason": f"Go on {HOSTILE}"}
        assert forged(client, path, **given) == [403, 403, 403]
        assert send(client, path, days="60", reason=" ").status_code == 422
        assert send(client, path, days="many", reason="x").status_code == 422
        done = send(client, path, **given)
        assert words("en")["request.renews"] in sound(client.get(done.headers["location"]))
    with lab.visit("bank-risk") as client:
        assert send(client, path, **given).status_code == 404


def test_a_grant_is_taken_away_by_who_may_with_a_reason(lab: Lab) -> None:
    grant = own_grant(lab)
    path = f"/grants/{grant}/revocation"
    with lab.visit("bank-risk") as client:
        assert send(client, path, reason="x").status_code == 404, "another's is nobody's"
    with lab.visit("tax-provider") as client:
        assert path in sound(client.get("/grants")), "the provider of its table may"
        assert forged(client, path, reason="x") == [403, 403, 403]
        assert send(client, path, reason="").status_code == 422
        assert send(client, path, reason=HOSTILE).headers["location"] == "/grants"
    with lab.visit("analyst") as client:
        text = sound(client.get("/grants?state=revoked"))
        assert words("en")["grant.state.revoked"] in text
        assert path not in text


def test_who_oversees_sees_all_grants_and_others_do_not(lab: Lab) -> None:
    with lab.visit("regulator") as client:
        text = sound(client.get("/grants?whose=all"))
        assert "demo-bank" in text
        assert "demo-enterprise" in text
        assert "/revocation" not in text
    with lab.visit("analyst") as client:
        assert client.get("/grants?whose=all").status_code == 403


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_stop_is_pulled_by_one_and_lifted_by_another(lab: Lab, language: str) -> None:
    with lab.visit("security-admin", language) as client:
        sound(client.get("/stops"))
        given = {"what": "table:tax_summary", "reason": f"Incident {HOSTILE}"}
        assert forged(client, "/stops", **given) == [403, 403, 403]
        for wrong in ({"what": "table:"}, {"what": "moon:x"}, {"reason": ""}, {"what": "lab:x"}):
            assert send(client, "/stops", **{**given, **wrong}).status_code == 422, wrong
        assert send(client, "/stops", what="table:no_such", reason="x").status_code == 404
        assert send(client, "/stops", **given).headers["location"] == "/stops"
        text = sound(client.get("/stops"))
        assert words(language)["stops.in_force"] in text
        assert "Incident &lt;img" in text
        assert "/lift" not in text, "not by the same person"
    with lab.visit("bureau-approver", language) as client:
        path = re.findall(r'action="(/stops/[0-9a-f]{32}/lift)"', client.get("/stops").text)[0]
        assert forged(client, path) == [403, 403, 403]
        assert send(client, path).headers["location"] == "/stops"
        assert words(language)["stops.in_force"] not in sound(client.get("/stops"))


@pytest.mark.parametrize(
    ("user", "may"),
    [("analyst", []), ("regulator", []), ("tax-provider", ["table:tax_summary"])],
)
def test_the_form_offers_what_one_may_stop(lab: Lab, user: str, may: list[str]) -> None:
    with lab.visit(user) as client:
        text = sound(client.get("/stops"))
        assert re.findall(r'<option value="([a-z]+:[a-z_-]*)"', text) == may
        denied = lab.events(Event.ACCESS_DENIED)
        assert send(client, "/stops", what="lab:", reason="x").status_code == 403
        assert lab.events(Event.ACCESS_DENIED) == denied + 1
        link = 'href="/stops"'
        assert (link in sound(client.get("/"))) == bool(may)
