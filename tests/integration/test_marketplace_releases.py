"""Reserve, record, read back: one charge, identical bytes, and nothing without an entry."""

import json
from pathlib import Path

import pytest

from marketplace import db
from marketplace.errors import MarketplaceError
from marketplace.releases.service import Releases
from tests.support.ledger import (
    TABLES,
    TENANT,
    ask,
    digest_of,
    findings,
    made,
    open_releases,
    pay,
    policy_file,
)


def spent(releases: Releases) -> int:
    left = releases.left(TENANT, "enterprise")
    return left.cap.micro_rho - left.budget.micro_rho


def refused(code: str) -> pytest.RaisesExc[MarketplaceError]:
    return pytest.RaisesExc(MarketplaceError, check=lambda e: e.code == code)


def test_an_answer_is_charged_once_and_read_back_as_recorded(tmp_path: Path) -> None:
    releases, engine = open_releases(tmp_path)
    assert pay(releases, "op") == b"answer to op"
    assert pay(releases, "op") == b"answer to op"
    assert spent(releases) == 10_000
    assert findings(engine) == ()


def test_the_same_question_again_is_the_stored_answer_for_nothing(tmp_path: Path) -> None:
    releases, engine = open_releases(tmp_path)
    first = pay(releases, "op1", "question")
    held = releases.reserve(ask("op2", question="question", micro_rho=4_000))
    assert held.items[0].charged_micro_rho == 0
    assert held.items[0].release_id is not None
    assert releases.answer(held.items[0].release_id, TENANT) == first
    assert spent(releases) == 10_000
    assert findings(engine) == ()


def test_a_better_answer_than_the_stored_one_is_paid_in_full(tmp_path: Path) -> None:
    releases, _ = open_releases(tmp_path)
    pay(releases, "op1", "question")
    held = releases.reserve(ask("op2", question="question", micro_rho=20_000))
    assert held.items[0].release_id is None
    assert spent(releases) == 30_000


def test_one_operation_id_serves_one_question(tmp_path: Path) -> None:
    releases, _ = open_releases(tmp_path)
    releases.reserve(ask("op", question="a"))
    with refused("OPERATION_MISMATCH"):
        releases.reserve(ask("op", question="b"))
    assert spent(releases) == 10_000


def test_operation_ids_of_two_tenants_never_meet(tmp_path: Path) -> None:
    releases, _ = open_releases(tmp_path)
    ours = releases.reserve(ask("op", question="a"))
    theirs = releases.reserve(ask("op", question="b", tenant="demo-bank"))
    assert ours.id != theirs.id


def test_another_tenants_answer_is_not_found(tmp_path: Path) -> None:
    releases, _ = open_releases(tmp_path)
    pay(releases, "op", "question")
    held = releases.reserve(ask("bank", question="question", tenant="demo-bank"))
    assert held.items[0].release_id is None
    committed = releases.recorded(releases.reserve(ask("op", question="question")).id)
    with refused("NOT_FOUND"):
        releases.answer(committed.release_ids[digest_of("question")], "demo-bank")


def test_a_budget_is_refused_with_numbers_and_nothing_is_spent(tmp_path: Path) -> None:
    releases, engine = open_releases(tmp_path)
    with refused("BUDGET_EXHAUSTED") as denial:
        releases.reserve(ask("op", micro_rho=60_001))
    assert "60001" in str(denial.value)
    assert "60000" in str(denial.value)
    assert spent(releases) == 0
    assert findings(engine) == ()


def test_every_cohort_pays_and_one_that_cannot_stops_all(tmp_path: Path) -> None:
    releases, engine = open_releases(tmp_path)
    pay(releases, "old")  # cohort 2026 pays
    releases.reserve(ask("both", micro_rho=50_000, cohorts=(2025, 2026)))
    with refused("BUDGET_EXHAUSTED"):
        releases.reserve(ask("more", micro_rho=10_000, cohorts=(2025, 2026)))
    # 2025 still has 10,000 and was not touched by the refusal.
    releases.reserve(ask("rest", micro_rho=10_000, cohorts=(2025,)))
    assert findings(engine) == ()


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"purpose": "curiosity"}, "PURPOSE_REFUSED"),
        ({"epsilon": "2.5"}, "EPSILON_TOO_LARGE"),
        ({"tenant": "nobody"}, "GRANT_REVOKED"),
    ],
)
def test_what_no_grant_allows_is_refused_and_logged(
    tmp_path: Path, change: dict[str, str], code: str
) -> None:
    releases, engine = open_releases(tmp_path)
    with refused(code):
        releases.reserve(ask("op", **change))  # type: ignore[arg-type]
    with db.reading(engine) as connection:
        (data,) = connection.exec_driver_sql("SELECT bytes FROM entries").one()
    assert json.loads(data)["facts"]["code"] == code


