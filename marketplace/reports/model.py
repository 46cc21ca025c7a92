"""A report as a value: columns and rows with period, filter, source and who made it."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

from marketplace.demand.calendar import CHINA
from marketplace.errors import MarketplaceError

FORM = "digital-lab/report/1"
MOST_ROWS = 20_000
MOST_DAYS = 400
Cell = str | int
Row = tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class Text:
    """A text in both languages."""

    en: str
    zh: str

    def of(self, language: str) -> str:
        """Return it in one language."""
        return self.zh if language == "zh" else self.en


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its name for programs, its head for people."""

    key: str
    head: Text


@dataclass(frozen=True, slots=True)
class Kind:
    """What a report is, before anybody asks for it."""

    name: str
    title: Text
    columns: tuple[Column, ...]
    notes: tuple[Text, ...] = ()
    """What its figures mean, and what they do not say."""
    needs: tuple[str, ...] = ()
    """Filters of which one must be given."""
    takes: tuple[str, ...] = ()
    """Filters that may be given."""


@dataclass(frozen=True, slots=True)
class Period:
    """Days in China, both included."""

    first: date
    last: date

    @classmethod
    def of(cls, first: date | None, last: date | None, today: date) -> "Period":
        """Return what was asked for: this month up to today, unless days are named."""
        first = first or (last or today).replace(day=1)
        last = last or max(first, today)
        if not timedelta(0) <= last - first <= timedelta(MOST_DAYS):
            raise MarketplaceError(
                "BAD_REQUEST",
                f"A report is about 1 to {MOST_DAYS} days; {first} to {last} is not.",
                f"报告期为 1 至 {MOST_DAYS} 天，{first} 至 {last} 不符合。",
            )
        return cls(first, last)

    @property
    def since(self) -> datetime:
        """The first moment."""
        return _midnight(self.first)

    @property
    def until(self) -> datetime:
        """The first moment after it."""
        return _midnight(self.last + timedelta(days=1))


@dataclass(frozen=True, slots=True)
class Report:
    """A report as it was made, ready to be signed and written in any form."""

    kind: Kind
    period: Period
    filters: Mapping[str, str]
    rows: tuple[Row, ...]
    source: Mapping[str, str | int]
    """Origin, size and root of the log at the time."""
    user: str
    organisation: str
    generated: datetime
    sha256: str = field(init=False)
    """Of the canonical body."""

    def __post_init__(self) -> None:
        """Refuse what nobody would read, and rows that do not fit their columns."""
        if len(self.rows) > MOST_ROWS:
            raise MarketplaceError(
                "BAD_REQUEST",
                f"This report would have {len(self.rows)} rows, and {MOST_ROWS} is the most. "
                "Ask for fewer days.",
                f"该报告有 {len(self.rows)} 行，上限为 {MOST_ROWS} 行，请缩短报告期。",
            )
        if any(len(row) != len(self.kind.columns) for row in self.rows):
            raise AssertionError(f"a row of {self.kind.name} does not fit its columns")
        digest = hashlib.sha256(canonical(self.body())).hexdigest()
        object.__setattr__(self, "sha256", digest)

    def body(self) -> dict[str, Any]:
        """Return all that is signed."""
        kind = self.kind
        return {
            "form": FORM,
            "report": kind.name,
            "title": _both(kind.title),
            "period": {
                "first": self.period.first.isoformat(),
                "last": self.period.last.isoformat(),
                "zone": "UTC+08:00",
            },
            "filter": dict(self.filters),
            "source": dict(self.source),
            "generated_by": {"user": self.user, "organisation": self.organisation},
            "generated": self.generated.astimezone(CHINA).isoformat(timespec="seconds"),
            "columns": [{"key": c.key, **_both(c.head)} for c in kind.columns],
            "row_count": len(self.rows),
            "rows": [list(row) for row in self.rows],
            "notes": [_both(n) for n in kind.notes],
        }

    def lines(self, language: str) -> list[tuple[str, str]]:
        """Return what stands above the rows for people: names and values."""
        words = _HEAD["zh" if language == "zh" else "en"]
        filters = ", ".join(f"{k}={v}" for k, v in sorted(self.filters.items()) if v) or "-"
        source = f"{self.source['origin']} / {self.source['size']} / {self.source['root']}"
        values = (
            self.kind.title.of(language),
            f"{self.period.first} – {self.period.last} (UTC+08:00)",
            filters,
            str(len(self.rows)),
            self.sha256,
            f"{self.user} ({self.organisation})",
            str(self.body()["generated"]),
            source,
        )
        return list(zip(words, values, strict=True))


_HEAD: Mapping[str, tuple[str, ...]] = {
    "en": (
        "report",
        "period",
        "filter",
        "rows",
        "sha256 of the signed body",
        "generated by",
        "generated",
        "source: log, size, root",
    ),
    "zh": (
        "报告",
        "报告期",
        "筛选条件",
        "行数",
        "签名正文的 SHA-256",
        "生成人",
        "生成时间",
        "来源：日志、条目数、根",
    ),
}


def canonical(body: Mapping[str, Any]) -> bytes:
    """Return the only spelling of a body: sorted keys, no spaces, all but ASCII escaped.

    >>> canonical({"b": 1, "a": "x"})
    b'{"a":"x","b":1}'
    """
    return json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def utc(time: datetime) -> str:
    """Return a time as the database keeps it."""
    return time.astimezone(UTC).isoformat(timespec="milliseconds")


def shown(time: str) -> str:
    """Return a kept time as people in China read it; empty for none."""
    if not time:
        return ""
    return datetime.fromisoformat(time).astimezone(CHINA).isoformat(" ", "seconds")[:19]


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=CHINA).astimezone(UTC)


def _both(text: Text) -> dict[str, str]:
    return {"en": text.en, "zh": text.zh}
