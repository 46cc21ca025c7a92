"""Makes reports for those who may read them; each reading is an entry of the log."""

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Any

from marketplace.access.desk import Desk
from marketplace.audit import store as log
from marketplace.audit.entry import Event, Plain
from marketplace.audit.note import Signer
from marketplace.audit.published import Log
from marketplace.demand.calendar import CHINA
from marketplace.errors import MarketplaceError
from marketplace.grading.negative_list import NegativeList
from marketplace.identity.model import Person
from marketplace.policy.model import Decision
from marketplace.reports import rows, signing
from marketplace.reports.kinds import KINDS
from marketplace.reports.model import Kind, Period, Report, canonical
from marketplace.reports.pdf import pdf_of
from marketplace.reports.tables import csv_of
from marketplace.risk.service import Watch

FILTERS = ("table", "cohort", "organisation", "request", "grant")


class Form(StrEnum):
    """How a report is written."""

    JSON = "json"
    CSV = "csv"
    PDF = "pdf"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What somebody asks for; empty filters and days are not given."""

    name: str
    form: Form
    language: str
    first: date | None
    last: date | None
    filters: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class File:
    """A report as it leaves."""

    data: bytes
    sha256: str
    """Of these bytes; it also stands in the entry."""
    report: Report


class Reports:
    """The one place where reports are made."""

    def __init__(
        self,
        desk: Desk,
        published: Log,
        signer: Signer,
        watch: Watch,
        negative_list: Callable[[], NegativeList],
    ) -> None:
        """Sign with the log's key; entries that were not judged yet are judged first."""
        self._desk, self._published, self._signer = desk, published, signer
        self._watch, self._negative_list = watch, negative_list

    def readable(self, person: Person) -> tuple[Kind, ...]:
        """Return the reports that a person may read."""
        return tuple(kind for kind in KINDS.values() if self._may(person, kind.name))

    def make(self, person: Person, wanted: Wanted) -> File:
        """Return a report in the form that is wanted, after its reading is in the log."""
        try:
            made = self._permit(person, wanted.name)
            kind = KINDS.get(wanted.name)
            if kind is None:
                raise _no_such_report(wanted.name)
            report = self._report(person, kind, wanted)
            data = self._written(report, wanted)
        except MarketplaceError as denial:
            self._desk.refuse(person, "report", wanted.name, denial)
            raise
        digest = hashlib.sha256(data).hexdigest()
        facts: dict[str, Plain] = {
            "report": kind.name,
            "form": wanted.form.value,
            "organisation": person.tenant,
            "rows": len(report.rows),
            "sha256": report.sha256,
            "file_sha256": digest,
        }
        asked = log.canonical_text({**report.filters, **report.body()["period"]})
        with self._desk.database.writing() as connection:
            bound = {"subject": person.user, "filter": asked}
            self._desk.enter(connection, Event.REPORT_READ, facts, bound, (made,))
        return File(data, digest, report)

    def _report(self, person: Person, kind: Kind, wanted: Wanted) -> Report:
        filters = {name: value for name, value in wanted.filters.items() if value}
        _check_filters(kind, filters)
        now = self._desk.clock()
        today = now.astimezone(CHINA).date()
        period = Period.of(wanted.first, wanted.last, today)
        while self._watch.judge():
            pass
        head = self._published.head.checkpoint
        source: dict[str, str | int] = {
            "origin": head.origin,
            "size": head.size,
            "root": head.root.hex(),
        }
        with self._desk.database.reading() as connection:
            made = rows.ROWS[kind.name](
                rows.Sources(
                    connection,
                    period,
                    filters,
                    self._desk.people(),
                    self._negative_list(),
                    today,
                    now,
                )
            )
            found = tuple(made)
        return Report(kind, period, filters, found, source, person.user, person.tenant, now)

    def _written(self, report: Report, wanted: Wanted) -> bytes:
        match wanted.form:
            case Form.JSON:
                document: dict[str, Any] = signing.signed(report, self._signer)
                return canonical(document)
            case Form.CSV:
                return csv_of(report, wanted.language)
            case Form.PDF:
                return pdf_of(report, wanted.language)

    def _may(self, person: Person, name: str) -> bool:
        try:
            self._permit(person, name)
        except MarketplaceError:
            return False
        return True

    def _permit(self, person: Person, name: str) -> Decision:
        return self._desk.decide(person, "readReport", "Lab", "lab", {"report": name})


def _check_filters(kind: Kind, filters: Mapping[str, str]) -> None:
    unknown = sorted(set(filters) - set(kind.takes))
    if unknown:
        raise MarketplaceError(
            "BAD_REQUEST",
            f"The report {kind.name} takes no filter {unknown[0]}; it takes "
            f"{', '.join(kind.takes) or 'none'}.",
            f"报告 {kind.name} 不支持筛选条件 {unknown[0]}；"
            f"可用：{', '.join(kind.takes) or '无'}。",
        )
    if not all(re.fullmatch(r"[\w.:-]{1,64}", value) for value in filters.values()):
        raise MarketplaceError(
            "BAD_REQUEST",
            "A filter is one name or id of at most 64 letters, digits, dots, colons and hyphens.",
            "筛选条件须为名称或编号，至多 64 个字符。",
        )
    if kind.needs and sum(name in filters for name in kind.needs) != 1:
        raise MarketplaceError(
            "BAD_REQUEST",
            f"The report {kind.name} is about one {' or '.join(kind.needs)}: name it.",
            f"报告 {kind.name} 须指定 {' 或 '.join(kind.needs)} 之一。",
        )


def _no_such_report(name: str) -> MarketplaceError:
    return MarketplaceError(
        "NOT_FOUND",
        f"There is no report called {name}; /api/v1/reports lists them.",
        f"没有名为 {name} 的报告，参见 /api/v1/reports。",
    )
