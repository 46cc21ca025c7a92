"""Reports: who reads which, what stands in them, in every form, signed, and each reading logged."""

import base64
import csv
import hashlib
import io
import json
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from marketplace import db
from marketplace.access.model import Terms, Verdict
from marketplace.audit.entry import Event
from marketplace.audit.note import open_keys
from marketplace.errors import MarketplaceError
from marketplace.identity.model import SEEDED, Person
from marketplace.reports.kinds import KINDS
from marketplace.reports.model import Period, Report
from marketplace.reports.pdf import pdf_of
from marketplace.reports.service import File, Form, Wanted
from marketplace.reports.signing import ReportChangedError, verify
from marketplace.reports.tables import csv_of
from marketplace.services import Services
from marketplace.settings import Settings
from tests.support.desk import Caller
from tests.support.marketplace import COST, ask, item, made, make_home, parts, running

PEOPLE = {name: Person(name, org, roles, "en") for name, org, roles in SEEDED}
ALL = set(KINDS)
MAY: dict[str, set[str]] = {
    "regulator": ALL,
    "audit-admin": ALL,
    "bureau-approver": ALL,
    "security-admin": {"risk-events", "permissions"},
    "bureau-reviewer": {"grades"},
    "operator": {"operation"},
}
"""Who reads which reports; nobody else reads any."""


@pytest.fixture
def home(tmp_path: Path) -> Settings:
    return make_home(tmp_path / "home")


@pytest.fixture
def market(home: Settings) -> Iterator[Services]:
    with parts(home) as services:
        yield services


def filters_of(market: Services, name: str) -> dict[str, str]:
    if name == "table-use":
        return {"table": "tax_summary"}
    if name == "trace":
        with market.database.reading() as connection:
            grants = select(db.metadata.tables["grants"].c.id).order_by("tenant")
            return {"grant": str(connection.execute(grants).scalars().all()[-1])}
    return {}


def made_by(
    market: Services,
    name: str,
    form: Form = Form.JSON,
    user: str = "regulator",
    language: str = "en",
    **filters: str,
) -> File:
    asked = filters or filters_of(market, name)
    wanted = Wanted(name, form, language, date(2026, 11, 1), date(2026, 11, 30), asked)
    return market.reports.make(PEOPLE[user], wanted)


def rows(market: Services, name: str, **filters: str) -> list[dict[str, Any]]:
    body = json.loads(made_by(market, name, **filters).data)["body"]
    keys = [c["key"] for c in body["columns"]]
    assert body["row_count"] == len(body["rows"])
    return [dict(zip(keys, row, strict=True)) for row in body["rows"]]


def denied(market: Services, operation: str, **asked: Any) -> None:
    with pytest.raises(MarketplaceError):
        market.releases.reserve(ask(operation, **asked))


def answered(market: Services, operation: str, *, tenant: str = "demo-enterprise") -> str:
    wanted = item(operation)
    held = market.releases.reserve(ask(operation, wanted, tenant=tenant))
    tables = {"tax_summary": "v1"}
    return market.releases.record(held.id, held.fencing_token, (made(wanted),), tables).release_ids[
        wanted.digest
    ]


def read_entries(market: Services) -> list[dict[str, Any]]:
    with market.database.reading() as connection:
        every = connection.execute(select(db.entries.c.bytes).order_by(db.entries.c.index))
        found = [json.loads(bytes(r[0])) for r in every]
    return [e["facts"] for e in found if e["event"] == Event.REPORT_READ.value]


@pytest.mark.parametrize("name", sorted(ALL))
@pytest.mark.parametrize("user", sorted(PEOPLE))
def test_who_reads_which_report(market: Services, user: str, name: str) -> None:
    if name in MAY.get(user, set()):
        file = made_by(market, name, user=user)
        (entry,) = read_entries(market)
        assert entry["file_sha256"] == file.sha256 == hashlib.sha256(file.data).hexdigest()
        assert (entry["report"], entry["sha256"]) == (name, file.report.sha256)
        assert user not in json.dumps({k: v for k, v in entry.items() if k != "organisation"})
    else:
        with pytest.raises(MarketplaceError) as refused:
            made_by(market, name, user=user)
        assert refused.value.code == "ROLE_REFUSED"
        assert read_entries(market) == []
    readable = {k.name for k in market.reports.readable(PEOPLE[user])}
    assert readable == MAY.get(user, set())


