"""Opening, erasing, purging: by the audit administrator, on a basis, each an entry itself."""

import copy
import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, select

from marketplace.audit import store, verifier
from marketplace.audit.entry import Event
from marketplace.audit.openings import Basis, Ground
from marketplace.audit.verifier import Directory, Problem, Trust, verify_disclosure, verify_log
from marketplace.errors import MarketplaceError
from marketplace.identity.model import Person
from marketplace.services import Services
from marketplace.settings import Settings
from tests.support.logs import verify
from tests.support.marketplace import SEEDED, Clock, ask, make_home, parts

ADMIN = Person("audit-admin", "bureau", ("audit-admin",), "en")
GROUND = Ground(Basis.REGULATOR_REQUEST, "case 2026-17")
PURPOSE = "market-research"
MINE = [SEEDED, SEEDED + 1, SEEDED + 2]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return make_home(tmp_path / "home")


@pytest.fixture
def market(settings: Settings) -> Iterator[Services]:
    with parts(settings) as services:
        for i in range(3):
            services.releases.reserve(ask(f"mine-{i}", purpose=PURPOSE))
        services.releases.reserve(ask("theirs", tenant="demo-bank"))
        yield services


def identity(settings: Settings) -> str:
    return (settings.audit_keys / "audit-admin.age").read_text()


def entries(market: Services) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    visit = lambda _, data: found.append(json.loads(data))  # noqa: E731
    verify_log(Directory(market.log.folder), Trust(market.log.key), visit=visit)
    return found


def opened(market: Services, settings: Settings, subject: str = "analyst") -> dict[str, Any]:
    return market.openings.open_subject(ADMIN, GROUND, identity(settings), subject)


def check(market: Services, disclosure: dict[str, Any]) -> list[int]:
    source = Directory(market.log.folder)
    return verify_disclosure(source, Trust(market.log.key), disclosure)[1].found


def test_texts_come_back_and_fit_their_commitments(market: Services, settings: Settings) -> None:
    (one,) = market.openings.open_entries(ADMIN, GROUND, identity(settings), [SEEDED])
    fields = {f["field"]: f for f in one["fields"]}  # type: ignore[union-attr, index]
    assert fields["purpose"]["text"] == PURPOSE
    assert fields["subject"]["text"] == "analyst"
    facts = entries(market)[SEEDED]["facts"]
    for name, field in fields.items():
        made = bytes.fromhex(field["salt"]) + field["text"].encode()
        assert facts[f"{name}_commitment"] == verifier.hashlib.sha256(made).hexdigest()


def test_an_opening_is_an_entry_before_anything_is_shown(
    market: Services, settings: Settings
) -> None:
    market.openings.open_entries(ADMIN, GROUND, identity(settings), [0, 2])
    opened(market, settings)
    noted = [e for e in entries(market) if e["event"] == Event.LOG_OPENED]
    assert [n["facts"]["basis"] for n in noted] == ["regulator-request"] * 2
    assert noted[0]["facts"]["entries"] == [0, 2]
    # Whose entries were opened, and under which case, stays a commitment.
    assert "analyst" not in json.dumps(noted)
    assert GROUND.reference not in json.dumps(noted)


def test_what_is_opened_of_a_subject_is_complete_and_anyone_can_check(
    market: Services, settings: Settings
) -> None:
    disclosure = opened(market, settings)
    assert check(market, disclosure) == MINE
    assert check(market, json.loads(json.dumps(opened(market, settings, "bank-risk")))) == [
        SEEDED + 3
    ]


def test_an_opening_that_leaves_out_adds_or_changes_something_is_found(
    market: Services, settings: Settings
) -> None:
    good = opened(market, settings)
    other = opened(market, settings, "bank-risk")

    def without(d: dict[str, Any]) -> None:
        d["entries"].pop(1)

    def one_more(d: dict[str, Any]) -> None:
        d["entries"].append({"index": 3, "fields": []})

    def another_text(d: dict[str, Any]) -> None:
        d["entries"][0]["fields"][0]["text"] += "x"

    def another_name(d: dict[str, Any]) -> None:
        d["subject"] = "bank-risk"

    def key_of_another(d: dict[str, Any]) -> None:
        d["key"], d["key_salt"] = other["key"], other["key_salt"]

    def new_key(d: dict[str, Any]) -> None:
        d["key"] = "00" * 32
        d["entries"] = []

    def shorter(d: dict[str, Any]) -> None:
        d["size"] = 2

    def longer(d: dict[str, Any]) -> None:
        d["size"] = 10_000

    def proof_of_another(d: dict[str, Any]) -> None:
        d["proof"] = other["proof"]

    for change in (
        without,
        one_more,
        another_text,
        another_name,
        key_of_another,
        new_key,
        shorter,
        longer,
        proof_of_another,
    ):
        changed = copy.deepcopy(good)
        change(changed)
        with pytest.raises(Problem) as caught:
            check(market, changed)
        assert caught.value.code == "WRONG_DISCLOSURE", change.__name__


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the way to every value inside a disclosure."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in pairs:
        yield (*path, key)
        if isinstance(inner, dict | list):
            yield from places(inner, (*path, key))


def test_an_opening_of_any_other_form_is_a_finding_and_never_a_crash(
    market: Services, settings: Settings
) -> None:
    good = json.loads(json.dumps(opened(market, settings)))
    said_only = {("form",), ("origin",), ("basis",)}
    for path in places(good):
        if path in said_only:
            continue
        for value in (None, "", "zz", -1, 2.5, [], {}, [[]], True):
            changed = copy.deepcopy(good)
            inner = changed
            for key in path[:-1]:
                inner = inner[key]
            if inner[path[-1]] == value or (path[-1] == "fields" and not value):
                continue  # an entry whose texts were purged is opened without
            inner[path[-1]] = value
            try:
                check(market, changed)
            except Problem:
                continue
            raise AssertionError(f"{path} = {value!r} was accepted")


