"""Forms as bodies of the API: what a field may hold is said once, there."""

from collections.abc import Mapping
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from marketplace.errors import MarketplaceError

Body = TypeVar("Body", bound=BaseModel)
Form = Mapping[str, str]
MOST_DIGITS = 15
LAST_PAGE = 10_000


def read(body: type[Body], given: Mapping[str, object]) -> Body:
    """Return a form as the API's body; BAD_REQUEST names the field, never what was written."""
    try:
        return body.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "text"
        raise MarketplaceError(
            "BAD_REQUEST",
            f"Please check the field {where}: {first['msg']}. Nothing was changed.",
            f"请检查“{where}”一栏，内容不符合要求。未作任何更改。",
        ) from error


def line(form: Form, name: str) -> str:
    """Return a field without spaces around it."""
    return form.get(name, "").strip()


def whole(form: Form, name: str) -> int:
    """Return a field as a whole number; BAD_REQUEST if it is none."""
    text = line(form, name).replace(",", "")
    if not (text.isascii() and text.isdigit() and len(text) <= MOST_DIGITS):
        raise MarketplaceError(
            "BAD_REQUEST",
            f"Please write a whole number in the field {name}. Nothing was changed.",
            f"“{name}”一栏请填写整数。未作任何更改。",
        )
    return int(text)


def page_number(text: str) -> int:
    """Return the page that an address names; the first one if it names none.

    >>> page_number("3"), page_number("0"), page_number("²"), page_number("9" * 30)
    (3, 1, 1, 1)
    """
    named = text.isascii() and text.isdigit() and len(text) <= len(str(LAST_PAGE))
    return min(max(int(text), 1), LAST_PAGE) if named else 1


def codes(form: Form, name: str) -> list[str]:
    """Return the codes in a field, which commas or spaces separate.

    >>> codes({"purposes": " lending，market-research, lending"}, "purposes")
    ['lending', 'market-research']
    """
    text = form.get(name, "")
    for sign in ",，、;；":
        text = text.replace(sign, " ")
    return list(dict.fromkeys(text.split()))


def picked(form: Form, prefix: str) -> list[str]:
    """Return what was ticked of a group of boxes.

    >>> picked({"lane:dp": "on", "days": "3"}, "lane:")
    ['dp']
    """
    return [name.removeprefix(prefix) for name in form if name.startswith(prefix)]
