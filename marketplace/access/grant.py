"""A grant as a value: the text that was approved is the text that is executed (attack H9)."""

import hashlib
import json
from dataclasses import dataclass

from marketplace.budgets.model import GrantPolicy

MICRO = 1_000_000


@dataclass(frozen=True, slots=True)
class Grant:
    """What one organisation may ask of one table, from when to when."""

    id: str
    tenant: str
    table: str
    purposes: tuple[str, ...]
    lanes: tuple[str, ...]
    fields: tuple[str, ...]
    """Granted fields; empty means all that the lane can name."""
    epsilon_default_micro: int
    epsilon_max_micro: int
    starts: int
    ends: int
    """Seconds since 1970; `ends` is the first second outside."""
    basis: str
    """Digest of the approved request, or how it came about at first start."""

    def text(self) -> str:
        """Return canonical JSON: what is hashed, logged and read back at every question."""
        body = {name: getattr(self, name) for name in self.__slots__}
        return json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=True)

    @property
    def sha256(self) -> str:
        """Return the hex digest of the text."""
        return hashlib.sha256(self.text().encode()).hexdigest()

    def policy(self) -> GrantPolicy:
        """Return what the gateway needs to know of it."""
        return GrantPolicy(
            self.epsilon_default_micro / MICRO, self.epsilon_max_micro / MICRO, self.purposes
        )

    def is_live(self, now: int) -> bool:
        """Whether its term includes this second."""
        return self.starts <= now < self.ends


def from_text(text: str) -> Grant:
    """Return the grant in a stored text."""
    data = json.loads(text)
    for name in ("purposes", "lanes", "fields"):
        data[name] = tuple(data[name])
    return Grant(**data)
