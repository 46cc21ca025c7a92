"""The negative list: what law keeps from being shared, opened or operated, entry by entry.

Everything is shared unless a law, an administrative regulation or a policy of the central
authorities says no *and* the bureau approved the entry. An entry ends with its validity; that it is
about to end, or has ended, is an alert and never silent.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum


class Scope(StrEnum):
    """The three channels: between bodies, to the public, to the market."""

    SHARE = "share"
    OPEN = "open"
    OPERATE = "operate"


class BasisKind(StrEnum):
    """What alone counts as a basis; a department's own rule does not."""

    LAW = "law"
    ADMINISTRATIVE_REGULATION = "administrative-regulation"
    CENTRAL_POLICY = "central-policy"


class Standing(StrEnum):
    """Where an entry stands on a day."""

    PENDING = "pending"
    IN_FORCE = "in-force"
    LAPSED = "lapsed"


@dataclass(frozen=True, slots=True)
class LegalBasis:
    """The provision that an entry rests on."""

    kind: BasisKind
    title: str
    doc_no: str
    article: str
    quote: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One item that is kept closed."""

    entry_id: str
    item_name: str
    resource_code: str
    field: str
    """Empty: the whole resource."""
    dept_uscc: str
    dept_name: str
    legal_basis: LegalBasis
    scope: frozenset[Scope]
    audience_excepted: frozenset[str]
    """Organisations that may have it all the same."""
    approving_body: str
    """The bureau; never the department itself."""
    approval_no: str
    approved_at: date
    valid_from: date
    valid_until: date
    """The last day on which the entry is in force."""
    review_cycle_months: int
    alternative_zh: str
    alternative_en: str

    def __post_init__(self) -> None:
        """Refuse an entry that nobody but the department approved, or that cannot be in force."""
        named = (self.entry_id, self.resource_code, self.dept_name, self.approval_no)
        basis = self.legal_basis
        if not all((*named, self.approving_body, basis.title, basis.doc_no, basis.article)):
            raise ValueError(
                f"negative list {self.entry_id or '(no id)'}: resource, department, basis "
                "(title, number, article), approving body and number must all be given"
            )
        if self.approving_body == self.dept_name:
            raise ValueError(f"negative list {self.entry_id}: a department cannot approve its own")
        if not self.scope:
            raise ValueError(f"negative list {self.entry_id}: no channel is closed by it")
        if not self.approved_at <= self.valid_from <= self.valid_until:
            raise ValueError(
                f"negative list {self.entry_id}: approved {self.approved_at}, valid from "
                f"{self.valid_from} until {self.valid_until}; these must follow each other"
            )

    def standing(self, today: date) -> Standing:
        """Return where the entry stands on a day."""
        if today < self.valid_from:
            return Standing.PENDING
        return Standing.IN_FORCE if today <= self.valid_until else Standing.LAPSED


@dataclass(frozen=True, slots=True)
class Alert:
    """An entry that ends soon, or has ended."""

    entry: Entry
    lapsed: bool
    days: int
    """Days left, the last one included; below 1 when lapsed."""


@dataclass(frozen=True, slots=True)
class NegativeList:
    """The list in force, and how long before an entry's end somebody is told."""

    entries: tuple[Entry, ...]
    alert_days: int

    def __post_init__(self) -> None:
        """Refuse two entries of one id: the ledger could not tell them apart."""
        ids = [entry.entry_id for entry in self.entries]
        if len(set(ids)) != len(ids):
            raise ValueError("negative list: two entries have the same entry_id")


def blocks(
    entries: Iterable[Entry],
    resource_code: str,
    field: str,
    scope: Scope,
    audience: str,
    today: date,
) -> Entry | None:
    """Return the entry that closes a field to an organisation on a channel, or None.

    An empty `field` asks for the resource as a whole: then an entry for any of its fields counts,
    since the whole contains it.
    """
    found = (
        entry
        for entry in entries
        if entry.resource_code == resource_code
        and (not entry.field or not field or entry.field == field)
        and scope in entry.scope
        and audience not in entry.audience_excepted
        and entry.standing(today) is Standing.IN_FORCE
    )
    return min(found, key=lambda entry: entry.entry_id, default=None)


def alerts(listed: NegativeList, today: date) -> tuple[Alert, ...]:
    """Return what lapsed and what lapses within `alert_days`, the earliest end first."""
    horizon = today + timedelta(days=listed.alert_days)
    ending = sorted(
        (e for e in listed.entries if e.valid_until <= horizon and e.valid_from <= today),
        key=lambda e: (e.valid_until, e.entry_id),
    )
    return tuple(
        Alert(e, e.standing(today) is Standing.LAPSED, (e.valid_until - today).days + 1)
        for e in ending
    )
