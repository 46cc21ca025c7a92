"""Reserve, record, answer and refund against a real database file."""

import base64
import dataclasses
import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, insert, select, text, update

from marketplace import db
from marketplace.app import LedgerBehindLogError
from marketplace.audit import tree
from marketplace.budgets.policy import PolicyChangedError
from marketplace.budgets.replay import replay
from marketplace.errors import MarketplaceError
from marketplace.releases import reading
from marketplace.releases.model import Made, Reservation, State
from marketplace.services import Services
from marketplace.settings import Settings
from privacy.dp.budget import Budget
from tests.support.databases import ON_POSTGRESQL, without_foreign_keys
from tests.support.marketplace import (
    ALLOTMENT,
    COST,
    FIRST_START,
    POLICY,
    TABLES,
    ask,
    digest,
    draws,
    item,
    made,
    make_home,
    parts,
    revoke,
)

BANK = "demo-bank"
FIRM = "demo-enterprise"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return make_home(tmp_path / "home")


@pytest.fixture
def market(settings: Settings) -> Iterator[Services]:
    with parts(settings) as services:
        yield services


def spent(market: Services, tenant: str = FIRM) -> int:
    left = market.releases.left(tenant, "enterprise")
    return left.cap.micro_rho - left.budget.micro_rho


def entries(market: Services) -> list[dict[str, object]]:
    with market.database.reading() as connection:
        later = db.entries.c.index >= FIRST_START
        rows = connection.execute(select(db.entries.c.bytes).where(later).order_by("index"))
        return [json.loads(bytes(r[0])) for r in rows]


def recorded(market: Services, name: str, data: bytes = b"answer", **more: object) -> Reservation:
    asked = ask(name, **more)  # type: ignore[arg-type]
    held = market.releases.reserve(asked)
    answers = tuple(made(i, data) for i in asked.items)
    market.releases.record(held.id, held.fencing_token, answers, asked.tables)
    return market.releases.reserve(asked)


def code_of(call: object, *arguments: object) -> str:
    with pytest.raises(MarketplaceError) as caught:
        call(*arguments)  # type: ignore[operator]
    return caught.value.code


def test_reserving_spends_from_tenant_and_cohort_before_anything_is_recorded(
    market: Services,
) -> None:
    market.releases.reserve(ask("one"))
    with market.database.reading() as connection:
        rows = connection.execute(select(db.accounts)).all()
    held = {(r.cohort, r.tenant): r.spent_micro_rho for r in rows}
    assert held == {(2025, ""): COST, (2026, ""): COST, (2025, FIRM): COST, (2026, FIRM): COST}


def test_a_recorded_answer_comes_back_byte_for_byte(market: Services) -> None:
    held = recorded(market, "one", b"\x00\xffbytes")
    assert market.releases.answer(str(held.items[0].release_id), FIRM) == b"\x00\xffbytes"


def test_the_same_operation_is_charged_once_and_gets_the_same_answer(market: Services) -> None:
    first = recorded(market, "one")
    again = [market.releases.reserve(ask("one")) for _ in range(100)]
    assert {a.items[0].release_id for a in again} == {first.items[0].release_id}
    assert spent(market) == COST


def test_an_operation_id_with_another_question_is_refused(market: Services) -> None:
    market.releases.reserve(ask("one", plan="a question"))
    assert code_of(market.releases.reserve, ask("one", plan="another")) == "OPERATION_MISMATCH"
    assert spent(market) == COST


@pytest.mark.parametrize(
    "changed",
    [
        {"epsilon": "0.9"},
        {"purpose": "market-research"},
        {"tables": {"tax_summary": "v2"}},
        {"items": (item("one", COST * 4),)},
        {"items": (item("one", cohorts=(2026,)),)},
    ],
)
def test_an_open_operation_is_not_taken_over_at_another_price(
    market: Services, changed: dict[str, Any]
) -> None:
    """Else the second holder would draw less noise than the first one paid for."""
    held = market.releases.reserve(ask("one", item("one"), plan="a question"))
    items = changed.pop("items", (item("one"),))
    again = ask("one", *items, plan="a question", **changed)
    assert code_of(market.releases.reserve, again) == "OPERATION_MISMATCH"
    market.releases.record(held.id, held.fencing_token, (made(item("one")),), TABLES)
    assert spent(market) == COST


