"""What keeps a bureau from approving access: no grade, the negative list, somebody else's data.

None of the three is the bureau's to lift by approving: a field is graded by its provider, an entry
ends by law and date, and data of a body that the city does not run needs its return-flow basis.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date

from marketplace.grading.authority import Body, gap
from marketplace.grading.model import Level
from marketplace.grading.negative_list import Scope, blocks
from marketplace.grading.policy import Policies


@dataclass(frozen=True, slots=True)
class Barrier:
    """Why nobody may approve: a stable code, and one sentence in two languages."""

    code: str
    en: str
    zh: str


@dataclass(frozen=True, slots=True)
class Offer:
    """What somebody asks for: fields of a table, whose it is, and under which code it is listed."""

    table: str
    code: str
    """The resource code; empty where the catalogue does not list it."""
    body: Body | None
    grades: Mapping[str, Level | None]
    """Of every field that a lane can name."""


def barrier(
    policies: Policies, offer: Offer, fields: Collection[str], audience: str, today: date
) -> Barrier | None:
    """Return the first thing that forbids an approval; no `fields` means all of them."""
    wanted = tuple(fields) or tuple(offer.grades)
    ungraded = sorted(f for f in wanted if offer.grades.get(f) is None)
    if ungraded or not wanted:
        named = ", ".join(ungraded[:_SHOWN]) or offer.table
        return Barrier(
            "GRADE_PATH",
            f"{offer.table} has fields without a grade ({named}), and what is ungraded is closed. "
            "Ask its provider to grade them.",
            f"{offer.table} 有未定级的信息项（{named}），未定级即不开放，请联系提供方完成定级。",
        )
    entries = policies.negative_list.entries
    for field in wanted:
        if entry := blocks(entries, offer.code, field, Scope.OPERATE, audience, today):
            return Barrier(
                "NEGATIVE_LIST",
                f"{offer.table} is on the negative list for authorised operation "
                f"({entry.entry_id}). {entry.alternative_en}.",
                f"{offer.table} 已列入授权运营负面清单（{entry.entry_id}）。"
                f"替代方式：{entry.alternative_zh}。",
            )
    if missing := gap(offer.body, offer.code, Scope.OPERATE, today):
        return Barrier("AUTHORITY_LEVEL", missing.en, missing.zh)
    return None


_SHOWN = 5
