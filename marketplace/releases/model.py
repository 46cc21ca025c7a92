"""What is reserved, recorded and answered, as values."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from privacy.dp.budget import Budget


class State(StrEnum):
    """Where a reservation stands. Only `open` may change."""

    OPEN = "open"
    RECORDED = "recorded"
    FAILED = "failed"
    REFUNDED = "refunded"


@dataclass(frozen=True, slots=True)
class Item:
    """One release that a question needs."""

    digest: str
    """Identity of the release node, data versions included (hex SHA-256)."""
    domain: str
    cohorts: tuple[int, ...]
    """Cohorts that pay: all that the release does not exclude. Never empty."""
    cost: Budget
    mechanism: str = ""
    """Names and versions of its mechanisms; a stored answer of another version is not taken."""

    def __post_init__(self) -> None:
        """Refuse what would be a release without a charge, or one charged twice."""
        if not self.cohorts or len(set(self.cohorts)) < len(self.cohorts):
            raise ValueError("a release charges at least one cohort, and each once")
        if self.cost.micro_rho < 1:
            raise ValueError("a release costs at least 1 micro-rho")


@dataclass(frozen=True, slots=True)
class Ask:
    """A request to reserve."""

    operation_id: str
    user: str
    tenant: str
    purpose: str
    epsilon: str
    tables: dict[str, str]
    """Private tables: name to data version. Never empty."""
    plan_digest: str
    items: tuple[Item, ...]
    fields: Mapping[str, tuple[str, ...]] | None = None
    """Fields used of each table, where the gateway says so."""

    def __post_init__(self) -> None:
        """Refuse a question without a table to be granted, or with one release asked twice."""
        if not self.tables:
            raise ValueError("a reservation names at least one table")
        digests = {i.digest for i in self.items}
        if not digests or len(digests) < len(self.items):
            raise ValueError("a reservation names at least one release, and each once")


@dataclass(frozen=True, slots=True)
class ReservedItem:
    """One release of a reservation: to be computed, or already there."""

    digest: str
    release_id: str | None
    """Set when the bytes are stored already; None when they are still to be recorded."""
    charged_micro_rho: int


@dataclass(frozen=True, slots=True)
class Reservation:
    """Budget that was spent for an answer."""

    id: str
    fencing_token: str
    """Proof of being the latest holder; each holder of an operation gets another one."""
    state: State
    items: tuple[ReservedItem, ...]


@dataclass(frozen=True, slots=True)
class Made:
    """A computed release on its way into the record."""

    digest: str
    answer: bytes
    draws: str
    """JSON: the parameters of every draw."""

    @property
    def sha256(self) -> str:
        """Return the hex digest of the bytes."""
        return hashlib.sha256(self.answer).hexdigest()


@dataclass(frozen=True, slots=True)
class Recorded:
    """A reservation's releases after they were committed."""

    release_ids: dict[str, str]
    """Digest to release id."""
    receipt: dict[str, str | int]
    left: tuple["Left", ...]
    """What the payer has left of each domain that the answer touched."""
    proofs: dict[str, str]
    """Release id to its `tlog-proof`: who holds it needs nothing of us to check it."""
    answers: dict[str, bytes]
    """Release id to its committed bytes, of small answers: others are fetched one by one."""


@dataclass(frozen=True, slots=True)
class Left:
    """A tenant's own budget of one domain."""

    domain: str
    budget: Budget
    """The least over the cohorts that the tenant has charged."""
    cap: Budget
    spent_epsilon: float
    """The largest loss of a cohort so far, as epsilon at the domain's delta."""
    cohorts: Mapping[int, Budget]
    """What is left of each cohort that was charged; any other has the whole cap."""


def receipt_id(release_ids: list[str]) -> str:
    """Return the short name of a set of releases, the same whenever they answer together."""
    return hashlib.sha256("".join(sorted(release_ids)).encode()).hexdigest()[:16]