def test_the_operation_report_adds_up(market: Services) -> None:
    answered(market, "one")
    answered(market, "two")
    answered(market, "three", tenant="demo-bank")
    held = market.releases.reserve(ask("back"))
    market.releases.nothing_read(held.id, held.fencing_token, "not begun")
    denied(market, "no", purpose="curiosity")
    denied(market, "none", tables={"ent_registration": "v1"})
    found = {(r["part"], r["organisation"], r["name"]): r for r in rows(market, "operation")}
    firm = found["questions", "demo-enterprise", "recorded"]
    assert (firm["count"], firm["micro_rho"]) == (2, 2 * COST)
    total = found["questions", "*", "recorded"]
    assert (total["count"], total["micro_rho"]) == (3, 3 * COST)
    assert found["questions", "*", "refunded"]["micro_rho"] == 0
    assert found["users", "*", "distinct"]["count"] == 2
    assert found["releases", "*", "recorded"]["count"] == 3
    assert found["denials", "demo-enterprise", "PURPOSE_REFUSED"]["count"] == 1
    assert found["denials", "*", "GRANT_REVOKED"]["count"] == 1


def test_who_used_a_table_is_told_by_questions_and_cohorts(market: Services) -> None:
    answered(market, "one")
    wanted = item("old", cohorts=(2025,))
    market.releases.reserve(ask("old", wanted, tenant="demo-bank"))
    every = rows(market, "table-use", table="tax_summary")
    assert [(r["organisation"], r["person"], r["cohorts"], r["state"]) for r in every] == [
        ("demo-enterprise", "analyst", "2025 2026", "recorded"),
        ("demo-bank", "bank-risk", "2025", "open"),
    ]
    assert len(rows(market, "table-use", table="tax_summary", cohort="2026")) == 1
    assert len(rows(market, "table-use", table="tax_summary", organisation="demo-bank")) == 1
    assert rows(market, "table-use", table="ent_registration") == []


def test_a_project_is_traced_from_its_request_to_its_releases(market: Services) -> None:
    analyst, requests = PEOPLE["analyst"], market.access.requests
    terms = Terms("social_insurance", ("market-research",), ("dp",), (), 500_000, 10**6, 30, "why")
    asked = requests.submit(analyst, terms)
    for name, judge in (
        ("hr-provider", requests.review),
        ("bureau-approver", requests.approve),
        ("operator", requests.approve),
    ):
        judge(PEOPLE[name], asked.id, Verdict.AGREE, asked.sha256, "read")
    tables = {"social_insurance": "v1"}
    held = market.releases.reserve(ask("one", tables=tables))
    wanted = item("one")
    release = market.releases.record(held.id, held.fencing_token, (made(wanted),), tables)
    denied(market, "no", purpose="curiosity", tables=tables)
    answered(market, "of another table")
    found = rows(market, "trace", request=asked.id)
    assert [r["step"] for r in found][-3:] == ["grant", "question", "release"]
    assert [r["person"] for r in found if r["person"]] == [
        "analyst",
        "hr-provider",
        "bureau-approver",
        "operator",
        "analyst",
        "analyst",
    ]
    assert found[-1]["id"] == release.release_ids[wanted.digest]
    assert found[-2]["micro_rho"] == COST
    grant = next(r["id"] for r in found if r["step"] == "grant")
    assert rows(market, "trace", grant=grant) == found
    for filters in ({"grant": "0" * 32}, {"request": "0" * 32}):
        with pytest.raises(MarketplaceError) as missing:
            made_by(market, "trace", **filters)
        assert missing.value.code == "NOT_FOUND"


def test_the_ledger_names_tables_and_equals_the_accounts(market: Services) -> None:
    answered(market, "one")
    answered(market, "two", tenant="demo-bank")
    back = market.releases.reserve(ask("back"))
    market.releases.nothing_read(back.id, back.fencing_token, "not begun")
    found = rows(market, "ledger")
    spent = {
        (r["organisation"], r["cohort"]): r["micro_rho"] for r in found if r["part"] == "spent"
    }
    accounts = {(r["organisation"], r["cohort"]): r for r in found if r["part"] == "account"}
    assert len(spent) == 4
    for (tenant, cohort), micro_rho in spent.items():
        account = accounts[tenant, cohort]
        assert (account["micro_rho"], account["left"]) == (micro_rho, 1000 - micro_rho)
    assert accounts["*", "2026"]["micro_rho"] == 2 * COST
    own = rows(market, "ledger", organisation="demo-bank")
    assert {r["organisation"] for r in own} == {"demo-bank"}


