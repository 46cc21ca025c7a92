"""People and services that call, as values; and the users that a new home starts with."""

import hashlib
from dataclasses import dataclass

SEEDED = (
    ("analyst", "demo-enterprise", ("analyst",)),
    ("bank-risk", "demo-bank", ("analyst",)),
    ("firm-owner", "demo-firm", ("owner",)),
    ("regulator", "regulator", ("auditor",)),
    ("bureau-reviewer", "bureau", ("reviewer",)),
    ("bureau-approver", "bureau", ("approver",)),
    ("operator", "operator", ("operator",)),
    ("credit-agency", "demo-credit-agency", ("agency",)),
    ("tax-provider", "tax-department", ("provider",)),
    ("hr-provider", "hr-department", ("provider",)),
    ("system-admin", "bureau", ("system-admin",)),
    ("security-admin", "bureau", ("security-admin",)),
    ("audit-admin", "bureau", ("audit-admin",)),
)
"""Users of a new home: name, organisation, roles. No real organisation is named."""

UNNAMED = "person:"
"""How the name of somebody begins who was erased, or whom this process has no key to name."""


@dataclass(frozen=True, slots=True)
class Person:
    """An authenticated user."""

    user: str
    tenant: str
    """The user's organisation: it holds the grants and pays."""
    roles: tuple[str, ...]
    language: str


def token_hash(token: str) -> str:
    """Return what is kept of a token: tokens hold 256 random bits, so a plain hash suffices."""
    return hashlib.sha256(token.encode()).hexdigest()
