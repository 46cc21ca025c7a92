"""What a draft of the policies would have decided differently, before it is put in force."""

from dataclasses import dataclass

from marketplace.db import Database
from marketplace.policy import store
from marketplace.policy.book import PolicyBook


@dataclass(frozen=True, slots=True)
class Flip:
    """One past decision that the draft would make another way."""

    entry_index: int
    time: str
    action: str
    principal: str
    resource: str
    before: str
    """`allow` or the denial's code, with the determining policy."""
    after: str


@dataclass(frozen=True, slots=True)
class Replayed:
    """How many decisions were judged again, and which of them flip."""

    decisions: int
    flips: tuple[Flip, ...]


def replay(database: Database, draft: PolicyBook, since: str) -> Replayed:
    """Judge all decisions since a time (ISO 8601, UTC) by the draft; nothing is written.

    A decision flips when it turns from allowed to denied or back; another determining policy for
    the same outcome is no flip.
    """
    count, flips = 0, []
    with database.reading() as connection:
        for kept in store.since(connection, since):
            count += 1
            now = draft.decide(kept.inputs)
            if now.allowed != kept.allowed:
                flips.append(
                    Flip(
                        kept.entry_index,
                        kept.time,
                        kept.inputs.action,
                        kept.inputs.principal,
                        kept.inputs.resource,
                        _told(kept.allowed, kept.code, kept.policy),
                        _told(now.allowed, now.code, now.policy),
                    )
                )
    return Replayed(count, tuple(flips))


def _told(allowed: bool, code: str, policy: str) -> str:  # noqa: FBT001  # a column of the row
    return f"{'allow' if allowed else code} ({policy})"
