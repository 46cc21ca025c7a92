"""Which rows of a list are wanted: one page of it.

Lists are newest first and grow at their head, so a row that is written while somebody turns pages
moves others to a later page: a reader may meet a row twice and never misses one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

Row = TypeVar("Row")

MAX_SIZE = 500


@dataclass(frozen=True, slots=True)
class Window:
    """Page `page`, counted from 1, of pages of `size` rows."""

    page: int = 1
    size: int = MAX_SIZE

    @property
    def skip(self) -> int:
        """Return how many rows come before."""
        return (self.page - 1) * self.size

    @property
    def most(self) -> int:
        """Return how many rows to fetch: one more than is shown tells whether others follow."""
        return self.size + 1

    def fetched(self, everything: Sequence[Row]) -> Sequence[Row]:
        """Return what a query would have fetched of a list that is at hand as a whole."""
        return everything[self.skip : self.skip + self.most]

    def shown(self, fetched: Sequence[Row]) -> tuple[list[Row], bool]:
        """Return the rows of this page; say whether more follow."""
        return list(fetched[: self.size]), len(fetched) > self.size


NEWEST = Window()
"""What is shown where nobody turns pages."""
