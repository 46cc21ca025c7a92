"""The lake's keys: one secret and one age identity, kept in a directory outside the lake.

Whoever holds the lake's files without this directory reads nothing and cannot link two units.
Subkeys come from the secret by HKDF-SHA256 (RFC 5869), one for each purpose, so that no two uses
share a key. Losing the directory loses the lake: `lab backup` copies both.
"""

import contextlib
import hmac
import os
import secrets
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from pyrage import x25519

from sandbox.lake.errors import LakeError

_SECRET = "lake.secret"  # noqa: S105 - a file name
_IDENTITY = "lake.age"
_SECRET_BYTES = 32


@dataclass(frozen=True, slots=True)
class KeyRing:
    """What turns stored bytes into rows and rows into stored bytes."""

    secret: bytes = field(repr=False)
    """32 random bytes that all subkeys are derived from."""
    identity: x25519.Identity = field(repr=False)
    """Opens sealed files."""

    @classmethod
    def generate(cls) -> "KeyRing":
        """Return a new ring that is stored nowhere."""
        return cls(secrets.token_bytes(_SECRET_BYTES), x25519.Identity.generate())

    @classmethod
    def open(cls, directory: Path) -> "KeyRing":
        """Return the ring kept in a directory; refuse one that others may read."""
        if not (directory / _SECRET).is_file():
            raise LakeError(f"{directory} holds no lake keys. Restore them from a backup.")
        secret = bytes.fromhex(_read_private(directory / _SECRET))
        if len(secret) != _SECRET_BYTES:
            raise LakeError(
                f"{directory / _SECRET} holds {len(secret)} bytes, not {_SECRET_BYTES}. "
                "Restore it from a backup."
            )
        return cls(secret, x25519.Identity.from_str(_read_private(directory / _IDENTITY)))

    @classmethod
    def open_or_create(cls, directory: Path) -> "KeyRing":
        """Return the ring kept in a directory, making one first if there is none.

        Safe when several processes do it at once: the secret is linked into place last, and only
        one of them can do that.
        """
        if not (directory / _SECRET).is_file():
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            ring = cls.generate()
            _write_once(directory / _IDENTITY, str(ring.identity))
            _write_once(directory / _SECRET, ring.secret.hex())
        return cls.open(directory)

    @property
    def recipient(self) -> x25519.Recipient:
        """Who files are sealed to."""
        return self.identity.to_public()

    def subkey(self, purpose: str) -> bytes:
        """Return the 32-byte key of one purpose, such as `rank/tax_summary`."""
        return HKDF(algorithm=SHA256(), length=32, salt=None, info=purpose.encode()).derive(
            self.secret
        )

    def tag(self, purpose: str, message: bytes) -> str:
        """Return the HMAC-SHA256 of a message, in hex."""
        return hmac.new(self.subkey(purpose), message, sha256).hexdigest()


def _read_private(path: Path) -> str:
    mode = path.stat().st_mode & 0o777
    if mode & 0o077:
        raise LakeError(f"{path} has mode {mode:o}: others may read it. Run: chmod 600 {path}")
    return path.read_text().strip()


def _write_once(path: Path, text: str) -> None:
    """Write a private file unless it exists; afterwards it is complete, whoever wrote it."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "w") as file:
            file.write(text + "\n")
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink()
