"""The parts that one running marketplace is made of."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from sqlalchemy import Connection, Engine

from marketplace import db
from marketplace.budgets.model import BudgetPolicy
from marketplace.identity.model import Directory
from marketplace.releases.service import Releases


@dataclass(frozen=True, slots=True)
class Services:
    """What the HTTP layer calls."""

    engine: Engine
    directory: Directory
    policy: Callable[[], BudgetPolicy]
    releases: Releases

    def reading(self) -> AbstractContextManager[Connection]:
        """Return a connection for reading."""
        return db.reading(self.engine)
