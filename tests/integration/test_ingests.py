"""Versions of the lake as entries: reported once, never contradicted, before anything is asked."""

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import select

from marketplace import db
from marketplace.audit.reconcile import reconcile
from marketplace.client import MarketplaceProblem, StoredVersion
from marketplace.errors import MarketplaceError
from marketplace.ingests.store import Stored
from marketplace.services import Services
from sandbox.gateway import reporting
from sandbox.gateway.reporting import Reporting
from tests.support.lake import SmallLake, row
from tests.support.marketplace import TABLES, ask, item, made, make_home, parts

FIRST = Stored("tax_summary", "v1", "a" * 64, "b" * 64)
NOW = datetime(2026, 12, 1, tzinfo=UTC)


@pytest.fixture
def market(tmp_path: Path) -> Iterator[Services]:
    with parts(make_home(tmp_path / "home")) as services:
        yield services


def events(market: Services) -> list[str]:
    with market.database.reading() as connection:
        rows = connection.execute(select(db.entries.c.bytes).order_by(db.entries.c.index))
        return [json.loads(bytes(r[0]))["event"] for r in rows]


def test_a_version_is_one_entry_however_often_it_is_reported(market: Services) -> None:
    second = replace(FIRST, version="v2", manifest_digest="c" * 64)
    assert market.ingests.report([FIRST, FIRST]) == 1
    assert market.ingests.report([FIRST, second]) == 1
    assert market.ingests.report([second, FIRST]) == 0
    assert events(market).count("ingest:see") == 2


@pytest.mark.parametrize("changed", ["contract_digest", "manifest_digest"])
def test_a_version_with_other_contents_is_refused_and_logged(
    market: Services, changed: str
) -> None:
    market.ingests.report([FIRST])
    with pytest.raises(MarketplaceError) as refused:
        market.ingests.report([replace(FIRST, **{changed: "f" * 64})])
    assert refused.value.code == "VERSION_CONTRADICTED"
    assert events(market)[-1] == "version:contradict"
    assert market.ingests.report([FIRST]) == 0, "what was reported first stays"


def test_a_version_that_nobody_reported_is_not_asked(market: Services) -> None:
    market.ingests.report([FIRST])
    with pytest.raises(MarketplaceError) as refused:
        market.releases.reserve(ask("new", tables={"tax_summary": "v2"}))
    assert refused.value.code == "VERSION_UNREPORTED"
    assert market.releases.left("demo-enterprise", "enterprise").budget.micro_rho == 1_000
    market.ingests.report([replace(FIRST, version="v2")])
    market.releases.reserve(ask("again", tables={"tax_summary": "v2"}))


def test_reports_make_lake_and_log_agree(market: Services) -> None:
    held = market.releases.reserve(ask("answered"))
    market.releases.record(held.id, held.fencing_token, (made(item("answered")),), TABLES)

    def findings(version: str) -> tuple[str, ...]:
        lake = {"tax_summary": {"version": version, "batches": []}}
        with market.database.reading() as connection:
            return reconcile(connection, lake, NOW).findings

    assert findings("v1") == ("table tax_summary version v1: in the lake, and no ingest entry",)
    market.ingests.report([FIRST])
    assert findings("v1") == ()
    # Somebody put another version there, past the lab.
    assert findings("v2") == ("table tax_summary version v2: in the lake, and no ingest entry",)


def test_a_read_of_a_version_without_an_entry_is_found(market: Services) -> None:
    held = market.releases.reserve(ask("answered"))
    market.releases.record(held.id, held.fencing_token, (made(item("answered")),), TABLES)
    market.ingests.report([replace(FIRST, version="v2")])
    lake = {"tax_summary": {"version": "v2", "batches": []}}
    with market.database.reading() as connection:
        found = reconcile(connection, lake, NOW).findings
    assert found == ("table tax_summary version v1: released from, and no ingest entry",)


class Client:
    """Takes reports, unless it is told to fail."""

    def __init__(self) -> None:
        self.seen: list[list[StoredVersion]] = []
        self.failing = 0
        self.came = threading.Event()

    def report_versions(self, seen: list[StoredVersion]) -> None:
        if self.failing:
            self.failing -= 1
            raise MarketplaceProblem("SERVICE_UNAVAILABLE", "gone", "不可用")
        self.seen.append(list(seen))
        self.came.set()


def test_the_gateway_reports_each_version_once_and_new_ones_when_they_come(tmp_path: Path) -> None:
    lake, client = SmallLake.at(tmp_path), Client()
    first = lake.deliver([row(1)], name="first").version
    report = Reporting(client, lake.reader().tables)  # type: ignore[arg-type]  # a stand-in
    report({"tax": first})
    report({"tax": first})
    ((told,),) = client.seen
    assert (told.table, told.version, len(told.contract_digest)) == ("tax", first, 64)
    second = lake.deliver([row(1), row(2)], name="second").version
    report({"tax": second})
    assert [v.version for v in client.seen[1]] == [second]
    assert client.seen[1][0].manifest_digest != told.manifest_digest


def test_what_could_not_be_reported_is_not_taken_for_reported(tmp_path: Path) -> None:
    lake, client = SmallLake.at(tmp_path), Client()
    version = lake.deliver([row(1)]).version
    report = Reporting(client, lake.reader().tables)  # type: ignore[arg-type]  # a stand-in
    client.failing = 1
    with pytest.raises(MarketplaceProblem):
        report({"tax": version})
    report({"tax": version})
    assert len(client.seen) == 1


def test_a_gateway_that_starts_first_reports_when_the_marketplace_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reporting, "RETRY_SECONDS", 0.01)
    lake, client, stopped = SmallLake.at(tmp_path), Client(), threading.Event()
    lake.deliver([row(1)])
    client.failing = 3
    report = Reporting(client, lake.reader().tables)  # type: ignore[arg-type]  # a stand-in
    watching = threading.Thread(target=report.watch, args=(stopped,))
    watching.start()
    assert client.came.wait(30)
    stopped.set()
    watching.join(30)
    assert not watching.is_alive()
    assert len(client.seen) == 1
