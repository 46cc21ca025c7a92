"""The identity file of a home: who holds which token, as hashes only.

The file is read again when it changes, so taking a user out, or marking one `"revoked": true`,
takes effect at the next request.
"""

import json
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from marketplace.identity.model import SEEDED, Person, token_hash
from marketplace.private_file import write_private

FILE = "identity.json"
GATEWAY_TOKEN = "gateway.token"  # noqa: S105  # a file's name
TOKENS = "tokens"


@dataclass(frozen=True, slots=True)
class _Known:
    people: dict[str, Person]
    """Token hash to its holder."""
    named: dict[tuple[str, str], Person]
    """User and tenant to the person."""
    addresses: dict[str, str]
    """User to mail address, where one is known."""
    gateway: str
    """Hash of the gateway's token."""


class Directory:
    """The identity file of one home."""

    def __init__(self, path: Path) -> None:
        """Read `path` at the first look-up and whenever it changes."""
        self._path = path
        self._seen: tuple[int, int, int] | None = None
        self._known = _Known({}, {}, {}, "")

    def person(self, token: str) -> Person | None:
        """Return the holder of a token, or None."""
        return self.holder(token_hash(token))

    def holder(self, token_sha256: str) -> Person | None:
        """Return the holder of the token with this hash, or None."""
        return self._current().people.get(token_sha256)

    def named(self, user: str, tenant: str) -> Person | None:
        """Return a user of an organisation, unless unknown or revoked."""
        return self._current().named.get((user, tenant))

    def people(self) -> tuple[Person, ...]:
        """Return everybody who can sign in, by name."""
        return tuple(sorted(self._current().people.values(), key=lambda p: p.user))

    def address(self, user: str) -> str:
        """Return a user's mail address (`"email"` in the file), or an empty text."""
        return self._current().addresses.get(user, "")

    def is_gateway(self, token: str) -> bool:
        """Whether a token is the gateway's."""
        return secrets.compare_digest(token_hash(token), self._current().gateway)

    def _current(self) -> _Known:
        status = self._path.stat()
        seen = (status.st_mtime_ns, status.st_size, status.st_ino)
        if seen != self._seen:
            data: dict[str, Any] = json.loads(self._path.read_text(encoding="utf-8"))
            people = {
                u["token_sha256"]: Person(
                    u["name"], u["organisation"], tuple(u["roles"]), u["language"]
                )
                for u in data["users"]
                if not u.get("revoked", False)
            }
            named = {(p.user, p.tenant): p for p in people.values()}
            addresses = {u["name"]: u["email"] for u in data["users"] if u.get("email")}
            self._known = _Known(people, named, addresses, data["gateway_token_sha256"])
            self._seen = seen
        return self._known


def seed(home: Path, *, keep_tokens: bool) -> bool:
    """Make identity.json and the gateway's token, unless the home has them; say whether made.

    Tokens are random and kept as hashes; only for a demo are users' own tokens kept, each in a
    file that nobody but the owner can read. There is no default password anywhere.
    """
    if (home / FILE).exists():
        return False
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    gateway = secrets.token_urlsafe(32)
    tokens = {name: secrets.token_urlsafe(32) for name, _, _ in SEEDED}
    users = [
        {
            "name": name,
            "organisation": organisation,
            "roles": list(roles),
            "language": "en",
            "token_sha256": token_hash(tokens[name]),
        }
        for name, organisation, roles in SEEDED
    ]
    if keep_tokens:
        (home / TOKENS).mkdir(mode=0o700, exist_ok=True)
        for name, token in tokens.items():
            write_private(home / TOKENS / name, token + "\n")
    write_private(home / GATEWAY_TOKEN, gateway + "\n")
    # Last: its presence says that seeding is complete.
    data = {"users": users, "gateway_token_sha256": token_hash(gateway)}
    write_private(home / FILE, json.dumps(data, indent=1) + "\n")
    return True