def test_permissions_say_who_holds_what_and_used_it_when(market: Services) -> None:
    before = {(r["part"], r["name"]): r for r in rows(market, "permissions")}
    assert before["person", "analyst"]["last_used"] == ""
    assert before["person", "regulator"]["holds"] == "auditor"
    answered(market, "one")
    after = [r for r in rows(market, "permissions") if r["organisation"] == "demo-enterprise"]
    assert [(r["part"], r["last_used"][:10]) for r in after] == [
        ("person", "2026-11-01"),
        ("grant", "2026-11-01"),
    ]


def test_the_negative_list_and_risk_events_are_reported(market: Services) -> None:
    entries = market.catalogue.policies.negative_list.entries
    listed = [r for r in rows(market, "grades") if r["part"] == "negative-list"]
    assert {r["id"] for r in listed} == {e.entry_id for e in entries}
    denied(market, "no", purpose="curiosity")
    (event,) = rows(market, "risk-events")
    assert (event["rule"], event["person"], event["state"]) == ("R-PURP", "analyst", "open")


def test_a_signed_report_is_checked_with_the_logs_key_alone(
    market: Services, home: Settings
) -> None:
    answered(market, "one")
    file = made_by(market, "ledger")
    vkey = (home.log / "vkey").read_text(encoding="utf-8")
    body = verify(file.data, vkey)
    head = market.log.head.checkpoint
    assert body["source"]["origin"] == head.origin
    assert body["generated_by"] == {"user": "regulator", "organisation": "regulator"}
    document = json.loads(file.data)
    other = json.loads(made_by(market, "operation").data)
    swapped = {**document, "note": other["note"]}
    more = {**document, "body": {**document["body"], "row_count": 0}}
    hashed = {**more, "sha256": "0" * 64}
    unsigned = {**document, "note": document["note"].replace(head.origin, "log.example")}
    start, line = document["note"].rsplit(" ", 1)
    spoilt = bytearray(base64.b64decode(line))
    spoilt[-1] ^= 1
    forged = {**document, "note": f"{start} {base64.b64encode(spoilt).decode()}\n"}
    twice = file.data.replace(b'{"body":', b'{"sha256":"","body":', 1)
    renamed = {**document, "sha256": "0" * 64}
    for wrong in (
        forged,
        swapped,
        more,
        hashed,
        renamed,
        unsigned,
        {**document, "extra": 1},
        {},
        [],
    ):
        with pytest.raises(ReportChangedError):
            verify(json.dumps(wrong).encode(), vkey)
    for raw in (
        twice,
        file.data[:-1],
        b"\xff",
        file.data.replace(b'"row_count":', b'"row_count":1'),
    ):
        with pytest.raises(ReportChangedError):
            verify(raw, vkey)


def test_another_logs_key_does_not_check_it(market: Services, tmp_path: Path) -> None:
    open_keys(tmp_path / "keys")
    with parts(make_home(tmp_path / "other")) as other:
        stranger = (tmp_path / "other" / "log" / "vkey").read_text(encoding="utf-8")
        assert other.log.head.checkpoint.origin != market.log.head.checkpoint.origin
    with pytest.raises(ReportChangedError, match="no good signature"):
        verify(made_by(market, "ledger").data, stranger)


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("name", sorted(ALL))
def test_csv_says_what_it_is_and_runs_nothing(market: Services, name: str, language: str) -> None:
    denied(market, "no", purpose="=HYPERLINK(1)")
    file = made_by(market, name, Form.CSV, language=language)
    assert file.data.startswith(b"\xef\xbb\xbf")
    lines = list(csv.reader(io.StringIO(file.data.decode("utf-8-sig"))))
    above = dict(line[:2] for line in lines if line[0].startswith("# "))
    assert file.report.sha256 in above.values()
    assert str(len(file.report.rows)) in above.values()
    heads = [c.head.of(language) for c in file.report.kind.columns]
    start = lines.index(heads)
    assert len(lines) - start - 1 == len(file.report.rows)