def test_noise_that_cost_more_than_was_charged_is_not_recorded(market: Services) -> None:
    held = market.releases.reserve(ask("one"))
    for drawn in (draws(COST + 1), "[]", '{"mechanism": "none"}', '[{"mechanism": "none/1"}]'):
        cheap = (Made(digest("one"), b"answer", drawn),)
        found = code_of(market.releases.record, held.id, held.fencing_token, cheap, TABLES)
        assert found == "BAD_REQUEST"
    assert market.releases.reserve(ask("one")).state is State.OPEN
    assert spent(market) == COST


def test_operation_ids_of_two_tenants_do_not_meet(market: Services) -> None:
    mine = recorded(market, "one", plan="a question")
    theirs = market.releases.reserve(ask("one", item("theirs"), tenant=BANK, plan="another"))
    assert theirs.id != mine.id
    assert theirs.state is State.OPEN


def test_a_stored_answer_is_free_at_the_same_price_or_a_lower_one(market: Services) -> None:
    recorded(market, "one")
    for price in (COST, COST // 2):
        held = market.releases.reserve(ask(f"at {price}", item("one", price)))
        assert (held.state, held.items[0].charged_micro_rho) == (State.RECORDED, 0)
    assert spent(market) == COST


@pytest.mark.parametrize(
    "changed",
    [
        {"cost": Budget(COST + 1)},
        {"mechanism": "discrete-gaussian/2"},
        {"digest": digest("another version")},
    ],
    ids=["a better price", "another mechanism", "another question"],
)
def test_a_stored_answer_is_not_given_for(market: Services, changed: dict[str, object]) -> None:
    recorded(market, "one")
    other = dataclasses.replace(item("one"), **changed)  # type: ignore[arg-type]
    assert market.releases.reserve(ask("two", other)).state is State.OPEN


def test_a_stored_answer_is_not_given_to_another_tenant(market: Services) -> None:
    mine = recorded(market, "one")
    theirs = market.releases.reserve(ask("two", item("one"), tenant=BANK))
    assert theirs.state is State.OPEN
    release = str(mine.items[0].release_id)
    assert code_of(market.releases.answer, release, BANK) == "NOT_FOUND"


def test_a_question_with_stored_and_new_parts_pays_for_the_new_ones_only(market: Services) -> None:
    recorded(market, "one")
    held = market.releases.reserve(ask("two", item("one"), item("new")))
    assert [i.charged_micro_rho for i in held.items] == [0, COST]
    market.releases.record(held.id, held.fencing_token, (made(item("new")),), TABLES)
    assert market.releases.recorded(held.id).receipt["charged_micro_rho"] == COST
    assert spent(market) == 2 * COST


def test_all_releases_of_a_question_are_charged_or_none(market: Services) -> None:
    market.releases.reserve(ask("most", item("most", ALLOTMENT - COST)))
    two = ask("two", item("a"), item("b"))
    assert code_of(market.releases.reserve, two) == "BUDGET_EXHAUSTED"
    assert spent(market) == ALLOTMENT - COST
    market.releases.reserve(ask("fits"))
    assert spent(market) == ALLOTMENT


def test_one_exhausted_cohort_denies_and_the_others_go_on(market: Services) -> None:
    market.releases.reserve(ask("all", item("all", ALLOTMENT, cohorts=(2025,))))
    assert code_of(market.releases.reserve, ask("both")) == "BUDGET_EXHAUSTED"
    market.releases.reserve(ask("one", item("one", cohorts=(2026,))))
    left = market.releases.left(FIRM, "enterprise").cohorts
    assert {c: b.micro_rho for c, b in left.items()} == {2025: 0, 2026: ALLOTMENT - COST}


def test_a_denial_says_the_same_whatever_others_have_spent(tmp_path: Path) -> None:
    said = []
    for others in (0, ALLOTMENT):
        with parts(make_home(tmp_path / str(others))) as market:
            if others:
                market.releases.reserve(ask("theirs", item("theirs", others), tenant=BANK))
            market.releases.reserve(ask("mine", item("mine", ALLOTMENT - 1)))
            with pytest.raises(MarketplaceError) as caught:
                market.releases.reserve(ask("over"))
            said.append((caught.value.code, caught.value.en, caught.value.zh))
    assert said[0] == said[1]
    assert "100 micro-rho" in said[0][1]
    assert "has 1 left" in said[0][1]


def test_delta_is_a_budget_of_its_own(market: Services) -> None:
    open_keys = dataclasses.replace(item("open"), cost=Budget(1, 50))
    market.releases.reserve(ask("one", open_keys))
    more = dataclasses.replace(item("more"), cost=Budget(1, 1))
    with pytest.raises(MarketplaceError, match="delta") as caught:
        market.releases.reserve(ask("two", more))
    assert caught.value.code == "BUDGET_EXHAUSTED"


def test_a_refund_gives_back_what_was_reserved_and_ends_the_reservation(market: Services) -> None:
    held = market.releases.reserve(ask("one"))
    market.releases.nothing_read(held.id, held.fencing_token, "cancelled before the engine started")
    market.releases.nothing_read(held.id, held.fencing_token, "again")
    assert spent(market) == 0
    late = (held.id, held.fencing_token, (made(item("one")),), TABLES)
    assert code_of(market.releases.record, *late) == "RESERVATION_CLOSED"
    assert code_of(market.releases.reserve, ask("one")) == "RESERVATION_CLOSED"


def test_a_refund_gives_back_what_this_reservation_paid_and_not_what_was_stored(
    market: Services,
) -> None:
    recorded(market, "one")
    held = market.releases.reserve(ask("two", item("one"), item("new")))
    market.releases.nothing_read(held.id, held.fencing_token, "cancelled")
    assert spent(market) == COST


def test_nothing_comes_back_once_an_answer_is_recorded(market: Services) -> None:
    held = recorded(market, "one")
    refund = (held.id, held.fencing_token, "nothing was read")
    assert code_of(market.releases.nothing_read, *refund) == "RESERVATION_CLOSED"
    assert spent(market) == COST


def test_nothing_comes_back_after_a_failure(market: Services) -> None:
    held = market.releases.reserve(ask("one"))
    market.releases.failed(held.id, held.fencing_token)
    refund = (held.id, held.fencing_token, "nothing was read")
    assert code_of(market.releases.nothing_read, *refund) == "RESERVATION_CLOSED"
    assert spent(market) == COST


def test_whoever_reserves_again_takes_over_and_may_not_say_that_nothing_was_read(
    market: Services,
) -> None:
    before = market.releases.reserve(ask("one"))
    after = market.releases.reserve(ask("one"))
    assert after.id == before.id
    late = (before.id, before.fencing_token, (made(item("one")),), TABLES)
    assert code_of(market.releases.record, *late) == "NOT_FOUND"
    refund = (after.id, after.fencing_token, "nothing was read")
    assert code_of(market.releases.nothing_read, *refund) == "REFUND_REFUSED"
    assert spent(market) == COST
    market.releases.record(after.id, after.fencing_token, (made(item("one")),), TABLES)


@pytest.mark.parametrize("token", ["", "0" * 64, "令牌"])
def test_a_wrong_fencing_token_does_nothing(market: Services, token: str) -> None:
    held = market.releases.reserve(ask("one"))
    assert code_of(market.releases.nothing_read, held.id, token, "-") == "NOT_FOUND"
    assert code_of(market.releases.failed, held.id, token) == "NOT_FOUND"
    assert code_of(market.releases.record, held.id, token, (), TABLES) == "NOT_FOUND"


def test_recording_again_changes_nothing_and_other_bytes_are_refused(market: Services) -> None:
    held = market.releases.reserve(ask("one"))
    same = (held.id, held.fencing_token, (made(item("one"), b"first"),), TABLES)
    first, count = market.releases.record(*same), len(entries(market))
    assert market.releases.record(*same) == first
    other = (held.id, held.fencing_token, (made(item("one"), b"second draw"),), TABLES)
    assert code_of(market.releases.record, *other) == "ANSWER_DIFFERS"
    assert len(entries(market)) == count
    assert market.releases.answer(first.release_ids[digest("one")], FIRM) == b"first"


@pytest.mark.parametrize("late", [False, True], ids=["seen by the gateway", "reported by another"])
def test_an_answer_over_replaced_data_is_charged_and_not_released(
    market: Services, late: bool
) -> None:
    held = market.releases.reserve(ask("one"))
    now = TABLES
    if late:
        market.releases.reserve(ask("two", item("newer"), tables={"tax_summary": "v2"}))
    else:
        now = {"tax_summary": "v2"}
    record = (held.id, held.fencing_token, (made(item("one")),), now)
    assert code_of(market.releases.record, *record) == "VERSION_CHANGED"
    assert code_of(market.releases.reserve, ask("one")) == "RESERVATION_CLOSED"
    assert spent(market) == COST * (2 if late else 1)


@pytest.mark.parametrize(
    ("question", "code"),
    [
        (ask("x", tables={"ent_registration": "v1"}), "GRANT_REVOKED"),
        (ask("x", purpose="curiosity"), "PURPOSE_REFUSED"),
        (ask("x", epsilon="1.01"), "EPSILON_TOO_LARGE"),
        (ask("x", epsilon="0.01"), "EPSILON_TOO_LARGE"),
        (ask("x", epsilon="0"), "BAD_REQUEST"),
        (ask("x", user="bank-risk"), "GRANT_REVOKED"),
        (ask("x", dataclasses.replace(item("x"), domain="person")), "BUDGET_EXHAUSTED"),
    ],
    ids=[
        "a table without a grant",
        "another purpose",
        "more than the grant",
        "more than it pays",
        "no epsilon",
        "another tenant's user",
        "a domain without a budget",
    ],
)
def test_a_question_is_refused_without_charge_and_logged_for(
    market: Services, question: object, code: str
) -> None:
    assert code_of(market.releases.reserve, question) == code
    assert spent(market) == 0
    last = entries(market)[-1]
    assert last["event"] == "reservation:deny"
    assert last["facts"]["code"] == code  # type: ignore[index]


def test_a_revoked_grant_stops_stored_answers_and_reattaching_too(market: Services) -> None:
    recorded(market, "one")
    revoke(market, FIRM, "tax_summary")
    assert code_of(market.releases.reserve, ask("one")) == "GRANT_REVOKED"
    assert code_of(market.releases.reserve, ask("two", item("one"))) == "GRANT_REVOKED"


def test_a_revoked_user_stops_at_the_next_request(market: Services, settings: Settings) -> None:
    path = settings.home / "identity.json"
    data = json.loads(path.read_text())
    for user in data["users"]:
        user["revoked"] = user["name"] == "analyst"
    path.write_text(json.dumps(data))
    assert code_of(market.releases.reserve, ask("one")) == "GRANT_REVOKED"


def test_a_release_costs_something_to_somebody() -> None:
    with pytest.raises(ValueError, match="at least one cohort"):
        item("x", cohorts=())
    with pytest.raises(ValueError, match="each once"):
        item("x", cohorts=(2025, 2025))
    with pytest.raises(ValueError, match="at least 1 micro-rho"):
        item("x", 0)
    with pytest.raises(ValueError, match="each once"):
        ask("x", item("a"), item("a"))
    with pytest.raises(ValueError, match="at least one table"):
        dataclasses.replace(ask("x"), tables={})


@pytest.mark.parametrize(
    "parameters",
    ["not JSON", '[{"scale": 1.5}]', json.dumps(["x" * 70_000])],
    ids=["not JSON", "a float", "longer than an entry may be"],
)
def test_what_cannot_be_logged_is_not_released(market: Services, parameters: str) -> None:
    held = market.releases.reserve(ask("one"))
    bad = Made(digest("one"), b"answer", parameters)
    record = (held.id, held.fencing_token, (bad,), TABLES)
    assert code_of(market.releases.record, *record) == "BAD_REQUEST"
    assert not [e for e in entries(market) if e["event"] == "release:record"]
    assert code_of(market.releases.recorded, held.id) == "RESERVATION_CLOSED"


@pytest.mark.parametrize(
    "sent",
    [(), (made(item("other")),), (made(item("one")), made(item("one")))],
    ids=["nothing", "another release", "one twice"],
)
def test_a_record_brings_just_what_was_reserved(market: Services, sent: tuple[Made, ...]) -> None:
    held = market.releases.reserve(ask("one"))
    record = (held.id, held.fencing_token, sent, TABLES)
    assert code_of(market.releases.record, *record) == "BAD_REQUEST"


def test_every_decision_is_an_entry_and_no_entry_holds_what_was_asked(market: Services) -> None:
    recorded(market, "one", purpose="market-research")
    held = market.releases.reserve(ask("two"))
    market.releases.nothing_read(held.id, held.fencing_token, "cancelled")
    held = market.releases.reserve(ask("three"))
    market.releases.failed(held.id, held.fencing_token)
    code_of(market.releases.reserve, ask("four", epsilon="9"))
    assert [e["event"] for e in entries(market)] == [
        "reservation:make",
        "release:record",
        "reservation:make",
        "reservation:refund",
        "reservation:make",
        "reservation:fail",
        "reservation:deny",
    ]
    text_of_log = json.dumps(entries(market))
    for secret in ("analyst", "market-research", "tax_summary", digest("one"), "cancelled"):
        assert secret not in text_of_log


def test_commitments_of_equal_texts_differ(market: Services) -> None:
    recorded(market, "one")
    hidden = [e["facts"]["tables_commitment"] for e in entries(market)]  # type: ignore[index]
    assert len(set(hidden)) == len(hidden) == 2


def test_a_receipt_proves_the_bytes_to_the_root_without_the_service(market: Services) -> None:
    asked = ask("one", item("a"), item("b"))
    held = market.releases.reserve(asked)
    sent = (made(item("a"), b"bytes of a"), made(item("b"), b"bytes of b"))
    done = market.releases.record(held.id, held.fencing_token, sent, TABLES)
    recorded(market, "later")
    for name in (str(done.receipt["receipt_id"]), *done.release_ids.values()):
        receipt = reading.receipt(market.database, market.log, FIRM, name)
        checkpoint = receipt["checkpoint"]
        for release in receipt["releases"]:  # type: ignore[union-attr]
            entry = base64.b64decode(release["entry_b64"])
            data = market.releases.answer(release["release_id"], FIRM)
            assert json.loads(entry)["facts"]["answer_sha256"] == Made("", data, "").sha256
            tree.check_inclusion(
                tree.leaf_hash(entry),
                release["entry_index"],
                checkpoint["size"],  # type: ignore[index]
                [bytes.fromhex(h) for h in release["proof"]],
                bytes.fromhex(checkpoint["root"]),  # type: ignore[index]
            )
        with pytest.raises(MarketplaceError):
            reading.receipt(market.database, market.log, BANK, name)


def test_a_user_sees_ones_own_questions_only(market: Services) -> None:
    recorded(market, "mine")
    recorded(market, "theirs", tenant=BANK)
    seen = reading.history(market.database, FIRM, "analyst")
    assert [(q["operation_id"], q["charged_micro_rho"], q["state"]) for q in seen] == [
        ("mine", COST, "recorded")
    ]
    receipt = reading.receipt(market.database, market.log, FIRM, str(seen[0]["receipt_id"]))
    assert receipt["plan_digest"] == ask("mine").plan_digest


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (update(db.accounts).values(spent_micro_rho=0), "the ledger holds"),
        (update(db.accounts).values(spent_micro_rho=10**6), "the ledger holds"),
        (delete(db.accounts), "the ledger holds"),
        (update(db.releases).values(sha256="0" * 64), "not the logged ones"),
        (
            delete(db.entries).where(db.entries.c.index == FIRST_START + 1),
            "logged, 1 are stored|not the logged",
        ),
        (update(db.entries).values(bytes=b'{"event":"x","facts":{}}'), "not what was hashed"),
        (update(db.entries).values(leaf_hash=b"0" * 32), "not what was hashed"),
    ],
    ids=[
        "spent put back to zero",
        "spent without the log",
        "accounts lost",
        "other bytes",
        "a missing entry",
        "a rewritten entry",
        "a rewritten hash",
    ],
)
def test_the_marketplace_does_not_start_over(settings: Settings, damage: object, said: str) -> None:
    with parts(settings) as market:
        recorded(market, "one")
        with market.database.engine.connect() as connection:
            without_foreign_keys(connection)
            connection.execute(damage)  # type: ignore[call-overload]
            connection.commit()
        found = replay(market.database).findings
    assert any(re.search(said, f) or "stored without" in f for f in found), found
    with pytest.raises(LedgerBehindLogError, match="differences"), parts(settings):
        pass


