"""What is reserved, recorded and answered, as values."""

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
    """Cohorts that pay: all that the release does not exclude."""
    cost: Budget


@dataclass(frozen=True, slots=True)
class Ask:
    """A request to reserve."""

    operation_id: str
    user: str
    tenant: str
    purpose: str
    epsilon: str
    tables: dict[str, str]
    """Table name to data version."""
    plan_digest: str
    items: tuple[Item, ...]


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
    state: State
    items: tuple[ReservedItem, ...]


@dataclass(frozen=True, slots=True)
class Made:
    """A computed release on its way into the record."""

    digest: str
    answer: bytes
    mechanism: str
    """JSON: the parameters of every draw."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """A reservation's releases after they were committed."""

    release_ids: dict[str, str]
    """Digest to release id."""
    receipt: dict[str, str | int]


@dataclass(frozen=True, slots=True)
class Left:
    """A tenant's own budget of one domain: the least over its cohorts."""

    budget: Budget
    cap: Budget
