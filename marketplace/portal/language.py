"""Texts for people, by language and key; and how times and codes are written for them."""

import datetime as dt
import json
from functools import cache
from pathlib import Path

LANGUAGES = ("en", "zh")
_WORDS = Path(__file__).parent / "words"
_DAY, _HOUR, _MINUTE = 86_400, 3_600, 60


@cache
def words(language: str) -> dict[str, str]:
    """Return all texts of a language, those of parts with a file of their own included."""
    found: dict[str, str] = {}
    for file in (_WORDS / f"{language}.json", *sorted(_WORDS.glob(f"*.{language}.json"))):
        found |= json.loads(file.read_text(encoding="utf-8"))
    return found


def say(language: str, key: str, **values: object) -> str:
    """Return one text with its values; KeyError for a key that the catalogue lacks."""
    return words(language)[key].format(**values)


def named(language: str, prefix: str, code: object) -> str:
    """Return the word for a code, or the code itself where policies may write what they like.

    >>> named("en", "lane", "dp"), named("en", "lane", "of_tomorrow")
    ('noised statistics', 'of_tomorrow')
    """
    return words(language).get(f"{prefix}.{code}", str(code))


def span(language: str, seconds: int) -> str:
    """Return a length of time with its two largest units.

    >>> span("en", 93_784), span("zh", 7_500), span("en", 12)
    ('1 d 2 h', '2 小时 5 分钟', '0 min')
    """
    units = (("span.days", _DAY), ("span.hours", _HOUR), ("span.minutes", _MINUTE))
    parts: list[str] = []
    rest = max(seconds, 0)
    for key, size in units:
        count, rest = divmod(rest, size)
        if count or (key == "span.minutes" and not parts):
            parts.append(say(language, key, n=count))
    return " ".join(parts[:2])


def moment(text: str) -> str:
    """Return a stored time (ISO 8601, UTC) to the minute.

    >>> moment("2026-11-01T09:30:12.000+00:00")
    '2026-11-01 09:30'
    """
    return text[:16].replace("T", " ")


def day(seconds: int) -> str:
    """Return the day (UTC) of a time in seconds since 1970.

    >>> day(0)
    '1970-01-01'
    """
    return dt.datetime.fromtimestamp(seconds, dt.UTC).date().isoformat()


def preferred(accept_language: str) -> str:
    """Return Chinese if a browser asks for it first, else English.

    >>> [preferred(each) for each in ("zh-CN,zh;q=0.9,en;q=0.8", "en-GB,zh;q=0.5", "")]
    ['zh', 'en', 'en']
    """
    first = accept_language.split(",", maxsplit=1)[0].strip().lower()
    return "zh" if first.startswith("zh") else "en"