def test_the_marketplace_does_not_start_when_noise_cost_more_than_was_charged(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("marketplace.releases.service.underpaid", lambda *_: ())
    with parts(settings) as market:
        held = market.releases.reserve(ask("one"))
        cheap = Made(digest("one"), b"answer", draws(COST + 1))
        market.releases.record(held.id, held.fencing_token, (cheap,), TABLES)
    with pytest.raises(LedgerBehindLogError, match="its noise costs 101"), parts(settings):
        pass


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("cap: {micro_rho: 2000", "cap: {micro_rho: 4000"),
        ("demo-bank: {micro_rho: 1000", "demo-bank: {micro_rho: 900"),
        ("      demo-bank: {micro_rho: 1000, delta_1e12: 50}\n", ""),
    ],
    ids=["a larger cap", "a smaller allotment", "a missing tenant"],
)
def test_a_budget_in_force_never_changes(settings: Settings, before: str, after: str) -> None:
    with parts(settings):
        pass
    settings.policy.write_text(POLICY.replace(before, after), encoding="utf-8")
    with pytest.raises(PolicyChangedError, match="never change"), parts(settings):
        pass


def test_the_files_grants_are_those_of_the_first_start_only(settings: Settings) -> None:
    more = POLICY.replace("[tax_summary]", "[tax_summary, annual_report]")
    with parts(settings) as market:
        revoke(market, FIRM, "tax_summary")
    settings.policy.write_text(more, encoding="utf-8")
    with parts(settings) as market:
        for table in ("tax_summary", "annual_report"):
            asked = ask(f"of {table}", tables={table: "v1"})
            assert code_of(market.releases.reserve, asked) == "GRANT_REVOKED"


