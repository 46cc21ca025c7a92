"""What hides texts and subjects in entries: salts under the audit administrator's key.

Three kinds of keys, in the home's `audit-keys`:

* `audit-admin.age` opens texts. The service needs only its public half, `audit-admin.recipient`: it
  seals under a key of its own run, wraps that for the administrator, and forgets it with the
  process. After the first start the file belongs elsewhere, with the administrator.
* `subjects.pem` gives each subject its only tag (RSA signatures are unique, RFC 9381 section 4).
  The service needs it to mark entries; who steals it can test guessed names, and reads no text.
* One random key for each subject, kept in the database until the subject is erased: it marks the
  subject's entries, and whoever is given it finds all of them. Source of the scheme: `verifier`.
  Another one seals what the service itself has to read of a person (`people`); it is never shown.
"""

import base64
import hmac
import secrets
import threading
from dataclasses import dataclass
from pathlib import Path

import pyrage
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from marketplace.audit.verifier import enrolment_tag, fingerprint, subject_message
from marketplace.private_file import write_private

SALT_BYTES, KEY_BYTES, NONCE_BYTES = 16, 32, 12
RSA_BITS = 3072
REMEMBERED = 10_000
"""Subjects whose tags are kept in memory, so that one costs a signature once."""


@dataclass(frozen=True, slots=True)
class Wrapped:
    """The key of one run, for the audit administrator only."""

    id: str
    data: bytes


class Vault:
    """Seals texts and names subjects, for one process."""

    def __init__(self, folder: Path) -> None:
        """Open the keys in `folder`; those that are missing are made."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._subjects = _subjects_key(folder / "subjects.pem")
        self.subjects_pem = (
            self._subjects.public_key()
            .public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
            .decode()
        )
        self.fingerprint = fingerprint(self.subjects_pem.encode())
        private = self._subjects.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        self._subject_keys = AESGCM(_derived(private, "subject-keys"))
        self._people, self._names = AESGCM(_derived(private, "people")), _derived(private, "names")
        run = AESGCM.generate_key(256)
        self._run = AESGCM(run)
        recipient = pyrage.x25519.Recipient.from_str(_recipient(folder))
        self.wrapped = Wrapped(secrets.token_hex(8), pyrage.encrypt(run, [recipient]))
        self._lock = threading.Lock()
        self._proofs: dict[str, bytes] = {}

    def seal(self, entry: int, field: str, salt: bytes, text: str) -> bytes:
        """Return salt and text, readable with this run's wrapped key only."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        return nonce + self._run.encrypt(nonce, salt + text.encode(), _place(entry, field))

    def proof(self, subject: str) -> bytes:
        """Return the only signature of a subject's name."""
        with self._lock:
            known = self._proofs.get(subject)
        if known is None:
            known = self._subjects.sign(subject_message(subject), padding.PKCS1v15(), SHA256())
            with self._lock:
                if len(self._proofs) >= REMEMBERED:
                    self._proofs.clear()
                self._proofs[subject] = known
        return known

    def tag(self, subject: str) -> str:
        """Return the subject's tag."""
        return enrolment_tag(self.proof(subject))

    def seal_key(self, tag: str, key: bytes, salt: bytes) -> bytes:
        """Return a subject's key as the database keeps it."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        return nonce + self._subject_keys.encrypt(nonce, key + salt, tag.encode())

    def open_key(self, tag: str, sealed: bytes) -> tuple[bytes, bytes]:
        """Return a subject's key and the salt of its commitment."""
        nonce, data = sealed[:NONCE_BYTES], sealed[NONCE_BYTES:]
        opened = self._subject_keys.decrypt(nonce, data, tag.encode())
        return opened[:KEY_BYTES], opened[KEY_BYTES:]

    def person_tag(self, name: str) -> str:
        """Return what a person's row is found by; without our key nobody can test a guess."""
        return hmac.digest(self._names, name.encode(), "sha256").hex()

    def seal_person(self, person_id: str, data: bytes) -> bytes:
        """Return a person's key and name as the database keeps them."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        return nonce + self._people.encrypt(nonce, data, person_id.encode())

    def open_person(self, person_id: str, sealed: bytes) -> bytes:
        """Return a person's key and name; InvalidTag under the keys of another home."""
        return self._people.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], person_id.encode())


class Opener:
    """Reads sealed texts with the audit administrator's own key."""

    def __init__(self, identity: str, wrapped: dict[str, bytes]) -> None:
        """Unwrap the keys of all runs; ValueError if `identity` is not the administrator's."""
        try:
            mine = pyrage.x25519.Identity.from_str(identity.strip())
            self._runs = {i: AESGCM(pyrage.decrypt(w, [mine])) for i, w in wrapped.items()}
        except (pyrage.DecryptError, pyrage.IdentityError) as error:
            raise ValueError("this key opens nothing here") from error

    def open(self, key_id: str, sealed: bytes, entry: int, field: str) -> tuple[bytes, str]:
        """Return salt and text."""
        nonce, data = sealed[:NONCE_BYTES], sealed[NONCE_BYTES:]
        opened = self._runs[key_id].decrypt(nonce, data, _place(entry, field))
        return opened[:SALT_BYTES], opened[SALT_BYTES:].decode()


def proof_base64(proof: bytes) -> str:
    """Return a proof as openings carry it."""
    return base64.b64encode(proof).decode()


def _derived(private: bytes, purpose: str) -> bytes:
    return HKDF(SHA256(), KEY_BYTES, None, f"digital-lab/{purpose}/1".encode()).derive(private)


def _place(entry: int, field: str) -> bytes:
    """Bind a sealed text to its place, so that texts cannot be exchanged."""
    return f"{entry}/{field}".encode()


def _subjects_key(path: Path) -> rsa.RSAPrivateKey:
    if not path.exists():
        made = rsa.generate_private_key(65537, RSA_BITS)
        pem = made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        write_private(path, pem.decode())
    key = load_pem_private_key(path.read_bytes(), None, unsafe_skip_rsa_key_validation=True)
    if not isinstance(key, rsa.RSAPrivateKey):
        raise ValueError(f"{path} holds no RSA key")  # noqa: TRY004  # a bad file, not a bad type
    return key


def _recipient(folder: Path) -> str:
    path = folder / "audit-admin.recipient"
    if not path.exists():
        identity = pyrage.x25519.Identity.generate()
        write_private(folder / "audit-admin.age", f"{identity}\n")
        write_private(path, f"{identity.to_public()}\n")
    return path.read_text(encoding="utf-8").strip()
