"""Texts for people, by language and key."""

import json
from functools import cache
from pathlib import Path

LANGUAGES = ("en", "zh")
_WORDS = Path(__file__).parent / "words"


@cache
def words(language: str) -> dict[str, str]:
    """Return all texts of a language, those of parts with a file of their own included."""
    found: dict[str, str] = {}
    for file in (f"{language}.json", f"budgets.{language}.json"):
        found |= json.loads((_WORDS / file).read_text(encoding="utf-8"))
    return found


def say(language: str, key: str, **values: object) -> str:
    """Return one text with its values; KeyError for a key that the catalogue lacks."""
    return words(language)[key].format(**values)


def preferred(accept_language: str) -> str:
    """Return Chinese if a browser asks for it first, else English.

    >>> [preferred(each) for each in ("zh-CN,zh;q=0.9,en;q=0.8", "en-GB,zh;q=0.5", "")]
    ['zh', 'en', 'en']
    """
    first = accept_language.split(",", maxsplit=1)[0].strip().lower()
    return "zh" if first.startswith("zh") else "en"
