"""The demand board in the portal: list, form, steps by role, deadlines, the rate."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from marketplace.audit.entry import Event
from marketplace.demand.model import Step
from marketplace.portal.language import words
from tests.support.portal import (
    HOSTILE,
    PEOPLE,
    Lab,
    answered,
    demanded,
    forged,
    opened,
    send,
    sound,
)

FORM = {
    "title": f"企业用电 {HOSTILE}",
    "need": f"Lending {HOSTILE}",
    "purpose": "market-research",
    "lane": "dp",
}


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with opened(tmp_path / "home") as found:
        answered(found.market)
        yield found


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_demand_is_sent_and_shown_with_its_deadline_in_working_days(
    lab: Lab, language: str
) -> None:
    known = words(language)
    with lab.visit("analyst", language) as client:
        sound(client.get("/demands/new", params={"title": HOSTILE}))
        assert forged(client, "/demands", **FORM) == [403, 403, 403]
        done = send(client, "/demands", **FORM)
        text = sound(client.get(done.headers["location"]))
        assert known["demand.state.submitted"] in text
        assert "Lending &lt;img" in text
        assert "2026-11-03 16:00" in text, "two working days after Sunday, 1 November, in China"
        assert done.headers["location"] in sound(client.get("/demands?state=mine"))
        assert known["demands.none"] in sound(client.get("/demands?state=delivered"))
    with lab.visit("bank-risk", language) as client:
        text = sound(client.get(done.headers["location"]))
        assert "企业用电" in text
        assert "Lending" not in text, "who demands and why is for the two sides"
        assert "demo-enterprise" not in text


@pytest.mark.parametrize(
    "change",
    [
        {"title": "x"},
        {"need": " "},
        {"purpose": "Not A Code"},
        {"table": "no_such"},
        {"title": "、、"},
    ],
    ids=str,
)
def test_a_faulty_demand_comes_back_with_what_was_written(lab: Lab, change: dict[str, str]) -> None:
    with lab.visit("analyst") as client:
        answer = send(client, "/demands", **{**FORM, **change})
        assert answer.status_code in (404, 422)
        assert 'role="alert"' in answer.text
        assert 'name="need"' in answer.text
        assert HOSTILE not in answer.text
        assert words("en")["demands.none"] in sound(client.get("/demands"))


@pytest.mark.parametrize("user", ["regulator", "tax-provider", "security-admin"])
def test_nobody_else_demands_and_the_refusal_is_an_entry(lab: Lab, user: str) -> None:
    with lab.visit(user) as client:
        assert 'href="/demands/new"' not in sound(client.get("/demands"))
        denied = lab.events(Event.ACCESS_DENIED)
        assert send(client, "/demands", **FORM).status_code == 403
        assert lab.events(Event.ACCESS_DENIED) == denied + 1


def test_each_side_is_offered_its_own_steps_and_takes_them_by_forms(lab: Lab) -> None:
    id_ = demanded(lab.market)
    path = f"/demands/{id_}"

    def offered(user: str) -> set[str]:
        with lab.visit(user) as client:
            text = sound(client.get(path))
        return {s.value for s in Step if f'action="{path}/{s}"' in text}

    assert offered("analyst") == {"withdraw"}
    assert offered("bureau-reviewer") == {"dispatch", "reject"}
    assert offered("tax-provider") == set()
    with lab.visit("bureau-reviewer") as client:
        assert forged(client, f"{path}/dispatch", provider="tax-department") == [403, 403, 403]
        assert send(client, f"{path}/dispatch", provider="nobody").status_code == 422
        assert send(client, f"{path}/dance", provider="x").status_code == 404
        done = send(client, f"{path}/dispatch", provider="tax-department", comment=HOSTILE)
        assert done.headers["location"] == path
    assert offered("bureau-reviewer") == set()
    assert offered("tax-provider") == {"match", "block"}
    with lab.visit("hr-provider") as client:
        assert send(client, f"{path}/block", barrier="cost").status_code == 403
    with lab.visit("tax-provider") as client:
        assert send(client, f"{path}/block", barrier="").status_code == 422
        assert send(client, f"{path}/match", table="tax_summary").status_code == 303
        assert send(client, f"{path}/deliver").status_code == 303, "the analyst holds a grant"
    assert offered("analyst") == {"dispute"}


def test_the_rate_stands_with_its_denominator_and_the_unmet_behind_it(lab: Lab) -> None:
    met, unmet = demanded(lab.market, "纳税汇总"), demanded(lab.market, "公积金")
    gone = demanded(lab.market, "房产")
    for user, step, stated in (
        ("bureau-reviewer", Step.DISPATCH, {"provider": "tax-department"}),
        ("tax-provider", Step.MATCH, {"table": "tax_summary"}),
        ("tax-provider", Step.DELIVER, {}),
    ):
        lab.market.demands.take(PEOPLE[user], met, step, **stated)
    lab.market.demands.take(PEOPLE["analyst"], gone, Step.WITHDRAW)
    with lab.visit("regulator") as client:
        text = sound(client.get("/demands"))
        assert "50.00 %" in text
        assert words("en")["demands.rate_of"].format(met=1, valid=2) in text
        listed = text[text.index("<details>") : text.index("</details>")]
        assert [f"/demands/{i}" in listed for i in (met, unmet, gone)] == [False, True, False]
        board = sound(client.get("/demands?state=unmet")).partition('id="board"')[2]
        assert [f"/demands/{i}" in board for i in (met, unmet, gone)] == [False, True, False]
