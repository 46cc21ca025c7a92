"""Risk events: each entry judged once, who may deal with them, and what is found in real steps."""

import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import func, select, update

from marketplace import db
from marketplace.audit.entry import Event
from marketplace.audit.openings import Basis, Ground
from marketplace.errors import MarketplaceError
from marketplace.identity.model import SEEDED, Person
from marketplace.risk import store
from marketplace.risk.memory import Memory
from marketplace.risk.model import Charge, Disposal, Observation, Past, RiskEvent, State
from marketplace.risk.service import BATCH, Watch
from marketplace.services import Services
from marketplace.settings import Settings
from marketplace.window import NEWEST
from tests.support.marketplace import Clock, ask, item, made, make_home, parts

PEOPLE = {name: Person(name, org, roles, "en") for name, org, roles in SEEDED}
GUARD, REGULATOR = PEOPLE["security-admin"], PEOPLE["regulator"]


@pytest.fixture
def home(tmp_path: Any) -> Settings:
    return make_home(tmp_path / "home")


@pytest.fixture
def market(home: Settings) -> Iterator[Services]:
    with parts(home) as services:
        yield services


def found(market: Services, rule: str = "") -> list[RiskEvent]:
    market.watch.judge()
    with market.database.reading() as connection:
        every = store.latest(connection, None, NEWEST)
    return [e for e in every if rule in ("", e.hit.rule)]


def entries(market: Services, event: Event) -> list[dict[str, Any]]:
    with market.database.reading() as connection:
        rows = connection.execute(select(db.entries.c.bytes).order_by(db.entries.c.index))
        every = [json.loads(bytes(r[0])) for r in rows]
    return [e for e in every if e["event"] == event.value]


def denied(market: Services, operation: str, **asked: Any) -> None:
    with pytest.raises(MarketplaceError):
        market.releases.reserve(ask(operation, **asked))


def answered(market: Services, operation: str, *, named: str = "") -> None:
    wanted = item(named or operation)
    held = market.releases.reserve(ask(operation, wanted, plan=named or operation))
    if held.state.value == "open":
        tables = {"tax_summary": "v1"}
        market.releases.record(held.id, held.fencing_token, (made(wanted),), tables)


def test_a_refused_purpose_is_one_event_with_the_entries_behind_it(market: Services) -> None:
    denied(market, "one", purpose="curiosity")
    (event,) = found(market)
    assert (event.hit.rule, event.hit.tenant, event.hit.actor) == (
        "R-PURP",
        "demo-enterprise",
        "analyst",
    )
    (refusal,) = entries(market, Event.RESERVATION_DENIED)
    with market.database.reading() as connection:
        kept = connection.execute(
            select(db.entries.c.bytes).where(db.entries.c.index == event.hit.evidence[-1])
        ).scalar_one()
    assert json.loads(bytes(kept)) == refusal
    (raised,) = entries(market, Event.RISK_RAISED)
    assert raised["facts"]["risk_event"] == event.id
    assert "analyst" not in json.dumps(raised)
    denied(market, "two", purpose="curiosity")
    assert found(market) == [event]
    notices = market.access.inbox.notices(GUARD)
    assert [n.about for n in notices if n.event == "risk:raised"] == [event.id]


def test_every_entry_is_judged_once_however_often_the_worker_turns(market: Services) -> None:
    for number in range(BATCH + 20):
        denied(market, f"op{number}", purpose="curiosity")
    assert market.watch.judge() > BATCH
    with market.database.reading() as connection:
        observed = connection.execute(select(func.count()).select_from(store.observations))
        assert observed.scalar_one() == BATCH + 20
    market.watch.judge()  # the entries of what was raised
    assert market.watch.judge() == 0


