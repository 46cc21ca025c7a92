"""Stamps: the state that an edit replaces, so that nobody overwrites what one has not read."""

import hashlib
from collections.abc import Callable

from marketplace.errors import MarketplaceError

DIGITS = 32


def stamp(*state: object) -> str:
    """Return a digest of a state, the first part of its entity tag."""
    return hashlib.sha256("\0".join(map(str, state)).encode()).hexdigest()[:DIGITS]


def expecting(if_match: str) -> Callable[[str], None]:
    """Return a check of stamps against an If-Match header; an empty header expects nothing.

    >>> expecting('"a1.77"')("a1")
    >>> expecting('"a1.77"')("b2")
    Traceback (most recent call last):
        ...
    marketplace.errors.MarketplaceError: Somebody changed this since you read it, ...
    """
    wanted = [tag.strip().strip('"').partition(".")[0] for tag in if_match.split(",")]

    def check(found: str) -> None:
        if if_match.strip() in ("", "*") or found in wanted:
            return
        raise MarketplaceError(
            "PRECONDITION_FAILED",
            "Somebody changed this since you read it, so nothing was written. "
            "Read it again, and repeat your change on what it is now.",
            "该内容在您读取后已被他人修改，因此未写入。请重新读取后再作修改。",
        )

    return check


def unconditional(_found: str) -> None:
    """Expect nothing."""
