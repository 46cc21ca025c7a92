"""Contracts and the way of tenants in the portal: what is agreed, signing, the end."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from marketplace.audit.entry import Event
from marketplace.portal.language import words
from tests.support.portal import Lab, agreed, answered, forged, opened, send, sound


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with opened(tmp_path / "home") as found:
        answered(found.market)
        yield found


@pytest.mark.parametrize("language", ["en", "zh"])
def test_contracts_show_term_use_and_signatures_to_their_parties(lab: Lab, language: str) -> None:
    id_ = agreed(lab.market, 1_700_000_000)
    known = words(language)
    with lab.visit("analyst", language) as client:
        assert f"/contracts/{id_}" in sound(client.get("/contracts"))
        assert f"/contracts/{id_}" not in sound(client.get("/contracts?state=active"))
        text = sound(client.get(f"/contracts/{id_}"))
        for word in ("contract.state.draft", "contract.all_tables", "contract.unsigned"):
            assert known[word] in text
        assert "2023-11-14 – 2024-11-13" in text
        assert "0 / 50" in text
    with lab.visit("bank-risk", language) as client:
        assert id_ not in sound(client.get("/contracts"))
        assert client.get(f"/contracts/{id_}").status_code == 404
        assert client.get(f"/contracts/{'0' * 32}").status_code == 404


def test_parties_sign_the_digest_that_was_shown_then_end_and_certify(lab: Lab) -> None:
    id_ = agreed(lab.market)
    path = f"/contracts/{id_}"
    for user in ("analyst", "bureau-approver"):
        with lab.visit(user) as client:
            text = sound(client.get(path))
            shown = re.findall(r'name="text_sha256" value="([0-9a-f]{64})"', text)[0]
            assert forged(client, f"{path}/signatures", text_sha256=shown) == [403, 403, 403]
            wrong = send(client, f"{path}/signatures", text_sha256="0" * 64)
            assert wrong.status_code == 409
            done = send(client, f"{path}/signatures", text_sha256=shown)
            assert done.headers["location"] == path
            assert f"{path}/signatures" not in sound(client.get(path)), "it is signed"
    with lab.visit("analyst") as client:
        assert words("en")["contract.state.active"] in sound(client.get(path))
        assert forged(client, f"{path}/exit") == [403, 403, 403]
        assert send(client, f"{path}/exit").headers["location"] == path
        assert f"{path}/destruction" not in sound(client.get(path))
    with lab.visit("operator") as client:
        assert f"{path}/destruction" in sound(client.get(path))
        certificate = {"certificate_sha256": "ab" * 32}
        assert forged(client, f"{path}/destruction", **certificate) == [403, 403, 403]
        bad = send(client, f"{path}/destruction", certificate_sha256="none")
        assert bad.status_code == 422
        assert send(client, f"{path}/destruction", **certificate).headers["location"] == path
        assert words("en")["contract.state.destroyed"] in sound(client.get(path))


def test_a_regulator_reads_and_signs_nothing(lab: Lab) -> None:
    path = f"/contracts/{agreed(lab.market)}"
    with lab.visit("regulator") as client:
        text = sound(client.get(path))
        assert f'action="{path}' not in text
        digest = re.findall(r"<code>([0-9a-f]{64})</code>", text)[0]
        denied = lab.events(Event.ACCESS_DENIED)
        assert send(client, f"{path}/signatures", text_sha256=digest).status_code == 403
        assert send(client, f"{path}/exit").status_code == 403
        assert lab.events(Event.ACCESS_DENIED) == denied + 2


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_funnel_shows_time_in_stage_and_moves_one_step(lab: Lab, language: str) -> None:
    known = words(language)
    with lab.visit("operator", language) as client:
        path, first = "/funnel/demo-firm", {"stage": "contacted"}
        assert forged(client, path, **first) == [403, 403, 403]
        assert send(client, path, stage="active").status_code == 409
        assert send(client, path, stage="moon").status_code == 422
        assert send(client, path, **first).headers["location"] == "/funnel"
        text = sound(client.get("/funnel"))
        row = text[text.index('scope="row">demo-firm') :].partition("</tr>")[0]
        assert "<strong>" in row
        assert 'name="stage" value="qualified"' in row
        assert known["stage.qualified"] in row
    with lab.visit("firm-owner", language) as client:
        text = sound(client.get("/funnel"))
        assert "demo-firm" in text
        assert "demo-enterprise" not in text, "another tenant"
        assert 'action="/funnel' not in text
        assert send(client, path, stage="qualified").status_code == 403
