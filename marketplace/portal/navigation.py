"""The menu: which pages a person's roles are for, in groups. It opens nothing; services decide."""

from collections.abc import Collection
from dataclasses import dataclass

ASKERS = frozenset({"analyst", "member", "bank"})
MEMBERS = ASKERS | {"agency", "owner"}
JUDGES = frozenset({"provider", "reviewer", "approver", "operator"})
OVERSEERS = frozenset({"auditor", "approver", "reviewer", "operator", "audit-admin"})
WATCHERS = frozenset({"security-admin", "audit-admin", "auditor", "reviewer", "approver"})
STOPPERS = frozenset({"approver", "operator", "security-admin", "provider"})
EVERYBODY = frozenset[str]()


@dataclass(frozen=True, slots=True)
class Place:
    """One link of the menu."""

    name: str
    """Its text is the word `nav.<name>`."""
    href: str
    roles: frozenset[str] = EVERYBODY
    """Whom it is for; empty: everybody."""


GROUPS: tuple[tuple[str, tuple[Place, ...]], ...] = (
    (
        "data",
        (
            Place("home", "/"),
            Place("inbox", "/inbox"),
            Place("catalogue", "/catalogue"),
            Place("demands", "/demands"),
            Place("examinations", "/examinations", frozenset({"reviewer", "approver"})),
        ),
    ),
    (
        "access",
        (
            Place("requests", "/access", ASKERS | OVERSEERS),
            Place("grants", "/grants", MEMBERS | JUDGES | OVERSEERS),
            Place("contracts", "/contracts", MEMBERS | JUDGES | OVERSEERS),
            Place("stops", "/stops", STOPPERS),
        ),
    ),
    (
        "budget",
        (
            Place("budget", "/budget", MEMBERS),
            Place("budget_calendar", "/budget/calendar"),
            Place("questions", "/questions", MEMBERS),
        ),
    ),
    (
        "rules",
        (
            Place("grading", "/grading"),
            Place("negative", "/negative-list"),
        ),
    ),
    (
        "oversight",
        (
            Place("bureau", "/bureau", OVERSEERS),
            Place("funnel", "/funnel", OVERSEERS),
            Place("risk", "/risk", WATCHERS),
            Place("reports", "/reports", WATCHERS | {"operator"}),
        ),
    ),
)

Group = tuple[str, tuple[tuple[Place, bool], ...]]


def menu(roles: Collection[str], path: str) -> tuple[Group, ...]:
    """Return the groups for some roles, each link with whether the path lies under it."""
    held = set(roles)
    shown = [
        (group, [p for p in places if not p.roles or p.roles & held]) for group, places in GROUPS
    ]
    here = _under(path, [p.href for _, places in shown for p in places])
    return tuple(
        (group, tuple((p, p.href == here) for p in places)) for group, places in shown if places
    )


def _under(path: str, hrefs: list[str]) -> str:
    """Return the longest address that a path is, or lies under.

    >>> _under("/budget/calendar", ["/", "/budget", "/budget/calendar"])
    '/budget/calendar'
    >>> _under("/budgets", ["/", "/budget"])
    ''
    """
    fits = [h for h in hrefs if path == h or (h != "/" and path.startswith(f"{h}/"))]
    return max(fits, key=len, default="")
