"""A caller's idempotency key: where its row is, what it was used for, who can read its answer.

Source of the header: draft-ietf-httpapi-idempotency-key-header-07. Everything is derived from the
key and the caller's token together, and neither is stored: another caller's equal key is another
row, and an answer at rest can be read by nobody without the caller's next request.
"""

import hmac
import json
import re
import secrets
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

PATTERN = r'^("[A-Za-z0-9._:-]{16,128}"|[A-Za-z0-9._:-]{16,128})$'
"""A quoted string, as the draft has it, or the bare characters; a UUID has 36."""

NONCE_BYTES = 12


@dataclass(frozen=True, slots=True)
class Answer:
    """A response: status, the headers that belong to its content, and its bytes."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


class Key:
    """One key of one caller."""

    def __init__(self, authorization: str, given: str) -> None:
        """Derive; ValueError when `given` is no key."""
        if not re.fullmatch(PATTERN, given):
            raise ValueError("a key has 16 to 128 letters, digits, dots, colons, hyphens or _")
        secret = f"{authorization}\0{given.strip(chr(34))}".encode()
        derived = HKDF(SHA256(), 96, None, b"digital-lab/idempotency/1").derive(secret)
        self.id = derived[:32].hex()
        self._mac, self._cipher = derived[32:64], AESGCM(derived[64:])

    def fingerprint(self, method: str, target: bytes, body: bytes) -> str:
        """Return what tells one request under this key from another."""
        whole = b"\0".join((method.encode(), target, body))
        return hmac.digest(self._mac, whole, "sha256").hex()

    def seal(self, answer: Answer) -> bytes:
        """Return an answer as the database keeps it."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        head = json.dumps([answer.status, answer.headers]).encode()
        return nonce + self._cipher.encrypt(nonce, head + b"\n" + answer.body, self.id.encode())

    def open(self, sealed: bytes) -> Answer:
        """Return a kept answer; ValueError when the row is not what this key sealed."""
        nonce, data = sealed[:NONCE_BYTES], sealed[NONCE_BYTES:]
        try:
            head, _, body = self._cipher.decrypt(nonce, data, self.id.encode()).partition(b"\n")
        except InvalidTag as error:
            raise ValueError("this answer was not sealed under this key") from error
        status, headers = json.loads(head)
        return Answer(status, tuple((name, value) for name, value in headers), body)
