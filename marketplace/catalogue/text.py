"""Texts as search terms: any part of a Chinese text, its pinyin and initials, and English words.

The index holds, for every position of a text, what follows from there, cut at `REACH`. Whatever
a person types is then one range of an ordered index: a part of a Chinese text of any length (one
character too), initials, full pinyin, the beginning of a word. That is plain SQL on SQLite and
PostgreSQL alike. Rejected: FTS5 (its trigrams need three characters, and it is SQLite's own) and
pg_trgm (PostgreSQL's own, no pinyin).
"""

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache

from pypinyin import Style, lazy_pinyin

REACH = 12
"""Characters kept of each term; a longer query is matched by its parts."""
MAX_TOKENS = 8
AFTER = "\U0010ffff"
"""Sorts after every character that a term can have."""

_RUNS = re.compile(r"[㐀-䶿一-鿿]+|[a-z0-9]+")
_HAN = re.compile(r"[㐀-䶿一-鿿]+")


def normal(text: str) -> str:
    """Return a text as it is compared: compatibility forms folded, lower case.

    >>> normal("ＴＡＸ Ａ")
    'tax a'
    """
    return unicodedata.normalize("NFKC", text).casefold()


def tokens(query: str) -> tuple[str, ...]:
    """Return the runs of Chinese characters, and of letters and digits, that a query holds.

    >>> tokens("企业qydj 2024")
    ('企业', 'qydj', '2024')
    """
    return tuple(dict.fromkeys(_RUNS.findall(normal(query))))[:MAX_TOKENS]


@lru_cache(maxsize=4096)  # names of fields, themes and bodies come again and again
def terms(text: str, *, pinyin: bool = True) -> frozenset[str]:
    """Return the terms under which a text is found."""
    found: set[str] = set()
    for run in _RUNS.findall(normal(text)):
        if not _HAN.match(run):
            found.add(run[:REACH])
            continue
        found.update(_from_every_place(run))
        if pinyin:
            syllables = lazy_pinyin(run, style=Style.NORMAL)
            found.update(_from_every_place("".join(s[0] for s in syllables)))
            found.update("".join(syllables[at:])[:REACH] for at in range(len(syllables)))
    return frozenset(found)


def parts(token: str) -> tuple[str, ...]:
    """Return what must all be found for a token: itself, or the parts of a long one."""
    if len(token) <= REACH:
        return (token,)
    if not _HAN.match(token):
        return (token[:REACH],)
    starts = [*range(0, len(token) - REACH, REACH), len(token) - REACH]
    return tuple(token[at : at + REACH] for at in starts)


def pairs(token: str) -> tuple[str, ...]:
    """Return the two-character pieces of a Chinese token, for a search that found nothing whole."""
    if not _HAN.match(token) or len(token) < 3:  # noqa: PLR2004  # two are their own only pair
        return ()
    return tuple(token[at : at + 2] for at in range(len(token) - 1))


def _from_every_place(run: str) -> Iterator[str]:
    return (run[at : at + REACH] for at in range(len(run)))