def test_a_turn_that_dies_is_done_again_as_a_whole(
    market: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    denied(market, "one", purpose="curiosity")

    def dies(*_: object) -> None:
        raise OSError("power cut")

    with monkeypatch.context() as patch:
        patch.setattr(store, "move", dies)
        with pytest.raises(OSError, match="power cut"):
            market.watch.judge()
    assert entries(market, Event.RISK_RAISED) == []
    assert [e.hit.rule for e in found(market)] == ["R-PURP"]
    assert len(entries(market, Event.RISK_RAISED)) == 1


def test_judging_goes_on_where_it_stood_after_a_start(home: Settings) -> None:
    with parts(home) as market:
        denied(market, "one", purpose="curiosity")
        assert len(found(market)) == 1
    with parts(home) as market:
        assert len(found(market)) == 1
        assert len(entries(market, Event.RISK_RAISED)) == 1


def test_fifty_repeats_of_one_question_cost_once_and_are_noticed(market: Services) -> None:
    for number in range(50):
        answered(market, f"op{number}", named="same")
    (event,) = found(market, "R-AVG")
    assert (event.hit.figures["measured"], len(event.hit.evidence)) == (3, 3)
    assert market.releases.left("demo-enterprise", "enterprise").budget.micro_rho == 900


def test_a_share_that_runs_out_is_told_by_levels(market: Services) -> None:
    for number in range(10):
        answered(market, f"op{number}")
        market.watch.judge()
    denied(market, "over")
    by_about = {e.hit.about: e.hit.severity.value for e in found(market, "R-BUD")}
    assert by_about == {
        "enterprise/2025/day": "medium",
        "enterprise/2026/day": "medium",
        "enterprise/2025/warn": "medium",
        "enterprise/2026/warn": "medium",
        "enterprise/2025/high": "high",
        "enterprise/2026/high": "high",
        "exhausted": "high",
    }


def test_forty_names_in_ten_minutes_are_an_enumeration(market: Services) -> None:
    for number in range(40):
        denied(market, f"op{number}", tables={f"no_such_{number}": "v1"})
    (event,) = found(market, "R-ENUM")
    assert (event.hit.figures["measured"], event.hit.figures["why"]) == (30, "unknown")
    assert (event.hit.action.value, event.hit.severity.value) == ("stop", "high")


def test_a_question_after_the_end_of_a_grant_is_noticed_and_one_without_is_not(
    home: Settings,
) -> None:
    with parts(home) as market:
        denied(market, "never", tables={"ent_registration": "v1"})
        assert found(market, "R-CONS") == []
    clock = Clock(home)
    clock.now = clock.now.replace(year=clock.now.year + 20)
    Clock.latest[home.home] = clock.now
    with parts(home) as market:
        denied(market, "late")
        assert [e.hit.actor for e in found(market, "R-CONS")] == ["analyst"]


def test_self_approval_and_curious_administrators_are_noticed(market: Services) -> None:
    approver = PEOPLE["bureau-approver"]
    stop = market.access.grants.stop(approver, "table", "tax_summary", "a test")
    with pytest.raises(MarketplaceError) as refused:
        market.access.grants.lift(approver, stop.id)
    assert refused.value.code == "SAME_PERSON"
    with pytest.raises(MarketplaceError):
        market.releases.reserve(ask("admin", user="system-admin", tenant="bureau"))
    about = {e.hit.about: e.hit.actor for e in found(market, "R-PRIV")}
    assert about == {"SAME_PERSON": "bureau-approver", "administrator": "system-admin"}


def test_a_changed_entry_is_found_by_the_patrol(market: Services) -> None:
    denied(market, "one", purpose="curiosity")
    assert market.watch.patrol() == 0
    with market.database.engine.begin() as connection:
        second = db.entries.c.index == 1
        old = bytes(connection.execute(select(db.entries.c.bytes).where(second)).scalar_one())
        changed = old.replace(b'"time":"2026', b'"time":"2025')
        connection.execute(update(db.entries).where(second).values(bytes=changed))
    with market.database.writing() as connection:
        store.move(connection, "compared", 0)
    assert market.watch.patrol() == 1
    (event,) = found(market, "R-PRIV")
    assert (event.hit.about, event.hit.evidence) == ("log-changed", (1,))


MAY_WATCH = {"security-admin", "audit-admin", "regulator", "bureau-reviewer", "bureau-approver"}
MAY_HANDLE = {"security-admin", "bureau-reviewer", "bureau-approver"}


@pytest.mark.parametrize("name", sorted(PEOPLE))
def test_who_looks_and_who_deals_with_events(market: Services, name: str) -> None:
    denied(market, "one", purpose="curiosity")
    (event,) = found(market)
    person = PEOPLE[name]
    for may, call in (
        (MAY_WATCH, lambda: market.risks.events(person)),
        (MAY_WATCH, lambda: market.risks.one(person, event.id)),
        (MAY_WATCH, lambda: market.risks.rules(person)),
        (MAY_HANDLE, lambda: market.risks.comment(person, event.id, "seen")),
        (MAY_HANDLE, lambda: market.risks.assign(person, event.id, "security-admin")),
        (
            {"security-admin", "bureau-approver"},
            lambda: market.risks.stop(person, event.id, "until it is clear"),
        ),
        (MAY_HANDLE, lambda: market.risks.close(person, event.id, Disposal.CONFIRMED, "talked")),
    ):
        if name in may:
            call()
            continue
        with pytest.raises(MarketplaceError) as refused:
            call()
        # Who may not look learns nothing, least of all that an event is about oneself.
        hidden = may != MAY_WATCH and name not in MAY_WATCH
        assert refused.value.code == ("NOT_FOUND" if hidden else "ROLE_REFUSED")
    read = [e["facts"] for e in entries(market, Event.RISK_READ)]
    assert len(read) == (2 if name in MAY_WATCH else 0)


def test_the_audit_administrator_deals_with_privileges_only_and_nobody_with_oneself(
    market: Services,
) -> None:
    with pytest.raises(MarketplaceError):
        market.releases.reserve(ask("admin", user="security-admin", tenant="bureau"))
    denied(market, "one", purpose="curiosity")
    privilege, purpose = found(market, "R-PRIV")[0], found(market, "R-PURP")[0]
    auditor = PEOPLE["audit-admin"]
    with pytest.raises(MarketplaceError) as own:
        market.risks.comment(GUARD, privilege.id, "it was me")
    assert own.value.code == "SAME_PERSON"
    with pytest.raises(MarketplaceError) as handler:
        market.risks.assign(auditor, privilege.id, "security-admin")
    assert handler.value.code == "BAD_REQUEST"
    assert market.risks.comment(auditor, privilege.id, "asked").steps[0].comment == "asked"
    with pytest.raises(MarketplaceError):
        market.risks.comment(auditor, purpose.id, "not mine")


def test_an_event_is_taken_over_stopped_and_closed_once(market: Services) -> None:
    denied(market, "one", purpose="curiosity")
    (event,) = found(market)
    assert market.risks.assign(GUARD, event.id, "bureau-reviewer").handler == "bureau-reviewer"
    stopped = market.risks.stop(GUARD, event.id, "until it is clear")
    assert stopped.steps[-1].stop
    denied(market, "two")
    closed = market.risks.close(GUARD, event.id, Disposal.FALSE_ALARM, "a typing error")
    assert (closed.state, closed.disposal) == (State.CLOSED, "false-alarm")
    assert closed.closed_at is not None
    with pytest.raises(MarketplaceError) as again:
        market.risks.comment(GUARD, event.id, "more")
    assert again.value.code == "WRONG_STATE"
    assert market.risks.events(REGULATOR, State.CLOSED)[0].steps == closed.steps
    assert [e["facts"]["step"] for e in entries(market, Event.RISK_HANDLED)] == [
        "assign",
        "stop",
        "close",
    ]


def test_erasure_takes_names_and_words_out_of_events(market: Services) -> None:
    denied(market, "one", purpose="curiosity")
    (event,) = found(market)
    market.risks.comment(GUARD, event.id, "the analyst called")
    ground = Ground(Basis.SUBJECT_REQUEST, "letter 1")
    for subject in ("analyst", "security-admin"):
        market.openings.erase(PEOPLE["audit-admin"], ground, subject)
    (event,) = market.risks.events(REGULATOR)
    assert event.hit.actor.startswith("person:")
    assert event.steps[0].user.startswith("person:")
    assert event.steps[0].comment == "erased"
    assert len(found(market)) == 1


def test_what_a_turn_carries_on_is_what_it_would_read_anew(market: Services) -> None:
    chance = random.Random(7)
    time, carried = datetime(2026, 11, 1, tzinfo=UTC), Memory()
    for index in range(200):
        time += timedelta(minutes=chance.choice([1, 30, 400, 1500]))
        new = Observation(
            index,
            time,
            chance.choice(["reservation:make", "reservation:deny", "access:deny"]),
            chance.choice(["demo-bank", "demo-enterprise"]),
            chance.choice(["p1", "p2", ""]),
            question=chance.choice(["", "q", "r"]),
            sensitive=tuple(chance.sample(["a", "b", "c"], chance.choice([0, 2]))),
            charges=(Charge("e", chance.choice([2025, 2026]), chance.choice([0, 5])),),
        )
        with market.database.writing() as connection:
            one, other = carried.before(connection, new), Memory().before(connection, new)
            assert seen_by(one) == seen_by(other)
            carried.add(new)
            store.observe(connection, [new])


def seen_by(past: Past) -> tuple[Any, ...]:
    paid = {key: value for key, value in past.paid.items() if value}
    return list(past.recent), past.repeats, paid, past.hours, past.last_seen, past.join_is_known


def test_a_home_with_wrong_thresholds_does_not_start(home: Settings) -> None:
    (home.home / "risk.yaml").write_text("rules: {}\nnot_applied: {}\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"risk\.yaml: each rule stands once"), parts(home):
        pass


def test_the_worker_judges_and_patrols(market: Services) -> None:
    denied(market, "one", purpose="curiosity")
    market.worker.turn()
    with market.database.reading() as connection:
        assert [e.hit.rule for e in store.latest(connection, None, NEWEST)] == ["R-PURP"]
        assert store.cursor(connection, "compared") > 0
    assert isinstance(market.watch, Watch)
