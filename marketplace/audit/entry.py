"""One decision as the log keeps it: canonical JSON whose exact bytes are hashed and kept.

Literals of a question, subjects and purposes appear as salted commitments only (soundness F.29):
SHA-256 over a random 16-byte salt and the text. The salt is kept apart, so that an auditor can be
shown the text later and nobody can guess it now.
"""

import hashlib
import json
from dataclasses import dataclass
from enum import StrEnum

FORM = "digital-lab/entry/1"
MAX_BYTES = 65_535
"""The length must fit the two bytes that a bundle gives it (C2SP tlog-tiles; attack K23)."""

Plain = str | int | bool | None | list["Plain"] | dict[str, "Plain"]


class Event(StrEnum):
    """What was decided, as `subject:action`."""

    SESSION_OPENED = "session:open"
    SESSION_DENIED = "session:deny"
    RESERVATION_MADE = "reservation:make"
    RESERVATION_DENIED = "reservation:deny"
    RESERVATION_FAILED = "reservation:fail"
    RESERVATION_REFUNDED = "reservation:refund"
    RELEASE_RECORDED = "release:record"
    BUDGET_PINNED = "budget:pin"
    BUDGET_PROPOSED = "budget:propose"
    BUDGET_DECIDED = "budget:decide"
    BUDGETS_READ = "budget:read"
    LOG_READ = "log:read"
    LOG_OPENED = "log:open"
    LOG_PURGED = "log:purge"
    SUBJECT_ERASED = "subject:erase"
    REQUEST_SUBMITTED = "request:submit"
    REQUEST_EDITED = "request:edit"
    REQUEST_REVIEWED = "request:review"
    REQUEST_APPROVED = "request:approve"
    REQUEST_CLOSED = "request:close"
    GRANT_ISSUED = "grant:issue"
    GRANT_REVOKED = "grant:revoke"
    ACCESS_STOPPED = "access:stop"
    ACCESS_RESUMED = "access:resume"
    ACCESS_DENIED = "access:deny"
    STAND_IN_NAMED = "stand-in:name"
    CONTRACT_DRAFTED = "contract:draft"
    CONTRACT_SIGNED = "contract:sign"
    CONTRACT_EXITED = "contract:exit"
    CONTRACT_DESTROYED = "contract:destroy"
    TENANT_STAGED = "tenant:stage"
    DEMAND_STEPPED = "demand:step"
    DECISIONS_READ = "decision:read"
    POLICY_IN_FORCE = "policy:enforce"
    RESOURCE_MOVED = "resource:move"
    RESOURCE_REGRADED = "resource:regrade"
    TABLE_INGESTED = "ingest:store"
    VERSION_SEEN = "ingest:see"
    VERSION_CONTRADICTED = "version:contradict"
    CATALOGUE_LOADED = "catalogue:load"
    CATALOGUE_SEARCHED = "catalogue:search"
    RISK_RAISED = "risk:raise"
    RISK_HANDLED = "risk:handle"
    RISK_READ = "risk:read"
    REPORT_READ = "report:read"
    OVERVIEW_READ = "overview:read"


@dataclass(frozen=True, slots=True)
class Commitment:
    """A text that the log binds without showing it."""

    salt: bytes
    text: str

    @property
    def digest(self) -> str:
        """Return the hex commitment that stands in the entry."""
        return hashlib.sha256(self.salt + self.text.encode()).hexdigest()


def entry_bytes(event: Event, time: str, facts: dict[str, Plain]) -> bytes:
    """Return the entry's exact bytes; ValueError if a float or too much was put into it."""
    body: dict[str, Plain] = {"form": FORM, "event": event.value, "time": time, "facts": facts}
    _check(body)
    data = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()
    if len(data) > MAX_BYTES:
        raise ValueError(f"an entry of {len(data)} bytes is longer than {MAX_BYTES}")
    return data


def _check(value: Plain) -> None:
    match value:
        case float():
            raise ValueError("an entry holds no floats: write them as text")
        case dict():
            for inner in value.values():
                _check(inner)
        case list():
            for inner in value:
                _check(inner)
        case _:
            return
