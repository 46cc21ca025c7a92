"""The report that looks for what is missing, and says where it cannot know."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import delete

from infra.cli import main
from marketplace import db
from marketplace.audit.reconcile import Report, reconcile
from marketplace.services import Services
from tests.support.databases import without_foreign_keys
from tests.support.marketplace import SEEDED, TABLES, ask, item, made, make_home, parts

NOW = datetime(2026, 12, 1, tzinfo=UTC)
LAKE = {"tax_summary": {"version": "v1", "batches": []}}


@pytest.fixture
def market(tmp_path: Path) -> Iterator[Services]:
    with parts(make_home(tmp_path / "home")) as services:
        releases = services.releases
        held = releases.reserve(ask("answered"))
        releases.record(held.id, held.fencing_token, (made(item("answered")),), TABLES)
        held = releases.reserve(ask("failed"))
        releases.failed(held.id, held.fencing_token)
        held = releases.reserve(ask("refunded"))
        releases.nothing_read(held.id, held.fencing_token, "nothing was read")
        releases.reserve(ask("left open"))
        yield services


def report(market: Services, lake: object = None) -> Report:
    with market.database.reading() as connection:
        return reconcile(connection, lake, NOW)


def test_reads_that_left_no_release_are_named(market: Services) -> None:
    found = report(market)
    assert found.reservations == {"failed": 1, "open": 1, "recorded": 1, "refunded": 1}
    assert len(found.reads_without_release) == 2  # the failed one, and the open one of a month ago
    assert found.versions_read == {"tax_summary": ["v1"]}
    assert (found.findings, found.break_glass) == ((), 0)


def test_a_row_without_its_entry_is_missing(market: Services) -> None:
    with market.database.engine.connect() as connection:
        without_foreign_keys(connection)
        connection.execute(delete(db.releases))
        connection.execute(delete(db.entries).where(db.entries.c.index == SEEDED))
        connection.commit()
    kinds = {f.split(" ")[0] + f.split(":")[1] for f in report(market).findings}
    assert kinds == {"reservation no entry", "release an entry and nothing else"}


def test_the_lake_and_the_log_are_compared(market: Services) -> None:
    (unlogged,) = report(market, LAKE).findings
    assert unlogged == "table tax_summary version v1: in the lake, and no ingest entry"
    assert "released from, and not in the lake" in report(market, {}).findings[0]


def test_what_cannot_be_known_is_said_in_both_languages(market: Services) -> None:
    assert len(report(market).unknowable) >= 4
    assert all(en and any("一" <= c <= "鿿" for c in zh) for en, zh in report(market).unknowable)


def test_the_command_reports(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = make_home(tmp_path / "home")
    monkeypatch.setenv("LAB_DATABASE_URL", settings.database_url)
    with parts(settings):
        pass
    assert main(["audit", "reconcile", "--home", str(settings.home), "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["findings"] == []
