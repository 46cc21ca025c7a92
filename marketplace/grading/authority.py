"""Whose data it is to give: bodies that a city does not run, and data that flows back to it.

Tax, customs and power-grid data belong to nationally run bodies: the city can use what flows back
to it under a document of that level, for the resources and channels that the document covers, while
it is in force. The city's own approval never stands in for it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from marketplace.grading.negative_list import Scope


class AuthorityLevel(StrEnum):
    """Who runs a body, from below."""

    CITY = "city"
    PROVINCE = "province"
    NATIONAL = "national"

    @property
    def rank(self) -> int:
        """Return the place in the order: 0 for the city."""
        return list(AuthorityLevel).index(self)


@dataclass(frozen=True, slots=True)
class ReturnFlow:
    """The document under which data of a higher level came back to the city."""

    document: str
    doc_no: str
    issued_by: str
    issued_by_level: AuthorityLevel
    resources: frozenset[str]
    """Resource codes; `*` covers all of the body's."""
    scope: frozenset[Scope]
    valid_from: date
    valid_until: date
    """The last day."""

    def __post_init__(self) -> None:
        """Refuse a basis that names no document, or never was in force."""
        if not (self.document and self.doc_no and self.issued_by):
            raise ValueError("return flow: document, doc_no and issued_by must be given")
        if self.valid_from > self.valid_until:
            raise ValueError(f"return flow {self.doc_no}: it ends before it begins")

    def covers(self, resource_code: str, scope: Scope, today: date) -> bool:
        """Whether it allows this resource on this channel today."""
        return (
            bool({"*", resource_code} & self.resources)
            and scope in self.scope
            and self.valid_from <= today <= self.valid_until
        )


@dataclass(frozen=True, slots=True)
class Body:
    """An organisation that provides data."""

    id: str
    """The organisation's id in the identity file."""
    name_zh: str
    name_en: str
    uscc: str
    authority_level: AuthorityLevel
    return_flows: tuple[ReturnFlow, ...] = ()
    department: str = ""
    """What contracts of its tables call it; empty where it has none."""


Bodies = Mapping[str, Body]


@dataclass(frozen=True, slots=True)
class Gap:
    """Why the city may not give this data."""

    body: str
    needed: AuthorityLevel
    en: str
    zh: str


def gap(body: Body | None, resource_code: str, scope: Scope, today: date) -> Gap | None:
    """Return what is missing before a city may approve use of a body's resource, or None.

    An unknown body is a gap: nobody knows whose data it is.
    """
    if body is None:
        return Gap(
            "",
            AuthorityLevel.NATIONAL,
            "The providing body is not in the register of bodies, so nobody can approve its data. "
            "Ask the bureau to enter it.",
            "供数单位未登记，任何人不能批准其数据。请联系大数据局登记。",
        )
    needed = body.authority_level
    if needed is AuthorityLevel.CITY:
        return None
    enough = any(
        flow.issued_by_level.rank >= needed.rank and flow.covers(resource_code, scope, today)
        for flow in body.return_flows
    )
    if enough:
        return None
    return Gap(
        body.id,
        needed,
        f"{body.name_en} is run at {needed} level: the city cannot approve this data alone. It "
        f"needs a return-flow document of that level that covers {resource_code} for {scope} "
        "today.",
        f"{body.name_zh}为垂直管理单位，本市不能单独批准。需有相应层级、覆盖该资源和用途且在有效期内的"
        "数据回流依据。",
    )
