"""People by opaque ids, and their words under keys that erasure destroys.

No table names anybody: a person stands there as a random id, and what the person wrote (purposes,
reasons, comments) is sealed under a key of the person's own. One row of `people` holds name and
key, sealed for the service and found by a keyed hash of the name. Erasure drops this row. Whatever
else was decided stays and can be decided again, about a person whom nobody can name.
"""

import hmac
import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import (
    Column,
    Connection,
    LargeBinary,
    String,
    Table,
    bindparam,
    delete,
    insert,
    select,
)

from marketplace import db
from marketplace.audit.store import vault
from marketplace.audit.vault import KEY_BYTES, NONCE_BYTES, Vault
from marketplace.identity.model import UNNAMED

people = Table(
    "people",
    db.metadata,
    Column("id", String(32), primary_key=True, comment="random; stands for the person elsewhere"),
    Column("tag", String(64), nullable=False, unique=True, comment="keyed hash of the name"),
    Column("sealed", LargeBinary, nullable=False, comment="key and name, for the service"),
)


# Every decision runs these, so they are put together once.
_BY_TAG = select(people.c.id).where(people.c.tag == bindparam("wanted"))
_SEALED = select(people.c.sealed).where(people.c.id == bindparam("wanted"))


class NoKeysError(Exception):
    """The database was opened without the keys under which people are known."""


class People:
    """The people of one transaction; what was looked up is remembered for its length."""

    def __init__(self, connection: Connection) -> None:
        """Look up through `connection`; only `enrol` writes."""
        self._connection, self._vault = connection, vault(connection)
        self._ids: dict[str, str | None] = {}
        self._known: dict[str, tuple[bytes, str] | None] = {}

    def enrol(self, name: str) -> str:
        """Return the id of a person, made now for somebody new; an empty name stays empty."""
        found = self.find(name)
        if found is not None or not name:
            return found or ""
        made, key, keys = secrets.token_hex(16), secrets.token_bytes(KEY_BYTES), self._keys()
        sealed = keys.seal_person(made, key + name.encode())
        row = {"id": made, "tag": keys.person_tag(name), "sealed": sealed}
        self._connection.execute(insert(people).values(**row))
        self._ids[name], self._known[made] = made, (key, name)
        return made

    def find(self, name: str) -> str | None:
        """Return the id of a person, if there is one yet."""
        if not name:
            return None
        nameless = name.removeprefix(UNNAMED)
        if nameless != name and self._look_up(nameless) is None:
            return nameless  # written back as it was read
        if name not in self._ids:
            wanted = {"wanted": self._keys().person_tag(name)}
            self._ids[name] = self._connection.execute(_BY_TAG, wanted).scalar_one_or_none()
        return self._ids[name]

    def name(self, person_id: str) -> str:
        """Return a person's name; after erasure, something that differs for each person."""
        if not person_id:
            return ""
        known = self._look_up(person_id)
        return f"{UNNAMED}{person_id}" if known is None else known[1]

    def seal(self, person_id: str, place: str, text: str) -> bytes:
        """Return a text that can be read at its place only, and while the person is known."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        sealed = AESGCM(self._key(person_id)).encrypt(nonce, text.encode(), place.encode())
        return nonce + sealed

    def read(self, person_id: str, place: str, sealed: bytes) -> str | None:
        """Return a sealed text; None once its person is erased."""
        known = self._look_up(person_id)
        if known is None:
            return None
        nonce, data = sealed[:NONCE_BYTES], sealed[NONCE_BYTES:]
        return AESGCM(known[0]).decrypt(nonce, data, place.encode()).decode()

    def mark(self, person_id: str, text: str) -> str:
        """Return what stands for a text: equal texts have equal marks, and no mark tells its text.

        The person's key makes it, so that nobody can guess once that is gone.
        """
        return "mark:" + hmac.digest(self._key(person_id), text.encode(), "sha256").hex()[:32]

    def forget(self, name: str) -> bool:
        """Destroy a person's key and name for good; say whether there was one."""
        found = self.find(name)
        if found is None or self._look_up(found) is None:
            return False
        self._connection.execute(delete(people).where(people.c.id == found))
        self._ids[name] = self._known[found] = None
        return True

    def _keys(self) -> Vault:
        if self._vault is None:
            raise NoKeysError("open the database with its keys (`use_vault`) to know people")
        return self._vault

    def _key(self, person_id: str) -> bytes:
        known = self._look_up(person_id)
        if known is None:
            raise NoKeysError("nothing is sealed for a person who is not known")
        return known[0]

    def _look_up(self, person_id: str) -> tuple[bytes, str] | None:
        if person_id not in self._known:
            sealed = self._connection.execute(_SEALED, {"wanted": person_id}).scalar_one_or_none()
            self._known[person_id] = None if sealed is None else self._open(person_id, sealed)
        return self._known[person_id]

    def _open(self, person_id: str, sealed: bytes) -> tuple[bytes, str] | None:
        if self._vault is None:
            return None
        try:
            opened = self._vault.open_person(person_id, bytes(sealed))
        except InvalidTag as error:
            raise NoKeysError("the keys of this home are not those of its database") from error
        return opened[:KEY_BYTES], opened[KEY_BYTES:].decode()
