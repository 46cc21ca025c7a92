"""People and services that call, as the seeded identity file knows them.

Only hashes of tokens are kept. The file is read again when it changes, so removing a token or a
user takes effect at the next request.
"""

import hashlib
import json
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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


@dataclass(frozen=True, slots=True)
class Person:
    """An authenticated user."""

    user: str
    tenant: str
    roles: tuple[str, ...]
    language: str


def token_hash(token: str) -> str:
    """Return what is kept of a token: tokens hold 256 random bits, so a plain hash suffices."""
    return hashlib.sha256(token.encode()).hexdigest()


class Directory:
    """The identity file of one home."""

    def __init__(self, path: Path) -> None:
        """Read `path` at the first look-up and whenever it changes."""
        self._path = path
        self._seen: tuple[int, int] | None = None
        self._people: dict[str, Person] = {}
        self._service = ""

    def person(self, token: str) -> Person | None:
        """Return the holder of a token, or None."""
        self._refresh()
        return self._people.get(token_hash(token))

    def is_gateway(self, token: str) -> bool:
        """Whether a token is the gateway's."""
        self._refresh()
        return secrets.compare_digest(token_hash(token), self._service)

    def _refresh(self) -> None:
        status = self._path.stat()
        seen = (status.st_mtime_ns, status.st_size)
        if seen == self._seen:
            return
        data: dict[str, Any] = json.loads(self._path.read_text(encoding="utf-8"))
        self._people = {
            u["token_sha256"]: Person(u["name"], u["organisation"], tuple(u["roles"]), u["language"])
            for u in data["users"]
        }
        self._service = data["gateway_token_sha256"]
        self._seen = seen


def seed(home: Path, *, keep_tokens: bool) -> None:
    """Make identity.json and the gateway's token; keep users' tokens readable only for a demo."""
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    gateway = secrets.token_urlsafe(32)
    users = []
    tokens: dict[str, str] = {}
    for name, organisation, roles in SEEDED:
        tokens[name] = secrets.token_urlsafe(32)
        users.append(
            {
                "name": name,
                "organisation": organisation,
                "roles": list(roles),
                "language": "en",
                "token_sha256": token_hash(tokens[name]),
            }
        )
    data = {"users": users, "gateway_token_sha256": token_hash(gateway)}
    _private(home / "identity.json", json.dumps(data, indent=1) + "\n")
    _private(home / "gateway.token", gateway + "\n")
    if keep_tokens:
        (home / "tokens").mkdir(mode=0o700, exist_ok=True)
        for name, token in tokens.items():
            _private(home / "tokens" / name, token + "\n")


def _private(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_text(text, encoding="utf-8")
