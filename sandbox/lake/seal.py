"""Encryption at rest: every object of the lake but its pointers is one age file.

Source: the age format v1 (C2SP, `age.md`): X25519 for the file key, ChaCha20-Poly1305 in 64 KiB
chunks for the payload, so that a cut, reordered or changed file does not open. age does not say who
sealed a file; that comes from the keyed tag in a table's pointer (`manifest.py`).
"""

import hashlib
from pathlib import Path

import pyrage

from sandbox.lake.errors import IntegrityError
from sandbox.lake.keys import KeyRing


def seal_file(keys: KeyRing, plain: Path, sealed: Path) -> None:
    """Encrypt a file, in a stream."""
    pyrage.encrypt_file(str(plain), str(sealed), [keys.recipient])


def unseal_file(keys: KeyRing, sealed: Path, plain: Path) -> None:
    """Decrypt a file, in a stream; raise if it was changed."""
    try:
        pyrage.decrypt_file(str(sealed), str(plain), [keys.identity])
    except (pyrage.DecryptError, OSError) as error:  # OSError: a later chunk was changed
        raise _broken(str(sealed)) from error


def seal_bytes(keys: KeyRing, plain: bytes) -> bytes:
    """Return small contents encrypted."""
    return bytes(pyrage.encrypt(plain, [keys.recipient]))


def unseal_bytes(keys: KeyRing, sealed: bytes, name: str) -> bytes:
    """Return small contents decrypted; `name` says what failed if they were changed."""
    try:
        return bytes(pyrage.decrypt(sealed, [keys.identity]))
    except pyrage.DecryptError as error:
        raise _broken(name) from error


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _broken(name: str) -> IntegrityError:
    return IntegrityError(
        f"{name} does not open with this lake's key: it was changed, or it is another lake's. "
        "Restore it from a backup."
    )