def test_a_grant_revoked_in_the_policy_stops_stored_answers_too(tmp_path: Path) -> None:
    releases, _ = open_releases(tmp_path)
    pay(releases, "op1", "question")
    path = policy_file(tmp_path)
    path.write_text(path.read_text().replace("tables: [tax_summary]}", "tables: []}"))
    with refused("GRANT_REVOKED"):
        releases.reserve(ask("op2", question="question"))


def test_a_recorded_reservation_keeps_its_first_bytes(tmp_path: Path) -> None:
    releases, engine = open_releases(tmp_path)
    held = releases.reserve(ask("op"))
    releases.record(held.id, held.fencing_token, made("op"), TABLES)
    releases.record(held.id, held.fencing_token, made("op"), TABLES)
    with refused("ANSWER_DIFFERS"):
        releases.record(held.id, held.fencing_token, made("op", answer=b"fresh noise"), TABLES)
    assert findings(engine) == ()


def test_only_the_holder_of_the_fencing_token_may_record(tmp_path: Path) -> None:
    releases, _ = open_releases(tmp_path)
    held = releases.reserve(ask("op"))
    with refused("NOT_FOUND"):
        releases.record(held.id, "0" * 64, made("op"), TABLES)


def test_a_refund_needs_an_open_reservation(tmp_path: Path) -> None:
    releases, engine = open_releases(tmp_path)
    held = releases.reserve(ask("op1"))
    releases.nothing_read(held.id, held.fencing_token)
    assert spent(releases) == 0
    with refused("RESERVATION_CLOSED"):
        releases.record(held.id, held.fencing_token, made("op1"), TABLES)
    kept = releases.reserve(ask("op2"))
    releases.failed(kept.id, kept.fencing_token)
    with refused("RESERVATION_CLOSED"):
        releases.nothing_read(kept.id, kept.fencing_token)
    assert spent(releases) == 10_000
    assert findings(engine) == ()


def test_a_new_data_version_stops_the_release_of_the_old_one(tmp_path: Path) -> None:
    releases, engine = open_releases(tmp_path)
    held = releases.reserve(ask("op"))
    releases.reserve(ask("newer", version="v2"))
    with refused("VERSION_CHANGED"):
        releases.record(held.id, held.fencing_token, made("op"), TABLES)
    assert findings(engine) == ()


def test_the_accountant_sees_money_put_back_a_release_altered_and_noise_too_small(
    tmp_path: Path,
) -> None:
    releases, engine = open_releases(tmp_path)
    pay(releases, "op")
    with db.writing(engine) as connection:
        connection.exec_driver_sql("UPDATE accounts SET spent_micro_rho = 1")
    assert any("ledger holds" in f for f in findings(engine))
    with db.writing(engine) as connection:
        connection.exec_driver_sql("UPDATE accounts SET spent_micro_rho = 10000")
        connection.exec_driver_sql("UPDATE releases SET sha256 = 'x'")
    assert any("bytes are not the logged ones" in f for f in findings(engine))
    held = releases.reserve(ask("cheap", micro_rho=10))
    releases.record(held.id, held.fencing_token, made("cheap", micro_rho=10_000), TABLES)
    assert any("its noise costs" in f for f in findings(engine))


def test_purposes_and_plans_enter_the_log_as_commitments_only(tmp_path: Path) -> None:
    releases, engine = open_releases(tmp_path)
    releases.reserve(ask("op", purpose="market-research"))
    with db.reading(engine) as connection:
        data = b"".join(
            bytes(r[0]) for r in connection.exec_driver_sql("SELECT bytes FROM entries")
        )
    assert b"market-research" not in data
    assert b"purpose_commitment" in data
