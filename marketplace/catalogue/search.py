"""Search over published metadata, with facets; it looks at nobody's rows (attack H12)."""

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
import numpy.typing as npt
from sqlalchemy import Connection, func, select

from marketplace.audit import store as log
from marketplace.audit.entry import Event
from marketplace.catalogue import listing
from marketplace.catalogue.states import Actor
from marketplace.catalogue.text import AFTER, pairs, parts, tokens
from marketplace.db import Database

FACETS = ("provider", "grade", "lane", "theme", "cycle")
MAX_QUERY = 200
MAX_PAGE_SIZE = 100
PAIR_SHARE = 0.5
"""Share of a long text's pairs that a near match must have."""
NO_GRADE = "ungraded"
QUIET_SECONDS = 900
"""One entry stands for a person's searches within this time."""
_UNMATCHED = 2**31 - 1
"""Above every score."""


@dataclass(frozen=True, slots=True)
class Query:
    """What somebody looks for."""

    text: str = ""
    chosen: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Facet to its chosen values: any of them, and all facets together."""
    page: int = 1
    size: int = 20


@dataclass(frozen=True, slots=True)
class Listed:
    """One published resource as search shows it."""

    number: int
    resource: str
    code: str
    title_zh: str
    title_en: str
    provider: str
    grade: str
    lanes: tuple[str, ...]
    theme: str
    cycle: str
    table_name: str
    price_fen: int | None
    wait_working_days: int | None


@dataclass(frozen=True, slots=True)
class Found:
    """One page of what was found."""

    total: int
    hits: tuple[Listed, ...]
    facets: Mapping[str, Mapping[str, int]]
    """Facet to value to how many would be found with it, the other choices staying."""
    near: bool
    """Nothing held the whole text; these hold most of it."""


class Searches:
    """Writes into the log who searches, once for all searches of a person within a while."""

    def __init__(self, database: Database, clock: Callable[[], datetime]) -> None:
        """Remember in this process only."""
        self._database, self._clock = database, clock
        self._lock = threading.Lock()
        self._noted: dict[Actor, tuple[datetime, int]] = {}

    def note(self, actor: Actor, query: Query) -> None:
        """Let the log learn who searched and for what, not what was found."""
        now = self._clock()
        with self._lock:
            since, count = self._noted.get(actor, (None, 0))
            if since is not None and (now - since).total_seconds() < QUIET_SECONDS:
                self._noted[actor] = (since, count + 1)
                return
            self._noted[actor] = (now, 0)
        with self._database.writing() as connection:
            log.append(
                connection,
                Event.CATALOGUE_SEARCHED,
                now,
                {"organisation": actor.organisation, "searches_before": count},
                {"subject": actor.user, "text": query.text},
            )


Scored = tuple[npt.NDArray[np.int32], bool]

KEPT_TEXTS = 256
"""Texts whose scores are kept: 15 MB at 15,000 resources."""


@dataclass(frozen=True, slots=True)
class _Listing:
    """What search shows, with one array for each facet, in one order."""

    listed: tuple[Listed, ...]
    """In the order in which equal scores are shown."""
    place: Mapping[int, int]
    """Document number to its place in that order."""
    names: Mapping[str, tuple[str, ...]]
    """Facet to its values."""
    held: Mapping[str, npt.NDArray[np.bool_]]
    """Facet to a table: place and value to whether it is held."""
    scored: dict[str, Scored] = field(default_factory=dict)
    """Text to its scores, the oldest first."""

    @classmethod
    def of(cls, found: Iterable[Listed]) -> "_Listing":
        """Return the listing of all published resources."""
        listed = tuple(sorted(found, key=lambda one: (len(one.title_zh), one.code)))
        names: dict[str, tuple[str, ...]] = {}
        held = {}
        for facet in FACETS:
            values = [_values(one, facet) for one in listed]
            names[facet] = tuple(sorted({v for some in values for v in some}))
            column = {name: number for number, name in enumerate(names[facet])}
            table = np.zeros((len(listed), len(column)), dtype=np.bool_)
            for place, some in enumerate(values):
                table[place, [column[v] for v in some]] = True
            held[facet] = table
        return cls(listed, {one.number: at for at, one in enumerate(listed)}, names, held)

    def fitting(self, facet: str, chosen: frozenset[str]) -> npt.NDArray[np.bool_]:
        """Return for each place whether it holds one of the chosen values."""
        columns = [at for at, name in enumerate(self.names[facet]) if name in chosen]
        return np.asarray(self.held[facet][:, columns].any(axis=1))

    def counted(self, facet: str, places: npt.NDArray[np.bool_]) -> dict[str, int]:
        """Return how many of some places hold each value, the most first."""
        counts = self.held[facet][places].sum(axis=0)
        pairs = zip(self.names[facet], counts.tolist(), strict=True)
        return dict(sorted((p for p in pairs if p[1]), key=lambda p: (-p[1], p[0])))


class Search:
    """Searches one database; keeps the listing in memory until it changes."""

    def __init__(self, database: Database) -> None:
        """Read nothing yet."""
        self._database = database
        self._lock = threading.Lock()
        self._revision = -1
        self._listing = _Listing.of(())

    def find(self, query: Query) -> Found:
        """Return the best page of what matches, best first."""
        with self._database.reading() as connection:
            listing = self._current(connection)
            scores, near = self._scored(connection, query.text[:MAX_QUERY], listing)
        matched = scores < _UNMATCHED
        fits = {f: listing.fitting(f, chosen) for f, chosen in query.chosen.items() if chosen}
        facets = {}
        for facet in FACETS:
            others = [fit for name, fit in fits.items() if name != facet]
            facets[facet] = listing.counted(facet, np.logical_and.reduce([matched, *others]))
        hits = np.flatnonzero(np.logical_and.reduce([matched, *fits.values()]))
        order = hits[np.argsort(scores[hits], kind="stable")]
        start = (query.page - 1) * query.size
        shown = tuple(listing.listed[at] for at in order[start : start + query.size].tolist())
        return Found(len(hits), shown, facets, near)

    def _scored(self, connection: Connection, text: str, listing: _Listing) -> Scored:
        """Return the score of each place, the lower the better, and whether matches are near only.

        Kept for a while: whoever turns a page or chooses a facet asks for the same text again.
        """
        with self._lock:
            kept = listing.scored.get(text)
        if kept is not None:
            return kept
        found, near = _scores(connection, text, listing)
        scores = np.full(len(listing.listed), _UNMATCHED, dtype=np.int32)
        known = [(listing.place[n], s) for n, s in found.items() if n in listing.place]
        if known:
            places, values = zip(*known, strict=True)
            scores[list(places)] = values
        with self._lock:
            if len(listing.scored) >= KEPT_TEXTS:
                del listing.scored[next(iter(listing.scored))]
            listing.scored[text] = scores, near
        return scores, near

    def _current(self, connection: Connection) -> _Listing:
        revision = listing.revision_of(connection)
        with self._lock:
            if revision != self._revision:
                self._listing = _Listing.of(_read(connection))
                self._revision = revision
            return self._listing


def _read(connection: Connection) -> Iterator[Listed]:
    for row in connection.execute(select(listing.documents)):
        yield Listed(
            number=row.number,
            resource=row.resource,
            code=row.code,
            title_zh=row.title_zh,
            title_en=row.title_en,
            provider=row.provider,
            grade=row.grade or NO_GRADE,
            lanes=tuple(row.lanes.split()),
            theme=row.theme,
            cycle=row.cycle,
            table_name=row.table_name,
            price_fen=int(row.price_fen) if row.price_fen else None,
            wait_working_days=int(row.wait_working_days) if row.wait_working_days else None,
        )


def _scores(connection: Connection, text: str, listing: _Listing) -> tuple[dict[int, int], bool]:
    """Return document to score, the lower the better, and whether these are near matches only."""
    words = tokens(text)
    if not words:
        # Signs alone are a question that nothing answers; no text at all asks for everything.
        return ({}, False) if text.strip() else (dict.fromkeys(listing.place, 0), False)
    total: dict[int, int] | None = None
    for word in words:
        for part in parts(word):
            matched = _matching(connection, part)
            total = (
                matched
                if total is None
                else {n: s + matched[n] for n, s in total.items() if n in matched}
            )
            if not total:
                return _near(connection, words)
    return total or {}, False


def _near(connection: Connection, words: tuple[str, ...]) -> tuple[dict[int, int], bool]:
    pieces = [piece for word in words for piece in pairs(word)]
    if not pieces:
        return {}, False
    counted: Counter[int] = Counter()
    for piece in pieces:
        counted.update(_matching(connection, piece).keys())
    least = max(2, round(len(pieces) * PAIR_SHARE))
    found = {n: len(pieces) - count for n, count in counted.items() if count >= least}
    return found, bool(found)


def _matching(connection: Connection, part: str) -> dict[int, int]:
    term = listing.index.c.term
    if len(part) == 1:  # has a row of its own: nearly everything begins with some one letter
        whole = select(listing.index.c.document, listing.index.c.weight).where(term == part)
        return {number: weight for number, weight in connection.execute(whole)}  # noqa: C416
    rows = connection.execute(
        select(listing.index.c.document, func.min(listing.index.c.weight))
        .where(term >= part, term < part + AFTER)
        .group_by(listing.index.c.document)
    )
    return {number: weight for number, weight in rows}  # noqa: C416  # typed rows, not a dict


def _values(listed: Listed, facet: str) -> tuple[str, ...]:
    return listed.lanes if facet == "lane" else (getattr(listed, facet),)