def test_the_command_says_up_to_where_an_opening_is_complete(
    market: Services, settings: Settings, tmp_path: Path
) -> None:
    file = tmp_path / "opening.json"
    file.write_text(json.dumps(opened(market, settings)))
    state = ("--state", tmp_path / "state.json")
    done = verify(market.log.folder, "--disclosure", file, "--json", *state)
    told = json.loads(done.stdout)
    assert (done.returncode, told["entries_of_the_subject"]) == (0, MINE)
    assert told["complete_among_the_first"] == told["size"] == SEEDED + 5
    file.write_text("not JSON")
    assert verify(market.log.folder, "--disclosure", file, *state).returncode == 2
    assert verify(market.log.folder, "--disclosure", tmp_path / "none", *state).returncode == 2


def test_texts_of_earlier_runs_open_and_the_service_itself_cannot_read_them(
    market: Services, settings: Settings
) -> None:
    before = opened(market, settings)
    with parts(settings) as again:
        later = opened(again, settings)
        assert later["entries"] == before["entries"]
        with pytest.raises(MarketplaceError) as caught:
            again.openings.open_entries(ADMIN, GROUND, "AGE-SECRET-KEY-1NOT-A-KEY", [0])
        assert caught.value.code == "FORBIDDEN"
    stranger = make_home(settings.home.parent / "other")
    with parts(stranger), pytest.raises(MarketplaceError, match="not the audit administrator"):
        market.openings.open_entries(ADMIN, GROUND, identity(stranger), [0])
    # With its private key gone from the home, nothing of the home opens anything.
    (settings.audit_keys / "audit-admin.age").unlink()
    with parts(settings) as without:
        without.releases.reserve(ask("still-serving"))


def test_erasing_a_subject_drops_texts_and_keeps_the_tree(
    market: Services, settings: Settings
) -> None:
    before = market.log.head.checkpoint
    kept = opened(market, settings, "bank-risk")
    assert market.openings.erase(ADMIN, GROUND, "analyst") == 3
    verify_log(Directory(market.log.folder), Trust(market.log.key), seen=before)
    with pytest.raises(MarketplaceError) as caught:
        opened(market, settings)
    assert caught.value.code == "NOT_FOUND"
    found = market.openings.open_entries(ADMIN, GROUND, identity(settings), MINE)
    assert [f["fields"] for f in found] == [[], [], []]
    with market.database.reading() as connection:
        tag = entries(market)[SEEDED]["facts"]["subject_enrolment"]
        rows = connection.execute(
            select(store.sealed_texts).where(store.sealed_texts.c.subject_tag == tag)
        )
        assert rows.all() == []
    assert check(market, opened(market, settings, "bank-risk")) == [SEEDED + 3]
    assert kept["entries"] == opened(market, settings, "bank-risk")["entries"]
    erased = [e for e in entries(market) if e["event"] == Event.SUBJECT_ERASED]
    assert [(e["facts"]["basis"], e["facts"]["entries"]) for e in erased] == [
        ("regulator-request", 3)
    ]


def test_a_subject_that_comes_back_after_erasure_is_complete_from_then_on(
    market: Services, settings: Settings
) -> None:
    market.openings.erase(ADMIN, GROUND, "analyst")
    market.releases.reserve(ask("after"))
    disclosure = opened(market, settings)
    (index,) = check(market, disclosure)
    assert entries(market)[index]["event"] == Event.RESERVATION_MADE


def test_a_subject_that_was_enrolled_twice_is_not_complete(
    market: Services, settings: Settings
) -> None:
    with market.database.writing() as connection:  # as if to hide what came before
        connection.execute(delete(store.subject_keys))
    market.releases.reserve(ask("second-life"))
    with pytest.raises(Problem, match="2 enrolments"):
        check(market, opened(market, settings))


def test_a_purge_drops_what_is_old_enough_and_nothing_else(settings: Settings) -> None:
    clock = Clock()
    with parts(settings) as market:
        market.openings._clock = market.releases._clock = clock
        market.releases.reserve(ask("old"))
        assert market.openings.purge(ADMIN, Ground(Basis.RETENTION, "plan 1")) == 0
        clock.now += timedelta(days=3 * 366 + 1)
        market.releases.reserve(ask("new"))
        before = len(entries(market))
        assert market.openings.purge(ADMIN, Ground(Basis.RETENTION, "plan 2")) == 4
        noted = entries(market)[before:]
        assert [(e["event"], e["facts"]["entries"]) for e in noted] == [("log:purge", 4)]
        disclosure = opened(market, settings)
        assert [bool(e["fields"]) for e in disclosure["entries"]] == [False, True]  # type: ignore[index]
        assert check(market, disclosure) == [SEEDED, before - 1]


@pytest.mark.parametrize("role", ["auditor", "system-admin", "security-admin", "analyst", ""])
def test_only_the_audit_administrator_opens_erases_or_purges(
    market: Services, settings: Settings, role: str
) -> None:
    person, key = Person("somebody", "bureau", (role,), "en"), identity(settings)
    count = len(entries(market))
    for act in (
        lambda: market.openings.open_entries(person, GROUND, key, [0]),
        lambda: market.openings.open_subject(person, GROUND, key, "analyst"),
        lambda: market.openings.erase(person, GROUND, "analyst"),
        lambda: market.openings.purge(person, GROUND),
    ):
        with pytest.raises(MarketplaceError) as caught:
            act()
        assert caught.value.code == "FORBIDDEN"
    assert len(entries(market)) == count