def test_a_grant_revoked_while_the_answer_is_computed_releases_nothing(market: Services) -> None:
    held = market.releases.reserve(ask("one"))
    revoke(market, FIRM, "tax_summary")
    record = (held.id, held.fencing_token, (made(item("one")),), TABLES)
    assert code_of(market.releases.record, *record) == "GRANT_REVOKED"
    assert code_of(market.releases.record, *record) == "RESERVATION_CLOSED"
    assert entries(market)[-1]["event"] == "reservation:fail"
    assert spent(market) == COST
    assert replay(market.database).findings == ()


def test_the_database_is_durable_and_serialises_writers(market: Services) -> None:
    wanted = {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}
    shown = "PRAGMA"
    if ON_POSTGRESQL:
        wanted = {"fsync": "on", "synchronous_commit": "on", "transaction_read_only": "on"}
        shown = "SHOW"
    with market.database.reading() as connection:
        for name, value in wanted.items():
            assert connection.execute(text(f"{shown} {name}")).scalar_one() == value


def test_two_processes_over_one_file_neither_overspend_nor_trip(settings: Settings) -> None:
    def one(market: Services, name: str) -> str:
        try:
            market.releases.reserve(ask(name))
        except MarketplaceError as denial:
            return denial.code
        return "reserved"

    # Two sets of parts share nothing but the file, as two processes would.
    with parts(settings) as first, parts(settings) as second, ThreadPoolExecutor(8) as threads:
        both = [(m, f"{n}-{i}") for i in range(16) for n, m in (("a", first), ("b", second))]
        ends = list(threads.map(lambda pair: one(*pair), both))
        covered = ALLOTMENT // COST
        assert (ends.count("reserved"), ends.count("BUDGET_EXHAUSTED")) == (covered, 32 - covered)
        assert spent(first) == ALLOTMENT
        assert replay(second.database).findings == ()


def test_a_transaction_that_fails_leaves_nothing(market: Services) -> None:
    def fail_halfway() -> None:
        with market.database.writing() as connection:
            connection.execute(insert(db.versions).values(table="t", version="v"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_halfway()
    with market.database.reading() as connection:
        assert connection.execute(select(db.versions)).all() == []