@pytest.mark.parametrize(
    "cell",
    ["=1+1", "+1", "-1", "@a", "\t=1", "\r=1", " =1", "＝1"],
    ids=["equals", "plus", "minus", "at", "tab", "return", "space", "full width"],
)
def test_a_cell_that_would_run_is_quoted_and_a_number_stays_one(cell: str) -> None:
    kind = KINDS["table-use"]
    row = ("", "", "", "", cell, "", "", -5, "")
    source = {"origin": "o", "size": 1, "root": "r"}
    period, now = Period(date(2026, 11, 1), date(2026, 11, 2)), datetime(2026, 11, 2, tzinfo=UTC)
    report = Report(kind, period, {}, (row,), source, "u", "o", now)
    text = io.StringIO(csv_of(report, "en").decode("utf-8-sig"), newline="")
    last = list(csv.reader(text))[-1]
    assert (last[4], last[7]) == (f"'{cell}", "-5")


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("name", sorted(ALL))
def test_every_report_is_a_pdf_with_its_characters(
    market: Services, name: str, language: str
) -> None:
    answered(market, "one")
    file = made_by(market, name, Form.PDF, language=language)
    assert file.data.startswith(b"%PDF-")
    assert file.data.rstrip().endswith(b"%%EOF")
    assert b"/FontFile" in file.data


def test_without_a_chinese_font_no_pdf_is_made(market: Services, tmp_path: Path) -> None:
    report = made_by(market, "operation").report
    with pytest.raises(MarketplaceError, match="fonts-noto-cjk") as refused:
        pdf_of(report, "zh", (tmp_path, tmp_path / "missing"))
    assert refused.value.code == "FONT_MISSING"


@pytest.mark.parametrize(
    ("name", "asked", "code"),
    [
        ("no-such", {}, "NOT_FOUND"),
        ("table-use", {}, "BAD_REQUEST"),
        ("trace", {"grant": "x", "request": "x"}, "BAD_REQUEST"),
        ("operation", {"table": "tax_summary"}, "BAD_REQUEST"),
    ],
    ids=["unknown", "no table", "two things", "filter"],
)
def test_what_no_report_is_about_is_refused(
    market: Services, name: str, asked: dict[str, str], code: str
) -> None:
    wanted = Wanted(name, Form.JSON, "en", None, None, asked)
    with pytest.raises(MarketplaceError) as refused:
        market.reports.make(PEOPLE["regulator"], wanted)
    assert refused.value.code == code


def test_a_period_is_days_in_china_and_bounded() -> None:
    today = date(2026, 11, 24)
    month = Period.of(None, None, today)
    assert (month.first, month.last) == (date(2026, 11, 1), today)
    assert month.since.isoformat() == "2026-10-31T16:00:00+00:00"
    assert month.until.isoformat() == "2026-11-24T16:00:00+00:00"
    for first, last in ((today, date(2026, 11, 23)), (date(2024, 1, 1), today)):
        with pytest.raises(MarketplaceError):
            Period.of(first, last, today)


def test_a_report_leaves_over_http_as_a_file_that_its_header_checks(tmp_path: Path) -> None:
    with running(make_home(tmp_path / "home")) as server:
        regulator, bank = Caller(server, "regulator"), Caller(server, "bank-risk")
        listed = regulator.get("/reports")
        assert {r["name"] for r in listed["reports"]} == ALL
        assert "who-saw-whom" in listed["not_available"]
        assert bank.get("/reports")["reports"] == []
        for form, start in (("json", b"{"), ("csv", b"\xef\xbb\xbf"), ("pdf", b"%PDF-")):
            answer = regulator.call("GET", f"/reports/permissions?form={form}&language=zh")
            assert answer.status_code == 200, answer.text
            assert answer.content.startswith(start)
            digest = hashlib.sha256(answer.content).hexdigest()
            assert answer.headers["x-content-sha256"] == digest
            assert f".{form}" in answer.headers["content-disposition"]
        for query in ("form=xml", "more=1", "table=a%0ab", "first=yesterday", "language=fr"):
            code = regulator.refused("GET", f"/reports/permissions?{query}")
            assert code == "BAD_REQUEST", query
        assert regulator.refused("GET", "/reports/no-such") == "NOT_FOUND"
        assert bank.refused("GET", "/reports/permissions") == "ROLE_REFUSED"
